//! What is told of a change of an app, and waiting for what becomes of it.

use std::process::ExitCode;

use clap::Args;
use client::Objects;
use client::wire::{ChangeKind, Deployed, ListQuery};
use futures::StreamExt;
use model::app::{App, AppDifference, AppNoun, AppPhase};
use model::{Error, Result};

use crate::context::Output;
use crate::out::{self, Format};

/// How a verb ends.
#[derive(Debug, Clone, Args)]
pub struct Ending {
    /// Print the name at once
    #[arg(short, long)]
    pub detach: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub plan: bool,
    #[command(flatten)]
    output: Output,
}

impl Ending {
    /// Has something told of a plan: beside it, where it is read by a program.
    pub fn tell(&self, telling: impl FnOnce(fn(String))) {
        match self.output.output {
            Format::Table | Format::Name => telling(out::line),
            Format::Json | Format::Yaml => telling(out::remark),
        }
    }
}

/// Tells what a verb made of an app, and waits until it is so.
pub async fn conclude(apps: &Objects<AppNoun>, done: Deployed, ending: Ending) -> Result<ExitCode> {
    for note in &done.ignored {
        let place = format!("{}:{}:{}", note.file, note.line, note.column);
        out::remark(format!("ignored: {place}: {}: {}", note.what, note.why));
    }
    let format = ending.output.output;
    let structured = matches!(format, Format::Json | Format::Yaml);
    if ending.plan {
        if !out::structured(format, &done)? {
            show(&done.changes);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut done = done;
    if !ending.detach {
        done.app = settle(apps, &done.app).await?;
    }
    match structured {
        true => drop(out::structured(format, &done)?),
        false => out::line(&done.app.meta.name),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints how an app differs from what is there.
pub fn show(changes: &[AppDifference]) {
    if changes.is_empty() {
        out::line("nothing would change");
    }
    for change in changes {
        let action = change.action.as_str();
        out::line(format!("{action:<8} {:<8} {}", change.kind.as_str(), change.name));
        change.reasons.iter().for_each(|reason| out::line(format!("           {reason}")));
    }
}

/// Follows an app until all of it is ready, or it is known that it will not be.
async fn settle(apps: &Objects<AppNoun>, app: &App) -> Result<App> {
    let query = ListQuery { fields: format!("meta.id={}", app.meta.id), ..ListQuery::default() };
    let mut changes = apps.watch(&query).await?;
    let mut told = String::new();
    loop {
        let change = changes.next().await.ok_or_else(|| {
            Error::unavailable("the connection to the platform ended").next("hull app ls")
        })??;
        let Some(now) = change.object else { continue };
        if change.r#type == ChangeKind::Removed {
            return Err(Error::not_found(format!("{} was removed", now.title())));
        }
        let progress = progress(&now);
        if progress != told {
            out::remark(&progress);
            told = progress;
        }
        if let Some(outcome) = outcome(&now, app) {
            return outcome.map(|()| App::clone(&now));
        }
    }
}

/// Waits until an app that is to go is gone.
pub async fn until_gone(apps: &Objects<AppNoun>, app: &App) -> Result<()> {
    let query = ListQuery { fields: format!("meta.id={}", app.meta.id), ..ListQuery::default() };
    let mut changes = apps.watch(&query).await?;
    let mut told = String::new();
    while let Some(change) = changes.next().await {
        let change = change?;
        match (change.r#type, change.object) {
            (ChangeKind::Removed, _) => return Ok(()),
            // What is there was told, and the app was not among it.
            (ChangeKind::Bookmark, _) if told.is_empty() => return Ok(()),
            (_, Some(now)) => {
                let progress = progress(&now);
                if progress != told {
                    out::remark(&progress);
                    told = progress;
                }
            }
            (_, None) => {}
        }
    }
    Err(Error::unavailable("the connection to the platform ended").next("hull app ls"))
}

fn progress(app: &App) -> String {
    let (name, status) = (&app.meta.name, &app.status);
    let count = format!("{} of {} services ready", status.ready, app.spec.objects.services.len());
    let phase = status.phase.as_str();
    match &status.reason {
        Some(reason) => format!("{name}: {phase}: {count} ({})", out::short(&reason.message, 160)),
        None => format!("{name}: {phase}: {count}"),
    }
}

/// Whether there is nothing more to wait for, since it was as `begun`.
fn outcome(app: &App, begun: &App) -> Option<Result<()>> {
    let status = &app.status;
    // What is told of it has to be of the present revision, which may be another one already.
    if status.observed_generation < begun.meta.generation.max(app.meta.generation) {
        return None;
    }
    let failed = || {
        let why = status.reason.as_ref();
        let message = why.map_or("it is not known why", |reason| reason.message.as_str());
        let phase = status.phase.as_str();
        let error = Error::conflict(format!("{} is {phase}: {message}", app.title()));
        match why.and_then(|reason| reason.next.clone()) {
            Some(next) => error.next(next),
            None => error.next(format!("hull app ps {}", app.meta.name)),
        }
    };
    let good = status.good.is_some_and(|good| good != app.spec.revision);
    let goes_back = app.spec.roll_back_on_failure && good && status.rolled_back_from.is_none();
    match status.phase {
        AppPhase::Ready => Some(Ok(())),
        AppPhase::RolledBack => Some(Err(failed())),
        AppPhase::Failed if !goes_back => Some(Err(failed())),
        AppPhase::Failed
        | AppPhase::Pending
        | AppPhase::Deploying
        | AppPhase::Degraded
        | AppPhase::RollingBack
        | AppPhase::Removing => None,
    }
}
