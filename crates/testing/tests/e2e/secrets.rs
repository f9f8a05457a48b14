//! Secrets and configs: read by their instances, and by nobody else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testing::node::{Node, until};

use super::process::{able, begin, mortal, node, sh};

const VALUE: &str = "tr0ub4dor-and-3-more-words";
const WAITS: &str = "trap 'exit 0' TERM; while :; do usleep 50000; done";

fn secret(node: &Node, name: &str, value: &str) {
    let made = node.hull_with(&["secret", "create", name, "-"], Some(value.as_bytes()));
    assert_eq!((made.code, made.text().as_str()), (0, name), "{}", made.stderr);
}

/// What gives the value away: itself, and how data stands in JSON, but for the end, which depends on what
/// follows.
fn traces() -> [String; 2] {
    let mut encoded = STANDARD.encode(VALUE);
    encoded.truncate(VALUE.len() / 3 * 4);
    [VALUE.to_owned(), encoded]
}

/// Files below a directory of the host's disk that hold the value.
fn leaks(dir: &Path) -> String {
    let [plain, encoded] = traces();
    let words = ["-rlaF", "-e", &plain, "-e", &encoded];
    let found = Command::new("grep").args(words).arg(dir).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

/// Makes the config `site`.
fn site(node: &Node) {
    let file = node.root().join("site.conf");
    std::fs::write(&file, "listen 80;\n").unwrap();
    node.ok(&["config", "create", "site", file.to_str().unwrap()]);
}

fn handed(node: &Node, instance: &str) -> std::path::PathBuf {
    let id = node.field(instance, "/meta/id");
    node.root().join("run/hull/handed").join(id.as_str().unwrap())
}

#[test]
fn a_value_is_in_its_instances_and_nowhere_else() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    secret(&node, "pw", VALUE);
    site(&node);
    assert_eq!(node.ok(&["config", "show", "--data", "site"]), "listen 80;");
    let flags = [
        "--secret",
        "pw",
        "--secret",
        "pw,target=/etc/app/pw,uid=1,gid=2,mode=0400",
        "--config",
        "site,target=/etc/site.conf",
    ];
    let it = begin(&node, "reader", &flags, WAITS);
    let read = "cat /run/secrets/pw /etc/site.conf; stat -c '%u %g %a' /etc/app/pw";
    let expected = format!("{VALUE}listen 80;\n1 2 400");
    assert_eq!(node.ok(&["exec", "reader", "sh", "-c", read]), expected);
    let write = node.hull(&["exec", "reader", "sh", "-c", "echo x >/run/secrets/pw"]);
    assert!(write.code != 0 && write.stderr.contains("Read-only"), "{}", write.stderr);

    let shown = [
        node.ok(&["secret", "show", "-o", "json", "pw"]),
        node.ok(&["secret", "ls", "-o", "json"]),
        node.ok(&["inspect", "reader"]),
        node.ok(&["event", "ls", "-o", "json"]),
        node.log(),
    ];
    let tells = |text: &String| traces().iter().any(|trace| text.contains(trace));
    assert!(!shown.iter().any(tells), "{shown:?}");
    // A config's data stands there, so that a secret's would be found.
    let text = STANDARD.encode("listen 80;");
    let found =
        Command::new("grep").args(["-rlaF", &text[..12]]).arg(node.root()).output().unwrap();
    assert!(!found.stdout.is_empty(), "data is not looked for as it is written");
    assert_eq!(leaks(&node.root().join("var/lib/hull")), "");
    let keys = node.root().join("var/lib/hull/secret.keys");
    assert_eq!(keys.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // Whatever happens to the platform, the instance reads it still.
    node.kill_daemon().unwrap();
    node.await_ready();
    assert_eq!(node.ok(&["exec", "reader", "sh", "-c", read]), expected);
    node.ok(&["restart", "reader"]);
    assert_eq!(node.ok(&["exec", "reader", "sh", "-c", read]), expected);
    let memory = handed(&node, "reader");
    assert!(memory.exists());
    node.ok(&["stop", "reader"]);
    until("what has ended holds nothing", || (!memory.exists()).then_some(()));
    // As after a boot: nothing is left of the node's memory.
    node.kill_daemon().unwrap();
    node.await_ready();
    node.ok(&["start", "reader"]);
    assert_eq!(node.ok(&["exec", "reader", "sh", "-c", read]), expected);

    let refused = node.hull(&["secret", "rm", "pw"]);
    assert!(
        refused.code == 4 && refused.stderr.contains("read by instance \"reader\""),
        "{}",
        refused.stderr
    );
    drop(it);
    until("nothing is left of it", || (!memory.exists()).then_some(()));
    node.ok(&["secret", "rm", "pw"]);
    node.ok(&["config", "rm", "site"]);
    assert_eq!(node.hull(&["secret", "show", "pw"]).code, 3);
}

#[test]
fn a_mapped_user_reads_it_and_a_service_too() {
    let Some(node) = node() else { return };
    secret(node, "mapped", VALUE);
    let flags = ["--userns", "300000", "--secret", "mapped,mode=0400"];
    assert_eq!(sh(node, &flags, "cat /run/secrets/mapped"), VALUE);
    let words = [
        "service", "create", "--name", "readers", "--secret", "mapped", "busybox", "sh", "-c",
        WAITS,
    ];
    node.ok(&words);
    assert_eq!(node.ok(&["exec", "readers-1", "cat", "/run/secrets/mapped"]), VALUE);
    let refused = node.hull(&["secret", "rm", "mapped"]);
    assert!(refused.stderr.contains("service \"readers\""), "{}", refused.stderr);
    node.ok(&["service", "rm", "readers"]);
    node.ok(&["secret", "rm", "mapped"]);
}

/// A machine's guest shares the memory that the node has them in, and finds them where they belong.
#[test]
fn a_machine_is_handed_them_too() {
    if !able() {
        return;
    }
    // What is kept is looked for on the disk of a node that has nothing else.
    let node = Node::start().unwrap();
    secret(&node, "pw", VALUE);
    site(&node);
    let flags = [
        "--memory",
        "192m",
        "--secret",
        "pw,uid=1,gid=2,mode=0400",
        "--config",
        "site,target=/etc/it's/site.conf",
    ];
    let words = [&["run", "-d", "--name", "locked"], &flags[..], &["hull-tiny"]].concat();
    let started = node.hull(&words);
    if started.stderr.contains("virtiofsd") {
        println!("passed over: there is no virtiofsd");
        return;
    }
    assert_eq!(started.code, 0, "{}", started.stderr);
    let answers = || {
        testing::node::within(super::machines::PATIENCE, "the agent answers", || {
            (node.hull(&["exec", "locked", "true"]).code == 0).then_some(())
        });
    };
    let inside = |script: &str| node.ok(&["exec", "locked", "sh", "-c", script]);
    // This image has no cloud-init, which runs the hook of the vendor data at each boot.
    let hook = "mkdir -p /run/seed && mount -o ro $(findfs LABEL=cidata) /run/seed && sh \
                /run/seed/vendor-data && sh /run/seed/vendor-data";
    let look =
        "cat /run/secrets/pw; echo; stat -c %u:%g:%a /run/secrets/pw; cat \"/etc/it's/site.conf\"";
    let all = format!("{VALUE}\n1:2:400\nlisten 80;");
    answers();
    inside(hook);
    assert_eq!(inside(look), all);
    let written = node.hull(&["exec", "locked", "sh", "-c", "echo x > /run/secrets/pw"]);
    assert_ne!(written.code, 0);
    assert_eq!(inside("grep -c secrets /proc/mounts"), "1", "twice is once");

    // Nothing of it is on the node's disk, the machine's disks and seed among it.
    let kept = node.root().join("var/lib/hull");
    assert_eq!(leaks(&kept), "");
    node.ok(&["restart", "locked"]);
    answers();
    inside(hook);
    assert_eq!(inside(look), all);
    let handed = handed(&node, "locked");
    node.ok(&["rm", "-f", "locked"]);
    until("its memory is given back", || (!handed.exists()).then_some(()));
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(node) = node() else { return };
    let big = vec![b'x'; (500 << 10) + 1];
    let refused = node.hull_with(&["secret", "create", "big", "-"], Some(&big));
    assert!(refused.code == 2 && refused.stderr.contains("512000"), "{}", refused.stderr);
    assert_eq!(node.hull_with(&["secret", "create", "none", "-"], Some(b"")).code, 2);
    assert_eq!(node.hull(&["run", "--secret", "absent", "busybox", "true"]).code, 3);
    secret(node, "taken", "1");
    assert_eq!(node.hull_with(&["secret", "create", "taken", "-"], Some(b"2")).code, 4);
    let path = "/v1/projects/default/secrets/taken";
    let (status, body) =
        node.call("PATCH", path, Some(&json!({"spec": {"data": "Mg=="}}))).unwrap();
    assert_eq!(status, 409, "{body}");
    node.ok(&["secret", "rm", "taken"]);
}

#[test]
fn a_lost_key_is_told_until_it_is_back() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    secret(&node, "before", VALUE);
    let keys = node.root().join("var/lib/hull/secret.keys");
    let kept = std::fs::read_to_string(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    node.kill_daemon().unwrap();
    node.await_ready();
    let status = node.ok(&["status"]);
    assert!(status.contains("secret \"before\" cannot be read"), "{status}");
    // What is made meanwhile has a key of its own, and both are good together.
    secret(&node, "after", VALUE);
    let fresh = std::fs::read_to_string(&keys).unwrap();
    assert_ne!(fresh, kept);
    std::fs::write(&keys, format!("{kept}{fresh}")).unwrap();
    node.kill_daemon().unwrap();
    node.await_ready();
    assert!(!node.ok(&["status"]).contains("cannot be read"));
    let flags = ["--secret", "before", "--secret", "after"];
    let read = sh(&node, &flags, "cat /run/secrets/before /run/secrets/after");
    assert_eq!(read, format!("{VALUE}{VALUE}"));
}

const ROTATED: &str = "services:
  web:
    image: busybox
    command: [sh, -c, 'WAITS']
    secrets: [inner]
secrets: {inner: {file: inner.txt}}
";

/// An app of two revisions with a secret, and one of a template with a password among its answers.
fn sealed_apps(node: &Node, dir: &Path) {
    std::fs::write(
        dir.join("compose.yaml"),
        ROTATED.replace("WAITS", &WAITS.replace('\'', "\'\'")),
    )
    .unwrap();
    for value in ["one", "two"] {
        std::fs::write(dir.join("inner.txt"), value).unwrap();
        node.ok(&["app", "up", "--name", "inner", dir.to_str().unwrap()]);
    }
    let template = dir.join("catalog/asks");
    std::fs::create_dir_all(template.join("1")).unwrap();
    let about = "title: Asks\nsummary: Asks\nversion: '1'\nquestions:\n\
                 - {variable: pw, label: Password, type: password, required: true}\n";
    std::fs::write(template.join("template.yaml"), about).unwrap();
    let compose = "services:\n  web:\n    image: busybox\n    command: [sleep, '600']\n    \
                   stop_signal: KILL\n    environment: {PW: \"${pw}\"}\n";
    std::fs::write(template.join("1/compose.yaml"), compose).unwrap();
    node.ok(&["catalog", "add", "own", dir.join("catalog").to_str().unwrap()]);
    node.ok(&["catalog", "install", "own/asks", "--name", "asks", "--set", "pw=answered"]);
}

/// Everything that is sealed can be read.
fn all_is_read(node: &Node, dir: &Path, place: &str) {
    assert!(!node.ok(&["status"]).contains("cannot be read"), "{place}");
    assert_eq!(sh(node, &["--secret", "pw"], "cat /run/secrets/pw"), VALUE, "{place}");
    // Files of an earlier revision, answers, and what was kept of a revision that is taken again.
    let copy = dir.join("copy");
    node.ok(&["app", "export", "--revision", "1", "inner", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(copy.join("inner.txt")).unwrap(), "one", "{place}");
    std::fs::remove_dir_all(copy).unwrap();
    let planned = node.ok(&["catalog", "upgrade", "asks", "--plan"]);
    assert!(planned.contains("nothing would change"), "{place}: {planned}");
    let planned = node.ok(&["app", "up", "--plan", "--name", "inner", dir.to_str().unwrap()]);
    assert!(planned.contains("nothing would change"), "names stay: {place}: {planned}");
}

#[test]
fn the_key_is_changed_wherever_the_platform_dies() {
    let Some(node) = mortal() else { return };
    let dir = tempfile::tempdir().unwrap();
    secret(&node, "pw", VALUE);
    sealed_apps(&node, dir.path());
    let file = node.root().join("var/lib/hull/secret.keys");
    let keys = || std::fs::read_to_string(&file).unwrap();
    for place in
        ["keys.added", "keys.secret", "keys.app", "keys.revision", "keys.sealed", "keys.forgotten"]
    {
        let before = keys();
        let old = before.lines().last().unwrap().to_owned();
        node.dies_unanswered_at(place, &["secret", "rotate"]);
        all_is_read(&node, dir.path(), place);
        let done = node.hull(&["secret", "rotate"]);
        assert_eq!(done.code, 0, "{place}: {}", done.stderr);
        let after = keys();
        assert!(!after.contains(&old) && after.lines().count() == 2, "{place}");
        assert!(after.lines().last().unwrap().starts_with(&done.text()), "{place}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        all_is_read(&node, dir.path(), place);
    }
    node.ok(&["app", "rollback", "inner"]);
    let read = ["exec", "inner-web-1", "cat", "/run/secrets/inner"];
    assert_eq!(node.ok(&read), "one");
    node.ok(&["app", "up", "--name", "inner", dir.path().to_str().unwrap()]);
    assert_eq!(node.ok(&read), "two");
    // The next start has nothing but the file.
    node.kill_daemon().unwrap();
    node.await_ready();
    all_is_read(&node, dir.path(), "after the last");
    node.ok(&["app", "down", "inner"]);
    node.ok(&["app", "down", "asks"]);
}
