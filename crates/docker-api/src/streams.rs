//! Streams of bytes to clients: frames that tell standard output from standard error, and connections
//! that are taken over (hijacked) for both directions.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, StatusCode, header};
use link::{Input, Output, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::failure::{Failure, Reply};
use crate::version::ApiVersion;

/// Most that is read at once.
const PIECE: usize = 32 << 10;
/// Time for the head of an answer to arrive before what follows it.
const HEAD_START: std::time::Duration = std::time::Duration::from_millis(8);
/// Keys that detach, unless a client says others: ctrl-p, ctrl-q.
const DETACH: [u8; 2] = [16, 17];

/// What a stream without frames is called, and many that have them.
const RAW: &str = "application/vnd.docker.raw-stream";

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// Writes bytes as they go over the connection: in a frame, unless a terminal's.
pub(crate) fn frame(out: &mut BytesMut, tty: bool, source: Source, bytes: &[u8]) {
    if !tty {
        let kind = match source {
            Source::Stdout => 1,
            Source::Stderr => 2,
        };
        out.put_slice(&[kind, 0, 0, 0]);
        out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }
    out.put_slice(bytes);
}

/// What a stream is called: raw or in frames.
pub(crate) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    // Before 1.42 both were called raw.
    match !tty && version >= ApiVersion::minor(42) {
        true => "application/vnd.docker.multiplexed-stream",
        false => RAW,
    }
}

/// What of a session goes over a connection.
pub(crate) struct Wanted {
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// Keys that end the connection and leave the process.
    pub(crate) detach: Vec<u8>,
    /// Told the exit code.
    pub(crate) ended: Option<Ended>,
}

/// Is told the exit code once, also when nobody listens any more, and when it stays unknown.
pub(crate) struct Ended(Option<Box<dyn FnOnce(i32) + Send>>);

/// What stands for an exit code that nobody could find out.
const UNKNOWN: i32 = 137;

impl Ended {
    pub(crate) fn new(told: impl FnOnce(i32) + Send + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    /// Tells it.
    pub(crate) fn tell(mut self, code: i32) {
        if let Some(told) = self.0.take() {
            told(code);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(UNKNOWN);
        }
    }
}

/// `ctrl-p,ctrl-q`, `a`, `ctrl-@`: the bytes of keys.
pub(crate) fn detach_keys(text: &str) -> Reply<Vec<u8>> {
    if text.is_empty() {
        return Ok(DETACH.to_vec());
    }
    let key = |word: &str| -> Option<u8> {
        if let [only] = word.as_bytes() {
            return Some(*only);
        }
        match word.strip_prefix("ctrl-")?.as_bytes() {
            [c @ b'a'..=b'z'] => Some(c - b'a' + 1),
            [b'@'] => Some(0),
            [c @ (b'[' | b'\\' | b']' | b'^' | b'_')] => Some(c - b'[' + 27),
            _ => None,
        }
    };
    let keys = text.split(',').map(|word| {
        key(word).ok_or_else(|| Failure::bad(format!("Invalid detach keys ({text}) provided")))
    });
    keys.collect()
}

/// Takes the connection over for a session: answers with `101 UPGRADED` where the client asked for
/// that, else with a body that is only read.
pub(crate) fn hijack(
    mut request: Request,
    version: ApiVersion,
    session: Session,
    wanted: Wanted,
    stop: tokio_util::sync::CancellationToken,
) -> Response {
    let asked = request.headers().contains_key(header::UPGRADE);
    if !asked {
        let body = Body::from_stream(output_only(session, wanted, stop));
        // Frames or not, an engine calls it so.
        return ([(header::CONTENT_TYPE, RAW)], body).into_response();
    }
    let kind = HeaderValue::from_static(content_type(wanted.tty, version));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => converse(upgraded, session, wanted, stop).await,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken over");
                drain(session.output, wanted.ended).await;
            }
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(header::CONTENT_TYPE, kind);
    response
}

