//! The records: copied while the platform works, put back, damaged, and killed over.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use testing::node::{Node, Setup, until};

use super::process::{able, begin};

const INSTANCES: &str = "/v1/projects/default/instances";

/// Asks for a stopped instance; whether it was acknowledged.
fn create(node: &Node, name: &str) -> bool {
    let spec = json!({ "run": "stopped", "containers": [{ "name": "main", "image": "busybox" }] });
    let draft = json!({ "meta": { "name": name }, "spec": spec });
    node.call("POST", INSTANCES, Some(&draft)).is_ok_and(|(status, _)| status == 201)
}

fn names(node: &Node) -> BTreeSet<String> {
    let list = node.get(INSTANCES).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["meta"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn records_are_copied_while_work_goes_on_and_put_back() {
    if !able() {
        return;
    }
    let (node, dir) = (Node::start().unwrap(), tempfile::tempdir().unwrap());
    let file = dir.path().join("records.db").display().to_string();
    let kept = begin(&node, "kept", &["-v", "kept:/d"], "echo data > /d/f; exec sleep 600");
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                assert!(create(&node, &format!("w-{}", made.load(Ordering::SeqCst))));
                made.fetch_add(1, Ordering::SeqCst);
            }
        });
        until("some are made", || (made.load(Ordering::SeqCst) > 20).then_some(()));
        let before = made.load(Ordering::SeqCst);
        node.ok(&["backup", "create", &file]);
        let after = made.load(Ordering::SeqCst);
        until("more are made", || (made.load(Ordering::SeqCst) > after + 20).then_some(()));
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        before
    });
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(node.hull(&["backup", "create", &file]).code, 4, "a backup is not written over");
    let running = node.hull(&["backup", "restore", &file]);
    assert_eq!(running.code, 4, "{}", running.stderr);
    assert!(running.stderr.contains("hull down"), "{}", running.stderr);
    let all = names(&node);
    // Made after the backup, and running: it ends with the records that knew it.
    let later = begin(&node, "later", &[], "exec sleep 600");
    let pid = node.field("kept", "/status/containers/0/pid");

    node.ok(&["down"]);
    let restored = node.ok(&["backup", "restore", &file]);
    assert!(restored.contains("are in place") && restored.contains(".replaced-1"), "{restored}");
    node.ok(&["up"]);
    let now = names(&node);
    assert!(now.len() > before && now.len() < all.len(), "{} of {}", now.len(), all.len());
    assert!(now.is_subset(&all));
    assert_eq!(node.field("kept", "/status/containers/0/pid"), pid, "what runs, runs on");
    until("what the records do not know is gone", || (node.tasks() == 1).then_some(()));
    // Work goes on from here: nobody takes the restored records for old news.
    assert!(create(&node, "after"));
    node.ok(&["run", "--rm", "-v", "kept:/d", "busybox", "grep", "data", "/d/f"]);

    // On a machine that has nothing and takes the place of the old one, which is gone.
    let settings = std::fs::read(node.root().join("etc/hull/hull.toml")).unwrap();
    drop((kept, later));
    drop(node);
    let fresh = Setup::new().unwrap().prepare().unwrap();
    std::fs::write(fresh.root().join("etc/hull/hull.toml"), settings).unwrap();
    assert_eq!(fresh.hull(&["backup", "restore", &file]).code, 0);
    let up = fresh.up();
    assert_eq!(up.code, 0, "{}", up.stderr);
    assert!(up.text().contains("hull token create"), "{}", up.text());
    assert!(now.is_superset(&names(&fresh)) && names(&fresh).contains("kept"));
    assert!(create(&fresh, "new-here"));
    assert_eq!(fresh.ok(&["run", "--rm", "busybox", "echo", "works"]), "works");
}

