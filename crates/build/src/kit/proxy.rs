//! HTTP/2 (RFC 9113) on both sides: who asks, and who is asked.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2 as client;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// Bytes that may be under way on a stream, and on a connection. A context of many MiB passes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of headers: gRPC's metadata and its status with details.
const HEADERS: u32 = 1 << 20;
/// Requests at one time on a connection; a build of many stages asks for much at once.
const STREAMS: u32 = 4096;

/// What a body is made of.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
/// Why a body broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// gRPC's codes (google.golang.org/grpc/codes) that are answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    NotFound = 5,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// Whoever is asked.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    sender: client::SendRequest<Body>,
    gone: Arc<AtomicBool>,
}

/// The connection to whoever is asked; it is cut when this is dropped.
pub(crate) struct Connection {
    driving: AbortOnDropHandle<()>,
    _cut: DropGuard,
}

impl Connection {
    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.driving).await;
    }
}

/// Runs what a connection consists of until it is cut: left to themselves, streams outlive it.
#[derive(Debug, Clone)]
struct Tasks(CancellationToken);

impl Tasks {
    fn new() -> (Self, DropGuard) {
        let token = CancellationToken::new();
        (Self(token.clone()), token.drop_guard())
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}

impl Upstream {
    /// Begins to ask over a connection.
    pub(crate) async fn over<I>(io: I) -> hyper::Result<(Self, Connection)>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (tasks, cut) = Tasks::new();
        let mut builder = client::Builder::new(tasks);
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADERS)
            .max_concurrent_reset_streams(STREAMS as usize);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        let gone = Arc::new(AtomicBool::new(false));
        let told = gone.clone();
        let driving = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of a build ended early");
            }
            told.store(true, Ordering::Relaxed);
        });
        let driving = AbortOnDropHandle::new(driving);
        Ok((Self { sender, gone }, Connection { driving, _cut: cut }))
    }

    /// Passes a request on, and its answer back.
    pub(crate) async fn pass(&self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        parts.version = Version::HTTP_2;
        parts.headers.remove(http::header::HOST);
        // The body may be another by now.
        parts.headers.remove(http::header::CONTENT_LENGTH);
        let answer = self.sender.clone().send_request(Request::from_parts(parts, body)).await;
        match answer {
            Ok(answer) => answer.map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(error) => {
                let gone = self.gone.load(Ordering::Relaxed);
                tracing::debug!(%error, gone, "a request of a build could not be passed on");
                status(Code::Unavailable, "the other side of the build has gone")
            }
        }
    }
}

fn uri(path: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    // Any name would do: nobody looks it up.
    parts.authority = Some(http::uri::Authority::from_static("localhost"));
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_default()
}

/// Answers all requests that come over a connection, until it ends.
pub(crate) async fn serve<I, F, A>(io: I, answer: F)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let answer = service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let (tasks, _cut) = Tasks::new();
    let served = server::Builder::new(tasks)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS)
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(io), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a client's connection of a build ended early");
    }
}

/// A body that passes through.
pub(crate) fn through(body: Incoming) -> Body {
    body.map_err(Into::into).boxed_unsync()
}

/// All of a body, unless it has more than so many bytes. Boxed: the compiler cannot see otherwise that it may
/// cross threads.
pub(crate) fn whole(
    body: Body,
    most: usize,
) -> BoxFuture<'static, Result<Collected<Bytes>, BoxError>> {
    Box::pin(Limited::new(body, most).collect())
}

/// A body of these frames.
pub(crate) fn of_frames(
    frames: impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + 'static,
) -> Body {
    StreamBody::new(frames).boxed_unsync()
}

/// An answer that is nothing but a status.
pub(crate) fn status(code: Code, message: &str) -> Response<Body> {
    let mut answer =
        Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code as u16));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(message)) {
        headers.insert("grpc-message", message);
    }
    answer
}

/// As gRPC's messages are (PROTOCOL-HTTP2.md, "Percent-Byte-Unencoded").
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'%' => "%25".to_owned(),
        0x20..=0x7e => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// What is told of a failure in the headers or trailers of an answer, if it is one.
pub(crate) fn failure(headers: &HeaderMap) -> Option<String> {
    let code = headers.get("grpc-status")?.to_str().ok()?;
    let message = headers.get("grpc-message").and_then(|it| it.to_str().ok()).unwrap_or_default();
    (code != "0").then(|| percent_decoded(message))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => out.push(byte),
            None => out.push(bytes[at]),
        }
        at += if hex.is_some_and(|hex| u8::from_str_radix(hex, 16).is_ok()) { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_failures() {
        for text in ["as it is", "100 %\n\u{e9}", "%zz", "%"] {
            assert_eq!(percent_decoded(&percent_encoded(text)), text);
        }
        assert_eq!(percent_decoded("%zz %4 %41"), "%zz %4 A");
        let mut headers = HeaderMap::new();
        assert_eq!(failure(&headers), None);
        headers.insert("grpc-status", 0.into());
        assert_eq!(failure(&headers), None);
        headers.insert("grpc-status", 2.into());
        assert_eq!(failure(&headers).as_deref(), Some(""));
    }
}
