//! What was seen of a container.

use std::collections::BTreeMap;

use model::Time;

use super::ContainerId;

/// What a container does; see the diagram in the [module](super) above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has a record and no run.
    Idle,
    /// Its run is prepared and its program not begun: someone was cut short. Start it.
    Created,
    /// Its process exists.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process ended and the run is not cleared. Without an exit code when that is lost,
    /// because the machine or the engine's helper died with it.
    Exited,
}

impl State {
    /// Whether its process exists.
    pub fn is_live(self) -> bool {
        match self {
            State::Running | State::Paused => true,
            State::Idle | State::Created | State::Exited => false,
        }
    }
}

/// One container as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its name in the engine.
    pub id: ContainerId,
    /// As given at its creation.
    pub labels: BTreeMap<String, String>,
    /// What it does.
    pub state: State,
    /// Process 1 as the host numbers it; only while it is live.
    pub pid: Option<u32>,
    /// How the run that ended and is not cleared ended; 128 + n when signal n ended it.
    pub exit_code: Option<i32>,
    /// When that was.
    pub finished: Option<Time>,
    /// When the present or the last uncleared run began.
    pub started: Option<Time>,
    /// The kernel killed a process of this run for want of memory.
    pub oom_killed: bool,
    /// When its record was made.
    pub created: Option<Time>,
}

/// The answer to creating a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Created {
    /// What was asked and left out, in sentences for people.
    pub warnings: Vec<String>,
}

/// The answer to starting a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Process 1 as the host numbers it; 0 when it has ended already.
    pub pid: u32,
    /// When.
    pub at: Time,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// When.
    pub at: Time,
}
