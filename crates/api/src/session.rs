//! Sessions over a WebSocket: attach and exec. What goes over it is told in
//! [`client::wire::channel`].

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::Bytes;
use client::wire::channel::{MAX_MESSAGE, PIECE, PROTOCOL};
use client::wire::{Channel, SessionStatus};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use link::session::{Input, Output, Session};
use model::{Error, Result};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use crate::Api;
use crate::body::read;
use crate::lease;
use crate::refusal::problem;

/// Time for the first message to arrive.
const REQUEST: Duration = Duration::from_secs(10);

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

/// Answers an upgrade with a session. `begin` is called with the caller's request when it has come.
pub(crate) fn upgrade<R, F>(
    api: &Arc<Api>,
    upgrade: WebSocketUpgrade,
    begin: impl FnOnce(R) -> F + Send + 'static,
) -> Response
where
    R: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Session>> + Send,
{
    let (api, lease) = (api.clone(), lease::current());
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| async move {
            let _open = api.meters.open("session");
            let stop = api.stop.clone();
            tokio::select! {
                () = converse(&api, socket, begin) => {}
                () = stop.cancelled() => {}
                () = lease.ended() => {}
            }
        })
}

async fn converse<R, F>(api: &Arc<Api>, socket: WebSocket, begin: impl FnOnce(R) -> F)
where
    R: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Session>> + Send,
{
    let (mut sink, mut source) = socket.split();
    let session = match request(api, &mut source).await {
        Ok(request) => begin(request).await,
        Err(error) => Err(error),
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => return fail(&mut sink, error).await,
    };
    if send(&mut sink, Channel::Status(SessionStatus::Ready)).await.is_err() {
        return;
    }
    let (heard, hearing) = mpsc::channel(1);
    let reader = tokio::spawn(take_input(source, session.input, heard));
    let _reader = AbortOnDropHandle::new(reader);
    give_output(api.limits.ping, sink, session.output, hearing).await;
}

/// The first message: what the caller asks for.
async fn request<R: DeserializeOwned + 'static>(api: &Api, source: &mut Source) -> Result<R> {
    let first = tokio::time::timeout(REQUEST, source.next())
        .await
        .map_err(|_| Error::invalid(format!("no request came within {} s", REQUEST.as_secs())))?;
    let Some(Ok(Message::Text(text))) = first else {
        return Err(Error::invalid("a session begins with its request, as text"));
    };
    let value = serde_json::from_str(&text)
        .map_err(|error| Error::invalid(format!("the session's request is not JSON: {error}")))?;
    read(value, api)
}

/// Why the reader stopped.
enum Heard {
    Fault(Error),
    Left,
}

/// Hands the caller's input to the process. It waits while the process does not read.
async fn take_input(mut source: Source, input: mpsc::Sender<Input>, heard: mpsc::Sender<Heard>) {
    let mut input = Some(input);
    while let Some(Ok(message)) = source.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => break,
        };
        match Channel::decode(bytes).and_then(to_input) {
            // A process that has ended takes no input; its output tells the end.
            Ok(Some(item)) => {
                if let Some(input) = &input {
                    let _ = input.send(item).await;
                }
            }
            Ok(None) => input = None,
            Err(error) => {
                let _ = heard.send(Heard::Fault(error)).await;
                return;
            }
        }
    }
    let _ = heard.send(Heard::Left).await;
}

fn to_input(channel: Channel) -> Result<Option<Input>> {
    match channel {
        Channel::Stdin(bytes) => Ok(Some(Input::Stdin(bytes))),
        Channel::StdinEnd => Ok(Some(Input::StdinEnd)),
        Channel::Resize { width, height } => Ok(Some(Input::Resize { width, height })),
        Channel::Signal(signal) => Ok(Some(Input::Signal(signal))),
        Channel::InputEnd => Ok(None),
        Channel::Stdout(_) | Channel::Stderr(_) | Channel::Status(_) => {
            Err(Error::invalid("a caller sends channels 0, 4, 5 and 255 only"))
        }
    }
}

/// Sends the process's output until it ends or the caller leaves. Pings keep what lies between from
/// forgetting an idle connection; whether the caller lives is the kernel's to tell, as one who reads
/// nothing for a while (a pager) must not lose the session.
async fn give_output(
    ping: Duration,
    mut sink: Sink,
    mut output: link::ResultStream<Output>,
    mut heard: mpsc::Receiver<Heard>,
) {
    let mut pings = tokio::time::interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            // A fault of the caller's ends its input too: the fault is told, not what came of that.
            biased;
            sign = heard.recv() => match sign {
                Some(Heard::Fault(error)) => return fail(&mut sink, error).await,
                Some(Heard::Left) | None => return,
            },
            _ = pings.tick() => deliver(&mut sink, Message::Ping(Bytes::new())).await,
            item = output.next() => match item {
                Some(Ok(Output::Exit(code))) => {
                    let _ = send(&mut sink, Channel::Status(SessionStatus::Exit { code })).await;
                    return close(&mut sink).await;
                }
                Some(Ok(item)) => send_pieces(&mut sink, item).await,
                Some(Err(error)) => return fail(&mut sink, error).await,
                None => {
                    let error = Error::internal("the session ended without an exit code");
                    return fail(&mut sink, error).await;
                }
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send_pieces(sink: &mut Sink, output: Output) -> Result<(), Gone> {
    let (mut bytes, channel): (Bytes, fn(Bytes) -> Channel) = match output {
        Output::Stdout(bytes) => (bytes, Channel::Stdout),
        Output::Stderr(bytes) => (bytes, Channel::Stderr),
        Output::Started(_) | Output::Unable { .. } | Output::Exit(_) => {
            return send(sink, output.into()).await;
        }
    };
    while bytes.len() > PIECE {
        send(sink, channel(bytes.split_to(PIECE))).await?;
    }
    send(sink, channel(bytes)).await
}

/// The caller is gone.
struct Gone;

async fn send(sink: &mut Sink, channel: Channel) -> Result<(), Gone> {
    deliver(sink, Message::Binary(channel.encode())).await
}

async fn deliver(sink: &mut Sink, message: Message) -> Result<(), Gone> {
    sink.send(message).await.map_err(|_| Gone)
}

async fn fail(sink: &mut Sink, error: Error) {
    let status = SessionStatus::Error { problem: problem(error) };
    if send(sink, Channel::Status(status)).await.is_ok() {
        close(sink).await;
    }
}

async fn close(sink: &mut Sink) {
    let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    let _ = deliver(sink, Message::Close(Some(frame))).await;
}
