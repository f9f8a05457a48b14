//! The suite: each scenario is run on every engine. Containers know `true`, `false`, `echo`, `cat`,
//! `sleep` and `sh -c "exit N"`.

use std::collections::BTreeMap;
use std::time::Duration;

use containers::{
    ChangeKind, ContainerConfig, ContainerId, Engine, EngineEvent, ExecConfig, ExecId, Signal,
    State, WindowSize,
};
use futures::StreamExt;
use model::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An engine and a way to describe containers for it.
pub trait Subject: Sync {
    fn engine(&self) -> &dyn Engine;
    fn config(&self, name: &str, command: &[&str]) -> ContainerConfig;
}

pub fn id(name: &str) -> ContainerId {
    ContainerId::parse(name).unwrap()
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

/// Every scenario, one after the other.
pub async fn all(subject: &impl Subject) {
    within(a_run_from_beginning_to_end(subject)).await;
    within(every_verb_may_be_repeated(subject)).await;
    within(a_changed_container_runs_as_changed(subject)).await;
    within(what_is_not_there(subject)).await;
    within(what_does_not_run(subject)).await;
    within(events_are_told(subject)).await;
    within(further_processes(subject)).await;
    frozen_while_processes_begin(subject).await;
    within(input_is_read_to_its_end(subject)).await;
    within(clearing_kills(subject)).await;
    within(removing_kills(subject)).await;
    within(lists_and_looks(subject)).await;
    within(files_are_reached(subject)).await;
    within(nothing_is_left(subject)).await;
}

async fn a_run_from_beginning_to_end(subject: &impl Subject) {
    let engine = subject.engine();
    for (command, code) in [(&["true"][..], 0), (&["false"], 1), (&["sh", "-c", "exit 7"], 7)] {
        let config = subject.config("run", command);
        let id = &config.id;
        engine.create(&config).await.unwrap();
        assert_eq!(engine.observe(id).await.unwrap().unwrap().state, State::Idle);
        for _ in 0..2 {
            engine.start(id).await.unwrap();
            assert_eq!(engine.wait(id).await.unwrap().code, code, "{command:?}");
            let observed = engine.observe(id).await.unwrap().unwrap();
            assert_eq!((observed.state, observed.exit_code), (State::Exited, Some(code)));
            assert!(observed.started.is_some() && observed.finished >= observed.started);
            assert!(observed.pid.is_none() && !observed.oom_killed);
            let again = engine.start(id).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Conflict, "{again}");
            assert_eq!(engine.delete_task(id).await.unwrap().unwrap().code, code);
            assert_eq!(engine.observe(id).await.unwrap().unwrap().state, State::Idle);
        }
        engine.remove(id).await.unwrap();
        assert!(engine.observe(id).await.unwrap().is_none());
    }
}

async fn every_verb_may_be_repeated(subject: &impl Subject) {
    let engine = subject.engine();
    let config = subject.config("twice", &["sleep", "1000"]);
    let id = &config.id;
    for _ in 0..2 {
        engine.create(&config).await.unwrap();
    }
    let first = engine.start(id).await.unwrap();
    let second = engine.start(id).await.unwrap();
    assert_eq!(first.pid, second.pid);
    for _ in 0..2 {
        engine.pause(id).await.unwrap();
        assert_eq!(engine.observe(id).await.unwrap().unwrap().state, State::Paused);
    }
    for _ in 0..2 {
        engine.resume(id).await.unwrap();
        assert_eq!(engine.observe(id).await.unwrap().unwrap().state, State::Running);
    }
    engine.kill(id, Signal::KILL).await.unwrap();
    assert_eq!(engine.wait(id).await.unwrap().code, 137);
    engine.kill(id, Signal::KILL).await.unwrap();
    assert_eq!(engine.wait(id).await.unwrap().code, 137);
    assert_eq!(engine.delete_task(id).await.unwrap().unwrap().code, 137);
    assert_eq!(engine.delete_task(id).await.unwrap(), None);
    for _ in 0..2 {
        engine.remove(id).await.unwrap();
    }
}

