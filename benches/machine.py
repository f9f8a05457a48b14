"""What the machine was doing while something was measured.

The machine is rarely ours alone. Each sample carries the share of its processors that others used
meanwhile, and the samples that were least disturbed are kept: chosen by that share, never by the outcome.
"""

import os
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

HERTZ = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count()
# Up to this foreign share of the processors a sample counts as undisturbed.
QUIET = 0.2


def _cpu_file():
    """The CPU clock of our cgroup, in which all measured work sits (peers/env)."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpuacct" in options.split(","):
            return Path(place) / "cpuacct.usage"
    return Path("/sys/fs/cgroup/cpu.stat")


CPU_FILE = _cpu_file()


def own_cpu():
    """CPU seconds of everything inside our place, containers included."""
    text = CPU_FILE.read_text()
    microseconds = re.search(r"usage_usec (\d+)", text)
    return int(microseconds.group(1)) / 1e6 if microseconds else int(text) / 1e9


def busy_cpu():
    """CPU seconds of the whole machine."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / HERTZ


@dataclass
class Sample:
    value: float
    cpu: float
    foreign: float


def observe(action):
    """Runs `action`, which returns its own figure or None to have its duration taken."""
    busy, own, start = busy_cpu(), own_cpu(), time.perf_counter()
    value = action()
    wall = time.perf_counter() - start
    own = own_cpu() - own
    foreign = max(0.0, busy_cpu() - busy - own) / (wall * CORES)
    return Sample(wall if value is None else value, own, min(foreign, 1.0))


def interleaved(actions, count, seconds):
    """Takes samples of each action in turn, so that all see the same machine.

    Goes on, up to three times `count` rounds and about `seconds`, until each action has `count` quiet
    samples; then keeps for each the `count` quietest.
    """
    taken = {name: [] for name in actions}
    deadline = time.monotonic() + seconds
    for round_number in range(3 * count):
        if round_number >= count and (time.monotonic() > deadline or _all_quiet(taken, count)):
            break
        for name, action in actions.items():
            taken[name].append(observe(action))
    return {name: sorted(samples, key=lambda s: s.foreign)[:count] for name, samples in taken.items()}


def _all_quiet(taken, count):
    return all(sum(s.foreign < QUIET for s in samples) >= count for samples in taken.values())


def summary(samples):
    """Median, spread, CPU and disturbance of the samples kept."""
    values = sorted(s.value for s in samples)
    return {
        "n": len(values),
        "median": statistics.median(values),
        "min": values[0],
        "max": values[-1],
        "p99": values[min(len(values) - 1, int(len(values) * 0.99))],
        "cpu_ms": round(statistics.median(s.cpu for s in samples) * 1e3, 2),
        "foreign": round(statistics.mean(s.foreign for s in samples), 3),
    }


def resident():
    """Proportional memory of the engines' processes, MiB by command; containers' own are left out."""
    here, total = os.readlink("/proc/self/ns/pid"), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/pid") != here or int(process.name) in (1, os.getpid()):
                continue
            name = (process / "comm").read_text().strip()
            match = re.search(r"^Pss:\s+(\d+)", (process / "smaps_rollup").read_text(), re.M)
        except OSError:
            continue
        if match:
            total[name] = total.get(name, 0) + int(match.group(1)) / 1024
    return total


def describe():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": cpu.group(1) if cpu else os.uname().machine,
        "cores": CORES,
        "memory_gib": round(int(memory.group(1)) / 2**20),
        "kernel": os.uname().release,
        "cgroups": "v2" if CPU_FILE.name == "cpu.stat" else "v1",
        "load": Path("/proc/loadavg").read_text().split()[0],
    }
