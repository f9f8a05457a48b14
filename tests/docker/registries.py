"""Registries for tests: one that wants a name and a password, and one that everybody may push to."""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PRIVATE_PORT = 5557
OPEN_PORT = 5558
# hull:anchors, by bcrypt, the only form that the registry takes.
HTPASSWD = "hull:$2b$05$E0nS0pNv9UrjDsmgpzsXE.gq1nWJyu3ChJBwW0vKq8ktaTt6rzCTe\n"
CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {home}/data}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
"""
AUTHENTICATION = "auth: {{htpasswd: {{realm: harbour, path: {home}/htpasswd}}}}\n"


def find_program():
    """The distribution's, installed or as `images/build.py` unpacked it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull"
    program = shutil.which("docker-registry") or cache / "registry/package/usr/bin/docker-registry"
    if not Path(program).exists():
        raise SystemExit("there is no registry: run `python3 images/build.py up --no-config test`")
    return program


class Registry:
    """It runs while the context lasts, in this process's network."""

    def __init__(self, work, port, config):
        self.home, self.port = work / f".registry-{port}", port
        self.config = config.format(home=self.home, port=port)

    def __enter__(self):
        self.home.mkdir()
        (self.home / "htpasswd").write_text(HTPASSWD)
        (self.home / "config.yml").write_text(self.config)
        with open(self.home / "log", "wb") as log:
            self.process = subprocess.Popen(
                [find_program(), "serve", self.home / "config.yml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"no registry on 127.0.0.1:{self.port}: {(self.home / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def _answers(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"http://127.0.0.1:{self.port}/v2/", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True


def private(work):
    return Registry(work, PRIVATE_PORT, CONFIG + AUTHENTICATION)


def open_to_all(work):
    return Registry(work, OPEN_PORT, CONFIG)
