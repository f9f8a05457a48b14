//! What holds of all answers, whatever is asked in whatever order.

use std::collections::{BTreeMap, HashMap};

use model::instance::{Instance, MountKind, RunState};
use planner::Cursors;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{Things, joined, mounts, port, reserves};

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Place(Wish),
    Stop(usize),
    Start(usize),
    Remove(usize),
}

/// What an instance asks for.
#[derive(Debug, Clone)]
struct Wish {
    ports: Vec<(Option<u16>, u16)>,
    networks: Vec<(usize, Option<u8>)>,
    volume: Option<usize>,
    memory: Option<u64>,
}

const NETWORKS: [(&str, &str); 3] =
    [("default", "10.1.0.0/24"), ("small", "10.2.0.0/29"), ("other", "10.3.0.0/24")];

fn wish() -> impl Strategy<Value = Wish> {
    let ports = vec((proptest::option::of(8000..8006_u16), 1..3_u16), 0..3);
    let networks = vec((0..3_usize, proptest::option::weighted(0.2, 2..7_u8)), 0..3);
    let volume = proptest::option::of(0..4_usize);
    let memory = proptest::option::of(1..5_u64);
    (ports, networks, volume, memory).prop_map(|(ports, networks, volume, memory)| Wish {
        ports,
        networks,
        volume,
        memory,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => wish().prop_map(Step::Place),
        1 => any::<usize>().prop_map(Step::Stop),
        2 => any::<usize>().prop_map(Step::Start),
        1 => any::<usize>().prop_map(Step::Remove),
    ]
}

fn make(things: &mut Things, number: usize, wish: &Wish) -> Instance {
    let mut instance = things.instance(&format!("i{number}"));
    instance.spec.ports = wish.ports.iter().map(|(host, count)| port(*host, 80, *count)).collect();
    let mut joined_to = Vec::new();
    for (index, fixed) in &wish.networks {
        let (name, subnet) = NETWORKS[*index];
        if !joined_to.contains(index) {
            let prefix = subnet.rsplit_once('.').unwrap().0;
            let fixed = fixed.map(|last| format!("{prefix}.{last}"));
            joined(&mut instance, name, fixed.as_deref());
            joined_to.push(*index);
        }
    }
    if let Some(volume) = wish.volume {
        mounts(&mut instance, &format!("v{volume}"));
    }
    if let Some(memory) = wish.memory {
        reserves(&mut instance, memory);
    }
    instance
}

fn world() -> Things {
    let mut things = Things::default();
    for (name, memory) in [("n1", 8), ("n2", 6), ("n3", 4)] {
        things.node(name, memory);
    }
    for (name, subnet) in NETWORKS {
        things.network(name, subnet).spec.ipv6 =
            Some(format!("fd00:{}::/64", &subnet[3..4]).parse().unwrap());
    }
    for i in 0..4 {
        things.volume(&format!("v{i}"), None);
    }
    things
}

fn happen(things: &mut Things, number: usize, step: &Step) {
    let pick = |things: &Things, at: usize| {
        (!things.instances.is_empty()).then(|| at % things.instances.len())
    };
    match step {
        Step::Place(wish) => {
            let instance = make(things, number, wish);
            let _ = things.place(instance);
        }
        Step::Stop(at) => {
            if let Some(at) = pick(things, *at) {
                things.instances[at].spec.run = RunState::Stopped;
            }
        }
        Step::Start(at) => {
            if let Some(at) = pick(things, *at) {
                let mut instance = things.instances.remove(at);
                let decision = things.ledger(Cursors::new()).place(&instance);
                if let Ok(decision) = decision {
                    instance.spec.run = RunState::Running;
                    instance.spec.placement = Some(decision.placement);
                }
                things.instances.push(instance);
            }
        }
        Step::Remove(at) => {
            if let Some(at) = pick(things, *at) {
                things.instances.remove(at);
            }
        }
    }
}

fn check(things: &Things) {
    let mut addresses = HashMap::new();
    let mut macs = HashMap::new();
    let mut reserved: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ports: Vec<(&str, &model::instance::Port)> = Vec::new();
    for instance in &things.instances {
        let name = &instance.meta.name;
        let placed = instance.spec.placement.as_ref().unwrap();
        for it in &placed.interfaces {
            let network = things.networks.iter().find(|net| net.meta.id == it.network_id).unwrap();
            let (v4, v6) = (it.ipv4.unwrap().addr(), it.ipv6.unwrap().addr());
            assert!(network.spec.ipv4.unwrap().contains(&v4));
            assert_ne!(Some(v4), network.spec.host4().map(|host| host.addr()));
            assert_ne!(Some(v6), network.spec.host6().map(|host| host.addr()));
            for address in [std::net::IpAddr::V4(v4), v6.into()] {
                let other = addresses.insert((&it.network_id, address), name);
                assert_eq!(other, None, "{address} is given twice");
            }
            let other = macs.insert((&it.network_id, &it.mac), name);
            assert_eq!(other, None, "{} is given twice", it.mac);
        }
        for mount in &instance.spec.containers[0].mounts {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            let volume = things.volumes.iter().find(|it| it.meta.name == *name).unwrap();
            assert_eq!(volume.spec.node.as_ref(), Some(&placed.node), "a volume on two nodes");
        }
        if planner::holds(instance) {
            let memory = instance.spec.containers[0].resources.memory_reservation;
            *reserved.entry(&placed.node).or_default() += memory.map_or(0, |it| it.0);
            let wanted: usize = instance.spec.ports.iter().map(|it| usize::from(it.count)).sum();
            assert_eq!(placed.ports.len(), wanted);
            for port in &placed.ports {
                let taken =
                    ports.iter().find(|(node, it)| *node == placed.node && it.collides(port));
                assert_eq!(taken, None, "a port is given twice");
                ports.push((&placed.node, port));
            }
        }
    }
    for node in &things.nodes {
        let reserved = reserved.get(node.meta.name.as_str()).copied().unwrap_or_default();
        assert!(reserved <= node.status.memory.0, "{} is over-committed", node.meta.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_twice(steps in vec(step(), 1..40)) {
        let mut things = world();
        for (number, step) in steps.iter().enumerate() {
            happen(&mut things, number, step);
            check(&things);
        }
    }

    #[test]
    fn one_ledger_answers_as_many_do(wishes in vec(wish(), 1..30)) {
        let (mut one_by_one, mut number) = (world(), 0);
        let mut all = world();
        let instances: Vec<_> =
            wishes.iter().map(|wish| { number += 1; make(&mut all, number, wish) }).collect();
        let mut ledger = all.ledger(Cursors::new());
        let mut cursors = Cursors::new();
        for (index, wish) in wishes.iter().enumerate() {
            let instance = make(&mut one_by_one, index + 1, wish);
            let fresh = one_by_one.ledger(cursors.clone());
            let (alone, together) = (fresh.place(&instance), ledger.place(&instances[index]));
            prop_assert_eq!(&alone, &together);
            let mut fresh = fresh;
            if let (Ok(alone), Ok(together)) = (alone, together) {
                ledger.take(&instances[index], &together);
                fresh.take(&instance, &alone);
                cursors = fresh.into_cursors();
                for id in &alone.volumes {
                    let volume = one_by_one.volumes.iter_mut().find(|it| it.meta.id == *id);
                    volume.unwrap().spec.node = Some(alone.placement.node.clone());
                }
                let mut placed = instance;
                placed.spec.placement = Some(alone.placement);
                one_by_one.instances.push(placed);
            }
        }
    }
}