async fn a_changed_container_runs_as_changed(subject: &impl Subject) {
    let engine = subject.engine();
    for (command, code) in [(&["sh", "-c", "exit 7"][..], 7), (&["true"], 0)] {
        let config = subject.config("changed", command);
        engine.create(&config).await.unwrap();
        engine.start(&config.id).await.unwrap();
        assert_eq!(engine.wait(&config.id).await.unwrap().code, code, "{command:?}");
        engine.delete_task(&config.id).await.unwrap();
    }
    engine.remove(&id("changed")).await.unwrap();
}

async fn what_is_not_there(subject: &impl Subject) {
    let engine = subject.engine();
    let id = &id("nobody");
    let exec = ExecConfig::new(ExecId::parse("x").unwrap(), ["true"]);
    let not_found = |error: model::Error| assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    not_found(engine.start(id).await.unwrap_err());
    not_found(engine.wait(id).await.unwrap_err());
    not_found(engine.kill(id, Signal::TERM).await.unwrap_err());
    not_found(engine.pause(id).await.unwrap_err());
    not_found(engine.resume(id).await.unwrap_err());
    not_found(engine.exec(id, &exec).await.unwrap_err());
    not_found(engine.open_stdin(id).await.err().unwrap());
    not_found(engine.stats(id).await.unwrap_err());
    not_found(engine.processes(id).await.unwrap_err());
    not_found(engine.update(id, &model::instance::Resources::default()).await.unwrap_err());
    not_found(engine.changes(id).await.unwrap_err());
    not_found(engine.rootfs(id).await.unwrap_err());
    assert_eq!(engine.delete_task(id).await.unwrap(), None);
    engine.remove(id).await.unwrap();
    assert!(engine.observe(id).await.unwrap().is_none());
}

async fn what_does_not_run(subject: &impl Subject) {
    let engine = subject.engine();
    let config = subject.config("idle", &["sleep", "1000"]);
    let id = &config.id;
    engine.create(&config).await.unwrap();
    let exec = ExecConfig::new(ExecId::parse("x").unwrap(), ["true"]);
    let conflict = |error: model::Error| assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    conflict(engine.wait(id).await.unwrap_err());
    conflict(engine.pause(id).await.unwrap_err());
    conflict(engine.resume(id).await.unwrap_err());
    conflict(engine.exec(id, &exec).await.unwrap_err());
    conflict(engine.open_stdin(id).await.err().unwrap());
    conflict(engine.stats(id).await.unwrap_err());
    conflict(engine.processes(id).await.unwrap_err());
    engine.kill(id, Signal::TERM).await.unwrap();
    engine.remove(id).await.unwrap();

    let nothing = subject.config("nothing", &[]);
    let error = engine.create(&nothing).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("command")));
    engine.remove(&nothing.id).await.unwrap();
}

async fn events_are_told(subject: &impl Subject) {
    let engine = subject.engine();
    let mut events = engine.events().await.unwrap();
    assert_eq!(events.next().await, Some(EngineEvent::Resync));
    let config = subject.config("told", &["sleep", "1000"]);
    let id = config.id.clone();
    engine.create(&config).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.pause(&id).await.unwrap();
    engine.resume(&id).await.unwrap();
    let exec = ExecConfig::new(ExecId::parse("x").unwrap(), ["sh", "-c", "exit 3"]);
    drop(engine.exec(&id, &exec).await.unwrap());
    engine.exec_wait(&id, &exec.id).await.unwrap();
    engine.kill(&id, Signal::KILL).await.unwrap();
    let mut told = Vec::new();
    loop {
        let event = events.next().await.unwrap();
        let last = matches!(&event, EngineEvent::Exited { id: whose, .. } if *whose == id);
        told.push(event);
        if last {
            break;
        }
    }
    assert_eq!(told[0], EngineEvent::Paused { id: id.clone() });
    assert_eq!(told[1], EngineEvent::Resumed { id: id.clone() });
    match &told[2] {
        EngineEvent::ExecExited { id: whose, exec: which, exit } => {
            assert_eq!((whose, which, exit.code), (&id, &exec.id, 3));
        }
        other => panic!("{other:?}"),
    }
    match &told[3] {
        EngineEvent::Exited { exit, .. } => assert_eq!(exit.code, 137),
        other => panic!("{other:?}"),
    }
    engine.remove(&id).await.unwrap();
}

