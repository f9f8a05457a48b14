//! The suite on containerd.

use containers::Engine;
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
