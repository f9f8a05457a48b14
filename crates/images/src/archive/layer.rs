//! The layer check: everything a layer's tar must keep to before the store may unpack it (OCI
//! image specification, `layer.md`).
//!
//! It is one pass beside the writing: a thread of its own unpacks what passes by, hashes it into the
//! diff id, and looks at every header. containerd confines what it unpacks to the container's root
//! as well; this check is there so that a hostile layer never gets that far.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::budget::Budget;
use super::compression::{Compression, MAGIC_LENGTH};
use super::tar::{Entry, Event, Kind, Scanner};
use crate::content::{ContentStore, LABEL_FILES, LABEL_UNCOMPRESSED, Labels};
use crate::digest::{Digest, Hasher};
use crate::limits::Limits;
use crate::machine::LayerDisk;

/// Pieces of a layer that wait for the check; each is what one read of the network brought.
const QUEUE: usize = 16;
const BUFFER: usize = 128 << 10;
const WHITEOUT: &[u8] = b".wh.";
/// Linux takes no longer path (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// What the check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub diff_id: Digest,
    pub unpacked: u64,
    pub entries: u64,
    /// Bytes of the files in it.
    pub files: u64,
    pub compression: Compression,
    pub disk: LayerDisk,
}

impl Checked {
    /// What the layer's blob is labelled with.
    pub fn labels(&self) -> Labels {
        let mut labels = self.disk.labels();
        labels.insert(LABEL_UNCOMPRESSED.to_owned(), self.diff_id.to_string());
        labels.insert(LABEL_FILES.to_owned(), self.files.to_string());
        labels
    }
}

/// A check that is under way.
pub(crate) struct LayerCheck {
    pieces: mpsc::Sender<Bytes>,
    task: JoinHandle<Result<Checked>>,
}

impl LayerCheck {
    /// Begins; must be called inside a tokio runtime.
    pub fn start(limits: &Limits) -> Self {
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let limits = limits.clone();
        let task = tokio::task::spawn_blocking(move || check(Pieces::new(receiver), &limits));
        Self { pieces, task }
    }

    /// Hands over the next bytes. `false` once the verdict is known: [`LayerCheck::finish`] tells it.
    pub async fn push(&self, piece: Bytes) -> bool {
        piece.is_empty() || self.pieces.send(piece).await.is_ok()
    }

    /// Checks a blob that is in `store` already.
    pub async fn of_stored(
        store: &dyn ContentStore,
        digest: &Digest,
        limits: &Limits,
    ) -> Result<Checked> {
        let mut pieces = store.reader(digest, None).await?;
        let check = Self::start(limits);
        while let Some(piece) = pieces.try_next().await? {
            if !check.push(piece).await {
                break;
            }
        }
        check.finish().await
    }

    /// All bytes were handed over: waits for the verdict.
    pub async fn finish(self) -> Result<Checked> {
        drop(self.pieces);
        self.task.await.context(ErrorKind::Internal, || "the layer check died".to_owned())?
    }
}

fn check(mut pieces: Pieces, limits: &Limits) -> Result<Checked> {
    pieces.gather(MAGIC_LENGTH);
    let compression = Compression::sniff(&pieces.current)?;
    let taken = pieces.taken.clone();
    let mut reader = compression.reader(pieces).map_err(undone)?;
    let mut pass = Pass::new(limits);
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return pass.finish(compression),
            Ok(length) => pass.take(&buffer[..length], taken.load(Ordering::Relaxed))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(undone(error)),
        }
    }
}

fn undone(error: io::Error) -> Error {
    Error::invalid("its compressed data is damaged or cut off").caused_by(error)
}

/// The pieces as one reader, which waits for the next one.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    /// Bytes handed over so far, shared with the pass that compares them to what came out.
    taken: Arc<AtomicU64>,
}

impl Pieces {
    fn new(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self { receiver, current: Bytes::new(), taken: Arc::default() }
    }

    fn receive(&mut self) -> Option<Bytes> {
        let piece = self.receiver.blocking_recv()?;
        self.taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Some(piece)
    }

