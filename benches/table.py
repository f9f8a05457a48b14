"""Figures as a Markdown table, with ratios and what the targets make of them."""

import json
from dataclasses import dataclass
from pathlib import Path

ORDER = ["runc", "ctr", "docker", "podman", "hull", "hull-docker"]
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass
class Target:
    """hull's `figure` against a peer's, or against a number when there is no peer."""

    says: str
    figure: str
    limit: float
    peer: str = ""
    peer_figure: str = ""
    kind: str = "ratio"  # ratio: hull / peer; difference: hull - peer; value: hull itself
    at_least: bool = False
    ours: str = "hull"

    def judge(self, figures):
        """(what was found, whether that is good enough); None where a side was not measured."""
        ours = _median(figures, self.figure, self.ours)
        theirs = _median(figures, self.peer_figure or self.figure, self.peer) if self.peer else 1.0
        if ours is None or theirs is None:
            return None
        found = {"ratio": ours / theirs, "difference": ours - theirs, "value": ours}[self.kind]
        return found, found >= self.limit if self.at_least else found <= self.limit


LOG = "log of 100 MB in lines of 100 bytes"


def _docker_targets():
    """docker's own clients at hull, of the same clients at Docker Engine."""
    for says, figure, limit, at_least in (
        ("`docker run --rm`, of Engine's", "run --rm, bridge", 0.6, False),
        ("`compose up` of ten, of Engine's", "compose up of ten, side by side", 0.6, False),
        ("`compose up` of a chain, of Engine's", "compose up of ten, in a chain", 0.6, False),
        ("`compose up` of a healthy chain, of Engine's", "compose up of ten, healthy in a chain", 0.6, False),
        ("`docker ps -a` of 1000, of Engine's", "CLI list of 1000", 0.5, False),
        ("log throughput by Docker's API, of Engine's", LOG, 1.0, True),
        ("`docker logs`, of Engine's", "that log read, 100 MB", 1.0, True),
        ("`docker cp` of a file in, of Engine's", "cp in, a file of 250 MB", 1.0, True),
        ("`docker cp` of a file out, of Engine's", "cp out, a file of 250 MB", 1.0, True),
        ("`docker cp` of a tree in, of Engine's", "cp in, a tree of 5000 files", 1.0, True),
        ("`docker cp` of a tree out, of Engine's", "cp out, a tree of 5000 files", 1.0, True),
    ):
        yield Target(says, figure, limit, "docker", at_least=at_least, ours="hull-docker")


TARGETS = [
    Target("`run --rm` with network, of ctr's without", "run --rm, bridge", 1.15, "ctr", "run --rm, none"),
    Target("`run --rm` with network, of Docker's", "run --rm, bridge", 0.6, "docker"),
    Target("added by us to a start without network, ms", "run -d, none", 15, "ctr", kind="difference"),
    Target("added by us to a start and its removal, ms", "run --rm, none", 15, "ctr", kind="difference"),
    Target("100 in sequence, of Docker's", "100 started in sequence, bridge", 0.5, "docker"),
    Target("100 in sequence, of Podman's", "100 started in sequence, bridge", 1.0, "podman"),
    Target("100 eight at a time, of Docker's", "100 started eight at a time, bridge", 0.5, "docker"),
    Target("100 eight at a time, of Podman's", "100 started eight at a time, bridge", 1.0, "podman"),
    Target("log throughput, of Podman's", LOG, 1.0, "podman", at_least=True),
    *_docker_targets(),
    Target("idle memory, MiB", "idle memory with 0", 100, kind="value"),
    Target("idle memory, of Docker's", "idle memory with 0", 0.5, "docker"),
    Target("idle CPU, % of a core", "idle CPU with 0", 1.0, kind="value"),
    Target("API read of one, ms", "API read of one among 1000", 1.0, kind="value"),
]


def _median(figures, figure, engine):
    result = figures.get(figure, {}).get(engine, {})
    return result.get("median")


def load(path):
    """The last word on each figure: a later line of the same figure and engine replaces an earlier one."""
    figures, about = {}, {}
    for line in Path(path).read_text().splitlines():
        entry = json.loads(line)
        if "machine" in entry:
            about = {**entry, "versions": {**about.get("versions", {}), **entry["versions"]}}
        else:
            figures.setdefault(entry["figure"], {})[entry["engine"]] = entry
    return figures, about


def render(figures, about):
    return "\n".join([*_about(about), "", *_figures(figures), "", *_targets(figures), "", *_notes(figures)]).rstrip()


def _about(about):
    if not about:
        return []
    m = about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"{about['date']}: {m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}, "
        f"cgroups {m['cgroups']}. {versions}."
    ]


def _figures(figures):
    names = [n for n in ORDER if any(n in engines for engines in figures.values())]
    pairs = [("hull", n) for n in names if n in ("ctr", "docker", "podman") and "hull" in names]
    pairs += [("hull-docker", "docker")] if {"hull-docker", "docker"} <= set(names) else []
    yield _row(["median (min to max)", "unit", *names, *(f"{ours} ÷ {peer}" for ours, peer in pairs)])
    yield _row(["---"] * (2 + len(names) + len(pairs)))
    for figure, engines in figures.items():
        if not any("median" in result for result in engines.values()):
            continue
        unit = next(result["unit"] for result in engines.values() if "unit" in result)
        ratios = [_ratio(_median(figures, figure, ours), _median(figures, figure, peer)) for ours, peer in pairs]
        yield _row([figure, unit, *(_cell(engines.get(name)) for name in names), *ratios])


def _cell(result):
    if not result:
        return ""
    if "error" in result:
        return "failed"
    spread = f" ({_number(result['min'])} to {_number(result['max'])})" if "min" in result else ""
    return _number(result["median"]) + spread


def _ratio(ours, theirs):
    return f"{ours / theirs:.2f}" if ours is not None and theirs else ""


def _number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _targets(figures):
    judged = [(target, target.judge(figures)) for target in TARGETS]
    if not any(found for _, found in judged):
        return
    yield _row(["target", "wanted", "found", ""])
    yield _row(["---"] * 4)
    for target, found in judged:
        wanted = ("at least " if target.at_least else "at most ") + _number(target.limit)
        if found is None:
            yield _row([target.says, wanted, "", "not measured"])
        else:
            yield _row([target.says, wanted, f"{found[0]:.2f}", "met" if found[1] else "**missed**"])


def _notes(figures):
    for figure, engines in figures.items():
        for name, result in engines.items():
            if "error" in result:
                yield f"- {name}, {figure}: {result['error']}"
    disturbed = [
        figure for figure, engines in figures.items()
        if any(result.get("foreign", 0) > 0.3 for result in engines.values())
    ]  # fmt: skip
    if disturbed:
        which = f"{len(disturbed)} of {len(figures)} figures" if len(disturbed) > 5 else ", ".join(disturbed)
        yield (
            f"Others used more than 30 % of the processors during {which}: there the ratios say more than the "
            "times, and the minimum more than the median."
        )


def _row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main(results, readme):
    text = render(*load(results))
    if readme is None:
        print(text)
        return
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    print(f"bench: figures written to {readme}")
