#!/usr/bin/env python3
"""A volume plugin of Docker's kind, for tests: volumes are directories.

    plugin.py SOCKET STATE

STATE/volumes has the volumes, STATE/calls a line of JSON for each call and its answer, STATE/mounts.json who
mounts what. STATE/behaviour.json, read at each call, makes calls go wrong: by method's name, or `*`,
    {"delay": seconds, "error": text, "answer": object, "status": code, "raw": text, "huge": bytes, "die": true}
"""

import json
import os
import shutil
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

LOCK = threading.Lock()


class Plugin:
    def __init__(self, state):
        self.state = state
        self.volumes = os.path.join(state, "volumes")
        os.makedirs(self.volumes, exist_ok=True)

    def path(self, name):
        return os.path.join(self.volumes, name)

    def mounts(self):
        try:
            with open(os.path.join(self.state, "mounts.json")) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def keep(self, mounts):
        draft = os.path.join(self.state, "mounts.draft")
        with open(draft, "w") as file:
            json.dump(mounts, file)
        os.rename(draft, os.path.join(self.state, "mounts.json"))

    def behaviour(self, method):
        try:
            with open(os.path.join(self.state, "behaviour.json")) as file:
                behaviour = json.load(file)
        except FileNotFoundError:
            return {}
        return behaviour.get(method, behaviour.get("*", {}))

    def note(self, method, body, answer):
        with open(os.path.join(self.state, "calls"), "a") as file:
            file.write(json.dumps([method, body, answer]) + "\n")

    def answer(self, method, body):
        name, user = body.get("Name", ""), body.get("ID", "")
        if method == "Plugin.Activate":
            return {"Implements": ["VolumeDriver"]}
        if method == "VolumeDriver.Capabilities":
            return {"Capabilities": {"Scope": "global"}}
        if method == "VolumeDriver.List":
            return {"Volumes": [self.describe(it) for it in sorted(os.listdir(self.volumes))], "Err": ""}
        if method == "VolumeDriver.Create":
            options = body.get("Opts") or {}
            if "fail" in options:
                return {"Err": f"no volume for {options['fail']}"}
            os.makedirs(self.path(name), exist_ok=True)
            return {"Err": ""}
        if not os.path.isdir(self.path(name)):
            return {"Err": f"volume {name} not found"}
        mounts = self.mounts()
        users = mounts.setdefault(name, [])
        if method == "VolumeDriver.Get":
            told = {**self.describe(name), "Status": {"users": len(users), "kind": "directory"}}
            # As with many plugins: where an unmounted volume is, only Path tells.
            return {"Volume": told if users else {**told, "Mountpoint": ""}, "Err": ""}
        if method == "VolumeDriver.Path":
            return {"Mountpoint": self.path(name), "Err": ""}
        if method == "VolumeDriver.Mount":
            users.append(user)
            self.keep(mounts)
            return {"Mountpoint": self.path(name), "Err": ""}
        if method == "VolumeDriver.Unmount":
            if user not in users:
                return {"Err": f"{user} does not mount {name}"}
            users.remove(user)
            self.keep(mounts)
            return {"Err": ""}
        if method == "VolumeDriver.Remove":
            if users:
                return {"Err": f"volume {name} is mounted"}
            shutil.rmtree(self.path(name))
            return {"Err": ""}
        return {"Err": f"{method} is unknown"}

    def describe(self, name):
        return {"Name": name, "Mountpoint": self.path(name), "CreatedAt": "2026-01-02T03:04:05Z"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        plugin = self.server.plugin
        method = self.path.lstrip("/")
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (self.headers.get("Transfer-Encoding") or "") == "chunked":
            text = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                text += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        body = json.loads(text or b"{}")
        wish = plugin.behaviour(method)
        if wish.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "answer" in wish:
            answer = wish["answer"]
        elif "error" in wish:
            answer = {"Err": wish["error"]}
        else:
            with LOCK:
                answer = plugin.answer(method, body)
        with LOCK:
            plugin.note(method, body, answer)
        time.sleep(wish.get("delay", 0))
        text = wish["raw"] if "raw" in wish else json.dumps(answer)
        status = wish.get("status", 500 if answer.get("Err") and method != "VolumeDriver.Create" else 200)
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(wish.get("huge", 0) or len(text.encode())))
        self.end_headers()
        try:
            if wish.get("huge"):
                for _ in range(wish["huge"] // 65536):
                    self.wfile.write(b" " * 65536)
            else:
                self.wfile.write(text.encode())
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


def main():
    path, state = sys.argv[1:]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path):
        os.unlink(path)
    server = Server(path, Handler)
    server.plugin = Plugin(state)
    threading.Thread(target=end_with_parent, daemon=True).start()
    print("ready", flush=True)
    server.serve_forever()


main()
