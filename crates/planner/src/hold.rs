//! Which instances hold what was assigned to them for running: ports, memory.

use std::borrow::Cow;

use model::Kind;
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
    let tried_again = match instance.spec.policy() {
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

/// Who holds something: an instance or a service, by its name, borrowed from the world or entered later.
#[derive(Debug, Clone)]
pub(crate) struct Holder<'a> {
    kind: Kind,
    name: Cow<'a, str>,
}

impl<'a> Holder<'a> {
    pub(crate) fn instance(name: impl Into<Cow<'a, str>>) -> Self {
        Self { kind: Kind::Instance, name: name.into() }
    }

    pub(crate) fn service(name: impl Into<Cow<'a, str>>) -> Self {
        Self { kind: Kind::Service, name: name.into() }
    }

    /// What it is called in sentences: `instance "web"`.
    pub(crate) fn title(&self) -> String {
        format!("{} {:?}", self.kind, self.name)
    }

    /// The command that has it let go.
    pub(crate) fn release(&self) -> String {
        let verb = if self.kind == Kind::Service { "service rm" } else { "stop" };
        format!("hull {verb} {}", self.name)
    }

    /// The command that removes it.
    pub(crate) fn removal(&self) -> String {
        let verb = if self.kind == Kind::Service { "service rm" } else { "rm" };
        format!("hull {verb} {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use model::instance::InstanceSpec;
    use model::{Meta, Time, Uid};

    use super::*;

    const TRIES: RestartPolicy = RestartPolicy::OnFailure { max: Some(3) };

    #[test]
    fn what_holds_and_what_has_ended() {
        use RunState::{Running, Stopped};
        // Asked to run, policy, phase, runs begun of the one asked for; is over, has ended, holds.
        for (run, restart, phase, begun, expected) in [
            (Running, RestartPolicy::No, Phase::Pending, 0, (false, false, true)),
            (Running, RestartPolicy::No, Phase::Creating, 1, (false, false, true)),
            (Running, RestartPolicy::No, Phase::Running, 1, (false, false, true)),
            (Running, RestartPolicy::No, Phase::Exited, 1, (true, true, false)),
            (Running, RestartPolicy::No, Phase::Exited, 0, (false, false, true)),
            (Running, RestartPolicy::No, Phase::Failed, 1, (true, true, false)),
            (Running, TRIES, Phase::Failed, 1, (true, true, false)),
            (Running, RestartPolicy::Always, Phase::Failed, 1, (true, false, true)),
            (Running, RestartPolicy::Always, Phase::Restarting, 1, (false, false, true)),
            (Stopped, RestartPolicy::Always, Phase::Failed, 1, (true, true, false)),
            (Stopped, RestartPolicy::No, Phase::Running, 1, (false, false, true)),
            (Stopped, RestartPolicy::No, Phase::Pending, 0, (false, false, false)),
        ] {
            let meta = Meta::new("p", "a", Uid::from_bytes([0; 32]), Time::from_unix(0, 0));
            let spec = InstanceSpec { run, restart, runs: 1, ..InstanceSpec::default() };
            let mut instance = Instance::new(meta, spec);
            (instance.status.phase, instance.status.runs) = (phase, begun);
            let found = (is_over(&instance), has_ended(&instance), holds(&instance));
            assert_eq!(found, expected, "{run:?} {restart:?} {phase:?} {begun}");
        }
    }
}
