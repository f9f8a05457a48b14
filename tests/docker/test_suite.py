"""The suite itself: how scenarios are read and written, and what is made plain in them."""

import sys
import unittest
from pathlib import Path

import ping
import plain
import scenario

sys.path[:0] = [str(Path(__file__).parent / "others"), str(Path(__file__).parents[2] / "images")]
import crates  # noqa: E402

TEXT = """\
# A word.
#: deadline 5
$ cat <<END
> two
>
> END
| two
|
! warned
= 3

$ true
"""


class Scenarios(unittest.TestCase):
    def test_a_text_is_read_and_written_again(self):
        found = scenario.parse("x", TEXT)
        self.assertEqual(found.text(), TEXT)
        first, second = found.steps()
        self.assertEqual(first.command, "cat <<END\ntwo\n\nEND")
        self.assertEqual(first.outcome, scenario.Outcome(["two", ""], ["warned"], 3))
        self.assertEqual(second.outcome, scenario.Outcome())
        self.assertEqual(found.settings, {"deadline": "5"})

    def test_what_is_malformed_is_told_with_its_place(self):
        for text in ["| out\n", "nonsense\n", "$ true\n= x\n"]:
            with self.assertRaisesRegex(scenario.Malformed, r"x:\d"):
                scenario.parse("x", text)

    def test_differences_need_a_reason(self):
        text = "# Head.\n## a\n# Why.\n$ one\n| ours\n$ two\n\n## b\n# Because.\n$ three\n= 1\n"
        found = scenario.differences(text)
        self.assertEqual(found["a"]["one"], scenario.Outcome(["ours"]))
        self.assertEqual(found["b"], {"three": scenario.Outcome(code=1)})
        with self.assertRaisesRegex(scenario.Malformed, "no reason"):
            scenario.differences("## a\n\n$ one\n")

    def test_differences_of_engines_that_have_something(self):
        text = "## a\n# Why.\n#: needs no-buildkit\n$ one\n$ two\n\n# Because.\n$ three\n"
        self.assertEqual(set(scenario.differences(text, {"buildkit"})["a"]), {"three"})
        self.assertEqual(set(scenario.differences(text, {"no-buildkit"})["a"]), {"one", "two", "three"})
        with self.assertRaisesRegex(scenario.Malformed, "no reason"):
            scenario.differences("## a\n#: needs buildkit\n$ one\n")

    def test_tests_of_others_that_are_left_out(self):
        text = "# Head.\none  why\n\n#: needs no-buildkit\ntwo  why\n#: needs buildkit\nthree  why\n"
        self.assertEqual(crates.skipped(text, {"no-buildkit"}), ["one", "two"])
        self.assertEqual(crates.skipped(text, {"buildkit"}), ["one", "three"])

    def test_what_the_engine_builds_by(self):
        self.assertTrue(ping.has_buildkit("HTTP/1.1 200 OK\r\nBuilder-Version: 2\r\n"))
        self.assertFalse(ping.has_buildkit("HTTP/1.1 200 OK\r\nBuilder-Version: 1\r\n"))
        self.assertFalse(ping.has_buildkit(""))

    def test_all_of_them_can_be_read(self):
        here = Path(__file__).parent
        scenarios = {path.stem: path.read_text() for path in (here / "scenarios").glob("*.scenario")}
        for name, text in scenarios.items():
            self.assertEqual(scenario.parse(name, text).text(), text, name)
        for name in scenario.differences((here / "differences").read_text()):
            self.assertIn(name, scenarios)


    def test_no_name_begins_with_another(self):
        """What is swept after a scenario is told by its name."""
        names = [path.stem for path in (Path(__file__).parent / "scenarios").glob("*.scenario")]
        self.assertEqual([], [(a, b) for a in names for b in names if b.startswith(f"{a}-")])


class Plain(unittest.TestCase):
    def test_what_differs_is_replaced_and_all_else_stays(self):
        cases = {
            "sha256:" + "a1" * 32: "sha256:<id>",
            "0123456789ab  web": "<id>  web",
            "2026-01-02T03:04:05.678Z done": "<time> done",
            "Exited (3) 2 seconds ago": "Exited (3) <ago>",
            "Up About a minute (healthy)": "Up <ago> (healthy)",
            "172.17.0.2 and 127.0.0.1 and 198.51.100.7": "<ip> and 127.0.0.1 and 198.51.100.7",
            "0.0.0.0:32768->80/tcp": "0.0.0.0:<port>->80/tcp",
            "127.0.0.1:18080->80/tcp": "127.0.0.1:18080->80/tcp",
            "02:42:ac:11:00:02": "<mac>",
            "4.43MB of 23.5GiB": "<size> of <size>",
            "NAME      IMAGE": "NAME  IMAGE",
            "version 1.45": "version 1.45",
        }
        for text, expected in cases.items():
            self.assertEqual(plain.plain(text), expected)

    def test_lines_are_as_a_terminal_shows_them(self):
        seen = plain.lines(b"10%\r20%\rdone\r\n/w/x/f\n\x1b[1mbold\x1b[0m  \n", Path("/w/x"))
        self.assertEqual(seen, ["done", "<here>/f", "bold"])


if __name__ == "__main__":
    unittest.main()
