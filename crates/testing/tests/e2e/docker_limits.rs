//! What Docker's clients ask for that takes something away: logs that are not kept, roots that are not
//! written to, addresses that nobody gets, networks that go.

use serde_json::{Value, json};
use testing::docker::{Docker, Reply};
use testing::node::{Node, until};

use super::process::{Named, able, node};

fn ready() -> Option<&'static Node> {
    let node = able().then(node).flatten()?;
    node.ok(&["image", "pull", "-q", "busybox"]);
    Some(node)
}

fn create(docker: &Docker<'_>, name: &str, body: &Value) -> Reply {
    docker.post_json(&format!("/containers/create?name={name}"), body)
}

fn begin(docker: &Docker<'_>, name: &str, body: &Value) {
    good(&create(docker, name, body));
    good(&docker.post(&format!("/containers/{name}/start")));
}

fn good(reply: &Reply) {
    assert!((200..300).contains(&reply.status), "{}: {}", reply.status, reply.message());
}

fn refused(reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status, status, "{}", reply.message());
    assert!(reply.message().contains(words), "{}", reply.message());
}

/// Whether a word is in a file below a directory.
fn stands_in(directory: &std::path::Path, word: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => stands_in(&entry.path(), word),
        _ => std::fs::read(entry.path())
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(word)),
    })
}

#[test]
fn what_is_not_to_be_logged_reaches_who_is_attached_alone() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "unlogged");
    let docker = Docker::of(node);
    let body = json!({ "Image": "busybox", "Cmd": ["echo", "a-word-for-nobody"],
        "HostConfig": { "LogConfig": { "Type": "none" } } });
    good(&create(&docker, "unlogged", &body));
    let heard = std::thread::scope(|scope| {
        let attach = || docker.post("/containers/unlogged/attach?stream=1&stdout=1&stderr=1");
        let heard = scope.spawn(attach);
        // Who attaches late hears what is in memory still.
        good(&docker.post("/containers/unlogged/start"));
        heard.join().unwrap()
    });
    assert!(String::from_utf8_lossy(&heard.body).contains("a-word-for-nobody"), "{heard:?}");
    let logs = docker.get("/containers/unlogged/logs?stdout=1");
    refused(&logs, 501, "configured logging driver does not support reading");
    let own = node.hull(&["logs", "unlogged"]);
    assert!(own.code != 0 && own.stderr.contains("is not kept"), "{}", own.text());
    assert!(!stands_in(&node.root().join("var/lib/hull/logs"), "a-word-for-nobody"));
}

#[test]
fn a_further_process_is_known_by_its_id() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "numbered");
    let docker = Docker::of(node);
    begin(&docker, "numbered", &json!({ "Image": "busybox", "Cmd": ["sleep", "600"] }));
    let asked = json!({ "Cmd": ["sleep", "4242"] });
    let made = docker.post_json("/containers/numbered/exec", &asked).json();
    let id = made["Id"].as_str().unwrap();
    good(&docker.post_json(&format!("/exec/{id}/start"), &json!({ "Detach": true })));
    let pid = docker.get(&format!("/exec/{id}/json")).json()["Pid"].as_u64().unwrap();
    let words = || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    until("it is that process", || (words() == b"sleep\x004242\x00").then_some(()));
    for (command, code, words) in
        [("nosuch", 127, "executable file not found in $PATH"), ("/etc", 126, "exec: \"/etc\": ")]
    {
        let asked = json!({ "Cmd": [command], "AttachStdout": true });
        let made = docker.post_json("/containers/numbered/exec", &asked).json();
        let id = made["Id"].as_str().unwrap();
        let told = docker.post_json(&format!("/exec/{id}/start"), &json!({}));
        let told = String::from_utf8_lossy(&told.body).into_owned();
        assert!(told.contains(words), "{command}: {told}");
        let exit = || docker.get(&format!("/exec/{id}/json")).json()["ExitCode"] == code;
        until("its code", || exit().then_some(()));
    }
    let asked = json!({ "Cmd": ["true"], "User": "joe", "AttachStdout": true });
    let made = docker.post_json("/containers/numbered/exec", &asked).json();
    let id = made["Id"].as_str().unwrap();
    let told = docker.post_json(&format!("/exec/{id}/start"), &json!({}));
    let told = String::from_utf8_lossy(&told.body).into_owned();
    assert!(told.contains("unable to find user joe: no matching entries in passwd file"), "{told}");
}

