"""A virtual machine that runs a bare system, and a shell in it.

Emulated, never KVM: the result is the same on every machine that has QEMU.
"""

import base64
import socket
import subprocess
import time

BOOT = 240
ANSWER = 240


class Failed(Exception):
    """A script in the guest ended with another code than 0."""


class Guest:
    def __init__(self, system, brought, home, kernel_options=""):
        self.system, self.brought, self.home = system, brought, home
        self.kernel_options = kernel_options
        self.disk = home / "disk.qcow2"
        self.console = home / "console.log"
        self.boot_id = None
        self._process = self._socket = None
        self._received = b""

    def make_disk(self):
        """A disk of its own, as new, over the bare system."""
        self.disk.unlink(missing_ok=True)
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.system.disk, self.disk)

    def switch_on(self):
        port = self.home / "shell.sock"
        port.unlink(missing_ok=True)
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-kernel", self.system.kernel, "-initrd", self.system.initrd,
            "-append", f"root=/dev/vda rw console=ttyS0 quiet panic=-1 {self.kernel_options}",
            "-drive", f"file={self.disk},if=virtio,format=qcow2,cache=unsafe",
            "-drive", f"file={self.brought},if=virtio,format=raw,readonly=on",
            # An uplink with a lease and a name server, and nothing behind it.
            "-nic", "user,restrict=on,model=virtio-net-pci",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-chardev", f"socket,id=shell,path={port},server=on,wait=off",
            "-device", "virtio-serial", "-device", "virtserialport,chardev=shell,name=shell",
        ]  # fmt: skip
        self._process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL)
        self._connect(port)
        self._await_boot()

    def _connect(self, port):
        deadline = time.monotonic() + 20
        self._socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self._socket.connect(str(port))
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Failed("QEMU did not start") from None
                time.sleep(0.05)
        self._received = b""

    def _await_boot(self):
        while True:
            word, _, rest = self._line(BOOT).partition(" ")
            if word == "ready" and rest != self.boot_id:
                self.boot_id = rest
                return

    def _line(self, patience):
        deadline = time.monotonic() + patience
        while b"\n" not in self._received:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise Failed(f"no answer in {patience} s; {self.console} has the console") from None
            if not data:
                raise Failed(f"the machine ended; {self.console} has the console")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def run(self, script, patience=ANSWER):
        """Runs a script with bash; returns its exit code and output."""
        self._socket.sendall(base64.b64encode(script.encode()) + b"\n")
        code, _, output = self._line(patience).partition(" ")
        return int(code), base64.b64decode(output).decode(errors="replace").rstrip("\n")

    def sh(self, script, patience=ANSWER):
        """Runs a script that must succeed; returns its output."""
        code, output = self.run("set -e -o pipefail\n" + script, patience)
        if code:
            raise Failed(f"exit code {code} of\n{script}\n{output}")
        return output

    def until(self, script, patience=120):
        """Waits until a script succeeds; returns its output."""
        deadline = time.monotonic() + patience
        while True:
            code, output = self.run("set -e -o pipefail\n" + script)
            if code == 0:
                return output
            if time.monotonic() > deadline:
                raise Failed(f"after {patience} s still exit code {code} of\n{script}\n{output}")
            time.sleep(0.5)

    def reboot(self, command="systemctl reboot"):
        """Reboots as a person would."""
        self._socket.sendall(base64.b64encode(command.encode()) + b"\n")
        self._await_boot()

    def cut_power(self):
        """Ends the machine between two instructions, and switches it on again."""
        self.switch_off()
        self.switch_on()

    def switch_off(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._socket.close()
            self._process = None


def _run(*command):
    subprocess.run(list(map(str, command)), check=True)
