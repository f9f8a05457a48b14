"""The integration tests that bollard's and testcontainers' crates ship, unchanged, on images that stand for those they pull."""

import dataclasses
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import oci
import ping
import registries
import registry

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull"
HELLO = ({"hello": "#!/bin/sh\necho\necho 'Hello from Docker!'\n"}, ["/hello"])
SERVER = {"usr/sbin/run_uhttpd": '#!/bin/sh\nexec httpd "$@"\n', "www/index.html": "here\n", "etc/config/uhttpd": "\nconfig uhttpd main\n"}
# Two programs of one text, which serve their names.
SIMPLE = """#!/bin/sh
trap 'exit 0' TERM
printf %s "${0##*/}" >/web/index.html
echo "server will be listening to port 80" >&2
httpd -p 80 -h /web
echo "server is ready"
echo "server is ready"
while :; do sleep 1 & wait $!; done
"""
SERVES = "httpd -p 8080 -h /web && echo listening on 0.0.0.0:8080 && exec sleep 600"
# What the tests build by BuildKit, which the crate does not ship.
CONTEXTS = {
    "simple_web_server": {
        "Dockerfile": "FROM alpine\nRUN mkdir /web\nCOPY --chmod=755 bash /bin/\nCOPY --chmod=755 foo bar /\nEXPOSE 80\nENTRYPOINT [\"./foo\"]\n",
        "foo": SIMPLE,
        "bar": SIMPLE,
        "bash": '#!/bin/sh\nexec sh "$@"\n',
    },
    "no_expose_port": {"Dockerfile": f"FROM alpine\nRUN mkdir /web && echo here >/web/index.html\nCMD {SERVES}\n"},
}
# Of each image that the tests pull: what it has besides busybox, and its command.
IMAGES = {
    ("hello-world", "linux"): HELLO,
    ("hello-world", "latest"): HELLO,
    ("alpine", "latest"): ({}, ["/bin/sh"]),
    ("alpine", "3.20"): ({}, ["/bin/sh"]),
    ("fussybeaver/uhttpd", "latest"): (SERVER, ["/usr/sbin/run_uhttpd", "-f", "-p", "80", "-h", "/www"]),
    ("testcontainers/helloworld", "1.3.0"): ({}, ["sh", "-c", "httpd -p 8080 && echo Ready, listening on 8080 >&2 && exec sleep 600"]),
    ("curlimages/curl", "latest"): ({"usr/bin/curl": '#!/bin/sh\nexec wget -qO- "$@"\n'}, ["curl"]),
}


@dataclasses.dataclass(frozen=True)
class Crate:
    """A crate of a client, and which of its tests are run: those that `NAME.skip` does not name."""

    name: str
    version: str
    features: str
    suites: tuple
    # Images that are to be there under their own names.
    local: tuple = ()
    # Directories that its tests look for beside the crate's own, by path.
    contexts: dict = dataclasses.field(default_factory=dict)

    def skip(self, has):
        return skipped((HERE / f"{self.name}.skip").read_text(), has)


BOLLARD = Crate(
    "bollard", "0.21.1", "test_websocket",
    ("container_test", "exec_test", "image_test", "network_test", "volume_test", "system_test", "version_test", "distribution"),
)  # fmt: skip
TESTCONTAINERS = Crate(
    "testcontainers", "0.28.0", "blocking,http_wait_plain,reusable-containers",
    ("async_runner", "sync_runner"),
    tuple(IMAGES),
    {f"testimages/{name}": files for name, files in CONTEXTS.items()},
)  # fmt: skip
ALL = [BOLLARD, TESTCONTAINERS]


class Failed(Exception):
    """Tests that did not pass."""


def skipped(text, has):
    """Names that are left out; those below `#: needs WHAT` only where the engine has that."""
    names, holds = [], True
    for line in text.splitlines():
        if line.startswith("#: needs "):
            holds = line.removeprefix("#: needs ").strip() in has
        elif holds and line and not line.startswith("#"):
            names.append(line.split()[0])
    return names


def run(crate, place):
    source = fetch(crate, place)
    for path, files in crate.contexts.items():
        directory = source.parent / path
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
    sweep()
    with tempfile.TemporaryDirectory(prefix="hull-crates-") as work:
        push_images(Path(work))
    for repository, tag in crate.local:
        docker("pull", "--quiet", f"127.0.0.1:{registries.OPEN_PORT}/{repository}:{tag}")
        docker("tag", f"127.0.0.1:{registries.OPEN_PORT}/{repository}:{tag}", f"{repository}:{tag}")
    environment = {
        **os.environ, "REGISTRY_HTTP_ADDR": f"127.0.0.1:{registries.OPEN_PORT}", "REGISTRY_PASSWORD": "x",
        "CARGO_TARGET_DIR": str(source / "target"), "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "0",
    }  # fmt: skip
    words = ["cargo", "test", "--features", crate.features, "--no-fail-fast"]
    for suite in crate.suites:
        words += ["--test", suite]
    words += ["--", "--test-threads", "1"]
    skip = crate.skip(ping.conditions())
    for name in skip:
        words += ["--skip", name]
    done = subprocess.run(words, cwd=source, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = place / f"{crate.name}.log"
    log.write_text(done.stdout)
    if done.returncode:
        failed = sorted(set(re.findall(r"^test (\S+) \.\.\. FAILED", done.stdout, re.M)))
        panics = "\n".join(re.findall(r"panicked at .*\n.*|^Error: .*", done.stdout, re.M))
        raise Failed(f"{len(failed)} tests of {crate.name} failed: {' '.join(failed)}\n{panics[-3000:]}\nsee {log}")
    passed = sum(map(int, re.findall(r"(\d+) passed", done.stdout)))
    print(f"       {crate.name}: {passed} tests passed, {len(skip)} left out")


def sweep():
    """Removes what tests that failed left: it would make others fail."""
    for container in docker("ps", "-aq", "--filter", "name=integration_test").split():
        docker("rm", "-fv", container)


def docker(*words):
    done = subprocess.run([CACHE / "docker-clients/docker", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def fetch(crate, place):
    """The crate's source, as cargo unpacks it, in a directory where it can be built."""
    place = place / crate.name
    source = place / f"{crate.name}-{crate.version}"
    if source.is_dir():
        return source
    wanting = place / "wanting"
    wanting.mkdir(parents=True, exist_ok=True)
    manifest = f'[package]\nname = "wanting"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[dependencies]\n{crate.name} = "={crate.version}"\n'
    (wanting / "Cargo.toml").write_text(manifest)
    (wanting / "lib.rs").touch()
    subprocess.run(["cargo", "fetch", "--quiet"], cwd=wanting, check=True)
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    (found,) = home.glob(f"registry/src/*/{crate.name}-{crate.version}")
    shutil.copytree(found, source)
    return source


def push_images(work):
    server = registry.Registry(f"http://127.0.0.1:{registries.OPEN_PORT}")
    base = CACHE / "images/busybox"
    for number, ((repository, tag), (files, command)) in enumerate(IMAGES.items()):
        layers = oci.layers_of(base)
        if files:
            layers.append(oci.make_layer(work / f"{number}.tar.gz", "files", lambda out: out.write(tar_of(files))))
        layout = oci.Layout(work / str(number))
        config = {"Cmd": command, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
        image = layout.add_image(layers, config, "amd64", "2026-01-01T00:00:00Z")
        layout.finish(image, repository, [tag])
        server.push(layout.path)


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.mode, info.size = 0o755, len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
