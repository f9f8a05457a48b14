//! Ports, names and who reaches whom.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use testing::node::until;

use super::process::{Named, begin, node, sh};

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// Says a word to each that comes to port 80.
fn serve(word: &str) -> String {
    format!("exec nc -ll -p 80 -e echo {word}")
}

/// Asks on port 80 until the other is there, ten seconds at most. Each try has its end: a `timeout`
/// around a loop would be the container's first process, which no signal from inside ends.
fn hear(host: &str) -> String {
    format!(
        "i=0; until nc -w 2 {host} 80 </dev/null 2>/dev/null; do \
         i=$((i+1)); [ $i -lt 200 ] || exit 1; usleep 50000; done"
    )
}

#[test]
fn a_published_port_leads_inside() {
    let Some(node) = node() else { return };
    let port = free_port();
    let _it = Named(node, "web");
    node.ok(&["run", "-d", "--name", "web", "-p", &format!("{port}:80"), "nginx"]);
    let answer = until("nginx answers", || ask(port));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_port_that_is_taken() {
    let Some(node) = node() else { return };
    let port = free_port();
    let publish = format!("{port}:80");
    let _it = begin(node, "first", &["-p", &publish], "exec sleep 600");
    let _other = Named(node, "second");
    let refused = node.hull(&["run", "-d", "--name", "second", "-p", &publish, "busybox"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains(&port.to_string()), "{}", refused.stderr);
}

#[test]
fn instances_find_one_another() {
    let Some(node) = node() else { return };
    let _it = begin(node, "found", &["--network-alias", "also-found"], &serve("hello"));
    for name in ["found", "also-found"] {
        assert_eq!(sh(node, &[], &hear(name)), "hello");
    }
}

#[test]
fn a_name_that_nobody_has() {
    let Some(node) = node() else { return };
    let run = node.hull(&["run", "--rm", "busybox", "timeout", "20", "nslookup", "nobody"]);
    assert_eq!(run.code, 1, "{}{}", run.text(), run.stderr);
}

#[test]
fn networks_are_apart() {
    let Some(node) = node() else { return };
    if !node.knows("network") {
        return;
    }
    node.ok(&["network", "create", "apart"]);
    let it = begin(node, "elsewhere", &["--network", "apart"], &serve("hello"));
    let address = node.field("elsewhere", "/spec/placement/interfaces/0/ipv4");
    let address = address.as_str().unwrap().split('/').next().unwrap().to_owned();
    // Whoever is in the same network shows that it is there to be heard.
    assert_eq!(sh(node, &["--network", "apart"], &hear(&address)), "hello");
    let script = format!("nc -w 2 {address} 80 </dev/null 2>/dev/null || echo apart");
    assert_eq!(sh(node, &[], &script), "apart");
    drop(it);
    node.ok(&["network", "rm", "apart"]);
}

#[test]
fn no_network_but_loopback() {
    let Some(node) = node() else { return };
    assert_eq!(sh(node, &["--network", "none"], "ls /sys/class/net"), "lo");
}

#[test]
fn the_network_of_the_host() {
    let Some(node) = node() else { return };
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        sh(node, &["--network", "host"], "readlink /proc/self/ns/net"),
        host.to_str().unwrap()
    );
}

#[test]
fn the_network_of_another_instance() {
    let Some(node) = node() else { return };
    let _it = begin(node, "shares", &[], "exec sleep 600");
    let its = node.ok(&["exec", "shares", "readlink", "/proc/self/ns/net"]);
    assert_eq!(sh(node, &["--network", "instance:shares"], "readlink /proc/self/ns/net"), its);
}
