//! `hull up` and `hull down`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use model::error::Context as _;
use model::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal};

use crate::commands::status::until_ready;
use crate::context::Context;
use crate::out;

/// Longest wait for the platform to become ready, and to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts the platform on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull up\n  hull --root /srv/node2 up")]
pub struct Up {}

/// Stops the platform on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull down")]
pub struct Down {}

impl Up {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if context.client.system().ready().await.is_ok() {
            out::line("The platform runs already; nothing was changed.");
            return Ok(ExitCode::SUCCESS);
        }
        out::remark("Starting the platform …");
        let failing = reason(context).is_some();
        let _ = std::fs::remove_file(word(&context.root));
        if managed(context) {
            systemctl(&["enable", "--quiet", "hull.service"])?;
            // It is not systemctl that waits: it knows neither what is ready nor why a start failed.
            systemctl(&["start", "--no-block", "hull.service"])?;
        } else {
            if failing {
                // One that tries again in half a minute is no answer to somebody who waits now.
                end_supervisor(context).await?;
            }
            supervise(&context.root)?;
        }
        if let Err(error) = until_ready(context, PATIENCE).await {
            if reason(context).is_none() {
                return Err(error.next(format!("read its log: {}", log(context))));
            }
            if !managed(context) {
                end_supervisor(context).await?;
            }
            return Err(error);
        }
        greet(context).await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Down {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if managed(context) {
            systemctl(&["stop", "hull.service"])?;
        } else if !end_supervisor(context).await? {
            out::line("The platform does not run; nothing was changed.");
            return Ok(ExitCode::SUCCESS);
        }
        out::line("The platform is stopped. Instances run on; hull up takes them over again.");
        Ok(ExitCode::SUCCESS)
    }
}

async fn greet(context: &Context) {
    // It was ready a moment ago; how it is reached is worth no failure.
    let status = context.client.system().status().await.unwrap_or_default();
    let token = context.root.join("etc/hull/admin.token");
    out::line("The platform is ready.");
    out::line(format!("  API            {}", context.client.host()));
    for address in status.addresses {
        out::line(format!("  from elsewhere {address}  with HULL_CA={}", status.authority));
    }
    match token.exists() {
        true => out::line(format!("  admin token    in {}", token.display())),
        // The records were restored here: the token is where they were first.
        false => out::line("  admin token    not here; make one with hull token create"),
    }
    if !managed(context) {
        out::line("  after a boot   run hull up: no service manager starts it here");
    }
    out::line("Try next:");
    out::line("  hull run -d --name web -p 8080:80 nginx");
    out::line("  hull ps");
    out::line("  hull logs -f web");
}

/// Why the daemon of this machine could not start, if it has said so.
pub fn reason(context: &Context) -> Option<Error> {
    context.client.host().socket()?;
    let text = std::fs::read_to_string(word(&context.root)).ok()?;
    let (why, next) = text.trim_end().split_once('\n').unwrap_or((text.trim_end(), ""));
    let error = Error::unavailable(format!("the platform cannot start: {why}"));
    let next =
        if next.is_empty() { format!("read its log: {}", log(context)) } else { next.to_owned() };
    Some(error.next(next))
}

/// Where a daemon that cannot start says why.
fn word(root: &Path) -> PathBuf {
    root.join("run/hull/failure")
}

/// Whether the service manager of the machine runs the platform: systemd as process 1, the unit
/// installed, and the node that of the machine itself.
fn managed(context: &Context) -> bool {
    let unit = ["/etc/systemd/system/hull.service", "/usr/lib/systemd/system/hull.service"];
    context.root == Path::new("/")
        && Path::new("/run/systemd/system").exists()
        && unit.iter().any(|path| Path::new(path).exists())
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let status = Command::new("systemctl")
        .args(arguments)
        .status()
        .context(ErrorKind::Unavailable, || "systemctl cannot be run".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Error::unavailable(format!("systemctl {} failed", arguments.join(" ")))
        .next("journalctl -u hull.service"))
}

/// Where the daemon's log is read.
fn log(context: &Context) -> String {
    if managed(context) {
        return "journalctl -u hull".to_owned();
    }
    context.root.join("var/lib/hull/daemon.log").display().to_string()
}

fn supervise(root: &Path) -> Result<()> {
    let program = std::env::current_exe()
        .context(ErrorKind::Internal, || "cannot tell where hull is".into())?;
    let state = root.join("var/lib/hull");
    std::fs::create_dir_all(&state)
        .context(ErrorKind::Unavailable, || format!("cannot make {}", state.display()))?;
    let path = state.join("supervisor.log");
    let log = std::fs::File::create(&path)
        .context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))?;
    Command::new(program)
        .arg("supervise")
        .arg("--root")
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map(drop)
        .context(ErrorKind::Unavailable, || "the supervisor cannot be started".into())
}

/// Whether a supervisor of this root runs, and with it the daemon or its next start.
pub fn supervised(root: &Path) -> bool {
    let Ok(file) = std::fs::File::open(root.join("run/hull/supervisor.pid")) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Ends the supervisor and the daemon; false when none runs.
async fn end_supervisor(context: &Context) -> Result<bool> {
    let path = context.root.join("run/hull/supervisor.pid");
    let Ok(file) = std::fs::File::open(&path) else { return Ok(false) };
    // Whoever runs holds the lock: a pid in a file that nobody locks is nobody's.
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(false);
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let pid =
        text.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| {
            Error::internal(format!("{} does not hold a process id", path.display()))
        })?;
    rustix::process::kill_process(pid, Signal::TERM)
        .context(ErrorKind::Unavailable, || "the supervisor cannot be told to end".into())?;
    let waited = tokio::task::spawn_blocking(move || flock(&file, FlockOperation::LockShared));
    match tokio::time::timeout(PATIENCE, waited).await {
        Ok(_) => Ok(true),
        Err(_) => Err(Error::unavailable("the daemon takes long to stop")
            .next(format!("read its log: {}", log(context)))),
    }
}
