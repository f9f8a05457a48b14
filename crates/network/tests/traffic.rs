//! What really gets through, and what doesn't, from every side.

#![allow(clippy::print_stderr, reason = "figures are shown with --nocapture")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod ground;

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};

use ground::{Ground, HOST4, HOST6, NEVER, OUTSIDE4, OUTSIDE6, Place, SOON, is_root, say};
use model::instance::Protocol;
use network::conformance::{interface, network, port, uid};
use network::{
    Apply, Disturbance, Driver, HostNetwork, InstanceLinks, NAMES_ANSWERED, NAMES_ASKED,
    PublishedPort,
};

/// Outcomes that mean "no way through".
fn is_stopped(result: std::io::Result<IpAddr>) -> bool {
    let Err(error) = result else { return false };
    matches!(
        error.kind(),
        ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied
    )
}

async fn assert_stopped(from: &Place, to: &str) {
    assert!(is_stopped(from.ask_within(to, NEVER).await), "{to} was reached");
}

#[tokio::test]
async fn what_leaves_carries_the_hosts_address() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    ground.apply(1, &[&one], vec![]).await;
    let (inside, _) = ground.instance(&one, 5).await;
    for (server, host) in [(OUTSIDE4, HOST4), (OUTSIDE6, HOST6)] {
        let server = std::net::SocketAddr::new(server.parse().unwrap(), 7000).to_string();
        ground.outside.serve(&server).await;
        assert_eq!(inside.ask(&server).await.unwrap(), host.parse::<IpAddr>().unwrap());
    }
    ground.end().await;
}

#[tokio::test]
async fn neighbours_meet_and_networks_do_not() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let (one, two) = (ground.network(1).await, ground.network(2).await);
    ground.apply(1, &[&one, &two], vec![]).await;
    let (server, _) = ground.instance(&one, 5).await;
    let (neighbour, _) = ground.instance(&one, 6).await;
    let (stranger, _) = ground.instance(&two, 5).await;
    for address in ["10.213.1.5:80", "[fd00:1::5]:80"] {
        server.serve(address).await;
        assert!(neighbour.ask(address).await.is_ok(), "{address}");
        assert!(ground.host.ask(address).await.is_ok(), "the host reaches {address}");
        assert_stopped(&stranger, address).await;
    }
    // Somebody outside who knows the way to the subnet.
    ground.outside.run(&format!("ip route add 10.213.0.0/16 via {HOST4}")).await;
    assert_stopped(&ground.outside, "10.213.1.5:80").await;
    // Gateways of other networks are out of reach as well; one's own answers.
    ground.host.serve("10.213.1.1:9000").await;
    assert!(neighbour.ask("10.213.1.1:9000").await.is_ok());
    assert_stopped(&stranger, "10.213.1.1:9000").await;
    ground.end().await;
}

#[tokio::test]
async fn an_internal_network_has_no_way_but_names() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let (closed, open) = (ground.internal(1).await, ground.network(2).await);
    let (inside, link) = ground.instance(&closed, 5).await;
    let (neighbour, _) = ground.instance(&closed, 6).await;
    let (_, other) = ground.instance(&open, 5).await;
    let ports = vec![port(&link, Protocol::Tcp, 22001, 80), port(&other, Protocol::Tcp, 22002, 80)];
    let conflicts = ground.apply(1, &[&closed, &open], ports).await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert!(conflicts[0].message().contains("22001/tcp"), "{}", conflicts[0]);
    inside.serve("10.213.1.5:80").await;
    assert!(neighbour.ask("10.213.1.5:80").await.is_ok());
    ground.host.serve("10.213.1.1:53").await;
    ground.host.serve("10.213.1.1:9000").await;
    assert!(inside.ask("10.213.1.1:53").await.is_ok(), "the name server");
    assert_stopped(&inside, "10.213.1.1:9000").await;
    // Not even with a route, nor by a published port of another network.
    ground.outside.serve(&format!("{OUTSIDE4}:7000")).await;
    inside.run("ip route add default via 10.213.1.1").await;
    assert_stopped(&inside, &format!("{OUTSIDE4}:7000")).await;
    assert_stopped(&inside, &format!("{HOST4}:22002")).await;
    ground.end().await;
}

