//! Builds that are asked of BuildKit by the platform itself, for clients that don't speak to it: in the
//! words of its frontend for Dockerfiles (BuildKit's `frontend/dockerui`), over the same way as all others.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame as BodyFrame, Incoming};
use model::data::Data;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::frames::{Frame, Frames};
use super::proxy::{self, Body, Code, Upstream};
use super::session::TakeIn;
use super::{control, wire};

const FRONTEND: &str = "dockerfile.v0";
/// What the answer says of the image's id.
const ID: &str = "containerimage.config.digest";
/// What is answered in a session of the platform's own.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const LOGIN: &str = "/moby.filesync.v1.Auth/Credentials";
const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
/// Bytes of an answer.
const LARGEST: usize = 1 << 20;

/// A build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KitJob {
    /// Names it by; nobody else's.
    pub id: String,
    /// The session of a client that is asked for what is missing.
    pub session: String,
    /// What the frontend is told.
    pub attrs: BTreeMap<String, String>,
    /// What the frontend is given in place of a context (see [`inputs`](super::inputs)).
    pub inputs: Vec<(String, Vec<u8>)>,
    /// Names of the image.
    pub names: Vec<String>,
    /// It may have steps in the network of BuildKit itself.
    pub host_network: bool,
}

/// A user's name and password, by registry.
pub type Logins = BTreeMap<String, (String, String)>;

/// What a session of the platform's own answers with.
#[derive(Debug, Default)]
pub struct Handed {
    /// Logins.
    pub logins: Logins,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Data>,
}

impl KitJob {
    fn request(&self) -> Vec<u8> {
        let mut exporter = Vec::new();
        wire::put(&mut exporter, 1, b"moby");
        if !self.names.is_empty() {
            wire::put_entry(&mut exporter, 2, "name", self.names.join(",").as_bytes());
        }
        let mut out = Vec::new();
        wire::put(&mut out, 1, self.id.as_bytes());
        wire::put(&mut out, 5, self.session.as_bytes());
        wire::put(&mut out, 6, FRONTEND.as_bytes());
        for (key, value) in &self.attrs {
            wire::put_entry(&mut out, 7, key, value.as_bytes());
        }
        // Without it older ones fail.
        wire::put(&mut out, 8, b"");
        if self.host_network {
            wire::put(&mut out, 9, b"network.host");
        }
        for (name, definition) in &self.inputs {
            wire::put_entry(&mut out, 10, name, definition);
        }
        wire::put(&mut out, 13, &exporter);
        out
    }
}

impl Daemon {
    /// Builds; each `StatusResponse` is handed to `told`. The image's id. It ends when this is dropped.
    ///
    /// # Errors
    /// `Invalid` with BuildKit's own words when the build fails; `Unavailable` when BuildKit is gone.
    pub async fn build(&self, job: &KitJob, told: mpsc::Sender<Bytes>) -> Result<String> {
        let (ours, theirs) = pair()?;
        let asking = async {
            let gone = || "BuildKit does not answer".to_owned();
            let (kit, _connection) =
                Upstream::over(ours).await.context(ErrorKind::Unavailable, gone)?;
            let mut asked = Vec::new();
            wire::put(&mut asked, 1, job.id.as_bytes());
            let status = control::request(control::STATUS, &asked);
            let progress = async { tell(kit.pass(status).await.into_body(), told).await };
            let solving = async {
                let answer = kit.pass(control::request(control::SOLVE, &job.request())).await;
                outcome(answer).await
            };
            futures::join!(progress, solving).1
        };
        tokio::select! {
            outcome = asking => outcome,
            served = self.control(theirs) => {
                served?;
                Err(Error::unavailable("BuildKit has gone"))
            }
        }
    }

