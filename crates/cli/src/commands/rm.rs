//! `hull rm`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{DeleteQuery, Goal, SettleQuery};
use model::{ErrorKind, Result};

use crate::commands::each;
use crate::context::Context;
use crate::{complete, out, plan};

/// Removes instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull rm web\n  hull rm -f $(hull ps -aq)")]
pub struct Rm {
    /// Also those that run
    #[arg(short, long)]
    force: bool,
    /// With the volumes that were made for them alone
    #[arg(short, long)]
    volumes: bool,
    /// Don't wait until they are gone
    #[arg(long)]
    no_wait: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The instances
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Rm {
    /// Runs the command. All removals are asked for before the first is waited for.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let options = || DeleteQuery { plan: self.plan, force: self.force, volumes: self.volumes };
        let mut going = Vec::new();
        let asked = each(&self.names, async |name| {
            let instance = context.instances().delete(name, options()).await?;
            if self.plan {
                plan::removal(&instance);
                return Ok(());
            }
            going.push((name.to_owned(), instance.meta.id.to_string()));
            Ok(())
        })
        .await?;
        for (name, id) in going {
            if !self.no_wait {
                let query = SettleQuery { goal: Goal::Removed, timeout: None };
                match context.instances().settle(&id, &query).await {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            out::line(name);
        }
        Ok(asked)
    }
}
