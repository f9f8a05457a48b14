//! What every [`Driver`] does, checked from outside. Both the fake and the real one pass it, so that
//! what is built on the fake works on a host.
//!
//! Each check starts from a driver that has nothing and leaves nothing behind.

use std::net::IpAddr;

use model::instance::Protocol;
use model::{ErrorKind, Uid};

use crate::driver::{Apply, Driver};
use crate::firewall::{HostNetwork, PublishedPort};
use crate::links::{InstanceLinks, InterfaceLink, NetworkLinks};

/// Runs all checks.
///
/// # Panics
/// When the driver doesn't do what it should.
pub async fn check(driver: &dyn Driver) {
    networks_come_and_go(driver).await;
    instances_come_and_go(driver).await;
    attach_converges(driver).await;
    networks_are_joined_and_left(driver).await;
    what_is_missing_is_said(driver).await;
    the_past_does_not_overwrite(driver).await;
    ports_are_kept_apart(driver).await;
    clear_leaves_nothing(driver).await;
}

/// An identity for tests.
pub fn uid(byte: u8) -> Uid {
    Uid::from_bytes([byte; 32])
}

/// Network `10.213.<byte>.0/24`, without IPv6.
pub fn network(driver: &dyn Driver, byte: u8) -> NetworkLinks {
    NetworkLinks {
        id: uid(byte),
        bridge: driver.names().bridge(&uid(byte)),
        ipv4: Some(format!("10.213.{byte}.1/24").parse().expect("an address")),
        ipv6: None,
        mtu: 1500,
        internal: false,
        masquerade: true,
    }
}

/// Interface `name` with the address `.last` of that network, and its default route.
pub fn interface(network: &NetworkLinks, name: &str, last: u8) -> InterfaceLink {
    let host = network.ipv4.expect("networks of tests have IPv4");
    let [a, b, c, _] = host.addr().octets();
    let address = std::net::Ipv4Addr::new(a, b, c, last);
    InterfaceLink {
        network: network.id.clone(),
        bridge: network.bridge.clone(),
        name: name.into(),
        mac: format!("02:00:{a:02x}:{b:02x}:{c:02x}:{last:02x}"),
        ipv4: Some(ipnet::Ipv4Net::new(address, host.prefix_len()).expect("a prefix")),
        ipv6: None,
        gateway4: network.gateway4(),
        gateway6: None,
        mtu: network.mtu,
        guest: false,
    }
}

/// Port `host` of every address, leading to the interface's port `target`.
pub fn port(to: &InterfaceLink, protocol: Protocol, host: u16, target: u16) -> PublishedPort {
    PublishedPort {
        network: to.network.clone(),
        protocol,
        address: None,
        host,
        target4: to.ipv4.map(|net| net.addr()),
        target6: to.ipv6.map(|net| net.addr()),
        target,
    }
}

async fn networks_come_and_go(driver: &dyn Driver) {
    let one = network(driver, 1);
    for _ in 0..2 {
        driver.ensure_network(&one).await.expect("a bridge is made, or is there");
    }
    let observed = driver.observe().await.expect("looking works");
    assert_eq!(observed.bridges, std::slice::from_ref(&one.bridge));
    let wider = NetworkLinks { mtu: 1400, ..one.clone() };
    driver.ensure_network(&wider).await.expect("a bridge is changed");
    for _ in 0..2 {
        driver.remove_network(&one.id).await.expect("a bridge is removed, or gone");
    }
    assert!(driver.observe().await.expect("looking works").bridges.is_empty());
}

