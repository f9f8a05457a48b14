//! Which instances hold what was assigned to them for running: ports, memory.

use std::borrow::Cow;

use model::instance::{Instance, Phase, RestartPolicy, RunState};

/// Whether the last run that was asked for is over, or could not begin. Its policy may begin it
/// again.
#[must_use]
pub fn is_over(instance: &Instance) -> bool {
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

/// Whether the last run that was asked for has come to its end, and nothing begins it again.
///
/// A node says `Exited` of what it does not start again, but `Failed` of every start that failed.
/// Under a policy that bounds the tries that counts as the end, though it may not be yet.
#[must_use]
pub fn has_ended(instance: &Instance) -> bool {
    let tried_again = match instance.spec.restart {
        RestartPolicy::No | RestartPolicy::OnFailure { max: Some(_) } => false,
        RestartPolicy::OnFailure { max: None }
        | RestartPolicy::Always
        | RestartPolicy::UnlessStopped => {
            instance.status.phase == Phase::Failed && instance.spec.run != RunState::Stopped
        }
    };
    is_over(instance) && !tried_again
}

/// Whether an instance holds its ports and memory: it runs, or is to run. One that is stopped keeps
/// its node and its addresses alone, as Docker's do.
#[must_use]
pub fn holds(instance: &Instance) -> bool {
    instance.status.phase.is_live()
        || (instance.spec.run != RunState::Stopped && !has_ended(instance))
}

/// The name of the instance that holds something: borrowed from the world, or entered later.
#[derive(Debug, Clone)]
pub(crate) struct Holder<'a>(pub(crate) Cow<'a, str>);

impl Holder<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
