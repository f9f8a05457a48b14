//! The process' side of a conversation.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::wire::{self, Hello, Program, Request};
use super::{PID_FILE, READY, SOCKET};
use crate::server::{Config, Server};

/// How long one that was asked to leave goes on answering what had reached it: as long as questions to
/// others take.
const FAREWELL: Duration = Duration::from_secs(6);

/// Serves names as the platform tells, over a socket in `directory`, until it is asked to leave. One
/// that runs there already is ended, unless this one was started `beside` it.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(directory: &Path, config: Config, beside: bool) -> Result<()> {
    let failed = || format!("no socket can be made in {}", directory.display());
    let pid_file = open_pid_file(directory).context(ErrorKind::Unavailable, failed)?;
    if beside {
        std::thread::spawn(move || hold(&pid_file));
    } else {
        end_other(&pid_file).context(ErrorKind::Unavailable, failed)?;
        std::thread::spawn(move || hold(&pid_file));
    }
    // It takes the place of another's in one step.
    let draft = directory.join(format!("{SOCKET}.{}", std::process::id()));
    let listener = UnixListener::bind(&draft).context(ErrorKind::Unavailable, failed)?;
    std::fs::set_permissions(&draft, Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&draft, directory.join(SOCKET)))
        .and_then(|()| io::stdout().write_all(READY))
        .context(ErrorKind::Unavailable, failed)?;
    let server = Arc::new(Server::start(Config { shared: true, ..config }));
    let leave = Arc::new(Notify::new());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = leave.notified() => break,
        };
        match stream {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, server.clone(), leave.clone()))),
            // Out of descriptors, most likely: the platform tries again.
            Err(error) => tracing::warn!(%error, "cannot be spoken to"),
        }
    }
    server.retire().await;
    tokio::time::sleep(FAREWELL).await;
    Ok(())
}

async fn converse(mut stream: UnixStream, server: Arc<Server>, leave: Arc<Notify>) {
    let hello = Hello { program: Program::own() };
    if wire::write(&mut stream, &hello).await.is_err() {
        return;
    }
    // The platform ends and comes back; what it said last stays true meanwhile.
    let mut knows_all = false;
    while let Ok(request) = wire::read(&mut stream).await {
        let listening = match request {
            Request::Publish(zones) => server.publish(&zones).await,
            // Of what another has said nothing can be different.
            Request::Change(_) if !knows_all => return,
            Request::Change(change) => server.change(&change).await,
            Request::Leave => {
                leave.notify_one();
                continue;
            }
        };
        let published: wire::Published = match listening {
            Ok(listening) => listening.into(),
            Err(error) => {
                tracing::error!(error = error.chain(), "names cannot be taken over");
                return;
            }
        };
        knows_all = true;
        if wire::write(&mut stream, &published).await.is_err() {
            return;
        }
    }
}

fn open_pid_file(directory: &Path) -> io::Result<File> {
    let path = directory.join(PID_FILE);
    File::options().create(true).truncate(false).read(true).write(true).open(path)
}

/// Ends the process that holds the file: one whose socket was lost, as it could not be spoken to.
fn end_other(file: &File) -> Result<(), Error> {
    let mut file = file;
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(());
    }
    let mut text = String::new();
    let other = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    if let Some(pid) = other.and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(())
}

/// Takes the file when it is free, and keeps it as long as this process lives.
fn hold(file: &File) {
    let mut file = file;
    let held = flock(file, FlockOperation::LockExclusive)
        .map_err(io::Error::from)
        .and_then(|()| file.set_len(0))
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    match held {
        Ok(()) => loop {
            std::thread::park();
        },
        Err(error) => tracing::warn!(%error, "the process id cannot be kept"),
    }
}
