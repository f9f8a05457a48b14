//! The run of a machine in which something is asked of its guest. It may end first, and nobody in the guest
//! can tell then.

use std::sync::Arc;
use std::time::Duration;

use model::instance::{ContainerState, MachineEnd};
use model::{Error, Time};
use tokio::sync::watch;

use crate::calls::Found;
use crate::local::Local;

/// How long after its guest fell silent a run's end is known.
const SOON: Duration = Duration::from_secs(3);

/// One run of a machine, up to a restart of its guest.
pub struct Run {
    known: watch::Receiver<Arc<Local>>,
    name: String,
    container: String,
    began: Option<Time>,
    reboots: u32,
}

impl Run {
    /// The present one.
    pub(super) fn of(found: &Found) -> Self {
        let known = found.handle.known.clone();
        let container = found.container.name.clone();
        let local = known.borrow().clone();
        Self {
            name: found.instance.meta.name.clone(),
            began: local.status.container(&container).and_then(|seen| seen.started),
            reboots: local.status.machine.as_ref().map_or(0, |machine| machine.reboots),
            known,
            container,
        }
    }

    /// Waits until it is over; tells how it ended.
    pub async fn over(&mut self) -> Error {
        loop {
            let local = self.known.borrow_and_update().clone();
            if let Some(how) = self.end(&local) {
                let name = &self.name;
                return Error::unavailable(format!("machine {name:?} {how} meanwhile"))
                    .next(format!("see what it said last: hull logs {name}"));
            }
            if self.known.changed().await.is_err() {
                return Error::unavailable(format!(
                    "machine {:?} was removed meanwhile",
                    self.name
                ));
            }
        }
    }

    /// Why something failed in the guest: perhaps as the run is over, which is known a little later.
    pub async fn explains(&mut self, error: Error) -> Error {
        tokio::time::timeout(SOON, self.over()).await.unwrap_or(error)
    }

    fn end(&self, local: &Local) -> Option<&'static str> {
        let machine = local.status.machine.clone().unwrap_or_default();
        let runs = local.status.container(&self.container).is_some_and(|seen| {
            let live = match seen.state {
                ContainerState::Running | ContainerState::Paused => true,
                ContainerState::Waiting | ContainerState::Exited => false,
            };
            live && seen.started == self.began
        });
        match machine.end {
            None if runs => (machine.reboots != self.reboots).then_some("was restarted"),
            None => Some("ended"),
            Some(MachineEnd::Shutdown) => Some("shut down"),
            Some(MachineEnd::Panic) => Some("ended, as its kernel panicked,"),
            Some(MachineEnd::Saved) => Some("was saved and stopped"),
            Some(MachineEnd::Crash) => Some("ended, as QEMU did,"),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::instance::{ContainerStatus, MachineStatus};

    use super::*;

    #[test]
    fn a_run_is_over_when_its_guest_is_another() {
        let began = Some(Time::from_unix(1000, 0));
        let (_wishes, known) = watch::channel(Arc::new(Local::default()));
        let run =
            Run { known, name: "vm".to_owned(), container: "main".to_owned(), began, reboots: 1 };
        let seen = |state, started, end, reboots| {
            let mut local = Local::default();
            let main = ContainerStatus {
                name: "main".to_owned(),
                state,
                started: Some(Time::from_unix(started, 0)),
                ..ContainerStatus::default()
            };
            local.status.containers = vec![main];
            local.status.machine = Some(MachineStatus { end, reboots, ..MachineStatus::default() });
            run.end(&local)
        };
        use ContainerState::{Exited, Paused, Running};
        assert_eq!(seen(Running, 1000, None, 1), None);
        assert_eq!(seen(Paused, 1000, None, 1), None);
        assert_eq!(seen(Running, 1000, None, 2), Some("was restarted"));
        assert_eq!(seen(Running, 1001, None, 0), Some("ended"));
        assert_eq!(seen(Running, 1000, Some(MachineEnd::Shutdown), 1), Some("shut down"));
        assert_eq!(seen(Exited, 1000, None, 1), Some("ended"));
        assert!(run.end(&Local::default()).is_some());
    }
}
