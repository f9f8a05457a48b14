"""Scenario files: commands, and what an engine answered to them.

    # A comment, or a blank line.
    $ docker run --rm busybox sh -c 'echo out; echo err >&2; exit 3'
    > a command goes on here
    | a line of standard output
    ! a line of standard error
    = 3

No `=` stands for the exit code 0. A comment `#: KEY VALUE` is a setting: `deadline` in seconds, `alone` for a
scenario that looks at everything the engine has, `needs` for what not every machine or engine has (`cgroups-1`,
`buildkit`, `no-buildkit`).
"""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    stdout: list = field(default_factory=list)
    stderr: list = field(default_factory=list)
    code: int = 0

    def lines(self):
        code = [f"= {self.code}"] if self.code else []
        return [_marked("|", line) for line in self.stdout] + [_marked("!", line) for line in self.stderr] + code


def _marked(mark, line):
    return f"{mark} {line}" if line else mark


@dataclass
class Step:
    command: str
    outcome: Outcome
    line: int

    def lines(self):
        first, *rest = self.command.split("\n")
        return [f"$ {first}", *(f"> {line}" if line else ">" for line in rest), *self.outcome.lines()]


@dataclass
class Scenario:
    name: str
    # Comments as strings, and steps, in the order of the file.
    items: list
    settings: dict

    def steps(self):
        return [item for item in self.items if isinstance(item, Step)]

    def text(self):
        lines = []
        for item in self.items:
            lines += item.lines() if isinstance(item, Step) else [item]
        return "\n".join(lines) + "\n"


class Malformed(Exception):
    """A file that is no scenario: where, and why."""


def parse(name, text):
    items, settings, step = [], {}, None
    for number, line in enumerate(text.splitlines(), 1):
        mark, _, rest = line.partition(" ")
        if mark == "$":
            step = Step(rest, Outcome(), number)
            items.append(step)
        elif mark in (">", "|", "!", "="):
            if step is None:
                raise Malformed(f"{name}:{number}: {mark!r} stands before the first command")
            _add(step, mark, rest, f"{name}:{number}")
        elif not line or line.startswith("#"):
            items.append(line)
            if line.startswith("#: "):
                key, _, value = line[3:].partition(" ")
                settings[key] = value.strip()
        else:
            raise Malformed(f"{name}:{number}: a line starts with one of # $ > | ! =")
    return Scenario(name, items, settings)


def _add(step, mark, rest, where):
    if mark == ">":
        step.command += "\n" + rest
    elif mark == "|":
        step.outcome.stdout.append(rest)
    elif mark == "!":
        step.outcome.stderr.append(rest)
    elif rest.isdecimal():
        step.outcome.code = int(rest)
    else:
        raise Malformed(f"{where}: an exit code is a number")


def differences(text, has=frozenset()):
    """Of each scenario, the steps to which we answer otherwise: name, then command, then outcome.

    Each stands under `## NAME`, below a comment that says why. Those below `#: needs WHAT` hold, up to the next blank
    line, only of an engine that has it.
    """
    found, name, lines = {}, None, []
    for line in [*text.splitlines(), "## "]:
        if line.startswith("## "):
            if name:
                part = parse(f"differences of {name}", "\n".join(lines))
                _check_reasons(part)
                found.setdefault(name, {}).update({step.command: step.outcome for step in _that_hold(part, has)})
            name, lines = line[3:].strip(), []
        elif name:
            lines.append(line)
    return found


def _that_hold(part, has):
    holds = True
    for item in part.items:
        if isinstance(item, Step):
            if holds:
                yield item
        elif item.startswith("#: needs "):
            holds = item.removeprefix("#: needs ").strip() in has
        elif not item:
            holds = True


def _check_reasons(part):
    reason = False
    for item in part.items:
        if isinstance(item, Step):
            if not reason:
                raise Malformed(f"{part.name}: `{item.command}` has no reason above it")
        else:
            reason = item.startswith("# ") or (reason and item != "")
