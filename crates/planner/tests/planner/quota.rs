//! Quotas of projects.

use insta::assert_snapshot;
use model::instance::{DiskOptions, MachineSpec, Phase, RunState};
use model::project::{Quota, Used};
use model::{Bytes, Cpus};
use planner::quota::within;
use planner::{Cursors, volumes};

use crate::world::{Things, limited, mounts, told};

fn world(quota: Quota) -> Things {
    let mut things = Things::default();
    things.node("n1", 8);
    things.network("default", "10.128.0.0/24");
    things.quota(quota);
    things
}

#[test]
fn what_runs_is_counted() {
    let mut things = world(Quota { instances: Some(2), ..Quota::default() });
    for name in ["a", "b"] {
        let it = things.instance(name);
        things.place(it).unwrap();
    }
    let c = things.instance("c");
    assert_snapshot!(told(&things.place(c.clone())), @r##"
    QuotaExceeded: project "p" has a quota of 2 for instances, and too little of it is left for instance "c", which wants 1
    next: stop or remove something in the project, or have an admin raise it: `hull project update p --quota instances=…`
    "##);
    // What does not run takes nothing, and may be made.
    let mut idle = things.instance("idle");
    idle.spec.run = RunState::Stopped;
    things.place(idle).unwrap();
    things.instances[0].status.phase = Phase::Exited;
    things.instances[0].status.runs = 1;
    things.place(c).unwrap();
}

#[test]
fn limits_are_what_is_taken() {
    let quota = Quota {
        cpus: Some(Cpus::from_milli(2000)),
        memory: Some(Bytes::gib(1)),
        ..Quota::default()
    };
    let mut things = world(quota);
    let mut web = things.instance("web");
    assert_snapshot!(told(&things.place(web.clone())), @r##"
    LimitMissing: project "p" has a quota for cpus, and instance "web" has no limit of it
    next: give it one: --cpus 0.5
    "##);
    web.spec.containers[0].resources.cpus = Some(Cpus::from_milli(500));
    assert_snapshot!(told(&things.place(web.clone())), @r##"
    LimitMissing: project "p" has a quota for memory, and instance "web" has no limit of it
    next: give it one: --memory 256m
    "##);
    // The other way to say half a processor.
    limited(&mut web, 0, 768);
    web.spec.containers[0].resources.cpus = None;
    web.spec.containers[0].resources.cpu_quota = Some(50_000);
    things.place(web).unwrap();
    let mut more = things.instance("more");
    limited(&mut more, 1000, 512);
    assert_snapshot!(told(&things.place(more.clone())), @r##"
    QuotaExceeded: project "p" has a quota of 1 GiB for memory, and too little of it is left for instance "more", which wants 512 MiB
    next: stop or remove something in the project, or have an admin raise it: `hull project update p --quota memory=…`
    "##);
    // A machine has whole processors: 1.2 are two.
    limited(&mut more, 1200, 256);
    things.place(more.clone()).unwrap();
    more.meta.name = "machine".to_owned();
    things.instances.pop();
    more.spec.machine = Some(MachineSpec::default());
    assert_snapshot!(told(&things.place(more)), @r##"
    QuotaExceeded: project "p" has a quota of 2 for cpus, and too little of it is left for instance "machine", which wants 2
    next: stop or remove something in the project, or have an admin raise it: `hull project update p --quota cpus=…`
    "##);
}

#[test]
fn what_runs_before_the_others_runs_alone() {
    let quota = Quota { memory: Some(Bytes::mib(600)), ..Quota::default() };
    let mut things = world(quota);
    let mut web = things.instance("web");
    limited(&mut web, 100, 200);
    let more = web.spec.containers[0].clone();
    web.spec.init = vec![more.clone(), more.clone()];
    web.spec.containers.push(more);
    things.place(web.clone()).unwrap();
    web.meta.name = "next".to_owned();
    things.instances.clear();
    web.spec.init[1].resources.memory = Some(Bytes::mib(601));
    assert_snapshot!(told(&things.place(web)), @r##"
    QuotaExceeded: project "p" has a quota of 600 MiB for memory, and too little of it is left for instance "next", which wants 601 MiB
    next: stop or remove something in the project, or have an admin raise it: `hull project update p --quota memory=…`
    "##);
}

#[test]
fn volumes_are_counted_when_they_have_a_node() {
    let quota = Quota { volumes: Some(2), storage: Some(Bytes::gib(20)), ..Quota::default() };
    let mut things = world(quota);
    things.volume("old", Some("n1"));
    things.volume("data", None);
    let mut web = things.instance("web");
    mounts(&mut web, "data");
    mounts(&mut web, "old");
    assert_snapshot!(told(&things.place(web.clone())), @r##"
    LimitMissing: project "p" has a quota for storage, and volume "data" has no size
    next: give it one: `hull volume grow data 1g`
    "##);
    things.volumes[1].spec.size = Some(Bytes::gib(15));
    things.place(web.clone()).unwrap();
    things.volume("more", None);
    let answer = |things: &Things| {
        let reason = volumes::choose_node(&things.ledger(Cursors::new()), &things.volumes[2]);
        reason.map_err(|it| format!("{}: {}", it.code, it.message))
    };
    assert_snapshot!(answer(&things).unwrap_err(), @r##"
    LimitMissing: project "p" has a quota for storage, and volume "more" has no size
    "##);
    things.volumes[2].spec.size = Some(Bytes::gib(1));
    assert_snapshot!(answer(&things).unwrap_err(), @r##"
    QuotaExceeded: project "p" has a quota of 2 for volumes, and too little of it is left for volume "more", which wants 1
    "##);
    // A disk in a volume is as large as it is asked to be.
    things.volumes.remove(0);
    let mut machine = things.instance("machine");
    mounts(&mut machine, "more");
    things.volumes[1].spec.size = None;
    machine.spec.containers[0].mounts[0].disk = Some(DiskOptions::default());
    assert_snapshot!(told(&things.place(machine.clone())), @r##"
    QuotaExceeded: project "p" has a quota of 20 GiB for storage, and too little of it is left for instance "machine", which wants 10 GiB
    next: stop or remove something in the project, or have an admin raise it: `hull project update p --quota storage=…`
    "##);
    let size = Some(Bytes::gib(3));
    machine.spec.containers[0].mounts[0].disk =
        Some(DiskOptions { size, ..DiskOptions::default() });
    machine.spec.machine =
        Some(MachineSpec { root_size: Some(Bytes::gib(4)), ..MachineSpec::default() });
    assert_snapshot!(told(&things.place(machine.clone())), @r##"
    QuotaExceeded: project "p" has a quota of 20 GiB for storage, and too little of it is left for instance "machine", which wants 7 GiB
    next: stop or remove something in the project, or have an admin raise it: `hull project update p --quota storage=…`
    "##);
    machine.spec.machine = None;
    things.place(machine).unwrap();
}

#[test]
fn what_was_had_before_can_be_kept() {
    let quota = Quota { memory: Some(Bytes::gib(1)), ..Quota::default() };
    let gib = |n| Used { memory: Bytes::gib(n), ..Used::default() };
    let check = |before, after| within(&quota, "p", "instance \"a\"", &gib(before), &gib(after));
    assert!(check(4, 4).is_ok() && check(4, 3).is_ok() && check(0, 1).is_ok());
    assert!(check(4, 5).is_err() && check(0, 2).is_err());
}
