//! Services: instances kept of a template. What is done for one stands in `reconcile/services.rs`, and
//! what is to be done in `planner::rollout`.

use std::sync::Arc;

use model::instance::RestartPolicy;
use model::name::MAX_NAME;
use model::service::{Service as Kept, ServiceMode as Counted, ServiceNoun};
use model::{Error, Kind, Result};

use crate::batch::Batch;
use crate::caller::Caller;
use crate::core::Mode;
use crate::service::{Context, Rules, Service, find};

/// The finalizer of a service that has instances.
pub(crate) const INSTANCES: &str = "instances";

/// What an instance's name has more than its service's: slot and revision.
const LONGEST_NAME: usize = MAX_NAME - 24;

/// The verbs of services.
pub type Services = Service<ServiceNoun>;

impl Rules for ServiceNoun {
    fn admit(_: &Context<'_>, service: &mut Kept, _: &mut Batch) -> Result<()> {
        let name = &service.meta.name;
        if name.len() > LONGEST_NAME {
            return Err(Error::invalid(format!(
                "a service's name has {LONGEST_NAME} bytes at most: its instances' are longer"
            ))
            .at("meta.name"));
        }
        complete(service);
        service.meta.finalizers.push(INSTANCES.to_owned());
        Ok(())
    }

    fn change(_: &Context<'_>, old: &Kept, new: &mut Kept, _: &mut Batch) -> Result<()> {
        if old.meta.name != new.meta.name {
            return Err(Error::unsupported("a service's instances are called after it")
                .at("meta.name")
                .next("make another service"));
        }
        let is_job = |service: &Kept| matches!(service.spec.mode, Counted::Job { .. });
        if is_job(old) != is_job(new) {
            return Err(Error::conflict("a job does not become another kind of service")
                .at("spec.mode")
                .next("make another service"));
        }
        complete(new);
        Ok(())
    }
}

/// Has instances of a service that are to run always do so.
fn complete(service: &mut Kept) {
    let counted = matches!(service.spec.mode, Counted::Replicated { .. });
    let spec = &mut service.spec.template.spec;
    if counted && spec.restart == RestartPolicy::No {
        spec.restart = RestartPolicy::UnlessStopped;
    }
    // Control's own words for one instance are nothing for many.
    spec.placement = None;
    spec.stop = None;
    spec.runs = 0;
    spec.final_run = 0;
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