#[tokio::test]
async fn a_published_port_is_reached_from_everywhere() {
    if !is_root() {
        return;
    }
    // With bridges that pass the IP firewall, as on hosts of Kubernetes or Docker, and without.
    for filtered in ["1", "0"] {
        let ground = Ground::new().await;
        let switch = format!(
            "cd /proc/sys/net/bridge 2>/dev/null || exit 0
             for f in bridge-nf-call-iptables bridge-nf-call-ip6tables; do echo {filtered} > $f; done"
        );
        ground.host.run(&switch).await;
        reach_from_everywhere(ground, filtered == "1").await;
    }
}

async fn reach_from_everywhere(ground: Ground, filtered: bool) {
    let (one, two) = (ground.network(1).await, ground.network(2).await);
    let (server, link) = ground.instance(&one, 5).await;
    let (sibling, _) = ground.instance(&one, 6).await;
    let (stranger, _) = ground.instance(&two, 5).await;
    server.serve("0.0.0.0:80").await;
    server.serve("[::1]:81").await;
    server.serve("[fd00:1::5]:80").await;
    let conflicts =
        ground.apply(1, &[&one, &two], vec![port(&link, Protocol::Tcp, 8080, 80)]).await;
    assert!(conflicts.is_empty(), "{conflicts:?}");
    let four = format!("{HOST4}:8080");
    let six = format!("[{HOST6}]:8080");
    for address in [&four, &six] {
        let seen = ground.outside.ask(address).await.unwrap();
        let outside = [OUTSIDE4, OUTSIDE6].map(|text| text.parse::<IpAddr>().unwrap());
        assert!(outside.contains(&seen), "clients are seen under their own address: {seen}");
        for (who, place) in [
            ("the host", &ground.host),
            ("itself", &server),
            ("a sibling", &sibling),
            ("another network", &stranger),
        ] {
            let answer = place.ask(address).await;
            assert!(answer.is_ok(), "{address} from {who}: {answer:?}");
        }
    }
    assert!(ground.host.ask("127.0.0.1:8080").await.is_ok());
    assert!(ground.host.ask("127.0.0.7:8080").await.is_ok());
    assert!(sibling.ask("10.213.1.1:8080").await.is_ok(), "through the gateway");
    let six = ground.host.ask("[::1]:8080").await;
    let refused = six.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    assert!(if filtered { refused } else { six.is_ok() }, "served or refused at once: {six:?}");
    // Gone as quickly as it came.
    ground.apply(2, &[&one, &two], vec![]).await;
    assert_stopped(&ground.outside, &four).await;
    assert_stopped(&ground.host, "127.0.0.1:8080").await;
    ground.end().await;
}

#[tokio::test]
async fn a_port_of_one_address_is_only_there() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    ground.host.run("ip address add 192.0.2.7/24 dev up0").await;
    let one = ground.network(1).await;
    let (server, link) = ground.instance(&one, 5).await;
    let (other, second) = ground.instance(&one, 6).await;
    server.serve("0.0.0.0:80").await;
    other.serve("0.0.0.0:80").await;
    let at = |link, address: &str, host| PublishedPort {
        address: Some(address.parse().unwrap()),
        ..port(link, Protocol::Tcp, host, 80)
    };
    let ports = vec![
        at(&link, "192.0.2.7", 8080),
        at(&link, "127.0.0.1", 8081),
        at(&second, "192.0.2.1", 8080),
        at(&link, "198.51.100.1", 8080),
    ];
    let conflicts = ground.apply(1, &[&one], ports).await;
    assert_eq!(conflicts.len(), 1);
    assert!(conflicts[0].message().contains("does not have the address"), "{}", conflicts[0]);
    assert!(ground.outside.ask("192.0.2.7:8080").await.is_ok());
    assert!(ground.outside.ask("192.0.2.1:8080").await.is_ok());
    assert_stopped(&ground.host, "127.0.0.1:8080").await;
    assert!(ground.host.ask("127.0.0.1:8081").await.is_ok());
    assert_stopped(&ground.outside, "192.0.2.1:8081").await;
    ground.end().await;
}

