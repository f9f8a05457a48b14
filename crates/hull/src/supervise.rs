//! `hull supervise`: keeps the daemon running where no service manager does.
//!
//! It starts `hull daemon`, starts it again with growing waits when it dies, and ends it when it is
//! told to end itself. Its pid file is locked while it lives, so that there is one for a root, and a
//! pid in a file that nobody locks is nobody's.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Places;
use crate::program;

/// Waits before another start double from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A daemon that ran this long begins anew with the shortest wait.
const LONG_RUN: Duration = Duration::from_secs(60);
/// A log of this size is put aside at the next start.
const LONG_LOG: u64 = 16 << 20;

/// Keeps the daemon running.
#[derive(Debug, Parser)]
#[command(name = "hull supervise", version)]
struct Arguments {
    /// Everything of the node lies below this directory
    #[arg(long, env = "HULL_ROOT", default_value = "/", value_name = "DIR")]
    root: PathBuf,
}

/// Runs the supervisor of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    telemetry::init(telemetry::Format::Text, "info");
    match run(&arguments.root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error.chain(), "cannot supervise");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &std::path::Path) -> Result<()> {
    let places = Places::below(root);
    places.create()?;
    let _pid_file = take_pid_file(&places)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(ErrorKind::Exhausted, || "a runtime cannot be made".into())?;
    runtime.block_on(async {
        tokio::select! {
            ended = keep_running(root, &places) => ended,
            never = crate::settle::settle() => match never {},
        }
    })
}

/// The locked pid file; it is released by the end of the process, however it comes.
fn take_pid_file(places: &Places) -> Result<File> {
    let path = places.run.join("supervisor.pid");
    let failed = || format!("cannot write {}", path.display());
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o644)
        .open(&path)
        .context(ErrorKind::Unavailable, failed)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        Error::conflict("another supervisor runs for this root").caused_by(error)
    })?;
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .context(ErrorKind::Unavailable, failed)?;
    Ok(file)
}

async fn keep_running(root: &std::path::Path, places: &Places) -> Result<()> {
    let listen = |kind| {
        signal(kind).context(ErrorKind::Internal, || "signals cannot be listened for".into())
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut child_ended = listen(SignalKind::child())?;
    let mut wait = FIRST_WAIT;
    loop {
        let begun = Instant::now();
        match start(root, places) {
            Ok(mut child) => {
                if !outlives(&mut child, &mut terminate, &mut child_ended).await {
                    return end(child);
                }
                if begun.elapsed() >= LONG_RUN {
                    wait = FIRST_WAIT;
                }
                tracing::warn!(?wait, "the daemon ended, starting it again");
            }
            // A full disk, or no process left to be had: both pass.
            Err(error) => tracing::error!(error = error.chain(), ?wait, "cannot start the daemon"),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = terminate.recv() => return Ok(()),
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn start(root: &std::path::Path, places: &Places) -> Result<Child> {
    let program = program::file()?;
    let log = log(places)?;
    let both = log
        .try_clone()
        .context(ErrorKind::Exhausted, || "the log cannot be opened twice".into())?;
    Command::new(program)
        .arg("daemon")
        .arg("--root")
        .arg(root)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(both)
        .spawn()
        .context(ErrorKind::Unavailable, || "the daemon cannot be started".into())
}

fn log(places: &Places) -> Result<File> {
    let path = places.state.join("daemon.log");
    let failed = || format!("cannot write {}", path.display());
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LONG_LOG) {
        std::fs::rename(&path, places.state.join("daemon.log.old"))
            .context(ErrorKind::Unavailable, failed)?;
    }
    let mut options = OpenOptions::new();
    options
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .context(ErrorKind::Unavailable, failed)
}

/// Waits for the daemon's end; false when the supervisor is told to end first.
async fn outlives(child: &mut Child, terminate: &mut Signal, child_ended: &mut Signal) -> bool {
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        tokio::select! {
            _ = terminate.recv() => return false,
            _ = child_ended.recv() => {}
        }
    }
}

fn end(mut child: Child) -> Result<()> {
    let pid = rustix::process::Pid::from_child(&child);
    // It may have ended by itself meanwhile.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    child.wait().map(drop).context(ErrorKind::Internal, || "the daemon cannot be waited for".into())
}