    /// A session that has nothing but logins and secrets, for builds of nobody's; it lasts until it is
    /// dropped.
    ///
    /// # Errors
    /// `Unavailable` when BuildKit is gone.
    pub async fn own_session(&self, id: &str, handed: Handed, take_in: TakeIn) -> Result<()> {
        let (ours, theirs) = pair()?;
        let handed = std::sync::Arc::new(handed);
        let answering = proxy::serve(ours, move |request| answer(request, handed.clone()));
        let headers = headers(id)?;
        tokio::select! {
            () = answering => Ok(()),
            held = self.session(theirs, &headers, take_in) => held,
        }
    }
}

fn pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().context(ErrorKind::Exhausted, || "no connection can be made".to_owned())
}

fn headers(id: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(id);
    let value = value.context(ErrorKind::Invalid, || "a session of an odd name".to_owned())?;
    headers.insert("x-docker-expose-session-uuid", value);
    headers.insert("x-docker-expose-session-name", HeaderValue::from_static("hull"));
    headers.insert("x-docker-expose-session-sharedkey", HeaderValue::from_static(""));
    for method in [HEALTH, LOGIN, SECRET] {
        let method = HeaderValue::from_static(method);
        headers.append("x-docker-expose-session-grpc-method", method);
    }
    Ok(headers)
}

/// What a session of the platform's own has to say.
async fn answer(request: Request<Incoming>, handed: std::sync::Arc<Handed>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let message = match control::only_message(request.into_body()).await {
        Ok(message) => message,
        Err(refusal) => return refusal,
    };
    match path.as_str() {
        // SERVING.
        HEALTH => with_message(&[8, 1]),
        LOGIN => {
            let host = wire::first(&message).map(String::from_utf8_lossy).unwrap_or_default();
            // Docker Hub's API has a host of its own.
            let registry = if host == "registry-1.docker.io" { "docker.io" } else { &*host };
            let mut login = Vec::new();
            if let Some((user, password)) = handed.logins.get(registry) {
                wire::put(&mut login, 1, user.as_bytes());
                wire::put(&mut login, 2, password.as_bytes());
            }
            with_message(&login)
        }
        SECRET => {
            let id = wire::first(&message).map(String::from_utf8_lossy).unwrap_or_default();
            let Some(secret) = handed.secrets.get(&*id) else {
                // A step that can do without goes on.
                return proxy::status(Code::NotFound, &format!("no secret {id:?} is handed over"));
            };
            let mut answer = Vec::new();
            wire::put(&mut answer, 1, secret.bytes());
            with_message(&answer)
        }
        _ => proxy::status(Code::Unimplemented, "this session has no such service"),
    }
}

fn with_message(message: &[u8]) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [BodyFrame::data(Frame::encode(message)), BodyFrame::trailers(trailers)];
    let mut answer = Response::new(proxy::of_frames(futures::stream::iter(frames.map(Ok))));
    let kind = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// Hands on what is told; nobody has to listen.
async fn tell(mut body: Body, told: mpsc::Sender<Bytes>) {
    let mut frames = Frames::default();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        frames.push(&data);
        while let Ok(Some(frame)) = frames.next() {
            let _ = told.send(frame.message).await;
        }
    }
}

/// The image's id, or why there is none.
async fn outcome(answer: Response<Body>) -> Result<String> {
    let (parts, body) = answer.into_parts();
    if let Some(told) = proxy::failure(&parts.headers) {
        return Err(Error::invalid(told));
    }
    let body = proxy::whole(body, LARGEST).await;
    let body = body.map_err(|error| {
        Error::unavailable("BuildKit has gone").caused_by(std::io::Error::other(error))
    })?;
    if let Some(told) = body.trailers().and_then(proxy::failure) {
        return Err(Error::invalid(told));
    }
    let mut frames = Frames::default();
    frames.push(&body.to_bytes());
    let message = frames.next().ok().flatten().map(|frame| frame.message).unwrap_or_default();
    let fields = wire::fields(&message).unwrap_or_default();
    let entries = fields.iter().filter_map(|it| it.value.and_then(wire::entry));
    let id = entries.into_iter().find(|(key, _)| key == ID).map(|(_, value)| value);
    id.ok_or_else(|| Error::internal("BuildKit made no image"))
}
