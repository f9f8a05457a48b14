//! Sessions with a process over a WebSocket.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, stream};
use http::HeaderValue;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use link::session::{Input, Output, Session};
use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Host;
use crate::error::cut_off;
use crate::request::Call;
use crate::wire::channel::{MAX_MESSAGE, PIECE, PROTOCOL};
use crate::wire::{Channel, SessionStatus};

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Inputs that wait until the server takes them.
const WAITING: usize = 16;

/// Opens a session: sends `request` and waits until the server has taken it.
pub(crate) async fn open(call: Call, host: Host, request: &impl Serialize) -> Result<Session> {
    let json = serde_json::to_string(request)
        .context(ErrorKind::Internal, || "a request cannot be written".into())?;
    let mut socket = upgrade(call, &host, Some(PROTOCOL), MAX_MESSAGE).await?;
    let broken = |error| cut_off(&host, error);
    socket.send(Message::text(json)).await.map_err(broken)?;
    match next(&mut socket, &host).await? {
        Some(Channel::Status(SessionStatus::Ready)) => {}
        Some(Channel::Status(SessionStatus::Error { problem })) => return Err(problem.into()),
        _ => return Err(Error::internal("the server did not answer the session's request")),
    }
    let (sink, source) = socket.split();
    let (input, inputs) = mpsc::channel(WAITING);
    let writer = AbortOnDropHandle::new(tokio::spawn(write(sink, inputs)));
    Ok(Session { input, output: Box::pin(outputs(source, host, writer)) })
}

/// Makes a request a WebSocket, whose messages have at most `most` bytes.
pub(crate) async fn upgrade(
    call: Call,
    host: &Host,
    protocol: Option<&'static str>,
    most: usize,
) -> Result<Socket> {
    let key = HeaderValue::from_str(&generate_key())
        .context(ErrorKind::Internal, || "a WebSocket key cannot be written".into())?;
    let call = match protocol {
        Some(name) => call.header(SEC_WEBSOCKET_PROTOCOL.as_str(), HeaderValue::from_static(name)),
        None => call,
    };
    let answer = call
        .header(CONNECTION.as_str(), HeaderValue::from_static("Upgrade"))
        .header(UPGRADE.as_str(), HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_VERSION.as_str(), HeaderValue::from_static("13"))
        .header(SEC_WEBSOCKET_KEY.as_str(), key)
        .send()
        .await?;
    if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::internal("the server does not speak WebSocket here"));
    }
    let stream = hyper::upgrade::on(answer).await.map_err(|error| cut_off(host, error))?;
    let limits = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
    Ok(Socket::from_raw_socket(TokioIo::new(stream), Role::Client, Some(limits)).await)
}

/// Sends inputs until there are no more, then says so. A server that is gone is found by the reader.
async fn write(mut sink: SplitSink<Socket, Message>, mut inputs: mpsc::Receiver<Input>) {
    while let Some(input) = inputs.recv().await {
        for channel in pieces(input) {
            if sink.send(Message::Binary(channel.encode())).await.is_err() {
                return;
            }
        }
    }
    let _ = sink.send(Message::Binary(Channel::InputEnd.encode())).await;
}

/// Long input in messages of a size the server takes.
fn pieces(input: Input) -> Vec<Channel> {
    match input {
        Input::Stdin(mut bytes) => {
            let mut parts = Vec::new();
            while bytes.len() > PIECE {
                parts.push(Channel::Stdin(bytes.split_to(PIECE)));
            }
            parts.push(Channel::Stdin(bytes));
            parts
        }
        Input::StdinEnd | Input::Resize { .. } | Input::Signal(_) => vec![input.into()],
    }
}

struct Reading {
    source: SplitStream<Socket>,
    host: Host,
    /// Ends with the reader, and with it the connection.
    _writer: AbortOnDropHandle<()>,
}

fn outputs(
    source: SplitStream<Socket>,
    host: Host,
    writer: AbortOnDropHandle<()>,
) -> impl futures::Stream<Item = Result<Output>> + Send {
    let reading = Reading { source, host, _writer: writer };
    stream::unfold(Some(reading), |reading| async {
        let mut reading = reading?;
        match output(&mut reading).await {
            Ok(Output::Exit(code)) => Some((Ok(Output::Exit(code)), None)),
            Ok(output) => Some((Ok(output), Some(reading))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

async fn output(reading: &mut Reading) -> Result<Output> {
    loop {
        let Some(channel) = next(&mut reading.source, &reading.host).await? else {
            return Err(cut_off(&reading.host, "the session ended without an exit code"));
        };
        match channel {
            Channel::Stdout(bytes) => return Ok(Output::Stdout(bytes)),
            Channel::Stderr(bytes) => return Ok(Output::Stderr(bytes)),
            Channel::Status(SessionStatus::Started) => return Ok(Output::Started(0)),
            Channel::Status(SessionStatus::Exit { code }) => return Ok(Output::Exit(code)),
            Channel::Status(SessionStatus::Error { problem }) => return Err(problem.into()),
            Channel::Status(SessionStatus::Ready) => {}
            Channel::Stdin(_)
            | Channel::Resize { .. }
            | Channel::Signal(_)
            | Channel::StdinEnd
            | Channel::InputEnd => {
                return Err(Error::internal("the server sent what only a client may"));
            }
        }
    }
}

/// The next message that has a meaning; none at the end.
async fn next<S>(source: &mut S, host: &Host) -> Result<Option<Channel>>
where
    S: futures::Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    while let Some(message) = source.next().await {
        match message.map_err(|error| cut_off(host, error))? {
            Message::Binary(bytes) => return Channel::decode(bytes).map(Some),
            Message::Text(text) => return Channel::decode(Bytes::from(text)).map(Some),
            Message::Close(_) => return Ok(None),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ok(None)
}
