//! Bodies of requests. A body ends with the right on which its request stands: nothing is begun, and nothing goes on,
//! with what comes later.

use std::io;
use std::path::Path;

use axum::body::Body;
use futures::StreamExt;
use link::ByteStream;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::fstatvfs;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::Api;
use crate::lease;

/// Bytes that are read at once of what was put aside.
const PIECE: usize = 256 << 10;

/// The body's bytes; no faster than they are taken.
pub(crate) fn bytes(body: Body) -> ByteStream {
    let parts = body.into_data_stream().map(|part| {
        part.map_err(|error| {
            Error::invalid("the request's body ended in the middle").caused_by(error)
        })
    });
    lease::current().bound(Box::pin(parts))
}

/// The body's bytes, all of which are put aside before the first is given: for work that would leave half of it done
/// when a right ends or a connection breaks.
pub(crate) async fn whole(api: &Api, body: Body) -> Result<ByteStream> {
    let file = put_aside(&api.scratch, bytes(body)).await?;
    let pieces = ReaderStream::with_capacity(file, PIECE).map(|piece| {
        piece.context(ErrorKind::Internal, || "the upload cannot be read again".into())
    });
    Ok(Box::pin(pieces))
}

/// Writes them into a file that has no name: nothing is left of it, however this ends.
async fn put_aside(directory: &Path, mut parts: ByteStream) -> Result<File> {
    let failed = || format!("no room for the upload in {}", directory.display());
    let file = tempfile::tempfile_in(directory).context(ErrorKind::Exhausted, failed)?;
    let (mut file, mut length) = (File::from_std(file), 0);
    while let Some(part) = parts.next().await {
        let part = part?;
        length += part.len() as u64;
        // As much is left to others as it takes.
        let disk = fstatvfs(&file).map_err(io::Error::from);
        let disk = disk.context(ErrorKind::Internal, failed)?;
        if length > disk.f_bavail * disk.f_frsize {
            return Err(Error::exhausted(failed()).next("send less at once, or make room there"));
        }
        file.write_all(&part).await.context(ErrorKind::Exhausted, failed)?;
    }
    file.flush().await.context(ErrorKind::Exhausted, failed)?;
    file.rewind().await.context(ErrorKind::Internal, failed)?;
    Ok(file)
}
