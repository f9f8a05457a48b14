//! Services: instances kept of a template. What is done for one stands in `reconcile/services.rs`, and
//! what is to be done in `planner::rollout`.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::instance::RestartPolicy;
use model::name::MAX_NAME;
use model::service::{Service as Kept, ServiceMode as How, ServiceNoun, ServiceSpec};
use model::{Error, Kind, Result};

use crate::batch::Batch;
use crate::caller::{Caller, Verb, authorise, stay_inside};
use crate::core::Mode;
use crate::mirror::State;
use crate::reconcile::services::reach;
use crate::service::{Context, Rules, Service, find};

/// The finalizer of a service that has instances.
pub(crate) const INSTANCES: &str = "instances";

/// What an instance's name has more than its service's: slot and revision.
const LONGEST_NAME: usize = MAX_NAME - 24;

/// The verbs of services.
pub type Services = Service<ServiceNoun>;

/// Its instances are made by the platform, which may do what whoever asks for them may not.
fn inside(context: &Context<'_>, spec: &ServiceSpec) -> Result<()> {
    stay_inside(context.caller, spec.template.spec.reach())
        .map_err(|error| error.under("spec.template.spec"))
}

impl Rules for ServiceNoun {
    fn admit(context: &Context<'_>, service: &mut Kept, _: &mut Batch) -> Result<()> {
        check_name(&service.meta.name)?;
        inside(context, &service.spec)?;
        refuse_circle(context.state, service)?;
        reach::refuse_shut_in(context.state, service)?;
        complete(service);
        service.meta.finalizers.push(INSTANCES.to_owned());
        Ok(())
    }

    fn change(context: &Context<'_>, old: &Kept, new: &mut Kept, _: &mut Batch) -> Result<()> {
        if old.meta.name != new.meta.name {
            return Err(Error::unsupported("a service's instances are called after it")
                .at("meta.name")
                .next("make another service"));
        }
        if kind_of(&old.spec.mode) != kind_of(&new.spec.mode) {
            return Err(Error::conflict(format!(
                "a {} service does not become a {} one",
                kind_of(&old.spec.mode),
                kind_of(&new.spec.mode)
            ))
            .at("spec.mode")
            .next("make another service"));
        }
        if old.spec.template != new.spec.template {
            inside(context, &new.spec)?;
        }
        refuse_circle(context.state, new)?;
        let (before, after) = (&old.spec.template.spec, &new.spec.template.spec);
        let moved = old.spec.has_address() != new.spec.has_address();
        // One whose network became internal later can be changed in other respects.
        if moved || before.ports != after.ports || before.network != after.network {
            reach::refuse_shut_in(context.state, new)?;
        }
        // Its ports are its instances' now, or were: they are made anew with them, or without.
        if moved && !after.ports.is_empty() && before.ports == after.ports {
            new.spec.template.renewed = new.spec.template.renewed.saturating_add(1);
        }
        complete(new);
        Ok(())
    }
}

/// The word for how a service has its instances.
fn kind_of(mode: &How) -> &'static str {
    match mode {
        How::Replicated { .. } => "replicated",
        How::Global {} => "global",
        How::Job { .. } => "job",
        How::Cron(_) => "cron",
    }
}

/// Refuses a name that is too long for those of its instances.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a service's name has {LONGEST_NAME} bytes at most: its instances' are longer"
    ))
    .at("meta.name"))
}

/// Has instances of a service that are to run always do so.
pub(crate) fn complete(service: &mut Kept) {
    let lasts = service.spec.lasts();
    let spec = &mut service.spec.template.spec;
    if lasts && spec.restart == RestartPolicy::No {
        spec.restart = RestartPolicy::UnlessStopped;
    }
}

/// Refuses a service that would wait for itself, through others.
fn refuse_circle(state: &State, service: &Kept) -> Result<()> {
    let (own, project) = (service.meta.name.as_str(), &service.meta.project);
    let mut seen = BTreeSet::new();
    let names = |kept: &Kept, way: &[String]| -> Vec<Vec<String>> {
        let next = kept.spec.depends_on.iter().map(|it| it.service.clone());
        next.map(|name| way.iter().cloned().chain([name]).collect()).collect()
    };
    let mut open = names(service, &[own.to_owned()]);
    while let Some(way) = open.pop() {
        let Some(last) = way.last() else { continue };
        if last == own {
            return Err(Error::invalid(format!(
                "service {own:?} would wait for itself: {}",
                way.join(" depends on ")
            ))
            .at("spec.dependsOn")
            .next("take one of them out of what another depends on"));
        }
        if seen.insert(last.clone())
            && let Some(other) = state.services.by_name(project, last)
        {
            open.extend(names(other, &way));
        }
    }
    Ok(())
}

impl Services {
    /// Takes an earlier template again: that of the revision of this number, or the last one that was in
    /// force before and is not known to fail.
    ///
    /// # Errors
    /// `NotFound` for a revision that is not kept, `Conflict` when there is none to go back to.
    pub async fn roll_back(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        to: Option<u64>,
        mode: Mode,
    ) -> Result<Arc<Kept>> {
        authorise(caller, Verb::Update, Kind::Service, project)?;
        let service = self.core.read(|state| find::<ServiceNoun>(state, project, name).cloned())?;
        let status = &service.status;
        let number = match to {
            Some(number) => number,
            None => status.before().ok_or_else(|| {
                Error::conflict(format!("{} has no earlier revision", service.title()))
            })?,
        };
        let revision = status.revision(number).ok_or_else(|| {
            Error::not_found(format!("{} has no revision {number}", service.title()))
                .next(format!("hull {} history {name}", Kind::Service))
        })?;
        let template = revision.template.clone();
        let edit = |(_, _, spec): crate::service::Editable<'_, ServiceNoun>| {
            spec.template.clone_from(&template);
            spec.paused = false;
            Ok(())
        };
        self.update(caller, project, name, None, edit, mode).await
    }
}
