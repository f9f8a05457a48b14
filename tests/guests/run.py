#!/usr/bin/env python3
"""Boots real machines and does on each what an operator does.      make test-guests

    run.py [KIND...]        of: trixie, trixie-bare, bookworm, bookworm-hybrid, bookworm-v1; all by default

HULL_BINARY names the binary to bring; the release build by default.
"""

import argparse
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import disks
from guest import Guest
from journey import Journey


@dataclass
class Kind:
    """A kind of machine."""

    release: str
    cgroups: str
    memory_limit: str = "memory.max"
    systemd: bool = True
    kernel_options: str = ""
    reboot: str = "systemctl reboot"
    # Whether the docker command of Debian's testing runs there.
    docker: bool = False


LEGACY = "systemd.unified_cgroup_hierarchy=0"
KINDS = {
    "trixie": Kind("trixie", "v2", docker=True),
    # Nothing but a kernel and a shell: no service manager, no device manager.
    "trixie-bare": Kind(
        "trixie", "v2", systemd=False, kernel_options="init=/usr/local/sbin/guest-init", reboot="sync; reboot --force",
        docker=True,
    ),
    "bookworm": Kind("bookworm", "v2"),
    "bookworm-hybrid": Kind("bookworm", "hybrid", "memory.limit_in_bytes", kernel_options=LEGACY),
    "bookworm-v1": Kind(
        "bookworm", "v1", "memory.limit_in_bytes", kernel_options=f"{LEGACY} systemd.legacy_systemd_cgroup_controller"
    ),
}


def travel(name, binary):
    """The whole journey on one machine; returns whether each step went well."""
    kind = KINDS[name]
    system = disks.system(kind.release)
    home = disks.CACHE / "guests" / "runs" / name
    home.mkdir(parents=True, exist_ok=True)
    guest = Guest(system, disks.brought(system, binary, home), home, kind.kernel_options)
    guest.make_disk()
    outcomes = []
    started = time.monotonic()
    try:
        guest.switch_on()
        disks.say(f"{name}: booted in {time.monotonic() - started:.0f} s")
        for title, step in Journey(guest, kind).steps():
            outcomes.append(take(name, title, step))
            if not outcomes[-1]:
                # What follows builds on it.
                print(evidence(guest), flush=True)
                break
    finally:
        guest.switch_off()
    return outcomes


def take(name, title, step):
    started = time.monotonic()
    try:
        step()
    except Exception:
        disks.say(f"{name}: FAILED {title}")
        traceback.print_exc()
        return False
    disks.say(f"{name}: ok {title} ({time.monotonic() - started:.0f} s)")
    return True


def evidence(guest):
    """The platform's log."""
    try:
        return guest.run("journalctl -u hull --no-pager -n 60 2>/dev/null || tail -n 60 /var/lib/hull/daemon.log")[1]
    except Exception as error:
        return f"the guest cannot be asked: {error}"


def main():
    parser = argparse.ArgumentParser(description="Boots real machines and does on each what an operator does.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all by default")
    args = parser.parse_args()
    unknown = set(args.kinds) - set(KINDS)
    if unknown:
        parser.error(f"no kind is named {', '.join(unknown)}: there are {', '.join(KINDS)}")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or disks.REPO / "target")
    binary = Path(os.environ.get("HULL_BINARY") or target / "release/hull")
    outcomes = [outcome for name in args.kinds or KINDS for outcome in travel(name, binary)]
    print(f"{sum(outcomes)} passed, {len(outcomes) - sum(outcomes)} failed")
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
