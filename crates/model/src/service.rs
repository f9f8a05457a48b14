//! Service: keeps instances of a template, and changes them to another one under way.
//!
//! Each instance of a service has a slot: a number for those that are counted, a node for those of a
//! service that is everywhere. A change of the template makes a new revision; a rollout takes the slots
//! from their revision to the new one, some at a time.
//!
//! ```text
//! Steady ──template changed──> Updating ──all slots changed──> Steady
//!                                │   ^
//!             too many failed ───┤   └── resumed, or another template
//!                                ├──> Paused
//!                                └──> RollingBack ──> RolledBack
//! ```

pub mod access;
pub mod dependency;
pub mod schedule;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use access::{Access, AccessMode, Affinity, Leaving, ServiceAddress};
pub use dependency::{Dependency, DependencyCondition};
pub use schedule::{Overlap, Run, Schedule};

use crate::error::{Error, Result};
use crate::instance::{InstanceNoun, InstanceSpec, NetworkMode, Port, Reason, RestartPolicy};
use crate::meta::Labels;
use crate::object::{Kind, Noun, Object};
use crate::quantity::Span;
use crate::time::Time;

/// Most instances of one service.
const MOST: u32 = 10_000;
/// Most revisions that are kept.
const MOST_KEPT: u32 = 100;

/// The label of an instance that says which service it is of.
pub const SERVICE: &str = "io.monohull.service";
/// The label of an instance that says which slot of its service it has.
pub const SLOT: &str = "io.monohull.service.slot";
/// The label of an instance that says at which time it was to run.
pub const DUE: &str = "io.monohull.service.due";
/// The label of an instance that says of which revision of the template it is.
pub const REVISION: &str = "io.monohull.service.revision";

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceNoun;

/// A service.
pub type Service = Object<ServiceNoun>;

/// What was asked of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// What its instances are made like.
    pub template: Template,
    /// How many there are, and where.
    pub mode: ServiceMode,
    /// How instances of an older template are changed to the present one.
    pub update: UpdatePolicy,
    /// Services that are to be so far before instances of a revision are made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// How it is reached.
    #[serde(skip_serializing_if = "Access::is_default")]
    pub access: Access,
    /// Leave instances as they are: no slot is changed to another template.
    pub paused: bool,
    /// Counts how often somebody asked to go on after a rollout failed.
    pub resumed: u64,
    /// So many earlier templates are kept to go back to; 10 when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

/// What instances of a service are made like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// Labels of each.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Annotations of each.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// What is asked of each.
    pub spec: InstanceSpec,
    /// Counts how often somebody asked for all instances to be made anew though nothing else changed.
    #[serde(skip_serializing_if = "is_zero")]
    pub renewed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none_of(count: &u32) -> bool {
    *count == 0
}

/// How many instances a service has, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServiceMode {
    /// So many, wherever there is room.
    Replicated {
        /// How many.
        replicas: u32,
    },
    /// One on each node that its template may be on, as nodes come and go.
    Global {},
    /// So many runs that end well, and then no more.
    Job {
        /// How many runs are to end with code 0.
        completions: u32,
        /// Most at a time.
        parallelism: u32,
        /// So many may fail before the job is given up.
        retries: u32,
        /// Longest time for all of it, from when the service was made or its template changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Span>,
    },
    /// A run at each of set times.
    Cron(Schedule),
}

impl Default for ServiceMode {
    fn default() -> Self {
        ServiceMode::Replicated { replicas: 1 }
    }
}

/// How instances of an older template are changed to the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdatePolicy {
    /// So many slots at a time; 0 is all at once.
    pub parallelism: u32,
    /// Time between a slot that is changed and the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Which of a slot's two instances comes first.
    pub order: UpdateOrder,
    /// An instance that ends or becomes unhealthy so soon after its start has failed; 5 s when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Span>,
    /// So many slots of a hundred may fail before `on_failure` is done.
    pub max_failure_percent: u8,
    /// What is done when more fail.
    pub on_failure: OnFailure,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: None,
            order: UpdateOrder::StopFirst,
            monitor: None,
            max_failure_percent: 0,
            on_failure: OnFailure::Pause,
        }
    }
}

