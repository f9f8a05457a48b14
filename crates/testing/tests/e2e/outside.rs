//! What a node is to the world outside it, and the world to its instances: on a host of its own, with
//! an uplink.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testing::land::{Land, MTU, NODE, OUTSIDE};
use testing::node::{Node, Outcome, PATIENCE, finish, until};

use super::process::{able, begin, sh};

const RESOLVER: &str = "127.0.0.53:53";
/// How long we wait for what should never come.
const NEVER: Duration = Duration::from_millis(500);
fn land(name: &str) -> Option<(Land, Node)> {
    able().then(|| {
        let land = Land::make(name).unwrap();
        let node =
            Node::start_in_land(&land, "nameserver 127.0.0.53\nsearch corp.example\n").unwrap();
        (land, node)
    })
}

/// The address that a server sees us at.
fn hear(to: SocketAddr, patience: Duration) -> std::io::Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    said.lines().last().unwrap_or_default().parse().map_err(std::io::Error::other)
}

/// Whether a server sends our datagrams back.
fn echo(to: SocketAddr) -> std::io::Result<()> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(NEVER))?;
    let end = Instant::now() + PATIENCE;
    loop {
        let mut buffer = [0; 64];
        match socket.send(b"?").and_then(|_| socket.recv(&mut buffer)) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => {}
        }
    }
}

/// Tells each client the address it is seen at, as HTTP/1.0 has it, so that wget reads it too.
fn tell_addresses(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let seen = stream.peer_addr().unwrap().ip().to_canonical();
            let mut request = [0; 1024];
            // A client that says nothing is answered as well.
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let _ = stream.read(&mut request);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{seen}");
        }
    });
}

/// Leaves an instance running that answers on port 80: connections and datagrams, both families.
fn serve(node: &Node, name: &str, flags: &[&str]) -> Outcome {
    let run =
        node.hull(&[&["run", "-d", "--name", name], flags, &["busybox", "sleep", "600"]].concat());
    if run.code == 0 {
        let any = (Ipv6Addr::UNSPECIFIED, 80);
        let (listener, socket) =
            node.inside(name, || (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap()));
        tell_addresses(listener);
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    }
    run
}

/// A name server on the host that knows one name, and how often each was asked.
fn resolver(land: &Land) -> Arc<Mutex<BTreeMap<(String, u16), u32>>> {
    let asked = Arc::new(Mutex::new(BTreeMap::new()));
    let socket = land.at_host(|| UdpSocket::bind(RESOLVER)).unwrap().unwrap();
    let counts = asked.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[12..length];
            let (name, end) = name_of(question);
            let kind = u16::from_be_bytes([question[end], question[end + 1]]);
            *counts.lock().unwrap().entry((name.clone(), kind)).or_default() += 1;
            let answer = answer(&buffer[..12 + end + 4], name == "known.example", kind);
            socket.send_to(&answer, from).unwrap();
        }
    });
    asked
}

/// A name in the form of RFC 1035, section 3.1, and where it ends.
fn name_of(mut bytes: &[u8]) -> (String, usize) {
    let (mut labels, mut end) = (Vec::new(), 1);
    while let Some((length, rest)) = bytes.split_first().filter(|(length, _)| **length > 0) {
        let (label, rest) = rest.split_at(usize::from(*length));
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        end += label.len() + 1;
        bytes = rest;
    }
    (labels.join("."), end)
}

/// 203.0.113.7 for the name that is known; that there is no other, for as long as 30 seconds.
fn answer(question: &[u8], known: bool, kind: u16) -> Vec<u8> {
    let mut message = question.to_vec();
    let address = known && kind == 1;
    let code = if known { 0x80 } else { 0x83 };
    message[2..12].copy_from_slice(&[
        0x81,
        code,
        0,
        1,
        0,
        u8::from(address),
        0,
        u8::from(!address),
        0,
        0,
    ]);
    match address {
        true => message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]),
        false => {
            // SOA of the root: two empty names, serial, refresh, retry, expire, minimum.
            message.extend([0, 0, 6, 0, 1, 0, 0, 0, 30, 0, 22, 0, 0]);
            for number in [1_u32, 60, 60, 60, 30] {
                message.extend(number.to_be_bytes());
            }
        }
    }
    message
}

