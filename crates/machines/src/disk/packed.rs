//! Disks that are compressed as files: gzip, xz, zstd.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::error::Context;
use model::{Bytes, Error, ErrorKind, Result};

/// Memory that a decoder may take, in KiB: xz at its highest level wants 65 MiB.
const MEMORY_KIB: u32 = 256 << 10;
const PIECE: usize = 128 << 10;
/// Runs of zeros of this length become holes.
const BLOCK: usize = 4096;

/// What comes out of `source`: unpacked, if it is packed. `true` with it if it is.
///
/// # Errors
/// `Unsupported` for other compression; `Unavailable` if `source` cannot be read.
pub fn unpacked<'a>(source: impl Read + Send + 'a) -> Result<(Box<dyn Read + Send + 'a>, bool)> {
    let mut start = Vec::with_capacity(6);
    let mut source = BufReader::with_capacity(PIECE, source);
    source
        .by_ref()
        .take(6)
        .read_to_end(&mut start)
        .context(ErrorKind::Unavailable, || "cannot be read".to_owned())?;
    let gzip = start.starts_with(b"\x1f\x8b");
    let xz = start.starts_with(b"\xfd7zXZ\0");
    let zstd = start.starts_with(b"\x28\xb5\x2f\xfd");
    if start.starts_with(b"BZh") {
        return Err(Error::unsupported("is compressed by bzip2, which is not taken")
            .next("unpack it first, or use gzip, xz or zstd"));
    }
    let whole = io::Cursor::new(start).chain(source);
    Ok(match (gzip, xz, zstd) {
        (true, _, _) => (Box::new(flate2::bufread::MultiGzDecoder::new(whole)), true),
        (_, true, _) => {
            (Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, MEMORY_KIB)), true)
        }
        (_, _, true) => (Box::new(zstd_reader(whole)?), true),
        (false, false, false) => (Box::new(whole), false),
    })
}

fn zstd_reader<'a>(source: impl BufRead + Send + 'a) -> Result<impl Read + Send + 'a> {
    let failed = || "cannot be unpacked".to_owned();
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(source).context(ErrorKind::Internal, failed)?;
    // 2^27 bytes is what the zstd program takes.
    decoder.window_log_max(27).context(ErrorKind::Internal, failed)?;
    Ok(decoder)
}

/// Writes what comes out of `source` into `target`, which is empty, with holes for zeros; returns its
/// size. `room` tells how many bytes may still be written.
///
/// # Errors
/// `Invalid` for damaged data, `Exhausted` when `room` is used up. The message goes on from the disk's
/// name.
pub fn write_sparse(
    source: &mut dyn Read,
    target: &File,
    mut room: impl FnMut() -> Result<u64>,
) -> Result<u64> {
    let (mut buffer, mut at, mut written, mut left) = (vec![0; PIECE], 0_u64, 0_u64, room()?);
    loop {
        let length = fill(source, &mut buffer).map_err(damaged)?;
        if length == 0 {
            break;
        }
        for block in buffer[..length].chunks(BLOCK) {
            if block.iter().any(|byte| *byte != 0) {
                if written + block.len() as u64 > left {
                    return Err(too_large(left));
                }
                target.write_all_at(block, at).map_err(no_room)?;
                written += block.len() as u64;
            }
            at += block.len() as u64;
        }
        if at > super::header::MOST {
            return Err(Error::invalid(format!("is over {}", Bytes(super::header::MOST))));
        }
        // Others write meanwhile: the room is asked for again now and then.
        if written % (64 << 20) < PIECE as u64 {
            left = written + room()?;
        }
    }
    target.set_len(at).map_err(no_room)?;
    Ok(at)
}

fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn damaged(error: io::Error) -> Error {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::OutOfMemory => Error::unsupported("wants too much memory to be unpacked"),
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::TimedOut => {
            Error::unavailable("broke off while it came")
        }
        _ => Error::invalid("is damaged or cut off"),
    }
    .caused_by(error)
}

fn too_large(room: u64) -> Error {
    Error::new(
        ErrorKind::Exhausted,
        format!("is larger than what the node's disk has free: {}", Bytes(room)),
    )
    .next("make room with hull image prune, or see hull system df")
}

fn no_room(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => too_large(0).caused_by(error),
        _ => Error::internal("cannot be written").caused_by(error),
    }
}

/// Bytes that may be written at `place`: what is free there, but for a twentieth and at most 1 GiB of
/// it, which the node needs itself.
///
/// # Errors
/// `Internal` if the file system cannot be asked.
pub fn room_at(place: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(place).context(ErrorKind::Internal, || {
        format!("cannot ask for the free space of {}", place.display())
    })?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let keep = (found.f_blocks.saturating_mul(found.f_frsize) / 20).min(1 << 30);
    Ok(free.saturating_sub(keep))
}