async fn instances_come_and_go(driver: &dyn Driver) {
    let one = network(driver, 1);
    driver.ensure_network(&one).await.expect("a bridge");
    let instance =
        InstanceLinks { id: uid(9), interfaces: vec![interface(&one, "eth0", 5)], guest: false };
    let path = driver.attach(&instance).await.expect("a namespace");
    assert_eq!(path, driver.namespace(&instance.id));
    let observed = driver.observe().await.expect("looking works");
    assert_eq!(observed.namespaces, std::slice::from_ref(&instance.id));
    assert_eq!(observed.interfaces.len(), 1);
    assert_eq!(observed.interfaces[0].instance.as_ref(), Some(&instance.id));
    assert_eq!(observed.interfaces[0].network.as_ref(), Some(&one.id));
    assert!(observed.interfaces[0].up);
    let counted = driver.statistics(&instance.id).await.expect("counters");
    let counted: Vec<_> = counted.iter().map(|c| (c.name.as_str(), &c.network)).collect();
    assert_eq!(counted, [("eth0", &one.id)]);
    for _ in 0..2 {
        driver.detach(&instance.id).await.expect("all is removed, or gone");
    }
    let observed = driver.observe().await.expect("looking works");
    assert!(observed.namespaces.is_empty() && observed.interfaces.is_empty());
    assert!(driver.statistics(&instance.id).await.expect("no counters").is_empty());
    driver.remove_network(&one.id).await.expect("removed");
}

async fn attach_converges(driver: &dyn Driver) {
    let (one, two) = (network(driver, 1), network(driver, 2));
    for network in [&one, &two] {
        driver.ensure_network(network).await.expect("a bridge");
    }
    let mut instance = InstanceLinks { id: uid(9), interfaces: Vec::new(), guest: false };
    driver.attach(&instance).await.expect("a namespace with loopback only");
    assert!(driver.statistics(&instance.id).await.expect("counters").is_empty());
    instance.interfaces = vec![interface(&one, "eth0", 5), interface(&two, "eth1", 5)];
    for _ in 0..2 {
        driver.attach(&instance).await.expect("both are made, or there");
        assert_eq!(driver.statistics(&instance.id).await.expect("counters").len(), 2);
    }
    instance.interfaces.remove(0);
    driver.attach(&instance).await.expect("one is removed");
    let left = driver.statistics(&instance.id).await.expect("counters");
    assert_eq!(left.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["eth1"]);
    instance.interfaces[0].name = "eth0".into();
    driver.attach(&instance).await.expect("one is made anew under another name");
    let left = driver.statistics(&instance.id).await.expect("counters");
    assert_eq!(left.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["eth0"]);
    sweep(driver).await;
}

async fn networks_are_joined_and_left(driver: &dyn Driver) {
    let (one, two) = (network(driver, 1), network(driver, 2));
    for network in [&one, &two] {
        driver.ensure_network(network).await.expect("a bridge");
    }
    let instance =
        InstanceLinks { id: uid(9), interfaces: vec![interface(&one, "eth0", 5)], guest: false };
    driver.attach(&instance).await.expect("a namespace");
    let second = interface(&two, "eth1", 5);
    for _ in 0..2 {
        driver.connect(&instance.id, &second).await.expect("joined, or joined already");
        assert_eq!(driver.statistics(&instance.id).await.expect("counters").len(), 2);
    }
    for _ in 0..2 {
        driver.disconnect(&instance.id, &two.id).await.expect("left, or left already");
        assert_eq!(driver.statistics(&instance.id).await.expect("counters").len(), 1);
    }
    sweep(driver).await;
}

async fn what_is_missing_is_said(driver: &dyn Driver) {
    let absent = network(driver, 7);
    let link = interface(&absent, "eth0", 5);
    let error = driver.connect(&uid(9), &link).await.expect_err("no namespace");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.next_step().is_some());
    let instance = InstanceLinks { id: uid(9), interfaces: vec![link.clone()], guest: false };
    let error = driver.attach(&instance).await.expect_err("no bridge");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let wrong = InterfaceLink { mac: "nonsense".into(), ..link };
    let instance = InstanceLinks { id: uid(9), interfaces: vec![wrong], guest: false };
    let error = driver.attach(&instance).await.expect_err("no hardware address");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    driver.disconnect(&uid(9), &uid(7)).await.expect("nothing to leave");
    sweep(driver).await;
}

