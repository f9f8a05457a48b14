//! `hull pause` and `hull unpause`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::Goal;
use model::Result;

use crate::commands::each;
use crate::commands::start::settle;
use crate::context::Context;
use crate::{complete, out, plan};

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
            let instances = context.instances();
            if self.plan {
                return plan::change(&instances, name, instances.pause(name, true)).await;
            }
            let instance = instances.pause(name, false).await?;
            settle(&instances, &instance, Goal::Paused, None).await?;
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
            let instances = context.instances();
            if self.plan {
                return plan::change(&instances, name, instances.unpause(name, true)).await;
            }
            let instance = instances.unpause(name, false).await?;
            settle(&instances, &instance, Goal::Started, None).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}