/// A session that begins when its output is first read.
pub(crate) fn later(begin: impl Future<Output = Session> + Send + 'static) -> Session {
    let (input, mut inputs) = mpsc::channel(8);
    let output = async_stream::stream! {
        let Session { input, mut output } = begin.await;
        let forward = tokio::spawn(async move {
            while let Some(item) = inputs.recv().await {
                if input.send(item).await.is_err() {
                    break;
                }
            }
        });
        let _forward = tokio_util::task::AbortOnDropHandle::new(forward);
        while let Some(item) = output.next().await {
            yield item;
        }
    };
    Session { input, output: output.boxed() }
}

/// The output alone, for clients that do not upgrade. It is read to its end when they leave.
fn output_only(
    session: Session,
    wanted: Wanted,
    stop: tokio_util::sync::CancellationToken,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let (pieces, body) = mpsc::channel(8);
    let copy = async move {
        let Session { input: _input, mut output } = session;
        let mut ended = wanted.ended;
        while let Some(item) = output.next().await {
            let mut out = BytesMut::new();
            let piece = match item {
                Ok(Output::Exit(code)) => {
                    if let Some(ended) = ended.take() {
                        ended.tell(code);
                    }
                    return;
                }
                Ok(item) => {
                    put(&mut out, &item, wanted.tty, wanted.stdout, wanted.stderr);
                    Ok(out.freeze())
                }
                Err(error) => Err(std::io::Error::other(error.chain())),
            };
            let nothing = piece.as_ref().is_ok_and(Bytes::is_empty);
            if !nothing && pieces.send(piece).await.is_err() {
                return drain(output, ended).await;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = copy => {}
            () = stop.cancelled() => {}
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(body)
}

fn put(out: &mut BytesMut, item: &Output, tty: bool, stdout: bool, stderr: bool) {
    match item {
        Output::Stdout(bytes) if stdout => frame(out, tty, Source::Stdout, bytes),
        Output::Stderr(bytes) if stderr => frame(out, tty, Source::Stderr, bytes),
        Output::Stdout(_)
        | Output::Stderr(_)
        | Output::Started(_)
        | Output::Unable { .. }
        | Output::Exit(_) => {}
    }
}

/// Both directions, until the process ends, the client detaches, or it is gone.
async fn converse(
    upgraded: hyper::upgrade::Upgraded,
    session: Session,
    wanted: Wanted,
    stop: tokio_util::sync::CancellationToken,
) {
    let Session { input, output } = session;
    let Wanted { tty, stdin, stdout, stderr, detach, ended } = wanted;
    let connection = listen::Connection::from(upgraded);
    let (reader, mut writer, gone) = connection.split();
    let detach = if tty { detach } else { Vec::new() };
    // What has an end of its own to be told reads on without its client, but not from it.
    let orphan = (ended.is_some() && stdin).then(|| input.clone());
    let reading = tokio::spawn(read(reader, input, stdin, detach));
    let reading = tokio_util::task::AbortOnDropHandle::new(reading);
    let mut output = output;
    let mut over = false;
    let mut ended = ended;
    {
        let writing = async {
            // A client that reads ahead of the answer's head loses what it does not know to be output
            // (docker-py does); an engine's process begins that much later.
            let head = tokio::time::Instant::now() + HEAD_START;
            while let Some(item) = output.next().await {
                tokio::time::sleep_until(head).await;
                let mut out = BytesMut::new();
                match item {
                    Ok(Output::Exit(code)) => {
                        over = true;
                        if let Some(ended) = ended.take() {
                            ended.tell(code);
                        }
                        return;
                    }
                    Ok(item) => put(&mut out, &item, tty, stdout, stderr),
                    Err(error) => {
                        over = true;
                        let line = format!("{}\r\n", error.chain());
                        frame(&mut out, tty, Source::Stderr, line.as_bytes());
                        let _ = writer.write_all(&out).await;
                        return;
                    }
                }
                if !out.is_empty() && writer.write_all(&out).await.is_err() {
                    return;
                }
            }
        };
        // At the end of its input, or when it has none, its output goes on.
        let detached = async {
            if !reading.await.unwrap_or(true) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = writing => {}
            () = detached => {}
            () = gone => {}
            () = stop.cancelled() => {}
        }
    }
    let _ = writer.shutdown().await;
    if !over {
        if let Some(input) = orphan {
            let _ = input.send(Input::StdinEnd).await;
        }
        drain(output, ended).await;
    }
}

/// Hands what the client types to the process; whether it detached.
async fn read(
    mut reader: impl tokio::io::AsyncRead + Unpin,
    input: mpsc::Sender<Input>,
    stdin: bool,
    detach: Vec<u8>,
) -> bool {
    let mut keys = Keys::new(detach);
    let mut buffer = vec![0; PIECE];
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let (bytes, detached) = keys.take(&buffer[..read]);
        if stdin && !bytes.is_empty() && input.send(Input::Stdin(bytes)).await.is_err() {
            // A process that has ended takes no input; its output tells the end.
            return false;
        }
        if detached {
            return true;
        }
    }
    if stdin {
        let _ = input.send(Input::StdinEnd).await;
    }
    // Held until the output ends: a process that reads on is not detached from.
    input.closed().await;
    false
}

/// Finds the keys that detach in what is typed.
struct Keys {
    keys: Vec<u8>,
    met: usize,
}

impl Keys {
    fn new(keys: Vec<u8>) -> Self {
        Self { keys, met: 0 }
    }

    /// What goes on to the process, and whether the keys were all pressed. Keys that may begin the
    /// sequence are held back until it is known that they don't.
    fn take(&mut self, typed: &[u8]) -> (Bytes, bool) {
        if self.keys.is_empty() {
            return (Bytes::copy_from_slice(typed), false);
        }
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte == self.keys[self.met] {
                self.met += 1;
                if self.met == self.keys.len() {
                    return (out.into(), true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.met]);
            self.met = 0;
            if *byte == self.keys[0] && self.keys.len() > 1 {
                self.met = 1;
            } else {
                out.push(*byte);
            }
        }
        (out.into(), false)
    }
}

/// Reads an output that nobody sees to its end, for its exit code.
pub(crate) async fn drain(mut output: link::ResultStream<Output>, ended: Option<Ended>) {
    let Some(ended) = ended else { return };
    while let Some(item) = output.next().await {
        match item {
            Ok(Output::Exit(code)) => return ended.tell(code),
            Ok(
                Output::Started(_) | Output::Unable { .. } | Output::Stdout(_) | Output::Stderr(_),
            ) => {}
            Err(_) => return,
        }
    }
}

/// Bytes whose failure breaks the body off.
pub(crate) fn io_errors(
    bytes: link::ByteStream,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    bytes.map(|item| item.map_err(|error| std::io::Error::other(error.chain())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_detach() {
        assert_eq!(detach_keys("").unwrap(), [16, 17]);
        assert_eq!(detach_keys("ctrl-a,d").unwrap(), [1, b'd']);
        assert!(detach_keys("ctrl-").is_err());
        let mut keys = Keys::new(vec![16, 17]);
        assert_eq!(keys.take(b"a\x10"), (Bytes::from_static(b"a"), false));
        assert_eq!(keys.take(b"b"), (Bytes::from_static(b"\x10b"), false));
        assert_eq!(keys.take(b"\x10\x10\x11"), (Bytes::from_static(b"\x10"), true));
    }

    #[test]
    fn frames() {
        let mut out = BytesMut::new();
        frame(&mut out, false, Source::Stderr, b"hi");
        assert_eq!(&out[..], b"\x02\0\0\0\0\0\0\x02hi");
        out.clear();
        frame(&mut out, true, Source::Stderr, b"hi");
        assert_eq!(&out[..], b"hi");
    }
}
