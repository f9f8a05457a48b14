//! `hull project`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{Draft, DraftMeta};
use model::project::{Project as Known, ProjectNoun, ProjectSpec, Resource};
use model::{Error, Result};
use serde_json::{Value, json};

use crate::commands::each;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::parse::quota::Bound;
use crate::parse::{env, quota};
use crate::{complete, out, plan};

/// Projects.
#[derive(Debug, Subcommand)]
pub enum Project {
    /// Make a project
    Create(Create),
    /// List projects
    Ls(Ls),
    /// Show projects
    Show(Show),
    /// Change what is said of a project, and its quota
    Update(Update),
    /// Remove projects
    Rm(Rm),
}

/// Makes a project.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull project create shop\n  hull project create shop --quota instances=20,cpus=4,memory=8g\n  hull --project shop ps"
)]
pub struct Create {
    /// For people
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    description: String,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Most of instances, cpus, memory, volumes or storage that it may have
    #[arg(long, value_name = "RESOURCE=AMOUNT", value_delimiter = ',')]
    quota: Vec<Bound>,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// Its name
    name: String,
}

/// Lists projects.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull project ls")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows projects.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull project show shop")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The projects
    #[arg(required = true, add = ArgValueCompleter::new(complete::projects))]
    names: Vec<String>,
}

/// Changes what is said of a project, and its quota. A quota counts for what comes: nothing that runs is ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull project update shop --quota memory=16g,volumes=none\n  hull project update shop --no-quota\n  hull project update shop --description 'The shop and its database'"
)]
pub struct Update {
    /// For people
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// Most of instances, cpus, memory, volumes or storage that it may have; none for no bound
    #[arg(long, value_name = "RESOURCE=AMOUNT", value_delimiter = ',')]
    quota: Vec<Bound>,
    /// Bound nothing any more
    #[arg(long, conflicts_with = "quota")]
    no_quota: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The project
    #[arg(add = ArgValueCompleter::new(complete::projects))]
    name: String,
}

/// Removes projects, which must be empty.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull project rm shop")]
pub struct Rm {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The projects
    #[arg(required = true, add = ArgValueCompleter::new(complete::projects))]
    names: Vec<String>,
}

impl Project {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let projects = context.client.projects();
        match self {
            Project::Create(args) => {
                let labels = env::labels(&[], &args.label)?;
                let meta = DraftMeta { name: args.name, labels, ..DraftMeta::default() };
                let quota = quota::quota(&args.quota);
                let spec = ProjectSpec { description: args.description, quota };
                let project = projects.create(&Draft { meta, spec }, args.plan).await?;
                if args.plan {
                    plan::creation(&project)?;
                } else {
                    out::line(&project.meta.name);
                }
            }
            Project::Ls(args) => args.listing.show(&projects, &VIEW).await?,
            Project::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&projects.get(name).await?, args.output.output)
                })
                .await;
            }
            Project::Update(args) => args.run(context).await?,
            Project::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&projects, name, args.plan, true).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Update {
    async fn run(self, context: &Context) -> Result<()> {
        let projects = context.client.projects();
        let mut spec = json!({});
        if let Some(description) = self.description {
            spec["description"] = description.into();
        }
        if self.no_quota {
            spec["quota"] = Value::Null;
        } else if !self.quota.is_empty() {
            spec["quota"] = quota::patch(&self.quota)?;
        }
        if spec == json!({}) {
            return Err(Error::invalid("nothing is to be changed")
                .next("say what: --quota memory=4g, --no-quota or --description"));
        }
        objects::patch(&projects, &self.name, &json!({ "spec": spec }), self.plan).await
    }
}

/// What is used of a quota: `3/10`.
fn used(project: &Known, resource: Resource) -> String {
    let Some(bound) = resource.bound(&project.spec.quota) else { return "-".to_owned() };
    let bound = resource.show(bound);
    match &project.status.used {
        Some(used) => format!("{}/{bound}", resource.show(resource.amount(used))),
        None => bound,
    }
}

const VIEW: View<ProjectNoun> = View {
    titles: &["NAME", "INSTANCES", "CPUS", "MEMORY", "VOLUMES", "STORAGE", "DESCRIPTION", "AGE"],
    right: &[1, 2, 3, 4, 5],
    row: |project: &Known| {
        let name = [project.meta.name.clone()];
        let used = Resource::ALL.map(|resource| used(project, resource));
        let rest = [out::short(&project.spec.description, 60), out::age(project.meta.created)];
        name.into_iter().chain(used).chain(rest).collect()
    },
};