/// Which of a slot's two instances comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum UpdateOrder {
    /// The old one goes, then the new one is made.
    #[default]
    StopFirst,
    /// The new one is made, and the old one goes once that is ready.
    StartFirst,
}

/// What is done when too many slots fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Nothing more, until somebody says so.
    #[default]
    Pause,
    /// Go on all the same.
    Continue,
    /// Take the template that was in force before.
    RollBack,
}

/// A template that was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Counts up.
    pub number: u64,
    /// When it was first asked for.
    pub made: Time,
    /// The template.
    pub template: Template,
}

/// Where a service is; see the diagram in the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServicePhase {
    /// Nothing was done yet.
    #[default]
    Pending,
    /// All slots are of the present revision and ready, or on their way to be.
    Steady,
    /// Slots are changed to the present revision.
    Updating,
    /// They are not, as somebody asked for it or as too many failed.
    Paused,
    /// Slots are changed back, as too many failed.
    RollingBack,
    /// They were changed back.
    RolledBack,
    /// Runs begin at set times.
    Scheduled,
    /// A job that is done.
    Complete,
    /// A job that was given up.
    Failed,
    /// It is being removed.
    Removing,
}

impl ServicePhase {
    /// The word shown to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ServicePhase::Pending => "pending",
            ServicePhase::Steady => "steady",
            ServicePhase::Updating => "updating",
            ServicePhase::Paused => "paused",
            ServicePhase::RollingBack => "rolling back",
            ServicePhase::RolledBack => "rolled back",
            ServicePhase::Scheduled => "scheduled",
            ServicePhase::Complete => "complete",
            ServicePhase::Failed => "failed",
            ServicePhase::Removing => "removing",
        }
    }
}

/// What was seen of a service; written by control.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Where it is.
    pub phase: ServicePhase,
    /// Why it is there, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The generation of the spec that was acted on.
    pub observed_generation: u64,
    /// The present revision's number.
    pub revision: u64,
    /// How many instances are wanted.
    pub wanted: u32,
    /// How many there are, those on their way out left out.
    pub existing: u32,
    /// How many of them are of the present revision.
    pub updated: u32,
    /// How many of them run.
    pub running: u32,
    /// How many of them run, and are healthy where that is checked.
    pub ready: u32,
    /// Runs of a job that ended well.
    pub succeeded: u32,
    /// Of the present revision: runs of a job that failed, or slots that did.
    pub failed: u32,
    /// The last of `spec.resumed` that was acted on.
    pub resumed: u64,
    /// The last revision for which the services that it depends on were so far.
    pub cleared: u64,
    /// Of services with which it is made anew: the revision that it was made with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub along: BTreeMap<String, u64>,
    /// Its address on each of its networks, where it has one of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<ServiceAddress>,
    /// The ports of nodes that lead to its instances, those that were chosen filled in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Instances that take no new connections, as they are to end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<Leaving>,
    /// Runs at set times that have begun and were not seen to end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// How many runs at set times have begun.
    #[serde(skip_serializing_if = "is_none_of")]
    pub begun: u32,
    /// The last set time that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_due: Option<Time>,
    /// The next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Time>,
    /// Runs at set times that were left out.
    #[serde(skip_serializing_if = "is_none_of")]
    pub left_out: u32,
    /// Runs of a job that ended well, by their slots, whether their instances are still there or not.
    #[serde(skip_serializing_if = "SlotSet::is_empty")]
    pub succeeded_slots: SlotSet,
    /// The same of those that failed.
    #[serde(skip_serializing_if = "SlotSet::is_empty")]
    pub failed_slots: SlotSet,
    /// Revisions whose template was found not to work: they are not taken again by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_revisions: Vec<u64>,
    /// The present template and earlier ones, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
}