#[test]
fn no_way_leads_into_a_root_that_is_read_only() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "fixed");
    let docker = Docker::of(node);
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", "ln -s /etc /data/link; sleep 600"],
        "HostConfig": { "ReadonlyRootfs": true, "Mounts": [
            { "Type": "volume", "Target": "/data" },
            { "Type": "volume", "Target": "/data/set", "ReadOnly": true },
        ] } });
    begin(&docker, "fixed", &body);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    archive.append_data(&mut header, "x", &b"x"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let put = |path: &str| {
        let path = format!("/containers/fixed/archive?path={path}");
        docker.call("PUT", &path, &["Content-Type: application/x-tar"], &archive).unwrap()
    };
    until("the link is made", || (put("/data/link").status != 404).then_some(()));
    for path in ["/etc", "/data/../etc", "/data/link", "/"] {
        refused(&put(path), 400, "container rootfs is marked read-only");
    }
    refused(&put("/data/set"), 400, "mounted volume is marked read-only");
    good(&put("/data"));
    good(&put("/data/../data"));
}

#[test]
fn addresses_are_set_aside() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "aside-a");
    let docker = Docker::of(node);
    let pool = json!({ "Subnet": "198.19.77.0/29",
        "AuxiliaryAddresses": { "router": "198.19.77.2", "printer": "198.19.77.3" } });
    let network = json!({ "Name": "aside", "IPAM": { "Config": [pool] } });
    good(&docker.post_json("/networks/create", &network));
    let seen = docker.get("/networks/aside").json();
    let named = &seen["IPAM"]["Config"][0]["AuxiliaryAddresses"];
    assert_eq!(*named, json!({ "router": "198.19.77.2", "printer": "198.19.77.3" }));
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "600"],
        "HostConfig": { "NetworkMode": "aside" } });
    begin(&docker, "aside-a", &body);
    let address = docker.get("/containers/aside-a/json").json();
    let address = &address["NetworkSettings"]["Networks"]["aside"]["IPAddress"];
    assert_eq!(*address, "198.19.77.4");
    let mut fixed = body.clone();
    fixed["NetworkingConfig"] = json!({ "EndpointsConfig": { "aside": { "IPAMConfig": { "IPv4Address": "198.19.77.3" } } } });
    refused(&create(&docker, "aside-b", &fixed), 400, "198.19.77.3");
    node.ok(&["rm", "-fv", "aside-a"]);
    good(&docker.delete("/networks/aside"));
}

#[test]
fn a_network_goes_while_its_containers_are_stopped() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "parted");
    let docker = Docker::of(node);
    good(&docker.post_json("/networks/create", &json!({ "Name": "going" })));
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "600"],
        "HostConfig": { "NetworkMode": "going" } });
    begin(&docker, "parted", &body);
    refused(&docker.delete("/networks/going"), 403, "has active endpoints (name:\"parted\"");
    good(&docker.post("/containers/parted/stop?t=0"));
    good(&docker.delete("/networks/going"));
    until("it is gone", || (docker.get("/networks/going").status == 404).then_some(()));
    refused(&docker.post("/containers/parted/start"), 404, "network going not found");
    good(&docker.post_json("/networks/create", &json!({ "Name": "going" })));
    good(&docker.post("/containers/parted/start"));
    node.ok(&["rm", "-fv", "parted"]);
    good(&docker.delete("/networks/going"));
}
