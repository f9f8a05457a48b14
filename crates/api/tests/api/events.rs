//! Reading what happened.

use client::wire::EventsQuery;
use futures::StreamExt;
use model::{ErrorKind, Kind};

use crate::world::{World, soon};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_selected_and_watched() {
    let world = World::start().await;
    let events = world.local().events();
    let watch = EventsQuery { watch: true, kinds: "instance".into(), ..EventsQuery::default() };
    let mut coming = events.read(&watch).await.unwrap();
    world.run("web").await;
    let event = soon(coming.next()).await.unwrap().unwrap();
    assert_eq!(
        (event.kind, event.action.as_str(), event.name.as_str()),
        (Kind::Instance, "create", "web")
    );
    assert!(!event.by.is_empty());
    let query =
        EventsQuery { objects: "web".into(), actions: "create".into(), ..Default::default() };
    let kept: Vec<_> = events.read(&query).await.unwrap().collect().await;
    assert_eq!(kept.len(), 1);
    let nothing = EventsQuery { limit: Some(0), ..EventsQuery::default() };
    assert_eq!(events.read(&nothing).await.unwrap().count().await, 0);
    let wrong = EventsQuery { kinds: "pod".into(), ..EventsQuery::default() };
    let error = events.read(&wrong).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("kinds")));
    world.stop().await;
}
