//! The graphical console of a machine.

use bytes::Bytes;
use link::instance::Target;
use link::{ByteStream, Display};
use machines::config::{DIRECTORY, RUN, VNC};
use machines::{picture, socket};
use model::error::Context as _;
use model::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Calls, Found};
use crate::guests;

/// Pieces that may wait, either way.
const WAITING: usize = 16;
/// Bytes of a piece from the screen.
const PIECE: usize = 32 << 10;

/// Connects to the screen, the keyboard and the mouse.
pub async fn display(calls: &Calls, target: &Target) -> Result<Display> {
    let found = find_machine(calls, target)?;
    let path = calls.context.places.machine(&found.instance.meta.id).join(VNC);
    if path.symlink_metadata().is_err() {
        let name = &found.instance.meta.name;
        return Err(Error::conflict(format!("machine {name:?} has no screen"))
            .next(format!("use its serial line: hull console {name}")));
    }
    let stream = socket::connect(&path).await.context(ErrorKind::Unavailable, || {
        format!("the screen of machine {:?} does not answer", found.instance.meta.name)
    })?;
    Ok(connected(stream))
}

/// A stream, as it is handed to somebody else.
pub(super) fn connected(stream: UnixStream) -> Display {
    let (reader, writer) = stream.into_split();
    let (input, inputs) = mpsc::channel(WAITING);
    let (outputs, output) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = show(reader, &outputs) => {}
            () = give(inputs, writer) => {}
            () = outputs.closed() => {}
        }
    });
    let output: ByteStream = Box::pin(ReceiverStream::new(output));
    Display { input, output }
}

async fn show(mut reader: OwnedReadHalf, outputs: &mpsc::Sender<Result<Bytes>>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length) = reader.read(&mut buffer).await {
        let piece = Bytes::copy_from_slice(&buffer[..length]);
        if length == 0 || outputs.send(Ok(piece)).await.is_err() {
            return;
        }
    }
}

async fn give(mut inputs: mpsc::Receiver<Bytes>, mut writer: OwnedWriteHalf) {
    while let Some(bytes) = inputs.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// What the screen shows, as PNG.
pub async fn screenshot(calls: &Calls, target: &Target) -> Result<Bytes> {
    let found = find_machine(calls, target)?;
    let uid = &found.instance.meta.id;
    let file = format!("{RUN}/screen-{:016x}.ppm", rand::random::<u64>());
    let control = guests::control(&calls.context, uid).await?;
    let dumped = control.qmp.screendump(&std::path::Path::new(DIRECTORY).join(&file)).await;
    drop(control);
    let path = calls.context.places.machine(uid).join(&file);
    let picture = tokio::task::spawn_blocking(move || picture::take(&path)).await;
    dumped?;
    let picture = picture
        .context(ErrorKind::Internal, || "a thread that encodes a picture died".to_owned())?;
    picture.map(Bytes::from)
}

/// A machine that runs.
fn find_machine(calls: &Calls, target: &Target) -> Result<Found> {
    let found = calls.find(target)?;
    if !found.is_machine() {
        let name = &found.instance.meta.name;
        return Err(Error::invalid(format!("instance {name:?} is a container: it has no console"))
            .next(format!("take part in its main process: hull attach {name}")));
    }
    calls.find_live(target, false)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_until_somebody_leaves() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let Display { input, mut output } = connected(ours);
        theirs.write_all(b"RFB 003.008\n").await.unwrap();
        assert_eq!(output.next().await.unwrap().unwrap(), "RFB 003.008\n");
        input.send(Bytes::from_static(b"hello")).await.unwrap();
        let mut heard = [0; 5];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop(output);
        assert_eq!(theirs.read(&mut heard).await.unwrap(), 0);
        input.closed().await;
    }
}
