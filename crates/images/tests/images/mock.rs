//! A registry that does as it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use futures::StreamExt;
use images::Digest;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::sample::Sample;

/// One request it saw.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
    /// How often the same was asked before.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What it answers.
pub enum Answer {
    /// As a good registry does.
    Serve,
    /// A status, headers, a body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// So many bytes of the right answer, then the connection breaks.
    Cut(usize),
    /// So many bytes of the right answer, then nothing more.
    Stall(usize),
    /// So many bytes, the rest when the gate has a permit.
    Gate(usize, Arc<Semaphore>),
    /// The whole blob, though a part was asked for.
    NoRange,
    /// Other bytes than those asked for, as many.
    Flipped,
    /// These bytes, with an honest length.
    Instead(Vec<u8>),
    /// The first of these many bytes, with that as the length.
    Short(usize),
}

type Rule = Box<dyn Fn(&Seen) -> Answer + Send + Sync>;

pub struct Shared {
    blobs: Mutex<HashMap<String, Bytes>>,
    manifests: Mutex<HashMap<String, (String, Bytes)>>,
    seen: Mutex<Vec<Seen>>,
    rule: Rule,
}

pub struct Mock {
    pub address: String,
    pub shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mock {
    pub async fn good() -> Self {
        Self::start(|_| Answer::Serve).await
    }

    pub async fn start(rule: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Shared::new(rule);
        let router = router(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl std::ops::Deref for Mock {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

impl Shared {
    pub fn new(rule: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        let (blobs, manifests) = (Mutex::default(), Mutex::default());
        Arc::new(Self { blobs, manifests, seen: Mutex::default(), rule: Box::new(rule) })
    }

    pub fn put(&self, tag: &str, sample: &Sample) {
        for blob in sample.blobs() {
            self.put_blob(blob);
        }
        self.put_manifest(tag, sample.manifest_type, &sample.manifest);
    }

    pub fn put_blob(&self, data: Vec<u8>) {
        self.blobs.lock().unwrap().insert(Digest::of(&data).to_string(), data.into());
    }

    /// Under its tag and its digest.
    pub fn put_manifest(&self, tag: &str, media_type: &str, data: &[u8]) {
        let entry = (media_type.to_owned(), Bytes::copy_from_slice(data));
        let mut manifests = self.manifests.lock().unwrap();
        manifests.insert(Digest::of(data).to_string(), entry.clone());
        manifests.insert(tag.to_owned(), entry);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often blobs were asked for, and manifests fetched.
    pub fn gets(&self) -> (usize, usize) {
        let seen = self.seen();
        let gets = seen.iter().filter(|seen| seen.method == Method::GET);
        let blobs = gets.clone().filter(|seen| seen.is_blob()).count();
        (blobs, gets.filter(|seen| seen.path.contains("/manifests/")).count())
    }

    fn note(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: String,
    ) -> Seen {
        let mut all = self.seen.lock().unwrap();
        let nth = all.iter().filter(|seen| seen.path == path && seen.method == method).count();
        let (path, query) = (path.to_owned(), query.to_owned());
        let seen = Seen { method, path, query, headers, body, nth };
        all.push(seen.clone());
        seen
    }

    fn content(&self, path: &str) -> Option<(String, Bytes)> {
        let version = path.rsplit('/').next()?;
        if path.contains("/blobs/") {
            let data = self.blobs.lock().unwrap().get(version)?.clone();
            return Some(("application/octet-stream".into(), data));
        }
        self.manifests.lock().unwrap().get(version).cloned()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let query = parts.uri.query().unwrap_or_default();
    let seen = shared.note(parts.method, parts.uri.path(), query, parts.headers, body);
    let rule = (shared.rule)(&seen);
    if let Answer::Say(status, headers, body) = rule {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        return response.body(Body::from(body)).unwrap();
    }
    if seen.path == "/v2/" {
        return Response::new(Body::from("{}"));
    }
    let Some((media_type, data)) = shared.content(&seen.path) else {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        return Response::builder().status(404).body(Body::from(body)).unwrap();
    };
    serve(&seen, &rule, &media_type, data)
}

fn serve(seen: &Seen, rule: &Answer, media_type: &str, data: Bytes) -> Response<Body> {
    let ranged = !matches!(rule, Answer::NoRange | Answer::Instead(_));
    let range = seen.header("range").filter(|_| ranged);
    let start =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let (total, start): (usize, usize) = (data.len(), start.unwrap_or(0));
    let digest = Digest::of(&data);
    let data = match rule {
        Answer::Flipped => Bytes::from(data.iter().map(|byte| !byte).collect::<Vec<_>>()),
        Answer::Instead(other) => Bytes::from(other.clone()),
        _ => data,
    };
    let part = data.slice(start.min(data.len())..);
    let mut response = Response::builder().header(header::CONTENT_TYPE, media_type);
    if !seen.is_blob() {
        response = response.header("docker-content-digest", digest.as_str());
    }
    if range.is_some() {
        let range = format!("bytes {start}-{}/{total}", total.saturating_sub(1));
        response = response.status(StatusCode::PARTIAL_CONTENT).header("content-range", range);
    }
    let length = match rule {
        Answer::Short(length) => *length,
        _ => part.len(),
    };
    response = response.header(header::CONTENT_LENGTH, length);
    if seen.method == Method::HEAD {
        return response.body(Body::empty()).unwrap();
    }
    response.body(body(rule, part)).unwrap()
}

fn body(rule: &Answer, data: Bytes) -> Body {
    let first = |length: &usize| data.slice(..(*length).min(data.len()));
    match rule {
        Answer::Cut(length) => {
            let break_off = futures::stream::once(async {
                // The server sends what it has while it waits for more.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut"))
            });
            Body::from_stream(futures::stream::iter([Ok(first(length))]).chain(break_off))
        }
        Answer::Stall(length) => {
            let piece = futures::stream::iter([Ok::<_, std::io::Error>(first(length))]);
            Body::from_stream(piece.chain(futures::stream::pending()))
        }
        Answer::Gate(length, gate) => {
            let (piece, rest) = (first(length), data.slice((*length).min(data.len())..));
            let gate = gate.clone();
            let rest = futures::stream::once(async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, std::io::Error>(rest)
            });
            Body::from_stream(futures::stream::iter([Ok(piece)]).chain(rest))
        }
        Answer::Short(length) => Body::from(first(length)),
        _ => Body::from(data),
    }
}
