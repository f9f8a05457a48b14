//! Logs, counters, files.

use bytes::Bytes;
use futures::{StreamExt, stream};
use link::instance::{CommitRequest, LogsRequest};
use model::{ErrorKind, operation::OperationPhase};

use crate::node::record;
use crate::raw;
use crate::world::{World, soon, until};

fn all() -> LogsRequest {
    LogsRequest { stdout: true, stderr: true, ..LogsRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_as_they_were_written() {
    let world = World::start().await;
    world.run("web").await;
    for client in [world.local(), world.remote()] {
        let instances = client.instances("default");
        let request = LogsRequest { tail: Some(1000), ..all() };
        let logs = instances.logs("web", "", &request).await.unwrap();
        let records: Vec<_> = logs.map(Result::unwrap).collect().await;
        assert_eq!(records, (0..1000).map(record).collect::<Vec<_>>());
        let errors = LogsRequest { stdout: false, tail: Some(4), ..all() };
        let logs = instances.logs("web", "main", &errors).await.unwrap();
        assert_eq!(logs.count().await, 2);
        let torn = LogsRequest { tail: Some(13), ..all() };
        let mut torn: Vec<_> = instances.logs("web", "", &torn).await.unwrap().collect().await;
        assert_eq!(torn.len(), 14);
        assert_eq!(torn.pop().unwrap().unwrap_err().message(), "the log is torn");
        let missing = instances.logs("nobody", "", &all()).await.err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let missing = instances.logs("web", "other", &all()).await.err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
    let path = "/v1/projects/default/instances/web/logs";
    let bytes = raw::get(&world, &format!("{path}?raw=true&tail=2")).await;
    assert!(bytes.says(" 0 \n") && bytes.says(" 1 \n"));
    assert_eq!(raw::get(&world, &format!("{path}?stream=stdin")).await.status, 400);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_followed_comes_at_once() {
    let world = World::start().await;
    world.run("web").await;
    let instances = world.remote().instances("default");
    let follow = LogsRequest { follow: true, ..all() };
    let mut logs = instances.logs("web", "", &follow).await.unwrap();
    for i in 0..3 {
        assert_eq!(soon(logs.next()).await.unwrap().unwrap(), record(i));
    }
    assert_eq!(world.open(), 1);
    drop(logs);
    until(async || world.open() == 0).await;
    let mut stats = instances.stats("web", "", true).await.unwrap();
    assert_eq!(soon(stats.next()).await.unwrap().unwrap().cpu_ns, 1);
    assert_eq!(soon(stats.next()).await.unwrap().unwrap().block, (1, 2));
    assert_eq!(instances.stats("web", "", false).await.unwrap().count().await, 1);
    let table = instances.top("web", "", "-o pid").await.unwrap();
    assert_eq!(table.processes[0][1], "sleep -o pid");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_does_not_read_stops_the_source() {
    let world = World::start().await;
    world.run("web").await;
    let instances = world.local().instances("default");
    let endless = LogsRequest { tail: Some(1 << 40), ..all() };
    let mut slow = instances.logs("web", "", &endless).await.unwrap();
    soon(slow.next()).await.unwrap().unwrap();
    // Others are served meanwhile, and the slow one goes on where it was.
    let some = LogsRequest { tail: Some(10), ..all() };
    assert_eq!(instances.logs("web", "", &some).await.unwrap().count().await, 10);
    assert_eq!(soon(slow.next()).await.unwrap().unwrap(), record(1));
    drop(slow);
    until(async || world.open() == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_both_ways() {
    let world = World::start().await;
    world.run("web").await;
    for client in [world.local(), world.remote()] {
        let instances = client.instances("default");
        let path = "/etc/ä b?c";
        assert_eq!(instances.stat_path("web", "", path).await.unwrap().name, path);
        let mut file = instances.read_archive("web", "", path).await.unwrap();
        assert_eq!(file.stat.name, path);
        assert_eq!(file.archive.next().await.unwrap().unwrap(), path.as_bytes());
        let missing = instances.read_archive("web", "", "/missing").await.err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let missing = instances.stat_path("web", "", "/missing").await.unwrap_err();
        assert_eq!(missing.message(), "there is no /missing inside");
        let broken = instances.read_archive("web", "", "/broken").await.unwrap();
        let parts: Vec<_> = broken.archive.collect().await;
        let error = parts.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.next_step(), Some("plug it in"));
        let part = Bytes::from(vec![1; 100_000]);
        let archive = stream::iter((0..50).map(move |_| Ok(part.clone())));
        instances.write_archive("web", "", "/in", true, Box::pin(archive)).await.unwrap();
        assert!(world.node.was_asked("write /in keep=true 5000000"));
        let little = || Box::pin(stream::iter([Ok(Bytes::from_static(b"x"))]));
        let refused = instances.write_archive("web", "", "/refuse", false, little()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(instances.diff("web", "").await.unwrap()[0].path, "/new");
        let parts: Vec<_> = instances.export("web", "").await.unwrap().collect().await;
        assert_eq!(parts.len(), 1);
    }
    // A caller who takes no trailers gets a body that is cut off.
    let path = "/v1/projects/default/instances/web/archive?path=/broken";
    let answer = raw::get(&world, path).await;
    assert!(!answer.body.ends_with(b"0\r\n\r\n"), "{:?}", answer.head);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_of_a_container() {
    let world = World::start().await;
    world.run("web").await;
    let client = world.local();
    let instances = client.instances("default");
    let request = |name: &str| CommitRequest { name: name.into(), ..CommitRequest::default() };
    assert_eq!(instances.commit("web", "", &request("x")).await.unwrap(), "sha256:x");
    let full = instances.commit("web", "", &request("kind-exhausted")).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Exhausted);
    let operations = client.operations().list(&Default::default()).await.unwrap().items;
    let phases: Vec<_> = operations.iter().map(|operation| operation.status.phase).collect();
    assert_eq!(phases.len(), 2);
    assert!(phases.contains(&OperationPhase::Done) && phases.contains(&OperationPhase::Failed));
    world.stop().await;
}
