"""The engines that are measured: how each is started, told to do a thing, and asked.

An engine is its command line plus, where it has one, its API. All stand in the same place (peers/env), run
the same image and are compared in the same run.
"""

import functools
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from pathlib import Path

IMAGE_TAR = Path("/io/busybox.tar")
SLEEP = ["sleep", "100000"]
# By default hull's oldest lines make way.
HULL_LOGS = ["--log-opt", "max-size=64m", "--log-opt", "max-file=5"]
_numbers = itertools.count()


class Failed(Exception):
    """A command of an engine failed: the command and its last words."""


def fresh_name():
    return f"b{os.getpid()}-{next(_numbers)}"


def call(command, output=subprocess.DEVNULL, check=True):
    """Runs a command. Its stderr goes to a file: a container started by it may hold a pipe open for ever."""
    with open(f"/tmp/stderr.{os.getpid()}.{next(_numbers)}", "w+b") as errors:
        os.unlink(errors.name)
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors).returncode
        if check and code:
            errors.seek(0)
            raise Failed(f"{' '.join(command)}: exit {code}: {errors.read()[-300:].decode(errors='replace')}")


def read(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


class Daemon:
    """A process that an engine needs, until it is asked to leave."""

    def __init__(self, command, is_ready, log, environment=None):
        self.command, self.is_ready, self.log = command, is_ready, log
        self.environment = environment or os.environ
        self.process = None

    def start(self):
        """Returns the seconds until it answered; none when it runs already, for another engine on it."""
        if self.process:
            return 0.0
        start = time.perf_counter()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=self.environment,
            )  # fmt: skip
        while not self.is_ready():
            if self.process.poll() is not None or time.perf_counter() - start > 60:
                raise Failed(f"{' '.join(self.command)} did not become ready; see {self.log}")
            time.sleep(0.002)
        return time.perf_counter() - start

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class Engine:
    """What every engine can do. Commands are returned, not run: the caller holds the watch."""

    name = ""
    program = ""
    networks = ["bridge", "none"]
    daemon = None
    api = None
    # Has docker's Compose.
    compose = False

    def is_there(self):
        return shutil.which(self.program) is not None

    def version(self):
        found = re.search(r"\d+\.\d+[^\s,]*", read([self.program, "--version"]))
        return found.group(0) if found else "?"

    def start(self):
        return self.daemon.start() if self.daemon else 0.0

    def stop(self):
        if self.daemon:
            self.daemon.stop()

    def load_image(self):
        raise NotImplementedError

    def run_rm(self, network, command):
        raise NotImplementedError

    def run_d(self, network, name, command=SLEEP):
        raise NotImplementedError

    def remove(self, names):
        raise NotImplementedError

    def exec(self, name):
        raise NotImplementedError

    def remove_now(self, names):
        for command in self.remove(names):
            call(command)

    def log(self, command):
        """Runs a container until it has ended and all it wrote is kept; returns how to count that."""
        raise NotImplementedError


class Runc(Engine):
    """The low-level runtime alone: a prepared bundle, no network, no image store. The floor."""

    name = program = "runc"
    networks = ["none"]
    bundles = Path("/var/tmp/bundles")

    def load_image(self):
        root = self.bundles / "rootfs"
        shutil.rmtree(self.bundles, ignore_errors=True)
        root.mkdir(parents=True)
        with tarfile.open(IMAGE_TAR) as image:
            (manifest,) = json.load(image.extractfile("manifest.json"))
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=image.extractfile(layer)) as tar:
                    tar.extractall(root)

    def bundle(self, command):
        place = self.bundles / re.sub(r"\W+", "-", " ".join(command))[:60]
        if not place.exists():
            place.mkdir()
            call(["runc", "spec", "-b", str(place)])
            config = json.loads((place / "config.json").read_text())
            config["process"].update(terminal=False, args=command)
            config["root"] = {"path": str(self.bundles / "rootfs"), "readonly": True}
            (place / "config.json").write_text(json.dumps(config))
        return str(place)

    def run_rm(self, network, command):
        return ["runc", "run", "-b", self.bundle(command), fresh_name()]

    def run_d(self, network, name, command=SLEEP):
        return ["runc", "run", "-d", "-b", self.bundle(command), name]

    def remove(self, names):
        return [["runc", "delete", "-f", name] for name in names]

    def exec(self, name):
        return ["runc", "exec", name, "/bin/true"]

    def log(self, command):
        path = Path("/var/tmp/runc.log")
        with open(path, "wb") as file:
            call(self.run_rm("none", command), output=file)
        return path.stat().st_size


