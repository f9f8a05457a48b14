//! Volumes, binds and what an image brings along.

use serde_json::json;

use super::process::{Named, begin, node, sh};

#[test]
fn a_named_volume_outlives_its_users() {
    let Some(node) = node() else { return };
    sh(node, &["-v", "kept:/d"], "echo here >/d/f");
    assert_eq!(
        sh(node, &["-v", "kept:/d:ro"], "cat /d/f; touch /d/x 2>/dev/null || echo ro"),
        "here\nro"
    );
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let Some(node) = node() else { return };
    if !node.knows("volume") {
        return;
    }
    let it = begin(node, "user-of-volume", &["-v", "used:/d"], "exec sleep 600");
    let refused = node.hull(&["volume", "rm", "used"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("user-of-volume"), "{}", refused.stderr);
    drop(it);
    node.ok(&["volume", "rm", "used"]);
}

#[test]
fn a_full_volume_says_so() {
    let Some(node) = node() else { return };
    if !node.knows("volume") {
        return;
    }
    node.ok(&["volume", "create", "--size", "64m", "small"]);
    let script = "head -c 100000000 /dev/zero >/d/f; echo $?; wc -c </d/f";
    let run = node.hull(&["run", "--rm", "-v", "small:/d", "busybox", "sh", "-c", script]);
    let text = run.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("1"), "{text}{}", run.stderr);
    let kept: u64 = lines.next().unwrap().trim().parse().unwrap();
    assert!(kept <= 64 << 20, "{kept} bytes in a volume of 64 MiB");
    node.ok(&["volume", "rm", "small"]);
}

#[test]
fn an_empty_volume_gets_what_the_image_has() {
    let Some(node) = node() else { return };
    let args = [
        "run",
        "--rm",
        "-v",
        "copied:/etc/nginx",
        "--entrypoint",
        "cat",
        "nginx",
        "/etc/nginx/nginx.conf",
    ];
    assert!(node.ok(&args).contains("http"));
    assert!(sh(node, &["-v", "copied:/v"], "ls /v").contains("nginx.conf"));
}

#[test]
fn a_volume_that_the_image_declares() {
    let Some(node) = node() else { return };
    let _it = Named(node, "declares");
    node.ok(&["run", "-d", "--name", "declares", "--entrypoint", "sleep", "redis", "600"]);
    let mounts = node.ok(&["exec", "declares", "cat", "/proc/mounts"]);
    assert!(mounts.lines().any(|line| line.split(' ').nth(1) == Some("/data")), "{mounts}");
}

#[test]
fn a_directory_of_the_host() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "from the host").unwrap();
    let bind = format!("{}:/d", dir.path().display());
    assert_eq!(sh(node, &["-v", &bind], "cat /d/in; echo inside >/d/out"), "from the host");
    assert_eq!(std::fs::read_to_string(dir.path().join("out")).unwrap(), "inside\n");
}

#[test]
fn files_are_copied_both_ways() {
    let Some(node) = node() else { return };
    if !node.knows("cp") {
        return;
    }
    let _it = begin(node, "copies", &[], "exec sleep 600");
    let dir = tempfile::tempdir().unwrap();
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    std::fs::write(&there, b"\0some\xffbytes").unwrap();
    node.ok(&["cp", there.to_str().unwrap(), "copies:/tmp/f"]);
    node.ok(&["cp", "copies:/tmp/f", back.to_str().unwrap()]);
    assert_eq!(std::fs::read(&back).unwrap(), b"\0some\xffbytes");
    assert_eq!(node.field("copies", "/status/phase"), json!("running"));
}
