//! Process 1 of a machine's walls.
//!
//! It begins as root with five capabilities, opens what only root may (the taps, the sockets on which
//! its guest's DHCP is answered), becomes the machine's own user, which drops them all, and starts QEMU,
//! whose terminal is its own: the guest's serial line. From then on it waits: for QEMU's end, for what
//! QEMU tells of its guest, and for the signal that asks for a shutdown.
//!
//! ```text
//!            SIGTERM                    guest powers off
//!  running ──────────> powering down ──────────────────> exit 0
//!     │  ^ reset            │ SIGKILL, after the time given, by whoever sent SIGTERM
//!     │  └──┘ counted       v
//!     ├── guest panics ──> exit 70
//!     ├── a shared directory's server ends ──> powering down ──> exit 74
//!     └── QEMU fails ────> its exit code, or 128 and the signal
//! ```

mod cards;
mod open;
mod shares;
mod told;
mod tpm;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use model::error::Context;
use model::instance::MachineEnd;
use model::{ErrorKind, Result};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use cards::{Card, tell_card};
pub use told::Told;

use crate::config::{CONFIG, DIRECTORY, Disk, MachineConfig};
use crate::dhcp;
use crate::qemu::{self, Inherited};
use crate::qmp::{Event, Qmp};

/// The word that makes the program a machine's monitor.
pub const MODE: &str = "machine";

/// Exit code of a machine whose guest panicked (sysexits(3), `EX_SOFTWARE`).
pub const PANICKED: i32 = 70;
/// Exit code of a machine that could not be started (sysexits(3), `EX_OSERR`).
const NOT_STARTED: i32 = 71;
/// Exit code of a machine that lost a shared directory (sysexits(3), `EX_IOERR`).
pub const SHARE_LOST: i32 = 74;
/// How long a guest may take to shut down that waits for a directory which nobody serves any more.
const SHARE_LOST_PATIENCE: Duration = Duration::from_secs(20);
/// A guest that is still starting does not hear the power button; it is pressed again after this.
const PRESS_AGAIN: Duration = Duration::from_secs(2);
/// How long reading a saved state may take.
const LOADING: Duration = Duration::from_secs(600);
/// How often a machine that stands still, as a disk has no room, is let go on: there may be some now.
const ROOM: Duration = Duration::from_secs(5);
/// How long QEMU may take from its last word to its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the machine of these walls to its end; returns the exit code.
pub fn run() -> i32 {
    match prepare().and_then(Prepared::run) {
        Ok(code) => code,
        Err(error) => {
            // The walls' terminal is the machine's log.
            eprint(&format!("hull machine: {}\r\n", error.chain()));
            NOT_STARTED
        }
    }
}

#[expect(clippy::print_stderr, reason = "standard error is the machine's log")]
fn eprint(text: &str) {
    eprint!("{text}");
}

/// What was opened while it was allowed.
struct Prepared {
    config: MachineConfig,
    taps: Vec<OwnedFd>,
    dhcp: dhcp::Server,
    shares: Vec<shares::Server>,
}

fn prepare() -> Result<Prepared> {
    let path = Path::new(DIRECTORY).join(CONFIG);
    let text = std::fs::read(&path)
        .context(ErrorKind::Internal, || format!("{} cannot be read", path.display()))?;
    let config: MachineConfig = serde_json::from_slice(&text)
        .context(ErrorKind::Internal, || format!("{} is damaged", path.display()))?;
    let taps = config.nics.iter().map(open::tap).collect::<Result<_>>()?;
    let dhcp = dhcp::Server::open(&config.nics)?;
    open::give_devices(&config)?;
    let shares = shares::serve(&config.shares, &config.share_server)?;
    open::become_user(config.user)?;
    Ok(Prepared { config, taps, dhcp, shares })
}

