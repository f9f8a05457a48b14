//! `hull catalog install`, `upgrade` and `rollback`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{AppRollBackRequest, InstallRequest, TemplateUpgradeRequest};
use model::app::App;
use model::template::Question;
use model::{Error, Result};

use super::answer::{Given, ask};
use super::show::named;
use crate::commands::app::progress::{Ending, conclude};
use crate::complete;
use crate::context::Context;

/// How a change is made.
#[derive(Debug, Clone, Args)]
struct How {
    /// Leave what failed as it is, and do not take back the last revision that worked
    #[arg(long)]
    keep_failed: bool,
    #[command(flatten)]
    ending: Ending,
}

/// Makes an app of a template. What is not answered by --set or --answers is asked, when somebody sits at
/// a terminal, and else the default counts.
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:\n  hull catalog install elk --set nodes=3\n  hull catalog install postgres --name sales --answers sales.yaml\n  hull catalog install rancher/wordpress --plan"
)]
pub struct Install {
    #[command(flatten)]
    given: Given,
    /// The app's name; the template's when none is given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// This version; the one that is offered when none is given
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    how: How,
    /// The template: NAME or CATALOG/NAME
    #[arg(add = ArgValueCompleter::new(complete::templates))]
    template: String,
}

/// Changes an app to another version of its template, or by other answers. Answers that are not given
/// stay. When the new revision does not become ready, the last one that did is taken back.
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:\n  hull catalog upgrade elk --set nodes=5\n  hull catalog upgrade blog --version 6.9\n  hull catalog upgrade blog --latest --plan"
)]
pub struct Upgrade {
    #[command(flatten)]
    given: Given,
    /// To this version; the one it has when none is given
    #[arg(long, value_name = "VERSION", conflicts_with = "latest")]
    version: Option<String>,
    /// To the version that the catalog offers
    #[arg(long)]
    latest: bool,
    /// Do not copy its volumes first, with which it could go back
    #[arg(long)]
    no_snapshot: bool,
    #[command(flatten)]
    how: How,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    app: String,
}

/// Takes an app back to an earlier revision: its version, its answers and its objects.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull catalog rollback elk\n  hull catalog rollback --to 2 elk"
)]
pub struct Rollback {
    /// Number of the revision; the last one that did not fail when not given
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Its volumes, too, as they were copied when it was left; the present ones stay beside them
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    ending: Ending,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    app: String,
}

impl Install {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode> {
        let mut answers = self.given.read()?;
        let (catalog, template) = named(context, &self.template).await?;
        if !self.yes && !self.how.ending.plan {
            let version = self.version.as_deref();
            let asked = questions(context, (&catalog, &template), version).await?;
            ask(&asked, &mut answers)?;
        }
        let name = self.name.clone().unwrap_or_else(|| template.clone());
        let request = InstallRequest {
            catalog,
            template,
            version: self.version,
            answers,
            keep_failed: self.how.keep_failed,
        };
        let apps = context.client.apps(&context.project);
        let waits = !self.how.ending.plan && !self.how.ending.detach;
        let done = apps.install(&name, &request, self.how.ending.plan).await?;
        let code = conclude(&apps, done, self.how.ending).await?;
        if waits {
            super::open::tell(context, &apps, &name).await;
        }
        Ok(code)
    }
}

async fn questions(
    context: &Context,
    (catalog, template): (&str, &str),
    version: Option<&str>,
) -> Result<Vec<Question>> {
    let templates = context.client.templates(&context.project);
    let detail = templates.get(catalog, template, version).await?;
    let version = detail.template.version(Some(&detail.version)).cloned();
    Ok(version.unwrap_or_default().questions)
}

impl Upgrade {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode> {
        let request = TemplateUpgradeRequest {
            version: self.version,
            latest: self.latest,
            answers: self.given.read()?,
            keep_failed: self.how.keep_failed,
            no_copies: self.no_snapshot,
        };
        let apps = context.client.apps(&context.project);
        let done = apps.upgrade_template(&self.app, &request, self.how.ending.plan).await?;
        conclude(&apps, done, self.how.ending).await
    }
}

impl Rollback {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode> {
        let apps = context.client.apps(&context.project);
        from_template(&apps.get(&self.app).await?)?;
        let request = AppRollBackRequest { revision: self.to, volumes: self.volumes };
        let done = apps.take_back(&self.app, request, self.ending.plan).await?;
        conclude(&apps, done, self.ending).await
    }
}

fn from_template(app: &App) -> Result<()> {
    if app.spec.origin.is_some() {
        return Ok(());
    }
    Err(Error::conflict(format!("{} is not from a template", app.title()))
        .next(format!("hull app rollback {}", app.meta.name)))
}
