"""What the engine that DOCKER_HOST names says of itself when it is asked whether it is there."""

import os
import subprocess


def conditions():
    """What scenarios, differences and skipped tests may need of it: `buildkit` or `no-buildkit`."""
    return {"buildkit" if has_buildkit(head()) else "no-buildkit"}


def has_buildkit(answer):
    """Whether it says that clients are to build by BuildKit."""
    return "builder-version: 2" in answer.lower()


def head():
    kind, _, where = os.environ["DOCKER_HOST"].partition("://")
    words = ["--unix-socket", where, "http://engine/_ping"] if kind == "unix" else [f"http://{where}/_ping"]
    said = subprocess.run(["curl", "--silent", "--max-time", "20", "--head", *words], stdout=subprocess.PIPE, text=True)
    return said.stdout