async fn further_processes(subject: &impl Subject) {
    let engine = subject.engine();
    let config = subject.config("execs", &["sleep", "1000"]);
    let id = &config.id;
    engine.create(&config).await.unwrap();
    engine.start(id).await.unwrap();

    let echo = ExecConfig::new(ExecId::parse("echo").unwrap(), ["echo", "a", "b"]);
    let mut streams = engine.exec(id, &echo).await.unwrap();
    let mut text = String::new();
    streams.stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "a b\n");
    for _ in 0..2 {
        assert_eq!(engine.exec_wait(id, &echo.id).await.unwrap().code, 0);
    }

    let mut cat = ExecConfig::new(ExecId::parse("cat").unwrap(), ["cat"]);
    cat.stdin = true;
    let mut streams = engine.exec(id, &cat).await.unwrap();
    let mut stdin = streams.stdin.take().unwrap();
    stdin.write_all(b"to and fro").await.unwrap();
    stdin.flush().await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let mut text = String::new();
    streams.stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "to and fro");
    assert_eq!(engine.exec_wait(id, &cat.id).await.unwrap().code, 0);

    let stays = ExecConfig::new(ExecId::parse("stays").unwrap(), ["sleep", "1000"]);
    let streams = engine.exec(id, &stays).await.unwrap();
    assert!(streams.pid > 0 && streams.stdin.is_none() && streams.stderr.is_some());
    engine.exec_kill(id, &stays.id, Signal::KILL).await.unwrap();
    assert_eq!(engine.exec_wait(id, &stays.id).await.unwrap().code, 137);
    engine.exec_kill(id, &stays.id, Signal::KILL).await.unwrap();

    let empty = ExecConfig::new(ExecId::parse("empty").unwrap(), Vec::<String>::new());
    assert_eq!(engine.exec(id, &empty).await.unwrap_err().kind(), ErrorKind::Invalid);
    let unknown = engine.exec_wait(id, &ExecId::parse("unknown").unwrap()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound, "{unknown}");
    engine.remove(id).await.unwrap();
}