#[test]
fn from_inside_out() {
    let Some((land, node)) = land("out") else { return };
    for address in OUTSIDE {
        tell_addresses(land.at_outside(|| TcpListener::bind((address, 7000))).unwrap().unwrap());
    }
    let asked = resolver(&land);
    node.ok(&["network", "create", "--ipv6", "six"]);
    node.ok(&["network", "create", "--ipv6", "--internal", "inner"]);

    let visit = OUTSIDE.map(|ip| format!("wget -qO- http://{}/; echo", SocketAddr::new(ip, 7000)));
    let script = format!("cat /sys/class/net/eth0/mtu; {}; {}", visit[0], visit[1]);
    let run = ["run", "--rm", "--network", "six", "busybox", "sh", "-c", &script];
    let said = node.hull(&run);
    let expected = [MTU.to_string(), NODE[0].to_string(), NODE[1].to_string()];
    assert_eq!(said.text().lines().collect::<Vec<_>>(), expected, "{}", said.stderr);

    // Names: the host's resolver, though it is on the host's loopback; what is not is remembered.
    let script = "nslookup -type=a known.example; for i in 1 2 3; do nslookup -type=a absent.example; done; \
                  cat /etc/resolv.conf";
    let said = sh(&node, &["--network", "six"], script);
    assert!(said.contains("203.0.113.7") && said.contains("NXDOMAIN"), "{said}");
    assert!(said.contains("search default.hull.internal corp.example"), "{said}");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.get(&("known.example".into(), 1)), Some(&1), "{asked:?}");
    assert_eq!(asked.get(&("absent.example".into(), 1)), Some(&1), "{asked:?}");
    assert!(!asked.keys().any(|(name, _)| name.ends_with("hull.internal")), "{asked:?}");

    // An internal network has none of it, and says so at once.
    let script = format!("( {} ) 2>&1; nslookup known.example", visit[0]);
    let said =
        node.hull(&["run", "--rm", "--network", "inner", "busybox", "sh", "-c", &script]).text();
    assert!(said.contains("unreachable") && said.contains("NXDOMAIN"), "{said}");
}

