//! The console: a web application that is part of the binary (`console/`, put in by `build.rs`). It has
//! no rights of its own; its pages speak to the API as whoever is signed in.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use flate2::read::GzDecoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::Error;

use crate::Api;
use crate::refusal::{Refusal, Reply};

/// Names and bytes of the files. All but the page itself are compressed (gzip), and named without
/// saying so.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The page that starts the application, whatever its path.
const PAGE: &str = "index.html";
/// Files whose names change with what is in them.
const HASHED: &str = "assets/";
/// Stands in the page where the nonce of its answer belongs.
const NONCE: &str = "__NONCE__";

/// Is in the place of a console that was not built.
const ABSENT: &str = "<!doctype html><html lang=\"en\"><title>Monohull</title>\
    <h1>This hull was built without its console</h1>\
    <p>Build it with <code>make console</code>, then build hull again.</p>\
    <p>The API is here: <a href=\"/openapi.json\">/openapi.json</a></p></html>";

/// Headers that keep a browser from doing for others what it does for us (OWASP Secure Headers).
const GUARDS: [(&str, &str); 5] = [
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// The routes of pages. They stand beside the API's, are for browsers, and are not in its document.
pub(crate) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(async || Redirect::to("/console/")))
        .route("/console", get(async || Redirect::to("/console/")))
        .route("/console/", get(page))
        .route("/console/{*path}", get(file))
}

/// A file, or for a path of the application's own the page, which finds out what it means.
async fn file(Path(path): Path<String>, headers: HeaderMap) -> Reply<Response> {
    match find(&path) {
        Some(bytes) if path != PAGE => Ok(asset(&path, bytes, &headers)),
        None if path.starts_with(HASHED) => {
            Err(Refusal::from(Error::not_found(format!("the console has no file {path:?}"))))
        }
        Some(_) | None => Ok(page().await),
    }
}

fn find(path: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
}

/// The page. Only scripts and styles of ours are taken, and styles that a script of ours makes, which
/// carry a nonce that is new in each answer (CSP Level 3, section 2.3.1).
async fn page() -> Response {
    let page = find(PAGE).map_or(ABSENT.into(), String::from_utf8_lossy);
    let nonce: String =
        rand::random::<[u8; 16]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = page.replace(NONCE, &nonce).into_response();
    let headers = response.headers_mut();
    guard(headers);
    let policy = HeaderValue::try_from(policy).expect("it is of plain characters");
    headers.insert("content-security-policy", policy);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn asset(path: &str, compressed: &'static [u8], request: &HeaderMap) -> Response {
    let accepted = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let packed = accepted.is_some_and(takes_gzip);
    let mut response = if packed {
        compressed.into_response()
    } else {
        let mut bytes = Vec::new();
        match GzDecoder::new(compressed).read_to_end(&mut bytes) {
            Ok(_) => bytes.into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    let headers = response.headers_mut();
    guard(headers);
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    let lasting = path.starts_with(HASHED);
    let caching = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// Whether an `Accept-Encoding` (RFC 9110, section 12.5.3) has gzip in it, and not to say no to it.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|choice| {
        let mut words = choice.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = words.find_map(|word| word.strip_prefix("q="));
        named && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

fn guard(headers: &mut HeaderMap) {
    for (name, value) in GUARDS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_given_to_those_who_take_it() {
        for (accepted, taken) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(accepted), taken, "{accepted}");
        }
    }

    #[test]
    fn every_file_is_compressed_and_of_a_known_type() {
        for (name, bytes) in FILES.iter().filter(|(name, _)| *name != PAGE) {
            assert!(bytes.starts_with(b"\x1f\x8b"), "{name}");
            assert_ne!(media_type(name), "application/octet-stream", "{name}");
        }
    }

    #[tokio::test]
    async fn each_page_has_a_nonce_of_its_own() {
        let policy = async || page().await.headers()["content-security-policy"].clone();
        assert_ne!(policy().await, policy().await);
    }
}
