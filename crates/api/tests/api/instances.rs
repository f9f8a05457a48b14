//! The verbs of instances.

use client::wire::{
    DeleteQuery, Draft, Goal, KillRequest, ListQuery, SettleQuery, StopRequest, WaitFor, WaitQuery,
};
use model::instance::{Phase, RunState};
use model::{ErrorKind, Span};

use crate::world::{World, soon, spec};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_lives() {
    let world = World::start().await;
    let instances = world.remote().instances("default");
    let settle = async |name: &str, goal| {
        let query = SettleQuery { goal, timeout: None };
        soon(instances.settle(name, &query)).await.unwrap()
    };
    let made = world.run("web").await;
    let id = made.meta.id.to_string();
    assert_eq!(instances.start("web", false).await.unwrap().meta.revision, made.meta.revision);
    let planned = instances.pause("web", true).await.unwrap();
    assert_eq!(planned.spec.run, RunState::Paused);
    assert_eq!(instances.get("web").await.unwrap().spec.run, RunState::Running);
    instances.pause("web", false).await.unwrap();
    assert_eq!(settle("web", Goal::Paused).await.status.phase, Phase::Paused);
    instances.unpause("web", false).await.unwrap();
    settle("web", Goal::Started).await;
    let exit = WaitQuery { until: WaitFor::NextExit, timeout: None };
    let waiting = {
        let instances = instances.clone();
        tokio::spawn(async move { instances.wait("web", &exit).await })
    };
    let quickly = StopRequest {
        timeout: Some(Span::default()),
        signal: "TERM".into(),
        ..StopRequest::default()
    };
    let stopped = instances.stop("web", &quickly, false).await.unwrap();
    assert_eq!(stopped.spec.stop.unwrap().signal, "TERM");
    assert_eq!(settle("web", Goal::Stopped).await.status.phase, Phase::Exited);
    drop(waiting);
    let waited = soon(instances.wait("web", &WaitQuery::default())).await.unwrap();
    assert_eq!((waited.exit_code, waited.error), (143, None));
    instances.restart("web", &StopRequest::default(), false).await.unwrap();
    settle("web", Goal::Started).await;
    instances.rename("web", "www", false).await.unwrap();
    let running = instances.delete("www", DeleteQuery::default()).await.unwrap_err();
    assert_eq!(running.kind(), ErrorKind::Conflict);
    assert!(running.next_step().is_some());
    let force = DeleteQuery { force: true, volumes: true, plan: false };
    instances.delete("www", force).await.unwrap();
    let gone = instances.settle(&id, &SettleQuery { goal: Goal::Removed, timeout: None });
    match soon(gone).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
    }
    assert!(instances.list(&ListQuery::default()).await.unwrap().items.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_node() {
    let world = World::start().await;
    let instances = world.local().instances("default");
    world.run("web").await;
    let signal = |signal: &str| KillRequest { signal: signal.into(), container: String::new() };
    instances.kill("web", &signal("HUP")).await.unwrap();
    assert!(world.node.was_asked("kill HUP"));
    let error = instances.kill("web", &signal("NOPE")).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("signal")));
    let elsewhere = KillRequest { container: "sidekick".into(), ..signal("HUP") };
    let error = instances.kill("web", &elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_at_its_time() {
    let world = World::start().await;
    let instances = world.local().instances("default");
    world.run("web").await;
    let query = WaitQuery {
        until: WaitFor::NotRunning,
        timeout: Some(Span(std::time::Duration::from_millis(20))),
    };
    let error = soon(instances.wait("web", &query)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let nobody = soon(instances.wait("nobody", &query)).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_spec_is_refused_where_it_is_wrong() {
    let world = World::start().await;
    let instances = world.local().instances("default");
    let error = instances.create(&Draft::new("x", spec("No Image")), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.field(), Some("spec.containers[0].image"));
    assert!(error.next_step().is_some());
    let error = instances.create(&Draft::new("a b", spec("a")), false).await.unwrap_err();
    assert_eq!(error.field(), Some("meta.name"));
    let nowhere = world.local().instances("nowhere");
    let error = nowhere.create(&Draft::new("x", spec("a")), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    world.stop().await;
}