#[test]
fn published_ports_from_every_side() {
    let Some((land, node)) = land("ports") else { return };
    node.ok(&["network", "create", "--ipv6", "six"]);
    let [node4, node6] = NODE.map(|ip| ip.to_string());
    let (own4, own6) = (format!("{node4}:8002:80"), format!("[{node6}]:8003:80"));
    let ports =
        ["8000:80", "8000:80/udp", "8100-8102:79-81", "127.0.0.1:8001:80", "80", &own4, &own6];
    let ports = ports.iter().flat_map(|port| ["-p", port]);
    let flags: Vec<_> = ["--network", "six"].into_iter().chain(ports).collect();
    assert_eq!(serve(&node, "server", &flags).code, 0);
    let placed = node.field("server", "/spec/placement/ports");
    let random = placed.as_array().unwrap().iter().map(|port| port["host"].as_u64().unwrap());
    let random = u16::try_from(random.max().unwrap()).unwrap();
    assert!(random > 8102, "{placed}");

    let at = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
    let outside = |to: SocketAddr, patience| land.at_outside(|| hear(to, patience)).unwrap();
    let host = |to: SocketAddr, patience| land.at_host(|| hear(to, patience)).unwrap();
    for (to, from_outside, from_host) in [
        (at(&node4, 8000), true, true),
        (at(&node6, 8000), true, true),
        (at("127.0.0.1", 8000), false, true),
        (at("127.0.0.9", 8000), false, true),
        (at(&node4, 8101), true, true),
        (at(&node4, random), true, true),
        (at("127.0.0.1", 8001), false, true),
        (at(&node4, 8001), false, false),
        (at(&node4, 8002), true, true),
        (at("127.0.0.1", 8002), false, false),
        (at(&node6, 8003), true, true),
        (at(&node4, 8003), false, false),
    ] {
        let patience = |reached| if reached { PATIENCE } else { NEVER };
        assert_eq!(outside(to, patience(from_outside)).is_ok(), from_outside, "{to} from outside");
        assert_eq!(host(to, patience(from_host)).is_ok(), from_host, "{to} from the host");
    }
    // Clients are seen under their own address; datagrams come back too.
    for (own, theirs) in NODE.into_iter().zip(OUTSIDE) {
        let to = SocketAddr::new(own, 8000);
        assert_eq!(outside(to, PATIENCE).unwrap(), theirs);
        land.at_outside(|| echo(to)).unwrap().unwrap();
    }
    land.at_host(|| echo(at("127.0.0.1", 8000))).unwrap().unwrap();

    // From the instance itself, and from one next to it.
    let _sibling = begin(&node, "sibling", &["--network", "six"], "exec sleep 600");
    for who in ["server", "sibling"] {
        for own in NODE {
            let to = SocketAddr::new(own, 8000);
            assert!(node.inside(who, || hear(to, PATIENCE)).is_ok(), "{to} from the {who}");
            node.inside(who, || echo(to)).unwrap();
        }
    }

    // Nobody who knows the way to the instance's network comes in by it.
    let inside = node.field("server", "/spec/placement/interfaces/0/ipv4");
    let inside = inside.as_str().unwrap().split('/').next().unwrap().to_owned();
    let route = ["ip", "route", "add", &format!("{inside}/32"), "via", &node4];
    assert_eq!(finish(land.outside(&route), None).unwrap().code, 0);
    assert!(outside(at(&inside, 80), NEVER).is_err());
}

#[test]
fn the_hosts_own_loopback_of_ipv6() {
    let Some((land, node)) = land("six") else { return };
    // Whether bridges pass the IPv6 firewall; not every kernel has the switch.
    let switch = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
    let filter = |on: &str| {
        let script = format!("[ ! -e {switch} ] || echo {on} >{switch}");
        land.on_host(&["sh", "-c", &script]).unwrap()
    };
    filter("0");
    node.ok(&["network", "create", "--ipv6", "six"]);
    let flags = ["--network", "six", "-p", "8000:80", "-p", "8000:80/udp"];
    assert_eq!(serve(&node, "server", &flags).code, 0);
    let to: SocketAddr = "[::1]:8000".parse().unwrap();
    assert!(land.at_host(|| hear(to, PATIENCE)).unwrap().is_ok());
    land.at_host(|| echo(to)).unwrap().unwrap();
    // A port at this one address; no other leads there.
    let only = ["--network", "six", "-p", "[::1]:8001:80"];
    assert_eq!(serve(&node, "only", &only).code, 0);
    let own: SocketAddr = "[::1]:8001".parse().unwrap();
    assert!(land.at_host(|| hear(own, PATIENCE)).unwrap().is_ok());
    assert!(land.at_host(|| hear(SocketAddr::new(NODE[1], 8001), NEVER)).unwrap().is_err());
    if std::path::Path::new(switch).exists() {
        // Where it cannot be, a client is refused at once and goes on to 127.0.0.1.
        filter("1");
        node.ok(&["rm", "-f", "only"]);
        let table = format!("hull-{}", node.tag());
        land.on_host(&["nft", "delete", "table", "inet", &table]).unwrap();
        until("the table is back", || land.on_host(&["nft", "list", "table", "inet", &table]).ok());
        let refused = land.at_host(|| hear(to, PATIENCE)).unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let refused = serve(&node, "only", &only);
        assert!(refused.code != 0 && refused.stderr.contains("127.0.0.1"), "{}", refused.stderr);
    }
    let four: SocketAddr = "127.0.0.1:8000".parse().unwrap();
    assert!(land.at_host(|| hear(four, PATIENCE)).unwrap().is_ok());
}

