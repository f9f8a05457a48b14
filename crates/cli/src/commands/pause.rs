//! `hull pause` and `hull unpause`.

use std::process::ExitCode;

use clap::Args;
use model::Result;

use crate::commands::each;
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
    #[arg(required = true)]
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
    #[arg(required = true)]
    names: Vec<String>,
}

impl Pause {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            context.instances().pause(name, self.plan).await?;
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
            context.instances().unpause(name, self.plan).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}
