#!/usr/bin/env python3
"""Starter images from this machine's own distribution, served by a registry on this machine.

    build.py up [NAME...]        build what is missing, serve it, point hull at it   (make images)
    build.py ls                  what is built, and under which names it is served
    build.py archive NAME FILE   one image as a tar that every engine can load
    build.py start | stop        the registry alone

A recipe is a directory beside this file; README.md says what may stand in it. Everything made goes to
${XDG_CACHE_HOME:-~/.cache}/monohull, keyed by the recipe, so that a second run has nothing to do.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import machine
import oci
import registry
import rootfs

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull"
IMAGES = CACHE / "images"
CATALOG = ["caddy", "nats", "prometheus", "mariadb", "wordpress"]
# What answers for a program that cannot be had: for tests alone.
STAND_INS = ["gitea-stand-in"]
ALL = ["busybox", "debian", "nginx", "redis", "postgres", "tools", *CATALOG, "hull-tiny", "debian-cloud"]
# Built when asked for: what it is made of comes from elsewhere than the distribution.
FOREIGN = ["alpine-machine"]
TEST = ["busybox", "nginx", "redis", "postgres", "tools", *CATALOG, *STAND_INS, "hull-tiny"]
VARIANTS = ["zstd", "plain", "docker", "multi", "layers"]
VARIANTS_OF = "busybox"
# Debian's names of processors, and the names that images use.
PLATFORM = {"amd64": "amd64", "arm64": "arm64", "armhf": "arm", "ppc64el": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


def say(text):
    print(f"images: {text}", flush=True)


class Recipe:
    def __init__(self, name):
        self.name = name
        self.home = HERE / name
        if not (self.home / "image.json").is_file():
            raise SystemExit(f"images: no recipe named {name}: there are {', '.join(ALL + FOREIGN + STAND_INS)}")
        self.spec = json.loads((self.home / "image.json").read_text())
        self.layout = IMAGES / name
        self.tree = CACHE / "trees" / name

    @cached_property
    def parent(self):
        return Recipe(self.spec["from"]) if "from" in self.spec else None

    def chain(self):
        """The recipe and those it stands on, lowest first."""
        return (self.parent.chain() if self.parent else []) + [self]

    @cached_property
    def key(self):
        """Changes when the result would. The package index is left out: REFRESH=1 asks for newer packages."""
        sha = hashlib.sha256()
        sha.update(self.parent.key.encode() if self.parent else b"")
        sha.update("\n".join([rootfs.architecture(), *rootfs.sources()]).encode())
        code = [HERE / "build.py", HERE / "oci.py", HERE / "rootfs.py"]
        if "machine" in self.spec:
            code += [HERE / "machine.py", *sorted(machine.TOOLS.glob("*.sh"))]
        for path in code + sorted(p for p in self.home.rglob("*") if p.is_file()):
            sha.update(f"{path.relative_to(HERE)} {os.access(path, os.X_OK)}\n".encode())
            sha.update(path.read_bytes())
        return sha.hexdigest()

    def is_built(self):
        return _stamp(self.layout) == self.key

    def has_tree(self):
        return _stamp(self.tree) == self.key


def _stamp(directory):
    """The stamp stands beside the directory: a tree must hold nothing of ours."""
    try:
        return directory.with_name(f".{directory.name}.key").read_text()
    except OSError:
        return None


def _set_stamp(directory, key):
    directory.with_name(f".{directory.name}.key").write_text(key)


class Builder:
    """Builds one recipe at a time, in a work tree that becomes the base of others or is thrown away."""

    def __init__(self):
        for directory in (IMAGES, CACHE / "trees", CACHE / "layers"):
            directory.mkdir(parents=True, exist_ok=True)

    @cached_property
    def apt(self):
        apt = rootfs.Apt(CACHE / "apt")
        say("reading the package index")
        apt.update()
        return apt

    def build(self, recipe, is_base=False):
        started = time.monotonic()
        work = CACHE / "trees" / f"{recipe.name}.work"
        shutil.rmtree(work, ignore_errors=True)
        version, layers = self._make(recipe, work)
        self._write(recipe, layers, version)
        if is_base:
            shutil.rmtree(recipe.tree, ignore_errors=True)
            work.rename(recipe.tree)
            _set_stamp(recipe.tree, recipe.key)
        else:
            shutil.rmtree(work)
        size = sum(layer.size for layer in layers) / 1e6
        say(f"built {recipe.name} {version}: {size:.1f} MB in {time.monotonic() - started:.0f} s")

    def _make(self, recipe, work):
        if "machine" in recipe.spec:
            return self._make_machine(recipe, work)
        return self._make_container(recipe, work)

    def _make_machine(self, recipe, work):
        """A machine's image is its disk: one layer, with no file of the tree that the disk was made of."""
        files = work.with_name(f"{recipe.name}.machine")
        shutil.rmtree(files, ignore_errors=True)
        if "wheel" in recipe.spec:
            version = rootfs.unpack_wheel(recipe.spec["wheel"], work)
            machine.take(recipe.spec["machine"], work, files)
        else:
            version = self._machine_tree(recipe, work)
            tools = machine.Tools(CACHE / "trees" / "disk-tools", recipe.parent.tree, self.apt)
            machine.build(recipe.spec["machine"], work, tools, files)
        layers = [self._layer(files, {}, f"images/{recipe.name}")]
        shutil.rmtree(files)
        return version, layers

    def _machine_tree(self, recipe, work):
        rootfs.copy_tree(recipe.parent.tree, work)
        _add_own_files(recipe, work)
        if "kernel" in recipe.spec:
            rootfs.unpack_kernel(fill(recipe.spec["kernel"], _names("0")), work, self.apt)
        return self._install(recipe, work)

    def _make_container(self, recipe, work):
        """The packages are one layer and our own files another: they change at different times."""
        layers, before = [], {}
        if recipe.parent:
            layers = oci.layers_of(recipe.parent.layout)
            rootfs.copy_tree(recipe.parent.tree, work)
            before = oci.snapshot(work)
        version = self._install(recipe, work)
        if recipe.parent:
            layers.append(self._layer(work, before, _installed(recipe.spec)))
            before = oci.snapshot(work)
        if _add_own_files(recipe, work) or not layers:
            layers.append(self._layer(work, before, f"images/{recipe.name}"))
        return version, layers

    def _install(self, recipe, work):
        """Puts the packages in place; returns the version that names the image."""
        if recipe.parent:
            self._script(recipe, work, "prepare.sh")
            version = self._add(recipe.spec, work)
        elif "unpack" in recipe.spec:
            version = rootfs.unpack(recipe.spec["unpack"], work, self.apt)
            _shell_for_unpacked(work)
        else:
            rootfs.bootstrap(work, self.apt)
            version = rootfs.os_release().get("VERSION_ID", "0")
        self._script(recipe, work, "finish.sh")
        rootfs.tidy(work)
        return plain_version(version)

    def _add(self, spec, work):
        """What is put on the tree that a recipe stands on; the version is that of what comes last of these."""
        version = None
        if "packages" in spec:
            self.apt.install(work, fill(spec["packages"], _names("0")))
            version = rootfs.version_in(work, spec.get("version_of", "base-files"))
        for package in reversed(spec.get("unpack", [])):
            version = rootfs.unpack(package, work, self.apt)
        if "wheel" in spec:
            version = rootfs.add_wheel(spec["wheel"], work)
        return version

    def _script(self, recipe, work, name):
        if (recipe.home / name).is_file():
            rootfs.run_script(work, recipe.home / name, self.apt.epoch())

    def _layer(self, work, before, created_by):
        path = CACHE / "layers" / "new"
        epoch = self.apt.epoch()
        layer = oci.make_layer(path, created_by, lambda out: oci.write_changes(work, before, out, epoch))
        kept = path.with_name(layer.digest.replace(":", "-"))
        path.rename(kept)
        return oci.Layer(kept, *list(vars(layer).values())[1:])

    @property
    def created(self):
        return datetime.fromtimestamp(self.apt.epoch(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _write(self, recipe, layers, version):
        names = _names(version)
        config = fill(recipe.spec["config"], names)
        if "machine" in recipe.spec:
            config = machine.config_of(config, recipe.spec["machine"])
        layout = oci.Layout(recipe.layout)
        image = layout.add_image(layers, config, PLATFORM[rootfs.architecture()], self.created)
        tags = fill(recipe.spec["tags"], names) if "tags" in recipe.spec else version_tags(version)
        layout.finish(image, fill(recipe.spec["repository"], names), ["latest", *tags])
        _set_stamp(recipe.layout, recipe.key)

    # --- the same content in other clothes: what a client must be able to read ---

    def build_variant(self, recipe, variant):
        (layer,) = oci.layers_of(recipe.layout)
        config = recipe.spec["config"]
        target = IMAGES / f"{recipe.name}-{variant}"
        layout = oci.Layout(target)
        platform = PLATFORM[rootfs.architecture()]
        if variant == "multi":
            image = self._multi(layout, layer, config, platform)
        elif variant == "layers":
            image = layout.add_image([layer, *_stacked_layers()], config, platform, self.created)
        else:
            other = oci.recompress(layer, CACHE / "layers" / "new", variant)
            image = layout.add_image([other], config, platform, self.created, docker=variant == "docker")
            other.path.unlink()
        layout.finish(image, f"hull-test/{recipe.name}", [variant])
        _set_stamp(target, recipe.key)

    def _multi(self, layout, layer, config, platform):
        """This machine's platform, another one that must not be chosen, and a build's attestation."""
        own = layout.add_image([layer], config, platform, self.created)
        other_platform = "arm64" if platform != "arm64" else "amd64"
        other = layout.add_image([layer], {**config, "Cmd": ["wrong-platform"]}, other_platform, self.created)
        attestation = layout.add_image([layer], {}, "unknown", self.created)
        attestation["platform"] = {"architecture": "unknown", "os": "unknown"}
        attestation["annotations"] = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": own["digest"],
        }
        return layout.add_index([other, own, attestation])


def _stacked_layers():
    """Two layers of which the upper removes, replaces and hides what the lower has, under /stack."""
    lower = [("kept", "lower"), ("removed", "lower"), ("replaced", "lower"), ("hidden/", ""), ("hidden/old", "lower")]
    upper = [(".wh.removed", ""), ("replaced", "upper"), ("hidden/", ""), ("hidden/.wh..wh..opq", ""), ("hidden/new", "upper")]
    for name, members in (("lower", lower), ("upper", upper)):
        data = oci.tar_of([("stack/", "")] + [(f"stack/{path}", content) for path, content in members])
        yield oci.make_layer(CACHE / "layers" / name, name, lambda out, data=data: out.write(data))


def _installed(spec):
    """How a layer came about, for those who ask for its history."""
    verbs = (("packages", "apt-get install"), ("unpack", "dpkg-deb -x"))
    said = [f"{verb} {' '.join(spec[key])}" for key, verb in verbs if key in spec]
    return "; ".join(said + ([f"pip install {spec['wheel']}"] if "wheel" in spec else []))


def _shell_for_unpacked(work):
    """A merged /usr or not, busybox ends as /bin/busybox, and as the shell that runs finish.sh."""
    (work / "bin").mkdir(exist_ok=True)
    target = work / "bin/busybox"
    if not target.exists():
        (work / "usr/bin/busybox").rename(target)
    (work / "bin/sh").symlink_to("busybox")


def _add_own_files(recipe, work):
    has_files, has_program = (recipe.home / "root").is_dir(), "compile" in recipe.spec
    if has_files:
        rootfs.overlay(recipe.home / "root", work)
    if has_program:
        _compile(recipe.home / "src" / recipe.spec["compile"], work / "usr/local/bin")
    return has_files or has_program


def _compile(source, into):
    command = ["gcc", "-O2", "-static", "-s", "-o", str(into / source.stem), str(source)]
    if subprocess.run(command).returncode:
        raise SystemExit(f"images: {source} does not compile; `{' '.join(command)}` says why above")


def plain_version(package_version):
    """5:7.0.15-1~deb12u10 is 7.0.15."""
    return re.match(r"(?:\d+:)?([0-9]+(?:\.[0-9]+)*)", package_version).group(1)


def version_tags(version):
    """1.22.1, 1.22, 1"""
    parts = version.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _names(version):
    release = rootfs.os_release()
    return {
        "version": version,
        "major": version.split(".")[0],
        "minor": ".".join(version.split(".")[:2]),
        "arch": rootfs.architecture(),
        "os": release["ID"],
        "os_version": release.get("VERSION_ID", ""),
        "codename": release["VERSION_CODENAME"],
    }


def fill(value, names):
    """Replaces {name} in every string of a JSON value."""
    if isinstance(value, dict):
        return {k: fill(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, names) for v in value]
    return re.sub(r"\{(\w+)\}", lambda m: names[m.group(1)], value) if isinstance(value, str) else value


# --- commands -------------------------------------------------------------------------------------


def build_all(names, refresh):
    """Builds what is missing, and the trees that it stands on; returns the layouts to serve."""
    recipes = [Recipe(name) for name in names]
    wanted = list(dict.fromkeys(link.name for recipe in recipes for link in recipe.chain()))
    bases = {recipe.parent.name for recipe in recipes if recipe.parent}
    builder, built = Builder(), 0
    for recipe in map(Recipe, wanted):
        is_base = recipe.name in bases
        dependents = [r for r in recipes if r.parent and r.parent.name == recipe.name]
        needs_tree = is_base and not all(r.is_built() for r in dependents)
        if refresh or not recipe.is_built() or (needs_tree and not recipe.has_tree()):
            require_root()
            builder.build(recipe, is_base)
            built += 1
    layouts = [Recipe(name).layout for name in wanted]
    if VARIANTS_OF in names:
        layouts += build_variants(builder, Recipe(VARIANTS_OF))
    if not built:
        say(f"{', '.join(wanted)}: already built")
    return layouts


def build_variants(builder, recipe):
    layouts = [IMAGES / f"{recipe.name}-{variant}" for variant in VARIANTS]
    for variant, layout in zip(VARIANTS, layouts):
        if _stamp(layout) != recipe.key:
            builder.build_variant(recipe, variant)
    return layouts


def require_root():
    if os.geteuid() != 0:
        raise SystemExit("images: building needs root, to make files of many owners: run `sudo make images`")


def local_registry(port):
    home = CACHE / "registry"
    return registry.Server(
        home, port, lambda: registry.find_program(home, lambda *a: rootfs.unpack(*a, Builder().apt))
    )


def up(args):
    names = args.names or ALL
    layouts = build_all(names, args.refresh)
    server = local_registry(args.port)
    if server.start():
        say(f"registry started on 127.0.0.1:{args.port}")
    for layout in layouts:
        for name in server.client.push(layout):
            say(f"pushed {name}")
    if not args.no_config:
        point_hull_at(args.config, f"http://127.0.0.1:{args.port}")
    say(f"served on 127.0.0.1:{args.port}; try: hull run --rm busybox echo hello")


def point_hull_at(config, url):
    """Adds the mirror to hull's configuration; a setting that is there already is the user's."""
    section = '[registries."docker.io"]'
    text = config.read_text() if config.exists() else ""
    if section in text:
        if url not in text:
            say(f"{config} already names mirrors of docker.io; to use these images add {url} there")
        return
    if not os.access(config if config.exists() else _nearest(config), os.W_OK):
        say(f"cannot write {config}; as root, add to it: {section} mirrors = [\"{url}\"]")
        return
    config.parent.mkdir(parents=True, exist_ok=True)
    gap = "\n" if text else ""
    comment = "# Written by `make images`: the starter images, served on this machine. Delete to pull from the network only.\n"
    with open(config, "a") as file:
        file.write(f'{gap}{comment}{section}\nmirrors = ["{url}"]\n')
    say(f"{config}: docker.io is looked up at {url} first, also by a hull that runs")


def _nearest(path):
    return next(p for p in path.parents if p.exists())


def ls(_):
    for layout in sorted(p for p in IMAGES.glob("*") if (p / "index.json").is_file()):
        for repository, tag, entry in oci.entries(layout):
            print(f"{repository}:{tag}\t{entry['digest']}\t{layout}")


def archive(args):
    layout = IMAGES / args.name
    if not (layout / "index.json").is_file():
        raise SystemExit(f"images: {args.name} is not built: run `make images` first")
    oci.archive(layout, args.file)


def main():
    parser = argparse.ArgumentParser(description="Builds and serves the starter images.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("REGISTRY_PORT") or 5555))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("up", help="build what is missing and serve it")
    verb.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL + FOREIGN + STAND_INS)}; or `test` for the subset that tests need")
    verb.add_argument("--refresh", action="store_true", help="rebuild with the newest packages")
    verb.add_argument("--config", type=Path, default=Path("/etc/hull/hull.toml"), help="where to name the mirror")
    verb.add_argument("--no-config", action="store_true", help="serve only; leave hull's configuration alone")
    verbs.add_parser("ls", help="list what is built")
    verb = verbs.add_parser("archive", help="write one image as a tar")
    verb.add_argument("name")
    verb.add_argument("file", type=Path)
    verbs.add_parser("start", help="start the registry")
    verbs.add_parser("stop", help="stop the registry")
    args = parser.parse_args()
    if args.verb == "up" and args.names == ["test"]:
        args.names = TEST

    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".images.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = local_registry(args.port)
        actions = {
            "up": up,
            "ls": ls,
            "archive": archive,
            "start": lambda _: say("registry started" if server.start() else "registry already runs"),
            "stop": lambda _: say("registry stopped" if server.stop() else "registry does not run"),
        }
        actions[args.verb](args)


if __name__ == "__main__":
    sys.exit(main())
