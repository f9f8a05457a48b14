//! `hull config`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{Draft, DraftMeta};
use model::config::{Config as Known, ConfigNoun, ConfigSpec};
use model::{Bytes, Result};

use crate::commands::each;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::parse::env;
use crate::{complete, out, plan, source};

/// Configs.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "A config does not change: make another one, and have instances read that.\n\nExamples:\n  hull config create site nginx.conf\n  hull run -d --config site,target=/etc/nginx/nginx.conf nginx"
)]
pub enum Config {
    /// Make a config of a file
    Create(Create),
    /// List configs
    Ls(Ls),
    /// Show configs
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// Remove configs that nobody reads
    Rm(Rm),
}

/// Makes a config.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull config create site nginx.conf\n  hull config create site -"
)]
pub struct Create {
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// Its name
    name: String,
    /// The file; - reads standard input
    file: String,
}

/// Lists configs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull config ls")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows configs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull config show site\n  hull config show --data site")]
pub struct Show {
    /// Write what stands in it, and nothing else
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    output: Output,
    /// The configs
    #[arg(required = true, add = ArgValueCompleter::new(complete::configs))]
    names: Vec<String>,
}

/// Removes configs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull config rm site")]
pub struct Rm {
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The configs
    #[arg(required = true, add = ArgValueCompleter::new(complete::configs))]
    names: Vec<String>,
}

impl Config {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let configs = context.client.configs(&context.project);
        match self {
            Config::Create(args) => {
                let labels = env::labels(&[], &args.label)?;
                let meta = DraftMeta { name: args.name, labels, ..DraftMeta::default() };
                let spec = ConfigSpec::new(source::read(&args.file)?);
                let config = configs.create(&Draft { meta, spec }, args.plan).await?;
                if args.plan {
                    plan::creation(&config)?;
                } else {
                    out::line(&config.meta.name);
                }
            }
            Config::Ls(args) => args.listing.show(&configs, &VIEW).await?,
            Config::Show(args) => {
                return each(&args.names, async |name| {
                    let config = configs.get(name).await?;
                    if args.data {
                        out::bytes(config.spec.data.bytes());
                        return Ok(());
                    }
                    objects::show(&config, args.output.output)
                })
                .await;
            }
            Config::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&configs, name, args.plan, true).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

const VIEW: View<ConfigNoun> =
    View { titles: &["NAME", "ID", "SIZE", "READ BY", "AGE"], right: &[2], row };

fn row(config: &Known) -> Vec<String> {
    vec![
        config.meta.name.clone(),
        config.meta.id.short().to_owned(),
        Bytes(config.spec.data.len() as u64).to_string(),
        out::short(&config.status.used_by.join(","), 40),
        out::age(config.meta.created),
    ]
}