#[tokio::test]
async fn loopback_of_the_host_stays_its_own() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    ground.apply(1, &[&one], vec![port(&link, Protocol::Tcp, 8080, 80)]).await;
    let show = format!("cat /proc/sys/net/ipv4/conf/{}/route_localnet", one.bridge);
    assert_eq!(ground.host.run(&show).await.trim(), "1", "or this test would show nothing");
    ground.host.serve("127.0.0.1:9999").await;
    inside
        .run(
            "ip link set lo down; ip address flush dev lo
             echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
             echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
             ip route add 127.0.0.0/8 via 10.213.1.1 src 10.213.1.5",
        )
        .await;
    assert_stopped(&inside, "127.0.0.1:9999").await;
    ground.end().await;
}

#[tokio::test]
async fn a_foreign_source_gets_nowhere() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (inside, _) = ground.instance(&one, 5).await;
    ground.apply(1, &[&one], vec![]).await;
    ground.host.serve_datagrams("192.0.2.1:9000", "host").await;
    let honest = inside.talk("192.0.2.1:9000").await;
    assert_eq!(say(&honest, SOON).unwrap(), "host 10.213.1.5");
    inside.run("ip address add 203.0.113.9/32 dev eth0").await;
    ground.host.run(&format!("ip route add 203.0.113.9/32 dev {}", one.bridge)).await;
    let spoof = inside
        .call(|| {
            let socket = std::net::UdpSocket::bind("203.0.113.9:0")?;
            socket.connect("192.0.2.1:9000")?;
            Ok(socket)
        })
        .await
        .unwrap();
    assert!(say(&spoof, NEVER).is_err());
    ground.end().await;
}

#[tokio::test]
async fn flows_of_datagrams_follow_the_port() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (first, to_first) = ground.instance(&one, 5).await;
    let (second, to_second) = ground.instance(&one, 6).await;
    first.serve_datagrams("0.0.0.0:53", "first").await;
    second.serve_datagrams("0.0.0.0:53", "second").await;
    let client = ground.outside.talk(&format!("{HOST4}:5353")).await;
    // A flow that began before the port was published goes to the host.
    assert!(say(&client, NEVER).is_err());
    ground.apply(1, &[&one], vec![port(&to_first, Protocol::Udp, 5353, 53)]).await;
    assert_eq!(say(&client, SOON).unwrap(), format!("first {OUTSIDE4}"));
    ground.apply(2, &[&one], vec![port(&to_second, Protocol::Udp, 5353, 53)]).await;
    assert_eq!(say(&client, SOON).unwrap(), format!("second {OUTSIDE4}"));
    // Also when the one who changes it is not the one who made it.
    let value = HostNetwork {
        services: Vec::new(),
        generation: 3,
        networks: vec![one.clone()],
        ports: vec![port(&to_first, Protocol::Udp, 5353, 53)],
        reserved: vec![],
        metadata: None,
    };
    ground.apply(3, &[&one], vec![]).await;
    assert!(say(&client, NEVER).is_err());
    ground.restarted().apply(&value, Apply::Everything).await.unwrap();
    assert_eq!(say(&client, SOON).unwrap(), format!("first {OUTSIDE4}"));
    ground.end().await;
}

#[tokio::test]
async fn taken_ports_are_refused_and_published_ones_held() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (_, link) = ground.instance(&one, 5).await;
    let theirs = ground.host.call(|| TcpListener::bind("127.0.0.1:8080")).await.unwrap();
    let free = async |port| ground.driver.is_port_free(Protocol::Tcp, None, port).await.unwrap();
    assert!(!free(8080).await);
    assert!(free(8081).await);
    let ports = || {
        vec![
            port(&link, Protocol::Tcp, 8080, 80),
            port(&link, Protocol::Tcp, 8081, 80),
            port(&link, Protocol::Tcp, 8081, 81),
        ]
    };
    let conflicts = ground.apply(1, &[&one], ports()).await;
    let said: Vec<_> = conflicts.iter().map(|error| error.message()).collect();
    assert_eq!(said, ["port 8080/tcp of the host is taken", "port 8081/tcp is published already"]);
    // Held against everybody, another node of ours on the same host among them.
    let late = ground.host.call(|| TcpListener::bind("0.0.0.0:8081")).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(!ground.restarted().is_port_free(Protocol::Tcp, None, 8081).await.unwrap());
    drop(theirs);
    let conflicts = ground.apply(2, &[&one], ports()).await;
    assert_eq!(conflicts.len(), 1, "8080 is free by now");
    ground.end().await;
}

