"""What a user of docker-py writes: containers, streams, images, networks, volumes, events."""

import io
import os
import tarfile
import threading

import docker
from docker.types import Healthcheck, LogConfig, Mount, Ulimit

NAME = "others-docker-py"


def main():
    client = docker.from_env(timeout=60)
    assert client.ping()
    assert client.version()["Components"], "version has components"
    assert client.info()["OSType"] == "linux"
    clean(client)
    try:
        for step in [run, options, streams, files, images, networks, volumes, errors, events, low_level]:
            step(client)
            print(f"ok {step.__name__}", flush=True)
    finally:
        clean(client)
        client.close()


def clean(client):
    for container in client.containers.list(all=True, filters={"label": NAME}):
        container.remove(force=True, v=True)
    for network in client.networks.list(names=[NAME]):
        network.remove()
    for volume in client.volumes.list(filters={"name": NAME}):
        volume.remove(force=True)


def run(client):
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    assert client.containers.run("busybox", "sh -c 'echo err >&2'", remove=True, stderr=True, stdout=False) == b"err\n"
    try:
        client.containers.run("busybox", "sh -c 'echo bad >&2; exit 3'", remove=True)
        raise AssertionError("an exit code is an error")
    except docker.errors.ContainerError as error:
        assert error.exit_status == 3 and b"bad" in error.stderr, error
    lines = list(client.containers.run("busybox", "seq 3", remove=True, stream=True))
    assert b"".join(lines) == b"1\n2\n3\n", lines


