//! Tells the service manager that the daemon is ready (sd_notify(3)).

use std::os::unix::net::UnixDatagram;

/// Sends `state` to the socket named by `NOTIFY_SOCKET`, if there is one. A service manager that
/// does not listen is no reason to fail.
pub fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let sent = match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            std::os::unix::net::SocketAddr::from_abstract_name(name)
                .and_then(|address| socket.send_to_addr(state.as_bytes(), &address))
        }
        None => socket.send_to(state.as_bytes(), &path),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "service manager cannot be told");
    }
}
