//! `hull rename`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::Result;

use crate::context::Context;
use crate::{complete, plan};

/// Gives an instance another name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull rename web web-old")]
pub struct Rename {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
    /// Its new name
    new: String,
}

impl Rename {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let instances = context.instances();
        let write = instances.rename(&self.name, &self.new, self.plan);
        if self.plan {
            plan::change(&instances, &self.name, write).await?;
        } else {
            write.await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
