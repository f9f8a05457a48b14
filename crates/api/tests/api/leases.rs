//! What was begun with a right that ends in the middle.

use std::time::Duration;

use bytes::Bytes;
use client::Trust;
use client::wire::{Draft, ListQuery, SettleQuery, TokenDraft, WaitFor, WaitQuery};
use futures::{StreamExt, stream};
use link::ByteStream;
use link::image::ImportRequest;
use model::operation::OperationPhase;
use model::user::UserSpec;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::raw;
use crate::world::{World, soon, until};

/// The secret of a token of ann's.
async fn ann(world: &World) -> String {
    let spec = UserSpec { roles: vec!["editor".parse().unwrap()], ..UserSpec::default() };
    world.local().users().create(&Draft::new("ann", spec), false).await.unwrap();
    let draft = TokenDraft { name: "laptop".into(), user: "ann".into(), ..TokenDraft::default() };
    world.local().tokens().issue(&draft, false).await.unwrap().secret
}

/// What comes of something while ann's role changes again and again: until it has begun, there is nothing to end.
async fn while_roles_change<T>(world: &World, work: impl Future<Output = T>) -> T {
    let changing = async {
        for role in ["admin", "editor"].into_iter().cycle() {
            let patch = serde_json::json!({ "spec": { "roles": [{ "role": role }] } });
            world.local().users().patch("ann", &patch, None, false).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        done = soon(work) => done,
        () = changing => unreachable!(),
    }
}

/// Bytes of which more never come.
fn endless() -> ByteStream {
    Box::pin(stream::iter([Ok(Bytes::from_static(&[7; 4096]))]).chain(stream::pending()))
}

fn is_over<T>(outcome: model::Result<T>) {
    let error = outcome.err().expect("it went on");
    assert!(error.message().contains("has other roles now"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_with_its_right_and_leaves_nothing_half() {
    let world = World::start().await;
    world.run("web").await;
    let secret = ann(&world).await;
    let ann = world.remote_as(Some(secret), Trust::Pem(world.ca.clone().into_bytes()));
    let request = ImportRequest { name: "rootfs".into(), ..ImportRequest::default() };
    let import = async { ann.images().import(&request, endless()).await };
    is_over(while_roles_change(&world, import).await);
    let instances = ann.instances("default");
    let copy = instances.write_archive("web", "", "/in", true, endless());
    is_over(while_roles_change(&world, copy).await);
    until(async || world.open() == 0).await;
    let calls = world.node.calls.lock().unwrap().clone();
    let done = |call: &String| call.starts_with("import") || call.starts_with("write");
    assert!(!calls.iter().any(done), "{calls:?}");
    let operations = world.local().operations().list(&ListQuery::default()).await.unwrap().items;
    let failed = operations.iter().all(|it| it.status.phase == OperationPhase::Failed);
    assert!(failed && !operations.is_empty(), "{operations:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_afar_begins_when_all_of_it_is_there() {
    let world = World::start().await;
    world.run("web").await;
    let instances = world.remote().instances("default");
    let cut = stream::iter([
        Ok(Bytes::from_static(b"abc")),
        Err(model::Error::invalid("the file went away")),
    ]);
    assert!(instances.write_archive("web", "", "/in", true, Box::pin(cut)).await.is_err());
    let refused = instances.write_archive("web", "", "/missing", true, endless()).await;
    assert_eq!(refused.unwrap_err().kind(), model::ErrorKind::NotFound);
    assert_eq!(world.node.read.load(std::sync::atomic::Ordering::SeqCst), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_right() {
    let world = World::start().await;
    world.run("web").await;
    let secret = ann(&world).await;
    let ann = world.remote_as(Some(secret), Trust::Pem(world.ca.clone().into_bytes()));
    let instances = ann.instances("default");
    let query = WaitQuery { until: WaitFor::Removed, ..WaitQuery::default() };
    is_over(while_roles_change(&world, instances.wait("web", &query)).await);
    let goal = client::wire::Goal::Stopped;
    let query = SettleQuery { goal, timeout: Some(model::Span(Duration::from_secs(60))) };
    is_over(while_roles_change(&world, instances.settle("web", &query)).await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_right_ends_before_its_body_is_not_carried_out() {
    let world = World::start().await;
    let secret = ann(&world).await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let head = format!(
        "POST /v1/projects/default/volumes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {secret}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"meta\": "
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = while_roles_change(&world, raw::read(&mut stream)).await;
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.problem().detail.contains("has other roles now"));
    world.stop().await;
}
