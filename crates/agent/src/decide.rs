//! What to do next for one instance: desired − observed = one action.
//!
//! [`decide`] is a pure function of what is asked ([`InstanceSpec`]), what was seen
//! ([`InstanceStatus`], into which the engine's observations have been merged by [`crate::observe`])
//! and how long ago things ended ([`Ago`]). Restart, failover, adoption after a crash of the platform and the happy case all
//! come out of it; there is no second path.
//!
//! ```text
//!            asked to run, run not begun               every container started
//!  at rest ───────────────────────────────> begin ───────────────────────────────> at rest
//!     ^                                       ^                                        │
//!     │ ended, no restart due                 │ asked for a newer run                  │ ended
//!     ├──────────────── wait until ───────────┼──────────── stop <─────────────────────┤
//!     └──────────────── again  <──────────────┴── policy says again ───────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use model::instance::{
    ContainerState, ContainerStatus, InstanceSpec, InstanceStatus, Phase, RestartPolicy, RunState,
};

use crate::local::Local;

/// First wait before a restart.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait before a restart.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A container that ran this long begins anew with the shortest wait.
pub const LONG_RUN: Duration = Duration::from_secs(10);

/// The one thing to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes.
    Rest,
    /// Nothing, for this long.
    Wait(Duration),
    /// Go through the steps of starting run number `run`; those that are done are passed over.
    Begin {
        /// The run.
        run: u64,
    },
    /// Start this container again; its index in `spec.containers`.
    Again {
        /// Index in `spec.containers`.
        container: usize,
    },
    /// End all containers.
    Stop,
    /// Freeze all containers.
    Freeze,
    /// Unfreeze all containers.
    Thaw,
    /// Take everything down and forget it.
    Remove,
}

/// How long ago things of an instance ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ago {
    /// The last run of each container that has ended.
    pub ended: BTreeMap<String, Duration>,
    /// The last start that failed.
    pub failed: Duration,
}

/// Decides the next action. Total: every combination has an answer.
pub fn decide(spec: &InstanceSpec, deleted: bool, local: &Local, ago: &Ago) -> Action {
    if deleted {
        return Action::Remove;
    }
    let status = &local.status;
    let live = status.containers.iter().any(is_live);
    match spec.run {
        RunState::Stopped if live => Action::Stop,
        RunState::Stopped => Action::Rest,
        RunState::Running | RunState::Paused if status.runs != spec.runs => match live {
            true => Action::Stop,
            false => Action::Begin { run: spec.runs },
        },
        RunState::Running | RunState::Paused => keep_running(spec, local, ago),
    }
}

/// The run asked for has begun: finish beginning it, start again what ended, freeze or thaw.
fn keep_running(spec: &InstanceSpec, local: &Local, ago: &Ago) -> Action {
    let status = &local.status;
    match status.phase {
        Phase::Pending | Phase::Creating => return Action::Begin { run: spec.runs },
        Phase::Failed => return retry_failed(spec, local, ago),
        Phase::Running | Phase::Paused | Phase::Restarting | Phase::Exited | Phase::Removing => {}
    }
    let mut shortest: Option<Duration> = None;
    for (index, container) in spec.containers.iter().enumerate() {
        let Some(seen) = status.container(&container.name) else {
            return Action::Begin { run: spec.runs };
        };
        match seen.state {
            ContainerState::Waiting => return Action::Begin { run: spec.runs },
            ContainerState::Exited if !container.once && wants_again(spec.policy(), seen) => {
                let ended = ago.ended.get(&container.name).copied().unwrap_or_default();
                let left = left(local.short_runs(&container.name), ended);
                if left.is_zero() {
                    return Action::Again { container: index };
                }
                shortest = Some(shortest.map_or(left, |shortest| shortest.min(left)));
            }
            ContainerState::Running | ContainerState::Paused | ContainerState::Exited => {}
        }
    }
    let has = |state| status.containers.iter().any(|container| container.state == state);
    if spec.run == RunState::Paused && has(ContainerState::Running) {
        Action::Freeze
    } else if spec.run == RunState::Running && has(ContainerState::Paused) {
        Action::Thaw
    } else {
        shortest.map_or(Action::Rest, Action::Wait)
    }
}