async fn the_past_does_not_overwrite(driver: &dyn Driver) {
    let one = network(driver, 1);
    driver.ensure_network(&one).await.expect("a bridge");
    let link = interface(&one, "eth0", 5);
    let value = |generation, ports: &[u16]| HostNetwork {
        services: Vec::new(),
        generation,
        networks: vec![one.clone()],
        ports: ports.iter().map(|host| port(&link, Protocol::Tcp, *host, 80)).collect(),
        reserved: Vec::new(),
        metadata: None,
    };
    let apply = async |value: &HostNetwork, how| {
        let applied = driver.apply(value, how).await.expect("applied");
        assert!(applied.conflicts.is_empty(), "{:?}", applied.conflicts);
        applied.changed
    };
    assert!(apply(&value(5, &[21080]), Apply::Changes).await);
    assert!(!apply(&value(6, &[21080]), Apply::Changes).await, "nothing differs");
    assert!(!apply(&value(4, &[]), Apply::Changes).await, "older");
    assert!(!driver.is_port_free(Protocol::Tcp, None, 21080).await.expect("an answer"));
    assert!(apply(&value(6, &[21080]), Apply::Everything).await, "all is written");
    assert!(apply(&value(7, &[]), Apply::Changes).await);
    assert!(driver.is_port_free(Protocol::Tcp, None, 21080).await.expect("an answer"));
    sweep(driver).await;
}

async fn ports_are_kept_apart(driver: &dyn Driver) {
    let one = network(driver, 1);
    driver.ensure_network(&one).await.expect("a bridge");
    let link = interface(&one, "eth0", 5);
    let value = HostNetwork {
        services: Vec::new(),
        generation: 1,
        networks: vec![one.clone()],
        ports: [21022, 21080].map(|host| port(&link, Protocol::Tcp, host, 80)).into(),
        reserved: vec![(Protocol::Tcp, 21022)],
        metadata: None,
    };
    let applied = driver.apply(&value, Apply::Changes).await.expect("applied");
    let refused: Vec<_> = applied.conflicts.iter().map(|c| c.port.host).collect();
    assert_eq!(refused, [21022]);
    assert_eq!(applied.conflicts[0].error.kind(), ErrorKind::Conflict);
    assert!(applied.conflicts[0].error.next_step().is_some());
    let free = async |protocol, port| {
        let any: Option<IpAddr> = None;
        driver.is_port_free(protocol, any, port).await.expect("an answer")
    };
    assert!(!free(Protocol::Tcp, 21080).await);
    assert!(free(Protocol::Udp, 21080).await, "another protocol is another port");
    assert!(free(Protocol::Tcp, 21081).await);
    // Who has a port keeps it, whoever stands first.
    let other = interface(&one, "eth0", 6);
    let ports = [&other, &link].map(|to| port(to, Protocol::Tcp, 21080, 80)).into();
    let value = HostNetwork { generation: 2, ports, ..value };
    let applied = driver.apply(&value, Apply::Changes).await.expect("applied");
    let refused: Vec<_> = applied.conflicts.iter().map(|c| c.port.target4).collect();
    assert_eq!(refused, [other.ipv4.map(|net| net.addr())]);
    // Nothing leads into an internal network.
    let closed = NetworkLinks { internal: true, masquerade: false, ..one.clone() };
    driver.ensure_network(&closed).await.expect("a bridge");
    let value = HostNetwork { generation: 3, networks: vec![closed], ..value };
    let applied = driver.apply(&value, Apply::Changes).await.expect("applied");
    assert_eq!(applied.conflicts.len(), 2);
    sweep(driver).await;
}

async fn clear_leaves_nothing(driver: &dyn Driver) {
    let one = network(driver, 1);
    driver.ensure_network(&one).await.expect("a bridge");
    let instance =
        InstanceLinks { id: uid(9), interfaces: vec![interface(&one, "eth0", 5)], guest: false };
    driver.attach(&instance).await.expect("a namespace");
    let networks = vec![one.clone()];
    let value = HostNetwork { generation: 1, networks, ..HostNetwork::default() };
    driver.apply(&value, Apply::Everything).await.expect("applied");
    for _ in 0..2 {
        sweep(driver).await;
    }
    assert!(driver.uplink().await.is_ok());
}

/// Clears and makes sure.
async fn sweep(driver: &dyn Driver) {
    driver.clear().await.expect("all is cleared");
    let observed = driver.observe().await.expect("looking works");
    assert_eq!(observed, crate::Observed::default());
}