def options(client):
    container = client.containers.run(
        "busybox", "sleep 600", detach=True, name=NAME, hostname="harbour", labels={NAME: "1"},
        environment={"A": "1"}, mem_limit="64m", nano_cpus=500_000_000, cap_add=["NET_ADMIN"], init=True,
        ports={"80/tcp": ("127.0.0.1", None), "81/udp": None}, tmpfs={"/t": "size=1m"}, read_only=True,
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}), working_dir="/tmp", user="1000",
        healthcheck=Healthcheck(test=["CMD", "true"], interval=200_000_000), extra_hosts={"ship": "192.0.2.7"},
        mounts=[Mount("/v", f"{NAME}-v", type="volume")],
    )  # fmt: skip
    container.reload()
    host = container.attrs["HostConfig"]
    assert host["Memory"] == 64 << 20 and host["NanoCpus"] == 500_000_000 and host["ReadonlyRootfs"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert container.ports["80/tcp"][0]["HostIp"] == "127.0.0.1", container.ports
    assert container.status == "running" and container.short_id == container.id[:12]
    assert container.image.tags, "its image has its names"
    await_health(container)
    assert container.top()["Processes"]
    assert container.stats(stream=False)["memory_stats"]["usage"] > 0
    assert next(container.stats(decode=True))["name"] == f"/{NAME}"
    container.update(mem_limit="96m", memswap_limit="192m")
    container.rename(f"{NAME}-renamed")
    container.pause()
    container.unpause()
    container.restart(timeout=0)
    container.kill("KILL")
    assert container.wait()["StatusCode"] == 137
    container.start()
    container.stop(timeout=0)
    container.remove(v=True)
    try:
        container.reload()
        raise AssertionError("it is gone")
    except docker.errors.NotFound:
        pass


def await_health(container):
    for _ in client_events(container.client, {"container": container.id, "event": "health_status"}):
        break
    container.reload()
    assert container.attrs["State"]["Health"]["Status"] == "healthy", container.attrs["State"]
    assert container.health == "healthy"


def client_events(client, filters):
    return client.events(decode=True, since=0, filters=filters)


def streams(client):
    container = client.containers.run("busybox", "sh -c 'echo one; echo two >&2; sleep 600'", detach=True, labels={NAME: "1"})
    code, output = container.exec_run("sh -c 'echo out; echo err >&2; exit 4'", demux=True)
    assert (code, output) == (4, (b"out\n", b"err\n")), (code, output)
    assert container.exec_run("cat", stdin=True, socket=True).output is not None
    output = b"".join(container.exec_run("seq 3", stream=True).output)
    assert output == b"1\n2\n3\n", output
    assert container.exec_run("id -u", user="1000").output == b"1000\n"
    assert container.exec_run("pwd", workdir="/etc", environment={"X": "1"}, tty=True).output == b"/etc\r\n"
    assert container.logs(stdout=True, stderr=False) == b"one\n"
    assert container.logs(tail=0) == b""
    assert next(container.logs(stream=True, follow=True)) in (b"one\n", b"two\n")
    assert container.logs(timestamps=True, stderr=False).endswith(b" one\n")
    container.remove(force=True)
    container = client.containers.create("busybox", "cat", stdin_open=True, labels={NAME: "1"})
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    socket._sock.sendall(b"typed\n")
    assert socket._sock.recv(64).endswith(b"typed\n")
    socket.close()
    container.remove(force=True)


def files(client):
    container = client.containers.run("busybox", "sleep 600", detach=True, labels={NAME: "1"})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("put")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    assert container.put_archive("/tmp", packed.getvalue())
    chunks, stat = container.get_archive("/tmp/put")
    assert stat["name"] == "put" and stat["size"] == 5, stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.extractfile("put").read() == b"hello"
    assert {"Path": "/tmp/put", "Kind": 1} in container.diff()
    image = container.commit(repository=f"{NAME}-image", tag="one", changes=["CMD [\"cat\", \"/tmp/put\"]"])
    assert client.containers.run(f"{NAME}-image:one", remove=True) == b"hello"
    assert sum(map(len, container.export())) > 500_000
    client.images.remove(image.id, force=True)
    container.remove(force=True)


def images(client):
    image = client.images.get("busybox")
    assert image.tags and image.id.startswith("sha256:") and image.history()
    assert image.tag(f"{NAME}-image", "two")
    archive = b"".join(client.images.get(f"{NAME}-image:two").save(named=f"{NAME}-image:two"))
    client.images.remove(f"{NAME}-image:two")
    (loaded,) = client.images.load(archive)
    assert f"{NAME}-image:two" in loaded.tags
    assert [i for i in client.images.list(f"{NAME}-image") if i.id == image.id]
    client.images.remove(f"{NAME}-image:two")
    assert client.images.pull("busybox", tag="latest").id == image.id
    assert client.images.get_registry_data("127.0.0.1:5555/library/busybox:latest").id.startswith("sha256:")
    assert [line for line in client.api.pull("busybox", tag="latest", stream=True, decode=True) if "status" in line]


def networks(client):
    network = client.networks.create(NAME, driver="bridge", labels={NAME: "1"})
    container = client.containers.run("busybox", "sleep 600", detach=True, labels={NAME: "1"}, network=NAME)
    network.connect(client.containers.create("busybox", "true", labels={NAME: "1"}), aliases=["other"])
    network.reload()
    assert [c.id for c in network.containers] == [container.id]
    network.disconnect(container)
    container.remove(force=True)
    clean(client)
    assert not client.networks.list(names=[NAME])


def volumes(client):
    volume = client.volumes.create(NAME, driver="local", labels={NAME: "1"})
    client.containers.run("busybox", "sh -c 'echo kept >/v/x'", remove=True, volumes={NAME: {"bind": "/v", "mode": "rw"}})
    assert client.containers.run("busybox", "cat /v/x", remove=True, volumes=[f"{NAME}:/v:ro"]) == b"kept\n"
    assert client.volumes.get(NAME).attrs["Mountpoint"]
    volume.remove()


def errors(client):
    for call, kind in [
        (lambda: client.containers.get("nosuch"), docker.errors.NotFound),
        (lambda: client.images.get("nosuch"), docker.errors.ImageNotFound),
        (lambda: client.containers.create("nosuch-image"), docker.errors.ImageNotFound),
        (lambda: client.networks.get("nosuch"), docker.errors.NotFound),
        (lambda: client.volumes.get("nosuch"), docker.errors.NotFound),
        (lambda: client.images.pull("127.0.0.1:5555/nosuch"), docker.errors.NotFound),
        (lambda: client.containers.run("busybox", "nosuch", remove=True), docker.errors.APIError),
        (lambda: client.swarm.reload(), docker.errors.APIError),
    ]:
        try:
            call()
        except kind as error:
            assert error.explanation, error
        else:
            raise AssertionError(kind)


def events(client):
    seen = []

    def listen(stream):
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    stream = client.events(decode=True, filters={"label": NAME})
    listener = threading.Thread(target=listen, args=[stream])
    listener.start()
    client.containers.run("busybox", "true", remove=True, labels={NAME: "1"})
    listener.join(30)
    stream.close()
    assert seen == ["create", "start", "die", "destroy"], seen


def low_level(client):
    api = docker.APIClient(base_url=os.environ["DOCKER_HOST"], version="auto")
    assert float(api.api_version) >= 1.44
    made = api.create_container("busybox", "true", labels={NAME: "1"}, host_config=api.create_host_config(auto_remove=False))
    api.start(made["Id"])
    assert api.wait(made["Id"])["StatusCode"] == 0
    assert api.inspect_container(made["Id"])["State"]["ExitCode"] == 0
    assert [c for c in api.containers(all=True, filters={"label": NAME}) if c["Id"] == made["Id"]]
    assert api.port(made["Id"], 80) is None
    assert set(api.df()) >= {"Images", "Containers", "Volumes", "BuildCache"}
    api.remove_container(made["Id"])
    old = docker.APIClient(base_url=os.environ["DOCKER_HOST"], version="1.24")
    assert isinstance(old.containers(all=True), list)


if __name__ == "__main__":
    main()
