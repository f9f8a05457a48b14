//! What a container is held in: limits, capabilities, filters, a root that cannot be written.

use super::process::{node, sh};

/// A limit as the container sees it, in either version of cgroups.
pub fn limit(one: &str, two: &str) -> String {
    format!("cat /sys/fs/cgroup/{one} 2>/dev/null || cat /sys/fs/cgroup/{two}")
}

#[test]
fn limits_are_seen_inside() {
    let Some(node) = node() else { return };
    let memory = limit("memory/memory.limit_in_bytes", "memory.max");
    let pids = limit("pids/pids.max", "pids.max");
    let flags = ["-m", "64m", "--pids-limit", "50"];
    let printed = sh(node, &flags, &format!("{memory}; {pids}"));
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["67108864", "50"]);
}

#[test]
fn a_root_that_cannot_be_written() {
    let Some(node) = node() else { return };
    let printed = sh(
        node,
        &["--read-only", "--tmpfs", "/m"],
        "touch /x || echo refused; touch /m/x && echo kept",
    );
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["refused", "kept"]);
}

#[test]
fn memory_is_mounted_with_its_size() {
    let Some(node) = node() else { return };
    let printed = sh(
        node,
        &["--tmpfs", "/m:size=1m"],
        "df -k /m | tail -1; head -c 2000000 /dev/zero >/m/x || echo full",
    );
    assert!(printed.contains("tmpfs") && printed.contains(" 1024 "), "{printed}");
    assert!(printed.ends_with("full"), "{printed}");
}

#[test]
fn capabilities_are_taken_away() {
    let Some(node) = node() else { return };
    let printed = sh(node, &["--cap-drop", "ALL"], "grep CapEff /proc/self/status");
    assert!(printed.ends_with("0000000000000000"), "{printed}");
    let printed = sh(node, &["--cap-drop", "CHOWN"], "touch /x; chown 1 /x || echo refused");
    assert_eq!(printed, "refused");
}

#[test]
fn system_calls_are_filtered() {
    let Some(node) = node() else { return };
    let mode = "sed -n 's/^Seccomp:\\t//p' /proc/self/status";
    assert_eq!(sh(node, &[], mode), "2");
    assert_eq!(sh(node, &["--security-opt", "seccomp=unconfined"], mode), "0");
    assert_eq!(sh(node, &[], "mount -t tmpfs x /mnt 2>/dev/null || echo refused"), "refused");
}

#[test]
fn a_first_process_that_reaps() {
    let Some(node) = node() else { return };
    let printed = sh(node, &["--init"], "echo $$; (sleep 0 &); exit 0");
    assert_ne!(printed, "1");
}

/// What a script prints in a busybox with these flags.
fn check(flags: &[&str], script: &str, expected: &[&str]) {
    let Some(node) = node() else { return };
    let printed = sh(node, flags, script);
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{flags:?} {script}");
}

#[test]
fn variables_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# none\nX=1\nY=a b\n\nZ=\n").unwrap();
    let flags = ["--env-file", file.path().to_str().unwrap(), "-e", "X=2", "-e", "E2E_UNSET"];
    check(&flags, "env | grep -E '^(X|Y|Z|E2E)' | sort", &["X=2", "Y=a b", "Z="]);
}

#[test]
fn users_and_groups() {
    check(&["-u", "nobody"], "id -u; id -g", &["65534", "65534"]);
    let flags = ["-u", "1000:1001", "--group-add", "wheel", "--group-add", "77"];
    check(
        &flags,
        "id -u; id -g; id -G | tr ' ' '\n' | sort -n | tail -n 3",
        &["1000", "1001", "10", "77", "1001"],
    );
}

#[test]
fn names_and_resolvers() {
    let flags = [
        "-H",
        "ship",
        "--domainname",
        "sea.test",
        "--add-host",
        "port:192.0.2.7",
        "--add-host",
        "isle:2001:db8::1",
        "--dns-search",
        "sea.test",
        "--dns-option",
        "ndots:3",
    ];
    let script = "hostname -f; cat /proc/sys/kernel/domainname; grep -E 'port|isle' /etc/hosts; \
        grep -v nameserver /etc/resolv.conf";
    let expected = [
        "ship.sea.test",
        "sea.test",
        "192.0.2.7\tport",
        "2001:db8::1\tisle",
        "search default.hull.internal sea.test",
        "options ndots:3",
    ];
    check(&flags, script, &expected);
}

