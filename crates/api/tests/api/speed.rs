//! How fast it is. Figures are printed (`--nocapture`); the bounds are wide, as machines differ and
//! this build is not optimised.

use std::time::{Duration, Instant};

use client::wire::{Draft, ListQuery};
use futures::StreamExt;
use link::instance::LogsRequest;
use model::instance::{InstanceSpec, NetworkMode};

use crate::world::{World, spec};

async fn median(mut work: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::new();
    for _ in 0..100 {
        let begin = Instant::now();
        work().await;
        times.push(begin.elapsed());
    }
    times.sort();
    times[50]
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_logs_are_fast() {
    let world = World::start().await;
    let instances = world.local().instances("default");
    let begin = Instant::now();
    let made = futures::stream::iter(0..1000).map(|i| {
        let instances = instances.clone();
        async move {
            // As a network has 253 addresses, these have none.
            let spec = InstanceSpec { network: NetworkMode::None, ..spec("busybox") };
            instances.create(&Draft::new(format!("i{i:04}"), spec), false).await.unwrap();
        }
    });
    made.buffer_unordered(32).collect::<Vec<_>>().await;
    println!("1000 instances made in {:?}", begin.elapsed());
    world.run("web").await;
    for (way, client) in [("socket", world.local()), ("TLS", world.remote())] {
        let instances = client.instances("default");
        let get = median(async || drop(instances.get("web").await.unwrap())).await;
        let one = ListQuery { fields: "meta.name=web".into(), ..ListQuery::default() };
        let one = median(async || drop(instances.list(&one).await.unwrap())).await;
        let list = ListQuery::default();
        let list = median(async || drop(instances.list(&list).await.unwrap())).await;
        let request = LogsRequest {
            tail: Some(1_000_000),
            stdout: true,
            stderr: true,
            ..LogsRequest::default()
        };
        let begin = Instant::now();
        let logs = instances.logs("web", "", &request).await.unwrap();
        let bytes = logs.fold(0, async |sum, record| sum + record.unwrap().bytes.len()).await;
        let log = begin.elapsed();
        assert_eq!(bytes, 100_000_000);
        println!(
            "{way}: get {get:?}, one of 1001 selected {one:?}, list of 1001, decoded, {list:?}, 100 MB of log {log:?}"
        );
        assert!(get < Duration::from_millis(50) && log < Duration::from_secs(120));
    }
    let begin = Instant::now();
    for _ in 0..20 {
        let answer = crate::raw::get(&world, "/v1/projects/default/instances").await;
        assert_eq!(answer.status, 200);
    }
    println!("list of 1001, bytes, connection included: {:?}", begin.elapsed() / 20);
    world.stop().await;
}
