//! What Docker's clients start: from which image, and what starts it again.

use serde_json::{Value, json};
use testing::docker::{Docker, Reply};
use testing::node::{Node, until};

use super::process::able;

/// A node of one's own, with a busybox: these tests move names of images and restart the daemon.
fn own() -> Option<Node> {
    let node = able().then(|| Node::start().unwrap())?;
    node.ok(&["image", "pull", "-q", "busybox"]);
    Some(node)
}

fn create(docker: &Docker<'_>, name: &str, body: &Value) -> String {
    let made = docker.post_json(&format!("/containers/create?name={name}"), body);
    assert_eq!(made.status, 201, "{}", made.message());
    made.json()["Id"].as_str().unwrap().to_owned()
}

fn good(reply: &Reply) {
    assert!((200..300).contains(&reply.status), "{}: {}", reply.status, reply.message());
}

fn seen(docker: &Docker<'_>, name: &str, pointer: &str) -> Value {
    let all = docker.get(&format!("/containers/{name}/json")).json();
    all.pointer(pointer).cloned().unwrap_or_default()
}

fn await_state(docker: &Docker<'_>, name: &str, state: &str) {
    let what = format!("{name} is {state}");
    until(&what, || (seen(docker, name, "/State/Status") == state).then_some(()));
}

#[test]
fn a_container_starts_from_the_image_it_was_made_from() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    good(&docker.post("/images/busybox/tag?repo=app&tag=1"));
    let old = docker.get("/images/app:1/json").json()["Id"].clone();
    let told = json!({ "Image": "app:1", "Cmd": ["sh", "-c", "ls /new; sleep 600"] });
    create(&docker, "made", &told);
    // The name comes to stand for another, which has the file.
    create(&docker, "next", &json!({ "Image": "busybox", "Cmd": ["touch", "/new"] }));
    good(&docker.post("/containers/next/start"));
    await_state(&docker, "next", "exited");
    good(&docker.post("/commit?container=next&repo=app&tag=1"));
    assert_ne!(docker.get("/images/app:1/json").json()["Id"], old);
    good(&docker.delete("/images/busybox?force=1"));
    good(&docker.delete("/containers/next"));
    good(&docker.post("/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D"));
    assert_eq!(docker.get(&format!("/images/{}/json", old.as_str().unwrap())).status, 200);
    good(&docker.post("/containers/made/start"));
    await_state(&docker, "made", "running");
    assert_eq!(seen(&docker, "made", "/Image"), old);
    let log = || {
        let logs = docker.get("/containers/made/logs?stdout=1&stderr=1");
        String::from_utf8_lossy(&logs.body).into_owned()
    };
    until("the old one has no such file", || log().contains("No such file").then_some(()));
    node.ok(&["rm", "-f", "made"]);
}

#[test]
fn a_signal_that_ends_a_container_ends_it_for_good() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let script = "trap 'exit 3' TERM; trap : HUP; echo up; while :; do sleep 0.1; done";
    let body = |signal: Option<&str>| {
        json!({ "Image": "busybox", "Cmd": ["sh", "-c", script], "StopSignal": signal,
            "HostConfig": { "RestartPolicy": { "Name": "always" } } })
    };
    for (name, signal) in [("plain", None), ("own", Some("SIGHUP"))] {
        create(&docker, name, &body(signal));
        good(&docker.post(&format!("/containers/{name}/start")));
        let up = || docker.get(&format!("/containers/{name}/logs?stdout=1")).body.len() > 8;
        until("the traps are set", || up().then_some(()));
        good(&docker.post(&format!("/containers/{name}/kill?signal=TERM")));
    }
    await_state(&docker, "plain", "exited");
    assert_eq!(seen(&docker, "plain", "/State/ExitCode"), 3);
    assert_eq!(seen(&docker, "plain", "/RestartCount"), 0);
    // One with a signal of its own to stop by takes others as a matter of its own.
    let again = || seen(&docker, "own", "/RestartCount") == 1;
    until("it is started again", || again().then_some(()));
    good(&docker.post("/containers/own/stop?t=0"));
    node.kill_daemon().unwrap();
    node.up();
    node.await_ready();
    await_state(&docker, "plain", "running");
    await_state(&docker, "own", "running");
    node.ok(&["rm", "-f", "plain", "own"]);
}

#[test]
fn a_start_that_failed_is_not_tried_again_by_the_policy() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let body = json!({ "Image": "busybox", "Cmd": ["nosuch"],
        "HostConfig": { "RestartPolicy": { "Name": "always" } } });
    let id = create(&docker, "broken", &body);
    let refused = docker.post("/containers/broken/start");
    assert_eq!(refused.status, 400, "{}", refused.message());
    assert_eq!(node.field(&id, "/spec/run"), json!("stopped"));
    assert_eq!(seen(&docker, "broken", "/State/Status"), "created");
    assert_eq!(seen(&docker, "broken", "/State/ExitCode"), 127);
    node.ok(&["rm", "broken"]);
}

/// Whoever runs a container that goes at its end waits until it is gone, also where it never began: refused at
/// once, or without a place.
#[test]
fn what_goes_at_its_end_goes_when_it_cannot_begin() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let told =
        |host: Value| json!({ "Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": host });
    node.ok(&["project", "update", "default", "--quota", "volumes=0"]);
    for (name, host) in [
        ("volume", json!({ "AutoRemove": true, "Binds": ["data:/data"] })),
        ("memory", json!({ "AutoRemove": true, "MemoryReservation": 1_u64 << 50 })),
    ] {
        create(&docker, name, &told(host));
        let refused = docker.post(&format!("/containers/{name}/start"));
        assert_eq!(refused.status, 500, "{}", refused.message());
        until("it is gone", || {
            let seen = docker.get(&format!("/containers/{name}/json"));
            (seen.status == 404).then_some(())
        });
    }
}

#[test]
fn an_image_made_of_a_container_is_as_the_container_was() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    create(&docker, "first", &json!({ "Image": "busybox", "Cmd": ["true"] }));
    good(&docker.post("/commit?container=first&repo=entry&changes=ENTRYPOINT%20%5B%22echo%22%5D"));
    let entry = docker.get("/images/entry/json").json();
    assert_eq!(entry["Config"]["Entrypoint"], json!(["echo"]));
    // `docker run --entrypoint "" entry true`
    let body = json!({ "Image": "entry", "Entrypoint": [""], "Cmd": ["true"] });
    create(&docker, "bare", &body);
    good(&docker.post("/commit?container=bare&repo=bare"));
    let bare = docker.get("/images/bare/json").json();
    assert_eq!(bare["Config"]["Entrypoint"], Value::Null, "{}", bare["Config"]);
    assert_eq!(bare["Config"]["Cmd"], json!(["true"]));
    assert!(bare["Config"]["Env"][0].as_str().unwrap().starts_with("PATH="));
    node.ok(&["rm", "first", "bare"]);
}