#[tokio::test]
async fn port_53_can_be_published_beside_the_name_servers() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    ground.host.serve_datagrams("10.213.1.1:53", "names").await;
    inside.serve_datagrams("0.0.0.0:53", "instance").await;
    let conflicts = ground.apply(1, &[&one], vec![port(&link, Protocol::Udp, 53, 53)]).await;
    assert!(conflicts.is_empty(), "{conflicts:?}");
    let outside = ground.outside.talk(&format!("{HOST4}:53")).await;
    assert!(say(&outside, SOON).unwrap().starts_with("instance"));
    let asking = inside.talk("10.213.1.1:53").await;
    assert!(say(&asking, SOON).unwrap().starts_with("names"));
    // From outside, the name server of a network answers nobody.
    ground.outside.run(&format!("ip route add 10.213.0.0/16 via {HOST4}")).await;
    let stranger = ground.outside.talk("10.213.1.1:53").await;
    assert!(say(&stranger, NEVER).is_err());
    ground.end().await;
}

#[tokio::test]
async fn rules_of_others_stay_and_a_flush_is_mended() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    ground
        .host
        .run("nft 'table ip theirs { chain c { type filter hook forward priority 5; }; }'")
        .await;
    let before = ground.host.run("nft list table ip theirs").await;
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    inside.serve("0.0.0.0:80").await;
    let published = || vec![port(&link, Protocol::Tcp, 8080, 80)];
    ground.apply(1, &[&one], published()).await;
    assert!(ground.outside.ask(&format!("{HOST4}:8080")).await.is_ok());
    assert_eq!(ground.host.run("nft list table ip theirs").await, before);
    ground.host.run("nft delete table inet hull-te5t0").await;
    assert_stopped(&ground.outside, &format!("{HOST4}:8080")).await;
    // A change finds nothing to change, and writes all anew.
    let more = [published(), vec![port(&link, Protocol::Tcp, 8082, 80)]].concat();
    ground.apply(2, &[&one], more).await;
    assert!(ground.outside.ask(&format!("{HOST4}:8080")).await.is_ok());
    assert!(ground.outside.ask(&format!("{HOST4}:8082")).await.is_ok());
    ground.driver.clear().await.unwrap();
    assert_eq!(ground.host.run("nft list table ip theirs").await, before);
    ground.end().await;
}

#[tokio::test]
async fn the_host_becomes_no_router() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let far = Place::new().await;
    let network::HostNamespace::At(fd) = &far.0 else { unreachable!() };
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(fd));
    ground
        .host
        .run(&format!(
            "ip link add up1 type veth peer name up1 netns {path}
             ip address add 198.51.100.1/24 dev up1; ip link set up1 up"
        ))
        .await;
    far.run(
        "ip address add 198.51.100.2/24 dev up1; ip link set up1 up
         ip route add default via 198.51.100.1",
    )
    .await;
    ground.outside.run(&format!("ip route add 198.51.100.0/24 via {HOST4}")).await;
    ground.outside.serve(&format!("{OUTSIDE4}:7000")).await;
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    inside.serve("0.0.0.0:80").await;
    ground.apply(1, &[&one], vec![port(&link, Protocol::Tcp, 8080, 80)]).await;
    assert!(far.ask("198.51.100.1:8080").await.is_ok(), "ports are reached by every interface");
    assert_stopped(&far, &format!("{OUTSIDE4}:7000")).await;
    assert_eq!(ground.host.run("cat /proc/sys/net/ipv4/ip_forward").await.trim(), "0");
    // A host that was a router stays one.
    ground.host.run("echo 1 > /proc/sys/net/ipv4/ip_forward").await;
    let value = HostNetwork { generation: 2, networks: vec![one], ..HostNetwork::default() };
    ground.driver.apply(&value, Apply::Everything).await.unwrap();
    assert!(far.ask(&format!("{OUTSIDE4}:7000")).await.is_ok());
    ground.end().await;
}

