//! `hull wait`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use client::wire::{WaitFor, WaitQuery};
use model::{Result, Span};

use crate::commands::each;
use crate::complete;
use crate::context::Context;
use crate::out;

/// Waits for instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull wait job\n  hull wait --for healthy --time 1m db")]
pub struct Wait {
    /// What is waited for
    #[arg(long = "for", value_enum, default_value = "ended", value_name = "WHAT")]
    what: What,
    /// Longest time
    #[arg(short, long, value_name = "TIME")]
    time: Option<Span>,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// It does not run
    Ended,
    /// It ends the next time
    NextExit,
    /// It runs
    Running,
    /// Its health check succeeds
    Healthy,
    /// It is gone
    Removed,
}

impl Wait {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let until = match self.what {
            What::Ended => WaitFor::NotRunning,
            What::NextExit => WaitFor::NextExit,
            What::Running => WaitFor::Running,
            What::Healthy => WaitFor::Healthy,
            What::Removed => WaitFor::Removed,
        };
        let query = WaitQuery { until, timeout: self.time };
        each(&self.names, async |name| {
            let waited = context.instances().wait(name, &query).await?;
            if let Some(error) = waited.error {
                out::remark(format!("hull: {name}: {error}"));
            }
            out::line(waited.exit_code.to_string());
            Ok(())
        })
        .await
    }
}
