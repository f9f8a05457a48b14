//! Merges what the engine shows into what is remembered of an instance.

use std::time::Duration;

use containers::{ContainerId, Observed, State};
use model::instance::{
    ContainerSpec, ContainerState, ContainerStatus, Health, InstanceSpec, Phase,
};
use model::{Time, Uid};

use crate::decide::{LONG_RUN, phase};
use crate::local::Local;

/// Exit code of a container whose end nobody saw, as Docker reports it.
const UNKNOWN_EXIT: i32 = 255;

/// Label with the instance's id on each of the engine's containers.
pub const LABEL_INSTANCE: &str = "io.monohull.instance";
/// Label with the container's name in the instance.
pub const LABEL_CONTAINER: &str = "io.monohull.container";

/// Name in the engine of the container of this name.
pub fn engine_id(instance: &Uid, spec: &InstanceSpec, container: &str) -> Option<ContainerId> {
    let index = |list: &[ContainerSpec]| list.iter().position(|c| c.name == container);
    let tail = match (index(&spec.containers), index(&spec.init)) {
        (Some(index), _) => format!("c{index}"),
        (None, Some(index)) => format!("i{index}"),
        (None, None) => return None,
    };
    // 64 digits, a dot and a few characters: always within what the engine takes.
    ContainerId::parse(&format!("{instance}.{tail}")).ok()
}

/// The instance that a container of the engine belongs to.
pub fn owner(id: &ContainerId) -> Option<Uid> {
    id.as_str().split_once('.')?.0.parse().ok()
}

/// A container that ended since it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub container: String,
    /// How.
    pub exit_code: i32,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
}

/// Brings `local` up to date with what the engine shows of the instance's containers. Returns those
/// that ended. Absent fields mean: the engine does not know the container.
pub fn merge(
    spec: &InstanceSpec,
    local: &mut Local,
    observed: &[(String, Option<Observed>)],
    now: Time,
) -> Vec<Ended> {
    let mut ended = Vec::new();
    for (name, seen) in observed {
        let Some(status) = local.status.containers.iter_mut().find(|c| c.name == *name) else {
            continue;
        };
        let before = status.state;
        merge_one(status, seen.as_ref(), now);
        if before != ContainerState::Exited && status.state == ContainerState::Exited {
            let ran = run_time(status);
            let short = local.short_runs.entry(name.clone()).or_default();
            *short = if ran >= LONG_RUN { 1 } else { short.saturating_add(1) };
            ended.push(Ended {
                container: name.clone(),
                exit_code: status.exit_code.unwrap_or(UNKNOWN_EXIT),
                oom_killed: status.oom_killed,
            });
        }
    }
    if matches!(local.status.phase, Phase::Running | Phase::Paused | Phase::Restarting) {
        local.status.phase = phase(spec, &local.status);
    }
    local.status.health = overall(&local.status.containers);
    ended
}

fn merge_one(status: &mut ContainerStatus, seen: Option<&Observed>, now: Time) {
    let was_live = matches!(status.state, ContainerState::Running | ContainerState::Paused);
    match seen.map(|seen| (seen, seen.state)) {
        Some((seen, State::Running)) => set_live(status, seen, ContainerState::Running),
        Some((seen, State::Paused)) => set_live(status, seen, ContainerState::Paused),
        Some((seen, State::Exited)) if status.state != ContainerState::Exited => {
            // A run that was cut short before it was recorded as begun counts as begun.
            status.started = seen.started.or(status.started);
            set_exited(status, seen.exit_code, seen.finished.unwrap_or(now));
            status.oom_killed = seen.oom_killed;
        }
        Some((_, State::Idle | State::Created)) | None if was_live => {
            set_exited(status, None, now);
        }
        Some((_, State::Idle | State::Created | State::Exited)) | None => {}
    }
}

fn set_live(status: &mut ContainerStatus, seen: &Observed, state: ContainerState) {
    if status.state == ContainerState::Waiting || status.state == ContainerState::Exited {
        forget_end(status);
    }
    status.state = state;
    status.pid = seen.pid;
    status.started = seen.started.or(status.started);
}

/// Clears what the end of the run before said of a container that runs again: how healthy it is has to be
/// found out anew, with all the time that a start is given.
pub fn forget_end(status: &mut ContainerStatus) {
    status.exit_code = None;
    status.finished = None;
    status.oom_killed = false;
    if status.health != Health::Unchecked {
        status.health = Health::Starting;
        status.failing = 0;
        status.health_log.clear();
    }
}