/// Health checks and users add processes all the time, also while somebody freezes the container.
async fn frozen_while_processes_begin(subject: &impl Subject) {
    let engine = subject.engine();
    let config = subject.config("frozen", &["sleep", "1000"]);
    let id = &config.id;
    engine.create(&config).await.unwrap();
    engine.start(id).await.unwrap();
    for round in 0..20 {
        let exec = |number: u32| {
            let name = format!("x{round}-{number}");
            ExecConfig::new(ExecId::parse(&name).unwrap(), ["true"])
        };
        let (one, two) = (exec(1), exec(2));
        let ([first, second], paused) = within(async {
            let (first, second, paused) =
                tokio::join!(engine.exec(id, &one), engine.exec(id, &two), engine.pause(id));
            ([first.map(drop), second.map(drop)], paused)
        })
        .await;
        paused.unwrap();
        assert_eq!(engine.observe(id).await.unwrap().unwrap().state, State::Paused);
        let late = engine.exec(id, &exec(3)).await.map(drop).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
        engine.resume(id).await.unwrap();
        for (begun, exec) in [(first, one), (second, two)] {
            match begun {
                Ok(()) => {
                    assert_eq!(within(engine.exec_wait(id, &exec.id)).await.unwrap().code, 0);
                }
                // It came after the freeze.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
    }
    engine.remove(id).await.unwrap();
}

async fn input_is_read_to_its_end(subject: &impl Subject) {
    let engine = subject.engine();
    let mut config = subject.config("input", &["cat"]);
    config.spec.stdin = true;
    let id = &config.id;
    engine.create(&config).await.unwrap();
    engine.start(id).await.unwrap();
    let mut input = engine.open_stdin(id).await.unwrap();
    input.write_all(b"text\n").await.unwrap();
    input.flush().await.unwrap();
    drop(input);
    // Another may come after the first has left.
    drop(engine.open_stdin(id).await.unwrap());
    assert!(engine.observe(id).await.unwrap().unwrap().state.is_live());
    engine.close_stdin(id).await.unwrap();
    assert_eq!(engine.wait(id).await.unwrap().code, 0);
    engine.remove(id).await.unwrap();

    let without = subject.config("no-input", &["sleep", "1000"]);
    engine.create(&without).await.unwrap();
    engine.start(&without.id).await.unwrap();
    let error = engine.open_stdin(&without.id).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    engine.remove(&without.id).await.unwrap();
}

async fn clearing_kills(subject: &impl Subject) {
    let engine = subject.engine();
    for frozen in [false, true] {
        let config = subject.config("cleared", &["sleep", "1000"]);
        let id = &config.id;
        engine.create(&config).await.unwrap();
        engine.start(id).await.unwrap();
        if frozen {
            engine.pause(id).await.unwrap();
        }
        assert_eq!(engine.delete_task(id).await.unwrap().unwrap().code, 137, "frozen: {frozen}");
        engine.start(id).await.unwrap();
        engine.remove(id).await.unwrap();
    }
}

async fn removing_kills(subject: &impl Subject) {
    let engine = subject.engine();
    let config = subject.config("removed", &["sleep", "1000"]);
    engine.create(&config).await.unwrap();
    engine.start(&config.id).await.unwrap();
    engine.remove(&config.id).await.unwrap();
    assert!(engine.observe(&config.id).await.unwrap().is_none());
}

async fn lists_and_looks(subject: &impl Subject) {
    let engine = subject.engine();
    let mut config = subject.config("looked-at", &["sleep", "1000"]);
    config.labels = BTreeMap::from([("project".to_owned(), "a b/ü".to_owned())]);
    let id = &config.id;
    engine.create(&config).await.unwrap();
    let started = engine.start(id).await.unwrap();
    let all = engine.list().await.unwrap();
    let observed = all.iter().find(|observed| observed.id == *id).unwrap();
    assert_eq!(observed.labels, config.labels);
    assert_eq!((observed.state, observed.pid), (State::Running, Some(started.pid)));
    assert_eq!(observed.started, Some(started.at));
    assert!(observed.created.is_some() && observed.exit_code.is_none());
    // The runtime hands its process over to the program a moment after it has said so.
    let process = loop {
        let processes = engine.processes(id).await.unwrap();
        if processes[0].command[0] != "runc" {
            break processes[0].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(process.pid, started.pid);
    assert_eq!(process.command, ["sleep", "1000"]);
    assert_eq!(engine.stats(id).await.unwrap().pids.current, 1);
    engine.resize(id, WindowSize { width: 80, height: 24 }).await.ok();
    let resources = model::instance::Resources { pids: Some(50), ..Default::default() };
    assert!(engine.update(id, &resources).await.unwrap().is_empty());
    engine.remove(id).await.unwrap();
}

async fn files_are_reached(subject: &impl Subject) {
    let engine = subject.engine();
    let config = subject.config("files", &["sleep", "1000"]);
    let id = &config.id;
    engine.create(&config).await.unwrap();
    assert!(engine.changes(id).await.unwrap().is_empty());
    let rootfs = engine.rootfs(id).await.unwrap();
    std::fs::write(rootfs.path().join("added"), "text").unwrap();
    drop(rootfs);
    engine.start(id).await.unwrap();
    let rootfs = engine.rootfs(id).await.unwrap();
    assert_eq!(rootfs.read_text("/added", 10).unwrap(), "text");
    drop(rootfs);
    let changes = engine.changes(id).await.unwrap();
    assert!(
        changes.iter().any(|c| c.path == "/added" && c.kind == ChangeKind::Added),
        "{changes:?}"
    );
    engine.remove(id).await.unwrap();
}

async fn nothing_is_left(subject: &impl Subject) {
    assert!(subject.engine().list().await.unwrap().is_empty());
}
