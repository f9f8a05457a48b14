//! Quotas of projects: what waits for them, what is refused, and what is written of their use.

use control::{Editable, Mode, New, StopOptions};
use model::instance::{
    DiskOptions, InstanceNoun, InstanceSpec, MachineSpec, Mount, MountKind, Phase, RestartPolicy,
    RunState,
};
use model::project::{ProjectNoun, Quota, Used};
use model::volume::VolumeSpec;
use model::{Bytes, ErrorKind};

use crate::support::*;

async fn bound(rig: &Rig, quota: Quota) {
    let edit = |(_, _, spec): Editable<'_, ProjectNoun>| {
        spec.quota = quota.clone();
        Ok(())
    };
    rig.control.projects().update(caller(), "", PROJECT, None, edit, Mode::Apply).await.unwrap();
}

fn with_memory(mib: u64) -> InstanceSpec {
    let mut spec = spec("a");
    spec.containers[0].resources.memory = Some(Bytes::mib(mib));
    spec
}

async fn used(rig: &Rig, expected: Option<Used>) {
    let projects = rig.control.projects();
    rig.eventually("what is used is written", || {
        projects.get(caller(), "", PROJECT).unwrap().status.used == expected
    })
    .await;
}

#[tokio::test]
async fn what_goes_beyond_waits_until_there_is_room() {
    let rig = Rig::new().await;
    let instances = rig.control.instances();
    bound(&rig, Quota { memory: Some(Bytes::mib(100)), ..Quota::default() }).await;
    rig.create("a", with_memory(60)).await.unwrap();
    rig.until_running("a").await;
    rig.create("b", with_memory(60)).await.unwrap();
    let waiting = rig.until("b", |it| it.status.reason.is_some()).await;
    let reason = waiting.status.reason.clone().unwrap();
    assert_eq!(reason.code, "QuotaExceeded");
    assert_eq!(
        reason.message,
        "project \"default\" has a quota of 100 MiB for memory, and too little of it is left for instance \"b\", \
         which wants 60 MiB"
    );
    let told = rig.control.explain(caller(), PROJECT, None, "b").unwrap();
    assert_eq!(told[0].reasons[0].code, "QuotaExceeded");
    used(&rig, Some(Used { instances: 1, memory: Bytes::mib(60), ..Used::default() })).await;
    // One that stops makes room; it cannot come back while another has it.
    instances.stop(caller(), PROJECT, "a", &StopOptions::default(), Mode::Apply).await.unwrap();
    rig.until_running("b").await;
    rig.until("a", |it| it.status.phase == Phase::Exited).await;
    let error = instances.start(caller(), PROJECT, "a", Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    bound(&rig, Quota { memory: Some(Bytes::mib(120)), ..Quota::default() }).await;
    instances.start(caller(), PROJECT, "a", Mode::Apply).await.unwrap();
    rig.until_running("a").await;
    bound(&rig, Quota::default()).await;
    used(&rig, None).await;
}

#[tokio::test]
async fn a_quota_that_grows_or_goes_lets_in_who_waits() {
    let rig = Rig::new().await;
    bound(&rig, Quota { instances: Some(0), ..Quota::default() }).await;
    rig.create("a", spec("a")).await.unwrap();
    rig.create("b", spec("a")).await.unwrap();
    rig.until("b", |it| it.status.reason.is_some()).await;
    bound(&rig, Quota { instances: Some(1), ..Quota::default() }).await;
    rig.until_running("a").await;
    rig.until("b", |it| it.status.reason.is_some() && it.spec.placement.is_none()).await;
    bound(&rig, Quota::default()).await;
    rig.until_running("b").await;
}

#[tokio::test]
async fn what_is_there_does_not_grow_beyond_it() {
    let rig = Rig::new().await;
    let instances = rig.control.instances();
    rig.create("a", with_memory(60)).await.unwrap();
    rig.until_running("a").await;
    // Smaller than what is used: that goes on, and may have less.
    bound(&rig, Quota { memory: Some(Bytes::mib(50)), ..Quota::default() }).await;
    let resize = async |memory: Option<Bytes>| {
        let edit = |(_, _, spec): Editable<'_, InstanceNoun>| {
            spec.containers[0].resources.memory = memory;
            Ok(())
        };
        instances.update(caller(), PROJECT, "a", None, edit, Mode::Apply).await
    };
    let error = resize(Some(Bytes::mib(70))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    let error = resize(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    resize(Some(Bytes::mib(55))).await.unwrap();
    let volumes = rig.control.volumes();
    let size = |gib| VolumeSpec { size: Some(Bytes::gib(gib)), ..VolumeSpec::default() };
    let new = New::named("data", size(2));
    volumes.create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    rig.eventually("the volume has a node", || {
        volumes.get(caller(), PROJECT, "data").unwrap().spec.node.is_some()
    })
    .await;
    bound(&rig, Quota { storage: Some(Bytes::gib(3)), ..Quota::default() }).await;
    let grow = async |gib| {
        let edit = |(_, _, spec): Editable<'_, model::volume::VolumeNoun>| {
            *spec = VolumeSpec { size: Some(Bytes::gib(gib)), ..spec.clone() };
            Ok(())
        };
        volumes.update(caller(), PROJECT, "data", None, edit, Mode::Apply).await
    };
    let error = grow(4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    grow(3).await.unwrap();
    let new = New::named("more", size(1));
    volumes.create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    rig.eventually("the volume waits", || {
        let more = volumes.get(caller(), PROJECT, "more").unwrap();
        more.status.reason.as_ref().is_some_and(|it| it.code == "QuotaExceeded")
    })
    .await;
    bound(&rig, Quota { storage: Some(Bytes::gib(4)), ..Quota::default() }).await;
    rig.eventually("the volume has a node", || {
        volumes.get(caller(), PROJECT, "more").unwrap().spec.node.is_some()
    })
    .await;
}

/// What an ended instance begins again by is a start like any other.
#[tokio::test]
async fn another_policy_is_no_way_round() {
    let rig = Rig::new().await;
    let instances = rig.control.instances();
    bound(&rig, Quota { instances: Some(1), ..Quota::default() }).await;
    rig.create("a", spec("a")).await.unwrap();
    rig.until_running("a").await;
    let id = rig.get("a").unwrap().meta.id.clone();
    rig.agent.as_ref().unwrap().exit(&id, 1);
    rig.until("a", |it| it.status.phase == Phase::Exited).await;
    rig.create("b", spec("a")).await.unwrap();
    rig.until_running("b").await;
    let restart = |restart| {
        let instances = instances.clone();
        async move {
            let edit = |(_, _, spec): Editable<'_, InstanceNoun>| {
                spec.restart = restart;
                Ok(())
            };
            instances.update(caller(), PROJECT, "a", None, edit, Mode::Apply).await
        }
    };
    let error = restart(RestartPolicy::Always).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    let options = StopOptions::default();
    instances.stop(caller(), PROJECT, "b", &options, Mode::Apply).await.unwrap();
    rig.until("b", |it| it.status.phase == Phase::Exited).await;
    restart(RestartPolicy::Always).await.unwrap();
}

/// What has ended begins again as it is to be, not as it was.
#[tokio::test]
async fn another_policy_brings_its_limits_along() {
    let rig = Rig::new().await;
    bound(&rig, Quota { memory: Some(Bytes::mib(100)), ..Quota::default() }).await;
    rig.create("a", with_memory(60)).await.unwrap();
    rig.until_running("a").await;
    let id = rig.get("a").unwrap().meta.id.clone();
    rig.agent.as_ref().unwrap().exit(&id, 1);
    rig.until("a", |it| it.status.phase == Phase::Exited).await;
    let instances = rig.control.instances();
    let again = async |mib| {
        let edit = |(_, _, spec): Editable<'_, InstanceNoun>| {
            spec.restart = RestartPolicy::Always;
            spec.containers[0].resources.memory = Some(Bytes::mib(mib));
            Ok(())
        };
        instances.update(caller(), PROJECT, "a", None, edit, Mode::Apply).await
    };
    let error = again(1000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    again(90).await.unwrap();
}

/// A node that starts anew runs what is to run always, as far as there is room.
#[tokio::test]
async fn a_restart_of_the_node_is_no_way_round() {
    let rig = Rig::new().await;
    let instances = rig.control.instances();
    for name in ["a", "b", "c"] {
        let mut always = spec("a");
        always.restart = RestartPolicy::Always;
        rig.create(name, always).await.unwrap();
        rig.until_running(name).await;
        let options = StopOptions::default();
        instances.stop(caller(), PROJECT, name, &options, Mode::Apply).await.unwrap();
        rig.until(name, |it| it.status.phase == Phase::Exited).await;
    }
    bound(&rig, Quota { instances: Some(2), ..Quota::default() }).await;
    drop(instances);
    let rig = rig.reopened().await;
    let runs = ["a", "b", "c"].map(|name| rig.get(name).unwrap().spec.run);
    let running = runs.iter().filter(|run| **run == RunState::Running).count();
    assert_eq!(running, 2, "{runs:?}");
}

/// A volume that waits, as it is too large, does not come in as a disk either; and what a disk took is
/// counted when the disk is out of the machine again.
#[tokio::test]
async fn disks_of_machines_are_counted_as_what_they_are() {
    let rig = Rig::new().await;
    let (instances, volumes) = (rig.control.instances(), rig.control.volumes());
    bound(&rig, Quota { storage: Some(Bytes::gib(20)), ..Quota::default() }).await;
    let mut machine = stopped("a");
    machine.machine = Some(MachineSpec::default());
    rig.create("vm", machine).await.unwrap();
    rig.until("vm", |it| it.spec.placement.is_some()).await;
    let size = |gib| VolumeSpec { size: Some(Bytes::gib(gib)), ..VolumeSpec::default() };
    volumes.create(caller(), PROJECT, New::named("big", size(100)), Mode::Apply).await.unwrap();
    let disks = |disks: Vec<(&'static str, u64)>| {
        let instances = instances.clone();
        async move {
            let edit = |(_, _, spec): Editable<'_, InstanceNoun>| {
                let mount = |(name, gib): &(&str, u64)| {
                    let size = (*gib > 0).then(|| Bytes::gib(*gib));
                    let kind = MountKind::Volume {
                        name: (*name).to_owned(),
                        subpath: String::new(),
                        no_copy: false,
                    };
                    let disk = Some(DiskOptions { size, ..DiskOptions::default() });
                    Mount { kind, target: format!("/{name}"), read_only: false, disk }
                };
                spec.containers[0].mounts = disks.iter().map(mount).collect();
                Ok(())
            };
            instances.update(caller(), PROJECT, "vm", None, edit, Mode::Apply).await
        }
    };
    let error = disks(vec![("big", 0)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    disks(vec![("d1", 15)]).await.unwrap();
    rig.eventually("the size of the disk is written", || {
        volumes.get(caller(), PROJECT, "d1").unwrap().status.disk == Some(Bytes::gib(15))
    })
    .await;
    let error = disks(vec![("d2", 15)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    disks(vec![("d2", 5)]).await.unwrap();
}