#[test]
fn the_hosts_own_firewall() {
    let Some((land, node)) = land("rules") else { return };
    let rules = "table inet site {
        set friends { type ipv4_addr; elements = { 192.0.2.9 } }
        chain way {
            type filter hook forward priority 10; policy drop;
            ct state established accept
        }
        chain inner { type filter hook input priority 10; policy accept; }
    }\n";
    let load = |text: &str| {
        let outcome = finish(land.inside(&["nft", "-f", "-"]), Some(text.as_bytes())).unwrap();
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    };
    let list = || land.on_host(&["nft", "list", "table", "inet", "site"]).unwrap();
    load(rules);
    let before = list();

    // It is named by the check, by the node, and whoever publishes a port is told.
    let check = finish(land.inside(&[node.binary().to_str().unwrap(), "check"]), None).unwrap();
    assert!(check.text().contains("chain way of the firewall table inet site"), "{}", check.text());
    until("the node says so", || node.ok(&["status"]).contains("chain way").then_some(()));
    let run = serve(&node, "closed", &["-p", "8000:80"]);
    assert!(run.code == 0 && run.stderr.contains("iifname \"hb*\" accept"), "{}", run.stderr);
    let to = SocketAddr::new(NODE[0], 8000);
    assert!(land.at_outside(|| hear(to, NEVER)).unwrap().is_err(), "the host's rules count");

    // The remedy works, and the warning goes.
    for way in ["iifname", "oifname"] {
        land.on_host(&["nft", "add", "rule", "inet", "site", "way", way, "hb*", "accept"]).unwrap();
    }
    until("it is reached", || land.at_outside(|| hear(to, NEVER)).unwrap().ok());
    until("no warning is left", || (!node.ok(&["status"]).contains("chain way")).then_some(()));
    let opened = list();
    assert_ne!(opened, before);

    // Networks and ports that come and go leave others' rules as they are.
    assert_eq!(serve(&node, "open", &["-p", "8001:80"]).code, 0);
    node.ok(&["network", "create", "more"]);
    node.ok(&["rm", "-f", "open"]);
    node.ok(&["network", "rm", "more"]);
    assert_eq!(list(), opened);

    // Somebody starts his firewall anew, and with it flushes everything.
    load(&format!("flush ruleset\n{opened}\n"));
    until("the port is back", || land.at_outside(|| hear(to, NEVER)).unwrap().ok());
    let table = land.on_host(&["nft", "list", "tables"]).unwrap();
    assert!(table.contains(&node.tag()), "{table}");
    assert_eq!(list(), opened);
}

#[test]
fn a_route_that_came_later() {
    let Some((land, node)) = land("routes") else { return };
    node.ok(&["network", "create", "--subnet", "10.9.0.0/24", "late"]);
    let _first = begin(&node, "first", &["--network", "late"], "exec sleep 600");
    node.ok(&["rm", "-f", "first"]);
    node.ok(&["network", "rm", "late"]);
    node.ok(&["network", "create", "--subnet", "10.9.0.0/24", "late"]);
    let gateway = OUTSIDE[0].to_string();
    land.on_host(&["ip", "route", "add", "10.9.0.128/25", "via", &gateway]).unwrap();
    let refused = node.hull(&["run", "--rm", "--network", "late", "busybox", "true"]);
    assert!(refused.code != 0 && refused.stderr.contains("10.9.0.128/25"), "{}", refused.stderr);
    // Once the node has told of it, it is not given to a new network either.
    node.ok(&["network", "rm", "late"]);
    until("the route is known", || {
        let plan = ["network", "create", "--plan", "--subnet", "10.9.0.0/24", "late"];
        (node.hull(&plan).code != 0).then_some(())
    });
    land.on_host(&["ip", "route", "del", "10.9.0.128/25"]).unwrap();
    assert_eq!(sh(&node, &[], "echo the default network works"), "the default network works");
}

#[test]
fn addresses_of_the_land_are_nobodys() {
    // The machine's own network must not be met by accident.
    let own = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    assert!(!own.contains(&IpAddr::to_string(&NODE[0])), "this machine has the test's address");
}
