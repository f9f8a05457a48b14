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

/// Ports in a row that nothing listens on.
fn free_row(count: u16) -> u16 {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let ends = |first: u16| first.checked_add(count);
    (0..100)
        .map(|_| free_port())
        .find(|first| ends(*first).is_some_and(|end| (*first..end).all(free)))
        .unwrap()
}

#[test]
fn ports_by_range_by_address_and_by_chance() {
    let Some(node) = node() else { return };
    let (row, own) = (free_row(3), free_port());
    let range = format!("{row}-{}:90-92", row + 2);
    let address = format!("127.0.0.1:{own}:80");
    let _it = Named(node, "ports");
    let flags = ["-p", &range, "-p", &address, "-p", "80"];
    node.ok(&[&["run", "-d", "--name", "ports"], &flags[..], &["nginx"]].concat());
    let ports = node.field("ports", "/spec/placement/ports");
    let host = |target: u64, bound: bool| {
        let fits = |port: &&serde_json::Value| {
            port["target"] == target && port["address"].is_string() == bound
        };
        ports.as_array().unwrap().iter().find(fits).unwrap()["host"].as_u64().unwrap()
    };
    for (target, port) in (90..).zip(row..row + 3) {
        assert_eq!(host(target, false), u64::from(port), "{ports}");
    }
    assert_eq!(host(80, true), u64::from(own));
    for port in [own, u16::try_from(host(80, false)).unwrap()] {
        until("nginx answers", || ask(port));
    }
}

#[test]
fn a_datagram_is_answered() {
    let Some(node) = node() else { return };
    let port = free_port();
    let publish = format!("{port}:7/udp");
    let _it = Named(node, "echo");
    let image = "hull-test/tools";
    node.ok(&["run", "-d", "--name", "echo", "-p", &publish, image, "workload", "udp", "7"]);
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let answer = until("it is sent back", || {
        // Nobody listens yet: the next try.
        let _ = socket.send_to(b"ping", (Ipv4Addr::LOCALHOST, port));
        let mut answer = [0; 16];
        socket.recv(&mut answer).ok().map(|count| answer[..count].to_vec())
    });
    assert_eq!(answer, b"ping");
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
    // Its name, too, unless another is given.
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().unwrap();
    let asked = "hostname; cat /etc/hostname";
    assert_eq!(sh(node, &["--network", "host"], asked), format!("{name}\n{name}"));
    let own = ["--network", "host", "--hostname", "own"];
    assert_eq!(sh(node, &own, "hostname"), "own");
}

#[test]
fn the_network_of_another_instance() {
    let Some(node) = node() else { return };
    let _it = begin(node, "shares", &[], "exec sleep 600");
    let its = node.ok(&["exec", "shares", "readlink", "/proc/self/ns/net"]);
    assert_eq!(sh(node, &["--network", "instance:shares"], "readlink /proc/self/ns/net"), its);
}

/// Interfaces of an instance but loopback, with their IPv4 addresses.
fn interfaces(node: &testing::node::Node, name: &str) -> String {
    let script = "ip -o -4 addr | awk '$2 != \"lo\" {print $2, $4}'; ip route | grep default";
    node.ok(&["exec", name, "sh", "-c", script])
}

