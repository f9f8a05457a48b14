//! `hull pause` and `hull unpause`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{Goal, SettleQuery};
use model::Result;
use model::instance::Instance;

use crate::commands::each;
use crate::complete;
use crate::context::Context;
use crate::out;

/// Freezes instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull pause web")]
pub struct Pause {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

/// Unfreezes instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull unpause web")]
pub struct Unpause {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Pause {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            let instance = context.instances().pause(name, self.plan).await?;
            settle(context, &instance, Goal::Paused, self.plan).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}

impl Unpause {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            let instance = context.instances().unpause(name, self.plan).await?;
            settle(context, &instance, Goal::Started, self.plan).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}

/// Waits for what a verb was to bring about, unless it was only planned.
async fn settle(context: &Context, instance: &Instance, goal: Goal, plan: bool) -> Result<()> {
    if plan {
        return Ok(());
    }
    let query = SettleQuery { goal, timeout: None };
    context.instances().settle(instance.meta.id.as_str(), &query).await.map(drop)
}
