"""python3 -m unittest discover benches"""

import json
import tempfile
import unittest
from pathlib import Path

import table


def line(figure, engine, median, **more):
    return {"figure": figure, "engine": engine, "unit": "ms", "median": median, "min": median, "max": median, **more}


class Table(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "results.jsonl"

    def render(self, *lines):
        self.file.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
        return table.render(*table.load(self.file))

    def test_ratios_and_targets(self):
        text = self.render(
            line("run --rm, bridge", "docker", 300), line("run --rm, bridge", "hull", 150), line("run --rm, none", "ctr", 100)
        )
        self.assertIn("| run --rm, bridge | ms |  | 300 (300 to 300) | 150 (150 to 150) |  | 0.50 |", text)
        self.assertIn("| `run --rm` with network, of Docker's | at most 0.6 | 0.50 | met |", text)
        self.assertIn("| `run --rm` with network, of ctr's without | at most 1.15 | 1.50 | **missed** |", text)
        self.assertIn("| log throughput, of Podman's | at least 1 |  | not measured |", text)

    def test_dockers_clients_at_both(self):
        figure = "compose up of ten, in a chain"
        text = self.render(line(figure, "docker", 4000), line(figure, "hull-docker", 2000))
        self.assertIn(f"| {figure} | ms | 4000 (4000 to 4000) | 2000 (2000 to 2000) | 0.50 |", text)
        self.assertIn("| `compose up` of a chain, of Engine's | at most 0.6 | 0.50 | met |", text)

    def test_without_hull_there_are_no_ratios_and_no_targets(self):
        text = self.render(line("exec true", "docker", 80))
        self.assertNotIn("÷", text)
        self.assertNotIn("target", text)

    def test_a_failure_is_named_and_a_later_line_wins(self):
        text = self.render(
            line("exec true", "docker", 80), line("exec true", "docker", 90), {"figure": "exec true", "engine": "podman", "error": "no"}
        )
        self.assertIn("90 (90 to 90) | failed |", text)
        self.assertIn("- podman, exec true: no", text)

    def test_the_readme_keeps_what_is_around_the_marks(self):
        readme = self.file.with_name("README.md")
        readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
        self.file.write_text(json.dumps(line("exec true", "docker", 80)) + "\n")
        table.main(self.file, readme)
        text = readme.read_text()
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n") and "exec true" in text and "old" not in text)


if __name__ == "__main__":
    unittest.main()
