//! Connections of clients with BuildKit, which speak HTTP/2 from the first byte on.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use control::Caller;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use link::build::{BuildWire, BuildWireKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Reply};
use crate::{Engine, Shared};

/// What clients ask to speak.
const PROTOCOL: &str = "h2c";
/// Most that is read at once.
const PIECE: usize = 32 << 10;
/// What the headers begin with by which a client tells of its session.
const SESSION: [&str; 2] = ["x-docker-expose-session-", "x-buildkit-session-"];

/// The client asks BuildKit.
pub(super) async fn control(
    State(engine): Shared,
    Extension(caller): crate::By,
    request: Request,
) -> Reply {
    hijack(&engine, &caller, request, BuildWireKind::Control).await
}

/// BuildKit asks the client.
pub(super) async fn session(
    State(engine): Shared,
    Extension(caller): crate::By,
    request: Request,
) -> Reply {
    let headers = of_session(request.headers());
    hijack(&engine, &caller, request, BuildWireKind::Session { headers }).await
}

fn of_session(headers: &HeaderMap) -> Vec<(String, String)> {
    let told = headers.iter().filter_map(|(name, value)| {
        let ours = SESSION.iter().any(|prefix| name.as_str().starts_with(prefix));
        let value = value.to_str().ok().filter(|_| ours)?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    told.collect()
}

async fn hijack(
    engine: &Engine,
    caller: &Caller,
    mut request: Request,
    kind: BuildWireKind,
) -> Reply {
    let asked = request.headers().get(header::UPGRADE);
    if !asked.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes())) {
        return Err(Failure::bad("the connection is to be upgraded to h2c"));
    }
    let wire = engine.control.images().build_wire(caller, "", kind).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let stop = engine.stop.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => converse(upgraded, wire, stop).await,
            Err(error) => tracing::debug!(%error, "a connection could not be taken over"),
        }
    });
    Ok(switched())
}

fn switched() -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

/// Both directions, until one of them ends.
async fn converse(upgraded: hyper::upgrade::Upgraded, wire: BuildWire, stop: CancellationToken) {
    let BuildWire { input, mut output } = wire;
    let (mut reader, mut writer, gone) = listen::Connection::from(upgraded).split();
    let reading = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(length) = reader.read(&mut buffer).await {
            let piece = Bytes::copy_from_slice(&buffer[..length]);
            if length == 0 || input.send(piece).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some(Ok(piece)) = output.next().await {
            if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
        () = gone => {}
        () = stop.cancelled() => {}
    }
    let _ = writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_of_the_session() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("X-Docker-Expose-Session-Uuid", "u"),
            ("X-Docker-Expose-Session-Grpc-Method", "/a/b"),
            ("X-Docker-Expose-Session-Grpc-Method", "/a/c"),
            ("Authorization", "hidden"),
        ] {
            headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let names: Vec<_> = of_session(&headers).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| name.starts_with("x-docker-expose-session-")));
    }
}
