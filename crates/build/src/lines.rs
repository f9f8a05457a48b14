//! Lines of what a program prints, cut where they are too long.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc;

/// Longest line that is handed on in one piece.
const LONGEST: usize = 16 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Output,
    Error,
}

/// Sends all lines; ends with the stream, or when nobody reads them.
pub(crate) async fn send(
    source: Source,
    stream: impl AsyncRead + Unpin,
    sender: mpsc::Sender<(Source, String)>,
) {
    let mut reader = BufReader::with_capacity(LONGEST, stream);
    let mut line = Vec::new();
    loop {
        let (used, whole) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(buffer) => {
                let room = LONGEST - line.len();
                let end = buffer.iter().take(room).position(|byte| *byte == b'\n');
                let used = end.map_or(buffer.len().min(room), |end| end + 1);
                line.extend_from_slice(&buffer[..used]);
                (used, end.is_some() || line.len() >= LONGEST)
            }
        };
        reader.consume(used);
        if whole && !hand_on(source, &mut line, &sender).await {
            return;
        }
    }
    if !line.is_empty() {
        hand_on(source, &mut line, &sender).await;
    }
}

async fn hand_on(
    source: Source,
    line: &mut Vec<u8>,
    sender: &mpsc::Sender<(Source, String)>,
) -> bool {
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    sender.send((source, text)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_pieces() {
        let text = format!("a\n{}\nend", "x".repeat(LONGEST + 1));
        let (sender, mut receiver) = mpsc::channel(9);
        send(Source::Output, text.as_bytes(), sender).await;
        let mut lengths = Vec::new();
        while let Some((_, line)) = receiver.recv().await {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [2, LONGEST, 2, 3]);
    }
}
