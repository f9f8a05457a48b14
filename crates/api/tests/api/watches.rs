//! Hearing of changes.

use std::time::Duration;

use api::Limits;
use client::wire::{Change, ChangeKind, Draft, ListQuery};
use futures::StreamExt;
use link::ResultStream;
use model::volume::{VolumeNoun, VolumeSpec};
use model::{ErrorKind, Noun};

use crate::world::{World, soon, until};

fn watch(revision: Option<u64>) -> ListQuery {
    ListQuery { watch: true, revision, ..ListQuery::default() }
}

/// The next change that is no bookmark.
async fn next<N: Noun>(changes: &mut ResultStream<Change<N>>) -> (ChangeKind, String, u64) {
    loop {
        let change = soon(changes.next()).await.unwrap().unwrap();
        if let Some(object) = change.object {
            return (change.r#type, object.meta.name.clone(), change.revision);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_is_and_what_becomes() {
    let world = World::start().await;
    for (client, name) in [(world.local(), "one"), (world.remote(), "two")] {
        let networks = client.networks("default");
        let created = networks.create(&Draft::new(name, Default::default()), false).await.unwrap();
        let named = ListQuery { fields: format!("meta.id={}", created.meta.id), ..watch(None) };
        let mut changes = networks.watch(&named).await.unwrap();
        assert_eq!(next(&mut changes).await.0, ChangeKind::Added);
        let mark = soon(changes.next()).await.unwrap().unwrap();
        assert_eq!(mark.r#type, ChangeKind::Bookmark);
        let patch = serde_json::json!({ "meta": { "labels": { "a": "b" } } });
        let patched = networks.patch(name, &patch, None, false).await.unwrap();
        let (kind, _, revision) = next(&mut changes).await;
        assert_eq!((kind, revision), (ChangeKind::Modified, patched.meta.revision));
        networks.delete(name, Default::default()).await.unwrap();
        let removed = soon(async {
            loop {
                let change = next(&mut changes).await;
                if change.0 == ChangeKind::Removed {
                    return change;
                }
            }
        })
        .await;
        assert_eq!(removed.1, name);
        let again = ListQuery { revision: Some(revision), ..named.clone() };
        let mut later = networks.watch(&again).await.unwrap();
        assert!(next(&mut later).await.2 > revision);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_a_watch_from_it_miss_nothing() {
    let world = World::start().await;
    let volumes = world.local().volumes("default");
    let writer = {
        let volumes = volumes.clone();
        tokio::spawn(async move {
            for i in 0..60 {
                let draft = Draft::new(format!("v{i:02}"), VolumeSpec::default());
                volumes.create(&draft, false).await.unwrap();
            }
        })
    };
    until(async || volumes.get("v05").await.is_ok()).await;
    let list = volumes.list(&ListQuery::default()).await.unwrap();
    let mut seen: Vec<_> = list.items.iter().map(|volume| volume.meta.name.clone()).collect();
    let mut changes = volumes.watch(&watch(Some(list.revision))).await.unwrap();
    while seen.len() < 60 {
        let (kind, name, _) = next::<VolumeNoun>(&mut changes).await;
        if kind == ChangeKind::Added {
            assert!(!seen.contains(&name), "{name} told twice");
            seen.push(name);
        }
    }
    writer.await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_moves_on_by_bookmarks() {
    let limits = Limits { bookmark: Duration::from_millis(20), ..Limits::default() };
    let world = World::with(limits).await;
    let client = world.local();
    let networks = client.networks("default");
    let mut changes = networks.watch(&watch(None)).await.unwrap();
    let volume = Draft::new("elsewhere", VolumeSpec::default());
    let made = client.volumes("default").create(&volume, false).await.unwrap();
    soon(async {
        loop {
            let change = changes.next().await.unwrap().unwrap();
            if change.r#type == ChangeKind::Bookmark && change.revision >= made.meta.revision {
                return;
            }
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_the_future_is_refused() {
    let world = World::start().await;
    let error = world.local().volumes("default").watch(&watch(Some(1 << 40))).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.next_step().unwrap().contains("list again"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_who_do_not_read_cost_others_nothing() {
    let world = World::start().await;
    let volumes = world.local().volumes("default");
    let mut asleep = Vec::new();
    for _ in 0..50 {
        asleep.push(volumes.watch(&watch(None)).await.unwrap());
    }
    let mut awake = volumes.watch(&watch(None)).await.unwrap();
    for i in 0..200 {
        let draft = Draft::new(format!("v{i}"), VolumeSpec::default());
        let created = soon(volumes.create(&draft, false)).await.unwrap();
        loop {
            let (kind, name, revision) = next(&mut awake).await;
            if kind == ChangeKind::Added {
                assert_eq!((name, revision), (created.meta.name, created.meta.revision));
                break;
            }
        }
    }
    drop(asleep);
    world.stop().await;
}
