//! What to do next for one instance: desired − observed = one action.
//!
//! [`decide`] is a pure function of what is asked ([`InstanceSpec`]), what was seen
//! ([`InstanceStatus`], into which the engine's observations have been merged by [`crate::observe`])
//! and the time. Restart, failover, adoption after a crash of the platform and the happy case all
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

use std::time::Duration;

use model::Time;
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
    /// Nothing, until this time.
    WaitUntil(Time),
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

/// Decides the next action. Total: every combination has an answer.
pub fn decide(spec: &InstanceSpec, deleted: bool, local: &Local, now: Time) -> Action {
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
        RunState::Running | RunState::Paused => keep_running(spec, local, now),
    }
}

/// The run asked for has begun: finish beginning it, start again what ended, freeze or thaw.
fn keep_running(spec: &InstanceSpec, local: &Local, now: Time) -> Action {
    let status = &local.status;
    match status.phase {
        Phase::Pending | Phase::Creating => return Action::Begin { run: spec.runs },
        Phase::Failed => return retry_failed(spec, local, now),
        Phase::Running | Phase::Paused | Phase::Restarting | Phase::Exited | Phase::Removing => {}
    }
    let mut earliest: Option<Time> = None;
    for (index, container) in spec.containers.iter().enumerate() {
        let Some(seen) = status.container(&container.name) else {
            return Action::Begin { run: spec.runs };
        };
        match seen.state {
            ContainerState::Waiting => return Action::Begin { run: spec.runs },
            ContainerState::Exited if wants_again(spec.restart, seen) => {
                let due = due(seen.finished, local.short_runs(&container.name), now);
                if due <= now {
                    return Action::Again { container: index };
                }
                earliest = Some(earliest.map_or(due, |time| time.min(due)));
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
        earliest.map_or(Action::Rest, Action::WaitUntil)
    }
}

/// A run that could not be started is tried again when the policy would restart it.
fn retry_failed(spec: &InstanceSpec, local: &Local, now: Time) -> Action {
    let again = match spec.restart {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max } => max.is_none_or(|max| local.failed_starts <= max),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    };
    if !again {
        return Action::Rest;
    }
    let due = due(local.failed_at, local.failed_starts, now);
    if due <= now { Action::Begin { run: spec.runs } } else { Action::WaitUntil(due) }
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
    if main().any(|seen| seen.state == ContainerState::Running) {
        return Phase::Running;
    }
    if main().any(|seen| seen.state == ContainerState::Paused) {
        return Phase::Paused;
    }
    let again = |seen: &ContainerStatus| match seen.state {
        // Its last run is cleared, its next not begun.
        ContainerState::Waiting => true,
        ContainerState::Exited => wants_again(spec.restart, seen),
        ContainerState::Running | ContainerState::Paused => false,
    };
    let asked = spec.run != RunState::Stopped;
    if asked && main().any(again) {
        return Phase::Restarting;
    }
    Phase::Exited
}

/// When a container that ended at `ended` after `short_runs` short runs in a row may start again.
/// If the clock jumped back, the wait counts from now.
fn due(ended: Option<Time>, short_runs: u32, now: Time) -> Time {
    let wait =
        FIRST_WAIT.saturating_mul(1 << short_runs.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    let base = ended.map_or(now, |ended| ended.min(now));
    Time(base.0.saturating_add(wait).unwrap_or(now.0))
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

    const NOW: i64 = 1_000_000;

    fn at(seconds: i64) -> Time {
        Time::from_unix(seconds, 0)
    }

    fn spec(run: RunState, runs: u64, restart: RestartPolicy) -> InstanceSpec {
        let main = ContainerSpec { name: "main".into(), ..Default::default() };
        InstanceSpec { run, runs, restart, containers: vec![main], ..Default::default() }
    }

    fn local(phase: Phase, runs: u64, state: ContainerState, code: Option<i32>) -> Local {
        let main = ContainerStatus {
            name: "main".into(),
            state,
            exit_code: code,
            finished: code.map(|_| at(NOW - 1)),
            ..Default::default()
        };
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
            assert_eq!(decide(&spec, false, &local, at(NOW)), expected, "{what}");
            assert_eq!(decide(&spec, true, &local, at(NOW)), Action::Remove, "{what}, deleted");
        }
    }

    #[test]
    fn a_restart_cut_short_is_gone_on_with() {
        let local = local(Phase::Restarting, 1, ContainerState::Waiting, Some(1));
        let spec = spec(RunState::Running, 1, RestartPolicy::OnFailure { max: Some(1) });
        assert_eq!(phase(&spec, &local.status), Phase::Restarting);
        assert_eq!(decide(&spec, false, &local, at(NOW)), Action::Begin { run: 1 });
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let wait = |n| due(Some(at(NOW)), n, at(NOW)).since(at(NOW));
        assert_eq!(wait(1), Duration::from_millis(100));
        assert_eq!(wait(2), Duration::from_millis(200));
        assert_eq!(wait(5), Duration::from_millis(1600));
        assert_eq!(wait(40), LONGEST_WAIT);
    }

    #[test]
    fn a_clock_that_jumped_back_delays_by_one_wait_only() {
        let due = due(Some(at(NOW + 3600)), 1, at(NOW));
        assert_eq!(due.since(at(NOW)), FIRST_WAIT);
    }

    #[test]
    fn tries_are_counted() {
        let mut local = local(Phase::Restarting, 1, ContainerState::Exited, Some(1));
        local.status.containers[0].restarts = 2;
        let spec = spec(RunState::Running, 1, RestartPolicy::OnFailure { max: Some(2) });
        assert_eq!(decide(&spec, false, &local, at(NOW)), Action::Rest);
        assert_eq!(phase(&spec, &local.status), Phase::Exited);
    }
}
