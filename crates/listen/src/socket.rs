//! The local socket: whoever may open it is an administrator.

use std::ffi::CString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{self, Listen};
use crate::listeners::Shared;
use crate::peer::Peer;

/// The group whose members may use the socket, if the machine has it.
const GROUP: &str = "hull";
/// Read and write for owner and group.
const MODE: u32 = 0o660;

/// Listens at `path`. The socket appears under its name with its permissions set already, and takes
/// the place of one that a killed daemon left.
pub(crate) async fn bind(path: &Path, title: &str) -> Result<UnixListener> {
    let failed = || format!("{title} cannot listen at {}", path.display());
    if UnixStream::connect(path).await.is_ok() {
        return Err(Error::conflict(format!("a daemon answers at {} already", path.display()))
            .next("hull status tells about it, hull down stops it"));
    }
    let draft = path.with_extension("new");
    let _ = std::fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).context(ErrorKind::Unavailable, failed)?;
    let mode = std::fs::Permissions::from_mode(MODE);
    std::fs::set_permissions(&draft, mode).context(ErrorKind::Unavailable, failed)?;
    give_to_group(&draft);
    std::fs::rename(&draft, path).context(ErrorKind::Unavailable, failed)?;
    Ok(listener)
}

fn give_to_group(path: &Path) {
    let Ok(Some(group)) = Group::from_name(GROUP) else { return };
    if let Err(error) = chown(path, None, Some(group.gid.as_raw())) {
        tracing::warn!(%error, "socket not given to group hull: only its owner can use it");
    }
}

/// Accepts until the server stops.
pub(crate) async fn accept(shared: Shared, listener: UnixListener, permits: Arc<Semaphore>) {
    connection::accept(shared, permits, Unix(listener)).await;
}

struct Unix(UnixListener);

impl Listen for Unix {
    type Stream = UnixStream;

    async fn next(&mut self) -> std::io::Result<UnixStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    async fn serve(stream: UnixStream, shared: Shared, permit: OwnedSemaphorePermit) {
        let peer = peer(&stream).await;
        connection::serve_local(stream, peer, shared, permit).await;
    }
}

async fn peer(stream: &UnixStream) -> Peer {
    let nobody = Peer::Local { user: String::new(), trusted: false };
    let Ok(credentials) = stream.peer_cred() else { return nobody };
    let (uid, gid) = (Uid::from_raw(credentials.uid()), Gid::from_raw(credentials.gid()));
    if uid.is_root() {
        return Peer::Local { user: "root".into(), trusted: true };
    }
    // The user database may lie on the network.
    tokio::task::spawn_blocking(move || look_up(uid, gid)).await.unwrap_or(nobody)
}

fn look_up(uid: Uid, gid: Gid) -> Peer {
    let user = User::from_uid(uid).ok().flatten();
    let trusted = uid == Uid::effective() || in_group(user.as_ref(), gid);
    let user = user.map_or_else(|| uid.to_string(), |user| user.name);
    Peer::Local { user, trusted }
}

fn in_group(user: Option<&User>, gid: Gid) -> bool {
    let Ok(Some(group)) = Group::from_name(GROUP) else { return false };
    let listed = || {
        let user = user?;
        let name = CString::new(user.name.as_str()).ok()?;
        Some(getgrouplist(&name, user.gid).ok()?.contains(&group.gid))
    };
    gid == group.gid || listed().unwrap_or(false)
}
