//! What a service waits for: others that it depends on.

use model::instance::Reason;
use model::service::{Dependency, DependencyCondition, Service, ServiceMode, ServicePhase};

use super::Work;

/// The code of what waits for another service.
const NOT_READY: &str = "DependencyNotReady";

/// How far another service is, for one that depends on it.
enum Progress {
    /// As far as it has to be.
    There,
    /// Not so far yet, as this sentence says.
    Under(String),
    /// It will not get so far by itself, as this sentence says.
    Stuck(String),
}

impl Work<'_> {
    /// What it waits for before instances of the present revision are made, and whether all of them are
    /// to be made anew, as another service has changed. What was waited for once is not waited for again
    /// with the same revision: an instance that is lost is replaced also while another service is ill.
    pub(super) fn depend(&mut self) -> (Option<Reason>, bool) {
        let renew = self.follow();
        if self.status.cleared == self.status.revision {
            return (None, renew);
        }
        let all = &self.service.spec.depends_on;
        let reason = all.iter().find_map(|dependency| self.waits_behind(dependency));
        if reason.is_none() {
            self.status.cleared = self.status.revision;
        }
        (reason, renew)
    }

    fn waits_behind(&self, dependency: &Dependency) -> Option<Reason> {
        let name = &dependency.service;
        let Some(other) = self.around.services.get(name.as_str()) else {
            let reason =
                Reason::new(NOT_READY, format!("there is no service {name:?} to wait for"));
            let next = format!("make service {name:?}, or take it out of what this one depends on");
            return dependency.required.then_some(Reason { next: Some(next), ..reason });
        };
        match progress(other, dependency.condition) {
            Progress::There => None,
            Progress::Stuck(_) if !dependency.required => None,
            Progress::Under(how) | Progress::Stuck(how) => {
                let wanted = dependency.condition.as_str();
                let why = other.status.reason.as_ref();
                let why = why.map_or(String::new(), |why| format!(": {}", why.message));
                let message = format!("service {name:?} is not {wanted} yet: {how}{why}");
                let next = Some(format!("`hull explain {name}` says what that one waits for"));
                Some(Reason { next, ..Reason::new(NOT_READY, message) })
            }
        }
    }

    /// Notes with which revisions of others it is made. True when one of them is another than before.
    fn follow(&mut self) -> bool {
        let mut renew = false;
        let along: Vec<_> = self.service.spec.depends_on.iter().filter(|it| it.restart).collect();
        self.status.along.retain(|name, _| along.iter().any(|it| it.service == *name));
        for dependency in along {
            let other = self.around.services.get(dependency.service.as_str());
            let Some(other) = other.filter(|other| is_settled(other)) else { continue };
            let revision = other.status.revision;
            let before = self.status.along.insert(dependency.service.clone(), revision);
            renew |= before.is_some_and(|before| before != revision);
        }
        // What was never made is not made anew.
        renew && self.status.cleared > 0
    }
}

/// Whether all instances of a service are of its present revision.
fn is_settled(service: &Service) -> bool {
    let status = &service.status;
    status.observed_generation == service.meta.generation
        && status.updated >= status.wanted
        && matches!(status.phase, ServicePhase::Steady | ServicePhase::RolledBack)
}

fn progress(other: &Service, condition: DependencyCondition) -> Progress {
    let status = &other.status;
    let name = &other.meta.name;
    if other.meta.deleted.is_some() {
        return Progress::Stuck("it is being removed".into());
    }
    if status.observed_generation != other.meta.generation {
        return Progress::Under("what was asked of it is not begun".into());
    }
    let lasts = match other.spec.mode {
        ServiceMode::Replicated { .. } | ServiceMode::Global {} => true,
        ServiceMode::Job { .. } | ServiceMode::Cron(_) => false,
    };
    let (wanted, updated) = (status.wanted, status.updated);
    match (condition, status.phase) {
        (_, ServicePhase::Failed) => Progress::Stuck("it was given up".into()),
        (_, ServicePhase::Complete) => Progress::There,
        (DependencyCondition::Completed, _) if lasts => {
            Progress::Stuck(format!("{name:?} is no job, and is never complete"))
        }
        (DependencyCondition::Completed, _) if status.succeeded > 0 && is_cron(other) => {
            Progress::There
        }
        (DependencyCondition::Completed, _) => {
            Progress::Under(format!("{} runs ended well", status.succeeded))
        }
        // What ran already is far enough for who waits for a start.
        (DependencyCondition::Started | DependencyCondition::Healthy, _) if !lasts => {
            match status.running + status.succeeded + status.failed {
                0 => Progress::Under("no run has begun".into()),
                _ => Progress::There,
            }
        }
        (_, ServicePhase::Paused) if updated < wanted => {
            Progress::Stuck(format!("{updated} of {wanted} instances are as its template says"))
        }
        (DependencyCondition::Started, _) => {
            so_many(status.running.min(updated), wanted, "instances run")
        }
        (DependencyCondition::Healthy, _) => {
            so_many(status.ready.min(updated), wanted, "instances are ready")
        }
    }
}

fn so_many(count: u32, wanted: u32, what: &str) -> Progress {
    match count >= wanted {
        true => Progress::There,
        false => Progress::Under(format!("{count} of {wanted} {what}")),
    }
}

fn is_cron(service: &Service) -> bool {
    match service.spec.mode {
        ServiceMode::Cron(_) => true,
        ServiceMode::Replicated { .. } | ServiceMode::Global {} | ServiceMode::Job { .. } => false,
    }
}
