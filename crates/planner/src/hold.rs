//! Which instances hold what was assigned to them for running: ports, memory.

use model::instance::{Instance, Phase, RunState};

/// Whether the last run that was asked for has come to its end, and nothing begins another one.
#[must_use]
pub fn has_ended(instance: &Instance) -> bool {
    let begun = instance.status.runs >= instance.spec.runs;
    match instance.status.phase {
        Phase::Exited => begun,
        Phase::Failed => begun || instance.status.observed_generation >= instance.meta.generation,
        Phase::Pending
        | Phase::Creating
        | Phase::Running
        | Phase::Paused
        | Phase::Restarting
        | Phase::Removing => false,
    }
}

/// Whether an instance holds its ports and memory: it runs, or is to run. One that is stopped keeps
/// its node and its addresses alone, as Docker's do.
#[must_use]
pub fn holds(instance: &Instance) -> bool {
    instance.status.phase.is_live()
        || (instance.spec.run != RunState::Stopped && !has_ended(instance))
}
