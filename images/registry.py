"""Pushes image layouts to a registry, and runs the local one.

The protocol is the OCI distribution specification, the subset that a push needs:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import oci


class Registry:
    def __init__(self, url):
        self.url = url

    def push(self, layout):
        """Pushes each named image of the layout; returns the names that the registry did not have."""
        new = []
        for repository, tag, entry in oci.entries(layout):
            if self._digest_of(repository, tag) != entry["digest"]:
                self._push_manifest(layout, repository, entry, tag)
                new.append(f"{repository}:{tag}")
        return new

    def _push_manifest(self, layout, repository, entry, reference):
        data = self._read(layout, entry["digest"])
        manifest = json.loads(data)
        for child in manifest.get("manifests", []):
            self._push_manifest(layout, repository, child, child["digest"])
        for blob in [manifest.get("config"), *manifest.get("layers", [])]:
            if blob:
                self._push_blob(layout, repository, blob["digest"])
        url = f"{self.url}/v2/{repository}/manifests/{reference}"
        self._request("PUT", url, data, entry["mediaType"])

    def _push_blob(self, layout, repository, digest):
        if self._exists(f"{self.url}/v2/{repository}/blobs/{digest}"):
            return
        place = self._request("POST", f"{self.url}/v2/{repository}/blobs/uploads/", b"")
        url = urljoin(self.url, place.headers["Location"])
        url += ("&" if "?" in url else "?") + "digest=" + digest
        self._request("PUT", url, self._read(layout, digest), "application/octet-stream")

    def _digest_of(self, repository, tag):
        accept = ", ".join([oci.OCI_INDEX, oci.OCI_MANIFEST, oci.DOCKER_MANIFEST])
        request = urllib.request.Request(
            f"{self.url}/v2/{repository}/manifests/{tag}", method="HEAD", headers={"Accept": accept}
        )
        try:
            return _open(request).headers["Docker-Content-Digest"]
        except urllib.error.HTTPError as error:
            return self._absent(error)

    def _exists(self, url):
        try:
            _open(urllib.request.Request(url, method="HEAD"))
            return True
        except urllib.error.HTTPError as error:
            return bool(self._absent(error))

    @staticmethod
    def _absent(error):
        if error.code != 404:
            raise error
        return None

    @staticmethod
    def _request(method, url, data, kind="application/octet-stream"):
        headers = {"Content-Type": kind, "Content-Length": str(len(data))}
        return _open(urllib.request.Request(url, data=data, method=method, headers=headers))

    @staticmethod
    def _read(layout, digest):
        return (layout / "blobs" / digest.replace(":", "/")).read_bytes()

    def answers(self):
        try:
            return _open(urllib.request.Request(self.url + "/v2/")).status == 200
        except OSError:
            return False


def _open(request):
    # The registry is on this machine: no proxy may stand between.
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)


# --- the local registry ---------------------------------------------------------------------------

CONFIG = """\
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {data}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""


class Server:
    """A docker-registry of our own, on loopback; never the distribution's service."""

    def __init__(self, home, port, find_program):
        self.home, self.port, self.find_program = home, port, find_program
        self.pid_file = home / "registry.pid"
        self.config = home / "config.yml"
        self.client = Registry(f"http://127.0.0.1:{port}")

    def pid(self):
        """Its process, if that runs. The number alone is not proof: numbers are used again."""
        try:
            pid = int(self.pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except (OSError, ValueError):
            return None
        return pid if str(self.config) in words else None

    def start(self):
        """Starts it if it does not run; returns whether it had to."""
        if self.pid():
            return False
        if self.client.answers():
            raise SystemExit(
                f"images: another registry already answers on 127.0.0.1:{self.port}\n"
                "stop it, or choose another port: make images REGISTRY_PORT=5556"
            )
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(CONFIG.format(data=self.home / "data", port=self.port))
        program = self.find_program()
        log = open(self.home / "registry.log", "ab")
        process = subprocess.Popen(
            [program, "serve", str(self.config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
        self.pid_file.write_text(f"{process.pid}\n")
        self._wait_until(self.client.answers, process)
        return True

    def _wait_until(self, ready, process):
        deadline = time.monotonic() + 20
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"images: the registry did not start on 127.0.0.1:{self.port}; "
                    f"see {self.home / 'registry.log'}"
                )
            time.sleep(0.05)

    def stop(self):
        pid = self.pid()
        if not pid:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while self.pid() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.pid():
            os.kill(pid, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)
        return True


def find_program(home, unpack):
    """The installed docker-registry, else one unpacked from its package: installing would start its service."""
    installed = shutil.which("docker-registry")
    if installed:
        return installed
    program = home / "package/usr/bin/docker-registry"
    if not program.exists():
        unpack("docker-registry", home / "package")
    return str(program)
