//! Services that wait for others, are on each node, or run at set times.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use testing::node::{Node, until, within, within_or};

use super::process::{mortal, node};
use super::services::everything;

/// So long a busy machine may take.
const LONG: Duration = Duration::from_secs(180);

/// A service that goes with the test.
struct Kept<'a>(&'a Node, &'a str);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.hull(&["service", "rm", self.1]);
    }
}

const LOOP: &str = "trap 'exit 0' TERM; while :; do usleep 50000; done";

fn make<'a>(node: &'a Node, name: &'a str, flags: &[&str], script: &str) -> Kept<'a> {
    let words = ["service", "create", "-d", "--name", name];
    node.ok(&[&words[..], flags, &["busybox", "sh", "-c", script]].concat());
    Kept(node, name)
}

fn status(node: &Node, name: &str) -> Value {
    let shown = node.ok(&["service", "show", name, "-o", "json"]);
    serde_json::from_str::<Value>(&shown).unwrap()["status"].clone()
}

fn names(node: &Node, name: &str) -> Vec<String> {
    node.ok(&["service", "ps", name, "-o", "name"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_service_waits_for_those_it_depends_on() {
    let Some(node) = node() else { return };
    let web = make(node, "later", &["--depends-on", "first:healthy:restart"], LOOP);
    let reason = until("it says what it waits for", || {
        let reason = status(node, "later")["reason"].clone();
        reason["message"].as_str().is_some_and(|it| it.contains("no service")).then_some(reason)
    });
    assert_eq!(reason["code"], "DependencyNotReady");
    assert!(names(node, "later").is_empty());
    let told = node.ok(&["explain", "later"]);
    assert!(
        told.contains("DependencyNotReady") && told.contains("service first: not there"),
        "{told}"
    );
    let health = ["--health-cmd", "test -e /ok", "--health-interval", "200ms"];
    let db = make(node, "first", &health, LOOP);
    node.await_phase("first-1", "running");
    until("it waits for its health", || {
        let reason = status(node, "later")["reason"]["message"].clone();
        reason.as_str()?.contains("0 of 1 instances are ready").then_some(())
    });
    node.ok(&["exec", "first-1", "touch", "/ok"]);
    node.await_phase("later-1", "running");
    let circle = node.hull(&["service", "update", "--depends-on", "later", "first"]);
    assert!(circle.code != 0 && circle.stderr.contains("wait for itself"), "{}", circle.stderr);
    // It is made anew with the other one.
    let before = node.inspect("later-1").unwrap()["meta"]["id"].clone();
    node.ok(&["service", "update", "-d", "-e", "STEP=2", "first"]);
    until("the other one is made anew", || {
        node.hull(&["exec", "first-1", "touch", "/ok"]);
        (status(node, "first")["phase"] == "steady" && status(node, "first")["revision"] == 2)
            .then_some(())
    });
    until("and this one with it", || {
        let now = node.inspect("later-1")?;
        (now["meta"]["id"] != before && now["status"]["phase"] == "running").then_some(())
    });
    drop((web, db));
}

#[test]
fn a_global_service_is_on_each_node() {
    let Some(node) = node() else { return };
    let name = node.ok(&["node", "ls", "-o", "name"]);
    let it = make(node, "everywhere", &["--global"], LOOP);
    let own = format!("everywhere-{}", name.trim());
    node.await_phase(&own, "running");
    assert_eq!(node.field(&own, "/spec/nodes/name"), json!(name.trim()));
    let refused = node.hull(&["service", "scale", "everywhere=2"]);
    assert!(refused.code != 0 && refused.stderr.contains("is global"), "{}", refused.stderr);
    node.ok(&["service", "update", "-d", "--node-labels", "zone=nowhere", "everywhere"]);
    until("it is on no node any more", || names(node, "everywhere").is_empty().then_some(()));
    drop(it);
    let _one = super::process::Named(node, "nowhere");
    node.ok(&["create", "--name", "nowhere", "--node", "no-such-node", "busybox", "true"]);
    let reason = until("it says why it is nowhere", || {
        node.field("nowhere", "/status/reason/message").as_str().map(str::to_owned)
    });
    assert!(reason.contains("node no-such-node"), "{reason}");
    let told: Value =
        serde_json::from_str(&node.ok(&["explain", "instance/nowhere", "-o", "json"])).unwrap();
    assert_eq!((&told[0]["settled"], &told[0]["nodes"][0]["takes"]), (&json!(true), &json!(false)));
    assert_eq!(node.hull(&["explain", "no-such-thing"]).code, 3);
}

#[test]
fn a_run_at_a_set_time_is_made_once_whatever_dies() {
    let Some(node) = mortal() else { return };
    let dir = tempfile::tempdir().unwrap();
    let volume = format!("{}:/d", dir.path().display());
    let flags = ["--cron", "* * * * *", "--keep-succeeded", "50", "-v", &volume];
    let it = make(&node, "minutely", &flags, "hostname >>/d/runs; sleep 3");
    let next = until("it says when it runs", || {
        status(&node, "minutely")["nextDue"].as_str().map(str::to_owned)
    });
    assert!(next.ends_with(":00Z"), "{next}");
    // It has written down that a run has begun, and its instance is not made yet.
    node.dies_while("services.make", || {
        within(Duration::from_secs(120), "its time has come", || (!node.is_to_die()).then_some(()));
    });
    let well = || (status(&node, "minutely")["succeeded"].as_u64()? > 0).then_some(());
    within_or(LONG, "the run ends well", well, || everything(&node, "minutely"));
    node.ok(&["service", "pause", "minutely"]);
    until("it is suspended, and nothing runs", || {
        let status = status(&node, "minutely");
        let still = status["runs"].as_array().is_none_or(Vec::is_empty);
        (status["reason"]["code"] == "Suspended" && still).then_some(())
    });
    // Minutes may have passed meanwhile: each has one run, and each run one process.
    let all: Value =
        serde_json::from_str(&node.ok(&["service", "ps", "minutely", "-o", "json"])).unwrap();
    let of = |label: &str| {
        let values = all.as_array().unwrap().iter();
        values.map(|it| it["meta"]["labels"][label].to_string()).collect::<BTreeSet<_>>()
    };
    let dues = of("io.monohull.service.due");
    let begun = status(&node, "minutely")["begun"].as_u64().unwrap();
    let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap().lines().count();
    assert_eq!((dues.len(), runs), (usize::try_from(begun).unwrap(), dues.len()), "{all}");
    assert!(dues.contains(&format!("{next:?}")), "{next} {dues:?}");
    let bad = node.hull(&["service", "create", "--name", "bad", "--cron", "61 * * * *", "busybox"]);
    assert!(bad.code != 0 && bad.stderr.contains("no times to run at"), "{}", bad.stderr);
    drop(it);
}

#[test]
fn what_was_to_go_goes_also_when_the_platform_dies_before() {
    let Some(node) = mortal() else { return };
    let dir = tempfile::tempdir().unwrap();
    let volume = format!("{}:/d", dir.path().display());
    let flags = ["--job", "--completions", "2", "--at-once", "2", "--retries", "0", "-v", &volume];
    let script = "mkdir /d/first 2>/dev/null && until test -e /d/fail; do usleep 50000; done && exit 1; \
                  trap 'exit 0' TERM; while :; do usleep 50000; done";
    let it = make(&node, "given-up", &flags, script);
    let tell = || everything(&node, "given-up");
    let both = || (status(&node, "given-up")["running"] == 2).then_some(());
    within_or(LONG, "both run", both, tell);
    // The one that fails has the job given up, and the other one ended.
    node.dies_while("services.remove", || std::fs::write(dir.path().join("fail"), "").unwrap());
    assert_eq!(status(&node, "given-up")["phase"], "failed");
    let gone = || (names(&node, "given-up").len() == 1).then_some(());
    within_or(LONG, "the other one is gone", gone, tell);
    drop(it);
}
