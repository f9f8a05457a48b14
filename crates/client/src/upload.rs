//! Bodies of requests.

use std::error::Error as StdError;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use link::ByteStream;

/// A request's body, whole or streamed.
pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn StdError + Send + Sync>>;

/// A body that is there already; none when empty.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is sent as it comes; it is read no faster than the server takes it.
pub(crate) fn streamed(bytes: ByteStream) -> Body {
    let frames = bytes.map(|part| match part {
        Ok(bytes) => Ok(Frame::data(bytes)),
        Err(error) => Err(error.into()),
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
