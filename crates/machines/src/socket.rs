//! Connecting to a socket that QEMU made. It lies in a directory of QEMU's user: a guest that broke out
//! of QEMU may have put a link to another program's socket in its place.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use tokio::net::UnixStream;

/// Connects to the socket at `path`, if there is a socket and no link.
///
/// # Errors
/// The kernel's; `InvalidInput` for what is no socket.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let socket = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&socket)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // By its number, which is also shorter than any path a socket may have (unix(7): 107 bytes).
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("real");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(connect(&path).await.is_ok());
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(connect(&link).await.is_err());
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(connect(&file).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
