"""What a user of testcontainers writes in Python. Its reaper is an image of its own, which is not here."""

import urllib.request

from testcontainers.core.config import testcontainers_config

testcontainers_config.ryuk_disabled = True

from testcontainers.core.container import DockerContainer  # noqa: E402
from testcontainers.core.network import Network  # noqa: E402
from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: E402


def main():
    with Network() as network, web(network) as server:
        port = server.get_exposed_port(80)
        text = urllib.request.urlopen(f"http://{server.get_container_host_ip()}:{port}/passwd", timeout=10).read()
        assert b"root:x:0:0" in text
        assert server.exec(["sh", "-c", "echo $A"]).output == b"1\n"
        assert b"it is up" in server.get_logs()[0]
        with DockerContainer("busybox").with_command("wget -q -O - http://web/passwd").with_network(network) as other:
            assert other.get_wrapped_container().wait()["StatusCode"] == 0
            assert b"root:x" in other.get_logs()[0]
    print("ok testcontainers")


def web(network):
    server = DockerContainer("busybox").with_command("sh -c 'echo it is up; exec httpd -f -p 80 -h /etc'")
    server.with_exposed_ports(80).with_env("A", "1").with_network(network).with_network_aliases("web")
    return server.waiting_for(LogMessageWaitStrategy("it is up"))


if __name__ == "__main__":
    main()
