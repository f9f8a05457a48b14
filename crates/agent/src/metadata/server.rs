//! Connections and requests of those who ask. They are hostile: each has its bounds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use link::Desired;
use model::Uid;
use model::network::METADATA;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::documents::About;
use super::rancher::{self, Told, Tree};
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

/// Longest wait for something else than before: a connection does not last longer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// What Rancher's service is called, and where it was. A page cannot be told these names for an address of
/// its own.
const RANCHERS: [&str; 3] =
    ["rancher-metadata", "rancher-metadata.rancher.internal", "169.254.169.250"];

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
    if let Some(question) = Question::of(request) {
        return ranchers(&question, &about, context.desired.clone()).await;
    }
    let tokens = &context.metadata.tokens;
    answer(request.method(), request.uri().path(), request.headers(), &about, tokens)
}

/// What is asked of Rancher's tree.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    path: String,
    /// Answer when it is something else than this, and no later than then.
    wait: Option<(String, Duration)>,
    /// The kind of document that is wanted, which is text when it is none of the others.
    kind: Option<&'static str>,
}

impl Question {
    fn of<T>(request: &Request<T>) -> Option<Self> {
        let by_name = asked_name(request.headers()).is_some_and(|name| RANCHERS.contains(&name));
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let here = by_name || is_ours(request.headers().get(HOST));
        let path = request.uri().path();
        if !here || !is_read || !rancher::is_ours(path, by_name) {
            return None;
        }
        let query: HashMap<_, _> =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
        let waits = query.get("wait").is_some_and(|it| it == "true");
        let wait = query.get("value").filter(|_| waits).map(|old| {
            let seconds = query.get("maxWait").and_then(|it| it.parse().ok()).filter(|it| *it > 0);
            let most = seconds.map_or(LONGEST_WAIT, Duration::from_secs).min(LONGEST_WAIT);
            (old.clone().into_owned(), most)
        });
        let accept = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok());
        Some(Self { path: path.to_owned(), wait, kind: kind_of(accept.unwrap_or_default()) })
    }
}

/// The first kind of document that is asked for and is known; JSON is YAML, too.
fn kind_of(accept: &str) -> Option<&'static str> {
    let kinds = accept.split(',').map(|it| it.split(';').next().unwrap_or_default().trim());
    let known =
        ["application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];
    kinds
        .filter_map(|kind| match kind {
            "text/plain" | "text/*" | "*/*" => Some(None),
            _ => known.into_iter().find(|it| *it == kind).map(Some),
        })
        .next()
        .flatten()
}

/// Answers as Rancher's service did; where that is asked, once it is something else than before.
async fn ranchers(
    question: &Question,
    about: &About,
    mut desired: watch::Receiver<Arc<Desired>>,
) -> Response<Full<Bytes>> {
    let end = question.wait.as_ref().map(|(_, most)| Instant::now() + *most);
    loop {
        let told = {
            let desired = desired.borrow_and_update().clone();
            let of = desired.stacks.iter().find(|it| it.project == about.project);
            of.map_or(Told::Nothing, |of| Tree { of, instance: &about.id }.find(&question.path))
        };
        let old = question.wait.as_ref().map(|(old, _)| old.as_str());
        let is_news = match &told {
            Told::Found(value) => old.is_none_or(|old| rancher::text(value) != old),
            Told::Nothing => old.is_none(),
            Told::TooMuch => true,
        };
        let changed = match end {
            Some(end) if !is_news => {
                timeout_at(end, desired.changed()).await.is_ok_and(|it| it.is_ok())
            }
            Some(_) | None => false,
        };
        if !changed {
            return rendered(told, question.kind);
        }
    }
}

fn rendered(told: Told, kind: Option<&'static str>) -> Response<Full<Bytes>> {
    let (status, value) = match told {
        Told::Found(value) => (StatusCode::OK, value),
        Told::Nothing => failed(StatusCode::NOT_FOUND, "Not found"),
        Told::TooMuch => failed(StatusCode::PAYLOAD_TOO_LARGE, "Too much: ask for a part of it"),
    };
    let text = match kind {
        Some(_) => value.to_string(),
        None if status == StatusCode::OK => rancher::text(&value),
        None => format!("{}\n", value["message"].as_str().unwrap_or_default()),
    };
    let mut response = said(status, &text);
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

fn failed(status: StatusCode, why: &str) -> (StatusCode, serde_json::Value) {
    (status, serde_json::json!({ "type": "error", "code": status.as_u16(), "message": why }))
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

/// The name that was asked for, without the port.
fn asked_name(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    Some(host.strip_suffix(":80").unwrap_or(host))
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

    fn question(path: &str, headers: &[(&str, &str)]) -> Option<Question> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Question::of(&request.body(()).unwrap())
    }

    #[test]
    fn rancher_is_asked_by_its_name_or_its_versions() {
        let name = ("host", "rancher-metadata");
        for (path, headers, asked) in [
            ("/2015-12-19/self", &[name][..], true),
            ("/latest", &[("host", "rancher-metadata.rancher.internal:80")], true),
            ("/", &[name], true),
            ("/2015-12-19/self", &[("host", "169.254.169.254")], true),
            ("/2015-12-19/self", &[], true),
            ("/latest/meta-data/", &[], false),
            ("/2009-04-04/meta-data/", &[("host", "169.254.169.254")], false),
            ("/2015-12-19/self", &[("host", "evil.example")], false),
        ] {
            assert_eq!(question(path, headers).is_some(), asked, "{path} {headers:?}");
        }
        let asked = |query: &str, accept: &str| {
            question(&format!("/latest/version?{query}"), &[name, ("accept", accept)]).unwrap()
        };
        let waits = |seconds| Some(("a b".to_owned(), Duration::from_secs(seconds)));
        for (query, accept, wait, kind) in [
            ("", "*/*", None, None),
            ("wait=true&value=a+b", "application/json", waits(20), Some("application/json")),
            ("value=a%20b&wait=true&maxWait=5", "text/yaml;q=1", waits(5), Some("text/yaml")),
            ("wait=true&value=a+b&maxWait=900", "text/plain, application/json", waits(20), None),
            ("wait=true", "text/html", None, None),
            ("wait=false&value=a", "", None, None),
        ] {
            let asked = asked(query, accept);
            assert_eq!((asked.wait, asked.kind), (wait, kind), "{query} {accept}");
        }
    }

    #[tokio::test]
    async fn who_waits_is_told_of_a_change() {
        let mut stacks = super::super::rancher::tests::stacks();
        let told = |stacks: &link::stacks::Stacks| {
            Arc::new(Desired { stacks: vec![Arc::new(stacks.clone())], ..Desired::default() })
        };
        let (sender, receiver) = watch::channel(told(&stacks));
        let mut about = about();
        about.id = Uid::from_bytes([1; 32]);
        let path = "/latest/self/service/scale?wait=true&value=2";
        let ask = question(path, &[("host", "rancher-metadata")]).unwrap();
        let asked = tokio::spawn(async move { ranchers(&ask, &about, receiver).await });
        tokio::task::yield_now().await;
        assert!(!asked.is_finished());
        stacks.stacks[0].services[0].scale = Some(3);
        sender.send_replace(told(&stacks));
        let answer = timeout(Duration::from_secs(10), asked).await.unwrap().unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, "3");
    }
}
