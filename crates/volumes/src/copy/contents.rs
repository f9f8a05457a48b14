//! The contents of one file: shared where the file system can, copied without its holes where not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// Bytes read and written at a time.
const PIECE: usize = 1 << 20;

/// Copies contents and counts how.
#[derive(Debug, Default)]
pub struct Contents {
    /// Bytes shared by reflink.
    pub shared: u64,
    /// Bytes written.
    pub written: u64,
    /// A reflink was refused once; it is not asked for again.
    refused: bool,
}

impl Contents {
    /// Gives the empty file `target` the contents of `source`.
    ///
    /// # Errors
    /// The file systems'.
    pub fn copy(&mut self, source: &File, target: &File) -> io::Result<()> {
        let length = source.metadata()?.len();
        if length == 0 {
            return Ok(());
        }
        if !self.refused {
            // FICLONE, ioctl_ficlonerange(2).
            if rustix::fs::ioctl_ficlone(target, source).is_ok() {
                self.shared += length;
                return Ok(());
            }
            self.refused = true;
        }
        target.set_len(length)?;
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while let Some((from, to)) = next_data(source, at, length)? {
            self.written += piecewise(from, to, &mut buffer, |at, piece| {
                let read = source.read_at(piece, at)?;
                target.write_all_at(&piece[..read], at)?;
                Ok(read)
            })?;
            at = to;
        }
        Ok(())
    }
}

/// Makes `target`, an earlier copy of `source`, equal to it again; only what differs is written.
///
/// # Errors
/// The file systems'.
pub fn renew(source: &File, target: &File) -> io::Result<u64> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let (mut new, mut old) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut at, mut written) = (0, 0);
    while at < length {
        let data = next_data(source, at, length)?.unwrap_or((length, length));
        punch(target, at, data.0)?;
        piecewise(data.0, data.1, &mut new, |at, piece| {
            let read = source.read_at(piece, at)?;
            let known = target.read_at(&mut old[..read], at)?;
            if piece[..read] != old[..known] {
                target.write_all_at(&piece[..read], at)?;
                written += read as u64;
            }
            Ok(read)
        })?;
        at = data.1;
    }
    Ok(written)
}

/// Makes a hole of what is a hole in the source.
fn punch(target: &File, from: u64, to: u64) -> io::Result<()> {
    if from == to || next_data(target, from, to)?.is_none() {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(target, flags, from, to - from) {
        Err(Errno::OPNOTSUPP) => zero(target, from, to),
        other => Ok(other?),
    }
}

fn zero(target: &File, from: u64, to: u64) -> io::Result<()> {
    let mut zeros = vec![0; PIECE];
    piecewise(from, to, &mut zeros, |at, piece| {
        target.write_all_at(piece, at)?;
        Ok(piece.len())
    })
    .map(drop)
}

/// The next stretch of `file` from `at` on that is not a hole, cut off at `end`.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= end {
        return Ok(None);
    }
    let from = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(from) => from,
        Err(Errno::NXIO) => return Ok(None),
        // No such question on this file system: all of it is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, end))),
        Err(error) => return Err(error.into()),
    };
    if from >= end {
        return Ok(None);
    }
    let to = rustix::fs::seek(file, SeekFrom::Hole(from))?;
    Ok(Some((from, to.min(end))))
}

/// Calls `work` for one piece after the other until `to`, or until it did nothing.
fn piecewise(
    from: u64,
    to: u64,
    buffer: &mut [u8],
    mut work: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<u64> {
    let mut at = from;
    while at < to {
        let room = buffer.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
        match work(at, &mut buffer[..room])? {
            0 => break,
            done => at += done as u64,
        }
    }
    Ok(at - from)
}
