//! A machine's graphical console over a WebSocket.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, stream};
use http::Method;
use link::{ByteStream, Display};
use model::Result;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Host;
use crate::error::cut_off;
use crate::instances::Instances;
use crate::session::{Socket, upgrade};
use crate::wire::channel::PIECE;
use crate::wire::console::MAX_CONSOLE_MESSAGE;
use crate::wire::{ConsoleTicket, TicketQuery};

/// Pieces that wait until the server takes them.
const WAITING: usize = 16;

impl Instances {
    /// Asks for a ticket that opens a machine's graphical console once.
    pub async fn console_ticket(&self, name: &str) -> Result<ConsoleTicket> {
        self.verb(Method::POST, name, "console").value().await
    }

    /// Connects to a machine's graphical console. Dropping either end ends it.
    pub async fn display(&self, name: &str, ticket: &str) -> Result<Display> {
        let query = TicketQuery { ticket: ticket.to_owned() };
        let call = self.verb(Method::GET, name, "console/vnc").query(&query);
        let host = self.host();
        let socket = upgrade(call, &host, None, MAX_CONSOLE_MESSAGE).await?;
        let (sink, source) = socket.split();
        let (input, inputs) = mpsc::channel(WAITING);
        let writer = AbortOnDropHandle::new(tokio::spawn(write(sink, inputs)));
        Ok(Display { input, output: outputs(source, host, writer) })
    }

    /// What a machine's screen shows, as a PNG picture.
    pub async fn screenshot(&self, name: &str) -> Result<ByteStream> {
        let call = self.verb(Method::GET, name, "console/screenshot");
        call.stream().await.map(|(_, picture)| picture)
    }
}

async fn write(mut sink: SplitSink<Socket, Message>, mut inputs: mpsc::Receiver<Bytes>) {
    while let Some(mut bytes) = inputs.recv().await {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            if sink.send(Message::Binary(piece)).await.is_err() {
                return;
            }
        }
    }
    let _ = sink.close().await;
}

fn outputs(source: SplitStream<Socket>, host: Host, writer: AbortOnDropHandle<()>) -> ByteStream {
    Box::pin(stream::unfold((source, host, writer), |(mut source, host, writer)| async move {
        loop {
            match source.next().await? {
                Ok(Message::Binary(bytes)) => return Some((Ok(bytes), (source, host, writer))),
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(error) => {
                    let error = cut_off(&host, error);
                    return Some((Err(error), (source, host, writer)));
                }
            }
        }
    }))
}
