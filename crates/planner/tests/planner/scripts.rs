//! Worlds, questions and answers.

use insta::assert_snapshot;
use model::instance::{NetworkMode, Phase, RunState, Sharing};
use planner::{Cursors, volumes};

use crate::world::{Things, joined, mounts, port, reserves, told};

#[test]
fn everything_is_assigned() {
    let mut things = Things::default();
    things.node("n1", 8);
    things.network("default", "10.128.0.0/24");
    things.network("back", "10.128.1.0/24").spec.ipv6 = Some("fd00:1::/64".parse().unwrap());
    let mut web = things.instance("web");
    web.spec.ports = vec![port(8080, 80, 1), port(9000, 9000, 2), port(None, 443, 1)];
    joined(&mut web, "default", None);
    joined(&mut web, "back", Some("10.128.1.9"));
    assert_snapshot!(told(&things.place(web)), @r##"
    node n1: the only one that can take it
    eth0 on default: 10.128.0.2/24 02:42:0a:80:00:02
    eth1 on back: 10.128.1.9/24 fd00:1::9/64 02:42:0a:80:01:09
    8080 -> 80/tcp
    9000 -> 9000/tcp
    9001 -> 9001/tcp
    62081 -> 443/tcp
    "##);
    let db = things.instance("db");
    assert_snapshot!(told(&things.place(db)), @r##"
    node n1: the only one that can take it
    eth0 on default: 10.128.0.3/24 02:42:0a:80:00:03
    "##);
}

#[test]
fn every_node_says_why_it_refuses() {
    let mut things = Things::default();
    things.node("n1", 8);
    things.node("n2", 8).spec.cordoned = true;
    things.node("n3", 8).status.ready = false;
    things.node("n4", 1);
    things.node("n5", 8);
    things.network("default", "10.128.0.0/24");
    things.volume("data", Some("n1"));
    let mut web = things.instance("web");
    web.spec.ports = vec![port(8080, 80, 1)];
    mounts(&mut web, "data");
    assert_snapshot!(told(&things.place(web)), @r##"
    node n1: the only one that can take it
    node n2: cordoned
    node n3: not ready
    node n4: volume "data" lives on node n1
    node n5: volume "data" lives on node n1
    eth0 on default: 10.128.0.2/24 02:42:0a:80:00:02
    8080 -> 80/tcp
    "##);
    let mut other = things.instance("other");
    other.spec.ports = vec![port(8080, 80, 1)];
    reserves(&mut other, 4);
    things.nodes[4].status.cpus = model::Cpus::from_milli(1000);
    other.spec.containers[0].resources.cpus = Some(model::Cpus::from_milli(2000));
    assert_snapshot!(told(&things.place(other.clone())), @r##"
    NoNode: no node can take instance "other": node n1: port 8080/tcp is taken by instance "web"; node n2: cordoned; node n3: not ready; node n4: 4 GiB of memory asked for, 1 GiB left unreserved; node n5: 2 processors asked for, it has 1
    next: publish another port, or `hull stop web`
    "##);
    mounts(&mut other, "data");
    assert_snapshot!(told(&things.place(other)), @r##"
    NoNode: no node can take instance "other": node n1: port 8080/tcp is taken by instance "web"; node n2: cordoned; node n3: not ready; node n4: volume "data" lives on node n1; node n5: volume "data" lives on node n1
    next: publish another port, or `hull stop web`
    "##);
}

#[test]
fn the_emptiest_node_is_chosen() {
    let mut things = Things::default();
    things.node("n1", 8);
    things.node("n2", 8);
    things.network("default", "10.128.0.0/24");
    let mut big = things.instance("big");
    reserves(&mut big, 6);
    assert_snapshot!(told(&things.place(big)), @r##"
    node n1: of 2 that can take it, the one with the least reserved memory and the fewest instances (0)
    eth0 on default: 10.128.0.2/24 02:42:0a:80:00:02
    "##);
    let small = things.instance("small");
    assert_snapshot!(told(&things.place(small)), @r##"
    node n2: of 2 that can take it, the one with the least reserved memory and the fewest instances (0)
    eth0 on default: 10.128.0.3/24 02:42:0a:80:00:03
    "##);
    let mut sharer = things.instance("sharer");
    sharer.spec.network = NetworkMode::Instance { name: "big".into() };
    sharer.spec.pid = Sharing::Instance("big".into());
    assert_snapshot!(told(&things.place(sharer)), @r##"
    node n1: the only one that can take it
    node n2: instance "big", whose namespaces it shares, is on node n1
    "##);
    let mut torn = things.instance("torn");
    torn.spec.network = NetworkMode::Instance { name: "big".into() };
    torn.spec.pid = Sharing::Instance("small".into());
    assert_snapshot!(told(&things.place(torn)), @r##"
    NoNode: no node can take instance "torn": node n1: instance "small", whose namespaces it shares, is on node n2; node n2: instance "big", whose namespaces it shares, is on node n1
    next: share with another one than "small"
    "##);
    let mut lost = things.instance("lost");
    lost.spec.ipc = Sharing::Instance("nobody".into());
    assert_snapshot!(told(&things.place(lost)), @r##"
    InstanceNotFound: instance "lost" shares namespaces with instance "nobody", which does not exist
    next: make that one again
    "##);
}

#[test]
fn what_exists_nowhere_or_is_held_is_named() {
    let mut things = Things::default();
    assert_snapshot!(told(&things.clone().place(things.instance("early"))), @r##"
    NetworkNotFound: instance "early" is joined to network "default", which is gone
    next: `hull network create default`
    "##);
    things.network("default", "10.128.0.0/29");
    assert_snapshot!(told(&things.clone().place(things.instance("early"))), @r##"
    NoNode: no node can take instance "early": none is known
    next: start hull on a machine
    "##);
    things.node("n1", 8);
    let mut first = things.instance("first");
    joined(&mut first, "default", Some("10.128.0.3"));
    things.place(first).unwrap();
    let mut second = |network: &str, address: Option<&str>| {
        let mut second = things.instance("second");
        joined(&mut second, network, address);
        told(&things.place(second))
    };
    assert_snapshot!(second("nope", None), @r##"
    NetworkNotFound: instance "second" is joined to network "nope", which is gone
    next: `hull network create nope`
    "##);
    assert_snapshot!(second("default", Some("10.128.0.3")), @r##"
    AddressTaken: network "default" cannot give 10.128.0.3: instance "first" has it
    next: ask for another address, or `hull rm first`
    "##);
    assert_snapshot!(second("default", Some("10.128.0.1")), @r##"
    AddressInvalid: network "default" cannot give 10.128.0.1: it is not an address for instances in 10.128.0.0/29
    next: ask for another address, or none
    "##);
    assert_snapshot!(second("default", Some("10.9.9.9")), @r##"
    AddressInvalid: network "default" cannot give 10.9.9.9: it is not an address for instances in 10.128.0.0/29
    next: ask for another address, or none
    "##);
    for i in 0..4 {
        let next = things.instance(&format!("more-{i}"));
        things.place(next).unwrap();
    }
    let last = things.instance("last");
    assert_snapshot!(told(&things.place(last)), @r##"
    NoAddress: network "default" has no address left
    next: remove instances that are joined to it, or make a larger network
    "##);
    let mut gone = things.instance("gone");
    gone.spec.network = NetworkMode::None;
    mounts(&mut gone, "lost");
    assert_snapshot!(told(&things.place(gone)), @r##"
    VolumeNotFound: volume "lost" of instance "gone" is gone
    next: make the volume again
    "##);
}

#[test]
fn one_that_stops_gives_its_ports_back_and_keeps_its_address() {
    let mut things = Things::default();
    things.node("n1", 8);
    things.network("default", "10.128.0.0/24");
    let mut web = things.instance("web");
    web.spec.ports = vec![port(8080, 80, 1)];
    things.place(web).unwrap();
    things.instances[0].spec.run = RunState::Stopped;
    things.instances[0].status.phase = Phase::Running;
    let mut other = things.instance("other");
    other.spec.ports = vec![port(8080, 80, 1)];
    assert!(things.place(other.clone()).is_err(), "it runs still");
    things.instances[0].status.phase = Phase::Exited;
    assert_snapshot!(told(&things.place(other)), @r##"
    node n1: the only one that can take it
    eth0 on default: 10.128.0.3/24 02:42:0a:80:00:03
    8080 -> 80/tcp
    "##);
    // Starting the first one again: it is where it was, but its port is not free.
    let web = things.instances.remove(0);
    assert_snapshot!(told(&things.ledger(Cursors::new()).place(&web)), @r##"
    PortTaken: no node can take instance "web": node n1: port 8080/tcp is taken by instance "other"
    next: publish another port, or `hull stop other`
    "##);
    things.instances[0].spec.run = RunState::Stopped;
    assert_snapshot!(told(&things.ledger(Cursors::new()).place(&web)), @r##"
    node n1: the only one that can take it
    eth0 on default: 10.128.0.2/24 02:42:0a:80:00:02
    8080 -> 80/tcp
    "##);
}

#[test]
fn addresses_rest_before_they_are_given_again() {
    let mut things = Things::default();
    things.node("n1", 8);
    things.network("default", "10.128.0.0/29");
    let mut cursors = Cursors::new();
    let mut given = Vec::new();
    for i in 0..8 {
        let instance = things.instance(&format!("i{i}"));
        let mut ledger = things.ledger(cursors);
        let decision = ledger.place(&instance).unwrap();
        ledger.take(&instance, &decision);
        cursors = ledger.into_cursors();
        given.push(decision.placement.interfaces[0].ipv4.unwrap().addr().octets()[3]);
    }
    assert_eq!(given, [2, 3, 4, 5, 6, 2, 3, 4], "none of them was kept, still each rested");
}

#[test]
fn volumes_that_nobody_uses_get_a_node_where_that_is_plain() {
    let mut things = Things::default();
    things.volume("data", None);
    things.volume("copy", None);
    things.volumes[1].spec.source = Some(model::volume::VolumeSource::Volume("data".into()));
    let choose = |things: &Things, at: usize| {
        volumes::choose_node(&things.ledger(Cursors::new()), &things.volumes[at])
            .map_err(|reason| reason.message)
    };
    assert!(choose(&things, 0).is_err());
    things.node("n1", 8);
    assert_eq!(choose(&things, 0).unwrap(), "n1");
    assert_eq!(choose(&things, 1).unwrap_err(), "what the volume begins with is on no node yet");
    things.node("n2", 8);
    assert_snapshot!(choose(&things, 0).unwrap_err(), @r#"the volume waits for the first instance that mounts it"#);
    things.volumes[0].spec.node = Some("n2".into());
    assert_eq!(choose(&things, 1).unwrap(), "n2");
}
