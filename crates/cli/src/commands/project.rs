//! `hull project`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{Draft, DraftMeta};
use model::Result;
use model::project::{Project as Known, ProjectNoun, ProjectSpec};

use crate::commands::each;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::parse::env;
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
    /// Remove projects
    Rm(Rm),
}

/// Makes a project.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull project create shop\n  hull --project shop ps")]
pub struct Create {
    /// For people
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    description: String,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
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
                let spec = ProjectSpec { description: args.description };
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

const VIEW: View<ProjectNoun> = View {
    titles: &["NAME", "DESCRIPTION", "AGE"],
    right: &[],
    row: |project: &Known| {
        vec![
            project.meta.name.clone(),
            out::short(&project.spec.description, 60),
            out::age(project.meta.created),
        ]
    },
};
