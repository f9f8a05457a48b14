#!/usr/bin/env python3
"""Measures hull beside its peers, in one run, and says what that makes of the targets.

    bench.py run [--out FILE]        inside the place of peers/env; `make bench` does all of it
    bench.py table FILE              the figures as a Markdown table
    bench.py table FILE --readme README.md

Durations of single operations are taken in turns, engine by engine, so that all see the same machine.
Memory, idle CPU and cold starts are taken with one engine alone: shared pages would flatter two.
"""

import argparse
import collections
import itertools
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engines
import machine
import table

LINE = "A" * 99
# Looks at memory while an engine idles.
LOOKS = 10


class Bench:
    def __init__(self, chosen, options, out):
        self.all, self.options, self.out = chosen, options, out

    # --- recording ---

    def record(self, figure, engine, unit, scale, samples, **more):
        result = machine.summary(samples)
        for key in ("median", "min", "max", "p99"):
            result[key] = round(result[key] * scale, 4)
        self.write({"figure": figure, "engine": engine.name, "unit": unit, **result, **more})

    def write(self, line):
        line = {"at": time.strftime("%H:%M:%S"), **line}
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()
        print({k: line[k] for k in ("figure", "engine", "median", "unit", "foreign", "error") if k in line}, flush=True)

    def in_turns(self, figure, actions, unit="ms", scale=1e3, count=None, **more):
        """actions: engine -> function. One that fails is left out, with the reason on record."""
        working = {}
        for engine, action in actions.items():
            try:
                action()
                working[engine] = action
            except (engines.Failed, OSError, EOFError) as error:
                self.write({"figure": figure, "engine": engine.name, "error": str(error)})
        if working:
            taken = machine.interleaved(working, count or self.options.samples, self.options.seconds)
            for engine, samples in taken.items():
                self.record(figure, engine, unit, scale, samples, **more)

    def on(self, network):
        return [engine for engine in self.all if network in engine.networks]

    # --- one container ---

    def run_rm(self):
        for network in ("bridge", "none"):
            actions = {e: lambda e=e, n=network: engines.call(e.run_rm(n, ["true"])) for e in self.on(network)}
            self.in_turns(f"run --rm, {network}", actions)

    def run_d(self):
        for network in ("bridge", "none"):
            made = {engine: [] for engine in self.on(network)}

            def start(engine, network=network, made=made):
                made[engine].append(engines.fresh_name())
                engines.call(engine.run_d(network, made[engine][-1]))

            self.in_turns(f"run -d, {network}", {e: lambda e=e: start(e) for e in made})
            self.remove_all(made)

    def remove_all(self, made):
        for engine, names in made.items():
            for name in names:
                try:
                    engine.remove_now([name])
                except engines.Failed:
                    pass  # it was never made: that is on record already

    def exec(self):
        targets = {}
        for engine in self.all:
            name = engines.fresh_name()
            engines.call(engine.run_d(engine.networks[0], name))
            targets[engine] = name
        self.in_turns("exec true", {e: lambda e=e, n=n: engines.call(e.exec(n)) for e, n in targets.items()})
        self.remove_all({engine: [name] for engine, name in targets.items()})

    # --- a hundred ---

    def hundred(self):
        count = self.options.containers
        results = {}
        for _ in range(self.options.rounds):
            for engine in self.all:
                self._hundred_once(engine, engine.networks[0], count, results)
        for (figure, engine), samples in results.items():
            self.record(figure, engine, "s", 1, samples)

    def _hundred_once(self, engine, network, count, results):
        for figure, workers in ((f"{count} started in sequence", 1), (f"{count} started eight at a time", 8)):
            names = [engines.fresh_name() for _ in range(count)]
            sample = machine.observe(lambda w=workers, n=names: self._start_many(engine, network, n, w))
            results.setdefault((f"{figure}, {network}", engine), []).append(sample)
            sample = machine.observe(lambda n=names: engine.remove_now(n))
            results.setdefault((f"{count} removed by one command, {network}", engine), []).append(sample)

    @staticmethod
    def _start_many(engine, network, names, workers):
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda name: engines.call(engine.run_d(network, name)), names))

    # --- logs ---

    def logs(self):
        size = self.options.log_mb * 1_000_000
        command = ["sh", "-c", f"yes {LINE} | head -c {size}"]

        def write(engine):
            start = time.perf_counter()
            kept = engine.log(command)
            took = time.perf_counter() - start
            found = kept if isinstance(kept, int) else engine.log_size(kept)
            check(engine, found)
            if kept is not found:
                engine.remove_now([kept])
            return self.options.log_mb / took

        def check(engine, found):
            if found != size:
                raise engines.Failed(f"{engine.name} has {found} bytes of {size} in its log")

        def read(engine, name):
            start = time.perf_counter()
            check(engine, engine.log_size(name))
            return self.options.log_mb / (time.perf_counter() - start)

        self.in_turns(
            f"log of {self.options.log_mb} MB in lines of 100 bytes", {e: lambda e=e: write(e) for e in self.all},
            unit="MB/s", scale=1, count=self.options.rounds,
        )  # fmt: skip
        written = {e: e.log(command) for e in self.all if isinstance(e, engines.DockerLike)}
        self.in_turns(
            f"that log read, {self.options.log_mb} MB", {e: lambda e=e, n=n: read(e, n) for e, n in written.items()},
            unit="MB/s", scale=1, count=self.options.rounds,
        )  # fmt: skip
        self.remove_all({engine: [name] for engine, name in written.items()})

    # --- copies ---

    def cp(self):
        """A big file and a tree of many small ones, into a running container and out of it."""
        data = Path("/var/tmp/bench-cp")
        shutil.rmtree(data, ignore_errors=True)
        file, tree = _big_file(data / "file", self.options.copy_mb), _small_files(data / "tree", self.options.copy_files)
        targets = {e: engines.fresh_name() for e in self.all if isinstance(e, engines.DockerLike)}
        numbers = itertools.count()
        for engine, name in targets.items():
            engines.call(engine.run_d("none", name))

        def copy(engine, source, target, amount):
            # Not over an earlier tree, nor after one was removed: ext4 keeps from using again what was deleted
            # in the last seconds, and looks for long.
            target = target.format(next(numbers))
            os.sync()  # what an earlier copy left to be written is not this one's
            start = time.perf_counter()
            engines.call(engine.copy(source, target))
            return amount / (time.perf_counter() - start)

        kinds = (
            (f"a file of {self.options.copy_mb} MB", "MB/s", file, "file", self.options.copy_mb),
            (f"a tree of {self.options.copy_files} files", "files/s", tree, "tree-{}", self.options.copy_files),
        )
        (data / "back").mkdir()
        for what, unit, path, to, amount in kinds:
            for engine, name in targets.items():
                engines.call(engine.copy(str(path), f"{name}:/source-{path.name}"))
            ways = {
                f"cp in, {what}": lambda n, p=path, t=to: (str(p), f"{n}:/{t}"),
                f"cp out, {what}": lambda n, p=path, t=to: (f"{n}:/source-{p.name}", str(data / "back" / t)),
            }
            for figure, way in ways.items():
                actions = {e: lambda e=e, w=way(n), a=amount: copy(e, *w, a) for e, n in targets.items()}
                self.in_turns(figure, actions, unit=unit, scale=1, count=self.options.rounds)
        self.remove_all({engine: [name] for engine, name in targets.items()})
        shutil.rmtree(data)

    # --- Compose ---

    def compose(self):
        """`docker compose up -d` of ten services: side by side, each after the one before, and each once
        the one before is healthy. The project is taken down again outside the figure."""
        directory = Path("/var/tmp/bench-compose")
        directory.mkdir(exist_ok=True)
        for what, condition in (("side by side", None), ("in a chain", "service_started"), ("healthy in a chain", "service_healthy")):
            file = directory / f"{condition}.json"
            file.write_text(json.dumps({"services": _services(10, condition)}))

            def up(engine, file=str(file)):
                project = engines.fresh_name()
                start = time.perf_counter()
                try:
                    engines.call(engine.up(project, file))
                    return time.perf_counter() - start
                finally:
                    engines.call(engine.down(project, file))

            actions = {e: lambda e=e: up(e) for e in self.all if e.compose}
            self.in_turns(f"compose up of ten, {what}", actions, count=self.options.rounds + 2)

    # --- API ---

    def api(self):
        """A list of many instances that were created and not started."""
        listed = {}
        for engine in (e for e in self.all if e.api):
            if isinstance(engine, engines.Podman):
                engine.service.start()
            try:
                names = next((n for e, n in listed.items() if e.daemon and e.daemon is engine.daemon), None)
                if names is None:
                    names = [engines.fresh_name() for _ in range(self.options.instances)]
                    engine.create(names)
                listed[engine] = names
            except engines.Failed as error:
                self.write({"figure": "API list", "engine": engine.name, "error": str(error)})
        count = self.options.instances
        self.in_turns(f"API list of {count}", {e: lambda e=e: self._list(e) for e in listed}, count=40)
        reads = {e: lambda e=e, n=names[0]: self._read(e, n) for e, names in listed.items()}
        self.in_turns(f"API read of one among {count}", reads, count=100)
        self.in_turns(f"CLI list of {count}", {e: lambda e=e: engines.call(e.list_command()) for e in listed})
        removed = set()
        for engine, names in listed.items():
            for start in range(0, len(names) if names[0] not in removed else 0, 100):
                engine.remove_now(names[start : start + 100])
            removed.add(names[0])
            if isinstance(engine, engines.Podman):
                engine.service.stop()

    @staticmethod
    def _list(engine):
        engine.api.list()

    @staticmethod
    def _read(engine, name):
        engine.api.one(name)

    # --- alone ---

    def alone(self):
        """Cold starts, and what an engine costs that has nothing to do."""
        for engine in self.all:
            engine.stop()
        daemons = set()
        for engine in self.all:
            if engine.daemon in daemons:
                continue  # it was measured under another name
            daemons.add(engine.daemon)
            try:
                self._alone(engine)
            except engines.Failed as error:
                self.write({"figure": "alone", "engine": engine.name, "error": str(error)})
            engine.stop()

    def _alone(self, engine):
        if engine.daemon:
            samples = []
            for _ in range(self.options.samples // 2):
                samples.append(machine.observe(engine.start))
                engine.stop()
            self.record("daemon cold start to ready", engine, "ms", 1e3, samples)
        engine.start()
        names = []
        for target in (0, 10, self.options.containers):
            new = [engines.fresh_name() for _ in range(target - len(names))]
            self._start_many(engine, engine.networks[0], new, 4)
            names += new
            self._idle(engine, target)
        if names:
            engine.remove_now(names)

    def _resident(self, engine):
        """Mean memory while an engine idles: what comes and goes counts for as long as it is there."""
        mean = collections.Counter()
        for _ in range(LOOKS):
            time.sleep(self.options.idle / LOOKS)
            for command, size in machine.resident().items():
                # What answers names goes on when hull does not, and is none of the others'.
                if engine.name.startswith("hull") or not command.startswith("hull"):
                    mean[command] += size / LOOKS
        return mean

    def _idle(self, engine, count):
        # Long enough for what work leaves behind: garbage collections, caches being written, memory given back.
        time.sleep(self.options.settle)
        cpu = machine.own_cpu()
        memory = self._resident(engine)
        share = 100 * (machine.own_cpu() - cpu) / self.options.idle
        self.write({
            "figure": f"idle memory with {count}", "engine": engine.name, "unit": "MiB",
            "median": round(sum(memory.values()), 1), "by": {k: round(v, 1) for k, v in memory.items()},
        })  # fmt: skip
        self.write({
            "figure": f"idle CPU with {count}", "engine": engine.name, "unit": "% of a core", "median": round(share, 2),
        })  # fmt: skip


def _big_file(path, megabytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = os.urandom(1_000_000)
    with open(path, "wb") as file:
        for _ in range(megabytes):
            file.write(part)
    return path


def _small_files(path, count):
    for number in range(count):
        directory = path / str(number // 100)
        if number % 100 == 0:
            directory.mkdir(parents=True)
        (directory / str(number)).write_bytes(b"x" * 4096)
    return path


def _services(count, condition):
    """Services of a Compose file; with a condition each depends on the one before."""
    services = {}
    for number in range(count):
        service = services[f"s{number}"] = {"image": "busybox", "command": engines.SLEEP}
        if condition == "service_healthy":
            service["healthcheck"] = {"test": ["CMD", "true"], "start_period": "10s", "start_interval": "50ms"}
        if condition and number:
            service["depends_on"] = {f"s{number - 1}": {"condition": condition}}
    return services


FIGURES = ["run_rm", "run_d", "exec", "hundred", "logs", "cp", "compose", "api", "alone"]


def choose(names):
    """The engines that are here; why another is not is said, not passed over."""
    chosen = []
    for engine in engines.all_engines():
        if engine.name not in names:
            continue
        if engine.is_there():
            chosen.append(engine)
        else:
            print(f"bench: {engine.name} is not installed here: not measured", flush=True)
    return chosen


def run(options):
    started, chosen = [], choose(options.engines)
    with open(options.out, "a") as out:
        bench = Bench(started, options, out)
        for engine in chosen:
            try:
                engine.start()
                engine.load_image()
                started.append(engine)
            except engines.Failed as error:
                bench.write({"figure": "start", "engine": engine.name, "error": str(error)})
        versions = {engine.name: engine.version() for engine in started}
        bench.write({"machine": machine.describe(), "versions": versions, "date": time.strftime("%Y-%m-%d")})
        try:
            for figure in options.figures:
                getattr(bench, figure)()
        finally:
            for engine in started:
                engine.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("run")
    words = lambda text: text.split(",")  # noqa: E731
    verb.add_argument("--engines", type=words, default=[e.name for e in engines.all_engines()])
    verb.add_argument("--figures", type=words, default=FIGURES)
    verb.add_argument("--out", type=Path, default=Path("/io/results.jsonl"))
    verb.add_argument("--samples", type=int, default=15, help="of each short operation")
    verb.add_argument("--seconds", type=float, default=90, help="most time for the samples of one figure")
    verb.add_argument("--rounds", type=int, default=3, help="of each long operation")
    verb.add_argument("--containers", type=int, default=100)
    verb.add_argument("--instances", type=int, default=1000, help="in the API's list")
    verb.add_argument("--log-mb", type=int, default=100)
    verb.add_argument("--copy-mb", type=int, default=250)
    verb.add_argument("--copy-files", type=int, default=5000)
    verb.add_argument("--settle", type=float, default=30, help="seconds before a look at an idle engine")
    verb.add_argument("--idle", type=float, default=20, help="seconds over which idle CPU is taken")
    verb.set_defaults(action=run)
    verb = verbs.add_parser("table")
    verb.add_argument("results", type=Path)
    verb.add_argument("--readme", type=Path, help="write the table between its marks in this file")
    verb.set_defaults(action=lambda options: table.main(options.results, options.readme))
    options = parser.parse_args()
    unknown = set(getattr(options, "figures", [])) - set(FIGURES)
    if unknown:
        parser.error(f"no such figures: {', '.join(sorted(unknown))} (there are {', '.join(FIGURES)})")
    return options.action(options)


if __name__ == "__main__":
    sys.exit(main())
