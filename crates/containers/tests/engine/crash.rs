//! Whoever dies, containers and what they said and how they ended stay known.

use std::time::Duration;

use containers::supervisor::Condition;
use containers::{Engine, EngineEvent, ExecConfig, ExecId, State, Supervisor};
use futures::StreamExt;
use model::ErrorKind;

use crate::a_node;
use crate::node::{Node, kill};
use crate::scenarios::{Subject, within};

fn pid(node: &Node) -> u32 {
    let condition = *node.supervisor.as_ref().unwrap().condition().borrow();
    match condition {
        Condition::Answering { pid } => pid,
        Condition::Down => panic!("containerd is down"),
    }
}

/// Waits until another containerd answers than the one of this number.
async fn replaced(node: &Node, old: u32) {
    let mut condition = node.supervisor.as_ref().unwrap().condition();
    let other = |now: &Condition| matches!(now, Condition::Answering { pid } if *pid != old);
    within(condition.wait_for(other)).await.unwrap();
}

#[tokio::test]
async fn containerd_dies_and_containers_go_on() {
    let node = a_node!();
    let mut events = node.engine.events().await.unwrap();
    assert_eq!(within(events.next()).await, Some(EngineEvent::Resync));
    let stays = node.logged("stays", &["sh", "-c", "while true; do echo x; sleep 0.01; done"]);
    let ends = node.logged("ends", &["sh", "-c", "sleep 0.3; exit 42"]);
    for config in [&stays, &ends] {
        node.engine.create(config).await.unwrap();
    }
    let started = node.engine.start(&stays.id).await.unwrap();
    node.engine.start(&ends.id).await.unwrap();
    let old = pid(&node);
    kill(old);
    replaced(&node, old).await;
    while within(events.next()).await != Some(EngineEvent::Resync) {}
    let observed = node.engine.observe(&stays.id).await.unwrap().unwrap();
    assert_eq!((observed.state, observed.pid), (State::Running, Some(started.pid)));
    assert_eq!(observed.started, Some(started.at));
    assert_eq!(within(node.engine.wait(&ends.id)).await.unwrap().code, 42);
    node.engine.remove(&ends.id).await.unwrap();
    let before = containers::logs::files::size(&node.log("stays"));
    let grows = async {
        while containers::logs::files::size(&node.log("stays")) <= before {
            tokio::task::yield_now().await;
        }
    };
    within(grows).await;
    node.engine.remove(&stays.id).await.unwrap();
}

#[tokio::test]
async fn an_end_while_containerd_is_away_is_known() {
    let mut node = a_node!();
    let config = node.logged("alone", &["sh", "-c", "sleep 0.5; echo last words; exit 43"]);
    node.engine.create(&config).await.unwrap();
    let process = node.engine.start(&config.id).await.unwrap().pid;
    // Stopped by hand, so that nobody starts it again before the container has ended.
    within(node.supervisor.take().unwrap().stop()).await.unwrap();
    let unavailable = node.engine.list().await.unwrap_err();
    assert_eq!(unavailable.kind(), ErrorKind::Unavailable, "{}", unavailable.chain());
    let ended = async {
        while std::path::Path::new(&format!("/proc/{process}/exe")).exists()
            && std::fs::read_link(format!("/proc/{process}/exe")).is_ok()
        {
            tokio::task::yield_now().await;
        }
    };
    within(ended).await;
    let supervisor = Supervisor::start(node.settings()).await.unwrap();
    node.supervisor = Some(supervisor);
    let exit = within(node.engine.wait(&config.id)).await.unwrap();
    assert_eq!(exit.code, 43);
    let observed = node.engine.observe(&config.id).await.unwrap().unwrap();
    assert_eq!((observed.state, observed.exit_code), (State::Exited, Some(43)));
    node.engine.remove(&config.id).await.unwrap();
    assert_eq!(crate::output::text(&node.log("alone")).await, "last words\n");
}