impl Prepared {
    fn run(self) -> Result<i32> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(ErrorKind::Exhausted, || "a runtime cannot be made".to_owned())?;
        runtime.block_on(self.watch())
    }

    async fn watch(self) -> Result<i32> {
        let failed = || "the machine's control socket cannot be made".to_owned();
        let (ours, theirs) =
            std::os::unix::net::UnixStream::pair().context(ErrorKind::Exhausted, failed)?;
        let theirs = OwnedFd::from(theirs);
        let tpm = self.config.tpm.then(tpm::Tpm::start).transpose()?;
        let inherited = Inherited {
            control: theirs.as_raw_fd(),
            taps: self.taps.iter().map(AsRawFd::as_raw_fd).collect(),
            tpm: tpm.as_ref().map(|tpm| tpm.line.as_raw_fd()),
            shares: self.shares.iter().map(|share| share.line.as_raw_fd()).collect(),
        };
        open::inherit(self.taps.iter().chain([&theirs]).chain(tpm.as_ref().map(|tpm| &tpm.line)))?;
        open::inherit(self.shares.iter().map(|share| &share.line))?;
        let mut child = Command::new(&self.config.program)
            .args(qemu::arguments(&self.config, &inherited))
            .env_clear()
            .kill_on_drop(true)
            .spawn()
            .context(ErrorKind::Unavailable, || {
                format!("{} cannot be started", self.config.program.display())
            })?;
        drop((theirs, self.taps));
        // What leads to them is QEMU's alone: they end with it.
        let mut servers = JoinSet::new();
        for share in self.shares {
            servers.spawn(share.process.ended());
        }
        ours.set_nonblocking(true).context(ErrorKind::Internal, failed)?;
        let ours = UnixStream::from_std(ours).context(ErrorKind::Internal, failed)?;
        let mut watch = Watch { told: Told::default() };
        let mut cards = JoinSet::new();
        cards.spawn(cards::serve(cards::listen()?, self.dhcp.start()));
        watch.follow(&self.config, &mut child, ours, servers).await
    }
}

struct Watch {
    told: Told,
}

impl Watch {
    async fn follow(
        &mut self,
        config: &MachineConfig,
        child: &mut Child,
        control: UnixStream,
        mut servers: JoinSet<String>,
    ) -> Result<i32> {
        let hear = |kind| {
            signal(kind).context(ErrorKind::Internal, || "signals cannot be heard".to_owned())
        };
        let mut terminate = hear(SignalKind::terminate())?;
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut asked = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let mut powering_down = false;
        self.told.write()?;
        let connected = Qmp::over(control);
        tokio::pin!(connected);
        let qmp = loop {
            tokio::select! {
                status = child.wait() => return self.ended(status),
                qmp = &mut connected => break qmp?,
                () = asked() => powering_down = true,
            }
        };
        let mut events = qmp.events();
        bound(&qmp, &config.disks).await?;
        if let Some(state) = &config.resume {
            go_on(&qmp, config, state).await?;
        }
        if powering_down {
            press_power_button(&qmp).await;
        }
        let mut again = tokio::time::interval(PRESS_AGAIN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        again.reset();
        let mut room = tokio::time::interval(ROOM);
        room.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let end = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => {
                    let stood = self.told.full.is_some();
                    self.hear(&event)?;
                    if !stood && self.told.full.is_some() {
                        room.reset();
                    }
                }
                status = child.wait() => {
                    self.last_words(&mut events).await?;
                    return self.ended(status);
                }
                () = asked() => {
                    powering_down = true;
                    press_power_button(&qmp).await;
                    again.reset();
                }
                _ = again.tick(), if powering_down => press_power_button(&qmp).await,
                _ = room.tick(), if self.told.full.is_some() => self.go_on(&qmp).await?,
                Some(Ok(target)) = servers.join_next(), if self.told.lost.is_none() => {
                    // They end with QEMU, whose end may be seen a moment later.
                    if let Ok(status) = tokio::time::timeout(LAST_WORDS, child.wait()).await {
                        self.last_words(&mut events).await?;
                        return self.ended(status);
                    }
                    self.lost(target)?;
                    end.as_mut().reset(Instant::now() + SHARE_LOST_PATIENCE);
                    powering_down = true;
                    press_power_button(&qmp).await;
                    again.reset();
                }
                () = &mut end, if self.told.lost.is_some() => {
                    child.start_kill().context(ErrorKind::Internal, || "QEMU was not ended".into())?;
                    let status = child.wait().await;
                    return self.ended(status);
                }
            }
        }
    }

    fn hear(&mut self, event: &Event) -> Result<()> {
        if self.told.hear(event) {
            self.told.write()?;
        }
        Ok(())
    }

    /// Lets a machine go on that a full disk stopped. One that has run since has found room.
    async fn go_on(&mut self, qmp: &Qmp) -> Result<()> {
        let Ok(status) = qmp.query_status().await else { return Ok(()) };
        if status.status == "io-error" {
            // Where there is no room yet it stands still again at once, and tells so.
            let _ = qmp.cont().await;
        } else if status.running {
            self.told.full = None;
            self.told.write()?;
        }
        Ok(())
    }

    /// Nobody serves a shared directory any more, and QEMU cannot be led to another server: what the guest
    /// asks of it hangs. It is a fault of the machine, as a disk's would be.
    fn lost(&mut self, target: String) -> Result<()> {
        eprint(&format!(
            "hull machine: the server of the shared directory {target} ended; shutting down\r\n"
        ));
        self.told.lost = Some(target);
        self.told.write()
    }

    /// Events that were on their way when QEMU ended.
    async fn last_words(&mut self, events: &mut crate::qmp::Events) -> Result<()> {
        while let Ok(Some(event)) = tokio::time::timeout(LAST_WORDS, events.recv()).await {
            self.hear(&event)?;
        }
        Ok(())
    }

    fn ended(&mut self, status: std::io::Result<ExitStatus>) -> Result<i32> {
        let status =
            status.context(ErrorKind::Internal, || "QEMU's end was not seen".to_owned())?;
        let (end, code) = match self.told.lost {
            Some(_) => (MachineEnd::Crash, SHARE_LOST),
            None => judge(self.told.end, status),
        };
        self.told.end = Some(end);
        self.told.write()?;
        Ok(code)
    }
}

