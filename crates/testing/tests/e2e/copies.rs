//! Files copied into and out of instances, and what an instance's files become.

use std::path::Path;
use std::process::Command;

use super::process::{Named, begin, node};

/// `root/dir/{file, link -> file, far -> /etc/passwd, sub/deep}`.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("dir");
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("file"), "a file").unwrap();
    std::fs::write(dir.join("sub/deep"), "deep").unwrap();
    std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("far")).unwrap();
    root
}

fn path(root: &Path, name: &str) -> String {
    root.join(name).display().to_string()
}

#[test]
fn a_directory_goes_in_and_comes_back() {
    let Some(node) = node() else { return };
    let _it = begin(node, "cp-dir", &[], "exec sleep 600");
    let root = tree();
    let dir = path(root.path(), "dir");
    // Into a directory that is there, as one that is not, and its contents alone.
    node.ok(&["cp", &dir, "cp-dir:/root"]);
    node.ok(&["cp", &dir, "cp-dir:/new"]);
    node.ok(&["cp", &format!("{dir}/."), "cp-dir:/mnt2"]);
    let inside = "cd $0 && cat file sub/deep link && echo && readlink link && readlink far";
    for place in ["/root/dir", "/new", "/mnt2"] {
        let seen = node.ok(&["exec", "cp-dir", "sh", "-c", inside, place]);
        assert_eq!(seen, "a filedeepa file\nfile\n/etc/passwd", "{place}");
    }
    let back = path(root.path(), "back");
    node.ok(&["cp", "cp-dir:/root/dir", &back]);
    let back = Path::new(&back);
    assert_eq!(std::fs::read_to_string(back.join("sub/deep")).unwrap(), "deep");
    assert_eq!(std::fs::read_link(back.join("far")).unwrap(), Path::new("/etc/passwd"));
    // A link is copied as it is, or followed.
    node.ok(&["cp", "cp-dir:/root/dir/link", &path(root.path(), "as-it-is")]);
    node.ok(&["cp", "-L", "cp-dir:/root/dir/link", &path(root.path(), "followed")]);
    assert!(root.path().join("as-it-is").is_symlink());
    assert_eq!(std::fs::read_to_string(root.path().join("followed")).unwrap(), "a file");
}

#[test]
fn an_archive_goes_in_and_comes_out() {
    let Some(node) = node() else { return };
    let _it = begin(node, "cp-tar", &[], "exec sleep 600");
    let root = tree();
    let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "dir"]).output().unwrap();
    assert!(tar.status.success());
    let put = |code| {
        let put = node.hull_with(&["cp", "-", "cp-tar:/put"], Some(&tar.stdout));
        assert_eq!(put.code, code, "{}", put.stderr);
    };
    put(3);
    node.ok(&["exec", "cp-tar", "mkdir", "/put"]);
    put(0);
    assert_eq!(node.ok(&["exec", "cp-tar", "cat", "/put/dir/sub/deep"]), "deep");
    let archive = root.path().join("out.tar");
    std::fs::write(&archive, node.hull(&["cp", "cp-tar:/put/dir", "-"]).stdout).unwrap();
    let list = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().any(|line| line == "dir/sub/deep"), "{list}");
}

#[test]
fn files_of_an_instance_that_does_not_run() {
    let Some(node) = node() else { return };
    let _it = Named(node, "cp-rest");
    node.ok(&["create", "--name", "cp-rest", "busybox", "cat", "/root/in"]);
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("in"), "put there at rest").unwrap();
    node.ok(&["cp", &path(root.path(), "in"), "cp-rest:/root/in"]);
    node.ok(&["start", "cp-rest"]);
    node.ok(&["wait", "cp-rest"]);
    assert_eq!(node.ok(&["logs", "cp-rest"]), "put there at rest");
    node.ok(&["cp", "cp-rest:/root/in", &path(root.path(), "out")]);
    assert_eq!(std::fs::read_to_string(root.path().join("out")).unwrap(), "put there at rest");
}

#[test]
fn what_cannot_be_copied() {
    let Some(node) = node() else { return };
    let _it = begin(node, "cp-not", &[], "exec sleep 600");
    let root = tempfile::tempdir().unwrap();
    let (here, none) = (path(root.path(), ""), path(root.path(), "none"));
    for (from, to, code) in [
        ("cp-not:/none", here.as_str(), 3),
        (none.as_str(), "cp-not:/root", 3),
        (here.as_str(), "cp-not:/no/such/place", 3),
        ("cp-not:/root", "cp-not:/tmp", 2),
        ("/etc", "/tmp", 2),
        ("nobody:/etc", here.as_str(), 3),
    ] {
        let run = node.hull(&["cp", from, to]);
        assert_eq!(run.code, code, "{from} to {to}: {}", run.stderr);
    }
}

#[test]
fn changes_are_listed_and_become_an_image() {
    let Some(node) = node() else { return };
    let _it = begin(node, "changed", &["-v", "/data"], "exec sleep 600");
    let script = "echo kept >/root/new; echo x >>/etc/passwd; rm /etc/group; echo not >/data/f";
    node.ok(&["exec", "changed", "sh", "-c", script]);
    let diff = node.ok(&["diff", "changed"]);
    for line in ["A /root/new", "C /etc/passwd", "D /etc/group"] {
        assert!(diff.lines().any(|seen| seen == line), "{line} is not in\n{diff}");
    }
    assert!(!diff.contains("/data/f"), "a volume's are not the image's:\n{diff}");
    let change = ["-c", "CMD [\"cat\", \"/root/new\"]", "-c", "ENV FROM=commit"];
    let command = [&["commit", "-m", "a remark"], &change[..], &["changed", "changed:1"]].concat();
    let id = node.ok(&command);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(node.ok(&["run", "--rm", "changed:1"]), "kept");
    assert!(node.ok(&["run", "--rm", "changed:1", "env"]).contains("FROM=commit"));
    assert!(node.ok(&["image", "history", "changed:1"]).contains("a remark"));
    node.ok(&["image", "rm", "changed:1"]);
}

#[test]
fn the_whole_file_system_as_an_archive() {
    let Some(node) = node() else { return };
    let _it = begin(node, "exported", &[], "echo new >/root/new; exec sleep 600");
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("all.tar");
    testing::node::until("the file is there", || {
        (node.hull(&["exec", "exported", "ls", "/root/new"]).code == 0).then_some(())
    });
    node.ok(&["export", "exported", "-f", archive.to_str().unwrap()]);
    let out = Command::new("tar").arg("-xOf").arg(&archive).arg("root/new").output().unwrap();
    assert_eq!(out.stdout, b"new\n", "{}", String::from_utf8_lossy(&out.stderr));
    let list = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
    assert!(String::from_utf8(list.stdout).unwrap().lines().any(|line| line == "bin/busybox"));
}
