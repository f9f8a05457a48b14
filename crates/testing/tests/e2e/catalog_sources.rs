//! Where catalogs come from: git repositories, those that do not answer among them; and questions that
//! are asked at a terminal.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use testing::node::{Node, until};
use testing::terminal::Terminal;

use super::process::node;

#[path = "../../../catalog/tests/git/server.rs"]
pub(super) mod server;

/// A catalog that goes with the test.
struct Added<'a>(&'a Node, &'a str);

impl Drop for Added<'_> {
    fn drop(&mut self) {
        self.0.hull(&["catalog", "rm", self.1]);
    }
}

/// An app that goes with the test.
struct Installed<'a>(&'a Node, &'a str);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        self.0.hull(&["app", "down", "--volumes", self.1]);
    }
}

fn template(root: &Path, name: &str, version: &str, summary: &str) {
    let dir = root.join(name);
    std::fs::create_dir_all(dir.join(version)).unwrap();
    let about = format!(
        "title: {name}\nsummary: {summary}\nversion: '{version}'\nquestions:\n\
         - {{variable: word, label: A word, default: calm, maxLength: 8}}\n\
         - {{variable: count, label: How many, type: int, min: 1, max: 3, required: true}}\n\
         - {{variable: loud, label: Loud, type: boolean, default: 'no'}}\n\
         - {{variable: cry, label: Cry, required: true, showIf: loud=true}}\n"
    );
    std::fs::write(dir.join("template.yaml"), about).unwrap();
    let compose = "services:\n  web:\n    image: busybox\n    command: [sleep, '600']\n    \
                   stop_signal: KILL\n    environment: {WORD: \"${word}\", CRY: \"${cry}\"}\n    \
                   deploy: {replicas: \"${count}\"}\n";
    std::fs::write(dir.join(version).join("compose.yaml"), compose).unwrap();
}

fn commit(dir: &Path, message: &str) {
    server::git(dir, &["add", "."]);
    server::git(dir, &["commit", "-q", "-m", message]);
}

fn shown(node: &Node, name: &str) -> Value {
    serde_json::from_str(&node.ok(&["catalog", "show", name, "-o", "json"])).unwrap()
}

#[test]
fn a_branch_of_a_repository_beside_one_that_is_silent() {
    let Some(node) = node() else { return };
    if !server::able() {
        return;
    }
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/silent.git", silent.local_addr().unwrap());
    let _silent = Added(node, "git-silent");
    node.ok(&["catalog", "add", "--detach", "git-silent", &url]);

    let root = tempfile::tempdir().unwrap();
    server::git(root.path(), &["init", "-q", "cat"]);
    let work = root.path().join("cat");
    template(&work, "gitweb", "1", "of the first commit");
    std::fs::create_dir_all(work.join("gitodd")).unwrap();
    std::fs::write(work.join("gitodd/template.yaml"), "titel: Odd\n").unwrap();
    commit(&work, "one");
    server::git(&work, &["checkout", "-q", "-b", "next"]);
    template(&work, "gitweb", "2", "of the branch");
    commit(&work, "two");
    server::git(&work, &["checkout", "-q", "main"]);
    let url = format!("{}/cat/.git", server::serve(root.path()));
    let _main = Added(node, "git-main");
    node.ok(&["catalog", "add", "git-main", &url]);
    let _next = Added(node, "git-next");
    node.ok(&["catalog", "add", "--branch", "next", "git-next", &url]);
    let search = |name: &str| node.ok(&["catalog", "search", "--catalog", name]);
    assert!(search("git-main").contains("of the first commit"));
    assert!(search("git-main").contains("cannot be used"), "a broken one hides no other");
    assert!(search("git-next").contains("of the branch"));
    let commits = ["git-main", "git-next"].map(|it| shown(node, it)["status"]["commit"].clone());
    assert!(commits[0].as_str().unwrap().len() == 40 && commits[0] != commits[1], "{commits:?}");

    // What is new is there once somebody asks for it, and what was read stays if that fails.
    template(&work, "gitnew", "1", "of the third commit");
    commit(&work, "three");
    assert!(!search("git-main").contains("gitnew"));
    node.ok(&["catalog", "refresh", "git-main"]);
    assert!(search("git-main").contains("of the third commit"));
    std::fs::rename(&work, root.path().join("away")).unwrap();
    let failed = node.hull(&["catalog", "refresh", "git-main"]);
    assert!(failed.code != 0 && failed.stderr.contains(&url), "{}", failed.stderr);
    assert!(search("git-main").contains("gitnew"));
    let missing = node.hull(&["catalog", "add", "--branch", "none", "git-none", &url]);
    let _missing = Added(node, "git-none");
    assert_ne!(missing.code, 0, "{}", missing.stderr);

    // The silent one is given up, and says so.
    testing::node::within(
        std::time::Duration::from_secs(150),
        "the silent one is given up",
        || {
            let status = shown(node, "git-silent")["status"].clone();
            status["reason"]["message"].as_str()?.contains("gave nothing").then_some(())
        },
    );
    drop(silent);
}

