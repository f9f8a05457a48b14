//! What QEMU tells unasked.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What QEMU told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The machine is shut down; QEMU ends now, unless it was told to stay.
    Shutdown {
        /// The guest asked for it.
        guest: bool,
        /// `guest-shutdown`, `host-qmp-quit`, `host-signal`, `guest-panic`…
        reason: String,
    },
    /// The machine starts anew.
    Reset {
        /// The guest asked for it.
        guest: bool,
        /// `guest-reset`, `host-qmp-system-reset`…
        reason: String,
    },
    /// The power button was pressed on the machine.
    Powerdown,
    /// The guest's kernel told of its end (pvpanic).
    GuestPanicked {
        /// What QEMU does: `pause`, `poweroff`, `run`.
        action: String,
        /// What the guest's processor said, where it says something.
        info: Value,
    },
    /// The watchdog was not fed.
    Watchdog {
        /// What QEMU does: `reset`, `poweroff`, `pause`…
        action: String,
    },
    /// The processors stand still.
    Stop,
    /// The processors run.
    Resume,
    /// The guest sleeps.
    Suspend,
    /// The guest woke.
    Wakeup,
    /// A device is gone: the guest gave it up.
    DeviceDeleted {
        /// Its id; empty for one that had none.
        device: String,
    },
    /// The guest does not give up a device.
    DeviceUnplugError {
        /// Its id.
        device: String,
    },
    /// A job went on.
    JobStatusChange {
        /// Its id.
        id: String,
        /// `running`, `concluded`…
        status: String,
    },
    /// The guest's memory without what the balloon took.
    BalloonChange {
        /// Bytes.
        actual: u64,
    },
    /// Reading or writing a disk failed.
    BlockIoError {
        /// The name in QEMU of what is on top of the disk.
        device: String,
        /// `read` or `write`.
        operation: String,
        /// What QEMU does: `ignore`, `report`, `stop`.
        action: String,
        /// No space is left.
        full: bool,
    },
    /// A port for the guest agent was opened or closed in the guest.
    SerialPort {
        /// The port's id in QEMU.
        id: String,
        /// Whether it is open.
        open: bool,
    },
    /// One who was slow missed so many events: what they told must be asked for.
    Missed(u64),
    /// Everything else.
    Other {
        /// QEMU's name for it.
        name: String,
        /// What came with it.
        data: Value,
    },
}

/// What QEMU tells, in its order.
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` when the connection is gone. May be dropped while it waits.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The fields of all events that are understood.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    guest: bool,
    reason: String,
    action: String,
    info: Value,
    device: String,
    #[serde(rename = "node-name")]
    node_name: String,
    id: String,
    status: String,
    actual: u64,
    operation: String,
    nospace: bool,
    open: bool,
}

/// Understands an event by its name.
pub(super) fn parse(name: String, data: Value) -> Event {
    let known: Data = parts(&data);
    match name.as_str() {
        "SHUTDOWN" => Event::Shutdown { guest: known.guest, reason: known.reason },
        "RESET" => Event::Reset { guest: known.guest, reason: known.reason },
        "POWERDOWN" => Event::Powerdown,
        "GUEST_PANICKED" => Event::GuestPanicked { action: known.action, info: known.info },
        "WATCHDOG" => Event::Watchdog { action: known.action },
        "STOP" => Event::Stop,
        "RESUME" => Event::Resume,
        "SUSPEND" => Event::Suspend,
        "WAKEUP" => Event::Wakeup,
        "DEVICE_DELETED" => Event::DeviceDeleted { device: known.device },
        "DEVICE_UNPLUG_GUEST_ERROR" => Event::DeviceUnplugError { device: known.device },
        "JOB_STATUS_CHANGE" => Event::JobStatusChange { id: known.id, status: known.status },
        "BALLOON_CHANGE" => Event::BalloonChange { actual: known.actual },
        "BLOCK_IO_ERROR" => Event::BlockIoError {
            device: known.node_name,
            operation: known.operation,
            action: known.action,
            full: known.nospace,
        },
        "VSERPORT_CHANGE" => Event::SerialPort { id: known.id, open: known.open },
        _ => Event::Other { name, data },
    }
}

/// What of `data` has the expected shape.
fn parts<T: DeserializeOwned + Default>(data: &Value) -> T {
    T::deserialize(data).unwrap_or_default()
}
