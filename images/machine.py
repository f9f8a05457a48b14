"""Makes disks of trees: what a machine's image carries.

A disk is made by a shell script (`disk-tools/*.sh`) that runs in a tree of its own, which holds the tools
that it needs: file systems are written from directories, so that nothing is mounted and no device is used.
"""

import lzma
import shutil
import struct
import subprocess
from pathlib import Path

import rootfs

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "disk-tools"
PACKAGES = ["e2fsprogs", "dosfstools", "mtools", "fdisk", "grub-common", "grub-pc-bin"]
# Signed by the distribution: they start under secure boot as well as without it.
UEFI_PACKAGES = ["shim-signed", "grub-efi-amd64-signed"]
LABELS = "io.monohull.machine."
DISK = "disk/disk.qcow2"


class Tools:
    """The tree that disks are made in."""

    def __init__(self, home, base, apt):
        self.tree, self.apt = home, apt
        if not (home / "disk-tools").is_dir():
            work = home.with_name(home.name + ".work")
            rootfs.copy_tree(base, work)
            apt.install(work, PACKAGES)
            (work / "disk-tools/uefi").mkdir(parents=True)
            if rootfs.architecture() == "amd64":
                for package in UEFI_PACKAGES:
                    rootfs.unpack(package, work / "disk-tools/uefi", apt)
            shutil.rmtree(home, ignore_errors=True)
            work.rename(home)

    def disk(self, script, tree, out, **settings):
        """A raw disk of `tree`, by one of the scripts."""
        inside = {"tree": tree, "out": out}
        rootfs.run_script(self.tree, TOOLS / script, self.apt.epoch(), inside, settings)
        return out / "disk.img"


def build(spec, work, tools, into):
    """Writes the files of a machine's image: its disk, and a kernel if it is started by one."""
    (into / "disk").mkdir(parents=True)
    out = into.with_name(into.name + ".out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    raw = tools.disk(spec["script"], work / spec.get("tree", "."), out, SIZE=str(spec["megabytes"]))
    to_qcow2(raw, into / DISK)
    shutil.rmtree(out)
    for name in ("kernel", "initrd"):
        if name in spec:
            (into / "boot").mkdir(exist_ok=True)
            shutil.copyfile(work / spec[name], into / "boot" / name)
    if "kernel" in spec:
        unpack_kernel(into / "boot/kernel")


def take(spec, files, into):
    """The same of a disk that somebody else made, unchanged."""
    for name, place in {"disk": DISK, "kernel": "boot/kernel", "initrd": "boot/initrd"}.items():
        if name in spec:
            (into / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files / spec[name], into / place)


def to_qcow2(raw, disk):
    # zstd is read several times faster than zlib; QEMU has it since 5.1.
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", str(raw), str(disk)]
    if not shutil.which("qemu-img"):
        raise SystemExit("images: machine images need qemu-img: install qemu-utils")
    subprocess.run(command, check=True)
    disk.chmod(0o644)


def unpack_kernel(kernel):
    """An x86 kernel's own unpacking takes longer than the rest of its start where there is no KVM: QEMU
    starts the ELF file inside it as well (PVH). Others stay as they are."""
    data = kernel.read_bytes()
    if data[0x202:0x206] != b"HdrS":
        return
    sectors = (data[0x1F1] or 4) + 1
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = sectors * 512 + offset
    if data[start : start + 6] == b"\xfd7zXZ\0":
        kernel.write_bytes(lzma.LZMADecompressor().decompress(data[start : start + length]))


def config_of(recipe_config, spec):
    """The image's configuration with the labels that say how it is started."""
    labels = {LABELS + key: value for key, value in spec.get("labels", {}).items()}
    for name in ("kernel", "initrd"):
        if name in spec:
            labels[LABELS + name] = f"/boot/{name}"
    return {**recipe_config, "Labels": {**recipe_config.get("Labels", {}), **labels}} if labels else recipe_config

