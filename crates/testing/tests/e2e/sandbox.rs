//! What a container is held in: limits, capabilities, filters, a root that cannot be written.

use super::process::{node, sh};

/// A limit as the container sees it, in either version of cgroups.
fn limit(one: &str, two: &str) -> String {
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