class Ctr(Engine):
    """containerd's own client, without network: what an engine on containerd cannot be faster than."""

    name, program = "ctr", "ctr"
    networks = ["none"]
    socket = "/run/bench-containerd/containerd.sock"
    base = ["ctr", "-a", socket, "-n", "bench"]
    config = f"""\
version = 2
root = "/var/lib/bench-containerd"
state = "/run/bench-containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{socket}"
"""

    def __init__(self):
        Path("/run/bench-containerd.toml").write_text(self.config)
        command = ["containerd", "-c", "/run/bench-containerd.toml", "-l", "warn"]
        self.daemon = Daemon(command, self._answers, "/io/ctr.log")

    def _answers(self):
        return subprocess.run([*self.base, "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def load_image(self):
        call([*self.base, "images", "import", str(IMAGE_TAR)])
        self.image = read([*self.base, "images", "ls", "-q"]).split()[0]

    def run_rm(self, network, command):
        return [*self.base, "run", "--rm", self.image, fresh_name(), *command]

    def run_d(self, network, name, command=SLEEP):
        return [*self.base, "run", "-d", "--null-io", self.image, name, *command]

    def remove(self, names):
        return [[*self.base, "task", "rm", "-f", *names], [*self.base, "container", "rm", *names]]

    def exec(self, name):
        return [*self.base, "task", "exec", "--exec-id", fresh_name(), name, "true"]

    def log(self, command):
        path, name = Path("/var/tmp/ctr.log"), fresh_name()
        path.unlink(missing_ok=True)
        call([*self.base, "run", "--rm", "--log-uri", f"file://{path}", self.image, name, *command])
        return path.stat().st_size


class DockerLike(Engine):
    """Engines with docker's verbs."""

    def __init__(self):
        self.base = [self.program]

    def _network(self, network):
        return ["--network", "none"] if network == "none" else []

    def load_image(self):
        call([*self.base, "load", "-i", str(IMAGE_TAR)])

    def run_rm(self, network, command):
        return [*self.base, "run", "--rm", *self._network(network), "busybox", *command]

    def run_d(self, network, name, command=SLEEP):
        return [*self.base, "run", "-d", "--name", name, *self._network(network), "busybox", *command]

    def remove(self, names):
        return [[*self.base, "rm", "-f", *names]]

    def exec(self, name):
        return [*self.base, "exec", name, "true"]

    def _kept_whole(self):
        """What makes a log keep all that was written."""
        return []

    def log(self, command):
        name = fresh_name()
        network = self._network("none")
        call([*self.base, "run", "-d", "--name", name, *self._kept_whole(), *network, "busybox", *command])
        call([*self.base, "wait", name])
        return name

    def log_size(self, name):
        """Reads the log, and counts what came."""
        reader = subprocess.Popen([*self.base, "logs", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        size = sum(len(chunk) for chunk in iter(lambda: reader.stdout.read(1 << 20), b""))
        reader.wait()
        return size

    def create(self, names):
        """Makes containers that are not started."""
        for name in names:
            call([*self.base, "create", "--name", name, *self._network("none"), "busybox", "true"])

    def list_command(self):
        return [*self.base, "ps", "-a"]

    def copy(self, source, target):
        return [*self.base, "cp", source, target]


class DockerClient(DockerLike):
    """What the docker command speaks to; the command and its Compose are the same for all of these."""

    program = "docker"
    socket = ""

    def __init__(self):
        super().__init__()
        self.base = ["docker", "--host", f"unix://{self.socket}"]
        self.compose = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        self.api = Http(self.socket, "/containers/json?all=1", "/containers/{name}/json")

    def up(self, project, file):
        return [*self.base, "compose", "--project-name", project, "--file", file, "up", "--detach"]

    def down(self, project, file):
        return [*self.base, "compose", "--project-name", project, "--file", file, "down", "--timeout", "0"]

    def create(self, names):
        body = json.dumps({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}).encode()
        for name in names:
            status, answer = self.api.request("POST", f"/containers/create?name={name}", body)
            if status != 201:
                raise Failed(f"docker create: {status} {answer[:200]}")


class Docker(DockerClient):
    name = "docker"
    socket = "/run/docker.sock"

    def __init__(self):
        super().__init__()
        command = ["dockerd", "--log-level", "warn"]
        self.daemon = Daemon(command, lambda: self.api.answers("/_ping"), "/io/docker.log")

    def is_there(self):
        return super().is_there() and shutil.which("dockerd") is not None


class Podman(DockerLike):
    """Needs no daemon; for its API it has a service, started for the figures about the API only."""

    name = program = "podman"

    def __init__(self):
        super().__init__()
        self.api = Http("/run/podman/podman.sock", "/v1.41/containers/json?all=1", "/v1.41/containers/{name}/json")
        command = ["podman", "system", "service", "--time", "0"]
        self.service = Daemon(command, lambda: self.api.answers("/_ping"), "/io/podman.log")

    def remove(self, names):
        return [["podman", "rm", "-f", "-t", "0", *names]]


class Hull(DockerLike):
    name = program = "hull"

    def __init__(self):
        super().__init__()
        instances = "/v1/projects/default/instances"
        self.api = Http("/run/hull/api.sock", f"{instances}?limit=1000", f"{instances}/{{name}}")
        self.daemon = hull_daemon()

    def load_image(self):
        call(["hull", "image", "import", str(IMAGE_TAR)])

    def _kept_whole(self):
        return HULL_LOGS

    def stop(self):
        """Its containerd outlives it by design; here it ends too, for the next start to be a cold one."""
        super().stop()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if "/run/hull/containerd/containerd.toml" in words:
                os.kill(int(process.name), signal.SIGTERM)
                _wait_until_gone(process)


class HullDocker(DockerClient):
    """hull's daemon, spoken to by docker's own clients."""

    name = "hull-docker"
    socket = "/run/hull/docker.sock"

    def __init__(self):
        super().__init__()
        self.hull = Hull()
        self.daemon = self.hull.daemon

    def is_there(self):
        return super().is_there() and self.hull.is_there()

    def load_image(self):
        self.hull.load_image()

    def stop(self):
        self.hull.stop()

    def _kept_whole(self):
        return HULL_LOGS


@functools.cache
def hull_daemon():
    """The one daemon, whoever speaks to it."""
    ready = Http("/run/hull/api.sock", "/", "/{name}")
    return Daemon(["hull", "daemon"], lambda: ready.answers("/readyz"), "/io/hull.log")


def _wait_until_gone(process):
    deadline = time.monotonic() + 20
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def all_engines():
    return [Runc(), Ctr(), Docker(), Podman(), HullDocker(), Hull()]


class Http:
    """HTTP/1.1 over a unix socket, kept open: a client library's time would be in the figures."""

    def __init__(self, path, list_path, one_path):
        self.path, self.list_path, self.one_path = path, list_path, one_path
        self.connection, self.rest = None, b""

    def answers(self, path):
        try:
            return self.request("GET", path)[0] == 200
        except (OSError, EOFError):
            return False

    def get(self, path):
        status, body = self.request("GET", path)
        if status != 200:
            raise Failed(f"GET {path}: {status} {body[:200]}")
        return body

    def list(self):
        return self.get(self.list_path)

    def one(self, name):
        return self.get(self.one_path.format(name=name))

    def request(self, method, path, body=b""):
        """A server closes what was idle for long; it has then read nothing of what is sent, so it is sent again."""
        was_open = self.connection is not None
        try:
            return self._request(method, path, body)
        except (OSError, EOFError):
            untouched = not self.rest
            self.close()
            if not (was_open and untouched):
                raise
        try:
            return self._request(method, path, body)
        except (OSError, EOFError):
            self.close()
            raise

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection, self.rest = None, b""

    def _request(self, method, path, body):
        if not self.connection:
            self.connection = socket.socket(socket.AF_UNIX)
            self.connection.connect(self.path)
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.sendall(head.encode() + body)
        return self._answer()

    def _answer(self):
        head = self._until(b"\r\n\r\n").decode().lower()
        status = int(head.split()[1])
        length = re.search(r"content-length: (\d+)", head)
        if length:
            body = self._exactly(int(length.group(1)))
        elif "chunked" in head:
            body = self._chunks()
        else:
            body = b""
        if "connection: close" in head:
            self.close()
        return status, body

    def _chunks(self):
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size)
            self._exactly(2)
        self._exactly(2)
        return body

    def _until(self, mark):
        while mark not in self.rest:
            self._receive()
        found, self.rest = self.rest.split(mark, 1)
        return found

    def _exactly(self, size):
        while len(self.rest) < size:
            self._receive()
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def _receive(self):
        data = self.connection.recv(1 << 18)
        if not data:
            raise EOFError("the connection was closed")
        self.rest += data
