//! Volumes: sizes, growth, copies, what images bring along, and who may take them away.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::CWD;
use serde_json::{Value, json};
use testing::node::{Node, Setup, finish, until};

use super::process::{Named, able, begin, node, sh};

const WAITS: &str = "exec sleep 600";

fn volume(node: &Node, name: &str) -> Value {
    serde_json::from_str(&node.ok(&["volume", "inspect", "-o", "json", name])).unwrap()
}

/// Megabytes that a file system has, as df(1) tells inside an instance.
fn room(node: &Node, instance: &str, path: &str) -> u64 {
    let text = node.ok(&["exec", instance, "df", "-m", path]);
    text.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Where the driver keeps a volume.
fn place(node: &Node, name: &str) -> PathBuf {
    let id = volume(node, name)["meta"]["id"].as_str().unwrap().to_owned();
    node.root().join("var/lib/hull/volumes/volumes").join(id)
}

/// Writes until nothing fits any more; the bytes that are there then.
fn fill(node: &Node, name: &str) -> u64 {
    let script =
        "head -c 200000000 /dev/zero >/d/fill 2>/dev/null; sync; wc -c </d/fill; rm /d/fill";
    sh(node, &["-v", &format!("{name}:/d")], script).trim().parse().unwrap()
}

#[test]
fn from_making_to_removing() {
    let Some(node) = node() else { return };
    node.ok(&["project", "create", "shelf"]);
    let shelf = |arguments: &[&str]| node.hull(&[&["--project", "shelf"], arguments].concat());
    let ok = |arguments: &[&str]| {
        let outcome = shelf(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
        outcome.text()
    };
    assert_eq!(ok(&["volume", "create", "-l", "app=shop", "books"]), "books");
    ok(&["volume", "create", "--size", "16m", "papers"]);
    assert_eq!(ok(&["volume", "ls", "-o", "name"]), "books\npapers");
    assert_eq!(ok(&["volume", "ls", "-l", "app=shop", "-o", "name"]), "books");
    let listed: Value = serde_json::from_str(&ok(&["volume", "ls", "-o", "json"])).unwrap();
    assert_eq!(listed[0]["meta"]["labels"], json!({"app": "shop"}));
    assert_eq!(listed[1]["spec"]["size"], json!(16 << 20));
    assert_eq!(shelf(&["volume", "create", "books"]).code, 4, "the name is taken");
    assert_eq!(shelf(&["volume", "create", "--size", "1m", "tiny"]).code, 2);
    assert_eq!(shelf(&["volume", "show", "absent"]).code, 3);
    let refused = shelf(&["volume", "create", "--size", "900t", "huge"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("the disk below has"),
        "{}",
        refused.stderr
    );
    ok(&["volume", "rm", "huge"]);

    // A prune takes what nobody named, and everything unused only when told to.
    ok(&["run", "--name", "writer", "-v", "/anonymous", "-v", "books:/b", "busybox", "true"]);
    assert_eq!(ok(&["volume", "ls", "-o", "name"]).lines().count(), 3);
    assert_eq!(ok(&["volume", "prune"]), "");
    ok(&["rm", "writer"]);
    assert_eq!(ok(&["volume", "prune"]).lines().count(), 1);
    assert_eq!(ok(&["volume", "ls", "-o", "name"]), "books\npapers");
    assert_eq!(ok(&["volume", "prune", "--all", "--plan"]).lines().count(), 2);
    assert_eq!(ok(&["volume", "rm", "papers"]), "papers");
    ok(&["volume", "prune", "--all"]);
    until("all are gone", || ok(&["volume", "ls", "-o", "name"]).is_empty().then_some(()));
    ok(&["network", "prune"]);
}

#[test]
fn a_size_is_enforced_and_grows_in_use() {
    let Some(node) = node() else { return };
    // From 300 MiB on a file system that grows while it is mounted, whatever may be done to others.
    node.ok(&["volume", "create", "--size", "320m", "grows"]);
    let it = begin(node, "grower", &["-v", "grows:/d"], WAITS);
    let before = room(node, "grower", "/d");
    assert!(before <= 320, "{before}");
    node.ok(&["volume", "grow", "grows", "400m"]);
    let after = room(node, "grower", "/d");
    assert!(after > before && after <= 400, "{before} MB became {after}");
    let refused = node.hull(&["volume", "grow", "grows", "100m"]);
    assert!(refused.code == 4 && refused.stderr.contains("cannot shrink"), "{}", refused.stderr);

    // What is deleted is given back to the disk while it is mounted.
    use std::os::unix::fs::MetadataExt;
    let blocks = || {
        let image = place(node, "grows").join("image");
        image.exists().then(|| std::fs::metadata(image).unwrap().blocks() * 512)
    };
    node.ok(&["exec", "grower", "sh", "-c", "head -c 100000000 /dev/zero >/d/f; sync"]);
    if let Some(full) = blocks() {
        assert!(full > 100_000_000, "{full}");
        node.ok(&["exec", "grower", "sh", "-c", "rm /d/f; sync"]);
        until("the disk has it back", || blocks().filter(|now| full - now > 80_000_000));
    }
    drop(it);
    node.ok(&["volume", "rm", "grows"]);
}

#[test]
fn a_small_size_grows_as_soon_as_it_can() {
    let Some(node) = node() else { return };
    node.ok(&["volume", "create", "--size", "32m", "little"]);
    let filled = fill(node, "little");
    assert!(filled > 16 << 20 && filled <= 32 << 20, "{filled}");
    let it = begin(node, "user-of-little", &["-v", "little:/d"], "echo kept >/d/f; exec sleep 600");
    let grown = node.hull(&["volume", "grow", "little", "64m"]);
    if grown.code != 0 {
        // It says what is missing and what helps; the volume is as good as it was.
        assert!(grown.stderr.contains("CAP_SYS_RESOURCE"), "{}", grown.stderr);
        assert!(grown.stderr.contains("stop the instances"), "{}", grown.stderr);
        let seen = volume(node, "little");
        assert_eq!(seen["status"]["phase"], "ready", "{seen}");
        assert_eq!(seen["status"]["size"], json!(32 << 20), "{seen}");
        node.ok(&["volume", "snapshot", "little", "little-1"]);
        node.ok(&["volume", "rm-snapshot", "little-1"]);
        node.ok(&["stop", "-t", "0", "user-of-little"]);
        until("it grows when nobody uses it", || {
            let seen = volume(node, "little");
            (seen["status"]["size"] == json!(64 << 20)).then_some(())
        });
        assert!(volume(node, "little")["status"].get("reason").is_none());
    }
    drop(it);
    let filled = fill(node, "little");
    assert!(filled > 40 << 20 && filled <= 64 << 20, "{filled}");
    assert_eq!(sh(node, &["-v", "little:/d"], "cat /d/f"), "kept");
    node.ok(&["volume", "rm", "little"]);
}

#[test]
fn copies_of_every_kind() {
    let Some(node) = node() else { return };
    node.ok(&["volume", "create", "--size", "64m", "sized"]);
    for (name, contents) in [("plain", "one"), ("sized", "two")] {
        let it =
            begin(node, "copied", &["-v", &format!("{name}:/d")], "while :; do date >/d/now; done");
        node.ok(&["exec", "copied", "sh", "-c", &format!("echo {contents} >/d/f; sync")]);
        let (snapshot, clone) = (format!("{name}-then"), format!("{name}-clone"));
        node.ok(&["volume", "snapshot", "-l", "why=test", name, &snapshot]);
        node.ok(&["exec", "copied", "sh", "-c", "echo changed >/d/f"]);
        node.ok(&["volume", "clone", name, &clone]);
        let listed = node.ok(&["volume", "snapshots", name, "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let how = listed[0]["status"]["method"].as_str().unwrap().to_owned();
        assert!(["btrfs", "reflink", "copy"].contains(&how.as_str()), "{listed}");
        assert!(node.ok(&["volume", "snapshots", name]).contains(&how));
        // A directory cannot be held still while it is written to: that is said.
        assert_eq!(listed[0]["status"].get("reason").is_some(), name == "plain" && how == "copy");
        drop(it);
        let back = format!("{name}-back");
        node.ok(&["volume", "restore", &snapshot, &back]);
        assert!(
            ["btrfs", "reflink", "copy"]
                .contains(&volume(node, &back)["status"]["method"].as_str().unwrap())
        );
        assert_eq!(sh(node, &["-v", &format!("{back}:/d")], "cat /d/f"), contents);
        assert_eq!(sh(node, &["-v", &format!("{clone}:/d")], "cat /d/f"), "changed");
        assert_eq!(sh(node, &["-v", &format!("{name}:/d")], "cat /d/f"), "changed");
        // Copies outlive what they were made of.
        node.ok(&["volume", "rm", name, &back]);
        assert_eq!(sh(node, &["-v", &format!("{clone}:/d")], "cat /d/f"), "changed");
        node.ok(&["volume", "rm", &clone]);
        node.ok(&["volume", "restore", &snapshot, &back]);
        assert_eq!(sh(node, &["-v", &format!("{back}:/d")], "cat /d/f"), contents);
        node.ok(&["volume", "rm-snapshot", &snapshot]);
        node.ok(&["volume", "rm", &back]);
    }
    let absent = node.hull(&["volume", "restore", "absent", "x"]);
    assert!(
        absent.code == 3 && absent.stderr.contains("hull volume snapshots"),
        "{}",
        absent.stderr
    );
}

#[test]
fn what_an_image_declares_is_a_volume_like_others() {
    let Some(node) = node() else { return };
    let run = |name: &str, more: &[&str]| {
        let head = ["run", "-d", "--name", name, "--entrypoint", "sh"];
        let tail = ["redis", "-c", "echo kept >>/data/f; exec sleep 600"];
        node.ok(&[&head, more, &tail].concat());
    };
    let of = |name: &str| {
        let all: Value = serde_json::from_str(&node.ok(&["volume", "ls", "-o", "json"])).unwrap();
        let used = |it: &&Value| it["status"]["usedBy"] == json!([name]);
        all.as_array()
            .unwrap()
            .iter()
            .find(used)
            .map(|it| it["meta"]["name"].as_str().unwrap().to_owned())
    };
    let (keeper, goer) = (Named(node, "keeper"), Named(node, "goer"));
    run("keeper", &[]);
    run("goer", &[]);
    let kept = until("its volume is listed", || of("keeper"));
    let gone = until("its volume is listed", || of("goer"));
    let seen = volume(node, &kept);
    assert!(seen["spec"]["anonymous"] == true && seen["status"]["phase"] == "ready", "{seen}");
    let told = node.field("keeper", "/status/containers/0/volumes/0");
    assert_eq!((&told["target"], &told["id"]), (&json!("/data"), &seen["meta"]["id"]));
    let refused = node.hull(&["volume", "rm", &kept]);
    assert!(refused.code == 4 && refused.stderr.contains("keeper"), "{}", refused.stderr);

    // It outlives the container, and the instance unless told otherwise.
    node.ok(&["restart", "-t", "0", "keeper"]);
    assert_eq!(node.ok(&["exec", "keeper", "cat", "/data/f"]), "kept\nkept");
    node.ok(&["rm", "-f", "keeper"]);
    assert_eq!(sh(node, &["-v", &format!("{kept}:/d")], "cat /d/f"), "kept\nkept");
    node.ok(&["rm", "-fv", "goer"]);
    until("it goes with its instance", || {
        (node.hull(&["volume", "show", &gone]).code == 3).then_some(())
    });
    let before = node.ok(&["volume", "ls", "-o", "name"]);
    node.ok(&["run", "--rm", "--entrypoint", "true", "redis"]);
    until("nothing is left of one that removes itself", || {
        let now = node.ok(&["volume", "ls", "-o", "name"]);
        now.lines().all(|name| before.lines().any(|it| it == name)).then_some(())
    });
    // A mount of one's own is what the image gets.
    let _own = Named(node, "own");
    run("own", &["-v", "own-data:/data"]);
    assert_eq!(until("it is listed", || of("own")), "own-data");
    node.ok(&["volume", "rm", &kept]);
    drop((keeper, goer));
}

#[test]
fn an_unmounted_volume_takes_nothing() {
    let Some(node) = node() else { return };
    node.ok(&["volume", "create", "--size", "32m", "empty"]);
    sh(node, &["-v", "empty:/d"], "echo kept >/d/f");
    let mount = place(node, "empty").join("mount");
    if !mount.exists() {
        println!("passed over: this disk keeps sizes without mounting");
        return;
    }
    until("nobody uses it", || {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        (!mounts.contains(mount.to_str().unwrap())).then_some(())
    });
    for stray in [mount.join("stray"), mount.join("data/stray")] {
        assert!(std::fs::write(&stray, "lost").is_err(), "{} was written", stray.display());
    }
    assert!(!mount.join("data").exists(), "nobody takes it for an empty volume");
    assert_eq!(sh(node, &["-v", "empty:/d"], "ls /d; cat /d/f"), "f\nkept");
    node.ok(&["volume", "rm", "empty"]);
}

/// A mount of a part of a volume, as a flag says it.
fn part(volume: &str, subpath: &str) -> String {
    format!("type=volume,source={volume},target=/p,volume-subpath={subpath}")
}

/// Where parts of volumes are mounted for an instance.
fn parts(node: &Node, instance: &str) -> PathBuf {
    let id = node.field(instance, "/meta/id");
    node.root().join("run/hull/subpaths").join(id.as_str().unwrap())
}

#[test]
fn a_part_of_a_volume_is_mounted() {
    if !able() {
        return;
    }
    let node = &Node::start().unwrap();
    for size in [&[][..], &["--size", "32m"]] {
        node.ok(&[&["volume", "create"], size, &["whole"]].concat());
        let script =
            "cd /d; mkdir in; echo one >in/f; ln -s in link; ln -s /etc out; ln -s ../.. up";
        sh(node, &["-v", "whole:/d"], script);
        let run = |subpath: &str, script: &str| {
            let mount = part("whole", subpath);
            node.hull(&["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", script])
        };
        assert_eq!(run("in", "ls -A /p; cat /p/f").text(), "f\none");
        assert_eq!(run("in/f", "cat /p").text(), "one", "of one file");
        assert_eq!(run("link", "cat /p/f").text(), "one", "a link that stays inside");
        assert_eq!(run("link/new/er", "echo two >/p/f").code, 0, "what is missing is made");
        assert_eq!(sh(node, &["-v", "whole:/d"], "cat /d/in/new/er/f"), "two");
        for out in ["out", "up", "out/new", "in/f/x"] {
            let refused = run(out, "ls /p");
            assert!(refused.code != 0 && refused.text().is_empty(), "{out}: {}", refused.text());
            let why = ["leads out of the volume", "leads through a file"];
            assert!(why.iter().any(|it| refused.stderr.contains(it)), "{out}: {}", refused.stderr);
        }
        // It stays what it is when its path leads elsewhere, and is looked for anew by the next start.
        let it = begin(node, "user", &["--mount", &part("whole", "in")], WAITS);
        let read = || node.hull(&["exec", "user", "cat", "/p/f"]).text();
        sh(node, &["-v", "whole:/d"], "cd /d; mv in old; mkdir in; echo new >in/f");
        assert_eq!(read(), "one");
        node.kill_daemon().unwrap();
        node.await_ready();
        assert_eq!(read(), "one", "the daemon's end is not theirs");
        node.ok(&["restart", "--time", "0", "user"]);
        until("it has what is there now", || (read() == "new").then_some(()));
        node.ok(&["stop", "--time", "0", "user"]);
        let gone = parts(node, "user");
        until("nothing of it is mounted", || (!gone.exists()).then_some(()));
        assert_eq!(sh(node, &["-v", "whole:/d"], "cat /d/old/f /d/in/f"), "one\nnew");
        drop(it);
        node.ok(&["volume", "rm", "whole"]);
    }
}

#[test]
fn a_link_that_comes_meanwhile_leads_nowhere() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let Some(node) = node() else { return };
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("hosts-own"), "secret").unwrap();
    node.ok(&["volume", "create", "raced"]);
    sh(node, &["-v", "raced:/d"], "mkdir /d/a; echo >/d/a/mine");
    let contents = place(node, "raced").join("data");
    let (path, link) = (contents.join("a"), contents.join("b"));
    std::os::unix::fs::symlink(base.path(), &link).unwrap();
    let (over, mut seen) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, &path, CWD, &link, exchange).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let mount = part("raced", "a");
        for _ in 0..24 {
            let run = ["run", "--rm", "--mount", &mount, "busybox", "ls", "/p"];
            let outcome = node.hull(&run);
            seen.push((outcome.code, outcome.text(), outcome.stderr));
        }
        over.store(true, Ordering::Relaxed);
    });
    for (code, text, told) in &seen {
        match code {
            0 => assert_eq!(text, "mine"),
            _ => assert!(text.is_empty() && told.contains("leads out of the volume"), "{told}"),
        }
    }
    assert!(seen.iter().any(|(code, ..)| *code == 0) && seen.iter().any(|(code, ..)| *code != 0));
    node.ok(&["volume", "rm", "raced"]);
}

