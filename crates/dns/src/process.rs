//! The name server as a process of its own, which answers on while the platform is stopped, killed or
//! replaced: names are what instances reach each other by.
//!
//! The platform starts it with the first network, finds it again after a restart, and tells it every
//! change over a socket in its directory. A platform that finds one of an older program starts a new
//! one beside it; both answer until the old one leaves, so that no question is lost.

mod link;
mod serve;
mod wire;

pub use serve::serve;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use self::link::Link;
use self::wire::Program;
use crate::name_server::{Listening, NameServer};
use crate::zones::Zones;

/// The socket in the server's directory.
const SOCKET: &str = "server.sock";
/// The locked file that holds its process id.
const PID_FILE: &str = "server.pid";
/// What a server says on its standard output once it can be spoken to.
const READY: &[u8] = b"ready\n";
/// How long a server may take to start; programs start slowly while a machine boots.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the process is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program and the words that make it call [`serve`] with this directory.
    pub command: Vec<OsString>,
    /// Where its socket is; made if it is missing, for nobody else to enter.
    pub directory: PathBuf,
    /// Where it writes what it has to say.
    pub log: PathBuf,
}

/// A name server in another process.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    link: Mutex<Option<Link>>,
    lost: Arc<Notify>,
}

impl Process {
    /// Starts nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, link: Mutex::default(), lost: Arc::default() }
    }

    /// A conversation with the server: with the one that runs, or with a new one if there is none. None
    /// if there is none and `start` is not set.
    async fn reach(&self, start: bool) -> Result<Option<Link>> {
        let socket = self.settings.directory.join(SOCKET);
        match Link::open(&socket, self.lost.clone()).await {
            Ok(link) if link.program == Program::own() => Ok(Some(link)),
            Ok(old) => {
                tracing::info!("the name server is of another program; a new one takes its place");
                let new = self.start(true).await?;
                Ok(Some(new.after(old)))
            }
            Err(_) if start => self.start(false).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn start(&self, beside: bool) -> Result<Link> {
        let failed = || "the name server cannot be started".to_owned();
        make_private(&self.settings.directory).context(ErrorKind::Unavailable, failed)?;
        let log = std::fs::File::options().create(true).append(true).open(&self.settings.log);
        let log = log.context(ErrorKind::Unavailable, failed)?;
        let [program, words @ ..] = self.settings.command.as_slice() else {
            return Err(Error::internal("the name server has no program"));
        };
        let mut child = Command::new(program)
            .arg0("hull")
            .args(words)
            .arg(&self.settings.directory)
            .args(beside.then_some("--beside"))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Not ended with us by a terminal; dropping its handle leaves it running.
            .process_group(0)
            .spawn()
            .context(ErrorKind::Unavailable, failed)?;
        let mut word = [0; READY.len()];
        let ready = async {
            match &mut child.stdout {
                Some(output) => output.read_exact(&mut word).await,
                None => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        };
        let log = self.settings.log.display();
        match timeout(PATIENCE, ready).await {
            Ok(Ok(_)) if word == READY => {}
            _ => {
                // It has ended already, most likely.
                let _ = child.start_kill();
                return Err(Error::unavailable(failed()).next(format!("see {log}")));
            }
        }
        Link::open(&self.settings.directory.join(SOCKET), self.lost.clone())
            .await
            .context(ErrorKind::Unavailable, failed)
    }
}

#[async_trait]
impl NameServer for Process {
    async fn publish(&self, zones: Arc<Zones>) -> Result<Listening> {
        let mut kept = self.link.lock().await;
        if let Some(mut link) = kept.take()
            && let Ok(listening) = link.publish(&zones).await
        {
            *kept = Some(link);
            return Ok(listening);
        }
        // Nobody asks where there is no network.
        let Some(mut link) = self.reach(!zones.networks.is_empty()).await? else {
            return Ok(Listening::default());
        };
        let listening = link
            .publish(&zones)
            .await
            .context(ErrorKind::Unavailable, || "the name server does not take names".into())?;
        *kept = Some(link);
        Ok(listening)
    }

    async fn forgotten(&self) {
        self.lost.notified().await;
    }
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
}
