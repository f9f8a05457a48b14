"""python3 -m unittest discover scripts"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"

MADISON = """\
qemu-system-x86 | 1:10.0.2+ds-2~bpo12+1 | http://deb.debian.org/debian bookworm-backports/main amd64 Packages
qemu-system-x86 | 1:7.2+dfsg-7 | http://deb.debian.org/debian bookworm/main amd64 Packages
"""


class Guests(unittest.TestCase):
    """What is missing beside a qemu-utils of some version, where the archive has two of qemu-system-x86."""

    def missing(self, installed):
        with tempfile.TemporaryDirectory() as directory:
            programs = {
                "qemu-img": "",
                "mkfs.ext4": "",
                "strip": "",
                "apt-cache": f"case $1 in policy) echo '  Candidate: 1:7.2+dfsg-7' ;; madison) cat <<'E'\n{MADISON}E\n ;; esac",
                "dpkg-query": f"echo '{installed}'",
            }
            for name, script in programs.items():
                path = Path(directory) / name
                path.write_text(f"#!/bin/sh\n{script}\n")
                path.chmod(0o755)
            for name in ("bash", "sh", "env", "sed", "awk", "sort", "cat", "dirname"):
                os.symlink(subprocess.check_output(["which", name], text=True).strip(), Path(directory) / name)
            done = subprocess.run(
                [PACKAGES, "--list", "guests"], env={"PATH": directory}, stdout=subprocess.PIPE, text=True, check=True
            )
            return done.stdout.split()

    def test_a_backport(self):
        self.assertEqual(self.missing("1:10.0.2+ds-2~bpo12+1"), ["qemu-system-x86/bookworm-backports"])

    def test_the_usual(self):
        self.assertEqual(self.missing("1:7.2+dfsg-7"), ["qemu-system-x86"])

    def test_one_of_nowhere(self):
        self.assertEqual(self.missing("1:11.0"), ["qemu-system-x86"])

    def test_none(self):
        self.assertEqual(self.missing(""), ["qemu-system-x86"])


if __name__ == "__main__":
    unittest.main()