#[test]
fn on_a_disk_with_quota_groups() {
    if !able() {
        return;
    }
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !has("mkfs.btrfs") || !has("btrfs") {
        println!("passed over: btrfs-progs are not installed");
        return;
    }
    let node = &Setup::new().unwrap().on_btrfs(3 << 30).unwrap().start().unwrap();
    node.ok(&["volume", "create", "--size", "64m", "sized"]);
    let seen = volume(node, "sized");
    assert_eq!(seen["status"]["format"], "btrfs", "{seen}");
    let filled = fill(node, "sized");
    assert!(filled > 32 << 20 && filled <= 64 << 20, "{filled} bytes in 64 MiB");
    let it = begin(node, "writer", &["-v", "sized:/d"], "echo then >/d/f; sync; exec sleep 600");
    until("it has written", || {
        (node.hull(&["exec", "writer", "cat", "/d/f"]).text() == "then").then_some(())
    });
    node.ok(&["volume", "grow", "sized", "128m"]);
    node.ok(&["volume", "snapshot", "sized", "moment"]);
    node.ok(&["volume", "clone", "sized", "twin"]);
    node.ok(&["exec", "writer", "sh", "-c", "echo now >/d/f"]);
    let snapshots: Value =
        serde_json::from_str(&node.ok(&["volume", "snapshots", "-o", "json"])).unwrap();
    assert_eq!(snapshots[0]["status"]["method"], "btrfs", "{snapshots}");
    assert!(snapshots[0]["status"].get("reason").is_none(), "it shows one moment: {snapshots}");
    node.ok(&["volume", "restore", "moment", "back"]);
    for (name, method) in [("twin", "btrfs"), ("back", "btrfs")] {
        assert_eq!(volume(node, name)["status"]["method"], method);
        assert_eq!(sh(node, &["-v", &format!("{name}:/d")], "cat /d/f"), "then");
    }
    let filled = fill(node, "twin");
    assert!(filled > 64 << 20 && filled <= 128 << 20, "{filled} bytes in a clone of 128 MiB");
    drop(it);
    node.ok(&["volume", "rm", "sized", "twin", "back"]);
    node.ok(&["volume", "rm-snapshot", "moment"]);
    let left = finish(btrfs(node.root()), None).unwrap().text();
    let volumes = left.lines().filter(|line| line.contains("hull/volumes/")).count();
    assert_eq!(volumes, 0, "{left}");
}

fn btrfs(root: &Path) -> Command {
    let mut command = Command::new("btrfs");
    command.args(["subvolume", "list"]).arg(root);
    command
}