#[tokio::test]
async fn rules_that_others_change_are_heard_of() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (_, link) = ground.instance(&one, 5).await;
    let heard = async |patience| {
        let heard = tokio::time::timeout(patience, ground.driver.disturbed()).await;
        heard.ok().map(Result::unwrap)
    };
    assert_eq!(heard(NEVER).await, None);
    // What we do ourselves is no news: a new network, a port, all of it again.
    ground.apply(1, &[&one], vec![]).await;
    ground.apply(2, &[&one], vec![port(&link, Protocol::Tcp, 8080, 80)]).await;
    let value = |generation| HostNetwork {
        generation,
        networks: vec![one.clone()],
        ..HostNetwork::default()
    };
    ground.driver.apply(&value(3), Apply::Everything).await.unwrap();
    assert_eq!(heard(NEVER).await, None);
    for (change, whose) in [
        ("nft add table inet site", Disturbance::Others),
        (
            "nft 'add chain inet site a { type filter hook forward priority 0; }'",
            Disturbance::Others,
        ),
        ("nft flush ruleset", Disturbance::Ours),
    ] {
        ground.host.run(change).await;
        assert_eq!(heard(SOON).await, Some(whose), "{change}");
    }
    ground.driver.apply(&value(4), Apply::Everything).await.unwrap();
    ground.host.run(&format!("nft delete table inet {}", ground.driver.names().table())).await;
    assert_eq!(heard(SOON).await, Some(Disturbance::Ours));
    ground.end().await;
}

#[tokio::test]
async fn a_subnet_that_the_host_reaches_otherwise_is_refused() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let (two, three) = (network(&ground.driver, 2), network(&ground.driver, 3));
    ground.host.run(&format!("ip route add 10.213.2.128/25 via {OUTSIDE4}")).await;
    let refused = ground.driver.ensure_network(&two).await.unwrap_err();
    assert_eq!(refused.kind(), model::ErrorKind::Conflict);
    assert!(refused.message().contains("10.213.2.128/25"), "{refused}");
    assert!(ground.driver.observe().await.unwrap().bridges.is_empty());
    // One that was there first goes on as well as it can.
    ground.driver.ensure_network(&three).await.unwrap();
    ground.host.run(&format!("ip route add 10.213.0.0/16 via {OUTSIDE4}")).await;
    ground.driver.ensure_network(&three).await.unwrap();
    ground.end().await;
}

/// Instances that start at once each bring the networks that they join, while others go.
#[tokio::test(flavor = "multi_thread")]
async fn networks_made_at_once_are_nobody_elses() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let links = |byte| network(&ground.driver, byte);
    for round in 0..20 {
        let (one, two) = (links(2), links(3 + round % 2));
        let gone = links(3 + (round + 1) % 2).id;
        let (driver, made) = (&ground.driver, "made at once with others");
        let (a, b, c, d, uplink) = tokio::join!(
            driver.ensure_network(&one),
            driver.ensure_network(&one),
            driver.ensure_network(&two),
            driver.remove_network(&gone),
            driver.uplink(),
        );
        [a, b, c, d].into_iter().for_each(|outcome| outcome.expect(made));
        let foreign = uplink.unwrap().subnets;
        assert!(!foreign.iter().any(|net| net.to_string().starts_with("10.213.")), "{foreign:?}");
        driver.remove_network(&one.id).await.unwrap();
    }
    ground.end().await;
}

#[tokio::test]
async fn a_thousand_ports_stay_quick() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    inside.serve("0.0.0.0:80").await;
    let ports = |count: u16| -> Vec<_> {
        (0..count).map(|i| port(&link, Protocol::Tcp, 20000 + i, 80)).collect()
    };
    let started = std::time::Instant::now();
    assert!(ground.apply(1, &[&one], ports(1000)).await.is_empty());
    let whole = started.elapsed();
    let started = std::time::Instant::now();
    assert!(ground.apply(2, &[&one], ports(1001)).await.is_empty());
    eprintln!("1000 ports: {whole:?}; one more: {:?}", started.elapsed());
    assert!(ground.outside.ask(&format!("{HOST4}:21000")).await.is_ok());
    ground.end().await;
}

