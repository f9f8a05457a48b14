"""Asks as a console that watches an engine does: everything, again and again, on connections kept and dropped."""

import http.client
import json
import os
import socket
import sys

PATHS = [
    "/_ping", "/version", "/info", "/containers/json?all=1", "/containers/json?all=true&size=1", "/images/json?all=0",
    "/images/json?digests=1", "/volumes", "/volumes?filters={\"dangling\":[\"true\"]}", "/networks", "/plugins", "/system/df",
    "/events?since=0&until=1", "/containers/{id}/json", "/containers/{id}/stats?stream=false&one-shot=1",
    "/containers/{id}/logs?stdout=1&stderr=1&tail=100", "/containers/{id}/top",
]  # fmt: skip
ROUNDS = 20


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))


def ask(connection, method, path, body=None):
    connection.request(method, "/v1.44" + path.replace('"', "%22"), body and json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 400:
        sys.exit(f"{method} {path}: {answer.status} {data[:300]!r}")
    return data


def main():
    connection = Connection("docker")
    made = json.loads(ask(connection, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "600"]}))["Id"]
    try:
        ask(connection, "POST", f"/containers/{made}/start")
        for round in range(ROUNDS):
            kept = Connection("docker") if round % 5 == 0 else connection
            for path in PATHS:
                ask(kept, "GET", path.replace("{id}", made))
            # One that leaves in the middle of an answer, one that never finishes asking.
            for half in (b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /v1.44/containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"):
                rude = Connection("docker")
                rude.connect()
                rude.sock.sendall(half)
                rude.close()
    finally:
        ask(Connection("docker"), "DELETE", f"/containers/{made}?force=1&v=1")
    print(f"ok {ROUNDS} rounds of {len(PATHS)}")


if __name__ == "__main__":
    main()
