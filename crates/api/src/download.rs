//! Bodies of answers that are sent as they come.
//!
//! Nothing is read ahead of the caller: a caller who does not read stops the reading at the source,
//! and one who leaves drops it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use client::wire::stream::{ERROR_TRAILER, Failure, encode_trailer};
use client::wire::{LOG_FRAMES, NDJSON, Problem, frame};
use futures::stream::{self, Fuse, FusedStream};
use futures::{FutureExt, Stream, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use link::instance::LogRecord;
use link::{ByteStream, ResultStream};
use model::Error;
use serde::Serialize;

use crate::Api;
use crate::lease;
use crate::refusal::problem;

/// Items that are ready are sent together up to about so many bytes.
const BATCH: usize = 64 << 10;

/// Writes items of a stream into bytes.
trait Encode<T> {
    fn item(&mut self, item: T, out: &mut BytesMut);
    fn failure(&mut self, problem: Problem, out: &mut BytesMut);
}

struct Lines;

impl<T: Serialize> Encode<T> for Lines {
    fn item(&mut self, item: T, out: &mut BytesMut) {
        // Writing to memory cannot fail, and the types have string keys only.
        let _ = serde_json::to_writer((&mut *out).writer(), &item);
        out.put_u8(b'\n');
    }

    fn failure(&mut self, error: Problem, out: &mut BytesMut) {
        Encode::<Failure>::item(self, Failure { error }, out);
    }
}

struct Frames;

impl Encode<LogRecord> for Frames {
    fn item(&mut self, record: LogRecord, out: &mut BytesMut) {
        frame::encode_record(&record, out);
    }

    fn failure(&mut self, error: Problem, out: &mut BytesMut) {
        frame::encode_problem(&error, out);
    }
}

/// An answer of JSON values, one a line.
pub(crate) fn lines<T>(api: &Arc<Api>, items: ResultStream<T>) -> Response
where
    T: Serialize + Send + 'static,
{
    streamed(NDJSON, Body::from_stream(batches(api, items, Lines)))
}

/// An answer of a log's records in frames.
pub(crate) fn records(api: &Arc<Api>, records: ResultStream<LogRecord>) -> Response {
    streamed(LOG_FRAMES, Body::from_stream(batches(api, records, Frames)))
}

/// An answer of a log's bytes alone.
pub(crate) fn raw_records(
    api: &Arc<Api>,
    headers: &HeaderMap,
    records: ResultStream<LogRecord>,
) -> Response {
    let bytes = records.map(|record| record.map(|record| record.bytes));
    self::bytes(api, headers, "application/octet-stream", Box::pin(bytes))
}

/// An answer of bytes. Its failure is told in the trailer if the caller takes one.
pub(crate) fn bytes(
    api: &Arc<Api>,
    headers: &HeaderMap,
    media_type: &'static str,
    bytes: ByteStream,
) -> Response {
    let trailers = takes_trailers(headers);
    let bytes = until_stopped(api, bytes);
    let frames = bytes.map(move |part| match part {
        Ok(bytes) => Ok(Frame::data(bytes)),
        Err(error) if trailers => Ok(Frame::trailers(trailer(error))),
        Err(error) => {
            tracing::warn!(error = error.chain(), "stream failed and its caller takes no trailer");
            Err(error)
        }
    });
    let mut response = streamed(media_type, Body::new(StreamBody::new(frames)));
    if trailers {
        response.headers_mut().insert(TRAILER, HeaderValue::from_static(ERROR_TRAILER));
    }
    response
}

fn streamed(media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim() == "trailers")
}

fn trailer(error: Error) -> HeaderMap {
    let text = encode_trailer(&problem(error));
    let value = HeaderValue::try_from(text).expect("base64 has only characters headers take");
    HeaderMap::from_iter([(http::HeaderName::from_static(ERROR_TRAILER), value)])
}

/// Ends a stream after its first error, and with an error when the server stops or the caller may no
/// longer, so that nobody takes it for whole.
fn until_stopped<T: Send + 'static>(
    api: &Arc<Api>,
    items: ResultStream<T>,
) -> Fuse<ResultStream<T>> {
    let (stop, open) = (api.stop.clone(), api.meters.open("stream"));
    let mut items = lease::current().bound(items);
    let items: ResultStream<T> = Box::pin(async_stream::stream! {
        let _open = open;
        loop {
            let item = tokio::select! {
                biased;
                item = items.next() => item,
                () = stop.cancelled() => Some(Err(stopping())),
            };
            let Some(item) = item else { return };
            let failed = item.is_err();
            yield item;
            if failed {
                return;
            }
        }
    });
    items.fuse()
}

/// Why what lasts ends when the server stops.
pub(crate) fn stopping() -> Error {
    Error::unavailable("the server is stopping").next("try again in a moment")
}

/// Writes the items that are ready into one piece, and the failure, if there is one, into the last.
fn batches<T: Send + 'static, E: Encode<T> + Send + 'static>(
    api: &Arc<Api>,
    items: ResultStream<T>,
    encoder: E,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let items = until_stopped(api, items);
    stream::unfold((items, encoder), |(mut items, mut encoder)| async move {
        let first = items.next().await?;
        let mut out = BytesMut::with_capacity(512);
        let mut next = Some(first);
        while let Some(item) = next.take() {
            match item {
                Ok(item) => encoder.item(item, &mut out),
                Err(error) => encoder.failure(problem(error), &mut out),
            }
            if out.len() < BATCH && !items.is_terminated() {
                next = items.next().now_or_never().flatten();
            }
        }
        Some((Ok(out.freeze()), (items, encoder)))
    })
}
