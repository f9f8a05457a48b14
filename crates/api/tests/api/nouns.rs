//! What all nouns have in common.

use client::wire::{DeleteQuery, Draft, ListQuery};
use model::ErrorKind;
use model::instance::Phase;
use model::network::NetworkSpec;
use model::project::ProjectSpec;
use model::volume::{SnapshotSpec, VolumePhase, VolumeSpec};
use serde_json::json;

use crate::world::{World, spec, until};

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_created_read_changed_renamed_and_removed() {
    let world = World::start().await;
    for client in [world.local(), world.remote()] {
        let networks = client.networks("default");
        let draft = Draft::new("front", NetworkSpec { internal: true, ..NetworkSpec::default() });
        let planned = networks.create(&draft, true).await.unwrap();
        assert_eq!((planned.meta.name.as_str(), planned.meta.revision), ("front", 0));
        assert_eq!(networks.get("front").await.unwrap_err().kind(), ErrorKind::NotFound);
        let made = networks.create(&draft, false).await.unwrap();
        assert!(made.spec.internal && made.meta.revision > 0);
        let error = networks.create(&draft, false).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Exists, Some("meta.name")));
        assert_eq!(networks.get(made.meta.id.short()).await.unwrap().meta.id, made.meta.id);
        let patch = json!({ "meta": { "labels": { "tier": "web" } } });
        let planned = networks.patch("front", &patch, None, true).await.unwrap();
        assert_eq!(planned.meta.labels["tier"], "web");
        assert!(networks.get("front").await.unwrap().meta.labels.is_empty());
        let changed =
            networks.patch("front", &patch, Some(made.meta.revision), false).await.unwrap();
        assert!(changed.meta.revision > made.meta.revision);
        let stale = networks.patch("front", &patch, Some(made.meta.revision), false).await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
        let renamed = networks.rename("front", "back", false).await.unwrap();
        assert_eq!(renamed.meta.id, made.meta.id);
        networks.delete("back", DeleteQuery { plan: true, ..Default::default() }).await.unwrap();
        assert!(networks.get("back").await.unwrap().meta.deleted.is_none());
        networks.delete("back", DeleteQuery::default()).await.unwrap();
        until(async || networks.get("back").await.is_err()).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_noun_can_be_made_listed_and_removed() {
    let world = World::start().await;
    let client = world.remote();
    let projects = client.projects();
    let project = Draft::new(
        "lab",
        ProjectSpec { description: "for trying".into(), ..ProjectSpec::default() },
    );
    projects.create(&project, false).await.unwrap();
    let volumes = client.volumes("lab");
    volumes.create(&Draft::new("data", VolumeSpec::default()), false).await.unwrap();
    until(async || volumes.get("data").await.unwrap().status.phase == VolumePhase::Ready).await;
    let snapshots = client.snapshots("lab");
    let of_data = SnapshotSpec { volume: "data".into(), ..SnapshotSpec::default() };
    snapshots.create(&Draft::new("s1", of_data), false).await.unwrap();
    let instances = client.instances("lab");
    let unnamed = instances.create(&Draft::new("", spec("busybox")), false).await.unwrap();
    assert!(!unnamed.meta.name.is_empty());
    assert_eq!(volumes.list(&ListQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(snapshots.list(&ListQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(client.nodes().list(&ListQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(projects.list(&ListQuery::default()).await.unwrap().items.len(), 2);
    let busy = projects.delete("lab", DeleteQuery::default()).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Conflict);
    assert!(busy.message().contains(&unnamed.meta.name), "{busy}");
    let force = DeleteQuery { force: true, ..DeleteQuery::default() };
    instances.delete(&unnamed.meta.name, force).await.unwrap();
    let refused = volumes.delete("data", force).await.unwrap_err();
    assert_eq!(refused.field(), Some("force"));
    let cordon = json!({ "spec": { "cordoned": true } });
    assert!(client.nodes().patch("n1", &cordon, None, false).await.unwrap().spec.cordoned);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_selected_and_paged() {
    let world = World::start().await;
    let client = world.local();
    let volumes = client.volumes("default");
    for i in 0..25 {
        let mut draft = Draft::new(format!("v{i:02}"), VolumeSpec::default());
        draft.meta.labels.insert("even".into(), (i % 2 == 0).to_string());
        volumes.create(&draft, false).await.unwrap();
    }
    let query = ListQuery { limit: Some(10), ..ListQuery::default() };
    let page = volumes.list(&query).await.unwrap();
    assert_eq!(page.items.len(), 10);
    assert!(page.r#continue.is_some());
    let all = volumes.list_all(&query).await.unwrap();
    let names: Vec<_> = all.iter().map(|volume| volume.meta.name.as_str()).collect();
    assert_eq!(names.len(), 25);
    assert!(names.is_sorted());
    let even = ListQuery { labels: "even=true".into(), ..ListQuery::default() };
    assert_eq!(volumes.list(&even).await.unwrap().items.len(), 13);
    let one = ListQuery { fields: "meta.name=v07".into(), ..ListQuery::default() };
    assert_eq!(volumes.list(&one).await.unwrap().items[0].meta.name, "v07");
    let everywhere = client.volumes("-").list(&ListQuery::default()).await.unwrap();
    assert_eq!(everywhere.items.len(), 25);
    for (query, field) in [
        (ListQuery { r#continue: "%%".into(), ..ListQuery::default() }, "continue"),
        (ListQuery { labels: "=x".into(), ..ListQuery::default() }, "labels"),
        (ListQuery { limit: Some(0), ..ListQuery::default() }, "limit"),
    ] {
        let error = volumes.list(&query).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some(field)), "{query:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_pruned() {
    let world = World::start().await;
    let volumes = world.local().volumes("default");
    let anonymous = VolumeSpec { anonymous: true, ..VolumeSpec::default() };
    volumes.create(&Draft::new("a", anonymous), false).await.unwrap();
    volumes.create(&Draft::new("b", VolumeSpec::default()), false).await.unwrap();
    assert_eq!(volumes.prune(false, true).await.unwrap().names, ["a"]);
    assert!(volumes.get("a").await.is_ok());
    assert_eq!(volumes.prune(true, false).await.unwrap().names, ["a", "b"]);
    until(async || volumes.list(&ListQuery::default()).await.unwrap().items.is_empty()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let world = World::start().await;
    let instances = world.local().instances("default");
    let made = world.run("web").await;
    assert_eq!(made.status.phase, Phase::Running);
    let patch = json!({ "spec": { "stopTimeout": "3s" }, "meta": { "annotations": { "a": "b" } } });
    let changed = instances.patch("web", &patch, None, false).await.unwrap();
    assert_eq!(changed.spec.stop_timeout.unwrap().0.as_secs(), 3);
    assert_eq!(changed.spec.containers, made.spec.containers);
    let cleared = json!({ "spec": { "stopTimeout": null } });
    let changed = instances.patch("web", &cleared, None, false).await.unwrap();
    assert_eq!(changed.spec.stop_timeout, None);
    for (patch, field) in [
        (json!({ "spec": { "stopTimeuot": "3s" } }), "spec.stopTimeuot"),
        (json!({ "status": {} }), "status"),
        (json!({ "meta": { "name": "other" } }), "meta.name"),
        (json!({ "spec": { "autoRemove": "yes" } }), "spec.autoRemove"),
    ] {
        let error = instances.patch("web", &patch, None, false).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some(field)), "{patch}");
    }
    world.stop().await;
}