#[test]
fn a_repository_whose_commits_are_signed() {
    let Some(node) = node() else { return };
    let root = tempfile::tempdir().unwrap();
    let key = root.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()])
        .status();
    if !server::able() || !made.is_ok_and(|it| it.success()) {
        println!("passed over: there is no ssh-keygen or no git-http-backend");
        return;
    }
    server::git(root.path(), &["init", "-q", "cat"]);
    let work = root.path().join("cat");
    template(&work, "signedweb", "1", "of the signed commit");
    server::git(&work, &["add", "."]);
    let signing = format!("user.signingkey={}", key.display());
    let with = ["-c", "gpg.format=ssh", "-c", &signing, "commit", "-q", "-S", "-m", "one"];
    server::git(&work, &with);
    let url = format!("{}/cat/.git", server::serve(root.path()));
    let public = format!("{}.pub", key.display());
    let private =
        node.hull(&["catalog", "add", "git-private", &url, "--key", key.to_str().unwrap()]);
    assert!(private.code != 0 && private.stderr.contains("public keys"), "{}", private.stderr);
    let _signed = Added(node, "git-signed");
    node.ok(&["catalog", "add", "git-signed", &url, "--key", &public]);
    let search = || node.ok(&["catalog", "search", "--catalog", "git-signed"]);
    assert!(search().contains("of the signed commit"));

    // One that nobody signed says so, and what was read before stays.
    template(&work, "signedweb", "2", "of somebody else");
    commit(&work, "two");
    let failed = node.hull(&["catalog", "refresh", "git-signed"]);
    assert!(failed.code != 0 && failed.stderr.contains("is not signed"), "{}", failed.stderr);
    assert!(node.ok(&["catalog", "ls"]).contains("is not signed"));
    assert!(search().contains("of the signed commit"));
    // It is taken once somebody signed it.
    server::git(
        &work,
        &["-c", "gpg.format=ssh", "-c", &signing, "commit", "-q", "--amend", "-S", "--no-edit"],
    );
    node.ok(&["catalog", "refresh", "git-signed"]);
    assert!(search().contains("of somebody else"));
}

#[test]
fn a_source_is_read_again_when_its_time_has_come() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    template(dir.path(), "timedweb", "1", "of the beginning");
    let _timed = Added(node, "timed");
    node.ok(&["catalog", "add", "timed", dir.path().to_str().unwrap(), "--every", "60s"]);
    let _still = Added(node, "still");
    node.ok(&["catalog", "add", "still", dir.path().to_str().unwrap()]);
    template(dir.path(), "timednew", "1", "of later");
    let search = |name: &str| node.ok(&["catalog", "search", "--catalog", name]);
    assert!(!search("timed").contains("of later"));
    let long = std::time::Duration::from_secs(300);
    testing::node::within(long, "the source is read again by itself", || {
        search("timed").contains("of later").then_some(())
    });
    assert!(!search("still").contains("of later"), "only on demand");
}

#[test]
fn an_app_of_a_repository() {
    let Some(node) = node() else { return };
    if !server::able() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    server::git(root.path(), &["init", "-q", "all"]);
    let work = root.path().join("all");
    std::fs::create_dir_all(work.join("deploy/fetched")).unwrap();
    std::fs::write(work.join("deploy/fetched/site.conf"), "of the repository").unwrap();
    let text = "services:\n  web:\n    image: busybox\n    command: [sleep, '600']\n    \
                stop_signal: KILL\n    volumes: ['./site.conf:/etc/site.conf:ro']\n";
    std::fs::write(work.join("deploy/fetched/compose.yaml"), text).unwrap();
    commit(&work, "one");
    let url = format!("{}/all/.git", server::serve(root.path()));
    let _app = Installed(node, "fetched");
    node.ok(&["app", "up", &format!("{url}#main:deploy/fetched")]);
    assert_eq!(node.ok(&["exec", "fetched-web-1", "cat", "/etc/site.conf"]), "of the repository");
    let missing = node.hull(&["app", "up", "-f", &format!("{url}#none")]);
    assert!(missing.code != 0 && missing.stderr.contains("none"), "{}", missing.stderr);
    let outside = node.hull(&["app", "up", &format!("{url}#main:../..")]);
    assert_eq!(outside.code, 2, "{}", outside.stderr);
}

