//! Connections and requests of those who ask. They are hostile: each has its bounds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::Uid;
use network::METADATA;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::documents::About;
use super::token::{LONGEST, Tokens};
use crate::context::Context;

/// Connections served at one time on a network, and for one address of it.
const CONNECTIONS: usize = 128;
const CONNECTIONS_EACH: usize = 8;
/// How long a connection may last, however it is used.
const LIFE: Duration = Duration::from_secs(30);
/// How long a request's headers may take.
const HEADERS: Duration = Duration::from_secs(5);
/// Bytes of headers.
const LONGEST_HEADERS: usize = 16 << 10;
/// Pause after a failure to take a connection, as when descriptors are short.
const AGAIN: Duration = Duration::from_millis(100);

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Connections of each address.
type Guests = Arc<Mutex<HashMap<Ipv4Addr, usize>>>;

/// Answers members of a network for ever.
pub(super) async fn serve(socket: TcpListener, network: Uid, context: Weak<Context>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let guests = Guests::default();
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let (stream, from) = match socket.accept().await {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                tracing::debug!(%error, "a connection for metadata was not taken");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let IpAddr::V4(from) = from else { continue };
        let Some(seat) = Seat::take(&guests, from) else { continue };
        let (network, context) = (network.clone(), context.clone());
        tokio::spawn(async move {
            let _held = (place, seat);
            // Whoever is cut off was slow, or said nonsense.
            let _ = timeout(LIFE, converse(stream, network, from, context)).await;
        });
    }
}

/// One of the connections of an address, until dropped.
struct Seat {
    guests: Guests,
    from: Ipv4Addr,
}