#[tokio::test]
async fn an_instance_is_set_up_as_asked() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    let shown = inside.run("ip -o address; ip route; ip -6 route; ip -o link show eth0").await;
    for expected in [
        "inet 10.213.1.5/24 brd 10.213.1.255",
        "inet6 fd00:1::5/64 scope global nodad",
        "inet 127.0.0.1/8",
        "default via 10.213.1.1 dev eth0",
        "default via fd00:1::1 dev eth0",
        link.mac.as_str(),
        "mtu 1500",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    assert!(!shown.contains("tentative"), "{shown}");
    // Again, it changes nothing, not even what the instance added.
    inside.run("ip address add 10.213.1.77/24 dev eth0").await;
    let before = inside.run("ip -d -o address; ip route; ip -6 route; ip link show eth0").await;
    let _again = ground.instance(&one, 5).await;
    let after = inside.run("ip -d -o address; ip route; ip -6 route; ip link show eth0").await;
    assert_eq!(before, after);
    // What was broken is mended.
    inside.run("ip address flush dev eth0; ip link set eth0 down mtu 1300").await;
    let _again = ground.instance(&one, 5).await;
    let mended = inside.run("ip -o address; ip route; ip -6 route; ip -o link show eth0").await;
    for expected in ["10.213.1.5/24", "default via 10.213.1.1", "fd00:1::5/64", "mtu 1500"] {
        assert!(mended.contains(expected), "{expected} in {mended}");
    }
    assert!(mended.contains("default via fd00:1::1"), "{mended}");
    // Another address, and IPv6 no more.
    let links =
        InstanceLinks { id: uid(115), interfaces: vec![interface(&one, "eth0", 7)], guest: false };
    assert_eq!(ground.driver.attach(&links).await.unwrap(), ground.driver.namespace(&uid(115)));
    let other = inside.run("ip -o address; ip route; ip -6 route").await;
    assert!(other.contains("10.213.1.7/24") && other.contains("default via 10.213.1.1"), "{other}");
    assert!(!other.contains("10.213.1.5") && !other.contains("fd00"), "{other}");
    ground.end().await;
}

#[tokio::test]
async fn an_address_is_reached_at_its_new_owner_at_once() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    ground.apply(1, &[&one], vec![]).await;
    let (asking, _) = ground.instance(&one, 6).await;
    for round in 0..10 {
        let id = uid(200 + round);
        let (server, link) = ground.instance_named(&id, &one, 5).await;
        let other = network::InterfaceLink { mac: format!("02:00:00:00:00:{round:02x}"), ..link };
        let links = InstanceLinks { id: id.clone(), interfaces: vec![other], guest: false };
        ground.driver.attach(&links).await.unwrap();
        server.serve("10.213.1.5:80").await;
        assert!(asking.ask("10.213.1.5:80").await.is_ok(), "round {round}");
        ground.driver.detach(&id).await.unwrap();
    }
    ground.end().await;
}

#[tokio::test]
async fn the_uplink_is_told_without_our_own_networks() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    ground.host.run("ip route add 10.9.0.0/16 via 192.0.2.2; ip link set up0 mtu 1450").await;
    let _one = ground.network(1).await;
    let uplink = ground.driver.uplink().await.unwrap();
    assert_eq!((uplink.interface.as_deref(), uplink.mtu), (Some("up0"), 1450));
    assert!(uplink.ipv6);
    let subnets: Vec<_> = uplink.subnets.iter().map(ToString::to_string).collect();
    assert_eq!(subnets, ["10.9.0.0/16", "192.0.2.0/24", "2001:db8::/64"]);
    assert_eq!(uplink.address(), Some(HOST4.parse().unwrap()));
    ground.end().await;
}

