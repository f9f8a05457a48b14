//! BuildKit's daemon, while it runs: in namespaces of its own, which end with it, and with this process
//! however that ends.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::config::{self, Mirror, Registry, Told};
use super::control::{Control, Fresh, Taken};
use super::programs::{self, Programs};
use super::proxy::{self, Connection, Upstream};
use super::session::{self, Session, TakeIn};
use crate::cgroup::Cgroup;
use crate::job::Limits;
use crate::process::ENTER;

/// How long it may take to answer after its start: its store may be large and the disk slow.
const PATIENCE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(20);
/// How long its end may take.
const FAREWELL: Duration = Duration::from_secs(20);
/// Longest path of a socket (unix(7), `sun_path`, with its end).
const LONGEST_SOCKET: usize = 107;
/// Names of its sockets.
const SOCKET: &str = "buildkitd.sock";
const TRACES: &str = "traces.sock";
/// Bytes of the end of its log that are looked at.
const TAIL: usize = 4 << 10;

/// The first process of its namespaces. It ends, and all others with it, when the daemon ends or when
/// standard input does, which is when whoever started it is gone. Mounts: the namespace's resolv.conf, and
/// a place for what the runtime writes down of steps.
const INIT: &str = "\
    if [ -e /etc/resolv.conf ]; then mount --bind \"$1\" /etc/resolv.conf || exit 1; fi; shift
    mkdir -p /run/runc && mount -t tmpfs -o mode=0700 tmpfs /run/runc || exit 1
    exec 3<&0; trap 'exit 1' TERM
    { \"$@\" </dev/null 3<&-; kill -TERM 1; } &
    cat <&3 >/dev/null & wait $!";

/// What the daemon is started with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Where it keeps what outlives it.
    pub room: &'a Path,
    /// Where its sockets are.
    pub run: &'a Path,
    /// The cgroup that it and its steps are in.
    pub cgroup: &'a str,
    /// A file that leads to its network namespace.
    pub namespace: &'a Path,
    /// What is asked there for names: resolv.conf(5).
    pub resolv_conf: &'a str,
    /// The host's address there.
    pub gateway: &'a str,
    /// Where it gets images.
    pub mirror: &'a Mirror,
    /// Registries by name.
    pub registries: &'a BTreeMap<String, Registry>,
}

/// BuildKit's daemon. It ends with this.
pub struct Daemon {
    child: Mutex<Child>,
    socket: PathBuf,
    /// None when it has been taken away.
    cgroup: std::sync::Mutex<Option<Cgroup>>,
    taken: Arc<Taken>,
    fresh: Fresh,
    gateway: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; it answers when this returns.
    ///
    /// # Errors
    /// `Unavailable` when it ends or does not answer, with what it said last.
    pub async fn start(start: &Start<'_>, fresh: Fresh) -> Result<Self> {
        let sockets = sockets(start.run);
        for directory in [start.room, &sockets] {
            private(directory)?;
        }
        let (log, resolv) = (start.room.join("log"), start.room.join("resolv.conf"));
        let settings = start.room.join("buildkitd.toml");
        let socket = sockets.join(SOCKET);
        let told = Told {
            root: &start.room.join("root"),
            socket: &socket,
            traces: &sockets.join(TRACES),
            runc: &start.programs.runc,
            cgroup: start.cgroup,
            mirror: start.mirror,
            registries: start.registries,
        };
        secret(&settings, &config::file(&told)?)?;
        secret(&resolv, start.resolv_conf)?;
        let _ = std::fs::remove_file(&socket);
        let limits = Limits::default();
        // Its steps are in cgroups beside it: the bound is on all of them together.
        Cgroup::make(start.cgroup, &limits)?;
        let cgroup = Cgroup::make(&format!("{}/daemon", start.cgroup), &limits)?;
        let mut words = cgroup.entries();
        words.extend(["--".into(), "nsenter".into()]);
        words.push(format!("--net={}", start.namespace.display()));
        let walls = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
        words.extend(walls.map(str::to_owned));
        words.extend(["--", "sh", "-c", INIT, "buildkit"].map(str::to_owned));
        words.push(resolv.display().to_string());
        words.push(start.programs.daemon.display().to_string());
        words.extend(["--config".into(), settings.display().to_string()]);
        let output = std::fs::File::create(&log)
            .context(ErrorKind::Exhausted, || format!("{} cannot be made", log.display()))?;
        let errors = output.try_clone().context(ErrorKind::Internal, || "a log got lost".into())?;
        let path = std::env::join_paths(programs::directories()).unwrap_or_default();
        let child = Command::new("sh")
            .args(["-c", ENTER, "build"])
            .args(words)
            .env_clear()
            .env("PATH", path)
            .env("HOME", start.room)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .current_dir("/")
            .kill_on_drop(true)
            .spawn()
            .context(ErrorKind::Internal, || "BuildKit cannot be run".to_owned())?;
        let (child, cgroup) = (Mutex::new(child), std::sync::Mutex::new(Some(cgroup)));
        let (taken, gateway) = (Arc::default(), start.gateway.to_owned());
        let daemon = Self { child, socket, cgroup, taken, fresh, gateway, log };
        daemon.answers().await?;
        Ok(daemon)
    }

