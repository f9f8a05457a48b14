//! A machine's graphical console over a WebSocket: binary messages, copied both ways unread.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use client::wire::channel::PIECE;
use client::wire::console::MAX_CONSOLE_MESSAGE;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use link::{ByteStream, Display};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::Api;
use crate::lease;

/// Sub-protocol that viewers in browsers ask for.
const PROTOCOL: &str = "binary";

/// Answers an upgrade with a connection to a machine's screen.
pub(crate) fn upgrade(api: &Arc<Api>, upgrade: WebSocketUpgrade, display: Display) -> Response {
    let (api, lease) = (api.clone(), lease::current());
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_CONSOLE_MESSAGE)
        .max_frame_size(MAX_CONSOLE_MESSAGE)
        .on_upgrade(move |socket| async move {
            let _open = api.meters.open("console");
            tokio::select! {
                () = relay(socket, display, api.limits.ping) => {}
                () = api.stop.cancelled() => {}
                () = lease.ended() => {}
            }
        })
}

/// Copies until either side leaves. Each way waits for its own reader.
async fn relay(socket: WebSocket, display: Display, ping: Duration) {
    let (sink, source) = socket.split();
    tokio::select! {
        () = take(source, display.input) => {}
        () = give(sink, display.output, ping) => {}
    }
}

async fn take(mut source: SplitStream<WebSocket>, input: mpsc::Sender<Bytes>) {
    while let Some(Ok(message)) = source.next().await {
        match message {
            Message::Binary(bytes) => {
                if input.send(bytes).await.is_err() {
                    return;
                }
            }
            Message::Ping(_) | Message::Pong(_) => {}
            // The protocol has no text.
            Message::Text(_) | Message::Close(_) => return,
        }
    }
}

/// Pings keep what lies between from forgetting an idle connection.
async fn give(mut sink: SplitSink<WebSocket, Message>, mut output: ByteStream, ping: Duration) {
    let mut pings = tokio::time::interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            _ = pings.tick() => sink.send(Message::Ping(Bytes::new())).await,
            item = output.next() => match item {
                Some(Ok(bytes)) => send(&mut sink, bytes).await,
                Some(Err(_)) | None => {
                    let _ = sink.close().await;
                    return;
                }
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send(
    sink: &mut SplitSink<WebSocket, Message>,
    mut bytes: Bytes,
) -> Result<(), axum::Error> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        sink.send(Message::Binary(piece)).await?;
    }
    Ok(())
}