#[test]
fn damaged_records_are_said_at_once_and_healed() {
    if !able() {
        return;
    }
    let (node, dir) = (Node::start().unwrap(), tempfile::tempdir().unwrap());
    let file = dir.path().join("records.db");
    let backup = file.display().to_string();
    (0..50).for_each(|n| assert!(create(&node, &format!("n-{n}"))));
    node.ok(&["backup", "create", &backup]);
    let known = names(&node);
    node.ok(&["down"]);
    let state = node.root().join("var/lib/hull/state.db");
    for path in [state.with_extension("db-wal"), state.with_extension("db-shm")] {
        let _ = std::fs::remove_file(path);
    }
    std::fs::copy(&file, &state).unwrap();
    spoil(&state);
    for words in [["up"], ["status"]] {
        let refused = node.hull(&words);
        assert_eq!(refused.code, 5, "{}", refused.stderr);
        assert!(refused.stderr.contains("state.db is damaged"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hull backup restore FILE"), "{}", refused.stderr);
    }
    let bad = dir.path().join("bad.db");
    std::fs::copy(&file, &bad).unwrap();
    spoil(&bad);
    let junk = dir.path().join("junk.db");
    std::fs::write(&junk, "this is no backup").unwrap();
    for path in [&bad, &junk] {
        let refused = node.hull(&["backup", "restore", &path.display().to_string()]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.starts_with("hull: ") && refused.stderr.contains("try:"));
    }
    assert_eq!(node.hull(&["backup", "restore", "/no/such/file"]).code, 3);
    node.ok(&["backup", "restore", &backup]);
    node.ok(&["up"]);
    assert_eq!(names(&node), known);
}

/// Overwrites some of each third page, as a failing disk would.
fn spoil(path: &std::path::Path) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in (3..pages).step_by(3) {
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xff; 200]).unwrap();
    }
}

#[test]
fn why_the_platform_cannot_start_is_said_at_once() {
    if !able() {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let node = Setup::new().unwrap().prepare().unwrap();
    let path = node.root().join("etc/hull/hull.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (bad, why) in [
        (good.replace("127.0.0.1:0", &address), "is the port taken?"),
        (good.replace("listen", "lisen"), "unknown field `lisen`"),
        (good.replace("[node]\n", "[node]\nnmae = \"x\"\n"), "unknown field `nmae`"),
    ] {
        std::fs::write(&path, bad).unwrap();
        let begun = std::time::Instant::now();
        let up = node.up();
        assert_eq!(up.code, 5, "{}", up.stderr);
        assert!(up.stderr.contains(why), "{}", up.stderr);
        assert!(begun.elapsed().as_secs() < 20, "{why}: after {:?}", begun.elapsed());
        assert!(node.daemon().is_err(), "something still tries");
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(node.up().code, 0);
}

/// The promise: an acknowledged write survives `kill -9`, whenever it comes.
#[test]
fn an_acknowledged_write_survives_any_kill() {
    // The supervisor waits twice as long after each.
    const KILLS: usize = 6;
    const WRITERS: usize = 4;
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let (node_ref, stop_ref, acknowledged_ref) = (&node, &stop, &acknowledged);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for n in 0.. {
                    if stop_ref.load(Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("a-{writer}-{n}");
                    if create(node_ref, &name) {
                        acknowledged_ref.lock().unwrap().insert(name);
                    }
                }
            });
        }
        let count = || acknowledged.lock().unwrap().len();
        for kill in 0..KILLS {
            // A different moment each time: after that many more writes.
            let enough = count() + 5 + 7 * kill % 23;
            until("writes go on", || (count() >= enough).then_some(()));
            node.kill_daemon().unwrap();
            node.await_ready();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let (there, all) = (names(&node), node.get(INSTANCES).unwrap());
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    // Nothing is half there: each is found by its name, with all that belongs to it.
    for item in all["items"].as_array().unwrap() {
        let name = item["meta"]["name"].as_str().unwrap();
        let shown = node.get(&format!("{INSTANCES}/{name}")).unwrap();
        assert_eq!(shown["meta"]["id"], item["meta"]["id"]);
        assert_eq!(shown["spec"]["containers"][0]["image"], "busybox", "{shown}");
    }
    // A name that is taken is taken, and one that was not acknowledged can be asked for again.
    let one: Vec<&String> = acknowledged.iter().take(1).collect();
    assert!(!create(&node, one[0]));
    let checked: Value = node.get("/v1/system/status").unwrap();
    assert_eq!(checked["ready"], true);
}
