//! The audit log: what both doors write, and what becomes of clients that leave.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use serde_json::{Value, json};
use testing::docker::Docker;
use testing::node::{Node, until};

use super::process::{begin, node};

/// Entries whose path has this in it, oldest first: door, method, path and status.
fn entries(node: &Node, path: &str) -> Vec<(String, String, String, u64)> {
    let told = node.ok(&["audit", "--path", path, "-n", "1000", "-o", "json"]);
    let entries: Vec<Value> = serde_json::from_str(&told).unwrap();
    let entry = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap().to_owned();
        (text("door"), text("method"), text("path"), it["status"].as_u64().unwrap())
    };
    entries.iter().map(entry).collect()
}

#[test]
fn what_carries_data_out_is_written_at_both_doors() {
    let Some(node) = node() else { return };
    let _it = begin(node, "audited", &[], "exec sleep 600");
    let docker = Docker::of(node);
    node.ok(&["image", "tag", "busybox", "audited-image:1"]);
    let native = "/v1/projects/default/instances/audited";
    for words in [
        &["cp", "audited:/etc/passwd", "-"] as &[&str],
        &["export", "audited"],
        &["diff", "audited"],
        &["inspect", "audited"],
        &["image", "save", "audited-image:1"],
    ] {
        assert_eq!(node.hull(words).code, 0, "{words:?}");
    }
    for path in ["archive?path=/etc/passwd", "export", "changes", "json"] {
        assert_eq!(docker.get(&format!("/containers/audited/{path}")).status, 200, "{path}");
    }
    assert_eq!(docker.get("/images/audited-image:1/get").status, 200);
    let read = |path: &str| -> Vec<(String, String, String, u64)> {
        let all = entries(node, path).into_iter();
        all.filter(|(_, method, ..)| method == "GET").collect()
    };
    let line = |door: &str, path: &str| (door.to_owned(), "GET".to_owned(), path.to_owned(), 200);
    assert_eq!(
        read("audited"),
        [
            line("api", &format!("{native}/archive")),
            line("api", &format!("{native}/export")),
            line("docker", "/containers/audited/archive"),
            line("docker", "/containers/audited/export"),
            line("docker", "/images/audited-image:1/get"),
        ]
    );
    assert!(read("/v1/images/save").contains(&line("api", "/v1/images/save")));
    node.ok(&["image", "rm", "audited-image:1"]);
}

/// A registry that lets everybody wait. Told of each that comes.
fn mute() -> (String, mpsc::Receiver<std::net::TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (came, comers) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if came.send(stream).is_err() {
                return;
            }
        }
    });
    (address, comers)
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_a_line() {
    let Some(node) = node() else { return };
    let (registry, comers) = mute();
    let native = json!({ "registry": registry, "username": "u", "password": "p" });
    let docker = json!({ "serveraddress": registry, "username": "u", "password": "p" });
    for (door, socket, path, body) in [
        ("api", "api.sock", "/v1/images/login", native),
        ("docker", "docker.sock", "/auth", docker),
    ] {
        let left = || {
            let line = (door.to_owned(), "POST".to_owned(), path.to_owned(), 0);
            entries(node, path).into_iter().filter(|it| *it == line).count()
        };
        let before = left();
        let mut client = UnixStream::connect(node.root().join("run/hull").join(socket)).unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: hull\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(body.as_bytes()).unwrap();
        // It is being answered: the registry is asked.
        let asked = comers.recv_timeout(testing::node::PATIENCE).unwrap();
        drop(client);
        until("it is written", || (left() == before + 1).then_some(()));
        drop(asked);
    }
}
