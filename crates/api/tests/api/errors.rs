//! What is refused, and how that is told.

use client::wire::Problem;
use link::image::PullRequest;
use model::ErrorKind;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::raw;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_error_crosses_the_wire() {
    let world = World::start().await;
    for client in [world.local(), world.remote()] {
        for kind in ErrorKind::ALL {
            let error = client.images().show(&format!("kind-{kind}")).await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.message(), format!("this is {kind}: the deeper reason"));
            assert_eq!(error.field(), Some("spec.some[0].field"));
            assert_eq!(error.next_step(), Some("do something else"));
        }
    }
    let statuses = [
        ("invalid", 400),
        ("notFound", 404),
        ("exists", 409),
        ("conflict", 409),
        ("forbidden", 403),
        ("unauthenticated", 401),
        ("exhausted", 507),
        ("unavailable", 503),
        ("unsupported", 501),
        ("internal", 500),
    ];
    for (kind, status) in statuses {
        let answer = raw::get(&world, &format!("/v1/images?name=kind-{kind}")).await;
        assert_eq!(answer.status, status, "{kind}");
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        let Problem { status: inside, r#type, .. } = answer.problem();
        assert_eq!((inside, r#type), (status, format!("urn:hull:problem:{kind}")));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_naming_the_fault() {
    let world = World::start().await;
    let networks = "/v1/projects/default/networks";
    for (path, body, field) in [
        (networks, r#"{"meta":{"name":"a"},"spec":{"internal":"yes"}}"#, Some("spec.internal")),
        (networks, r#"{"meta":{"name":"a"},"spec":{"ipv4":"10.0.0.0/99"}}"#, Some("spec.ipv4")),
        (networks, r#"{"meta":{"name":"a"},"spec":{"mtuu":1}}"#, Some("spec.mtuu")),
        (networks, r#"{"meta":{"nam":"a"},"spec":{}}"#, Some("meta.nam")),
        (networks, r#"{"meta":{"name":"a"}}"#, None),
        (networks, r#"{"meta":"#, None),
        (networks, "[]", None),
        (networks, "null", None),
        (networks, "\u{feff}{}", None),
        ("/v1/images/pull", r#"{"name":"a","policy":"sometimes"}"#, Some("policy")),
        ("/v1/images/tag", r#"{"name":"a"}"#, None),
        ("/v1/tokens", r#"{"expires":"tomorrow"}"#, Some("expires")),
    ] {
        let answer = raw::post(&world, path, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body} {}", answer.problem().detail);
        assert_eq!(answer.problem().field.as_deref(), field, "{body} {}", answer.problem().detail);
    }
    let invalid_utf8 = b"{\"meta\":{\"name\":\"\xff\"},\"spec\":{}}";
    assert_eq!(raw::post(&world, networks, invalid_utf8).await.status, 400);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(raw::request(&world, "POST", networks, &form, b"{}").await.status, 415);
    let deep = "[".repeat(100_000);
    assert_eq!(raw::post(&world, networks, deep.as_bytes()).await.status, 400);
    for (query, field) in [
        ("limit=many", Some("limit")),
        ("lables=a", Some("lables")),
        ("watch=true&revision=-1", Some("revision")),
        ("revision=3", Some("revision")),
    ] {
        let answer = raw::get(&world, &format!("{networks}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.problem().field.as_deref(), field, "{query}");
    }
    assert_eq!(raw::get(&world, "/v2/nothing").await.status, 404);
    assert_eq!(raw::get(&world, "/v1/projects/%ff/networks").await.status, 400);
    assert_eq!(raw::request(&world, "PUT", networks, &[], b"").await.status, 405);
    let stale = [("if-match", "\"1\""), ("content-type", "application/merge-patch+json")];
    let patched = raw::request(&world, "PATCH", "/v1/nodes/n1", &stale, b"{}").await;
    assert_eq!(patched.status, 412);
    let nonsense = [("if-match", "banana"), ("content-type", "application/merge-patch+json")];
    let patched = raw::request(&world, "PATCH", "/v1/nodes/n1", &nonsense, b"{}").await;
    assert_eq!((patched.status, patched.problem().field.as_deref()), (400, Some("If-Match")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_has_not_changed_is_not_sent_again() {
    let world = World::start().await;
    let path = "/v1/projects/default";
    let first = raw::get(&world, path).await;
    let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = raw::request(&world, "GET", path, &[("if-none-match", tag)], b"").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_takes_down_one_request_only() {
    let world = World::start().await;
    let images = world.local().images();
    let error = images.show("panic").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(images.show("a").await.is_ok());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_not_there_is_told_with_what_to_do() {
    let config = client::Config::local("/nonexistent/api.sock");
    let client = client::Client::connect(config).unwrap();
    let error = client.system().status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.next_step(), Some("is the daemon running? hull up"));
    let pull = client.images().pull(&PullRequest::default()).await.err().unwrap();
    assert_eq!(pull.kind(), ErrorKind::Unavailable);
}

/// Whatever is posted, something sensible is answered.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_brings_the_server_down() {
    let world = World::start().await;
    let runtime = tokio::runtime::Handle::current();
    let paths = [
        "/v1/projects/default/instances",
        "/v1/projects/default/volumes",
        "/v1/images/pull",
        "/v1/tokens",
    ];
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let json = "\\PC{0,40}|(\\{\"(meta|spec|name)\":(\\{|\\[|\"|null|1e999|-0)?.{0,10}\\}?)";
    let cases = (0..paths.len(), json, prop::collection::vec(any::<u8>(), 0..8));
    tokio::task::block_in_place(|| {
        let outcome = runner.run(&cases, |(path, text, tail)| {
            let body = [text.as_bytes(), tail.as_slice()].concat();
            let answer = runtime.block_on(raw::post(&world, paths[path], &body));
            prop_assert!((200..500).contains(&answer.status), "{} {text:?}", answer.status);
            Ok(())
        });
        outcome.unwrap();
    });
    world.stop().await;
}

/// Whatever bytes come, the connection ends and the server goes on.
#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_bring_the_server_down() {
    let world = World::start().await;
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config { cases: 100, ..Config::default() });
    let line = "(GET|POST|PRI|\\PC{1,6}) (/|\\*|/v1/[a-z%/?&=.]{0,20}) HTTP/(1.1|1.0|2.0|9)\r\n";
    let headers = "((host|content-length|transfer-encoding|te|\\PC{1,5}): ?\\PC{0,12}\r\n){0,4}";
    let cases = (line, headers, prop::collection::vec(any::<u8>(), 0..40));
    tokio::task::block_in_place(|| {
        let outcome = runner.run(&cases, |(line, headers, tail)| {
            let head = format!("{line}connection: close\r\n{headers}\r\n");
            let bytes = [head.as_bytes(), tail.as_slice()].concat();
            runtime.block_on(async {
                use tokio::io::AsyncWriteExt;
                let mut stream = tokio::net::UnixStream::connect(&world.socket).await.unwrap();
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                let answer = raw::read(&mut stream).await;
                assert_ne!(answer.status, 500, "{head:?}");
            });
            Ok(())
        });
        outcome.unwrap();
    });
    assert_eq!(raw::get(&world, "/healthz").await.status, 200);
    world.stop().await;
}
