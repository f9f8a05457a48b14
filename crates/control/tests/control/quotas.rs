//! Quotas of projects: what waits for them, what is refused, and what is written of their use.

use control::{Editable, Mode, New, StopOptions};
use model::instance::{InstanceSpec, Phase};
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
        "project \"default\" has a quota of 100 MiB for memory: 60 MiB used, and instance \"b\" wants 60 MiB more"
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
        let edit = |(_, _, spec): Editable<'_, model::instance::InstanceNoun>| {
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