#[tokio::test]
async fn many_at_once_do_not_disturb_each_other() {
    if !is_root() {
        return;
    }
    let ground = std::sync::Arc::new(Ground::new().await);
    let one = ground.network(1).await;
    let mut running = tokio::task::JoinSet::new();
    for last in 10..50 {
        let (ground, one) = (ground.clone(), one.clone());
        running.spawn(async move {
            for _ in 0..3 {
                ground.instance_named(&uid(last), &one, last).await;
                ground.driver.detach(&uid(last)).await.unwrap();
            }
            ground.instance_named(&uid(last), &one, last).await;
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let observed = ground.driver.observe().await.unwrap();
    assert_eq!((observed.namespaces.len(), observed.interfaces.len()), (40, 40));
    std::sync::Arc::into_inner(ground).unwrap().end().await;
}

#[tokio::test]
async fn two_nodes_share_a_host() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let other = ground.neighbour("n0de2");
    let one = ground.network(1).await;
    let (inside, link) = ground.instance(&one, 5).await;
    inside.serve("0.0.0.0:80").await;
    let ours = vec![port(&link, Protocol::Tcp, 8080, 80)];
    assert!(ground.apply(1, &[&one], ours).await.is_empty());
    // The second node's network and instance, of the same identities.
    let two = network::NetworkLinks {
        bridge: other.names().bridge(&one.id),
        ..network::conformance::network(&other, 2)
    };
    let two = network::NetworkLinks { id: one.id.clone(), ..two };
    other.ensure_network(&two).await.unwrap();
    let theirs =
        InstanceLinks { id: uid(115), interfaces: vec![interface(&two, "eth0", 5)], guest: false };
    let stranger = Place::at(&other.attach(&theirs).await.unwrap());
    let value = HostNetwork {
        services: Vec::new(),
        generation: 1,
        networks: vec![two.clone()],
        ports: [8080, 8081].map(|host| port(&theirs.interfaces[0], Protocol::Tcp, host, 80)).into(),
        reserved: vec![],
        metadata: None,
    };
    let applied = other.apply(&value, Apply::Everything).await.unwrap();
    let refused: Vec<_> = applied.conflicts.iter().map(|conflict| conflict.port.host).collect();
    assert_eq!(refused, [8080], "the first node has it");
    ground.outside.serve(&format!("{OUTSIDE4}:7000")).await;
    for place in [&inside, &stranger] {
        assert!(place.ask(&format!("{OUTSIDE4}:7000")).await.is_ok());
    }
    assert_stopped(&stranger, "10.213.1.5:80").await;
    assert!(stranger.ask(&format!("{HOST4}:8080")).await.is_ok(), "published for all");
    other.clear().await.unwrap();
    assert!(inside.ask(&format!("{OUTSIDE4}:7000")).await.is_ok());
    assert!(ground.outside.ask(&format!("{HOST4}:8080")).await.is_ok());
    ground.end().await;
}

#[tokio::test]
async fn a_gateway_has_the_link_local_address_that_is_told() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    // Random ones are what this host wants otherwise.
    ground.host.run("echo 3 > /proc/sys/net/ipv6/conf/default/addr_gen_mode").await;
    let one = ground.network(1).await;
    let address = network::Names::bridge_link_local(&one.bridge);
    // A bridge has none before it has a port.
    let _instance = ground.instance(&one, 5).await;
    let shown = ground.host.run(&format!("ip -6 addr show dev {} scope link", one.bridge)).await;
    assert!(shown.contains(&format!(" {address}/64 ")), "{address}: {shown}");
    ground.end().await;
}

#[tokio::test]
async fn members_ask_the_platform_what_they_are_and_the_host_whom_it_asked() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let (one, closed) = (ground.network(1).await, ground.internal(2).await);
    let value = |generation, metadata| HostNetwork {
        generation,
        networks: vec![one.clone(), closed.clone()],
        metadata,
        ..HostNetwork::default()
    };
    ground.driver.apply(&value(1, Some(7555)), Apply::Changes).await.unwrap();
    let (first, link) = ground.instance(&one, 5).await;
    let (other, _) = ground.instance(&one, 6).await;
    let (shut, _) = ground.instance(&closed, 5).await;
    ground.host.serve("10.213.1.1:7555").await;
    ground.host.serve("10.213.2.1:7555").await;
    // A cloud's own service, which the host reaches as ever.
    ground.outside.run("ip addr add 169.254.169.254/32 dev lo").await;
    ground.host.run(&format!("ip route add 169.254.169.254 via {OUTSIDE4}")).await;
    ground.outside.serve("169.254.169.254:80").await;
    let metadata = "169.254.169.254:80";
    assert_eq!(first.ask(metadata).await.unwrap(), "10.213.1.5".parse::<IpAddr>().unwrap());
    assert_eq!(other.ask(metadata).await.unwrap(), "10.213.1.6".parse::<IpAddr>().unwrap());
    // Rancher's own.
    let ranchers = first.ask("169.254.169.250:80").await.unwrap();
    assert_eq!(ranchers, "10.213.1.5".parse::<IpAddr>().unwrap());
    assert_eq!(ground.host.ask(metadata).await.unwrap(), HOST4.parse::<IpAddr>().unwrap());
    assert_stopped(&shut, metadata).await;
    // Who asks is told by the link it sits at.
    let asked = async |address: &str| {
        ground.driver.neighbour(&one.id, address.parse().unwrap()).await.unwrap()
    };
    let owner = asked("10.213.1.5").await.unwrap();
    assert_ne!(asked("10.213.1.6").await.unwrap(), owner);
    assert_eq!(asked("10.213.1.7").await, None);
    first.run("ip link set eth0 down").await;
    other
        .run(
            "ip addr flush dev eth0; ip addr add 10.213.1.5/24 dev eth0
             ip route add default via 10.213.1.1",
        )
        .await;
    ground.host.run(&format!("ip neigh flush dev {}", one.bridge)).await;
    assert_eq!(other.ask(metadata).await.unwrap(), link.ipv4.unwrap().addr());
    assert_ne!(asked("10.213.1.5").await.unwrap(), owner, "the address was taken, not the link");
    // Switched off, they ask whom the host asks.
    ground.driver.apply(&value(2, None), Apply::Changes).await.unwrap();
    assert_eq!(other.ask(metadata).await.unwrap(), HOST4.parse::<IpAddr>().unwrap());
    ground.end().await;
}

