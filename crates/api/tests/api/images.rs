//! The verbs of images.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use client::wire::ListQuery;
use futures::{StreamExt, stream};
use link::ByteStream;
use link::image::{ImportRequest, Login, Progress, PullRequest};
use model::ErrorKind;
use model::operation::OperationPhase;

use crate::world::{World, soon, until};

fn pull(name: &str) -> PullRequest {
    PullRequest { name: name.into(), ..PullRequest::default() }
}

fn archive(parts: usize, part: usize) -> ByteStream {
    let part = Bytes::from(vec![7; part]);
    Box::pin(stream::iter((0..parts).map(move |_| Ok(part.clone()))))
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_shown_tagged_and_removed() {
    let world = World::start().await;
    for client in [world.local(), world.remote()] {
        let images = client.images();
        assert_eq!(images.list().await.unwrap().len(), 1);
        let name = "ghcr.io/a/b:1";
        assert_eq!(images.show(name).await.unwrap().names, [name]);
        assert_eq!(images.show("missing").await.unwrap_err().kind(), ErrorKind::NotFound);
        images.tag(name, "c:2", false).await.unwrap();
        assert!(world.node.was_asked("tag ghcr.io/a/b:1 c:2"));
        images.tag(name, "c:3", true).await.unwrap();
        assert!(world.node.was_asked("tag ghcr.io/a/b:1 c:3 plan"));
        let used = images.remove(name, false, false).await.unwrap_err();
        assert_eq!(used.kind(), ErrorKind::Conflict);
        assert_eq!(images.remove(name, true, false).await.unwrap().untagged, [name]);
        assert_eq!(images.prune(true, false).await.unwrap().deleted, ["all=true"]);
        let login = |password: &str| Login {
            registry: "r".into(),
            username: "u".into(),
            password: password.into(),
            ..Login::default()
        };
        images.login(&login("right")).await.unwrap();
        let refused = images.login(&login("wrong")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
        images.logout("r").await.unwrap();
        let elsewhere = client.images().of_node("n2").list().await.unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::Unavailable);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_tells_its_progress_and_is_an_operation() {
    let world = World::start().await;
    let client = world.remote();
    let items: Vec<_> = client.images().pull(&pull("a")).await.unwrap().collect().await;
    assert_eq!(items.len(), 3);
    assert!(matches!(items[2], Ok(Progress::Done { .. })));
    let broken: Vec<_> = client.images().pull(&pull("broken")).await.unwrap().collect().await;
    let error = broken[2].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.next_step()), (ErrorKind::Unavailable, Some("try again")));
    let refused = client.images().pull(&pull("kind-notFound")).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let operations = client.operations().list(&ListQuery::default()).await.unwrap().items;
    let find = |title: &str| operations.iter().find(|it| it.spec.title == title).unwrap();
    let done = find("pull a");
    assert_eq!(done.status.phase, OperationPhase::Done);
    assert_eq!((done.status.done, done.status.total), (100, 100));
    assert_eq!(done.spec.by, "admin");
    assert_eq!(find("pull broken").status.phase, OperationPhase::Failed);
    assert_eq!(find("pull kind-notFound").status.phase, OperationPhase::Failed);
    client.operations().delete(&done.meta.name, Default::default()).await.unwrap();
    let login = Login { username: "me".into(), ..Login::default() };
    client.images().push("a", Some(login)).await.unwrap().count().await;
    assert!(world.node.was_asked("push a as Some(\"me\")"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nobody_waits_for_ends() {
    let world = World::start().await;
    let client = world.local();
    let mut progress = client.images().pull(&pull("hang")).await.unwrap();
    progress.next().await.unwrap().unwrap();
    assert_eq!(world.open(), 1);
    drop(progress);
    until(async || world.open() == 0).await;
    let failed = async || {
        let operations = client.operations().list(&ListQuery::default()).await.unwrap().items;
        operations[0].status.phase == OperationPhase::Failed
    };
    until(failed).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_go_both_ways() {
    let world = World::start().await;
    for client in [world.local(), world.remote()] {
        let images = client.images();
        let request = ImportRequest {
            name: "rootfs".into(),
            changes: vec!["CMD x".into(), "ENV a=b".into()],
            disk: None,
            ..ImportRequest::default()
        };
        let items: Vec<_> =
            images.import(&request, archive(64, 65_536)).await.unwrap().collect().await;
        assert!(matches!(items.last(), Some(Ok(Progress::Done { .. }))));
        assert!(world.node.was_asked("import rootfs [\"CMD x\", \"ENV a=b\"] 4194304"));
        let bad = ImportRequest { name: "bad".into(), ..ImportRequest::default() };
        let error = images.import(&bad, archive(1, 10)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let mut saved = images.save(&["a".into(), "b/c".into()]).await.unwrap();
        assert_eq!(saved.next().await.unwrap().unwrap(), "a+b/c");
        assert!(saved.next().await.is_none());
        let mut exported = images.export("vm", "raw").await.unwrap();
        assert_eq!(exported.next().await.unwrap().unwrap(), "disk");
        let broken: Vec<_> = images.save(&["broken".into()]).await.unwrap().collect().await;
        let error = broken.last().unwrap().as_ref().unwrap_err();
        assert_eq!(
            (error.message(), error.next_step()),
            ("the disk went away", Some("plug it in"))
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_may_answer_while_it_reads() {
    let world = World::start().await;
    let request = ImportRequest { name: "early".into(), ..ImportRequest::default() };
    let images = world.remote().images();
    let progress = soon(images.import(&request, archive(200, 65_536))).await.unwrap();
    let items: Vec<_> = soon(progress.collect()).await;
    assert!(matches!(items.last(), Some(Ok(Progress::Done { .. }))), "{:?}", items.last());
    assert_eq!(world.node.read.load(Ordering::SeqCst), 200 * 65_536);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_is_no_whole_one() {
    let world = World::start().await;
    let parts = stream::iter([
        Ok(Bytes::from_static(b"abc")),
        Err(model::Error::invalid("the file went away")),
    ]);
    let request = ImportRequest { name: "rootfs".into(), ..ImportRequest::default() };
    assert!(world.local().images().import(&request, Box::pin(parts)).await.is_err());
    until(async || world.open() == 0).await;
    let calls = world.node.calls.lock().unwrap().clone();
    assert!(calls.iter().all(|call| !call.starts_with("import")), "{calls:?}");
    world.stop().await;
}
