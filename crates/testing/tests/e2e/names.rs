//! Names of instances, while the platform is there and while it is not.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testing::node::{Node, kill, until};

use super::process::{able, begin, node, sh};

fn own() -> Option<Node> {
    able().then(|| Node::start().unwrap())
}

const WAITS: &str = "exec sleep 600";

/// What an instance's resolver is told of a name, by nslookup.
fn look_up(node: &Node, network: &str, kind: &str, name: &str) -> String {
    let script = format!("nslookup -type={kind} {name}");
    let flags = ["run", "--rm", "--network", network, "busybox", "sh", "-c", &script];
    node.hull(&flags).text()
}

fn address(node: &Node, name: &str, family: &str) -> String {
    let net = node.field(name, &format!("/spec/placement/interfaces/0/{family}"));
    net.as_str().unwrap().split('/').next().unwrap().to_owned()
}

#[test]
fn every_form_of_a_name() {
    let Some(node) = node() else { return };
    node.ok(&["network", "create", "--ipv6", "forms"]);
    let flags = ["--network", "forms:alias=also", "--hostname", "ship"];
    let it = begin(node, "named", &flags, WAITS);
    let (four, six) = (address(node, "named", "ipv4"), address(node, "named", "ipv6"));
    let id = node.field("named", "/meta/id").as_str().unwrap()[..12].to_owned();
    for name in ["named", "also", "ship", &id, "named.forms", "named.default.hull.internal"] {
        let said = look_up(node, "forms", "a", name);
        assert!(said.contains(&four) && !said.contains(&six), "{name}: {said}");
    }
    let said = look_up(node, "forms", "aaaa", "named");
    assert!(said.contains(&six) && !said.contains(&four), "{said}");
    let said = sh(node, &["--network", "forms"], &format!("nslookup {four}"));
    assert!(said.contains("named.default.hull.internal"), "{said}");
    // From another network it is nobody.
    let said = look_up(node, "default", "a", "named.default.hull.internal");
    assert!(said.contains("NXDOMAIN") && !said.contains(&four), "{said}");
    drop(it);
    let gone = |said: &String| said.contains("NXDOMAIN");
    until("the name goes with its instance", || {
        Some(look_up(node, "forms", "a", "named.default.hull.internal")).filter(gone)
    });
    node.ok(&["network", "rm", "forms"]);
}

#[test]
fn several_answer_to_one_alias() {
    let Some(node) = node() else { return };
    node.ok(&["network", "create", "many"]);
    let flags = ["--network", "many:alias=service"];
    let its = ["many-1", "many-2", "many-3"].map(|name| begin(node, name, &flags, WAITS));
    let said = look_up(node, "many", "a", "service");
    for it in &its {
        assert!(said.contains(&address(node, it.1, "ipv4")), "{said}");
    }
    drop(its);
    node.ok(&["network", "rm", "many"]);
}

#[test]
fn files_of_the_resolver() {
    let Some(node) = node() else { return };
    let flags = [
        ["--dns", "192.0.2.53"],
        ["--dns-search", "corp.example"],
        ["--dns-option", "ndots:2"],
        ["--add-host", "far:192.0.2.8"],
        ["--add-host", "up:host-gateway"],
        ["--hostname", "ship"],
        ["--domainname", "sea.example"],
    ];
    let text = sh(node, &flags.concat(), "cat /etc/resolv.conf /etc/hosts");
    let gateway = text.lines().find_map(|line| line.strip_prefix("nameserver ")).unwrap();
    assert!(gateway.parse::<IpAddr>().is_ok(), "{text}");
    for line in [
        "search default.hull.internal corp.example",
        "options ndots:2",
        "192.0.2.8\tfar",
        &format!("{gateway}\tup"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line:?} is missing in\n{text}");
    }
    assert!(text.contains("\tship.sea.example ship"), "{text}");
}

/// The name server's process.
fn server(node: &Node) -> i32 {
    let file = node.root().join("run/hull/names/server.pid");
    until("a name server runs", || std::fs::read_to_string(&file).ok()?.trim().parse().ok())
}

/// Asks for a name from inside an instance, again and again; a question has its answer in time, or
/// this fails. One packet each: nothing is asked twice.
struct Asking {
    stop: Arc<AtomicBool>,
    asking: std::thread::JoinHandle<u32>,
}

impl Asking {
    fn begin(node: &Node, from: &str, of: &str) -> Self {
        let gateway = node.ok(&["exec", from, "sed", "-n", "s/nameserver //p", "/etc/resolv.conf"]);
        let gateway: IpAddr = gateway.lines().next().unwrap().parse().unwrap();
        let socket = node.inside(from, || UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect((gateway, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, question) = (stop.clone(), question(of));
        let begun = Instant::now();
        let asking = std::thread::spawn(move || {
            let (mut number, mut buffer) = (0_u16, [0; 512]);
            while !ends.load(Ordering::Relaxed) {
                number += 1;
                let bytes = [&number.to_be_bytes()[..], &question].concat();
                socket.send(&bytes).unwrap();
                let length = match socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) => panic!("question {number} at {:?}: {error}", begun.elapsed()),
                };
                let answers = u16::from_be_bytes([buffer[6], buffer[7]]);
                assert_eq!(buffer[..2], number.to_be_bytes(), "the answer to another question");
                assert!(length > bytes.len() && answers == 1, "question {number} has no answer");
                std::thread::sleep(Duration::from_millis(2));
            }
            u32::from(number)
        });
        Self { stop, asking }
    }