#[tokio::test]
async fn the_next_daemon_adopts() {
    let mut node = a_node!();
    let config = node.logged("kept", &["sleep", "1000"]);
    node.engine.create(&config).await.unwrap();
    let started = node.engine.start(&config.id).await.unwrap();
    let old = pid(&node);
    // Dropped without a word, as SIGKILL does it.
    drop(node.supervisor.take());
    let supervisor = Supervisor::start(node.settings()).await.unwrap();
    node.engine = supervisor.engine();
    node.supervisor = Some(supervisor);
    assert_eq!(pid(&node), old);
    let observed = node.engine.observe(&config.id).await.unwrap().unwrap();
    assert_eq!((observed.state, observed.pid), (State::Running, Some(started.pid)));

    // Even with the record of its process lost.
    drop(node.supervisor.take());
    std::fs::remove_file(node.directory.join("run/containerd.json")).unwrap();
    node.supervisor = Some(Supervisor::start(node.settings()).await.unwrap());
    assert_eq!(pid(&node), old);

    // With another configuration it is started anew; the container goes on.
    drop(node.supervisor.take());
    std::fs::write(node.directory.join("run/containerd.toml"), "version = 2\n").unwrap();
    node.supervisor = Some(Supervisor::start(node.settings()).await.unwrap());
    assert_ne!(pid(&node), old);
    let observed = node.engine.observe(&config.id).await.unwrap().unwrap();
    assert_eq!((observed.state, observed.pid), (State::Running, Some(started.pid)));
    node.engine.remove(&config.id).await.unwrap();
}

#[tokio::test]
async fn killed_in_the_middle_of_anything() {
    let node = a_node!();
    let exec = ExecConfig::new(ExecId::parse("x").unwrap(), ["sh", "-c", "exit 5"]);
    // The moment of death moves through create, start and exec.
    for delay in [0, 2, 5, 10, 20, 35, 50, 70, 90, 120] {
        let name = format!("cut-{delay}");
        let config = node.logged(&name, &["sh", "-c", "sleep 1000"]);
        let id = &config.id;
        let old = pid(&node);
        let work = async {
            node.engine.create(&config).await?;
            node.engine.start(id).await?;
            node.engine.exec(id, &exec).await.map(drop)
        };
        let death = async {
            // No condition to wait for: the point is to die at some moment or other.
            tokio::time::sleep(Duration::from_millis(delay)).await;
            tokio::task::spawn_blocking(move || kill(old)).await.unwrap();
        };
        let (done, ()) = within(async { tokio::join!(work, death) }).await;
        replaced(&node, old).await;
        if let Err(error) = done {
            let kind = error.kind();
            assert_eq!(kind, ErrorKind::Unavailable, "after {delay} ms: {}", error.chain());
        }
        // The same again is all it takes.
        within(node.engine.create(&config)).await.unwrap();
        let started = within(node.engine.start(id)).await;
        let started = started.unwrap_or_else(|error| panic!("{delay} ms: {}", error.chain()));
        let observed = node.engine.observe(id).await.unwrap().unwrap();
        assert_eq!((observed.state, observed.pid), (State::Running, Some(started.pid)));
        let again = ExecConfig { id: ExecId::parse("again").unwrap(), ..exec.clone() };
        drop(within(node.engine.exec(id, &again)).await.unwrap());
        assert_eq!(within(node.engine.exec_wait(id, &again.id)).await.unwrap().code, 5);
        within(node.engine.remove(id)).await.unwrap();
        assert!(node.engine.observe(id).await.unwrap().is_none());
    }
    assert!(node.engine.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_start_cut_short_before_its_shim_is_begun_anew() {
    let node = a_node!();
    let config = node.config("cut", &["sleep", "1000"]);
    node.engine.create(&config).await.unwrap();
    // As containerd leaves it when it is killed there, and does not clear it away when it is back.
    let bundles = node.directory.join("run/state/io.containerd.runtime.v2.task/hull");
    std::fs::create_dir_all(bundles.join("cut/rootfs")).unwrap();
    let started = within(node.engine.start(&config.id)).await.unwrap();
    let observed = node.engine.observe(&config.id).await.unwrap().unwrap();
    assert_eq!((observed.state, observed.pid), (State::Running, Some(started.pid)));
    node.engine.remove(&config.id).await.unwrap();
    assert!(!bundles.join("cut").exists());
}

#[tokio::test]
async fn a_layer_without_a_record_is_swept() {
    let mut node = a_node!();
    let mut config = node.config("orphan", &["true"]);
    // Refused after the layer was made and before it was recorded.
    config.spec.user = "nobody-knows".to_owned();
    assert!(node.engine.create(&config).await.is_err());
    assert!(node.engine.snapshot_usage("orphan").await.is_ok());
    drop(node.supervisor.take());
    node.supervisor = Some(Supervisor::start(node.settings()).await.unwrap());
    let gone = node.engine.snapshot_usage("orphan").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
