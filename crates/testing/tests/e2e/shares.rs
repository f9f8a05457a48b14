//! Directories that machines share: with containers, with the node, and what a guest cannot do with them.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::json;
use testing::node::{Node, kill, until, within};

use super::machines::PATIENCE;
use super::process::{Named, node};

fn machine<'a>(node: &'a Node, name: &'a str, flags: &[&str]) -> Named<'a> {
    let named = Named(node, name);
    let flags = [&["run", "-d", "--name", name, "--memory", "192m"], flags, &["hull-tiny"]];
    node.ok(&flags.concat());
    answers(node, name);
    named
}

fn answers(node: &Node, name: &str) {
    within(PATIENCE, "the agent answers", || {
        (node.hull(&["exec", name, "true"]).code == 0).then_some(())
    });
}

/// Mounts share number `index` at `target` in the guest, as its first-boot data would have it done.
fn mount(node: &Node, name: &str, index: usize, target: &str) {
    let script = format!("mkdir -p {target} && mount -t virtiofs share{index} {target}");
    node.ok(&["exec", name, "sh", "-c", &script]);
}

fn served(node: &Node, name: &str) -> bool {
    let by = node.field(name, "/status/machine/shares");
    if by == json!("virtiofs") {
        return true;
    }
    assert_eq!(by, json!("9p"));
    println!("passed over: there is no virtiofsd");
    false
}

/// Process ids of a machine's servers.
fn servers(node: &Node, name: &str) -> Vec<i32> {
    let monitor = node.field(name, "/status/containers/0/pid");
    let children = format!("/proc/{monitor}/task/{monitor}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let is_server = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').next().unwrap_or_default().ends_with("/virtiofsd")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_server).collect()
}

#[test]
fn a_volume_of_a_machine_and_a_container() {
    let Some(node) = node() else { return };
    let files = tempfile::tempdir().unwrap();
    let (kept, secret) = (files.path().join("kept"), files.path().join("secret"));
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(kept.join("file"), "kept").unwrap();
    std::fs::write(&secret, "secret").unwrap();
    symlink("../secret", kept.join("out")).unwrap();
    symlink(&secret, kept.join("far")).unwrap();
    let kept_flag = format!("{}:/kept:ro", kept.display());
    let flags = ["-v", "both:/data", "-v", &kept_flag];
    let _it = machine(node, "sharer", &flags);
    if !served(node, "sharer") {
        return;
    }
    mount(node, "sharer", 0, "/data");
    mount(node, "sharer", 1, "/kept");

    // Written in the machine, read in a container, and the other way; owners are the same in both.
    let write = "echo machine > /data/m && chown 1234:77 /data/m && chmod 640 /data/m";
    node.ok(&["exec", "sharer", "sh", "-c", write]);
    let script = "stat -c %u:%g:%a /data/m; cat /data/m; echo container > /data/c; \
                  chown 4321:99 /data/c; mkdir -m 700 /data/d";
    let told = node.ok(&["run", "--rm", "-v", "both:/data", "busybox", "sh", "-c", script]);
    assert_eq!(told, "1234:77:640\nmachine");
    let look = "stat -c %u:%g /data/c; cat /data/c; stat -c %a /data/d; stat -c %u:%g /data";
    assert_eq!(node.ok(&["exec", "sharer", "sh", "-c", look]), "4321:99\ncontainer\n700\n0:0");

    // Read-only is the mount's, whatever the guest says, and links lead to what is in the guest.
    let stays = "mount -o remount,rw /kept; echo x > /kept/file; rm /kept/file; cat /kept/file; \
                 cat /kept/out /kept/far /kept/../secret";
    let told = node.hull(&["exec", "sharer", "sh", "-c", stays]);
    assert_eq!(told.text(), "kept", "{}", told.stderr);
    assert!(told.stderr.contains("Read-only file system"), "{}", told.stderr);
    assert_eq!(std::fs::read_to_string(kept.join("file")).unwrap(), "kept");
    // No devices are made on the node's disk.
    let device = node.hull(&["exec", "sharer", "mknod", "/data/disk", "b", "8", "0"]);
    assert_ne!(device.code, 0, "a device was made");

    walls(node, "sharer");
    for words in [
        &["snapshot", "create", "--memory", "sharer", "m"][..],
        &["stop", "--save", "sharer"],
        // What failed once is tried again.
        &["stop", "--save", "sharer"],
    ] {
        let refused = node.hull(words);
        assert!(
            refused.code != 0 && refused.stderr.contains("shared with it by virtiofs"),
            "{words:?}: {}",
            refused.stderr
        );
    }
    node.ok(&["stop", "-t", "60", "sharer"]);
    node.ok(&["rm", "-f", "sharer"]);
    node.ok(&["volume", "rm", "both"]);
}

/// Servers are root with what giving files away takes; QEMU's user sees nothing of what they serve.
fn walls(node: &Node, name: &str) {
    let pids = servers(node, name);
    assert_eq!(pids.len(), 2);
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().to_owned()
        };
        // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID (linux/capability.h).
        assert_eq!(field("CapPrm:"), "00000000000000db");
        assert_eq!(field("CapBnd:"), "0000000000000000");
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        // It has shut itself in.
        assert!(std::fs::symlink_metadata(format!("/proc/{pid}/root/usr")).is_err());
    }
    let uid = node.field(name, "/meta/id");
    let uid = &uid.as_str().unwrap()[..12];
    let shares = node.root().join("run/hull/machines").join(uid).join("shares");
    let shares = std::fs::metadata(shares).unwrap();
    assert_eq!((shares.uid(), shares.permissions().mode() & 0o777), (0, 0o700));
}

#[test]
fn shares_go_on_where_the_platform_does_not() {
    let Some(node) = node() else { return };
    let files = tempfile::tempdir().unwrap();
    let flag = format!("{}:/data", files.path().display());
    let it = machine(node, "served", &["-v", &flag]);
    if !served(node, "served") {
        return;
    }
    let write = |text: &str| {
        let script = format!("grep -q ' /data ' /proc/mounts && echo {text} > /data/file");
        node.ok(&["exec", "served", "sh", "-c", &script]);
        assert_eq!(std::fs::read_to_string(files.path().join("file")).unwrap().trim(), text);
    };
    mount(node, "served", 0, "/data");
    write("one");
    // The guest starts anew on the same QEMU, the machine on another.
    node.hull(&["exec", "-d", "served", "sh", "-c", "sleep 1; reboot -f"]);
    node.await_field("served", "/status/machine/reboots", &json!(1));
    answers(node, "served");
    mount(node, "served", 0, "/data");
    write("two");
    node.ok(&["restart", "-t", "0", "served"]);
    answers(node, "served");
    mount(node, "served", 0, "/data");
    write("three");
    // What nobody serves any more ends the machine, and says so.
    let server = servers(node, "served")[0];
    kill(server).unwrap();
    until("the machine ends", || {
        (node.field("served", "/status/phase") == json!("exited")).then_some(())
    });
    assert_eq!(node.field("served", "/status/containers/0/exitCode"), json!(74));
    assert_eq!(node.field("served", "/status/reason/code"), json!("ShareLost"));
    node.ok(&["start", "served"]);
    answers(node, "served");
    drop(it);
    let file = files.path().join("file");
    let flag = format!("{}:/file", file.display());
    let _it = Named(node, "single");
    let refused = node.hull(&["run", "-d", "--name", "single", "-v", &flag, "hull-tiny"]);
    assert!(refused.stderr.contains("is no directory"), "{}", refused.stderr);
}
