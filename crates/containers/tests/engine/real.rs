//! The suite on containerd.

use std::time::Duration;

use containers::hold::{self, Hold};
use containers::{Engine, ExecConfig, ExecId};
use model::ErrorKind;

use crate::a_node;
use crate::scenarios::{self, Subject};

#[tokio::test]
async fn keeps_the_promises() {
    let node = a_node!();
    scenarios::all(&node).await;
}

#[tokio::test]
async fn works_with_a_long_path() {
    let below = format!("{}/{}", "a".repeat(100), "b".repeat(100));
    let node = match crate::node::Node::in_directory(&below).await {
        Ok(node) => node,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    assert_eq!(node.shell("long", "echo hi").await, "hi\n");
}

#[tokio::test]
async fn programs_that_cannot_be_begun() {
    let node = a_node!();
    for (command, part) in [
        (&["/nowhere"][..], "not found"),
        (&["nowhere"], "not found"),
        (&["/etc/passwd"], "permission denied"),
        (&["/etc"], "permission denied"),
    ] {
        let config = node.config("bad", command);
        node.engine.create(&config).await.unwrap();
        let error = node.engine.start(&config.id).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (ErrorKind::Invalid, Some("command")),
            "{}",
            error.chain()
        );
        assert!(error.message().contains(part), "{error}");
        // Nothing is left of the try, and it can be made again.
        let observed = node.engine.observe(&config.id).await.unwrap().unwrap();
        assert_eq!(observed.state, containers::State::Idle);
        assert!(node.engine.start(&config.id).await.is_err());
        node.engine.remove(&config.id).await.unwrap();
    }
}

/// Who copies volumes freezes containers past the engine, while health checks and users add processes.
#[tokio::test]
async fn held_still_while_processes_begin() {
    let node = a_node!();
    let config = node.config("held", &["sleep", "1000"]);
    let (engine, id) = (&node.engine, &config.id);
    engine.create(&config).await.unwrap();
    engine.start(id).await.unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_hull-mode"));
    let (limit, soon) = (Duration::from_secs(20), Duration::from_secs(5));
    for round in 0..20 {
        let exec = |number: u32| {
            let name = format!("x{round}-{number}");
            ExecConfig::new(ExecId::parse(&name).unwrap(), ["true"])
        };
        let hold = async {
            let gate = engine.none_begins(id).await;
            let cgroup = hold::cgroup(&node.cgroup, id).unwrap();
            let hold = Hold::begin(program, vec![cgroup], limit).await.unwrap().unwrap();
            let seen = tokio::time::timeout(soon, engine.observe(id)).await;
            let kept = hold.end().await;
            drop(gate);
            (seen.expect("the shim answers meanwhile").unwrap().unwrap().state, kept)
        };
        let execs = [exec(1), exec(2), exec(3)];
        let begun = futures::future::join_all(execs.iter().map(|exec| engine.exec(id, exec)));
        let (begun, (state, kept)) = scenarios::within(async { tokio::join!(begun, hold) }).await;
        assert!(state.is_live() && kept, "{state:?}");
        for (begun, exec) in begun.into_iter().zip(&execs) {
            drop(begun.unwrap());
            let exit = scenarios::within(engine.exec_wait(id, &exec.id)).await.unwrap();
            assert_eq!(exit.code, 0);
        }
    }
    engine.remove(id).await.unwrap();
}

#[tokio::test]
async fn an_image_that_is_not_unpacked() {
    let node = a_node!();
    let mut config = node.config("imageless", &["true"]);
    config.chain = format!("sha256:{}", "0".repeat(64));
    let error = node.engine.create(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("unpacked"), "{error}");
}

#[tokio::test]
async fn ten_at_once() {
    let node = a_node!();
    let runs = (0..10).map(|i| {
        let node = &node;
        async move {
            let config = node.logged(&format!("many-{i}"), &["sh", "-c", &format!("echo {i}")]);
            assert_eq!(node.run(&config).await, (0, format!("{i}\n")));
        }
    });
    scenarios::within(futures::future::join_all(runs)).await;
    assert!(node.engine.list().await.unwrap().is_empty());
}
