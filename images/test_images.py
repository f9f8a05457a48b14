"""python3 -m unittest discover images"""

import io
import json
import lzma
import os
import struct
import tarfile
import tempfile
import unittest
from pathlib import Path

import build
import machine
import oci
import rootfs


class Sources(unittest.TestCase):
    suites = ["noble", "noble-updates", "noble-security"]

    def entries(self, name, text):
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / name
            file.write_text(text)
            return list(rootfs._entries(file, self.suites))

    def test_deb822_with_other_suites_and_components(self):
        text = (
            "# a comment\nTypes: deb deb-src\nURIs: http://archive.test/ubuntu/\n"
            "Suites: noble noble-updates noble-backports\nComponents: main universe restricted\n"
            "Signed-By: /usr/share/keyrings/a.gpg\n\n"
            "Types: deb\nURIs: http://vendor.test/\nSuites: noble\nComponents: stable\n\n"
            "Enabled: no\nTypes: deb\nURIs: http://off.test/\nSuites: noble\nComponents: main\n"
        )
        self.assertEqual(
            self.entries("a.sources", text),
            [
                "deb [signed-by=/usr/share/keyrings/a.gpg] http://archive.test/ubuntu/ noble main universe",
                "deb [signed-by=/usr/share/keyrings/a.gpg] http://archive.test/ubuntu/ noble-updates main universe",
            ],
        )

    def test_deb822_with_a_key_written_out(self):
        text = "Types: deb\nURIs: http://a.test/\nSuites: noble\nComponents: main\nSigned-By:\n -----BEGIN\n .\n x\n"
        self.assertEqual(self.entries("a.sources", text), ["deb http://a.test/ noble main"])

    def test_one_line(self):
        text = "deb-src http://a.test/ noble main\ndeb [arch=amd64] http://a.test/ noble main contrib # why\ndeb http://a.test/ sid main\n"
        self.assertEqual(self.entries("a.list", text), ["deb [arch=amd64] http://a.test/ noble main"])


class Layers(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = Path(self.directory.name)

    def changes(self, before):
        out = io.BytesIO()
        oci.write_changes(self.root, before, out, epoch=1000)
        return tarfile.open(fileobj=io.BytesIO(out.getvalue()))

    def test_only_changes_with_whiteouts_and_parents(self):
        (self.root / "a/b").mkdir(parents=True)
        for name in ("a/b/kept", "a/b/edited", "a/removed"):
            (self.root / name).write_text("1")
        (self.root / "gone/deep").mkdir(parents=True)
        before = oci.snapshot(self.root)
        (self.root / "a/b/edited").write_text("2")
        (self.root / "a/removed").unlink()
        (self.root / "gone/deep").rmdir()
        (self.root / "gone").rmdir()
        os.link(self.root / "a/b/edited", self.root / "a/b/link")
        tar = self.changes(before)
        self.assertEqual(tar.getnames(), ["a/.wh.removed", ".wh.gone", "a", "a/b", "a/b/edited", "a/b/link"])
        self.assertTrue(tar.getmember("a/b/link").islnk())
        self.assertEqual(tar.getmember("a/b/edited").mtime, 1000)

    def test_an_edit_that_keeps_size_and_date_is_seen(self):
        file = self.root / "f"
        file.write_text("1")
        before, date = oci.snapshot(self.root), os.stat(file).st_mtime_ns
        file.write_text("2")
        os.utime(file, ns=(date, date))
        self.assertEqual(self.changes(before).getnames(), ["f"])

    def test_same_tree_same_bytes(self):
        (self.root / "f").write_text("1")
        made = [
            oci.make_layer(self.root.parent / f"{self.root.name}.{n}", "x", lambda out: oci.write_changes(self.root, {}, out, 5))
            for n in (1, 2)
        ]
        for layer in made:
            self.addCleanup(layer.path.unlink)
        self.assertEqual(made[0].digest, made[1].digest)
        self.assertEqual(oci.digest_of(made[0].path.read_bytes()), made[0].digest)


class Names(unittest.TestCase):
    def test_versions_become_tags(self):
        for package, tags in {
            "5:7.0.15-1~deb12u10": ["7.0.15", "7.0", "7"],
            "1.22.1-9+deb12u11": ["1.22.1", "1.22", "1"],
            "15+248": ["15"],
        }.items():
            self.assertEqual(build.version_tags(build.plain_version(package)), tags)

    def test_fill(self):
        self.assertEqual(build.fill({"a": ["{x}/{y}", 1]}, {"x": "1", "y": "2"}), {"a": ["1/2", 1]})

    def test_every_recipe_reads(self):
        for name in build.ALL + build.FOREIGN + build.STAND_INS:
            self.assertIn("repository", json.loads((build.HERE / name / "image.json").read_text()))


class Machines(unittest.TestCase):
    def test_labels_say_how_it_is_started(self):
        spec = {"kernel": "k", "labels": {"command-line": "quiet", "firmware": "bios"}}
        config = machine.config_of({"Cmd": ["x"], "Labels": {"a": "b"}}, spec)
        start = "io.monohull.machine."
        labels = {"a": "b", start + "command-line": "quiet", start + "firmware": "bios", start + "kernel": "/boot/kernel"}
        self.assertEqual(config, {"Cmd": ["x"], "Labels": labels})
        self.assertEqual(machine.config_of({}, {}), {})

    def kernel_after_unpacking(self, data):
        with tempfile.TemporaryDirectory() as directory:
            kernel = Path(directory) / "kernel"
            kernel.write_bytes(data)
            machine.unpack_kernel(kernel)
            return kernel.read_bytes()

    def test_the_elf_inside_an_x86_kernel(self):
        payload = lzma.compress(b"\x7fELF and more")
        head = bytearray(1024)
        head[0x1F1] = 1
        head[0x202:0x206] = b"HdrS"
        head[0x248:0x250] = struct.pack("<II", 16, len(payload) + 4)
        whole = bytes(head) + bytes(16) + payload + b"size"
        self.assertEqual(self.kernel_after_unpacking(whole), b"\x7fELF and more")
        for other in (b"MZ" + bytes(2000), bytes(head) + bytes(16) + b"\x02\x21\x4c\x18", b""):
            self.assertEqual(self.kernel_after_unpacking(other), other)


class Mirror(unittest.TestCase):
    def test_added_once_and_a_users_own_is_kept(self):
        with tempfile.TemporaryDirectory() as directory:
            config = Path(directory) / "hull/hull.toml"
            build.point_hull_at(config, "http://127.0.0.1:1")
            text = config.read_text()
            self.assertIn('[registries."docker.io"]\nmirrors = ["http://127.0.0.1:1"]\n', text)
            build.point_hull_at(config, "http://127.0.0.1:2")
            self.assertEqual(config.read_text(), text)


if __name__ == "__main__":
    unittest.main()