/// Bounds the disks that are to be. The guest has hardly begun by then.
async fn bound(qmp: &Qmp, disks: &[Disk]) -> Result<()> {
    for disk in disks.iter().filter(|disk| disk.iops > 0 || disk.bps > 0) {
        qmp.block_throttle(&qemu::bounded_device(disk), disk.iops, disk.bps).await?;
    }
    Ok(())
}

/// Goes on from a saved state.
async fn go_on(qmp: &Qmp, config: &MachineConfig, state: &str) -> Result<()> {
    let disks: Vec<String> = config.kept_disks().map(|disk| qemu::node_name(&disk.name)).collect();
    qmp.snapshot_load(state, &qemu::node_name("root"), &disks, LOADING).await?;
    qmp.cont().await
}

async fn press_power_button(qmp: &Qmp) {
    // One that stands still, as a save that was cut short leaves it, hears no button.
    let _ = qmp.cont().await;
    if let Err(error) = qmp.system_powerdown().await {
        // A QEMU that no longer listens ends, and is waited for.
        tracing::debug!(error = error.chain(), "the power button was not pressed");
    }
}

/// How the run ended, by what QEMU told before its end and how it ended.
fn judge(told: Option<MachineEnd>, status: ExitStatus) -> (MachineEnd, i32) {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    match told {
        Some(MachineEnd::Panic) => (MachineEnd::Panic, PANICKED),
        Some(end @ (MachineEnd::Shutdown | MachineEnd::Saved)) if code == 0 => (end, 0),
        Some(MachineEnd::Shutdown | MachineEnd::Saved | MachineEnd::Crash) | None => {
            // One that ends well without a word was told to quit.
            (MachineEnd::Crash, code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let killed = ExitStatus::from_raw(9);
        for (told, status, expected) in [
            (Some(MachineEnd::Shutdown), exit(0), (MachineEnd::Shutdown, 0)),
            (Some(MachineEnd::Saved), exit(0), (MachineEnd::Saved, 0)),
            (Some(MachineEnd::Panic), exit(0), (MachineEnd::Panic, PANICKED)),
            (Some(MachineEnd::Shutdown), killed, (MachineEnd::Crash, 137)),
            (None, exit(1), (MachineEnd::Crash, 1)),
            (None, killed, (MachineEnd::Crash, 137)),
        ] {
            assert_eq!(judge(told, status), expected, "{told:?} {status:?}");
        }
    }
}
