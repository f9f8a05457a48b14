//! Bodies of answers, read as they come.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use link::{ByteStream, ResultStream};
use model::{Error, Result};
use serde::de::DeserializeOwned;

use crate::config::Host;
use crate::error::cut_off;
use crate::ndjson::Lines;
use crate::wire::frame::Decoder;
use crate::wire::stream::{ERROR_TRAILER, decode_line, decode_trailer};
use link::instance::LogRecord;

/// The body's bytes. A failure told in the trailer is the last item.
pub(crate) fn bytes(host: Host, body: Incoming) -> ByteStream {
    let parts = stream::unfold(Some(body), move |body| {
        let host = host.clone();
        async move {
            let mut body = body?;
            loop {
                let frame = match body.frame().await? {
                    Ok(frame) => frame,
                    Err(error) => return Some((Err(cut_off(&host, error)), None)),
                };
                match frame.into_data() {
                    Ok(data) => return Some((Ok(data), Some(body))),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        if let Some(value) = trailers.get(ERROR_TRAILER) {
                            return Some((Err(decode_trailer(value.as_bytes())), None));
                        }
                    }
                }
            }
        }
    });
    Box::pin(parts)
}

/// The body's lines, each a JSON value.
pub(crate) fn lines<T>(host: Host, body: Incoming) -> ResultStream<T>
where
    T: DeserializeOwned + Send + 'static,
{
    decoded(bytes(host, body), Lines::default())
}

/// The body's frames, each a record of a log.
pub(crate) fn records(host: Host, body: Incoming) -> ResultStream<LogRecord> {
    decoded(bytes(host, body), Decoder::default())
}

/// Turns bytes into items.
trait Decode<T>: Send + 'static {
    fn push(&mut self, bytes: &[u8]);
    fn next(&mut self) -> Result<Option<T>>;
    fn is_empty(&self) -> bool;
}

impl<T: DeserializeOwned> Decode<T> for Lines {
    fn push(&mut self, bytes: &[u8]) {
        Lines::push(self, bytes);
    }

    fn next(&mut self) -> Result<Option<T>> {
        self.next_line()?.map(|line| decode_line(&line)).transpose()
    }

    fn is_empty(&self) -> bool {
        Lines::is_empty(self)
    }
}

impl Decode<LogRecord> for Decoder {
    fn push(&mut self, bytes: &[u8]) {
        Decoder::push(self, bytes);
    }

    fn next(&mut self) -> Result<Option<LogRecord>> {
        self.next_record()
    }

    fn is_empty(&self) -> bool {
        Decoder::is_empty(self)
    }
}

struct Reading<D> {
    body: BoxStream<'static, Result<Bytes>>,
    decoder: D,
}

fn decoded<T: Send + 'static>(body: ByteStream, decoder: impl Decode<T>) -> ResultStream<T> {
    let items = stream::unfold(Some(Reading { body, decoder }), |reading| async {
        let mut reading = reading?;
        match read(&mut reading).await {
            Ok(Some(item)) => Some((Ok(item), Some(reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Box::pin(items)
}

async fn read<T, D: Decode<T>>(reading: &mut Reading<D>) -> Result<Option<T>> {
    loop {
        if let Some(item) = reading.decoder.next()? {
            return Ok(Some(item));
        }
        match reading.body.next().await {
            Some(bytes) => reading.decoder.push(&bytes?),
            None if reading.decoder.is_empty() => return Ok(None),
            None => return Err(Error::unavailable("the server's answer ended in the middle")),
        }
    }
}