#[tokio::test]
async fn questions_for_names_reach_who_answers_inside() {
    if !is_root() {
        return;
    }
    let ground = Ground::new().await;
    let one = ground.network(1).await;
    ground.apply(1, &[&one], vec![]).await;
    let (inside, _) = ground.instance(&one, 5).await;
    let (asked, answered) = (NAMES_ASKED.to_string(), NAMES_ANSWERED.to_string());
    inside.serve(&answered).await;
    inside.serve_datagrams(&answered, "platform").await;
    // A name server of the instance's own has the port, on every address.
    inside.serve_datagrams("0.0.0.0:53", "own").await;
    let own = inside.call(|| TcpListener::bind("0.0.0.0:53")).await.unwrap();
    let socket = inside.talk(&asked).await;
    assert_eq!(say(&socket, SOON).unwrap(), "platform 127.0.0.1");
    assert_eq!(inside.ask(&asked).await.unwrap(), "127.0.0.1".parse::<IpAddr>().unwrap());
    let socket = inside.talk("127.0.0.1:53").await;
    assert_eq!(say(&socket, SOON).unwrap(), "own 127.0.0.1");
    // So it is where connections are tracked.
    let rules = "add table ip own\n\
        add chain ip own out { type nat hook output priority -100; }\n\
        add chain ip own in { type filter hook input priority 0; policy drop; }\n\
        add rule ip own in ct state established accept\n\
        add rule ip own in ct state new accept\n";
    inside.run(&format!("printf '%b' '{}' | nft -f -", rules.replace('\n', "\\n"))).await;
    let socket = inside.talk(&asked).await;
    assert_eq!(say(&socket, SOON).unwrap(), "platform 127.0.0.1");
    assert_eq!(inside.ask(&asked).await.unwrap(), "127.0.0.1".parse::<IpAddr>().unwrap());
    drop(own);
    ground.end().await;
}
