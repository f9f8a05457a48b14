//! Attach and exec.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use link::instance::{AttachRequest, ExecRequest};
use link::{Input, Output, Session};
use model::ErrorKind;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::world::{World, soon, until};

fn exec(command: &[&str]) -> ExecRequest {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    ExecRequest { command, stdin: true, ..ExecRequest::default() }
}

async fn next(session: &mut Session) -> Output {
    soon(session.output.next()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_talked_to() {
    let world = World::start().await;
    world.run("web").await;
    for client in [world.local(), world.remote()] {
        let instances = client.instances("default");
        let mut session = instances.exec("web", "", &exec(&["cat"])).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Started(0));
        let text = Bytes::from_static(b"\x00\xff hello");
        session.input.send(Input::Stdin(text.clone())).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Stdout(text));
        session.input.send(Input::Resize { width: 132, height: 43 }).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Stderr(Bytes::from_static(b"132x43")));
        session.input.send(Input::Signal("INT".into())).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Stderr(Bytes::from_static(b"signal INT")));
        session.input.send(Input::StdinEnd).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Exit(8));
        assert!(soon(session.output.next()).await.is_none());
    }
    until(async || world.open() == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_end_its_input_and_go_on() {
    let world = World::start().await;
    world.run("web").await;
    let instances = world.local().instances("default");
    let request = AttachRequest { stdin: true, replay: true, tail: None, run: 0 };
    let session = instances.attach("web", "main", &request).await.unwrap();
    assert!(world.node.was_asked("attach stdin=true replay=true"));
    drop(session.input);
    let mut output = session.output;
    // The node sees its input dropped, and the fake ends with 99 then.
    assert_eq!(soon(output.next()).await.unwrap().unwrap(), Output::Exit(99));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_where_it_goes_wrong() {
    let world = World::start().await;
    world.run("web").await;
    for client in [world.local(), world.remote()] {
        let instances = client.instances("default");
        let refused = instances.exec("web", "", &exec(&["kind-conflict"])).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert_eq!(refused.next_step(), Some("do something else"));
        let nobody = instances.exec("nobody", "", &exec(&["cat"])).await.err().unwrap();
        assert_eq!(nobody.kind(), ErrorKind::NotFound);
        let empty = instances.exec("web", "", &exec(&[])).await.err().unwrap();
        assert_eq!((empty.kind(), empty.field()), (ErrorKind::Invalid, Some("command")));
        let late = AttachRequest { run: 404, ..AttachRequest::default() };
        let late = instances.attach("web", "", &late).await.err().unwrap();
        assert_eq!(late.kind(), ErrorKind::Conflict);
        let mut session = instances.exec("web", "", &exec(&["fail"])).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Started(0));
        let error = soon(session.output.next()).await.unwrap().unwrap_err();
        assert_eq!(error.message(), "the shim is gone");
        let mut session = instances.exec("web", "", &exec(&["stderr", "oh"])).await.unwrap();
        assert_eq!(next(&mut session).await, Output::Started(0));
        assert_eq!(next(&mut session).await, Output::Stderr(Bytes::from_static(b"oh")));
        assert_eq!(next(&mut session).await, Output::Exit(1));
    }
    let stranger = world.remote_as(None, client::Trust::Pem(world.ca.clone().into_bytes()));
    let error = stranger.instances("default").exec("web", "", &exec(&["cat"])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let plain = crate::raw::get(&world, "/v1/projects/default/instances/web/exec").await;
    assert_eq!(plain.status, 426);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_and_input_pass_without_loss() {
    let world = World::start().await;
    world.run("web").await;
    let instances = world.remote().instances("default");
    let mut session = instances.exec("web", "", &exec(&["flood", "100"])).await.unwrap();
    let mut length = 0;
    let code = soon(async {
        loop {
            match session.output.next().await.unwrap().unwrap() {
                Output::Stdout(bytes) => length += bytes.len(),
                Output::Exit(code) => return code,
                Output::Started(_) | Output::Unable { .. } | Output::Stderr(_) => {}
            }
        }
    })
    .await;
    assert_eq!((code, length), (0, 20_000_000));
    let Session { input, mut output } = instances.exec("web", "", &exec(&["cat"])).await.unwrap();
    let big = Bytes::from(vec![b'y'; 3_000_000]);
    let sending = tokio::spawn(async move {
        input.send(Input::Stdin(big)).await.unwrap();
        input.send(Input::StdinEnd).await.unwrap();
        input
    });
    let mut back = 0;
    while let Some(item) = soon(output.next()).await {
        if let Output::Stdout(bytes) = item.unwrap() {
            back += bytes.len();
        }
    }
    assert_eq!(back, 3_000_000);
    soon(sending).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_sends_nonsense_is_told_and_left() {
    let world = World::start().await;
    world.run("web").await;
    for (first, then) in [
        (Message::text("{"), None),
        (Message::text(r#"{"command":["cat"],"commnad":1}"#), None),
        (Message::Binary(Bytes::from_static(b"{}")), None),
        (Message::text(r#"{"command":["cat"]}"#), Some(Bytes::from_static(&[9, 9]))),
        (Message::text(r#"{"command":["cat"]}"#), Some(Bytes::new())),
        (Message::text(r#"{"command":["cat"]}"#), Some(Bytes::from_static(b"\x04{}"))),
        (Message::text(r#"{"command":["cat"]}"#), Some(Bytes::from_static(b"\x01forged"))),
    ] {
        let stream = tokio::net::UnixStream::connect(&world.socket).await.unwrap();
        let uri = "ws://local/v1/projects/default/instances/web/exec";
        let mut request = uri.into_client_request().unwrap();
        let protocol = client::wire::channel::PROTOCOL.parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        socket.send(first.clone()).await.unwrap();
        if let Some(bytes) = then {
            socket.send(Message::Binary(bytes)).await.unwrap();
        }
        let mut told = false;
        while let Some(Ok(message)) = soon(socket.next()).await {
            if let Message::Binary(bytes) = message {
                told |= String::from_utf8_lossy(&bytes).contains(r#""type":"error""#);
            }
        }
        assert!(told, "{first:?}");
    }
    until(async || world.open() == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_are_pinged_and_live() {
    let limits = api::Limits { ping: std::time::Duration::from_millis(10), ..Default::default() };
    let world = World::with(limits).await;
    world.run("web").await;
    let stream = tokio::net::UnixStream::connect(&world.socket).await.unwrap();
    let request = "ws://local/v1/projects/default/instances/web/exec";
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(r#"{"command":["cat"]}"#)).await.unwrap();
    let mut pings = 0;
    while pings < 5 {
        if let Message::Ping(_) = soon(socket.next()).await.unwrap().unwrap() {
            pings += 1;
        }
    }
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    let mut exited = false;
    while let Some(Ok(message)) = soon(socket.next()).await {
        if let Message::Binary(bytes) = message {
            exited |= bytes.ends_with(br#"{"type":"exit","code":0}"#);
        }
    }
    assert!(exited);
    world.stop().await;
}
