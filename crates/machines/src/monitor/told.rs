//! What the monitor saw of its guest, kept where the platform finds it, whether it runs or not.

use std::path::Path;
use std::time::{Duration, Instant};

use model::error::Context;
use model::instance::MachineEnd;
use model::{ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::config::{DIRECTORY, RUN, TOLD};
use crate::qmp::Event;

/// Largest file that is read as one: the directory is writable by QEMU's user.
const LARGEST: u64 = 32 << 10;

/// A kernel asks for its restart again and again until it comes, which is more often the longer QEMU's
/// devices take to stop; none starts and ends within this.
const ONE_RESTART: Duration = Duration::from_millis(500);

/// What was seen in this run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Times the guest restarted itself.
    pub reboots: u32,
    /// Times the watchdog did.
    pub watchdog: u32,
    /// Devices that the guest has given up.
    pub gone: u32,
    /// How the run ended, or is about to.
    pub end: Option<MachineEnd>,
    /// The shared directory whose server ended, which ends the machine.
    pub lost: Option<String>,
    /// The disk that had no room for what the guest wrote: the guest stands still until there is some.
    pub full: Option<String>,
    /// When the guest asked for a restart last.
    #[serde(skip)]
    asked: Option<Instant>,
}

impl Told {
    /// Reads what the monitor of a machine wrote; nothing if it wrote nothing, or nonsense.
    pub fn read(directory: &Path) -> Self {
        use std::io::Read;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::File::options();
        // A guest that broke out of QEMU must not make the platform wait on a pipe or read another file.
        options.read(true).custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed(),
        );
        let mut text = Vec::new();
        let read = options
            .open(directory.join(TOLD))
            .and_then(|file| file.take(LARGEST).read_to_end(&mut text));
        match read {
            Ok(_) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => Self::default(),
        }
    }

    /// Takes an event in; whether that changed anything.
    pub(super) fn hear(&mut self, event: &Event) -> bool {
        let before = self.clone();
        match event {
            Event::Reset { guest: true, .. } => {
                let again = self.asked.is_some_and(|asked| asked.elapsed() < ONE_RESTART);
                self.asked = Some(Instant::now());
                if again {
                    return false;
                }
                self.reboots += 1;
            }
            Event::DeviceDeleted { device } if !device.is_empty() => self.gone += 1,
            Event::Watchdog { .. } => self.watchdog += 1,
            Event::BlockIoError { device, action, .. } if action == "stop" => {
                self.full = Some(device.strip_prefix("d-").unwrap_or(device).to_owned());
            }
            Event::GuestPanicked { .. } => self.end = Some(MachineEnd::Panic),
            Event::Shutdown { reason, .. } => {
                let end = match reason.as_str() {
                    "guest-panic" => MachineEnd::Panic,
                    // The platform tells QEMU to quit once a state is saved, and never else.
                    "host-qmp-quit" => MachineEnd::Saved,
                    _ => MachineEnd::Shutdown,
                };
                // A panic is followed by a shutdown.
                self.end = self.end.or(Some(end));
            }
            _ => {}
        }
        *self != before
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self) -> Result<()> {
        let directory = Path::new(DIRECTORY);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory.join(RUN))?;
            serde_json::to_writer(&mut file, self)?;
            file.persist(directory.join(TOLD)).map(drop).map_err(|error| error.error)
        };
        write().context(ErrorKind::Unavailable, || {
            format!("{} cannot be written", directory.join(TOLD).display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_asked_for_many_times_is_one() {
        let mut told = Told::default();
        let reset = Event::Reset { guest: true, reason: "guest-reset".to_owned() };
        assert!(told.hear(&reset));
        assert!(!told.hear(&reset));
        assert_eq!(told.reboots, 1);
        told.asked = Instant::now().checked_sub(ONE_RESTART);
        assert!(told.hear(&reset));
        assert_eq!(told.reboots, 2);
    }

    #[test]
    fn a_disk_without_room_is_told() {
        let error = |action: &str| Event::BlockIoError {
            device: "d-data".to_owned(),
            operation: "write".to_owned(),
            action: action.to_owned(),
            full: true,
        };
        let mut told = Told::default();
        assert!(!told.hear(&error("report")));
        assert!(told.hear(&error("stop")));
        assert_eq!(told.full.as_deref(), Some("data"));
    }
}
