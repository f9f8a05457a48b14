//! Nodes and projects.

use std::sync::Arc;

use control::{Config, Control, Mode, New};
use model::ErrorKind;
use model::node::NodeSpec;
use model::project::ProjectSpec;
use store::sqlite::{Config as StoreConfig, SqliteStore};

use crate::support::*;

#[tokio::test]
async fn a_cordoned_node_takes_nothing_new() {
    let rig = Rig::silent().await;
    let nodes = rig.control.nodes();
    let cordon = async |cordoned| {
        let edit = |(_, _, spec): control::Editable<'_, model::node::NodeNoun>| {
            spec.cordoned = cordoned;
            Ok(())
        };
        nodes.update(caller(), "", NODE, None, edit, Mode::Apply).await.unwrap();
    };
    cordon(true).await;
    rig.create("web", spec("a")).await.unwrap();
    let waiting = rig.until("web", |it| it.status.reason.is_some()).await;
    let reason = waiting.status.reason.clone().unwrap();
    assert_eq!(reason.next.as_deref(), Some("`hull node uncordon n1`"));
    cordon(false).await;
    rig.until("web", |it| it.spec.placement.is_some()).await;
    let error = nodes.delete(caller(), "", NODE, None, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let new = New::named("n2", NodeSpec::default());
    assert!(nodes.create(caller(), "", new, Mode::Apply).await.is_err());
    let renamed = nodes.rename(caller(), "", NODE, "n9", Mode::Apply).await;
    assert_eq!(renamed.unwrap_err().field(), Some("meta.name"));
}

#[tokio::test]
async fn memory_that_is_reserved_is_not_given_twice() {
    let rig = Rig::silent().await;
    let reserving = |gib| {
        let mut spec = spec("a");
        spec.containers[0].resources.memory_reservation = Some(model::Bytes::gib(gib));
        spec
    };
    rig.create("big", reserving(6)).await.unwrap();
    rig.until("big", |it| it.spec.placement.is_some()).await;
    rig.create("more", reserving(3)).await.unwrap();
    let more = rig.until("more", |it| it.status.reason.is_some()).await;
    let reason = more.status.reason.clone().unwrap();
    assert_eq!(reason.code, "NoMemory");
    assert!(
        reason.message.ends_with("3 GiB of memory asked for, 2 GiB left unreserved"),
        "{}",
        reason.message
    );
}

#[tokio::test]
async fn a_node_that_is_silent_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(StoreConfig::new(dir.path().join("state.db"))).await.unwrap();
    let grace = std::time::Duration::from_millis(20);
    let config = Config { node_grace: grace, ..Config::new(Arc::new(store), NODE) };
    let control = Control::open(config).await.unwrap();
    let agent = Agent::start(control.clone(), Arc::default()).await;
    let ready = || control.nodes().get(caller(), "", NODE).unwrap().status.ready;
    assert!(ready());
    agent.stop().await;
    control.disconnect_node(NODE);
    let lost = async {
        while ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, lost).await.unwrap();
    let loops = control.loops();
    assert!(loops.iter().any(|it| it.name == "liveness" && it.passes > 0));
}

#[tokio::test]
async fn projects_keep_their_own_names_and_go_when_they_are_empty() {
    let rig = Rig::silent().await;
    let (projects, instances) = (rig.control.projects(), rig.control.instances());
    let new = New::named("shop", ProjectSpec::default());
    projects.create(caller(), "", new, Mode::Apply).await.unwrap();
    rig.create("web", stopped("a")).await.unwrap();
    let in_shop = instances.create(caller(), "shop", named("web", stopped("a")), Mode::Apply);
    in_shop.await.unwrap();
    let delete = || projects.delete(caller(), "", "shop", None, Mode::Apply);
    let error = delete().await.unwrap_err();
    assert_eq!(error.message(), "project \"shop\" still has instance \"web\"");
    let networks = rig.control.networks();
    assert_eq!(networks.list(caller(), None, &Default::default()).unwrap().items.len(), 2);
    let error = projects.delete(caller(), "", PROJECT, None, Mode::Apply).await.unwrap_err();
    assert_eq!(error.message(), "the default project cannot be removed");
}
