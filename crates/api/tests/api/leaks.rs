//! Callers who leave take everything of theirs along.

use client::wire::{EventsQuery, ListQuery};
use futures::StreamExt;
use link::image::PullRequest;
use link::instance::{AttachRequest, ExecRequest, LogsRequest};

use crate::world::{World, until};

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_callers_leave_nothing_behind() {
    let world = World::start().await;
    world.run("web").await;
    // Whatever is made once at first use is there after one round.
    round(&world).await;
    until(async || world.open() == 0).await;
    let before = settled().await;
    for _ in 0..5 {
        round(&world).await;
    }
    until(async || world.open() == 0).await;
    until(async || tasks() <= before + 2).await;
    world.stop().await;
}

/// The number of tasks when it has not changed for a while.
async fn settled() -> usize {
    let (mut last, mut same) = (tasks(), 0);
    until(async || {
        let now = tasks();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same > 50
    })
    .await;
    last
}

/// Opens one of everything that lasts, by both ways in, and drops it.
async fn round(world: &World) {
    for client in [world.local(), world.remote()] {
        let instances = client.instances("default");
        let follow =
            LogsRequest { follow: true, stdout: true, stderr: true, ..LogsRequest::default() };
        let mut logs = instances.logs("web", "", &follow).await.unwrap();
        logs.next().await.unwrap().unwrap();
        let mut stats = instances.stats("web", "", true).await.unwrap();
        stats.next().await.unwrap().unwrap();
        let watch = ListQuery { watch: true, ..ListQuery::default() };
        let mut changes = instances.watch(&watch).await.unwrap();
        changes.next().await.unwrap().unwrap();
        let events = EventsQuery { watch: true, ..EventsQuery::default() };
        let events = client.events().read(&events).await.unwrap();
        let hang = PullRequest { name: "hang".into(), ..PullRequest::default() };
        let mut pull = client.images().pull(&hang).await.unwrap();
        pull.next().await.unwrap().unwrap();
        let command = vec!["sleep".to_owned()];
        let exec = ExecRequest { command, ..ExecRequest::default() };
        let exec = instances.exec("web", "", &exec).await.unwrap();
        let attach = instances.attach("web", "", &AttachRequest::default()).await.unwrap();
        let waiting = {
            let instances = instances.clone();
            tokio::spawn(async move { instances.wait("web", &Default::default()).await })
        };
        assert!(world.open() >= 5);
        waiting.abort();
        drop((logs, stats, changes, events, pull, exec, attach));
    }
}