    /// Makes `length` bytes available, or as many as there are.
    fn gather(&mut self, length: usize) {
        while self.current.len() < length {
            let Some(piece) = self.receive() else { return };
            self.current = [&self.current[..], &piece[..]].concat().into();
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() {
            self.current = self.receive().unwrap_or_default();
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

/// What is done with the bytes that come out.
struct Pass<'a> {
    budget: Budget<'a>,
    hasher: Hasher,
    scanner: Scanner,
    disk: LayerDisk,
    files: u64,
}

impl<'a> Pass<'a> {
    fn new(limits: &'a Limits) -> Self {
        let (hasher, scanner) = (Hasher::new(), Scanner::new());
        let (disk, files) = (LayerDisk::default(), 0);
        Self { budget: Budget::new(limits), hasher, scanner, disk, files }
    }

    fn take(&mut self, mut data: &[u8], packed: u64) -> Result<()> {
        self.budget.unpacked(data.len() as u64, packed)?;
        self.hasher.update(data);
        while let Some(event) = self.scanner.next(&mut data).map_err(no_tar)? {
            match event {
                Event::Entry(entry) => {
                    check_entry(&entry)?;
                    self.budget.entry(entry.unpacked)?;
                    self.files += entry.unpacked;
                    self.disk.entry(&entry);
                }
                Event::Data(data) => self.disk.data(data),
            }
        }
        Ok(())
    }

    fn finish(self, compression: Compression) -> Result<Checked> {
        self.scanner.finish().map_err(no_tar)?;
        let (unpacked, entries) = (self.budget.total(), self.budget.entries());
        let (diff_id, disk, files) = (self.hasher.finish(), self.disk, self.files);
        Ok(Checked { diff_id, unpacked, entries, files, compression, disk })
    }
}

fn no_tar(fault: super::tar::Fault) -> Error {
    Error::invalid(format!("it is not a sound tar: {fault}"))
}

/// The rules for one entry. Links of the symbolic kind may point anywhere: they are followed inside
/// the container. Devices are allowed as Docker and containerd allow them: the container's device
/// rules decide what they can reach.
fn check_entry(entry: &Entry) -> Result<()> {
    let refuse = |why: &str| {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let shown: String = path.chars().take(200).collect();
        Err(Error::invalid(format!("its entry {shown:?} {why}")))
    };
    if entry.path.len() > LONGEST_PATH || entry.link.len() > LONGEST_PATH {
        return refuse("has a path longer than any file system takes");
    }
    if entry.path.is_empty() {
        return refuse("has no name");
    }
    if climbs(&entry.path) {
        return refuse("leaves the layer by '..'");
    }
    if components(&entry.path).any(|part| part.strip_prefix(WHITEOUT).is_some_and(is_no_name)) {
        return refuse("removes something outside its directory");
    }
    match entry.kind {
        Kind::HardLink if climbs(&entry.link) => refuse("is a hard link to something outside"),
        Kind::HardLink | Kind::Symlink if entry.link.is_empty() => refuse("links to nothing"),
        Kind::File
        | Kind::HardLink
        | Kind::Symlink
        | Kind::Device
        | Kind::Directory
        | Kind::Fifo => Ok(()),
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

fn climbs(path: &[u8]) -> bool {
    components(path).any(|part| part == b"..")
}

/// What no file can be called, so that no whiteout can mean it.
fn is_no_name(name: &[u8]) -> bool {
    matches!(name, b"" | b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use model::Bytes as Size;

    use super::*;

    fn tar_of(kind: ::tar::EntryType, path: &str, link: &str) -> Vec<u8> {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(0);
        header.set_cksum();
        let mut builder = ::tar::Builder::new(Vec::new());
        builder.append(&header, io::empty()).unwrap();
        builder.into_inner().unwrap()
    }

    async fn verdict(data: &[u8], limits: &Limits) -> Result<Checked> {
        let check = LayerCheck::start(limits);
        for piece in data.chunks(1000) {
            if !check.push(Bytes::copy_from_slice(piece)).await {
                break;
            }
        }
        check.finish().await
    }

    #[tokio::test]
    async fn entries_that_are_refused_and_those_that_are_not() {
        use ::tar::EntryType as T;
        for (kind, path, link, refused) in [
            (T::Regular, "etc/passwd", "", None),
            (T::Regular, "/etc/passwd", "", None),
            (T::Directory, "./", "", None),
            (T::Regular, "..a/b..", "", None),
            (T::Symlink, "a", "/etc/../../passwd", None),
            (T::Char, "dev/null", "", None),
            (T::Block, "dev/sda", "", None),
            (T::Fifo, "pipe", "", None),
            (T::Link, "a", "b/c", None),
            (T::Regular, "a/.wh.b", "", None),
            (T::Regular, "a/.wh..wh..opq", "", None),
            (T::Regular, ".wh..wh.plnk", "", None),
            (T::Regular, "a/.wh....", "", None),
            (T::Regular, "../etc/passwd", "", Some("'..'")),
            (T::Directory, "a/..", "", Some("'..'")),
            (T::Regular, "/../x", "", Some("'..'")),
            (T::Symlink, "a/../../b", "c", Some("'..'")),
            (T::Link, "a", "../../etc/shadow", Some("hard link")),
            (T::Link, "a", "", Some("links to nothing")),
            (T::Symlink, "a", "", Some("links to nothing")),
            (T::Regular, "a/.wh..", "", Some("removes")),
            (T::Regular, "a/.wh...", "", Some("removes")),
            (T::Regular, "a/.wh.", "", Some("removes")),
            (T::Regular, ".wh.../b", "", Some("removes")),
            (T::Regular, "", "", Some("no name")),
            (T::Continuous, "a", "", Some("unknown type")),
        ] {
            let outcome = verdict(&tar_of(kind, path, link), &Limits::default()).await;
            match (outcome, refused) {
                (Ok(_), None) => {}
                (Err(error), Some(why)) => {
                    assert!(error.message().contains(why), "{path}: {error}")
                }
                (outcome, _) => panic!("{path} {link}: {outcome:?}"),
            }
        }
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn the_diff_id_is_that_of_the_tar_in_any_compression() {
        let tar = tar_of(::tar::EntryType::Regular, "file", "");
        let parts = [gzip(&tar[..700]), gzip(&tar[700..])].concat();
        for (data, compression) in [
            (tar.clone(), Compression::None),
            (gzip(&tar), Compression::Gzip),
            (parts, Compression::Gzip),
            (zstd::encode_all(&tar[..], 3).unwrap(), Compression::Zstd),
        ] {
            let checked = verdict(&data, &Limits::default()).await.unwrap();
            assert_eq!(checked.diff_id, Digest::of(&tar));
            assert_eq!(checked.compression, compression);
            assert_eq!(checked.unpacked, tar.len() as u64);
        }
    }

    #[tokio::test]
    async fn damage_and_bombs() {
        let tar = tar_of(::tar::EntryType::Regular, "file", "");
        let zeros = vec![0; 8 << 20];
        let mut flipped = gzip(&tar);
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        let limits = Limits {
            unpacked: Size::mib(4),
            ratio_floor: Size::mib(1),
            entries: 1,
            ..Limits::default()
        };
        let two = [&tar[..512], &tar[..]].concat();
        let mut sparse = ::tar::Header::new_gnu();
        sparse.set_path("f").unwrap();
        sparse.set_size(1 << 40);
        sparse.set_cksum();
        for (data, why) in [
            (gzip(&tar)[..40].to_vec(), "damaged or cut off"),
            (flipped, "damaged or cut off"),
            ([gzip(&tar), b"junk".to_vec()].concat(), "damaged or cut off"),
            (gzip(&tar[..700]), "cut off"),
            (tar[..600].to_vec(), "cut off"),
            // Which bound is met first depends on how much a library takes at once.
            (gzip(&zeros), "it unpacks to"),
            (zstd::encode_all(&zeros[..], 3).unwrap(), "times its size"),
            (zeros, "over 4 MiB"),
            (two, "over 1 entries"),
            (sparse.as_bytes().to_vec(), "over 4 MiB"),
            (b"{\"not\": \"a tar\"}".repeat(100), "not a sound tar"),
            (b"\xfd7zXZ\0....".to_vec(), "xz"),
            (b"BZh9....".to_vec(), "bzip2"),
        ] {
            let error = verdict(&data, &limits).await.unwrap_err();
            assert!(error.message().contains(why), "{why}: {}", error.chain());
        }
    }

    /// Not a check but a figure: `cargo test --release -p images -- --ignored --nocapture cost`.
    #[tokio::test]
    #[ignore = "measures"]
    async fn cost() {
        let mut seed = 1_u64;
        let mut body = Vec::new();
        while body.len() < 256 << 20 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let word = seed.to_le_bytes();
            body.extend_from_slice(&word[4..]);
            body.extend_from_slice(b"some text that compresses, ");
        }
        let mut header = ::tar::Header::new_gnu();
        header.set_path("file").unwrap();
        header.set_size(body.len() as u64);
        header.set_cksum();
        let mut builder = ::tar::Builder::new(Vec::new());
        builder.append(&header, &body[..]).unwrap();
        let tar = builder.into_inner().unwrap();
        let start = std::time::Instant::now();
        let _ = Digest::of(&tar);
        println!(
            "sha256 alone: {:.0} MB/s",
            tar.len() as f64 / 1e6 / start.elapsed().as_secs_f64()
        );
        for data in [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 3).unwrap()] {
            let data = Bytes::from(data);
            let start = std::time::Instant::now();
            let check = LayerCheck::start(&Limits::default());
            for at in (0..data.len()).step_by(64 << 10) {
                check.push(data.slice(at..data.len().min(at + (64 << 10)))).await;
            }
            let checked = check.finish().await.unwrap();
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{:?}: {:.0} MB/s packed, {:.0} MB/s unpacked",
                checked.compression,
                data.len() as f64 / 1e6 / seconds,
                checked.unpacked as f64 / 1e6 / seconds
            );
        }
    }
}
