//! What platform and name server say to each other: JSON, each value behind its length.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use model::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::name_server::Listening;
use crate::zones::{Change, Zones};

/// More than the names of all instances a machine can have.
const MOST: u32 = 256 << 20;

/// The server's first words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) program: Option<Program>,
}

/// Which program runs, whatever its file is called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    device: u64,
    inode: u64,
}

impl Program {
    /// Of this process.
    pub(super) fn own() -> Option<Self> {
        let meta = std::fs::metadata("/proc/self/exe").ok()?;
        Some(Self { device: meta.dev(), inode: meta.ino() })
    }
}

/// What the platform says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Answer from these.
    Publish(Arc<Zones>),
    /// Answer from what this makes of the last ones.
    Change(Change),
    /// Another one is there.
    Leave,
}

/// The answer to [`Request::Publish`] and [`Request::Change`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Published {
    addresses: Vec<SocketAddr>,
    failed: Vec<Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    address: SocketAddr,
    message: String,
    next: Option<String>,
}

impl From<Listening> for Published {
    fn from(listening: Listening) -> Self {
        let failure = |(address, error): (SocketAddr, Error)| Failure {
            address,
            message: error.chain(),
            next: error.next_step().map(str::to_owned),
        };
        let failed = listening.failed.into_iter().map(failure).collect();
        Self { addresses: listening.addresses, failed }
    }
}

impl From<Published> for Listening {
    fn from(published: Published) -> Self {
        let failure = |Failure { address, message, next }| {
            let error = Error::unavailable(message);
            (address, next.into_iter().fold(error, Error::next))
        };
        let failed = published.failed.into_iter().map(failure).collect();
        Self { addresses: published.addresses, failed }
    }
}

/// Writes a value.
pub(super) async fn write(
    to: &mut (impl AsyncWriteExt + Unpin),
    value: &impl Serialize,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&bytes).await
}

/// Reads a value.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<T> {
    let length = from.read_u32().await?;
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}
