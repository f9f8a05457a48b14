//! Volumes and snapshots.

use control::{Mode, New, RemoveOptions};
use link::Report;
use model::instance::ImageVolume;
use model::volume::{SnapshotSpec, VolumePhase, VolumeSource, VolumeSpec};
use model::{Bytes, ErrorKind, Uid};

use crate::support::*;

async fn ready(rig: &Rig, name: &str) {
    let volumes = rig.control.volumes();
    rig.eventually("the volume is ready", || {
        volumes.get(caller(), PROJECT, name).is_ok_and(|it| it.status.phase == VolumePhase::Ready)
    })
    .await;
}

#[tokio::test]
async fn named_volumes_are_made_with_the_instance_and_protected_while_used() {
    let rig = Rig::new().await;
    let volumes = rig.control.volumes();
    rig.create("db", with_volume(spec("postgres"), "data", "/data")).await.unwrap();
    rig.until_running("db").await;
    ready(&rig, "data").await;
    rig.eventually("its user is written down", || {
        volumes.get(caller(), PROJECT, "data").unwrap().status.used_by == ["db"]
    })
    .await;
    let delete = || volumes.delete(caller(), PROJECT, "data", None, Mode::Apply);
    let error = delete().await.unwrap_err();
    assert_eq!(error.message(), "volume \"data\" is used by \"db\"");
    assert_eq!(error.next_step(), Some("`hull rm db`, then try again"));
    let pruned = volumes.prune(caller(), PROJECT, true, Mode::Apply).await.unwrap();
    assert!(pruned.names.is_empty());
    let options = RemoveOptions { force: true, volumes: true };
    rig.control.instances().remove(caller(), PROJECT, "db", options, Mode::Apply).await.unwrap();
    rig.eventually("the instance is gone", || rig.get("db").is_err()).await;
    assert!(volumes.get(caller(), PROJECT, "data").is_ok(), "a named volume stays");
    let planned = volumes.prune(caller(), PROJECT, true, Mode::Plan).await.unwrap();
    assert_eq!(planned.names, ["data"]);
    delete().await.unwrap();
    rig.eventually("it is gone", || volumes.get(caller(), PROJECT, "data").is_err()).await;
}

#[tokio::test]
async fn a_volume_mounted_twice_is_one_volume() {
    let rig = Rig::new().await;
    let mut twice = with_volume(with_volume(spec("a"), "data", "/one"), "data", "/two");
    let mut first = twice.containers[0].clone();
    first.name = "first".into();
    twice.init = vec![first];
    rig.create("twice", twice).await.unwrap();
    rig.until_running("twice").await;
    ready(&rig, "data").await;
}

#[tokio::test]
async fn volumes_grow_and_do_not_shrink() {
    let rig = Rig::new().await;
    let volumes = rig.control.volumes();
    let spec = VolumeSpec { size: Some(Bytes::gib(1)), ..VolumeSpec::default() };
    volumes.create(caller(), PROJECT, New::named("data", spec), Mode::Apply).await.unwrap();
    let grow = |size| volumes.grow(caller(), PROJECT, "data", size, Mode::Apply);
    assert_eq!(grow(Bytes::gib(2)).await.unwrap().spec.size, Some(Bytes::gib(2)));
    let error = grow(Bytes::mib(512)).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("spec.size")));
}

