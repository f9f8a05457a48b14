#!/usr/bin/env python3
"""Runs the scenarios of tests/docker/scenarios against the engine that DOCKER_HOST names.

    suite.py [--ours [--draft FILE]] [--record] [--jobs N] [--patience N] [--again] [--work DIR] [NAME...]

Expected is what Docker Engine answered. With --ours the outcomes in `differences` stand in for Engine's:
there each has its reason, and --draft writes down those that are missing. With --record what the engine answers is written into the scenarios.

Containers are made from the starter images; `tests/docker/clients` fetches the clients.
"""

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ping
import plain
import registries
import scenario
from shell import Shell, TooSlow

HERE = Path(__file__).resolve().parent
SCENARIOS = HERE / "scenarios"
CLIENTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull/docker-clients"
DEADLINE = 60
RECORDED = "docker CLI 28.5.2 from Docker Engine 28.5.2"


@dataclass
class Result:
    name: str
    seconds: float
    faults: list
    # Steps with another outcome than expected, with that outcome.
    others: list


class Suite:
    def __init__(self, work, ours, record, patience=1):
        self.work, self.record, self.patience = work, record, patience
        text = (HERE / "differences").read_text() if ours else ""
        self.differences = scenario.differences(text, ping.conditions())

    def run(self, path):
        started = time.monotonic()
        found = scenario.parse(path.stem, path.read_text())
        home = self.work / found.name
        shutil.rmtree(home, ignore_errors=True)
        (home / ".docker").mkdir(parents=True)
        (home / ".docker/config.json").write_text(f'{{"cliPluginsExtraDirs": ["{CLIENTS}/plugins"]}}\n')
        environment = self._environment(home)
        sweep(found.name, environment)
        shell = Shell(home, environment, self.patience * int(found.settings.get("deadline", DEADLINE)))
        try:
            faults, others = self._play(found, shell, home)
        finally:
            shell.close()
            sweep(found.name, environment)
            shutil.rmtree(home, ignore_errors=True)
        if self.record:
            path.write_text(found.text())
        return Result(found.name, time.monotonic() - started, faults, others)

    def _play(self, found, shell, home):
        ours, faults, others = self.differences.get(found.name, {}), [], []
        unused = set(ours)
        for step in found.steps():
            try:
                out, err, code = shell.run(step.command)
            except TooSlow as slow:
                return [*faults, f"{found.name}:{step.line}: {slow}"], others
            seen = scenario.Outcome(plain.lines(out, home), plain.lines(err, home), code)
            expected = ours.get(step.command, step.outcome)
            unused.discard(step.command)
            if self.record:
                step.outcome = seen
            elif seen != expected:
                faults.append(f"{found.name}:{step.line}: {step.command}\n{_difference(expected, seen)}")
                others.append(scenario.Step(step.command, seen, step.line))
        faults += [f"differences: {found.name} has no such command: {command}" for command in sorted(unused)]
        return faults, others

    def _environment(self, home):
        path = [str(HERE / "bin"), str(CLIENTS), os.environ["PATH"]]
        return {
            "PATH": ":".join(path), "HOME": str(home), "DOCKER_CONFIG": str(home / ".docker"),
            "DOCKER_HOST": os.environ["DOCKER_HOST"], "DOCKER_CLI_HINTS": "false", "BUILDKIT_PROGRESS": "plain",
            "LANG": "C.UTF-8", "TERM": "dumb", "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain",
        }  # fmt: skip


def _difference(expected, seen):
    lines = difflib.unified_diff(expected.lines(), seen.lines(), "expected", "seen", lineterm="", n=2)
    return "\n".join(f"    {line}" for line in list(lines)[2:])


def sweep(name, environment):
    """Removes what a scenario left: all of it is named after the scenario, or labelled."""
    script = """
        all() { docker ps -aq --filter "name=^/?$1-" ; docker ps -aq --filter "label=scenario=$1"
            docker ps -aq --filter "label=com.docker.compose.project=$1"; }
        found=$(all "$1"); [ -z "$found" ] || docker rm --force --volumes $found
        for kind in network volume; do
            found=$(docker $kind ls -q --filter "name=^$1[-_]"); [ -z "$found" ] || docker $kind rm $found
        done
        found=$(docker image ls --format '{{.Repository}}:{{.Tag}}' | grep "^\\(127.0.0.1:5557/\\)\\?$1-")
        [ -z "$found" ] || docker image rm --force $found
    """
    # What cannot be removed shows in the next run of that scenario.
    try:
        subprocess.run(["bash", "-c", script, "sweep", name], env=environment, timeout=120,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"suite: what {name} left was not removed within two minutes", flush=True)


