//! What the service manager is told, that the daemon is ready (sd_notify(3)), and what it is asked:
//! whether the machine goes down.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Longest wait for the service manager's answer.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Whether systemd takes the whole machine down, not only this service. Where there is none nobody
/// can tell, and what ends a machine there sends its own signals.
pub async fn machine_goes_down() -> bool {
    if !Path::new("/run/systemd/system").exists() {
        return false;
    }
    let mut command = tokio::process::Command::new("systemctl");
    command.arg("is-system-running").stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output.stdout.trim_ascii() == b"stopping",
        Ok(Err(error)) => {
            tracing::warn!(%error, "service manager cannot be asked");
            false
        }
        Err(_) => false,
    }
}