impl ServiceStatus {
    /// The revision of that number.
    #[must_use]
    pub fn revision(&self, number: u64) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }
}

impl ServiceStatus {
    /// The revision before the present one to go back to: the last that is not known to fail.
    #[must_use]
    pub fn before(&self) -> Option<u64> {
        let numbers = self.revisions.iter().map(|revision| revision.number);
        numbers.filter(|it| *it < self.revision && !self.failed_revisions.contains(it)).max()
    }
}

/// Numbers of slots, kept as ranges: first and last of each, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlotSet(Vec<[u32; 2]>);

impl SlotSet {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        let count = |[first, last]: &[u32; 2]| last.saturating_sub(*first).saturating_add(1);
        self.0.iter().map(count).fold(0, u32::saturating_add)
    }

    /// The highest one.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|range| range[1])
    }

    /// Whether a number is one of them.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|range| range[1] < number);
        self.0.get(at).is_some_and(|range| range[0] <= number)
    }

    /// Puts a number in.
    pub fn insert(&mut self, number: u32) {
        let at = self.0.partition_point(|range| range[1] < number);
        if self.0.get(at).is_some_and(|range| range[0] <= number) {
            return;
        }
        let follows = at > 0 && self.0[at - 1][1].checked_add(1) == Some(number);
        let precedes = self.0.get(at).is_some_and(|range| number.checked_add(1) == Some(range[0]));
        match (follows, precedes) {
            (true, true) => {
                self.0[at - 1][1] = self.0[at][1];
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1][1] = number,
            (false, true) => self.0[at][0] = number,
            (false, false) => self.0.insert(at, [number, number]),
        }
    }
}

/// Whether an instance is one of a service's.
#[must_use]
pub fn is_of(instance: &crate::instance::Instance, service: &crate::Uid) -> bool {
    let owner = instance.meta.owner.as_ref();
    owner.is_some_and(|owner| owner.kind == Kind::Service && owner.id == *service)
}

impl Noun for ServiceNoun {
    const KIND: Kind = Kind::Service;
    const IN_PROJECT: bool = true;
    type Spec = ServiceSpec;
    type Status = ServiceStatus;

    fn validate(spec: &ServiceSpec) -> Result<()> {
        InstanceNoun::validate(&spec.template.spec)
            .map_err(|error| error.under("template.spec"))?;
        if spec.template.spec.auto_remove {
            return Err(Error::invalid("a service removes its instances itself")
                .at("template.spec.autoRemove"));
        }
        if spec.update.max_failure_percent > 100 {
            return Err(
                Error::invalid("a hundred of a hundred is all").at("update.maxFailurePercent")
            );
        }
        if spec.keep.is_some_and(|keep| keep > MOST_KEPT) {
            return Err(
                Error::invalid(format!("at most {MOST_KEPT} revisions are kept")).at("keep")
            );
        }
        dependency::validate(&spec.depends_on)?;
        spec.validate_mode()
    }
}

impl ServiceSpec {
    fn validate_mode(&self) -> Result<()> {
        let bounded = |count: u32, least: u32, field: &str| match count {
            count if (least..=MOST).contains(&count) => Ok(()),
            _ => Err(Error::invalid(format!("{count} is not between {least} and {MOST}"))
                .at(format!("mode.{field}"))),
        };
        match &self.mode {
            ServiceMode::Replicated { replicas } => bounded(*replicas, 0, "replicated.replicas"),
            ServiceMode::Job { completions, parallelism, retries, .. } => {
                bounded(*retries, 0, "job.retries")?;
                bounded(*completions, 1, "job.completions")?;
                bounded(*parallelism, 1, "job.parallelism")?;
                if self.template.spec.restart != RestartPolicy::No {
                    return Err(Error::invalid("a job starts what failed again by itself")
                        .at("template.spec.restart")
                        .next("leave the restart policy out"));
                }
                Ok(())
            }
            ServiceMode::Global {} => Ok(()),
            ServiceMode::Cron(schedule) => {
                schedule.validate().map_err(|error| error.under("mode.cron"))?;
                match self.template.spec.restart {
                    RestartPolicy::No | RestartPolicy::OnFailure { max: Some(_) } => Ok(()),
                    RestartPolicy::OnFailure { max: None }
                    | RestartPolicy::Always
                    | RestartPolicy::UnlessStopped => {
                        Err(Error::invalid("a run at a set time has to come to an end")
                            .at("template.spec.restart")
                            .next("leave the restart policy out, or bound its tries"))
                    }
                }
            }
        }
    }