    /// Whether it runs still, and listens: who was killed a moment ago may have its namespaces still.
    pub async fn is_alive(&self) -> bool {
        self.runs().await && UnixStream::connect(&self.socket).await.is_ok()
    }

    async fn runs(&self) -> bool {
        matches!(self.child.lock().await.try_wait(), Ok(None))
    }

    /// Ends it, and waits until all that it started has ended and its cgroup is gone: the next one's has the
    /// same name.
    pub async fn end(&self) {
        let mut child = self.child.lock().await;
        // The first process of its namespaces reads this.
        drop(child.stdin.take());
        if tokio::time::timeout(FAREWELL, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        if let Some(cgroup) = self.take_cgroup() {
            cgroup.remove_with_parent().await;
        }
    }

    fn take_cgroup(&self) -> Option<Cgroup> {
        self.cgroup.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    async fn answers(&self) -> Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if UnixStream::connect(&self.socket).await.is_ok() {
                return Ok(());
            }
            if !self.runs().await {
                let told = last_line(&self.log);
                return Err(Error::unavailable(format!("BuildKit ended at its start: {told}"))
                    .next(format!("read all it said: {}", self.log.display())));
            }
            if tokio::time::Instant::now() > end {
                return Err(Error::unavailable("BuildKit does not answer")
                    .next(format!("read what it says: {}", self.log.display())));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    pub(crate) async fn connect(&self) -> Result<(Upstream, Connection)> {
        let gone = || "BuildKit does not answer".to_owned();
        let stream =
            UnixStream::connect(&self.socket).await.context(ErrorKind::Unavailable, gone)?;
        Upstream::over(stream).await.context(ErrorKind::Unavailable, gone)
    }

    /// Answers a client that speaks to BuildKit, until it leaves; what it asked for ends then.
    ///
    /// # Errors
    /// `Unavailable` when the daemon is gone.
    pub async fn control(&self, client: UnixStream) -> Result<()> {
        let (kit, mut connection) = self.connect().await?;
        let control = Control::new(kit, self.taken.clone(), self.fresh.clone(), &self.gateway);
        tokio::select! {
            () = proxy::serve(client, move |request| control.clone().answer(request)) => {}
            () = connection.ended() => {}
        }
        Ok(())
    }

    /// Has the daemon ask a client, until that leaves. `headers` are those that the client began with;
    /// images are handed to `take_in`.
    ///
    /// # Errors
    /// `Unavailable` when the daemon or the client is gone.
    pub async fn session(
        &self,
        client: UnixStream,
        headers: &HeaderMap,
        take_in: TakeIn,
    ) -> Result<()> {
        let (kit, mut connection) = self.connect().await?;
        let over = Upstream::over(client).await;
        let (client, mut clients) =
            over.context(ErrorKind::Unavailable, || "a build's client has gone".to_owned())?;
        let session = Session::new(client, headers, self.taken.clone(), take_in);
        tokio::select! {
            () = session.hold(&kit, session::metadata(headers)) => {}
            () = connection.ended() => {}
            () = clients.ended() => {}
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Killing the outermost process ends all that are in its namespace.
        // Its socket stays: another may listen there by now.
        let _ = self.child.get_mut().start_kill();
        if let (Some(cgroup), Ok(runtime)) =
            (self.take_cgroup(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(cgroup.remove_with_parent());
        }
    }
}

/// The directory itself, or where its path is too long for sockets, a short one that the path determines.
fn sockets(run: &Path) -> PathBuf {
    if run.join(SOCKET).as_os_str().len() < LONGEST_SOCKET {
        return run.to_owned();
    }
    let digest = Sha256::digest(run.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    PathBuf::from(format!("/run/hull-{name}"))
}

fn private(directory: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let set =
        made.and_then(|()| std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700)));
    set.context(ErrorKind::Internal, || format!("{} cannot be made", directory.display()))
}

/// Writes a file that only root reads; its directory is root's alone.
fn secret(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)))
        .context(ErrorKind::Exhausted, || format!("{} cannot be written", path.display()))
}

fn last_line(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned();
    let line = tail.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it said nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_fit_their_address() {
        assert_eq!(sockets(Path::new("/run/hull/build")), Path::new("/run/hull/build"));
        let long = PathBuf::from(format!("/{}", "x".repeat(200)));
        assert!(sockets(&long).join(SOCKET).as_os_str().len() < LONGEST_SOCKET);
        assert_eq!(sockets(&long), sockets(&long));
    }

    #[test]
    fn what_was_said_last() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(last_line(&log), "it said nothing");
        std::fs::write(&log, format!("{}\nbuildkitd: no root\n\n", "x".repeat(TAIL))).unwrap();
        assert_eq!(last_line(&log), "buildkitd: no root");
    }
}
