#!/usr/bin/env python3
"""How long `hull run` takes to a guest's userland, beside the same QEMU command by hand.

    benches/machines.py --hull target/release/hull [--rounds 5]

A node of its own, in a directory of its own, runs the starter image `hull-tiny`; QEMU by hand gets the
words that hull's QEMU got, but for its network, which is QEMU's own with no way out, and its sockets. Both
are taken in turns. What is waited for is the line that the guest writes when it has started. Then several
machines run at once, to tell what each one more costs the platform. Prints one JSON line a figure.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

UP = b"guest is up"
MEMORY = "256m"
DEADLINE = 120
# The monitor's program, as it is called inside a machine's walls.
INSIDE = "/hull"
MANY = 4
SETTLE = 30


def until_up(stream, began):
    """Milliseconds from `began` until the guest's line comes."""
    text = b""
    while True:
        piece = stream.read1(4096)
        if not piece or time.monotonic() - began > DEADLINE:
            raise SystemExit(f"machines: the guest did not start: {text[-400:]!r}")
        text += piece
        if UP in text:
            return (time.monotonic() - began) * 1000


class Hull:
    """A node that lives as long as the measurement."""

    def __init__(self, program, root):
        self.words = [program, "--root", str(root)]
        etc = root / "etc/hull"
        etc.mkdir(parents=True)
        (etc / "hull.toml").write_text('[node]\nname = "bench"\n[api]\nlisten = "127.0.0.1:0"\n'
                                       '[network]\npool = "10.126.192.0/18"\n')
        self.root = root
        self.ok("up")

    def ok(self, *words):
        done = subprocess.run([*self.words, *words], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"machines: hull {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def boot(self):
        """Runs a machine in the foreground until it is up."""
        began = time.monotonic()
        run = subprocess.Popen([*self.words, "run", "--name", "vm", "--memory", MEMORY, "hull-tiny"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        took = until_up(run.stdout, began)
        run.send_signal(signal.SIGKILL)
        run.wait()
        return took

    def qemu(self):
        """Process id of the machine's QEMU."""
        found = json.loads(self.ok("inspect", "vm", "-o", "json"))
        found = found[0] if isinstance(found, list) else found
        return children(found["status"]["containers"][0]["pid"])[0]

    def platform(self):
        """KiB (PSS) of all the platform's processes, without the QEMUs."""
        mine, total = str(self.root).encode(), 0
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if mine in (process / "cmdline").read_bytes():
                    total += sum(pss(pid) for pid in tree(int(process.name)))
            except OSError:
                continue
        return total

    def each_more(self, count):
        """KiB by which the platform grows with each machine, from the first to the last of `count`."""
        sizes = []
        for number in range(count):
            self.ok("run", "-d", "--name", f"many{number}", "--memory", MEMORY, "hull-tiny")
            if number in (0, count - 1):
                # What starting them needed is given back after some seconds.
                time.sleep(SETTLE)
                sizes.append(self.platform())
        self.ok("rm", "-f", *(f"many{number}" for number in range(count)))
        return round((sizes[-1] - sizes[0]) / (count - 1))

    def stop(self):
        began = time.monotonic()
        self.ok("stop", "-t", "60", "vm")
        return (time.monotonic() - began) * 1000

    def remove(self):
        self.ok("rm", "-f", "vm")

    def end(self):
        clean = pathlib.Path(__file__).resolve().parent.parent / "scripts/clean-node"
        subprocess.run([clean, self.root], capture_output=True,
                       env={**os.environ, "FORCE": "1", "HULL": self.words[0]})


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def tree(pid):
    """A process and those it started in machines' walls: their words do not name the node."""
    yield pid
    for child in children(pid):
        if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "hull" and INSIDE in words(child):
            yield child


def words(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def pss(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def by_hand(given, files, place):
    """The words of hull's QEMU, for one that runs outside the walls."""
    out, skip = [], False
    for index, word in enumerate(given):
        if skip:
            skip = False
            continue
        after = given[index + 1] if index + 1 < len(given) else ""
        if word == "-chardev" and ("id=control" in after or "path=/machine" in after):
            skip = True
            continue
        if word == "-mon" or (word == "-device" and "virtserialport" in after) or word == "-vnc":
            skip = True
            continue
        if word == "-netdev":
            name = re.search(r"id=([^,]+)", after)[1]
            out += ["-netdev", f"user,id={name},restrict=on"]
            skip = True
            continue
        for inside, outside in files.items():
            word = word.replace(inside, outside)
        out.append(word)
    return [*out, "-display", "none"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hull", required=True, help="the program")
    parser.add_argument("--image", default=str(pathlib.Path.home() / ".cache/monohull/images/hull-tiny"),
                        help="an OCI layout of hull-tiny (make images SUBSET=test)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    place = pathlib.Path(tempfile.mkdtemp(prefix="hull-bench-"))
    hull = Hull(arguments.hull, place / "node")
    figures = {"hull": [], "qemu": [], "stop": []}
    try:
        hull.ok("image", "import", arguments.image)
        hull.boot()
        pid = hull.qemu()
        given = words(pid)[1:]
        inside = pathlib.Path(f"/proc/{pid}/root")
        shutil.copytree(inside / "boot", place / "boot")
        shutil.copytree(inside / "disk", place / "disk")
        shutil.copy(inside / "machine/disks/seed.iso", place / "seed.iso")
        figures["stop"].append(hull.stop())
        hull.remove()
        files = {"/boot/": f"{place}/boot/", "/machine/disks/": f"{place}/"}
        for _ in range(arguments.rounds):
            figures["hull"].append(hull.boot())
            figures["stop"].append(hull.stop())
            hull.remove()
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
                            place / "disk/disk.qcow2", place / "root.qcow2"], check=True)
            began = time.monotonic()
            qemu = subprocess.Popen(["qemu-system-x86_64", *by_hand(given, files, place)],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            figures["qemu"].append(until_up(qemu.stdout, began))
            qemu.kill()
            qemu.wait()
        memory = hull.each_more(MANY)
    finally:
        hull.end()
        shutil.rmtree(place, ignore_errors=True)
    for name, samples in figures.items():
        print(json.dumps({"figure": f"machine {name}", "unit": "ms", "median": statistics.median(samples),
                          "min": min(samples), "max": max(samples), "n": len(samples)}))
    ratio = statistics.median(figures["hull"]) / statistics.median(figures["qemu"])
    print(json.dumps({"figure": "hull run to userland / QEMU by hand", "ratio": round(ratio, 3)}))
    print(json.dumps({"figure": "platform's memory for one more machine, beside its QEMU", "unit": "KiB", "median": memory}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
