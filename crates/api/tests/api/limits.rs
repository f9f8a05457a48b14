//! Bounds on what callers may take.

use std::time::Duration;

use api::Limits;
use bytes::Bytes;
use futures::{StreamExt, stream};
use model::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::raw;
use crate::world::{World, soon, until};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_is_refused_announced_or_not() {
    let world = World::with(limits(|limits| limits.body = 10_000)).await;
    let path = "/v1/projects/default/networks";
    let announced = raw::post(&world, path, &vec![b' '; 10_001]).await;
    assert_eq!((announced.status, announced.problem().kind), (413, ErrorKind::Invalid));
    let mut chunked = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..11 {
        chunked.extend_from_slice(format!("3e8\r\n{}\r\n", " ".repeat(1000)).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(raw::send(&world, &chunked).await.status, 413);
    let fits = format!("{}{{\"spec\":{{}}}}", " ".repeat(9_000));
    assert_eq!(raw::post(&world, path, fits.as_bytes()).await.status, 201);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_head_is_refused() {
    let world = World::with(limits(|limits| limits.bounds.head = 16 << 10)).await;
    let long = "x".repeat(20 << 10);
    let answer = raw::request(&world, "GET", "/healthz", &[("x-long", &long)], b"").await;
    assert_eq!(answer.status, 431);
    let many: Vec<_> = (0..200).map(|i| (format!("x-{i}"), "y".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = raw::request(&world, "GET", "/healthz", &many, b"").await;
    assert_eq!(answer.status, 431);
    let line = raw::get(&world, &format!("/{long}")).await.status;
    assert!([414, 431].contains(&line), "{line}");
    assert_eq!(raw::get(&world, "/healthz").await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_given_up() {
    let world =
        World::with(limits(|limits| limits.bounds.head_time = Duration::from_millis(50))).await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream.write_all(b"GET /healthz HT").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    let mut idle = UnixStream::connect(&world.socket).await.unwrap();
    let _ = soon(idle.read_to_end(&mut rest)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handshake_is_given_up() {
    let world =
        World::with(limits(|limits| limits.bounds.handshake = Duration::from_millis(50))).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&[22, 3, 1]).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = soon(plain.read_to_end(&mut rest)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_given_up() {
    let world = World::with(limits(|limits| limits.answer = Duration::from_millis(50))).await;
    let error = soon(world.local().images().show("slow")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_taken_and_one_that_stands_still_is_not() {
    let world = World::with(limits(|limits| {
        limits.silence = Duration::from_millis(600);
        limits.answer = Duration::from_millis(600);
    }))
    .await;
    world.run("web").await;
    let instances = world.remote().instances("default");
    let part = |_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Bytes::from_static(&[7; 1000]))
    };
    let slow = || stream::iter(0..12).then(part);
    instances.write_archive("web", "", "/in", true, Box::pin(slow())).await.unwrap();
    assert!(world.node.was_asked("write /in keep=true 12000"));
    let still = Box::pin(slow().chain(stream::pending()));
    let given_up = soon(instances.write_archive("web", "", "/still", true, still)).await;
    let error = given_up.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("stood still"), "{}", error.chain());
    assert!(!world.node.was_asked("write /still keep=true 12000"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_wait_their_turn() {
    let world = World::with(limits(|limits| {
        limits.bounds.connections = 2;
        limits.bounds.head_time = Duration::from_millis(300);
    }))
    .await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(UnixStream::connect(&world.socket).await.unwrap());
    }
    // They are let in two at a time and thrown out for saying nothing.
    assert_eq!(soon(raw::get(&world, "/healthz")).await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_asks_too_often_waits_and_others_do_not() {
    let world = World::with(limits(|limits| (limits.rate, limits.burst) = (1, 20))).await;
    let local = world.local();
    let mut refused = None;
    for _ in 0..30 {
        if let Err(error) = local.system().status().await {
            refused = Some(error);
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert!(refused.next_step().unwrap().contains("try again in"));
    let answer = raw::get(&world, "/v1/system/status").await;
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    assert!(world.remote().system().status().await.is_ok());
    assert_eq!(raw::get(&world, "/healthz").await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_what_lasts_and_takes_the_socket_away() {
    let world = World::start().await;
    world.run("web").await;
    let instances = world.local().instances("default");
    let watch = client::wire::ListQuery { watch: true, ..Default::default() };
    let changes = instances.watch(&watch).await.unwrap();
    let waiting = tokio::spawn(async move { instances.wait("web", &Default::default()).await });
    until(async || world.open() == 0).await;
    let socket = world.socket.clone();
    soon(world.stop()).await;
    let last = soon(futures::StreamExt::collect::<Vec<_>>(changes)).await.pop().unwrap();
    assert_eq!(last.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(soon(waiting).await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!socket.exists());
}