#[test]
fn limits_of_processes_and_kernel_parameters() {
    let flags = [
        "--ulimit",
        "nofile=512:1024",
        "--ulimit",
        "core=0",
        "--sysctl",
        "net.core.somaxconn=77",
        "--shm-size",
        "16m",
        "--oom-score-adj",
        "300",
    ];
    let script = "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/sys/net/core/somaxconn; \
        df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2; cat /proc/self/oom_score_adj";
    check(&flags, script, &["512", "1024", "0", "77", "16384", "300"]);
}

#[test]
fn processors_and_swap() {
    let quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us \
        2>/dev/null || tr ' ' '\\n' </sys/fs/cgroup/cpu.max";
    check(&["--cpus", "0.5"], quota, &["50000", "100000"]);
    check(&["--cpu-quota", "20000", "--cpu-period", "50000"], quota, &["20000", "50000"]);
    let processors = limit("cpuset/cpuset.cpus", "cpuset.cpus");
    check(&["--cpuset-cpus", "0"], &processors, &["0"]);
    // Version 2 counts swap alone, version 1 with the memory.
    let swap = "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null || \
        { [ -e /sys/fs/cgroup/memory.swap.max ] && \
        echo $(( $(cat /sys/fs/cgroup/memory.swap.max) + 67108864 )) || echo 134217728; }";
    check(&["-m", "64m", "--memory-swap", "128m"], swap, &["134217728"]);
}

#[test]
fn capabilities_are_given() {
    let all = "grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -d '\t'";
    let flags = [
        "--cap-drop",
        "ALL",
        "--cap-add",
        "net_bind_service",
        "--security-opt",
        "no-new-privileges",
    ];
    check(&flags, all, &["CapEff:0000000000000400", "NoNewPrivs:1"]);
    let script = "mkdir /x && mount -t tmpfs x /x && echo mounted; sed -n 's/^Seccomp:\t//p' /proc/self/status; \
        [ -e /dev/kmsg ] && echo devices";
    check(&["--privileged"], script, &["mounted", "0", "devices"]);
}

#[test]
fn a_filter_of_ones_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(file.path(), profile).unwrap();
    let option = format!("seccomp={}", file.path().display());
    check(&["--security-opt", &option], "mkdir /x 2>/dev/null || echo refused", &["refused"]);
}

#[test]
fn devices_of_the_host() {
    let script = "exec 3</dev/hole && echo read; (exec 4>/dev/hole) 2>/dev/null || echo refused";
    check(&["--device", "/dev/loop-control:/dev/hole:r"], script, &["read", "refused"]);
    check(&[], "ls /dev/loop-control 2>/dev/null || echo none", &["none"]);
}

#[test]
fn namespaces_shared() {
    let Some(node) = node() else { return };
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    for kind in ["pid", "ipc", "uts"] {
        let seen =
            sh(node, &[&format!("--{kind}"), "host"], &format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(seen, own(kind).to_str().unwrap(), "{kind}");
    }
    let _it = super::process::begin(node, "sharer", &["--ipc", "shareable"], "exec sleep 600");
    let flags = ["--pid", "instance:sharer", "--ipc", "instance:sharer"];
    let seen = sh(node, &flags, "readlink /proc/self/ns/ipc; ps -o args | grep -cx 'sleep 600'");
    let its = node.ok(&["exec", "sharer", "readlink", "/proc/self/ns/ipc"]);
    assert_eq!(seen, format!("{its}\n1"));
}

#[test]
fn users_mapped_to_others() {
    let script = "tr -s ' ' </proc/self/uid_map | cut -d ' ' -f 3; id -u; touch /x /v/x && echo written; \
        stat -c %u /v/x";
    check(&["--userns", "200000", "-v", "/v"], script, &["200000", "0", "written", "0"]);
}

#[test]
fn what_a_node_cannot_do_is_said() {
    let Some(node) = node() else { return };
    let _it = super::process::Named(node, "wishes");
    let wish = [
        "run",
        "-d",
        "--name",
        "wishes",
        "--security-opt",
        "apparmor=nobodys",
        "busybox",
        "sleep",
        "600",
    ];
    if std::path::Path::new("/sys/module/apparmor").exists() {
        return;
    }
    let run = node.hull(&wish);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("left out AppArmor"), "{}", run.stderr);
    let said = node.field("wishes", "/status/warnings/0");
    assert!(said.as_str().is_some_and(|said| said.contains("AppArmor")), "{said}");
    // Also to whoever takes part in it, and however short it is.
    let seen = ["run", "--rm", "--security-opt", "apparmor=nobodys", "busybox", "echo", "done"];
    let run = node.hull(&seen);
    assert_eq!((run.code, run.text().as_str()), (0, "done"), "{}", run.stderr);
    assert!(run.stderr.starts_with("warning: "), "{}", run.stderr);
}