fn set_exited(status: &mut ContainerStatus, code: Option<i32>, at: Time) {
    status.state = ContainerState::Exited;
    status.pid = None;
    status.exit_code = Some(code.unwrap_or(UNKNOWN_EXIT));
    status.finished = Some(at);
    if status.health != Health::Unchecked {
        status.health = Health::Unhealthy;
    }
}

fn run_time(status: &ContainerStatus) -> Duration {
    match (status.started, status.finished) {
        (Some(started), Some(finished)) => finished.since(started),
        _ => Duration::ZERO,
    }
}

/// Health of several containers taken together: the worst that is checked.
pub fn overall(containers: &[ContainerStatus]) -> Health {
    let has = |health| containers.iter().any(|container| container.health == health);
    [Health::Unhealthy, Health::Starting, Health::Healthy]
        .into_iter()
        .find(|health| has(*health))
        .unwrap_or(Health::Unchecked)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::instance::{InstanceStatus, RestartPolicy};

    use super::*;

    fn spec() -> InstanceSpec {
        let main = ContainerSpec { name: "main".into(), ..Default::default() };
        InstanceSpec {
            containers: vec![main],
            restart: RestartPolicy::Always,
            ..Default::default()
        }
    }

    fn local(state: ContainerState) -> Local {
        let main = ContainerStatus {
            name: "main".into(),
            state,
            started: Some(Time::from_unix(100, 0)),
            ..Default::default()
        };
        let status =
            InstanceStatus { phase: Phase::Running, containers: vec![main], ..Default::default() };
        Local { status, ..Default::default() }
    }

    fn seen(state: State, code: Option<i32>) -> Vec<(String, Option<Observed>)> {
        let id = ContainerId::parse("x.c0").unwrap();
        let observed = Observed {
            id,
            labels: BTreeMap::new(),
            state,
            pid: Some(42),
            exit_code: code,
            finished: code.map(|_| Time::from_unix(105, 0)),
            started: Some(Time::from_unix(100, 0)),
            oom_killed: false,
            created: None,
        };
        vec![("main".into(), Some(observed))]
    }

    #[test]
    fn an_end_is_told_once_with_its_code() {
        let mut local = local(ContainerState::Running);
        let now = Time::from_unix(200, 0);
        let ended = merge(&spec(), &mut local, &seen(State::Exited, Some(3)), now);
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].exit_code, 3);
        assert_eq!(local.status.phase, Phase::Restarting);
        assert_eq!(local.short_runs("main"), 1);
        assert!(merge(&spec(), &mut local, &seen(State::Exited, Some(3)), now).is_empty());
    }

    #[test]
    fn what_vanished_ended_with_an_unknown_code() {
        let mut local = local(ContainerState::Running);
        let now = Time::from_unix(200, 0);
        let ended = merge(&spec(), &mut local, &[("main".into(), None)], now);
        assert_eq!(ended[0].exit_code, UNKNOWN_EXIT);
        assert_eq!(local.short_runs("main"), 1, "a run of 100 s begins the waits anew");
    }

    #[test]
    fn a_run_that_was_begun_unseen_is_adopted() {
        let mut local = local(ContainerState::Waiting);
        let ended = merge(&spec(), &mut local, &seen(State::Running, None), Time::from_unix(1, 0));
        assert!(ended.is_empty());
        assert_eq!(local.status.containers[0].state, ContainerState::Running);
        assert_eq!(local.status.containers[0].pid, Some(42));
    }

    #[test]
    fn how_well_the_run_before_was_says_nothing_of_the_next() {
        let now = Time::from_unix(200, 0);
        for health in [Health::Healthy, Health::Starting, Health::Unhealthy] {
            let mut local = local(ContainerState::Running);
            local.status.containers[0].health = health;
            local.status.containers[0].failing = 2;
            merge(&spec(), &mut local, &seen(State::Exited, Some(1)), now);
            assert_eq!(local.status.containers[0].health, Health::Unhealthy, "it has ended");
            merge(&spec(), &mut local, &seen(State::Running, None), now);
            let container = &local.status.containers[0];
            assert_eq!((container.health, container.failing), (Health::Starting, 0));
            assert_eq!(local.status.health, Health::Starting);
            // The same run, seen once more, keeps what was found of it.
            local.status.containers[0].health = Health::Healthy;
            merge(&spec(), &mut local, &seen(State::Running, None), now);
            assert_eq!(local.status.health, Health::Healthy);
        }
    }

    #[test]
    fn names_in_the_engine_lead_back() {
        let uid = Uid::from_bytes([7; 32]);
        let id = engine_id(&uid, &spec(), "main").unwrap();
        assert_eq!(owner(&id), Some(uid.clone()));
        assert_eq!(engine_id(&uid, &spec(), "other"), None);
    }
}
