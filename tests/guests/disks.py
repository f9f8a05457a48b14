"""Makes what a guest boots from: a bare system of a release, and a second disk with what is brought to it.

The system is what an installer leaves: systemd, a kernel, sudo, make; no containerd, no nftables. What
`scripts/packages` will ask its archive for lies on the second disk as a package archive, so that the guest
installs it with its own apt and needs no network.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(REPO / "images"))

import rootfs  # noqa: E402  (found by the line above)

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull"
SYSTEM = [
    "systemd-sysv", "udev", "dbus", "kmod", "procps", "iproute2", "e2fsprogs", "sudo", "make", "curl", "gpgv",
    "linux-image-cloud-amd64",
]  # fmt: skip
# The cloud kernel has its disk and console drivers as modules; a small initramfs unpacks fast under emulation.
MODULES = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "ext4"]
IMAGES = ["busybox", "nginx"]
GIB = 1 << 30


def say(text):
    print(f"guests: {text}", flush=True)


@dataclass
class System:
    """A bare system of a release, as files that QEMU boots."""

    release: str
    disk: Path
    kernel: Path
    initrd: Path
    packages: Path


def system(release):
    """The release's system, made when it is not there or its recipe changed."""
    home = CACHE / "guests" / release
    made = System(release, home / "system.raw", home / "vmlinuz", home / "initrd", home / "packages")
    stamp = home / "key"
    if stamp.exists() and stamp.read_text() == _key(release):
        return made
    say(f"building a bare {release} (a few minutes, once)")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    tree = home / "tree"
    apt = rootfs.Apt(home / "apt", release)
    apt.update()
    _install(tree, apt)
    _download(tree, apt, made.packages)
    _boot_files(tree, made)
    make_disk(tree, made.disk, 6 * GIB)
    for scratch in (tree, home / "apt"):
        shutil.rmtree(scratch)
    stamp.write_text(_key(release))
    return made


def _key(release):
    sha = hashlib.sha256("\n".join(rootfs.sources(release)).encode())
    parts = [Path(__file__), REPO / "images/rootfs.py", REPO / "scripts/packages"]
    for path in parts + sorted(p for p in (HERE / "root").rglob("*") if p.is_file()):
        sha.update(path.read_bytes())
    return sha.hexdigest()


def _install(tree, apt):
    rootfs.bootstrap(tree, apt)
    initramfs = tree / "usr/share/initramfs-tools/modules.d"
    initramfs.mkdir(parents=True)
    (initramfs / "guest").write_text("\n".join(MODULES) + "\n")
    settings = tree / "etc/initramfs-tools/conf.d"
    settings.mkdir(parents=True)
    (settings / "guest").write_text("MODULES=list\nCOMPRESS=gzip\n")
    apt.install(tree, SYSTEM)
    rootfs.overlay(HERE / "root", tree)
    scripts = tree / "root/scripts"
    scripts.mkdir()
    rootfs.overlay(REPO / "scripts", scripts)
    rootfs.run_script(tree, HERE / "finish.sh", apt.epoch())
    shutil.rmtree(scripts)


def _download(tree, apt, into):
    """The packages that the project's own script would install on this system, and what they depend on."""
    wanted = (tree / "root/wanted-packages").read_text().split()
    archives = into / "archives"
    (archives / "partial").mkdir(parents=True)
    options = [f"Dir::State::status={tree}/var/lib/dpkg/status", f"Dir::Cache::archives={archives}"]
    flags = [flag for option in options for flag in ("-o", option)]
    _run("apt-get", "-qq", "install", "--yes", "--download-only", *flags, *wanted, APT_CONFIG=str(apt.conf))
    for deb in archives.glob("*.deb"):
        deb.rename(into / deb.name)
    shutil.rmtree(archives)
    _index(into)


def _index(packages):
    """The one file that makes a directory of packages an archive (deb-packages(5))."""
    entries = []
    for deb in sorted(packages.glob("*.deb")):
        control = _output("dpkg-deb", "--field", deb)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        entries.append(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
    (packages / "Packages").write_text("\n".join(entries))


def _boot_files(tree, made):
    for pattern, to in (("vmlinuz-*", made.kernel), ("initrd.img-*", made.initrd)):
        (found,) = (tree / "boot").glob(pattern)
        shutil.copyfile(found, to)


def make_disk(tree, disk, size):
    """An ext4 file system without a partition table, filled from a directory."""
    disk.unlink(missing_ok=True)
    with open(disk, "wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", "-d", tree, disk)


def brought(made, binary, home):
    """The disk with the checkout, the binary, the packages, the images and Docker's client."""
    tree = home / "brought"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    _copy_checkout(tree / "monohull")
    # Debug information is of no use there, and ten times as large as the program.
    _run("strip", "-o", tree / "hull", binary)
    rootfs.copy_tree(made.packages, tree / "packages")
    for name in IMAGES:
        _run(sys.executable, REPO / "images/build.py", "archive", name, tree / f"{name}.tar")
    _run(REPO / "tests/docker/clients")
    shutil.copy(CACHE / "docker-clients/docker", tree / "docker")
    disk = home / "brought.raw"
    make_disk(tree, disk, 2 * GIB)
    shutil.rmtree(tree)
    return disk


def _copy_checkout(to):
    """The files that git knows, as they are in the work tree."""
    for name in filter(None, _output("git", "-C", REPO, "ls-files", "-z").split("\0")):
        if (REPO / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, to / name)


def _run(*command, **environment):
    subprocess.run(list(map(str, command)), env={**os.environ, **environment}, check=True)


def _output(*command):
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True).stdout
