//! Run, pause, power button, end.

use model::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Qmp;

/// Whether the machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Its processors run.
    pub running: bool,
    /// `running`, `paused`, `prelaunch`, `shutdown`, `guest-panicked`, `io-error`, `suspended`…
    pub status: String,
}

impl Qmp {
    /// Whether the machine runs.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn query_status(&self) -> Result<Status> {
        self.query("query-status", Value::Null).await
    }

    /// Presses the power button. The guest does with it what it likes.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn system_powerdown(&self) -> Result<()> {
        self.command("system_powerdown", Value::Null).await
    }

    /// Starts the machine anew, as its reset button does.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn system_reset(&self) -> Result<()> {
        self.command("system_reset", Value::Null).await
    }

    /// Wakes a guest that sleeps.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn system_wakeup(&self) -> Result<()> {
        self.command("system_wakeup", Value::Null).await
    }

    /// Stops the processors.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn stop(&self) -> Result<()> {
        self.command("stop", Value::Null).await
    }

    /// Lets the processors run.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn cont(&self) -> Result<()> {
        self.command("cont", Value::Null).await
    }

    /// Ends QEMU and waits until it has hung up. One that is gone already is as good.
    ///
    /// # Errors
    ///
    /// `Conflict` when QEMU refuses.
    pub async fn quit(&self) -> Result<()> {
        let mut events = self.listen();
        match self.command("quit", Value::Null).await {
            Ok(()) => while events.recv().await.is_some() {},
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Says what QEMU does when the guest restarts itself: `reset` or `shutdown`; and when it shuts
    /// down or panics.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn set_action(&self, reboot: &str, shutdown: &str, panic: &str) -> Result<()> {
        let actions = json!({"reboot": reboot, "shutdown": shutdown, "panic": panic});
        self.command("set-action", actions).await
    }
}