/// Unpacks a compressed disk once: `cache` is its place for good, made durable and then visible. Those
/// who come while it is unpacked wait. Blocks; the file is read-only. The message goes on from the disk's
/// name.
///
/// # Errors
/// As of [`write_sparse`] and [`unpacked`].
pub fn unpack_once(source: File, cache: &Path) -> Result<()> {
    if cache.exists() {
        return Ok(());
    }
    let directory = cache.parent().unwrap_or(Path::new("/"));
    let failed = || format!("cannot write {}", cache.display());
    fs::create_dir_all(directory).context(ErrorKind::Internal, failed)?;
    let partial = cache.with_extension("partial");
    let target = File::options().create(true).truncate(false).write(true).open(&partial);
    let target = target.context(ErrorKind::Internal, failed)?;
    target.lock().context(ErrorKind::Internal, failed)?;
    if cache.exists() {
        // This one was made while another took its place.
        let _ = fs::remove_file(&partial);
        return Ok(());
    }
    target.set_len(0).context(ErrorKind::Internal, failed)?;
    let outcome = write_unpacked(source, &target, directory)
        .and_then(|()| finish(&target, &partial, cache).context(ErrorKind::Internal, failed));
    if outcome.is_err() {
        // What is half there is of no use; the error counts for more than this.
        let _ = fs::remove_file(&partial);
    }
    outcome
}

fn write_unpacked(source: File, target: &File, directory: &Path) -> Result<()> {
    let (mut reader, _) = unpacked(source)?;
    write_sparse(&mut reader, target, || room_at(directory)).map(drop)
}

fn finish(target: &File, partial: &Path, cache: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    target.set_permissions(fs::Permissions::from_mode(0o444))?;
    target.sync_all()?;
    fs::rename(partial, cache)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn disk() -> Vec<u8> {
        let mut data = vec![0; 3 << 20];
        data[..5].copy_from_slice(b"first");
        data[2 << 20..][..4].copy_from_slice(b"last");
        data
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// `printf disk | xz`
    const XZ: &[u8] = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x04\xc0\x08\x04\x21\x01\x16\x00\x00\x00\x00\x00\x00\x00\x00\x00";

    fn write(data: &[u8], room: u64) -> Result<(Vec<u8>, u64)> {
        let target = tempfile::tempfile().unwrap();
        let (mut reader, _) = unpacked(data)?;
        let size = write_sparse(&mut reader, &target, || Ok(room))?;
        let mut read = vec![0; size as usize];
        target.read_exact_at(&mut read, 0).unwrap();
        use std::os::unix::fs::MetadataExt;
        Ok((read, target.metadata().unwrap().blocks() * 512))
    }

    #[test]
    fn any_packing_comes_out_the_same_with_holes() {
        let disk = disk();
        let parts = [gzip(&disk[..1000]), gzip(&disk[1000..])].concat();
        for packed in [disk.clone(), gzip(&disk), parts, zstd::encode_all(&disk[..], 1).unwrap()] {
            let (read, taken) = write(&packed, 1 << 20).unwrap();
            assert!(read == disk);
            assert!(taken <= 64 << 10, "{taken}");
        }
        assert_eq!(write(b"x", 10).unwrap().0, b"x");
        assert_eq!(write(b"", 10).unwrap().0, b"");
    }

    #[test]
    fn what_is_refused() {
        let (disk, full) = (disk(), vec![1; 1 << 20]);
        let packed = gzip(&disk);
        for (data, room, expected) in [
            (packed[..packed.len() / 2].to_vec(), 1 << 20, "damaged or cut off"),
            (zstd::encode_all(&disk[..], 1).unwrap()[..20].to_vec(), 1 << 20, "damaged or cut off"),
            (XZ.to_vec(), 1 << 20, "damaged or cut off"),
            (b"BZh91AY".to_vec(), 1 << 20, "bzip2"),
            (full.clone(), 8192, "larger than what"),
            (gzip(&full), 8192, "larger than what"),
        ] {
            let error = write(&data, room).unwrap_err();
            assert!(error.message().contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn a_packed_disk_is_unpacked_once() {
        let home = tempfile::tempdir().unwrap();
        let (source, cache) = (home.path().join("a.qcow2.gz"), home.path().join("cache/a.qcow2"));
        fs::write(&source, &gzip(&disk())[..50]).unwrap();
        let open = || File::open(&source).unwrap();
        let error = unpack_once(open(), &cache).unwrap_err();
        assert!(error.message().contains("is damaged"), "{error}");
        assert_eq!(fs::read_dir(home.path().join("cache")).unwrap().count(), 0);
        fs::write(&source, gzip(&disk())).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| unpack_once(open(), &cache).unwrap());
            }
        });
        assert!(fs::read(&cache).unwrap() == disk());
        unpack_once(tempfile::tempfile().unwrap(), &cache).unwrap();
        assert_eq!(fs::read_dir(home.path().join("cache")).unwrap().count(), 1);
    }
}
