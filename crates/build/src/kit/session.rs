//! What BuildKit asks of a client (`/session` of Docker's API): for files, secrets, logins. The client's
//! connection goes to BuildKit inside a stream of messages (`Control.Session`, as BuildKit's own
//! `session/grpchijack` has it), and what is asked over it is passed on, but for the archives of images
//! that are taken in here.

use std::pin::Pin;
use std::sync::Arc;

use async_stream::stream;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame as BodyFrame, Incoming};
use model::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use super::control::Taken;
use super::frames::{Frame, Frames};
use super::proxy::{self, Body, BoxError, Code, Upstream};
use super::wire;

const SESSION: &str = "/moby.buildkit.v1.Control/Session";
/// Where exporters send archives.
const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Which of a build's exporters sends (BuildKit's `session/filesync`).
const EXPORTER: &str = "buildkit-attachable-exporter-id";
/// The session's name, and what may be asked of the client (BuildKit's `session/session.go`).
const ID: &str = "x-docker-expose-session-uuid";
const METHOD: &str = "x-docker-expose-session-grpc-method";
/// What all metadata of a session begins with.
const PREFIX: [&str; 2] = ["x-docker-expose-session-", "x-buildkit-session-"];
/// Bytes of a piece, and those under way inside.
const PIECE: usize = 32 << 10;
const INSIDE: usize = 256 << 10;

/// An image's archive as it comes.
pub type Archive = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;
/// Takes an image's archive in: it is the platform's when this returns.
pub type TakeIn = Arc<dyn Fn(Archive) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// One client's session.
#[derive(Clone)]
pub(crate) struct Session {
    client: Upstream,
    id: String,
    taken: Arc<Taken>,
    take_in: TakeIn,
}

/// What of a client's headers tells BuildKit of its session.
pub(crate) fn metadata(headers: &HeaderMap) -> HeaderMap {
    let of_session = |name: &HeaderName| PREFIX.iter().any(|it| name.as_str().starts_with(it));
    let told = headers.iter().filter(|(name, _)| of_session(name));
    let mut metadata: HeaderMap = told.map(|(name, value)| (name.clone(), value.clone())).collect();
    let sends = HeaderValue::from_static(SEND);
    let knows = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(SEND.as_bytes());
    if !metadata.get_all(METHOD).iter().any(knows) {
        metadata.append(METHOD, sends);
    }
    metadata
}

impl Session {
    pub(crate) fn new(
        client: Upstream,
        headers: &HeaderMap,
        taken: Arc<Taken>,
        take_in: TakeIn,
    ) -> Self {
        let id = headers.get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        Self { client, id, taken, take_in }
    }

    /// Has BuildKit ask the client, until one of them ends it.
    pub(crate) async fn hold(self, kit: &Upstream, metadata: HeaderMap) {
        let (outer, inner) = tokio::io::duplex(INSIDE);
        let (reader, writer) = tokio::io::split(inner);
        let mut request = Request::post(SESSION).body(proxy::of_frames(pieces(reader)));
        if let Ok(request) = &mut request {
            *request.headers_mut() = metadata;
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(http::header::TE, HeaderValue::from_static("trailers"));
        }
        let Ok(request) = request else { return };
        let asked = async {
            let answer = kit.pass(request).await;
            match proxy::failure(answer.headers()) {
                Some(told) => tracing::debug!(told, "BuildKit takes no session"),
                None => write(answer.into_body(), writer).await,
            }
        };
        tokio::select! {
            () = asked => {}
            () = proxy::serve(outer, move |request| self.clone().answer(request)) => {}
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let exporter = request.headers().get(EXPORTER).and_then(|id| id.to_str().ok());
        let exporter = exporter.unwrap_or("0");
        if request.uri().path() == SEND && self.taken.has(&self.id, exporter) {
            return self.take(request.into_body()).await;
        }
        self.client.pass(request.map(proxy::through)).await
    }

    /// Reads an archive to its end, also where nobody wants it any more: the sender would hear of a
    /// broken stream in place of the reason.
    async fn take(self, body: Incoming) -> Response<Body> {
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        let archive: Archive = Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let taking = (self.take_in)(archive);
        let reading = async move {
            let mut pieces = Box::pin(messages(proxy::through(body)));
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(std::io::Error::other);
                let broken = piece.is_err();
                let _ = sender.send(piece).await;
                if broken {
                    return;
                }
            }
        };
        match futures::join!(taking, reading).0 {
            Ok(()) => proxy::status(Code::Ok, ""),
            Err(error) => proxy::status(Code::Internal, &error.chain()),
        }
    }
}

/// What is read, as messages of bytes.
fn pieces(
    mut reader: ReadHalf<DuplexStream>,
) -> impl Stream<Item = Result<BodyFrame<Bytes>, BoxError>> {
    stream! {
        let mut buffer = vec![0; PIECE];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let mut message = Vec::with_capacity(length + 8);
                    wire::put(&mut message, 1, &buffer[..length]);
                    yield Ok(BodyFrame::data(Frame::encode(&message)));
                }
            }
        }
    }
}

/// The bytes that messages carry.
fn messages(mut body: Body) -> impl Stream<Item = Result<Bytes, BoxError>> {
    stream! {
        let mut frames = Frames::default();
        while let Some(frame) = body.frame().await {
            match frame.map(BodyFrame::into_data) {
                Ok(Ok(data)) => frames.push(&data),
                // Trailers.
                Ok(Err(_)) => continue,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
            loop {
                match frames.next() {
                    Ok(Some(Frame { compressed: false, message })) => match wire::first(&message) {
                        Some(data) => yield Ok(message.slice_ref(data)),
                        None => {
                            yield Err("a message that cannot be read".into());
                            return;
                        }
                    },
                    Ok(None) => break,
                    Ok(Some(_)) | Err(_) => {
                        yield Err("a message that is compressed or too large".into());
                        return;
                    }
                }
            }
        }
    }
}

async fn write(body: Body, mut writer: WriteHalf<DuplexStream>) {
    let mut pieces = Box::pin(messages(body));
    while let Some(Ok(piece)) = pieces.next().await {
        if writer.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// The other end of a session: what BuildKit answers with, and what it reads.
#[cfg(test)]
pub(crate) fn tunnel(body: Body, end: DuplexStream) -> Body {
    let (reader, writer) = tokio::io::split(end);
    tokio::spawn(write(body, writer));
    proxy::of_frames(pieces(reader))
}