/// A run that could not be started is tried again when the policy would restart it.
fn retry_failed(spec: &InstanceSpec, local: &Local, ago: &Ago) -> Action {
    let again = match spec.policy() {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max } => max.is_none_or(|max| local.failed_starts <= max),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    };
    if !again {
        return Action::Rest;
    }
    let left = left(local.failed_starts, ago.failed);
    if left.is_zero() { Action::Begin { run: spec.runs } } else { Action::Wait(left) }
}

/// Whether the policy starts a container again that ended as `seen` says.
pub fn wants_again(policy: RestartPolicy, seen: &ContainerStatus) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max } => {
            seen.exit_code != Some(0) && max.is_none_or(|max| seen.restarts < max)
        }
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    }
}

/// The phase that the containers' states amount to, for an instance whose run has begun.
pub fn phase(spec: &InstanceSpec, status: &InstanceStatus) -> Phase {
    let main = || spec.containers.iter().filter_map(|container| status.container(&container.name));
    let lasting = || {
        let lasting = spec.containers.iter().filter(|container| !container.once);
        lasting.filter_map(|container| status.container(&container.name))
    };
    if main().any(|seen| seen.state == ContainerState::Running) {
        return Phase::Running;
    }
    if main().any(|seen| seen.state == ContainerState::Paused) {
        return Phase::Paused;
    }
    let again = |seen: &ContainerStatus| match seen.state {
        // Its last run is cleared, its next not begun.
        ContainerState::Waiting => true,
        ContainerState::Exited => wants_again(spec.policy(), seen),
        ContainerState::Running | ContainerState::Paused => false,
    };
    let asked = spec.run != RunState::Stopped;
    if asked && lasting().any(again) {
        return Phase::Restarting;
    }
    Phase::Exited
}

/// How long a container that ended so long ago, after so many short runs in a row, has to wait yet.
fn left(short_runs: u32, ended: Duration) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << short_runs.saturating_sub(1).min(16));
    wait.min(LONGEST_WAIT).saturating_sub(ended)
}

fn is_live(seen: &ContainerStatus) -> bool {
    match seen.state {
        ContainerState::Running | ContainerState::Paused => true,
        ContainerState::Waiting | ContainerState::Exited => false,
    }
}

#[cfg(test)]
mod tests {
    use model::instance::ContainerSpec;

    use super::*;

    /// It ended a second ago.
    fn ago() -> Ago {
        let ended = BTreeMap::from([("main".to_owned(), Duration::from_secs(1))]);
        Ago { ended, failed: Duration::from_secs(1) }
    }

    fn spec(run: RunState, runs: u64, restart: RestartPolicy) -> InstanceSpec {
        let main = ContainerSpec { name: "main".into(), ..Default::default() };
        InstanceSpec { run, runs, restart, containers: vec![main], ..Default::default() }
    }

    fn local(phase: Phase, runs: u64, state: ContainerState, code: Option<i32>) -> Local {
        let main =
            ContainerStatus { name: "main".into(), state, exit_code: code, ..Default::default() };
        Local {
            status: InstanceStatus { phase, runs, containers: vec![main], ..Default::default() },
            ..Default::default()
        }
    }