#[test]
fn questions_are_asked_at_a_terminal() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    template(dir.path(), "asked", "1", "asks");
    let _catalog = Added(node, "asking");
    node.ok(&["catalog", "add", "asking", dir.path().to_str().unwrap()]);
    let _app = Installed(node, "asked");
    let mut terminal =
        Terminal::open(&node.command(&["catalog", "install", "asking/asked"]), 100, 30).unwrap();
    terminal.expect("A word [calm]: ");
    terminal.send("far-too-long\r");
    terminal.expect("may have 8");
    terminal.expect("A word [calm]: ");
    terminal.send("\r");
    terminal.expect("How many: ");
    terminal.send("many\r");
    terminal.expect("whole number");
    terminal.expect("How many: ");
    terminal.send("9\r");
    terminal.expect("3 or less");
    terminal.expect("How many: ");
    terminal.send("1\r");
    terminal.expect("Loud (yes, no) [no]: ");
    terminal.send("yes\r");
    terminal.expect("Cry: ");
    terminal.send("\r");
    terminal.expect("is needed");
    terminal.send("ho\r");
    assert_eq!(terminal.wait(), 0, "{}", terminal.seen());
    let told = node.ok(&["exec", "asked-web-1", "sh", "-c", "echo $WORD $CRY"]);
    assert_eq!(told, "calm ho");

    // Answers in a file, and over them those of the command line; the others stay.
    let answers = dir.path().join("answers.yaml");
    std::fs::write(&answers, "word: loud\ncry: hey\n").unwrap();
    let answers = answers.to_str().unwrap();
    node.ok(&["catalog", "upgrade", "asked", "--answers", answers, "--set", "cry=hi"]);
    until("it is changed", || {
        let told = node.hull(&["exec", "asked-web-1", "sh", "-c", "echo $WORD $CRY"]);
        (told.text() == "loud hi").then_some(())
    });
    let wrong =
        node.hull(&["catalog", "upgrade", "asked", "--set", "count=7", "--set", "word=123456789"]);
    assert!(
        wrong.code != 0
            && wrong.stderr.contains("count is 3 or less")
            && wrong.stderr.contains("may have 8"),
        "{}",
        wrong.stderr
    );
}

/// The command waits for the way back, and tells of it.
#[test]
fn one_that_never_gets_healthy_is_taken_back() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("gate");
    std::fs::create_dir_all(root.join("1")).unwrap();
    std::fs::write(
        root.join("template.yaml"),
        "title: Gate\nquestions: [{variable: test, default: 'true'}, {variable: image, default: busybox}]\n",
    )
    .unwrap();
    std::fs::write(
        root.join("1/compose.yaml"),
        "services:\n  web:\n    image: ${image}\n    command: [sleep, '600']\n    stop_signal: KILL\n    \
         healthcheck: {test: [CMD, '${test}'], interval: 200ms, retries: 2}\n",
    )
    .unwrap();
    let _catalog = Added(node, "gates");
    node.ok(&["catalog", "add", "gates", dir.path().to_str().unwrap()]);
    let _app = Installed(node, "gate");
    node.ok(&["catalog", "install", "gates/gate"]);
    for (number, answer) in [(2, "test=false"), (4, "image=no-such-image")] {
        let failed = node.hull(&["catalog", "upgrade", "gate", "--set", answer]);
        assert_ne!(failed.code, 0);
        let told = format!("revision {number} failed and was taken back");
        assert!(failed.stderr.contains(&told), "{}", failed.stderr);
        let app: Value =
            serde_json::from_str(&node.ok(&["app", "show", "gate", "-o", "json"])).unwrap();
        assert_eq!(app["status"]["phase"], "rolledBack", "{app}");
        assert_eq!(app["spec"]["origin"]["answers"]["test"], "true");
    }
    let history = node.ok(&["app", "history", "gate"]);
    assert_eq!(history.matches("failed: taken back to 1").count(), 1, "{history}");
}
