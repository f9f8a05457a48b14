//! `hull rename`.

use std::process::ExitCode;

use clap::Args;
use model::Result;

use crate::context::Context;

/// Gives an instance another name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull rename web web-old")]
pub struct Rename {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The instance
    name: String,
    /// Its new name
    new: String,
}

impl Rename {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        context.instances().rename(&self.name, &self.new, self.plan).await?;
        Ok(ExitCode::SUCCESS)
    }
}