def chosen(names):
    paths = sorted(SCENARIOS.glob("*.scenario"))
    unknown = set(names) - {path.stem for path in paths}
    if unknown:
        raise SystemExit(f"suite: no scenario is named {', '.join(sorted(unknown))}")
    return [path for path in paths if not names or path.stem in names]


def versions():
    """What is spoken with: a client or an engine of another version may say things otherwise."""
    form = "docker CLI {{.Client.Version}}, engine {{.Server.Version}} (API {{.Server.APIVersion}})"
    found = subprocess.run([CLIENTS / "docker", "version", "--format", form], stdout=subprocess.PIPE, text=True)
    print(f"suite: {found.stdout.strip()}; recorded with {RECORDED}")


def prepare():
    """The image that scenarios start from."""
    pull = subprocess.run([CLIENTS / "docker", "pull", "--quiet", "busybox"], stdout=subprocess.DEVNULL)
    if pull.returncode:
        raise SystemExit("suite: busybox cannot be pulled; scenarios need it")


def draft(results):
    """What would have to stand in `differences`; a person says why, or mends it."""
    lines = []
    for result in results:
        if result.others:
            lines += [f"## {result.name}"]
        for step in result.others:
            lines += ["# WHY?", *step.lines(), ""]
    return "\n".join(lines)


def is_possible(path):
    """Whether this machine and the engine have what the scenario needs."""
    needs = scenario.parse(path.stem, path.read_text()).settings.get("needs")
    if needs == "cgroups-1" and Path("/sys/fs/cgroup/cgroup.controllers").exists():
        print(f"skip   {path.stem}: this machine has version 2 of cgroups")
        return False
    if needs == "buildkit" and needs not in ping.conditions():
        print(f"skip   {path.stem}: this engine has no BuildKit of its own")
        return False
    return True


def tell(result, word="ok"):
    print(f"{'FAILED' if result.faults else word:6} {result.name} ({result.seconds:.1f} s)", flush=True)
    for fault in result.faults:
        print(fault, flush=True)


def try_again(suite, paths, results):
    """Each that failed, once more and alone; tells how many pass then. They are faults to be found like any other."""
    failed = [at for at, result in enumerate(results) if result.faults]
    for at in failed:
        path = next(path for path in paths if path.stem == results[at].name)
        results[at] = suite.run(path)
        tell(results[at], "FLAKY")
    return sum(not results[at].faults for at in failed)


def main():
    parser = argparse.ArgumentParser(description="Runs the Docker scenarios against DOCKER_HOST.")
    parser.add_argument("--ours", action="store_true", help="expect what stands in `differences`")
    parser.add_argument("--record", action="store_true", help="write down what is answered")
    parser.add_argument("--draft", type=Path, help="a file for what is to be added to `differences`")
    parser.add_argument("--patience", type=int, default=1, metavar="N", help="make deadlines N times as long")
    parser.add_argument("--again", action="store_true", help="try what failed once more, alone")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios at a time")
    parser.add_argument("--work", type=Path, default=os.environ.get("ENGINE_WORK"), help="a directory that the engine sees by the same name")
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    if "DOCKER_HOST" not in os.environ:
        raise SystemExit("suite: DOCKER_HOST is not set: it names the engine, as unix:///run/hull/docker.sock does")
    if not (CLIENTS / "docker").exists():
        raise SystemExit("suite: there are no clients: run tests/docker/clients")
    work = Path(tempfile.mkdtemp(prefix="hull-docker-", dir=args.work))
    suite, results = Suite(work, args.ours, args.record, args.patience), []
    paths = [path for path in chosen(args.names) if is_possible(path)]
    together = [path for path in paths if "#: alone" not in path.read_text()]
    try:
        versions()
        with registries.private(work):
            prepare()
            with ThreadPoolExecutor(args.jobs) as pool:
                for result in pool.map(suite.run, together):
                    tell(result)
                    results.append(result)
            for path in paths:
                if path not in together:
                    results.append(suite.run(path))
                    tell(results[-1])
            flaky = try_again(suite, paths, results) if args.again else 0
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if args.draft:
        args.draft.write_text(draft(results))
    failed = sum(bool(result.faults) for result in results)
    print(f"{len(results) - failed} passed ({flaky} of them FLAKY), {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
