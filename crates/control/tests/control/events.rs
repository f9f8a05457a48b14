//! What happened.

use control::{EventFilter, Mode};
use futures::StreamExt;
use link::Report;
use model::event::Event;
use model::{ErrorKind, Kind, Time};

use crate::support::*;

fn of(kind: Kind) -> EventFilter {
    EventFilter { kinds: vec![kind], ..EventFilter::default() }
}

fn actions(rig: &Rig, kind: Kind) -> Vec<String> {
    let events = rig.control.events().list(caller(), None, None, &of(kind)).unwrap();
    events.iter().map(|event| event.action.clone()).collect()
}

#[tokio::test]
async fn control_tells_of_its_own_doing_and_nodes_of_theirs() {
    let rig = Rig::new().await;
    let mut events = rig.control.events().watch(caller(), None, None, of(Kind::Instance)).unwrap();
    let web = rig.create("web", stopped("nginx")).await.unwrap();
    let instances = rig.control.instances();
    instances.rename(caller(), PROJECT, "web", "front", Mode::Apply).await.unwrap();
    let start = Event::new(Time::now(), Kind::Instance, "start", &web.meta).with("image", "nginx");
    rig.report(vec![Report::Event(Box::new(start))]).await;
    rig.until("front", |it| it.spec.placement.is_some()).await;
    instances.delete(caller(), PROJECT, "front", None, Mode::Apply).await.unwrap();
    for (action, name, by) in [
        ("create", "web", "tester"),
        ("rename", "front", "tester"),
        ("start", "web", ""),
        ("destroy", "front", "tester"),
    ] {
        let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((&*event.action, &*event.name, &*event.by), (action, name, by));
    }
    assert_eq!(actions(&rig, Kind::Network), ["create"]);
}

#[tokio::test]
async fn events_are_there_after_a_start() {
    let rig = Rig::silent().await;
    rig.create("web", stopped("nginx")).await.unwrap();
    let rig = rig.reopened().await;
    assert_eq!(actions(&rig, Kind::Instance), ["create"]);
    rig.create("more", stopped("nginx")).await.unwrap();
    let rig = rig.reopened().await;
    assert_eq!(actions(&rig, Kind::Instance), ["create", "create"]);
}

#[tokio::test]
async fn the_log_is_bounded_in_memory_and_in_the_store() {
    let rig = Rig::silent().await;
    let events = rig.control.events();
    let mut slow = events.watch(caller(), None, None, EventFilter::default()).unwrap();
    let meta = model::Meta::new(PROJECT, "x", model::Uid::random(), Time::now());
    for n in 0..10_000 {
        events.emit(caller(), Event::new(Time::now(), Kind::Image, "pull", &meta).with("n", n));
    }
    assert_eq!(slow.next().await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
    assert!(slow.next().await.is_none());
    let kept = events.list(caller(), None, None, &of(Kind::Image)).unwrap();
    assert_eq!((kept.len(), &*kept[4095].details["n"]), (4096, "9999"));
    drop((slow, events));
    let rig = rig.reopened().await;
    let events = rig.control.events();
    let kept = events.list(caller(), None, None, &of(Kind::Image)).unwrap();
    assert_eq!(kept.last().unwrap().details["n"], "9999");
    let records = rig.control.store_stats().await.unwrap().records;
    assert!(records < 64, "{records} records in the store");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_time_and_begins_in_the_past() {
    let rig = Rig::silent().await;
    rig.create("web", stopped("nginx")).await.unwrap();
    let soon = Time(Time::now().0 + std::time::Duration::from_secs(3600));
    let past = Time::from_unix(0, 0);
    let filter = EventFilter {
        actions: vec!["create".into()],
        objects: vec!["web".into()],
        ..Default::default()
    };
    let events = rig.control.events().watch(caller(), Some(past), Some(soon), filter).unwrap();
    let seen: Vec<_> = events.map(|event| event.unwrap().name).collect().await;
    assert_eq!(seen, ["web"]);
}
