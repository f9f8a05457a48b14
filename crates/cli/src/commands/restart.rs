//! `hull restart`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{Goal, SettleQuery};
use model::Result;

use crate::commands::each;
use crate::commands::stop::How;
use crate::complete;
use crate::context::Context;
use crate::out;

/// Stops and starts instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull restart web")]
pub struct Restart {
    #[command(flatten)]
    how: How,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Restart {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let request = self.how.request();
        each(&self.names, async |name| {
            let instance = context.instances().restart(name, &request, self.how.plan).await?;
            if self.how.plan {
                return out::structured(out::Format::Yaml, &instance).map(drop);
            }
            let query = SettleQuery { goal: Goal::Started, timeout: None };
            context.instances().settle(instance.meta.id.as_str(), &query).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}
