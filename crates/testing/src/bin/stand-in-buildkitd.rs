//! Stands in for BuildKit's daemon where there is none, and says so: it listens where its settings say, and
//! answers what the platform asks of it (`moby.buildkit.v1.Control`). It builds nothing: each build is one
//! more record of a thousand bytes.
//!
//! How it behaves stands in a file `behaviour` beside it, one word a line: `slow` (it takes a while before it listens),
//! `refuse` (it ends at its start). A build with the argument `hold` goes on for ever.

use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;

/// Bytes of a record.
const SIZE: u64 = 1000;
/// The time that a slow one takes.
const SLOW: Duration = Duration::from_secs(1);
/// The image that it says it made.
const IMAGE: &str =
    concat!("sha256:00000000000000000000000000000000000000000000000000000000", "57a9d111");

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What it is told.
struct Settings {
    root: PathBuf,
    socket: PathBuf,
}

fn main() -> Result<()> {
    writeln!(std::io::stderr(), "a stand-in for BuildKit: it builds nothing")?;
    let settings = settings()?;
    let behaviour = std::env::current_exe()?.with_file_name("behaviour");
    let behaviour = std::fs::read_to_string(behaviour).unwrap_or_default();
    let is = |word: &str| behaviour.lines().any(|line| line == word);
    std::fs::create_dir_all(&settings.root)?;
    append(&settings.root.join("starts"), "started")?;
    if is("refuse") {
        bail!("it was told to refuse");
    }
    if is("slow") {
        std::thread::sleep(SLOW);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

/// Reads `--config FILE`.
fn settings() -> Result<Settings> {
    let file = std::env::args().nth(2).context("used as: --config FILE")?;
    let table: toml::Table = std::fs::read_to_string(file)?.parse()?;
    let root = table["root"].as_str().context("no root")?;
    let address = table["grpc"]["address"][0].as_str().context("no address")?;
    let socket = address.strip_prefix("unix://").context("no socket")?;
    Ok(Settings { root: root.into(), socket: socket.into() })
}

async fn serve(settings: Settings) -> Result<()> {
    let listener = UnixListener::bind(&settings.socket)?;
    let root: Arc<Path> = settings.root.into();
    loop {
        let (stream, _) = listener.accept().await?;
        let root = root.clone();
        let service = service_fn(move |request| answer(request, root.clone()));
        let builder = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, root: Arc<Path>) -> Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let records = root.join("records");
    let messages = match path.rsplit('/').next().unwrap_or_default() {
        // It goes on until the client ends it.
        "Session" => return Ok(respond(Vec::new(), Some(request.into_body()))),
        "Status" => vec![message(3, b"it builds nothing")],
        "Solve" => {
            let asked = request.into_body().collect().await?.to_bytes();
            if asked.windows(14).any(|it| it == b"build-arg:hold") {
                std::future::pending::<()>().await;
            }
            append(&records, &format!("record-{}", lines(&records).len()))?;
            let entry = [message(1, b"containerimage.config.digest"), message(2, IMAGE.as_bytes())];
            vec![message(1, &entry.concat())]
        }
        "DiskUsage" => {
            vec![lines(&records).iter().flat_map(|id| message(1, &record(id))).collect()]
        }
        "Prune" => {
            let gone = lines(&records);
            let _ = std::fs::remove_file(&records);
            gone.iter().map(|id| record(id)).collect()
        }
        _ => bail!("{path} is not answered here"),
    };
    Ok(respond(messages, None))
}

/// An answer of gRPC's: messages, then that all is well, once `until` has ended.
fn respond(messages: Vec<Vec<u8>>, until: Option<Incoming>) -> Response<Body> {
    let frames = messages.into_iter().map(|it| {
        let length = u32::try_from(it.len()).unwrap_or(u32::MAX).to_be_bytes();
        Frame::data(Bytes::from([&[0], &length[..], &it].concat()))
    });
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let end = futures::stream::once(async move {
        if let Some(body) = until {
            let _ = body.collect().await;
        }
        Frame::trailers(trailers)
    });
    let frames = futures::stream::iter(frames).chain(end).map(Ok);
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A `UsageRecord`: its id, its size, and what it is.
fn record(id: &str) -> Vec<u8> {
    let mut out = message(1, id.as_bytes());
    out.push(4 << 3);
    varint(&mut out, SIZE);
    out.extend(message(9, b"of the stand-in"));
    out
}

/// A field of a message whose value has a length.
fn message(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn append(file: &Path, line: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    Ok(writeln!(file, "{line}")?)
}
