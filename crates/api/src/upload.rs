//! Bodies of requests that are read as they come.

use axum::body::Body;
use futures::StreamExt;
use link::ByteStream;
use model::Error;

/// The body's bytes; no faster than they are taken.
pub(crate) fn bytes(body: Body) -> ByteStream {
    let parts = body.into_data_stream().map(|part| {
        part.map_err(|error| {
            Error::invalid("the request's body ended in the middle").caused_by(error)
        })
    });
    Box::pin(parts)
}
