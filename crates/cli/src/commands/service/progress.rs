//! Waiting for what becomes of a service.

use std::process::ExitCode;

use client::Objects;
use client::wire::{ChangeKind, ListQuery};
use futures::StreamExt;
use model::service::{Service as Known, ServiceMode, ServiceNoun, ServicePhase};
use model::{Error, Result};

use crate::out;

/// Follows a service until it has what was asked, or it is known that it will not; tells how far it is.
pub async fn settle(
    services: &Objects<ServiceNoun>,
    service: &Known,
    detach: bool,
) -> Result<ExitCode> {
    if !detach {
        let fields = format!("meta.id={}", service.meta.id);
        let query = ListQuery { fields, ..ListQuery::default() };
        let mut changes = services.watch(&query).await?;
        let mut told = String::new();
        loop {
            let Some(change) = changes.next().await else {
                return Err(Error::unavailable("the connection to the platform ended")
                    .next("hull service ls"));
            };
            let change = change?;
            let Some(now) = change.object else { continue };
            if change.r#type == ChangeKind::Removed {
                return Err(Error::not_found(format!("{} was removed", now.title())));
            }
            let progress = progress(&now);
            if progress != told {
                out::remark(&progress);
                told = progress;
            }
            if let Some(outcome) = outcome(&now, service) {
                outcome?;
                break;
            }
        }
    }
    out::line(&service.meta.name);
    Ok(ExitCode::SUCCESS)
}

fn progress(service: &Known) -> String {
    let (name, status) = (&service.meta.name, &service.status);
    let phase = status.phase.as_str();
    let count = match service.spec.mode {
        ServiceMode::Replicated { replicas } => format!(
            "{} of {replicas} at revision {}, {} ready",
            status.updated, status.revision, status.ready
        ),
        ServiceMode::Global {} => format!(
            "{} of {} at revision {}, {} ready",
            status.updated, status.wanted, status.revision, status.ready
        ),
        ServiceMode::Cron(_) => match status.next_due {
            Some(next) => format!("{} runs go on, the next one is at {next}", status.running),
            None => format!("{} runs go on", status.running),
        },
        ServiceMode::Job { completions, .. } => {
            format!(
                "{} of {completions} runs ended well, {} failed",
                status.succeeded, status.failed
            )
        }
    };
    match &status.reason {
        Some(reason) => format!("{name}: {phase}: {count} ({})", out::short(&reason.message, 100)),
        None => format!("{name}: {phase}: {count}"),
    }
}

/// Whether there is nothing more to wait for, since it was as `begun`.
fn outcome(service: &Known, begun: &Known) -> Option<Result<()>> {
    let status = &service.status;
    if status.observed_generation < begun.meta.generation {
        return None;
    }
    let failed = || {
        let why = status.reason.as_ref();
        let message = why.map_or("it is not known why", |reason| reason.message.as_str());
        let phase = status.phase.as_str();
        let error = Error::conflict(format!("{} is {phase}: {message}", service.title()));
        match why.and_then(|reason| reason.next.clone()) {
            Some(next) => error.next(next),
            None => error.next(format!("hull service ps {}", service.meta.name)),
        }
    };
    // Those that failed are not waited for.
    let all = status.ready.saturating_add(status.failed) >= status.wanted
        && status.existing == status.wanted;
    // How it went with an earlier template is no news.
    let news = status.revision != begun.status.revision || begun.status.phase != status.phase;
    match status.phase {
        ServicePhase::Complete | ServicePhase::Scheduled => Some(Ok(())),
        ServicePhase::Updating if service.spec.paused => Some(Ok(())),
        ServicePhase::Paused | ServicePhase::RolledBack if news => Some(Err(failed())),
        ServicePhase::Failed => Some(Err(failed())),
        ServicePhase::Steady | ServicePhase::Paused | ServicePhase::RolledBack => {
            all.then_some(Ok(()))
        }
        ServicePhase::Pending
        | ServicePhase::Updating
        | ServicePhase::RollingBack
        | ServicePhase::Removing => None,
    }
}
