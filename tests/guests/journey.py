"""What an operator does on a machine from the first day on: the steps, in order, each a function.

A step fails by raising, and what follows builds on it.
"""

import json
import re

from guest import Failed

CHECKOUT = "/brought/monohull"


def expect(condition, what):
    if not condition:
        raise Failed(what)


# Writes each number to one volume, then to another.
PAIR = """\
services:
  db:
    image: busybox
    stop_signal: KILL
    environment: {SAYS: WORD}
    command: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo $$i >> /a/log; echo $$i >> /b/log; usleep 2000; done']
    volumes: ['a:/a', 'b:/b']
volumes: {a: {}, b: {}}
"""

STEPS = []


def step(function):
    """Takes a method into the journey, in the order of this file."""
    STEPS.append((function.__name__, False))
    return function


def step_under_systemd(function):
    """The same, for machines with a service manager."""
    STEPS.append((function.__name__, True))
    return function


class Journey:
    """One guest and what an operator does on it."""

    def __init__(self, guest, kind):
        self.guest, self.kind = guest, kind
        self.sh, self.until = guest.sh, guest.until

    def steps(self):
        for name, needs_systemd in STEPS:
            if self.kind.systemd or not needs_systemd:
                yield name.replace("_", " "), getattr(self, name)

    def hull(self, words):
        return self.sh(f"hull {words}")

    def _pid(self, program):
        return self.sh(f"pgrep --oldest --exact {program}")

    def _daemon(self):
        return self.sh("pgrep --oldest --full '^[^ ]*hull daemon'")

    def _answers(self):
        self.until("curl --silent --fail --max-time 5 http://localhost:8080 | grep -q nginx")

    def _instance(self, name):
        return json.loads(self.hull(f"inspect {name} --output json"))

    # --- the first day ---

    @step
    def a_bare_machine_is_up_with_one_command(self):
        code, there = self.guest.run("command -v containerd nft runc hull")
        expect(code, f"the machine is not bare: {there}")
        user = "su - alice -c" if self.kind.systemd else "sh -c"
        said = self.sh(f"{user} 'cd {CHECKOUT} && make up HULL_BINARY=/brought/hull' 2>&1", 1200)
        for word in ("installing", "containerd", "nftables", "The platform is ready", "admin.token", ":7443"):
            expect(word in said, f"make up does not say {word!r}:\n{said}")
        self.hull("status")

    @step
    def run_again_it_changes_nothing(self):
        before = self._daemon()
        said = self.sh(f"cd {CHECKOUT} && make up HULL_BINARY=/brought/hull 2>&1")
        for word in ("nothing is missing", "up to date", "nothing was changed"):
            expect(word in said, f"the second make up does not say {word!r}:\n{said}")
        expect(before == self._daemon(), "the daemon was started again")

    @step_under_systemd
    def services_of_packages_stay_off(self):
        for unit in ("containerd", "nftables"):
            code, state = self.guest.run(f"systemctl is-active {unit}; systemctl is-enabled {unit}")
            expect("inactive" in state and "disabled" in state, f"{unit} is {state}")
        expect("active" == self.sh("systemctl is-active hull"), "hull.service is not active")
        expect(not self.guest.run("ls /usr/sbin/policy-rc.d 2>/dev/null")[1], "policy-rc.d was left behind")

    @step_under_systemd
    def the_groups_members_need_no_sudo(self):
        code, said = self.guest.run("su - alice -c 'hull ps'")
        expect(code and "group hull" in said, f"somebody without a right is told: {said}")
        self.sh("usermod --append --groups hull alice; su - alice -c 'hull ps'")

    @step
    def the_machine_is_said_to_be_fit(self):
        report = json.loads(self.sh("hull check --output json || true"))
        failed = [check for check in report["checks"] if check["outcome"] == "fail"]
        expect(not failed, f"hull check fails: {failed}")
        cgroups = next(check["finding"] for check in report["checks"] if check["name"] == "cgroups")
        expect(self.kind.cgroups in cgroups, f"hull check calls the cgroups {cgroups}")

    @step
    def images_come_from_archives(self):
        for name in ("busybox", "nginx"):
            self.hull(f"image import /brought/{name}.tar")
        expect(self.hull("run --rm busybox echo hello").endswith("hello"), "no hello")

    @step
    def limits_are_those_of_the_kernel(self):
        self.hull("volume create data")
        self.hull(
            "run -d --name web -p 8080:80 --restart always --memory 64m --cpus 0.5 --pids-limit 50"
            " -v data:/data nginx"
        )
        self._answers()
        self._limits_hold()

    def _limits_hold(self):
        wanted = {"memory": "67108864", "pids": "50"}
        for controller, file in (("memory", self.kind.memory_limit), ("pids", "pids.max")):
            found = self.sh(f"cat $(/usr/local/sbin/cgroup-of $(pgrep -ox nginx) {controller})/{file}")
            expect(found == wanted[controller], f"{file} is {found}")

    @step
    def what_runs_is_held_given_more_and_ended(self):
        self.hull("pause web")
        code, _ = self.guest.run("curl --silent --fail --max-time 3 http://localhost:8080")
        expect(code, "an instance answers while it is paused")
        self.hull("unpause web")
        self._answers()
        self.hull("update --memory 96m web")
        limit = f"cat $(/usr/local/sbin/cgroup-of $(pgrep -ox nginx) memory)/{self.kind.memory_limit}"
        self.until(f"[[ $({limit}) == {96 << 20} ]]")
        self.hull("update --memory 64m web")
        self.until(f"[[ $({limit}) == {64 << 20} ]]")
        (used,) = json.loads(self.hull("stats --no-stream --output json web"))
        sample = used["stats"]
        expect(sample["memory"] > 0 and sample["cpuNs"] > 0, f"hull stats tells {used}")
        code, _ = self.guest.run("hull run --name hog --memory 16m busybox tail /dev/zero")
        expect(code == 137, f"a program that wants too much memory ends with {code}")
        (seen,) = self._instance("hog")["status"]["containers"]
        expect(seen["oomKilled"], f"it was not killed for want of memory: {seen}")
        self.hull("rm hog")

    @step
    def copies_of_an_app_show_one_moment(self):
        self.sh("mkdir -p /root/pair")
        for word in ("one", "two"):
            text = PAIR.replace("WORD", word)
            self.sh(f"cat >/root/pair/compose.yaml <<'END'\n{text}END\nhull app up --snapshot /root/pair", 300)
            self.until("[[ $(hull exec pair-db-1 wc -l </dev/null /b/log | cut -d ' ' -f 1) -gt 20 ]]")
        history = self.hull("app history pair")
        expect("2 volumes copied before, at one moment" in history, f"the copies are of two moments:\n{history}")
        numbers = []
        for volume in ("a", "b"):
            self.hull(f"volume restore pair_{volume}-before-2 then-{volume}")
            numbers.append(int(self.hull(f"run --rm -v then-{volume}:/v busybox tail -n 1 /v/log")))
            self.hull(f"volume rm then-{volume}")
        expect(numbers[0] - numbers[1] in (0, 1), f"one volume ends with {numbers[0]}, the other with {numbers[1]}")
        self.hull("app down --volumes pair")

    @step
    def dockers_client_drives_it(self):
        if not self.kind.docker:
            return
        docker = "export DOCKER_HOST=unix:///run/hull/docker.sock; /brought/docker"
        version = self.sh(f"{docker} info --format '{{{{.CgroupVersion}}}}'")
        expect(version == self.kind.cgroups.removeprefix("v"), f"docker info tells of cgroups {version}")
        expect(self.sh(f"{docker} run --rm busybox echo well").endswith("well"), "docker run says nothing")
        self.sh(f"{docker} run -d --name held --memory 32m --cpus 0.5 busybox sleep 100000")
        self.sh(f"{docker} pause held; {docker} unpause held; {docker} update --memory 48m --memory-swap -1 held")
        told = self.sh(f"{docker} stats --no-stream --format '{{{{.MemUsage}}}}' held")
        expect(told.endswith("/ 48MiB"), f"docker stats tells {told}")
        expect("sleep 100000" in self.sh(f"{docker} top held"), "docker top does not show it")
        self.sh(f"{docker} rm -f held")

    @step
    def others_run_too(self):
        self.hull("run -d --name once --restart no busybox sleep 100000")
        self.hull("run -d --name resting --restart unless-stopped busybox sleep 100000")
        self.hull("stop --time 1 resting")
        self.hull("exec web sh -c 'echo kept > /data/file'")
        self.hull("run -d --name teller --restart always --init busybox sh -c 'while :; do date; sleep 1; done'")
        # It tells whether it was asked to end, and does not end unasked.
        end = 'trap "echo well >/data/end; exit" TERM; while :; do sleep 0.2; done'
        self.hull(f"run -d --name polite --restart always -v data:/data busybox sh -c '{end}'")

    # --- what happens to a daemon ---

    @step
    def a_killed_daemon_comes_back_and_nothing_else_ends(self):
        web, daemon = self._pid("nginx"), self._daemon()
        self.sh(f"kill -KILL {daemon}")
        self.until(f"pid=$(pgrep --oldest --full '^[^ ]*hull daemon'); [[ $pid != {daemon} ]]; hull status")
        expect(web == self._pid("nginx"), "the workload ended with the daemon")
        self._answers()

    @step_under_systemd
    def a_restart_of_the_service_ends_no_workload(self):
        web = self._pid("nginx")
        self.sh("systemctl restart hull")
        self.hull("status --wait")
        expect(web == self._pid("nginx"), "the workload ended with the service")
        self._answers()

    @step
    def down_leaves_instances_and_their_limits(self):
        web = self._pid("nginx")
        self.sh(f"cd {CHECKOUT} && make down")
        code, _ = self.guest.run("hull status")
        expect(code == 5, f"hull status of a stopped platform ends with {code}")
        if self.kind.systemd:
            # Systemd takes the chance to set its controllers anew.
            self.sh("systemctl daemon-reload")
        self._answers()
        self._limits_hold()
        self.hull("up")
        expect(web == self._pid("nginx"), "the workload ended with the platform")

    @step
    def a_start_that_fails_says_why(self):
        self.hull("down")
        self.sh("echo '[api]' >>/etc/hull/hull.toml; echo 'listen = 7' >>/etc/hull/hull.toml")
        code, said = self.guest.run("time hull up")
        self.sh("rm /etc/hull/hull.toml; hull up")
        expect(code != 0 and "hull.toml" in said, f"exit code {code}: {said}")

    # --- what happens to a machine ---

    @step
    def after_a_reboot_what_should_run_runs(self):
        self._begin_again(self.guest.reboot)
        if self.kind.systemd:
            found = self.hull("exec web cat /data/end")
            expect(found == "well", f"an instance was not asked to end before the machine did: {found}")

    @step
    def after_a_power_cut_too(self):
        self._begin_again(lambda _: self.guest.cut_power())

    def _begin_again(self, begin):
        lines = int(self.sh("hull logs teller 2>/dev/null | wc -l"))
        begin(self.kind.reboot)
        if self.kind.systemd:
            self.until("systemctl is-active hull")
        else:
            self.hull("up")
        self.hull("status --wait")
        self._answers()
        self._limits_hold()
        expect(self.hull("exec web cat /data/file") == "kept", "the volume's file is gone")
        states = {name: self._instance(name)["status"]["phase"] for name in ("web", "once", "resting", "teller")}
        expect(states["once"] != "running", "an instance without a restart policy runs again")
        expect(states["resting"] != "running", "an instance that was stopped runs again")
        self.until(f"[[ $(hull logs teller 2>/dev/null | wc -l) -gt {lines} ]]")
        expect(self._instance("web")["status"]["phase"] == "running", f"states are {states}")

    # --- the last day ---

    @step
    def removed_it_leaves_nothing(self):
        if self.kind.systemd:
            code, said = self.guest.run(f"cd {CHECKOUT} && make clean-node")
            expect(code != 0 and "FORCE=1" in said, f"clean-node with nobody to ask: {said}")
        self.sh(f"cd {CHECKOUT} && make clean-node FORCE=1")
        left = self.sh(
            "ls -d /var/lib/hull /run/hull /etc/hull /usr/local/bin/hull /etc/systemd/system/hull.service"
            " /etc/systemd/system/*/hull.service /sys/fs/cgroup/hull-* /sys/fs/cgroup/*/hull-* 2>/dev/null || true;"
            "grep -w hull /proc/mounts || true; nft list tables | grep hull || true;"
            "ip -o link | grep -E ': h[bv]' || true; pgrep -a 'nginx|hull|containerd' || true; getent group hull || true"
        )
        expect(not left, f"left behind:\n{left}")
