//! What can be changed of objects that exist, and by whom.

use control::{Editable, Mode};
use model::instance::{InstanceNoun, RestartPolicy, RunState};
use model::{Bytes, ErrorKind, Result};

use crate::support::*;

/// Changes the instance `web`.
async fn update(
    rig: &Rig,
    expected: Option<u64>,
    edit: impl Fn(Editable<'_, InstanceNoun>),
    mode: Mode,
) -> Result<std::sync::Arc<model::instance::Instance>> {
    let edit = |parts: Editable<'_, InstanceNoun>| {
        edit(parts);
        Ok(())
    };
    rig.control.instances().update(caller(), PROJECT, "web", expected, edit, mode).await
}

#[tokio::test]
async fn what_a_running_instance_can_take_is_taken_and_told_to_its_node() {
    let rig = Rig::silent().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let before = rig.until("web", |it| it.spec.placement.is_some()).await;
    let edit = |(labels, _, spec): Editable<'_, InstanceNoun>| {
        labels.insert("tier".into(), "front".into());
        spec.restart = RestartPolicy::Always;
        spec.stop_timeout = Some("3s".parse().unwrap());
        spec.containers[0].resources.memory = Some(Bytes::mib(64));
    };
    let planned = update(&rig, None, edit, Mode::Plan).await.unwrap();
    assert_eq!(planned.spec.restart, RestartPolicy::Always);
    assert_eq!(rig.get("web").unwrap(), before, "a plan changes nothing");
    let after = update(&rig, Some(before.meta.revision), edit, Mode::Apply).await.unwrap();
    assert_eq!(after.meta.generation, before.meta.generation + 1);
    rig.eventually("the node is told", || {
        rig.desired().instances[0].spec.containers[0].resources.memory == Some(Bytes::mib(64))
    })
    .await;
    let again = update(&rig, None, edit, Mode::Apply).await.unwrap();
    assert_eq!(again.meta.revision, after.meta.revision, "nothing to change");
}

#[tokio::test]
async fn what_it_cannot_take_is_refused_naming_the_field() {
    let rig = Rig::silent().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let before = rig.until("web", |it| it.spec.placement.is_some()).await;
    type Edit = fn(Editable<'_, InstanceNoun>);
    let cases: [(Edit, ErrorKind, &str); 6] = [
        (
            |(_, _, it)| it.containers[0].image = "b".into(),
            ErrorKind::Conflict,
            "spec.containers[0].image",
        ),
        (|(_, _, it)| it.placement = None, ErrorKind::Conflict, "spec.placement"),
        (|(_, _, it)| it.runs = 9, ErrorKind::Conflict, "spec.runs"),
        (|(_, _, it)| it.run = RunState::Stopped, ErrorKind::Conflict, "spec.run"),
        (|(_, _, it)| it.hostname = "x".into(), ErrorKind::Conflict, "spec.hostname"),
        (
            |(_, _, it)| it.containers[0].resources.memory = Some(Bytes(1)),
            ErrorKind::Invalid,
            "spec.containers[0].resources.memory",
        ),
    ];
    for (edit, kind, field) in cases {
        let error = update(&rig, None, edit, Mode::Apply).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (kind, Some(field)), "{error}");
        assert!(kind == ErrorKind::Invalid || error.next_step().is_some());
    }
    assert_eq!(rig.get("web").unwrap(), before);
}

#[tokio::test]
async fn a_change_of_another_revision_is_refused() {
    let rig = Rig::silent().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let error = update(&rig, Some(1), |_| {}, Mode::Apply).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("meta.revision")));
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_made() {
    let rig = std::sync::Arc::new(Rig::silent().await);
    rig.create("web", spec("nginx")).await.unwrap();
    let edits: Vec<_> = (0..20)
        .map(|i| {
            let rig = rig.clone();
            tokio::spawn(async move {
                let edit = |(labels, _, _): Editable<'_, InstanceNoun>| {
                    labels.insert(format!("label-{i}"), String::new());
                };
                update(&rig, None, edit, Mode::Apply).await.unwrap();
            })
        })
        .collect();
    for edit in edits {
        edit.await.unwrap();
    }
    assert_eq!(rig.get("web").unwrap().meta.labels.len(), 20);
}
