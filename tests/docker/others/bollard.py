"""The integration tests that bollard's crate ships, unchanged, on images that stand for those it pulls."""

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import oci
import registries
import registry

HERE = Path(__file__).resolve().parent
VERSION = "0.21.1"
SUITES = ["container_test", "exec_test", "image_test", "network_test", "volume_test", "system_test", "version_test", "distribution"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull"
# Of each image that the tests pull: what it has besides busybox, and its command.
IMAGES = {
    ("hello-world", "linux"): ({"hello": "#!/bin/sh\necho\necho 'Hello from Docker!'\n"}, ["/hello"]),
    ("alpine", "latest"): ({}, ["/bin/sh"]),
    ("fussybeaver/uhttpd", "latest"): (
        {"usr/sbin/run_uhttpd": '#!/bin/sh\nexec httpd "$@"\n', "www/index.html": "here\n", "etc/config/uhttpd": "\nconfig uhttpd main\n"},
        ["/usr/sbin/run_uhttpd", "-f", "-p", "80", "-h", "/www"],
    ),
}  # fmt: skip


class Failed(Exception):
    """Tests that did not pass."""


def run(place):
    source = fetch(place / "bollard")
    sweep()
    with tempfile.TemporaryDirectory(prefix="hull-bollard-") as work:
        push_images(Path(work))
    environment = {
        **os.environ, "REGISTRY_HTTP_ADDR": f"127.0.0.1:{registries.OPEN_PORT}", "REGISTRY_PASSWORD": "x",
        "CARGO_TARGET_DIR": str(source / "target"), "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "0",
    }  # fmt: skip
    words = ["cargo", "test", "--features", "test_websocket", "--no-fail-fast"]
    for suite in SUITES:
        words += ["--test", suite]
    words += ["--", "--test-threads", "1"]
    for name in skipped():
        words += ["--skip", name]
    done = subprocess.run(words, cwd=source, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (place / "bollard.log").write_text(done.stdout)
    if done.returncode:
        failed = sorted(set(re.findall(r"^test (\S+) \.\.\. FAILED", done.stdout, re.M)))
        panics = "\n".join(re.findall(r"panicked at .*\n.*", done.stdout))
        raise Failed(f"{len(failed)} tests of bollard failed: {' '.join(failed)}\n{panics[-3000:]}\nsee {place / 'bollard.log'}")
    passed = sum(map(int, re.findall(r"(\d+) passed", done.stdout)))
    print(f"       bollard: {passed} tests passed, {len(skipped())} left out")


def sweep():
    """Removes what tests that failed left: it would make others fail."""
    script = 'found=$("$0" ps -aq --filter name=integration_test); [ -z "$found" ] || "$0" rm -fv $found'
    subprocess.run(["sh", "-c", script, CACHE / "docker-clients/docker"], check=True, stdout=subprocess.DEVNULL)


def skipped():
    lines = (HERE / "bollard.skip").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def fetch(place):
    """The crate's source, as cargo unpacks it, in a directory where it can be built."""
    source = place / f"bollard-{VERSION}"
    if source.is_dir():
        return source
    wanting = place / "wanting"
    wanting.mkdir(parents=True)
    manifest = f'[package]\nname = "wanting"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[dependencies]\nbollard = "={VERSION}"\n'
    (wanting / "Cargo.toml").write_text(manifest)
    (wanting / "lib.rs").touch()
    subprocess.run(["cargo", "fetch", "--quiet"], cwd=wanting, check=True)
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    (found,) = home.glob(f"registry/src/*/bollard-{VERSION}")
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
