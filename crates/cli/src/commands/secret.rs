//! `hull secret`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{Draft, DraftMeta};
use model::secret::{Secret as Known, SecretNoun, SecretSpec};
use model::{Bytes, Result};

use crate::commands::each;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::parse::env;
use crate::{complete, out, plan, source};

/// Secrets.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "A secret does not change, and its value is never shown: only instances read it.\n\nExamples:\n  hull secret create db-password password.txt\n  hull run -d --secret db-password postgres"
)]
pub enum Secret {
    /// Make a secret of a file
    Create(Create),
    /// List secrets
    Ls(Ls),
    /// Show secrets, but not their values
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// Remove secrets that nobody reads
    Rm(Rm),
    /// Seal all secrets with a new key, and forget the old one
    Rotate(Rotate),
}

/// Makes a secret.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull secret create db-password password.txt\n  openssl rand -base64 30 | tr -d '\\n' | hull secret create db-password -"
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
    /// The file with its value; - reads standard input
    file: String,
}

/// Lists secrets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull secret ls")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows secrets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull secret show db-password")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The secrets
    #[arg(required = true, add = ArgValueCompleter::new(complete::secrets))]
    names: Vec<String>,
}

/// Removes secrets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull secret rm db-password")]
pub struct Rm {
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The secrets
    #[arg(required = true, add = ArgValueCompleter::new(complete::secrets))]
    names: Vec<String>,
}

/// Changes the key that all secrets of the platform are sealed with. Who is cut off runs it again: it goes
/// on where it was. A backup that was made before is read with the keys of before: keep a copy of
/// secret.keys with it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull secret rotate\n  hull secret rotate -o json")]
pub struct Rotate {
    #[command(flatten)]
    output: Output,
}

impl Secret {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let secrets = context.client.secrets(&context.project);
        match self {
            Secret::Create(args) => {
                let labels = env::labels(&[], &args.label)?;
                let meta = DraftMeta { name: args.name, labels, ..DraftMeta::default() };
                let spec = SecretSpec::new(source::read(&args.file)?);
                let secret = secrets.create(&Draft { meta, spec }, args.plan).await?;
                if args.plan {
                    plan::creation(&secret)?;
                } else {
                    out::line(&secret.meta.name);
                }
            }
            Secret::Ls(args) => args.listing.show(&secrets, &VIEW).await?,
            Secret::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&secrets.get(name).await?, args.output.output)
                })
                .await;
            }
            Secret::Rotate(args) => args.run(context).await?,
            Secret::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&secrets, name, args.plan, true).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    async fn run(self, context: &Context) -> Result<()> {
        let done = context.client.system().rotate_keys().await?;
        if out::structured(self.output.output, &done)? {
            return Ok(());
        }
        out::line(&done.key);
        out::remark(format!("{} records were sealed anew", done.sealed));
        match done.forgotten.as_slice() {
            [] => {}
            keys => out::remark(format!(
                "forgotten: {}; keep the copies of secret.keys that belong to earlier backups, and \
                 copy it anew",
                keys.join(", ")
            )),
        }
        if done.unreadable > 0 {
            let count = done.unreadable;
            out::remark(format!("{count} cannot be read, as their keys are lost: hull status"));
        }
        Ok(())
    }
}

const VIEW: View<SecretNoun> =
    View { titles: &["NAME", "ID", "SIZE", "READ BY", "AGE"], right: &[2], row };

fn row(secret: &Known) -> Vec<String> {
    vec![
        secret.meta.name.clone(),
        secret.meta.id.short().to_owned(),
        Bytes(secret.spec.size).to_string(),
        out::short(&secret.status.used_by.join(","), 40),
        out::age(secret.meta.created),
    ]
}
