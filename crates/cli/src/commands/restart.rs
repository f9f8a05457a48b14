//! `hull restart`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::Goal;
use model::Result;

use crate::commands::each;
use crate::commands::start::settle;
use crate::commands::stop::How;
use crate::context::Context;
use crate::{complete, out, plan};

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
            let instances = context.instances();
            if self.how.plan {
                let write = instances.restart(name, &request, true);
                return plan::change(&instances, name, write).await;
            }
            let instance = instances.restart(name, &request, false).await?;
            let patience = self.how.patience(&instance);
            let started = settle(&instances, &instance, Goal::Started, Some(patience)).await?;
            out::warnings(&started.status.warnings);
            out::line(name);
            Ok(())
        })
        .await
    }
}