    /// How many questions had their answer.
    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.join().unwrap()
    }
}

/// A question for an IPv4 address (RFC 1035, section 4.1), without its number.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

#[test]
fn names_are_answered_while_the_platform_is_gone() {
    let Some(node) = own() else { return };
    let _asker = begin(&node, "asker", &[], WAITS);
    let _found = begin(&node, "found", &[], WAITS);
    let before = server(&node);
    let asking = Asking::begin(&node, "asker", "found");
    for _ in 0..3 {
        node.kill_daemon().unwrap();
        node.await_ready();
    }
    node.ok(&["down"]);
    // A program's own look-up, with nobody there but the name server.
    let pid = std::fs::read_to_string(node.root().join("run/hull/names/server.pid")).unwrap();
    assert_eq!(pid.trim(), before.to_string());
    node.ok(&["up"]);
    assert_eq!(server(&node), before, "it was found again");
    // It still learns.
    let _late = begin(&node, "late", &[], WAITS);
    assert_eq!(sh(&node, &[], "nslookup -type=a late >/dev/null && echo known"), "known");
    assert!(asking.end() > 100);

    // Killed itself, it is back at once and knows everything.
    kill(before).unwrap();
    until("it is back", || {
        (node.hull(&["exec", "asker", "nslookup", "-type=a", "late"]).code == 0).then_some(())
    });
    assert_ne!(server(&node), before);
}

#[test]
fn an_upgrade_loses_no_question() {
    let Some(node) = own() else { return };
    let _asker = begin(&node, "asker", &[], WAITS);
    let _found = begin(&node, "found", &[], WAITS);
    let before = server(&node);
    let asking = Asking::begin(&node, "asker", "found");
    // Another file of the same program, as an upgrade puts in the old one's place.
    let other: PathBuf = node.root().join("hull");
    std::fs::copy(node.binary(), &other).unwrap();
    node.ok(&["down"]);
    let mut up = std::process::Command::new(&other);
    up.arg("--root").arg(node.root()).arg("up");
    assert_eq!(testing::node::finish(up, None).unwrap().code, 0);
    let end = || (!std::path::Path::new(&format!("/proc/{before}")).exists()).then_some(());
    until("the old server has left", end);
    assert_ne!(server(&node), before);
    assert!(asking.end() > 10);
}

#[test]
fn programs_that_know_dockers_address_find_names() {
    let Some(node) = own() else { return };
    let _found = begin(&node, "found", &[], WAITS);
    let address = address(&node, "found", "ipv4");
    let _asker = begin(&node, "asker", &[], WAITS);
    let ask = || node.hull(&["exec", "asker", "nslookup", "-type=a", "found", "127.0.0.11"]);
    let known = || Some(ask().text()).filter(|said| said.contains(&address));
    until("the name is known", known);
    // From the first moment of a program that has the port of name servers for itself.
    let script = "nc -l -p 53 & nslookup -type=a found 127.0.0.11; kill $!";
    let said = sh(&node, &[], script);
    assert!(said.contains(&address) && !said.contains("in use"), "{said}");
    // The server that takes another's place answers there too.
    kill(server(&node)).unwrap();
    until("it is back", known);
    let gateways = node.ok(&["exec", "asker", "cat", "/etc/resolv.conf"]);
    assert!(!gateways.contains("127.0.0.11"), "{gateways}");
}

/// What differs is told, not all: by a daemon and to a server that may both be others than a moment ago.
#[test]
fn changes_are_known_whichever_side_was_killed_between_them() {
    let Some(node) = own() else { return };
    let _asker = begin(&node, "asker", &[], WAITS);
    let knows = |name: &str| {
        // At Docker's address too, which is asked in a namespace of its own.
        ["", "127.0.0.11"].map(|at| {
            let words = ["exec", "asker", "nslookup", "-type=a", name, at];
            let words = if at.is_empty() { &words[..5] } else { &words[..] };
            node.hull(words).code == 0
        })
    };
    let all = |what: &str, there: &[&str], gone: &[&str]| {
        for name in there {
            until(&format!("{what}: {name} is known"), || (knows(name) == [true; 2]).then_some(()));
        }
        for name in gone {
            until(&format!("{what}: {name} is not"), || (knows(name) == [false; 2]).then_some(()));
        }
    };
    let start = |name: &str| node.ok(&["run", "-d", "--name", name, "busybox", "sleep", "999"]);
    let remove = |name: &str| node.ok(&["rm", "-f", name]);
    for name in ["one", "two", "three"] {
        start(name);
    }
    all("at first", &["one", "two", "three"], &[]);
    node.kill_daemon().unwrap();
    node.await_ready();
    remove("one");
    start("four");
    all("by another daemon", &["two", "three", "four"], &["one"]);
    kill(server(&node)).unwrap();
    remove("two");
    start("one");
    all("to another server", &["one", "three", "four"], &["two"]);
    // A namespace that is another, with the same name and address.
    node.ok(&["stop", "--time", "0", "asker"]);
    node.ok(&["start", "asker"]);
    all("from a new namespace", &["one", "three", "four"], &["two"]);
    kill(server(&node)).unwrap();
    node.kill_daemon().unwrap();
    node.await_ready();
    remove("three");
    all("after both", &["one", "four"], &["two", "three"]);
    node.ok(&["down"]);
    node.ok(&["up"]);
    start("five");
    all("after a stop", &["one", "four", "five"], &["two", "three"]);
}