    #[test]
    fn table() {
        use ContainerState as C;
        use RestartPolicy as P;
        use RunState as R;
        let begin = |run| Action::Begin { run };
        let again = Action::Again { container: 0 };
        for (what, spec, local, expected) in [
            ("new", spec(R::Running, 1, P::No), Local::default(), begin(1)),
            ("created only", spec(R::Stopped, 0, P::No), Local::default(), Action::Rest),
            (
                "interrupted start",
                spec(R::Running, 1, P::No),
                local(Phase::Creating, 1, C::Waiting, None),
                begin(1),
            ),
            (
                "runs",
                spec(R::Running, 1, P::No),
                local(Phase::Running, 1, C::Running, None),
                Action::Rest,
            ),
            (
                "stop",
                spec(R::Stopped, 1, P::Always),
                local(Phase::Running, 1, C::Running, None),
                Action::Stop,
            ),
            (
                "restart asked for: stop first",
                spec(R::Running, 2, P::No),
                local(Phase::Running, 1, C::Running, None),
                Action::Stop,
            ),
            (
                "restart asked for: then begin",
                spec(R::Running, 2, P::No),
                local(Phase::Exited, 1, C::Exited, Some(0)),
                begin(2),
            ),
            (
                "ended well, on failure",
                spec(R::Running, 1, P::OnFailure { max: None }),
                local(Phase::Exited, 1, C::Exited, Some(0)),
                Action::Rest,
            ),
            (
                "ended badly, on failure",
                spec(R::Running, 1, P::OnFailure { max: Some(1) }),
                local(Phase::Restarting, 1, C::Exited, Some(3)),
                again.clone(),
            ),
            (
                "ended, always",
                spec(R::Running, 1, P::Always),
                local(Phase::Restarting, 1, C::Exited, Some(0)),
                again,
            ),
            (
                "freeze",
                spec(R::Paused, 1, P::No),
                local(Phase::Running, 1, C::Running, None),
                Action::Freeze,
            ),
            (
                "thaw",
                spec(R::Running, 1, P::No),
                local(Phase::Paused, 1, C::Paused, None),
                Action::Thaw,
            ),
        ] {
            assert_eq!(decide(&spec, false, &local, &ago()), expected, "{what}");
            assert_eq!(decide(&spec, true, &local, &ago()), Action::Remove, "{what}, deleted");
        }
    }

    #[test]
    fn a_restart_cut_short_is_gone_on_with() {
        let local = local(Phase::Restarting, 1, ContainerState::Waiting, Some(1));
        let spec = spec(RunState::Running, 1, RestartPolicy::OnFailure { max: Some(1) });
        assert_eq!(phase(&spec, &local.status), Phase::Restarting);
        assert_eq!(decide(&spec, false, &local, &ago()), Action::Begin { run: 1 });
    }

    #[test]
    fn a_run_that_was_signalled_to_end_is_the_last() {
        let local = local(Phase::Exited, 2, ContainerState::Exited, Some(143));
        let mut spec = spec(RunState::Running, 2, RestartPolicy::Always);
        spec.final_run = 1;
        assert_eq!(decide(&spec, false, &local, &ago()), Action::Again { container: 0 });
        spec.final_run = 2;
        assert_eq!(decide(&spec, false, &local, &ago()), Action::Rest);
        assert_eq!(phase(&spec, &local.status), Phase::Exited);
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let wait = |n| left(n, Duration::ZERO);
        assert_eq!(wait(1), Duration::from_millis(100));
        assert_eq!(wait(2), Duration::from_millis(200));
        assert_eq!(wait(5), Duration::from_millis(1600));
        assert_eq!(wait(40), LONGEST_WAIT);
    }

    #[test]
    fn what_is_left_of_a_wait() {
        let mut local = local(Phase::Restarting, 1, ContainerState::Exited, Some(1));
        local.short_runs.insert("main".into(), 6);
        let spec = spec(RunState::Running, 1, RestartPolicy::Always);
        let wait = Action::Wait(Duration::from_millis(2200));
        assert_eq!(decide(&spec, false, &local, &ago()), wait);
    }

    #[test]
    fn tries_are_counted() {
        let mut local = local(Phase::Restarting, 1, ContainerState::Exited, Some(1));
        local.status.containers[0].restarts = 2;
        let spec = spec(RunState::Running, 1, RestartPolicy::OnFailure { max: Some(2) });
        assert_eq!(decide(&spec, false, &local, &ago()), Action::Rest);
        assert_eq!(phase(&spec, &local.status), Phase::Exited);
    }
}
