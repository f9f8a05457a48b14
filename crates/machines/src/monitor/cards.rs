//! Network cards that come while the machine runs. The monitor, which answers their DHCP, may not open
//! what it takes: the agent opens it and sends it here.
//!
//! The socket lies where QEMU's user may put another in its place. Who does hears of cards of its own
//! machine, with a socket on its own tap, and nothing else.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::thread::LinkNameSpaceType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::open;
use crate::config::{DIRECTORY, MONITOR, Nic};
use crate::dhcp::{self, Answering};
use crate::socket;

/// Longest description of a card.
const LARGEST: usize = 64 << 10;
/// How long who comes may take to say it, and the monitor to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The answer.
const TAKEN: u8 = b'+';

/// A network card as the agent opened it.
#[derive(Debug)]
pub struct Card {
    /// Its tap, for QEMU. Absent when QEMU has it already.
    pub tap: Option<OwnedFd>,
    /// What its guest's questions are heard by, for the monitor.
    pub questions: OwnedFd,
}

impl Card {
    /// Opens a card in a network namespace; with its tap, unless QEMU has that.
    ///
    /// # Errors
    /// `Unavailable` when the namespace or the tap is not there.
    pub async fn open(namespace: &Path, nic: &Nic, with_tap: bool) -> Result<Self> {
        let (namespace, nic) = (namespace.to_owned(), nic.clone());
        let failed = || "a network card was not opened".to_owned();
        let (done, opened) = tokio::sync::oneshot::channel();
        // A thread of its own, which ends with the namespace it is in.
        std::thread::Builder::new()
            .name("card".to_owned())
            .spawn(move || {
                let opened = enter(&namespace).and_then(|()| {
                    let tap = with_tap.then(|| open::tap(&nic)).transpose()?;
                    Ok(Self { tap, questions: dhcp::open_questions(&nic)? })
                });
                let _ = done.send(opened);
            })
            .context(ErrorKind::Exhausted, failed)?;
        opened.await.context(ErrorKind::Internal, failed)?
    }
}

fn enter(namespace: &Path) -> Result<()> {
    let failed = || format!("network namespace {} cannot be entered", namespace.display());
    let file = std::fs::File::open(namespace).context(ErrorKind::Unavailable, failed)?;
    rustix::thread::move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&file),
        Some(LinkNameSpaceType::Network),
    )
    .context(ErrorKind::Unavailable, failed)
}

/// Tells the monitor of a machine, whose directory this is, to answer a card as `nic` says.
///
/// # Errors
/// `Unavailable` when it does not answer.
pub async fn tell_card(directory: &Path, nic: &Nic, questions: OwnedFd) -> Result<()> {
    let failed = || "the machine's monitor does not answer".to_owned();
    let tell = async {
        let mut stream = socket::connect(&directory.join(MONITOR)).await?;
        let text = serde_json::to_vec(nic)?;
        let sent = socket::send_with(&stream, &text, &questions).await?;
        stream.write_all(&text[sent..]).await?;
        stream.shutdown().await?;
        stream.read_u8().await
    };
    let told = tokio::time::timeout(PATIENCE, tell).await;
    match told.context(ErrorKind::Unavailable, failed)?.context(ErrorKind::Unavailable, failed)? {
        TAKEN => Ok(()),
        _ => Err(Error::unavailable(failed())),
    }
}

/// Listens for those who tell of cards.
pub(super) fn listen() -> Result<UnixListener> {
    let path = Path::new(DIRECTORY).join(MONITOR);
    let failed = || format!("{} cannot be made", path.display());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(ErrorKind::Unavailable, failed);
        }
        _ => {}
    }
    UnixListener::bind(&path).context(ErrorKind::Unavailable, failed)
}

/// Answers the cards there are, and those it is told of, for ever.
pub(super) async fn serve(listener: UnixListener, mut answering: Answering) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Nobody can come any more; those that are answered go on.
            return std::future::pending().await;
        };
        let heard = tokio::time::timeout(PATIENCE, hear(stream, &mut answering)).await;
        if let Ok(Err(error)) = heard {
            tracing::warn!(error = error.chain(), "a card was not taken");
        }
    }
}

async fn hear(mut stream: UnixStream, answering: &mut Answering) -> Result<()> {
    let failed = || "who told of a card was not understood".to_owned();
    let (mut text, mut questions) = (Vec::new(), None);
    let mut buffer = vec![0; 4096];
    loop {
        let (read, file) =
            socket::receive_with(&stream, &mut buffer).await.context(ErrorKind::Invalid, failed)?;
        questions = questions.or(file);
        text.extend_from_slice(&buffer[..read]);
        if read == 0 {
            break;
        }
        if text.len() > LARGEST {
            return Err(Error::invalid(failed()));
        }
    }
    let nic: Nic = serde_json::from_slice(&text).context(ErrorKind::Invalid, failed)?;
    answering.add(nic, questions.ok_or_else(|| Error::invalid(failed()))?)?;
    stream.write_u8(TAKEN).await.context(ErrorKind::Unavailable, failed)
}
