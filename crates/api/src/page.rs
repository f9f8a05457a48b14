//! Where a page of a list ended, as callers give it back: opaque to them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Error, Result};

/// The token for a place.
pub(crate) fn encode(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// The place of a token. Fails with `Invalid` for one that was never given.
pub(crate) fn decode(token: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Error::invalid("this is no place where a page ended")
            .at("continue")
            .next("give back what the page before said, unchanged")
    })
}
