//! The connection: HTTP/2 on a socket, made when it is needed and again when it broke.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Bytes that may be under way in a stream: content is read in large pieces.
const WINDOW: u32 = 2 << 20;

/// A connection to `socket`, not made yet.
pub(crate) fn connect(socket: &Path) -> Channel {
    let socket: PathBuf = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The name is for the protocol's sake; nothing is looked up.
    Endpoint::from_static("http://containerd")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .connect_with_connector_lazy(connector)
}