    /// Whether its instances are to run for good, and others reach them by its name.
    #[must_use]
    pub fn lasts(&self) -> bool {
        match self.mode {
            ServiceMode::Replicated { .. } | ServiceMode::Global {} => true,
            ServiceMode::Job { .. } | ServiceMode::Cron(_) => false,
        }
    }

    /// Whether it has an address of its own on its networks, which leads to its instances.
    #[must_use]
    pub fn has_address(&self) -> bool {
        let single = self.access.mode == AccessMode::VirtualAddress;
        let joined = matches!(self.template.spec.network, NetworkMode::Networks { .. });
        single && self.lasts() && joined
    }

    /// How many earlier templates are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.keep.unwrap_or(10) as usize
    }

    /// How many instances are wanted at a time; none where that is told by nodes or the time.
    #[must_use]
    pub fn wanted(&self) -> Option<u32> {
        match self.mode {
            ServiceMode::Replicated { replicas } => Some(replicas),
            ServiceMode::Job { completions, parallelism, .. } => Some(completions.min(parallelism)),
            ServiceMode::Global {} | ServiceMode::Cron(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::ContainerSpec;

    fn spec() -> ServiceSpec {
        let container = ContainerSpec {
            name: "main".into(),
            image: "nginx".into(),
            ..ContainerSpec::default()
        };
        let spec = InstanceSpec { containers: vec![container], ..InstanceSpec::default() };
        let template = Template { spec, ..Template::default() };
        ServiceSpec { template, ..ServiceSpec::default() }
    }

    #[test]
    fn slots_are_kept_as_ranges() {
        let mut slots = SlotSet::default();
        for number in [3, 1, 5, 2, 2, u32::MAX, 4, 9] {
            slots.insert(number);
        }
        assert_eq!(slots.0, [[1, 5], [9, 9], [u32::MAX, u32::MAX]]);
        assert_eq!((slots.len(), slots.last()), (7, Some(u32::MAX)));
        let there: Vec<u32> = (0..12).filter(|number| slots.contains(*number)).collect();
        assert_eq!(there, [1, 2, 3, 4, 5, 9]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        type Edit = fn(&mut ServiceSpec);
        assert!(ServiceNoun::validate(&spec()).is_ok());
        let job = |spec: &mut ServiceSpec| {
            spec.mode =
                ServiceMode::Job { completions: 1, parallelism: 1, retries: 0, deadline: None };
        };
        let mut good = spec();
        job(&mut good);
        assert!(ServiceNoun::validate(&good).is_ok());
        let cases: [(&str, Edit); 5] = [
            ("template.spec.containers", |it| it.template.spec.containers.clear()),
            ("template.spec.autoRemove", |it| it.template.spec.auto_remove = true),
            ("mode.replicated.replicas", |it| {
                it.mode = ServiceMode::Replicated { replicas: MOST + 1 }
            }),
            ("update.maxFailurePercent", |it| it.update.max_failure_percent = 101),
            ("keep", |it| it.keep = Some(MOST_KEPT + 1)),
        ];
        for (field, edit) in cases {
            let mut bad = spec();
            edit(&mut bad);
            assert_eq!(ServiceNoun::validate(&bad).unwrap_err().field(), Some(field));
        }
        let mut bad = good.clone();
        bad.template.spec.restart = RestartPolicy::Always;
        assert_eq!(ServiceNoun::validate(&bad).unwrap_err().field(), Some("template.spec.restart"));
    }
}
