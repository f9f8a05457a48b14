//! How services are reached: one address that leads to what is ready, ports, draining.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testing::node::{Node, until, within};

use super::process::{able, begin, node, sh};

/// A service that goes with the test.
struct Kept<'a>(&'a Node, &'a str);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.hull(&["service", "rm", self.1]);
    }
}

/// Says its host name to whoever connects to port 80, for as long as it has `/ok`.
const SERVER: &str = "touch /ok; exec nc -ll -p 80 -e hostname";

fn serve<'a>(node: &'a Node, name: &'a str, flags: &[&str], script: &str) -> Kept<'a> {
    let words = ["service", "create", "--name", name, "--stop-signal", "KILL"];
    node.ok(&[&words[..], flags, &["busybox", "sh", "-c", script]].concat());
    Kept(node, name)
}

fn show(node: &Node, name: &str) -> Value {
    serde_json::from_str(&node.ok(&["service", "show", name, "-o", "json"])).unwrap()
}

/// Who answered how often, of so many connections to a name and port from one client.
fn asked(node: &Node, at: &str, times: u32) -> BTreeMap<String, u32> {
    told(node, &[], &format!("nc -w 2 {at} </dev/null 2>/dev/null"), times)
}

/// What a command said how often, of so many times.
fn told(node: &Node, flags: &[&str], command: &str, times: u32) -> BTreeMap<String, u32> {
    let script = format!("for i in $(seq {times}); do {command} || echo refused; done");
    let mut answers = BTreeMap::new();
    for line in sh(node, flags, &script).lines() {
        *answers.entry(line.to_owned()).or_insert(0) += 1;
    }
    answers
}

#[test]
fn one_address_leads_to_all_that_are_ready() {
    let Some(node) = node() else { return };
    let health =
        ["--health-cmd", "test -e /ok", "--health-interval", "200ms", "--health-retries", "1"];
    let flags = [&["--replicas", "2", "-p", "80"][..], &health].concat();
    let _it = serve(node, "front", &flags, SERVER);
    let status = until("it has an address and a port", || {
        let status = show(node, "front")["status"].clone();
        (status["addresses"][0].is_object() && status["ports"][0]["host"].is_number())
            .then_some(status)
    });
    let address = status["addresses"][0]["addresses"][0].as_str().unwrap().to_owned();
    let told = until("its name stands for it", || {
        let told = node.hull(&["run", "--rm", "busybox", "nslookup", "front"]).text();
        told.contains(&address).then_some(told)
    });
    assert_eq!(told.matches("Name:\tfront").count(), 1, "{told}");
    let tasks = node.hull(&["run", "--rm", "busybox", "nslookup", "tasks.front"]).text();
    assert_eq!(tasks.matches("Name:\ttasks.front").count(), 2, "{tasks}");
    until("both answer in turn", || {
        let answers = asked(node, "front 80", 6);
        (answers.values().copied().collect::<Vec<_>>() == [3, 3]).then_some(())
    });
    let port = u16::try_from(status["ports"][0]["host"].as_u64().unwrap()).unwrap();
    let outside = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).ok()?;
        Some(heard.trim().to_owned())
    };
    let heard: Vec<_> = (0..4).map(|_| outside().unwrap_or_default()).collect();
    assert!(heard[0] == heard[2] && heard[1] == heard[3] && heard[0] != heard[1], "{heard:?}");
    // What is ill takes no new connections.
    node.ok(&["exec", "front-1", "rm", "/ok"]);
    let well = node.ok(&["exec", "front-2", "hostname"]);
    until("only one answers", || {
        let answers = asked(node, "front 80", 4);
        (answers.get(&well) == Some(&4)).then_some(())
    });
    node.ok(&["exec", "front-2", "rm", "/ok"]);
    until("who comes is refused, not left waiting", || {
        (asked(node, "front 80", 2).get("refused") == Some(&2)).then_some(())
    });
}

#[test]
fn a_client_comes_to_the_same_one() {
    let Some(node) = node() else { return };
    let _it = serve(node, "sticky", &["--replicas", "3", "--affinity", "client"], SERVER);
    for _ in 0..3 {
        let answers = until("somebody answers", || {
            let answers = asked(node, "sticky 80", 5);
            (!answers.contains_key("refused")).then_some(answers)
        });
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    node.ok(&["service", "update", "--endpoint-mode", "dnsrr", "sticky"]);
    until("its name stands for each of them", || {
        let told = node.hull(&["run", "--rm", "busybox", "nslookup", "sticky"]).text();
        (told.matches("Name:\tsticky").count() == 3).then_some(())
    });
    assert!(show(node, "sticky")["status"].get("addresses").is_none());
}

#[test]
fn what_is_to_end_drains_also_while_the_platform_dies() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let script = "nc -ll -p 81 -e hostname & exec nc -ll -p 80 -e cat";
    let it = serve(&node, "drains", &["--replicas", "2", "--drain", "15s"], script);
    until("both serve", || (asked(&node, "drains 81", 4).len() == 2).then_some(()));
    // Two clients, one with each: they hear what they say.
    let talk = "(while :; do echo on; usleep 100000; done) | nc drains 80 >/heard";
    let _one = begin(&node, "client-1", &[], talk);
    let _two = begin(&node, "client-2", &[], talk);
    let heard = |name: &str| {
        let lines = node.hull(&["exec", name, "wc", "-l", "/heard"]).text();
        lines.split_whitespace().next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0)
    };
    until("both clients are heard", || {
        (heard("client-1") > 0 && heard("client-2") > 0).then_some(())
    });
    let first = node.ok(&["exec", "drains-1", "hostname"]);
    node.ok(&["service", "scale", "-d", "drains=1"]);
    until("one of them leaves", || {
        show(&node, "drains")["status"]["leaving"][0].as_object().map(drop)
    });
    node.kill_daemon().unwrap();
    node.await_ready();
    let answers = until("new connections go to the other", || {
        let answers = asked(&node, "drains 81", 4);
        (answers.get(&first) == Some(&4)).then_some(answers)
    });
    assert!(node.inspect("drains-2").is_some(), "it still drains: {answers:?}");
    for client in ["client-1", "client-2"] {
        let before = heard(client);
        until("its connection goes on", || (heard(client) > before).then_some(()));
    }
    until("it is gone then", || node.inspect("drains-2").is_none().then_some(()));
    drop(it);
}

