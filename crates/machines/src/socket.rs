//! Connecting to a socket that QEMU or its monitor made, and sending files over it. It lies in a directory of QEMU's user: a guest that broke out
//! of QEMU may have put a link to another program's socket in its place.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How long it is tried to get hold of a busy listener.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(10);

/// Connects to the socket at `path`, if there is a socket and no link.
///
/// # Errors
/// The kernel's; `InvalidInput` for what is no socket; `WouldBlock` for one that is busy for 5 seconds.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let socket = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&socket)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // By its number, which is also shorter than any path a socket may have (unix(7): 107 bytes).
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let patience = tokio::time::Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(&path).await {
            // QEMU lets one caller wait at a time: another comes again (connect(2), EAGAIN).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if tokio::time::Instant::now() >= patience {
                    return Err(error);
                }
                tokio::time::sleep(AGAIN).await;
            }
            connected => return connected,
        }
    }
}

/// Sends the beginning of some bytes with a file (unix(7), `SCM_RIGHTS`); returns how many bytes went.
///
/// # Errors
/// The kernel's.
pub async fn send_with(stream: &UnixStream, bytes: &[u8], file: &impl AsFd) -> io::Result<usize> {
    let send = || {
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        with.push(SendAncillaryMessage::ScmRights(&files));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut with, flags)?)
    };
    stream.async_io(Interest::WRITABLE, send).await
}

/// Receives what fits the buffer, and the file that came with it.
///
/// # Errors
/// The kernel's.
pub async fn receive_with(
    stream: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let receive = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut with, flags)?;
        let files = with.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        Ok((got.bytes, files.flatten().last()))
    };
    stream.async_io(Interest::READABLE, receive).await
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
