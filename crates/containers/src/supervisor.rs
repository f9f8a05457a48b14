//! containerd as a private child: started, adopted, watched, restarted.
//!
//! It runs with its own root, state and socket, in a session of its own, and outlives the daemon
//! that started it; so do its shims. The next daemon finds it by the record kept of it, or by its
//! command line when death came before the record, and takes it over if it is the same program
//! with the same configuration and answers. Otherwise it is ended and started anew, which stops no
//! container: shims don't depend on it.
//!
//! ```text
//!            adopt or start                 died, or silent too long
//!  (nothing) ──────────────> Answering ──────────────────────────────> Down ──┐
//!                               ^                                             │ wait, growing
//!                               └───────────────── start ─────────────────────┘
//! ```

mod configuration;
mod health;
mod identity;
mod places;
mod program;

use std::path::PathBuf;
use std::time::Duration;

use model::{Error, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::containerd::Containerd;
use crate::spec::Init;
use identity::Identity;
pub use places::Places;
use program::Program;
pub use program::Version;

/// How long a start may take before it has failed. Usually well under 150 ms; a machine that
/// recovers a large store after power loss takes longer.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long it is given to end by itself.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// The first wait before a start; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait before a start when the last one failed.
const LONGEST_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// The longest wait when the last one answered, and was lost soon after.
const LONGEST_AFTER_LOSS: Duration = Duration::from_secs(2);

/// After so long it counts as having worked: when it is lost then, there is no wait.
const WORKED: Duration = Duration::from_secs(10);

/// How containerd is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program; looked for in `PATH` if it has no slash, else taken with the shims beside it.
    pub containerd: PathBuf,
    /// Its lasting state: images, layers, records.
    pub state: PathBuf,
    /// Its run-time files: socket, shims' bundles, our pipes.
    pub run: PathBuf,
    /// The `hull` program, for its modes `log-driver` and `init`.
    pub program: PathBuf,
    /// The init given to containers that ask for one; one of the distribution's, else `program`
    /// itself, when absent.
    pub init: Option<Init>,
}

impl Settings {
    /// The usual programs, with state and run-time files in these directories.
    pub fn new(state: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|error| Error::internal("cannot tell where hull is").caused_by(error))?;
        Ok(Self {
            containerd: "containerd".into(),
            state: state.into(),
            run: run.into(),
            program,
            init: None,
        })
    }
}

/// Whether containerd answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It does, as this process.
    Answering {
        /// Its process id.
        pid: u32,
    },
    /// It died or hangs and will be started again.
    Down,
}

/// Keeps containerd running. Dropping it leaves containerd as it is, to be adopted later.
#[derive(Debug)]
pub struct Supervisor {
    engine: Containerd,
    version: Version,
    condition: watch::Receiver<Condition>,
    guard: JoinHandle<()>,
    keeper: Keeper,
}

impl Supervisor {
    /// Adopts the containerd that runs with these settings, or starts one; returns when it answers.
    ///
    /// # Errors
    /// `Unsupported` when there is no containerd or one of an unknown version, `Unavailable` when
    /// it does not start.
    pub async fn start(settings: Settings) -> Result<Self> {
        let places = Places::prepare(&settings)?;
        let program = program::find(&settings.containerd)?;
        let version = program::version(&program.file, &places).await?;
        let keeper = Keeper { places: places.clone(), program, version };
        let identity = keeper.adopt_or_start().await?;
        let engine = Containerd::connect(&settings, &places)?;
        engine.sweep().await?;
        let answering = Condition::Answering { pid: identity.pid };
        let (tell, condition) = watch::channel(answering);
        let guard = tokio::spawn(keeper.clone().guard(identity, tell));
        Ok(Self { engine, version, condition, guard, keeper })
    }

    /// The engine, for as long as anyone holds it.
    pub fn engine(&self) -> Containerd {
        self.engine.clone()
    }

    /// The version that was found at the start.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether containerd answers now; changes are told.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.clone()
    }

    /// Where its files are.
    pub fn places(&self) -> &Places {
        &self.keeper.places
    }

    /// Ends containerd. Containers go on, unseen, until the next start.
    pub async fn stop(self) -> Result<()> {
        self.guard.abort();
        match Identity::recorded(&self.keeper.places) {
            Some(identity) if identity.is_alive() => identity.end(STOP_DEADLINE).await,
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

/// What is needed to start containerd and to know it again.
#[derive(Debug, Clone)]
struct Keeper {
    places: Places,
    program: Program,
    version: Version,
}

impl Keeper {
    async fn adopt_or_start(&self) -> Result<Identity> {
        let configuration = configuration::render(&self.places, self.version);
        let unchanged = std::fs::read_to_string(&self.places.configuration)
            .is_ok_and(|written| written == configuration);
        let found = Identity::recorded(&self.places)
            .filter(Identity::is_alive)
            .or_else(|| Identity::by_command_line(&self.places));
        if let Some(identity) = found {
            let same = unchanged && identity.runs(&self.program.file);
            if same && health::answers(&self.places.socket).await {
                identity.record(&self.places)?;
                info!(pid = identity.pid, "adopted containerd");
                return Ok(identity);
            }
            warn!(pid = identity.pid, same, "containerd is replaced");
            identity.end(STOP_DEADLINE).await?;
        }
        places::write(&self.places.configuration, &configuration)?;
        self.start().await
    }

    /// Starts it and waits until it answers.
    async fn start(&self) -> Result<Identity> {
        let begun = std::time::Instant::now();
        let identity = program::spawn(&self.program, &self.places)?;
        identity.record(&self.places)?;
        health::until_it_answers(&self.places, &identity, START_DEADLINE).await?;
        let took = begun.elapsed().as_millis() as u64;
        info!(pid = identity.pid, took, "started containerd");
        Ok(identity)
    }

    /// Restarts it whenever it is gone or silent, for ever.
    async fn guard(self, mut identity: Identity, tell: watch::Sender<Condition>) {
        let mut wait = Duration::ZERO;
        loop {
            let since = std::time::Instant::now();
            let why = health::until_lost(&self.places.socket, &identity).await;
            warn!(pid = identity.pid, why, "containerd is lost");
            tell.send_replace(Condition::Down);
            if since.elapsed() > WORKED {
                wait = Duration::ZERO;
            }
            tokio::time::sleep(wait).await;
            wait = LONGEST_AFTER_LOSS.min(wait * 2).max(FIRST_WAIT);
            identity = self.replace_until_it_answers(&identity).await;
            tell.send_replace(Condition::Answering { pid: identity.pid });
        }
    }

    async fn replace_until_it_answers(&self, lost: &Identity) -> Identity {
        let mut wait = FIRST_WAIT;
        loop {
            match self.replace(lost).await {
                Ok(identity) => return identity,
                Err(error) => warn!(error = error.chain(), "containerd cannot be started"),
            }
            tokio::time::sleep(wait).await;
            wait = LONGEST_AFTER_FAILURE.min(wait * 2);
        }
    }

    async fn replace(&self, lost: &Identity) -> Result<Identity> {
        if lost.is_alive() {
            lost.end(STOP_DEADLINE).await?;
        }
        // The try before may have left one that was too slow: it answers by now, or it is ended. Two on
        // the same state would undo each other's work.
        self.adopt_or_start().await
    }
}
