//! The two ends of a conversation with a process.

use bytes::Bytes;
use link::{Input, Output, Session};
use model::Result;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks that may wait for a slow side; then the fast one waits.
const WAITING: usize = 32;
/// Bytes of a chunk.
const CHUNK: usize = 32 * 1024;

/// The node's end.
pub struct Ends {
    /// From the user.
    pub input: mpsc::Receiver<Input>,
    /// To the user; closed when the user is gone.
    pub output: mpsc::Sender<Result<Output>>,
}

/// Both ends of a new conversation.
pub fn open() -> (Ends, Session) {
    let (input_tx, input) = mpsc::channel(WAITING);
    let (output, output_rx) = mpsc::channel(WAITING);
    let session = Session { input: input_tx, output: Box::pin(ReceiverStream::new(output_rx)) };
    (Ends { input, output }, session)
}

/// Copies what a process prints to the user; when the user is gone it is read and dropped, so that
/// the process is not held up.
pub async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: mpsc::Sender<Result<Output>>,
    wrap: fn(Bytes) -> Output,
) {
    let mut buffer = vec![0; CHUNK];
    let mut listening = true;
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if listening {
            let chunk = Bytes::copy_from_slice(&buffer[..read]);
            listening = to.send(Ok(wrap(chunk))).await.is_ok();
        }
    }
}
