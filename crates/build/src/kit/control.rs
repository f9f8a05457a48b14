//! What a client says to BuildKit (`/grpc` of Docker's API): passed on, but for what only Engine's own
//! BuildKit has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_stream::stream;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Frame as BodyFrame, Incoming};

use super::frames::{Frame, Frames};
use super::proxy::{self, Body, Code, Upstream};
use super::solve::{self, Solve};

pub(crate) const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
pub(crate) const STATUS: &str = "/moby.buildkit.v1.Control/Status";
const WORKERS: &str = "/moby.buildkit.v1.Control/ListWorkers";
/// Bytes of a request that is read here.
const LARGEST: usize = 64 << 20;
/// Builds of one connection whose names are remembered; a bake has a few dozen.
const REMEMBERED: usize = 1024;

/// Which exporters' images are taken in, by session.
#[derive(Debug, Default)]
pub(crate) struct Taken(Mutex<BTreeMap<String, Vec<String>>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this exporter's image is.
    pub(crate) fn has(&self, session: &str, exporter: &str) -> bool {
        self.lock().get(session).is_some_and(|all| all.iter().any(|it| it == exporter))
    }

    /// From now on those of a build are, until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>, solve: &Solve) -> Taking {
        let (session, exporters) = (solve.session.clone(), solve.taken.clone());
        self.lock().entry(session.clone()).or_default().extend(exporters.iter().cloned());
        Taking { all: self.clone(), session, exporters }
    }
}

/// Exporters of one build.
pub(crate) struct Taking {
    all: Arc<Taken>,
    session: String,
    exporters: Vec<String>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(taken) = all.get_mut(&self.session) {
            for exporter in &self.exporters {
                if let Some(at) = taken.iter().position(|it| it == exporter) {
                    taken.remove(at);
                }
            }
            if taken.is_empty() {
                all.remove(&self.session);
            }
        }
    }
}

/// Builds that go on and want to hear of registries what names mean now.
#[derive(Debug, Clone, Default)]
pub struct Fresh(Arc<AtomicUsize>);

impl Fresh {
    /// Whether there are any.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn begin(&self, wanted: bool) -> Option<Freshness> {
        wanted.then(|| {
            self.0.fetch_add(1, Ordering::Relaxed);
            Freshness(self.clone())
        })
    }
}

struct Freshness(Fresh);

impl Drop for Freshness {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client's connection.
#[derive(Clone)]
pub(crate) struct Control {
    kit: Upstream,
    taken: Arc<Taken>,
    fresh: Fresh,
    /// Names of the images that are taken in, by build.
    names: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    /// The host's address on the network of builds.
    gateway: Arc<str>,
}

impl Control {
    pub(crate) fn new(kit: Upstream, taken: Arc<Taken>, fresh: Fresh, gateway: &str) -> Self {
        Self { kit, taken, fresh, names: Arc::default(), gateway: gateway.into() }
    }

    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            SOLVE => self.solve(request).await,
            STATUS => self.status(request).await,
            WORKERS => {
                let answer = self.kit.pass(request.map(proxy::through)).await;
                let gateway = self.gateway.clone();
                answer.map(|body| reworded(body, move |told| solve::workers(told, &gateway)))
            }
            _ => self.kit.pass(request.map(proxy::through)).await,
        }
    }

    async fn solve(self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let solve = match only_message(body).await {
            Ok(message) => solve::read(&message),
            Err(refusal) => return refusal,
        };
        let Some(solve) = solve else {
            return proxy::status(
                Code::InvalidArgument,
                "the build is asked for in no known words",
            );
        };
        if solve.is_of_many() {
            return proxy::status(
                Code::InvalidArgument,
                "an image of several platforms cannot be kept here: build for one platform at a time",
            );
        }
        let _taking = self.taken.begin(&solve);
        let _fresh = self.fresh.begin(solve.fresh);
        if !solve.taken.is_empty() {
            self.remember(solve.reference.clone(), solve.names.clone());
        }
        self.kit.pass(Request::from_parts(parts, framed(&solve.message))).await
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, reference: String, names: Vec<String>) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(reference, names);
    }

    async fn status(self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let message = match only_message(body).await {
            Ok(message) => message,
            Err(refusal) => return refusal,
        };
        let reference = solve::reference(&message).unwrap_or_default();
        let answer = self.kit.pass(Request::from_parts(parts, framed(&message))).await;
        // Progress may be asked for before the build is.
        let in_words_of_engine = move |message: &[u8]| {
            let names = self.lock().get(&reference).cloned()?;
            solve::status(message, &names)
        };
        answer.map(|body| reworded(body, in_words_of_engine))
    }
}

/// A body whose messages are put into other words, where these can be had.
fn reworded(mut body: Body, reword: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Body {
    proxy::of_frames(stream! {
        let mut frames = Frames::default();
        while let Some(frame) = body.frame().await {
            let data = match frame.map(BodyFrame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(trailers)) => {
                    yield Ok(trailers);
                    continue;
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            frames.push(&data);
            loop {
                let Frame { compressed, message } = match frames.next() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(_) => {
                        yield Err("a message of BuildKit is too large".into());
                        return;
                    }
                };
                if compressed {
                    yield Err("messages of BuildKit are not read compressed here".into());
                    return;
                }
                let message = reword(&message).map_or(message, Bytes::from);
                yield Ok(BodyFrame::data(Frame::encode(&message)));
            }
        }
    })
}

/// The message of a request that has one.
pub(crate) async fn only_message(body: Incoming) -> Result<Bytes, Response<Body>> {
    let refuse = |told: &str| proxy::status(Code::InvalidArgument, told);
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|_| refuse("the request of the build did not come whole"))?;
    let mut frames = Frames::default();
    frames.push(&body.to_bytes());
    match frames.next() {
        Ok(Some(Frame { compressed: false, message })) => Ok(message),
        Ok(Some(Frame { compressed: true, .. })) => {
            Err(refuse("requests of builds are not read compressed here"))
        }
        Ok(None) | Err(_) => Err(refuse("the request of the build is no message")),
    }
}

/// A request of the platform's own.
pub(crate) fn request(path: &str, message: &[u8]) -> Request<Body> {
    let mut request = Request::new(framed(message));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    request
}

fn framed(message: &[u8]) -> Body {
    Full::new(Frame::encode(message)).map_err(|never| match never {}).boxed_unsync()
}
