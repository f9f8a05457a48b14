"""One bash that runs the commands of a scenario, one after the other, and keeps its variables between them."""

import os
import select
import signal
import subprocess
import time


class TooSlow(Exception):
    """A command did not end before the scenario's deadline."""


class Shell:
    def __init__(self, home, environment, deadline):
        self.home, self.end = home, time.monotonic() + deadline
        self.files = [home.parent / f".{home.name}.{part}" for part in ("step", "out", "err")]
        done, write = os.pipe()
        self.done = done
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-s", str(write)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=home, env=environment, pass_fds=[write], start_new_session=True,
        )  # fmt: skip
        self.report = write
        os.close(write)

    def run(self, command):
        """Standard output, standard error and exit code of a command."""
        step, out, err = self.files
        step.write_text(command + "\n")
        # The closing pipe is not for what the command leaves running.
        line = f"{{ . '{step}'; }} </dev/null >'{out}' 2>'{err}' {self.report}>&-; echo $? >&{self.report}\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        code = int(self._answer(command))
        return out.read_bytes(), err.read_bytes(), code

    def _answer(self, command):
        ready, _, _ = select.select([self.done], [], [], max(0, self.end - time.monotonic()))
        answer = os.read(self.done, 16) if ready else b""
        if not answer:
            _, out, err = self.files
            said = (out.read_bytes() + err.read_bytes())[-2000:].decode(errors="replace")
            raise TooSlow(f"`{command}` did not end in time; it said so far:\n{said}")
        return answer

    def close(self):
        """Ends what is still running."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.stdin.close()
        self.process.wait()
        os.close(self.done)
        for file in self.files:
            file.unlink(missing_ok=True)