#[test]
fn networks_are_joined_and_left_while_it_runs() {
    let Some(node) = node() else { return };
    node.ok(&["network", "create", "--subnet", "198.18.77.0/24", "joined"]);
    let port = free_port();
    let it = begin(node, "joins", &["-p", &format!("{port}:80")], &serve("hello"));
    let pid = node.field("joins", "/status/containers/0/pid");
    let before = interfaces(node, "joins");
    assert_eq!(before.matches("eth").count(), 2, "one, and the route: {before}");

    let words =
        ["network", "connect", "--ip", "198.18.77.9", "--alias", "guest", "joined", "joins"];
    node.ok(&words);
    let both = interfaces(node, "joins");
    assert!(both.contains("eth1 198.18.77.9/24"), "{both}");
    assert!(both.contains("dev eth0"), "the first one carries the route: {both}");
    for name in ["joins", "guest", "198.18.77.9"] {
        assert_eq!(sh(node, &["--network", "joined"], &hear(name)), "hello", "{name}");
    }
    let hosts = node.ok(&["exec", "joins", "cat", "/etc/hosts"]);
    assert!(hosts.contains("198.18.77.9"), "{hosts}");
    let again = node.hull(&words);
    assert!(again.code == 4 && again.stderr.contains("joined to network"), "{}", again.stderr);
    let used = node.hull(&["network", "rm", "joined"]);
    assert!(used.code == 4 && used.stderr.contains("joins"), "{}", used.stderr);

    // The other takes over the route and the port; names are the network's that are left.
    node.ok(&["network", "disconnect", "default", "joins"]);
    let left = interfaces(node, "joins");
    assert!(left.contains("eth1 198.18.77.9/24") && !left.contains("eth0"), "{left}");
    assert!(left.contains("via 198.18.77.1 dev eth1"), "{left}");
    until("its port leads to what is left", || ask(port).filter(|it| it.contains("hello")));
    let gone = node.hull(&["run", "--rm", "busybox", "nslookup", "joins"]);
    assert_ne!(gone.code, 0, "its name is answered where it is not: {}", gone.text());
    let none = node.hull(&["network", "disconnect", "default", "joins"]);
    assert_eq!(none.code, 3, "{}", none.stderr);

    // A name that is free again is taken first, and what is there keeps its own.
    node.ok(&["network", "connect", "default", "joins"]);
    let back = interfaces(node, "joins");
    assert!(back.contains("eth0 ") && back.contains("via 198.18.77.1 dev eth1"), "{back}");
    assert_eq!(node.field("joins", "/status/containers/0/pid"), pid, "it ran all along");
    let events = node.ok(&["events", "--since", "10m", "--filter", "object=joined"]);
    assert!(events.contains("connect") && events.contains("joins"), "{events}");
    drop(it);
    node.ok(&["network", "rm", "joined"]);
}

#[test]
fn networks_are_joined_and_left_while_it_is_stopped() {
    let Some(node) = node() else { return };
    node.ok(&["network", "create", "later"]);
    let it = begin(node, "rests", &["--network", "none"], "exec sleep 600");
    node.ok(&["network", "connect", "default", "rests"]);
    assert!(interfaces(node, "rests").contains("eth0"));
    node.ok(&["stop", "-t", "0", "rests"]);
    node.ok(&["network", "connect", "later", "rests"]);
    node.ok(&["network", "disconnect", "default", "rests"]);
    node.ok(&["start", "rests"]);
    let seen = interfaces(node, "rests");
    assert!(seen.contains("eth1 ") && !seen.contains("eth0"), "{seen}");
    node.ok(&["network", "disconnect", "later", "rests"]);
    assert_eq!(node.ok(&["exec", "rests", "ls", "/sys/class/net"]), "lo");
    for (network, code) in [("no-such-network", 3), ("default", 0)] {
        let joined = node.hull(&["network", "connect", "--plan", network, "rests"]);
        assert_eq!(joined.code, code, "{network}: {}", joined.stderr);
    }
    assert_eq!(node.ok(&["exec", "rests", "ls", "/sys/class/net"]), "lo", "planned, not done");
    let _host = begin(node, "of-host", &["--network", "host"], "exec sleep 600");
    let refused = node.hull(&["network", "connect", "default", "of-host"]);
    assert!(refused.code == 4 && refused.stderr.contains("namespace"), "{}", refused.stderr);
    drop(it);
    node.ok(&["network", "rm", "later"]);
}

/// A network that comes while others go is not taken for one of them.
#[test]
fn networks_come_while_others_go() {
    let Some(node) = node() else { return };
    let work = |number: usize| {
        for _ in 0..4 {
            let (network, member) = (format!("busy-{number}"), format!("busy-member-{number}"));
            node.ok(&["network", "create", &network]);
            let joined = format!("{network}:alias=www");
            let run = ["run", "-d", "--name", &member, "--network", &joined];
            node.ok(&[&run[..], &["busybox", "sleep", "600"]].concat());
            let run = ["run", "--rm", "--network", &network, "busybox"];
            for server in [&[][..], &["127.0.0.11"]] {
                let told = node.ok(&[&run[..], &["nslookup", "www"], server].concat());
                assert!(told.contains("Name:\twww"), "{told}");
            }
            node.ok(&["rm", "-f", &member]);
            node.ok(&["network", "rm", &network]);
        }
    };
    std::thread::scope(|scope| {
        for number in 0..3 {
            scope.spawn(move || work(number));
        }
    });
}
