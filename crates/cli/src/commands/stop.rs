//! `hull stop`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{Goal, SettleQuery, StopRequest};
use model::{Result, Span};

use crate::commands::each;
use crate::complete;
use crate::context::Context;
use crate::out;

/// How something is stopped.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// Seconds it may take before it is killed
    #[arg(short = 't', long = "time", visible_alias = "timeout", value_name = "SECONDS")]
    pub time: Option<Span>,
    /// Signal instead of its own
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub plan: bool,
}

impl How {
    /// What is asked of the API.
    pub fn request(&self) -> StopRequest {
        StopRequest { timeout: self.time, signal: self.signal.clone().unwrap_or_default() }
    }
}

/// Stops instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull stop web\n  hull stop -t 60 db")]
pub struct Stop {
    #[command(flatten)]
    how: How,
    /// Don't wait until they have ended
    #[arg(long)]
    no_wait: bool,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Stop {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let request = self.how.request();
        each(&self.names, async |name| {
            let instance = context.instances().stop(name, &request, self.how.plan).await?;
            if self.how.plan {
                return out::structured(out::Format::Yaml, &instance).map(drop);
            }
            if !self.no_wait {
                let query = SettleQuery { goal: Goal::Stopped, timeout: None };
                context.instances().settle(instance.meta.id.as_str(), &query).await?;
            }
            out::line(name);
            Ok(())
        })
        .await
    }
}
