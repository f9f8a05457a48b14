//! The disk of a machine's image, as its layer has it.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use model::image::MachineImage;
use model::{Error, Result};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::Images;
use crate::archive::compression::Compression;
use crate::archive::tar::{Event, Kind, Scanner};
use crate::archive::unpacked;
use crate::content::ByteStream;
use crate::descriptor::Descriptor;
use crate::machine::LABEL_DISK;

const BUFFER: usize = 256 << 10;
/// Pieces that wait for a slow reader.
const QUEUE: usize = 4;

impl Images {
    /// The disk of the image called `name`: what is known of it, and its file.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if the image has no disk.
    pub async fn disk(&self, name: &str) -> Result<(MachineImage, ByteStream)> {
        let group = self.group(name).await?;
        let machine = group.summary().machine.ok_or_else(|| {
            Error::invalid(format!("image {name} is not a machine's: it has no disk"))
                .next("see hull image ls; an image of a container is written by hull image save")
        })?;
        let layer = self.layer_of(&group.opened.manifest.layers, &machine.disk).await?;
        let disk = self.file_in(&layer, &machine.disk).await?;
        Ok((machine, disk))
    }

    /// The file at `path` of the image called `name`, as the uppermost layer with such a file has it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn file(&self, name: &str, path: &str) -> Result<ByteStream> {
        let group = self.group(name).await?;
        for layer in group.opened.manifest.layers.iter().rev() {
            let mut file = self.file_in(layer, path).await?;
            // Where the first piece is a failure, the file is not in this one.
            if let Some(Ok(first)) = file.next().await {
                return Ok(Box::pin(futures::stream::iter([Ok(first)]).chain(file)));
            }
        }
        Err(Error::not_found(format!("image {name} has no file {path}")))
    }

    /// A file that this layer has.
    async fn file_in(&self, layer: &Descriptor, path: &str) -> Result<ByteStream> {
        let mut source = self.store.reader(&layer.digest, None).await?;
        let first = source.try_next().await?.unwrap_or_default();
        let compression = Compression::sniff(&first)?;
        let whole = futures::stream::iter([Ok(first)]).chain(source);
        let reader = BufReader::new(StreamReader::new(whole.map_err(std::io::Error::other)));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let path = path.to_owned();
        tokio::spawn(async move {
            let mut reader = unpacked(reader, compression);
            if let Err(error) = send(&mut reader, &path, &sender).await {
                // Nobody listens any more if this fails.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
    }

    /// The uppermost layer that puts the disk there.
    async fn layer_of(&self, layers: &[Descriptor], disk: &str) -> Result<Descriptor> {
        for layer in layers.iter().rev() {
            let info = self.store.info(&layer.digest).await?;
            let label = info.as_ref().and_then(|info| info.labels.get(LABEL_DISK));
            if label.is_some_and(|path| path == disk) {
                return Ok(layer.clone());
            }
        }
        Err(Error::not_found("the layer with the disk is not here").next("pull the image again"))
    }
}

/// Sends the bytes of the file at `path` in a tar.
async fn send(
    reader: &mut (dyn tokio::io::AsyncRead + Send + Unpin),
    path: &str,
    sender: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let damaged = |why: String| Error::invalid(format!("the layer with {path} is damaged: {why}"));
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = None;
    loop {
        let length = reader.read(&mut buffer).await.map_err(|error| damaged(error.to_string()))?;
        if length == 0 {
            return Err(damaged("it ends before the file does".to_owned()));
        }
        let mut data = &buffer[..length];
        while let Some(event) = scanner.next(&mut data).map_err(|fault| damaged(fault.0))? {
            match (event, &mut left) {
                (Event::Entry(entry), _) => {
                    let wanted = entry.kind == Kind::File && is_at(&entry.path, path);
                    left = wanted.then_some(entry.size);
                }
                (Event::Data(piece), Some(left)) => {
                    *left = left.saturating_sub(piece.len() as u64);
                    if sender.send(Ok(Bytes::copy_from_slice(piece))).await.is_err() {
                        return Ok(());
                    }
                }
                (Event::Data(_), None) => {}
            }
            if left == Some(0) {
                return Ok(());
            }
        }
    }
}

fn is_at(entry: &[u8], path: &str) -> bool {
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        let parts = path.split(|byte| *byte == b'/');
        parts.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
    };
    parts(entry) == parts(path.as_bytes())
}
