"""A registry that wants a name and a password, for `docker login`, `push` and `pull`."""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PORT = 5557
# hull:anchors, by bcrypt, the only form that the registry takes.
HTPASSWD = "hull:$2b$05$E0nS0pNv9UrjDsmgpzsXE.gq1nWJyu3ChJBwW0vKq8ktaTt6rzCTe\n"
CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
auth: {{htpasswd: {{realm: harbour, path: {htpasswd}}}}}
"""


def find_program():
    """The distribution's, installed or as `images/build.py` unpacked it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monohull"
    program = shutil.which("docker-registry") or cache / "registry/package/usr/bin/docker-registry"
    if not Path(program).exists():
        raise SystemExit("suite: there is no registry: run `python3 images/build.py up --no-config test`")
    return program


class PrivateRegistry:
    """It runs while the context lasts, in this process's network."""

    def __init__(self, work):
        self.home = work / ".registry"

    def __enter__(self):
        self.home.mkdir()
        htpasswd, config = self.home / "htpasswd", self.home / "config.yml"
        htpasswd.write_text(HTPASSWD)
        config.write_text(CONFIG.format(data=self.home / "data", port=PORT, htpasswd=htpasswd))
        with open(self.home / "log", "wb") as log:
            self.process = subprocess.Popen(
                [find_program(), "serve", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
            )  # fmt: skip
        self._wait()
        return self

    def _wait(self):
        deadline = time.monotonic() + 20
        while not _answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"suite: no registry on 127.0.0.1:{PORT}: {(self.home / 'log').read_text()[-500:]}")
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def _answers():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"http://127.0.0.1:{PORT}/v2/", timeout=5)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True