impl Seat {
    fn take(guests: &Guests, from: Ipv4Addr) -> Option<Self> {
        let mut taken = guests.lock().expect("nobody panics with it");
        let count = taken.entry(from).or_default();
        if *count == CONNECTIONS_EACH {
            return None;
        }
        *count += 1;
        Some(Self { guests: guests.clone(), from })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.guests.lock().expect("nobody panics with it");
        if let Some(count) = taken.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

async fn converse(stream: TcpStream, network: Uid, from: Ipv4Addr, context: Weak<Context>) {
    let respond = |request: Request<Incoming>| {
        let (network, context) = (network.clone(), context.clone());
        async move { Ok::<_, Infallible>(respond(&request, &network, from, &context).await) }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(LONGEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    if let Err(error) = served.await {
        tracing::debug!(%from, %error, "a connection for metadata ended early");
    }
}

async fn respond(
    request: &Request<Incoming>,
    network: &Uid,
    from: Ipv4Addr,
    context: &Weak<Context>,
) -> Response<Full<Bytes>> {
    let about = match super::asker(context, network, from).await {
        Ok(Some(about)) => about,
        Ok(None) => return said(StatusCode::NOT_FOUND, "no instance has this address\n"),
        Err(error) => {
            tracing::warn!(%from, error = error.chain(), "who asks for metadata is not known");
            return said(StatusCode::SERVICE_UNAVAILABLE, "ask again\n");
        }
    };
    let Some(context) = context.upgrade() else {
        return said(StatusCode::SERVICE_UNAVAILABLE, "ask again\n");
    };
    let tokens = &context.metadata.tokens;
    answer(request.method(), request.uri().path(), request.headers(), &about, tokens)
}

/// What is answered to an instance.
fn answer(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    about: &About,
    tokens: &Tokens,
) -> Response<Full<Bytes>> {
    // A page in a browser that was told another name for the address asks for that name.
    if !is_ours(headers.get(HOST)) {
        return said(StatusCode::FORBIDDEN, "ask for 169.254.169.254\n");
    }
    let wants_token = path.trim_end_matches('/') == "/latest/api/token";
    match (method, wants_token) {
        (&Method::PUT, true) => session(headers, about, tokens),
        (&Method::GET | &Method::HEAD, false) => {
            let token = headers.get(TOKEN).map(|value| value.to_str().unwrap_or_default());
            if token.is_some_and(|token| !tokens.is_good(&about.id, token)) {
                return said(StatusCode::UNAUTHORIZED, "the token is not good any more\n");
            }
            match about.find(path) {
                Some(found) => {
                    let mut response = said(StatusCode::OK, &found.text);
                    let kind = HeaderValue::from_static(found.kind);
                    response.headers_mut().insert(CONTENT_TYPE, kind);
                    response
                }
                None => said(StatusCode::NOT_FOUND, "there is nothing\n"),
            }
        }
        _ => said(StatusCode::METHOD_NOT_ALLOWED, "this can only be read\n"),
    }
}

/// Makes a token (IMDSv2). One who passes requests on doesn't get any.
fn session(headers: &HeaderMap, about: &About, tokens: &Tokens) -> Response<Full<Bytes>> {
    if headers.contains_key(FORWARDED) {
        return said(StatusCode::FORBIDDEN, "tokens are not given to proxies\n");
    }
    let seconds = headers.get(TOKEN_LIFE).and_then(|value| value.to_str().ok()?.parse().ok());
    match seconds.and_then(|seconds| tokens.make(&about.id, seconds)) {
        Some(token) => {
            let mut response = said(StatusCode::OK, &token);
            response
                .headers_mut()
                .insert(TOKEN_LIFE, HeaderValue::from(seconds.unwrap_or_default()));
            response
        }
        None => {
            let text = format!("{TOKEN_LIFE} has to be 1 to {LONGEST}\n");
            said(StatusCode::BAD_REQUEST, &text)
        }
    }
}

/// Whether the address is what was asked for. Who doesn't say (HTTP/1.0) is no browser.
fn is_ours(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let address = METADATA.to_string();
    host.to_str().is_ok_and(|host| host.strip_suffix(":80").unwrap_or(host) == address)
}

fn said(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(SERVER, HeaderValue::from_static("EC2ws"));
    response
}

#[cfg(test)]
mod tests {
    use super::super::documents::tests::about;
    use super::*;

    fn asked(
        tokens: &Tokens,
        method: &Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> StatusCode {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        answer(method, path, &headers.collect(), &about(), tokens).status()
    }

    #[test]
    fn requests_are_answered_or_refused() {
        let tokens = Tokens::new();
        let good = tokens.make(&about().id, 60).unwrap();
        let (get, put) = (Method::GET, Method::PUT);
        let life = "x-aws-ec2-metadata-token-ttl-seconds";
        let token = "x-aws-ec2-metadata-token";
        let id = "/latest/meta-data/instance-id";
        let api = "/latest/api/token";
        type Headers<'a> = &'a [(&'static str, &'a str)];
        let table: [(&Method, &str, Headers<'_>, u16); 15] = [
            (&get, id, &[], 200),
            (&get, id, &[("host", "169.254.169.254")], 200),
            (&get, id, &[("host", "169.254.169.254:80")], 200),
            (&get, id, &[("host", "evil.example")], 403),
            (&get, id, &[("host", "10.1.0.1:7480")], 403),
            (&get, id, &[(token, &good)], 200),
            (&get, id, &[(token, "x")], 401),
            (&get, "/latest/meta-data/none", &[], 404),
            (&Method::POST, id, &[], 405),
            (&put, api, &[(life, "21600")], 200),
            (&put, api, &[(life, "21601")], 400),
            (&put, api, &[], 400),
            (&put, api, &[(life, "60"), ("x-forwarded-for", "10.0.0.1")], 403),
            (&get, api, &[], 405),
            (&put, id, &[], 405),
        ];
        for (method, path, headers, status) in table {
            let answered = asked(&tokens, method, path, headers);
            assert_eq!(answered, status, "{method} {path} {headers:?}");
        }
    }

    #[test]
    fn an_address_has_so_many_seats() {
        let guests = Guests::default();
        let from = Ipv4Addr::LOCALHOST;
        let seats: Vec<_> = (0..CONNECTIONS_EACH).map(|_| Seat::take(&guests, from)).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(Seat::take(&guests, from).is_none());
        assert!(Seat::take(&guests, Ipv4Addr::BROADCAST).is_some());
        drop(seats);
        assert!(guests.lock().unwrap().is_empty());
    }
}
