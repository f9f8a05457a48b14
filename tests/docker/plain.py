"""What differs from run to run, said plainly, so that outcomes can be compared.

The order counts: an earlier rule has seen the text before a later one.
"""

import re

# (what is looked for, what stands there instead)
RULES = [
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b(?=[^-]|$)", "<id>"),
    # RFC 3339, the clients' own form, compose's, and HTTP's.
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} [A-Z]+", "<time>"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "<time>"),
    (r"(Less than a second|About an? \w+|\d+ (seconds?|minutes?|hours?|days?|weeks?|months?|years?)) ago\b", "<ago>"),
    (r"\bUp (Less than a second|About an? \w+|\d+ \w+)", "Up <ago>"),
    (r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b", "<mac>"),
    # Addresses of containers. Loopback, the unspecified, and those for documentation are as written.
    (r"\b(?!127\.|0\.0\.0\.0|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|198\.19\.)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", "<ip>"),
    # Ports that a kernel or an engine chose.
    (r":(3[2-9]\d{3}|[45]\d{4}|6[0-5]\d{3})\b", ":<port>"),
    (r"\b\d+(\.\d+)?\s?([kKMG]i?)?B\b", "<size>"),
    (r"\b\d+\.\d+%", "<share>"),
    # An older runc does not say that what cannot be run is a directory.
    (r"is a directory: permission denied", "permission denied"),
    # A manifest is larger or smaller as its form is.
    (r"(<id>) size: \d+", r"\1 size: <size>"),
    # Columns are as wide as what stands in them.
    (r"(?<=\S)[ \t]{2,}", "  "),
]
COMPILED = [(re.compile(pattern), plain) for pattern, plain in RULES]


def lines(data, here):
    """The lines of an output, without what differs; `here` is the scenario's directory."""
    text = data.decode(errors="backslashreplace").replace(str(here), "<here>").replace(str(here.parent), "<work>").replace("\r\n", "\n")
    # A line that was written over: its last state counts, as on a terminal.
    rows = [row.rstrip("\r").rsplit("\r", 1)[-1] for row in text.split("\n")]
    if rows and rows[-1] == "":
        rows.pop()
    return [plain(row).rstrip() for row in rows]


def plain(text):
    for pattern, replacement in COMPILED:
        text = pattern.sub(replacement, text)
    return text
