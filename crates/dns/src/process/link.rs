//! The platform's side of a conversation.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::wire::{self, Hello, Program, Published, Request};
use crate::name_server::Listening;
use crate::zones::{Change, Zones};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A conversation with a server.
#[derive(Debug)]
pub(super) struct Link {
    /// What the server runs.
    pub(super) program: Option<Program>,
    out: OwnedWriteHalf,
    answers: mpsc::Receiver<Published>,
    reading: JoinHandle<()>,
    /// What was said last; none before all was, and where some of it could not be done.
    told: Option<Arc<Zones>>,
    /// Asked to leave once this one answers.
    before: Option<Box<Link>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Link {
    /// Speaks to the server that listens there. `lost` is told when it ends.
    pub(super) async fn open(socket: &Path, lost: Arc<Notify>) -> io::Result<Self> {
        let (mut from, out) = UnixStream::connect(socket).await?.into_split();
        let hello: Hello = timeout(PATIENCE, wire::read(&mut from)).await??;
        let (sender, answers) = mpsc::channel(1);
        let reading = tokio::spawn(read(from, sender, lost));
        Ok(Self { program: hello.program, out, answers, reading, told: None, before: None })
    }

    /// The same, to take the place of another.
    pub(super) fn after(mut self, other: Self) -> Self {
        self.before = Some(Box::new(other));
        self
    }

    /// Has the server answer from `zones`: it is told what is different, or all where nothing was told yet.
    pub(super) async fn publish(&mut self, zones: &Arc<Zones>) -> io::Result<Listening> {
        let request = match self.told.take() {
            Some(told) => Request::Change(Change::between(&told, zones)),
            None => Request::Publish(zones.clone()),
        };
        let exchange = async {
            wire::write(&mut self.out, &request).await?;
            self.answers.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
        };
        let published: io::Result<Published> = timeout(PATIENCE, exchange).await?;
        let listening: Listening = published?.into();
        self.told = listening.failed.is_empty().then(|| zones.clone());
        if let Some(mut before) = self.before.take() {
            // One that is gone already has left.
            let _ = wire::write(&mut before.out, &Request::Leave).await;
        }
        Ok(listening)
    }
}

/// Passes answers on until the server ends, and tells of that.
async fn read(mut from: OwnedReadHalf, answers: mpsc::Sender<Published>, lost: Arc<Notify>) {
    while let Ok(published) = wire::read(&mut from).await {
        if answers.send(published).await.is_err() {
            return;
        }
    }
    lost.notify_one();
}
