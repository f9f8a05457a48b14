//! Bodies of requests. A body ends with the right on which its request stands: nothing is begun, and nothing goes on,
//! with what comes later.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// Room on the disk that uploads take which are put aside: one bound for all of them.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: Arc<AtomicU64>,
}

/// What one upload takes of it, until this is dropped.
#[derive(Debug)]
struct Share {
    taken: Arc<AtomicU64>,
    length: u64,
}

impl Room {
    fn share(&self) -> Share {
        Share { taken: self.taken.clone(), length: 0 }
    }
}

impl Share {
    /// Takes so much more, where `free` bytes are left on the disk: as much stays for others as all uploads take
    /// together.
    fn grow(&mut self, more: u64, free: u64) -> Result<()> {
        self.length += more;
        let all = self.taken.fetch_add(more, Ordering::Relaxed) + more;
        match all <= free {
            true => Ok(()),
            false => Err(Error::exhausted("no room: uploads may take half of the disk together")
                .next("send it when others are done, send less at once, or make room on the node")),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.length, Ordering::Relaxed);
    }
}

/// The body's bytes, all of which are put aside before the first is given: for work that would leave half of it done
/// when a right ends or a connection breaks.
pub(crate) async fn whole(api: &Api, body: Body) -> Result<ByteStream> {
    let mut share = api.uploads.share();
    let parts = lively(api.limits.silence, bytes(body));
    let file = put_aside(&api.scratch, &mut share, parts).await?;
    let pieces = ReaderStream::with_capacity(file, PIECE).map(move |piece| {
        // It counts for as long as the file is there.
        let _counts = &share;
        piece.context(ErrorKind::Internal, || "the upload cannot be read again".into())
    });
    Ok(Box::pin(pieces))
}

/// The parts, as long as none takes longer to come than that: nobody holds room who sends nothing.
fn lively(silence: Duration, parts: ByteStream) -> ByteStream {
    let parts = tokio_stream::StreamExt::timeout(parts, silence).map(move |part| {
        part.unwrap_or_else(|_| {
            let message = format!("the upload stood still for {} s", silence.as_secs_f32());
            Err(Error::unavailable(message).next("send it again, without pauses so long"))
        })
    });
    Box::pin(parts)
}

/// Writes them into a file that has no name: nothing is left of it, however this ends.
async fn put_aside(directory: &Path, share: &mut Share, mut parts: ByteStream) -> Result<File> {
    let failed = || format!("no room for the upload in {}", directory.display());
    let file = tempfile::tempfile_in(directory).context(ErrorKind::Exhausted, failed)?;
    let mut file = File::from_std(file);
    while let Some(part) = parts.next().await {
        let part = part?;
        let disk = fstatvfs(&file).map_err(io::Error::from);
        let disk = disk.context(ErrorKind::Internal, failed)?;
        share.grow(part.len() as u64, disk.f_bavail * disk.f_frsize)?;
        file.write_all(&part).await.context(ErrorKind::Exhausted, failed)?;
    }
    file.flush().await.context(ErrorKind::Exhausted, failed)?;
    file.rewind().await.context(ErrorKind::Internal, failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;

    use super::*;

    /// As many MiB.
    fn upload(count: usize) -> ByteStream {
        Box::pin(stream::iter((0..count).map(|_| Ok(Bytes::from_static(&[7; 1 << 20])))))
    }

    #[tokio::test]
    async fn uploads_have_one_bound_together() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::default();
        let mut first = room.share();
        put_aside(dir.path(), &mut first, upload(3)).await.unwrap();
        assert_eq!(room.taken.load(Ordering::Relaxed), 3 << 20);
        let mut others = room.share();
        others.grow(u64::MAX >> 1, u64::MAX).unwrap();
        let mut next = room.share();
        let refused = put_aside(dir.path(), &mut next, upload(1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Exhausted);
        assert!(refused.next_step().is_some(), "{}", refused.chain());
        drop((first, others, next));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
        put_aside(dir.path(), &mut room.share(), upload(4)).await.unwrap();
    }

    #[test]
    fn each_counts_for_all_others() {
        let room = Room::default();
        let (mut one, mut other) = (room.share(), room.share());
        one.grow(60, 100).unwrap();
        // What the first wrote is free no more: less than both take would be left.
        assert!(other.grow(30, 80).is_err());
        drop(other);
        room.share().grow(20, 80).unwrap();
    }
}
