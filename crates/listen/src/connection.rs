//! One connection: HTTP/1.1 or HTTP/2, with bounds on everything its peer controls.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::bounds::Bounds;
use crate::held::Held;
use crate::lingering::Lingering;
use crate::listeners::Shared;
use crate::peer::Peer;
use crate::upgraded;

/// Wait after an accept that failed for want of file descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Requests under way on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// A quiet HTTP/2 connection is pinged this often.
const PING: Duration = Duration::from_secs(30);
/// Time to answer such a ping.
const PONG: Duration = Duration::from_secs(20);

/// A connection that lasts as long is watched for its peer's leaving.
const LASTS: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) trait Listen: Send {
    /// A connection before anything was said on it.
    type Stream: Send + 'static;

    /// The next connection.
    fn next(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Serves a connection until it ends.
    fn serve(
        stream: Self::Stream,
        shared: Shared,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Accepts connections, no more at a time than there are permits, until the server drains.
pub(crate) async fn accept<L: Listen>(shared: Shared, permits: Arc<Semaphore>, mut listener: L) {
    let drain = shared.drain.clone();
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(permit) = permits.clone().acquire_owned().await {
            match listener.next().await {
                Ok(stream) => {
                    shared.connections.spawn(L::serve(stream, shared.clone(), permit));
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = drain.cancelled() => {}
    }
}

fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves the requests of a connection. It counts until its stream is let go, which one that is taken
/// over is only by who took it.
pub(crate) async fn serve<S>(stream: S, peer: Peer, shared: Shared, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let builder = builder(&shared.bounds);
    let gone = std::future::pending();
    let stream = Lingering::new(hold(stream, &shared, permit));
    drive(&builder, stream, gone, peer, shared).await;
}

/// Serves the requests of a connection of this machine. A peer that has said all it has to say, and told so,
/// is answered all the same: the kernel tells it from one that is gone.
pub(crate) async fn serve_local(
    stream: UnixStream,
    peer: Peer,
    shared: Shared,
    permit: OwnedSemaphorePermit,
) {
    let mut builder = builder(&shared.bounds);
    let watched = stream.as_fd().try_clone_to_owned().ok();
    builder.http1().half_close(watched.is_some());
    let gone = async {
        // Most are over by then.
        tokio::time::sleep(LASTS).await;
        upgraded::gone(watched).await;
    };
    let stream = Lingering::new(hold(stream, &shared, permit));
    drive(&builder, stream, gone, peer, shared).await;
}

/// A stream with what counts it.
fn hold<S>(stream: S, shared: &Shared, permit: OwnedSemaphorePermit) -> Held<S> {
    let counted = (permit, (shared.opened)(), shared.connections.token());
    Held::new(stream, Box::new(counted))
}

async fn drive<S>(
    builder: &Builder<TokioExecutor>,
    stream: Lingering<S>,
    gone: impl Future<Output = ()>,
    peer: Peer,
    shared: Shared,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (router, drain) = (shared.router, shared.drain);
    let asked = Arc::new(AtomicBool::new(false));
    let silence = silent_for(shared.bounds.head_time, asked.clone());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut connection =
        pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = silence => return tracing::debug!("connection without a request"),
        () = gone => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Ends when no request came for so long. hyper's own bound on a head begins with its first bytes.
async fn silent_for(time: Duration, asked: Arc<AtomicBool>) {
    tokio::time::sleep(time).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

fn builder(bounds: &Bounds) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.head.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(bounds.head).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}