#[tokio::test]
async fn storage_of_a_plugin() {
    let rig = Rig::new().await;
    let (volumes, snapshots) = (rig.control.volumes(), rig.control.snapshots());
    let make = |name: &str, change: fn(&mut VolumeSpec)| {
        let mut spec = VolumeSpec { storage: PLUGIN.into(), ..VolumeSpec::default() };
        change(&mut spec);
        let new = New::named(name, spec);
        volumes.create(caller(), PROJECT, new, Mode::Apply)
    };
    make("far", |spec| drop(spec.options.insert("stays".into(), String::new()))).await.unwrap();
    ready(&rig, "far").await;
    type Change = fn(&mut VolumeSpec);
    let cases: [(Change, ErrorKind, &str); 4] = [
        (|spec| spec.storage = "ceph".into(), ErrorKind::NotFound, "spec.storage"),
        (|spec| spec.size = Some(Bytes::gib(1)), ErrorKind::Unsupported, "spec.size"),
        (
            |spec| spec.source = Some(VolumeSource::Volume("far".into())),
            ErrorKind::Unsupported,
            "spec.source",
        ),
        (
            |spec| {
                spec.storage = "local".into();
                spec.source = Some(VolumeSource::Volume("far".into()));
            },
            ErrorKind::Unsupported,
            "spec.source",
        ),
    ];
    for (change, kind, field) in cases {
        let error = make("other", change).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (kind, Some(field)), "{}", error.chain());
    }
    let new = New::named("s", SnapshotSpec { volume: "far".into(), ..SnapshotSpec::default() });
    let error = snapshots.create(caller(), PROJECT, new, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = volumes.rename(caller(), PROJECT, "far", "near", Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(volumes.prune(caller(), PROJECT, true, Mode::Apply).await.unwrap().names.is_empty());
    // Its plugin will not remove it: it stays.
    volumes.delete(caller(), PROJECT, "far", None, Mode::Apply).await.unwrap();
    let kept = || volumes.get(caller(), PROJECT, "far").unwrap();
    rig.eventually("its removal is called off", || kept().meta.deleted.is_none()).await;
    assert_eq!(kept().status.phase, VolumePhase::Ready);
    make("plain", |spec| spec.storage = "local".into()).await.unwrap();
    let error = volumes.forget(caller(), PROJECT, "plain").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "it is no plugin's");
}

#[tokio::test]
async fn snapshots_are_taken_of_ready_volumes_and_begin_others() {
    let rig = Rig::new().await;
    let (volumes, snapshots) = (rig.control.volumes(), rig.control.snapshots());
    let make = |name: &str, source| {
        let spec = VolumeSpec { source, ..VolumeSpec::default() };
        let new = New::named(name, spec);
        let volumes = volumes.clone();
        async move { volumes.create(caller(), PROJECT, new, Mode::Apply).await }
    };
    make("data", None).await.unwrap();
    ready(&rig, "data").await;
    let spec = SnapshotSpec { volume: "data".into(), ..SnapshotSpec::default() };
    let new = New::named("monday", spec);
    let taken = snapshots.create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    assert_eq!(taken.spec.node.as_deref(), Some(NODE));
    let error = make("copy", Some(VolumeSource::Snapshot("sunday".into()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    make("copy", Some(VolumeSource::Snapshot("monday".into()))).await.unwrap();
    ready(&rig, "copy").await;
    snapshots.delete(caller(), PROJECT, "monday", None, Mode::Apply).await.unwrap();
    rig.eventually("it is gone", || snapshots.get(caller(), PROJECT, "monday").is_err()).await;
}

#[tokio::test]
async fn what_an_image_asked_for_is_recorded_as_its_instances_own() {
    let rig = Rig::new().await;
    let volumes = rig.control.volumes();
    for (name, byte) in [("keeps", 7), ("takes", 8)] {
        let made = rig.create(name, spec("redis")).await.unwrap();
        let running = rig.until_running(name).await;
        let mut status = running.status.clone();
        let volume = ImageVolume { id: Uid::from_bytes([byte; 32]), target: "/data".into() };
        let own = volume.name().to_owned();
        status.containers[0].volumes.push(volume);
        rig.report(vec![Report::Instance(made.meta.id.clone(), Box::new(status))]).await;
        let seen = volumes.get(caller(), PROJECT, &own).unwrap();
        assert!(seen.spec.anonymous && seen.spec.node.is_some());
        assert_eq!(seen.meta.owner.as_ref().unwrap().id, made.meta.id);
        rig.eventually("its user is written down", || {
            volumes.get(caller(), PROJECT, &own).is_ok_and(|it| it.status.used_by == [name])
        })
        .await;
        let error = volumes.delete(caller(), PROJECT, &own, None, Mode::Apply).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let pruned = volumes.prune(caller(), PROJECT, true, Mode::Plan).await.unwrap();
        assert!(!pruned.names.contains(&own));

        let options = RemoveOptions { force: true, volumes: name == "takes" };
        rig.control
            .instances()
            .remove(caller(), PROJECT, name, options, Mode::Apply)
            .await
            .unwrap();
        rig.eventually("the instance is gone", || rig.get(name).is_err()).await;
        if name == "takes" {
            let gone = || volumes.get(caller(), PROJECT, &own).is_err();
            rig.eventually("it went with its instance", gone).await;
        } else {
            let pruned = volumes.prune(caller(), PROJECT, false, Mode::Plan).await.unwrap();
            assert_eq!(pruned.names, [own]);
        }
    }
}
