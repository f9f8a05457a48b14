//! The graphical console.

use bytes::Bytes;
use futures::StreamExt;
use model::ErrorKind;

use crate::world::{World, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_is_reached_with_a_ticket_once() {
    let world = World::start().await;
    world.run("vm").await;
    for client in [world.local(), world.remote()] {
        let instances = client.instances("default");
        let ticket = instances.console_ticket("vm").await.unwrap().ticket;
        let mut display = instances.display("vm", &ticket).await.unwrap();
        let much = Bytes::from(vec![7; 200_000]);
        display.input.send(much.clone()).await.unwrap();
        let mut back = Vec::new();
        while back.len() < much.len() {
            back.extend(soon(display.output.next()).await.unwrap().unwrap());
        }
        assert!(back == much);
        let again = instances.display("vm", &ticket).await.err().unwrap();
        assert_eq!(again.kind(), ErrorKind::Unauthenticated);
        assert!(again.next_step().unwrap().contains("POST"), "{again:?}");
        drop(display);
    }
    until(async || world.open() == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_alone_is_enough_and_is_its_owners_and_its_machines() {
    let world = World::start().await;
    world.run("vm").await;
    world.run("other").await;
    let instances = world.remote().instances("default");
    let ticket = async || instances.console_ticket("vm").await.unwrap().ticket;
    // A browser sends nothing else.
    let stranger = world.remote_as(None, client::Trust::Pem(world.ca.clone().into_bytes()));
    let stranger = stranger.instances("default");
    assert!(stranger.display("vm", &ticket().await).await.is_ok());
    let cases = [
        (stranger.display("vm", "").await, ErrorKind::Unauthenticated),
        (stranger.display("vm", &"0".repeat(64)).await, ErrorKind::Unauthenticated),
        (stranger.display("other", &ticket().await).await, ErrorKind::Forbidden),
        (
            world.local().instances("default").display("vm", &ticket().await).await,
            ErrorKind::Forbidden,
        ),
    ];
    for (refused, kind) in cases {
        assert_eq!(refused.err().unwrap().kind(), kind);
    }
    let none = stranger.console_ticket("vm").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Unauthenticated);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_screen_gives_no_ticket() {
    let world = World::start().await;
    world.run("web").await;
    world.node.calls.lock().unwrap().push("no screen".into());
    let instances = world.local().instances("default");
    assert_eq!(instances.console_ticket("web").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(instances.console_ticket("no").await.unwrap_err().kind(), ErrorKind::NotFound);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_taken() {
    let world = World::start().await;
    world.run("vm").await;
    let mut picture = world.remote().instances("default").screenshot("vm").await.unwrap();
    assert_eq!(picture.next().await.unwrap().unwrap(), "picture");
    world.stop().await;
}