#[test]
fn a_port_that_somebody_has_is_told_of() {
    let Some(node) = node() else { return };
    let held = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = format!("{}:80", held.local_addr().unwrap().port());
    let _it = serve(node, "taken", &["-d", "-p", &port], SERVER);
    let name = node.ok(&["node", "ls", "-o", "name"]);
    until("the node says so", || {
        let shown = node.ok(&["node", "show", name.trim(), "-o", "json"]);
        let warnings = serde_json::from_str::<Value>(&shown).unwrap()["status"]["warnings"].clone();
        warnings.to_string().contains(port.split(':').next()?).then_some(())
    });
    let reason = |name: &str| show(node, name)["status"]["reason"].clone();
    let why = until("the service says so", || {
        let why = reason("taken");
        (why["code"] == "PortTaken").then_some(why)
    });
    assert!(why["message"].as_str().unwrap().contains(name.trim()), "{why}");
    let told = node.ok(&["explain", "service/taken"]);
    assert!(told.contains("PortTaken"), "{told}");
    // Two services cannot have one port, and the later one says whose it is.
    let _other = serve(node, "second", &["-d", "-p", &port], SERVER);
    let reason = until("it says who has it", || {
        let reason = reason("second");
        (reason["code"] == "PortTaken").then_some(reason)
    });
    assert!(reason["message"].as_str().unwrap().contains("taken"), "{reason}");
    drop(held);
    // The node looks again each minute.
    within(Duration::from_secs(150), "it is published once the port is free", || {
        show(node, "taken")["status"]["reason"].is_null().then_some(())
    });
}

/// Asks a server of HTTP for its page.
fn page(at: &str) -> String {
    format!("printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {at} 80 2>/dev/null | tail -n 1")
}

/// A network that goes with the test.
struct Network<'a>(&'a Node, &'a str);

impl Drop for Network<'_> {
    fn drop(&mut self) {
        self.0.hull(&["network", "rm", self.1]);
    }
}

#[test]
fn an_address_of_each_family() {
    let Some(node) = node() else { return };
    node.ok(&["network", "create", "--ipv6", "both"]);
    let _both = Network(node, "both");
    let flags = ["--replicas", "2", "--network", "both", "-p", "80"];
    let script = "mkdir /www; hostname >/www/page; exec httpd -f -p 80 -h /www";
    let _it = serve(node, "dual", &flags, script);
    let status = until("it has an address of each", || {
        let status = show(node, "dual")["status"].clone();
        (status["addresses"][0]["addresses"].as_array()?.len() == 2).then_some(status)
    });
    let addresses = status["addresses"][0]["addresses"].as_array().unwrap();
    // The host never sends from a service's address (RFC 4862, section 5.5.4).
    let six = addresses.iter().filter_map(Value::as_str).find(|it| it.contains(':')).unwrap();
    let shown = Command::new("ip").args(["-6", "addr", "show", "to", six]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(six) && shown.contains("deprecated"), "{shown}");
    for address in addresses.iter().filter_map(Value::as_str) {
        until(&format!("both answer at {address} in turn"), || {
            let answers = told(node, &["--network", "both"], &page(address), 4);
            (answers.values().copied().collect::<Vec<_>>() == [2, 2]).then_some(())
        });
    }
    let port = status["ports"][0]["host"].to_string();
    for words in [["ps"].as_slice(), &["service", "ls"]] {
        let listed = node.ok(words);
        let shows = |line: &str| line.starts_with("dual") && line.contains(&format!("{port}->80"));
        assert!(listed.lines().any(shows), "{port} {listed}");
    }
}

#[test]
fn machines_share_an_address() {
    let Some(node) = node() else { return };
    let words = ["service", "create", "-d", "--name", "guests", "--replicas", "2"];
    let small = ["--memory", "192m", "--health-http", "80/page", "--health-interval", "2s"];
    node.ok(&[&words[..], &small, &["hull-tiny"]].concat());
    let _it = Kept(node, "guests");
    for name in ["guests-1", "guests-2"] {
        within(Duration::from_secs(240), "the guest says who it is", || {
            let told = node.hull(&["exec", name, "sh", "-c", "hostname >/www/page"]);
            (told.code == 0).then_some(())
        });
    }
    within(Duration::from_secs(120), "both are healthy", || {
        (show(node, "guests")["status"]["ready"] == 2).then_some(())
    });
    within(Duration::from_secs(120), "both guests answer at the one address", || {
        let answers = told(node, &[], &page("guests"), 4);
        (answers.values().copied().collect::<Vec<_>>() == [2, 2]).then_some(())
    });
}
