//! `hull stop`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{Goal, StopRequest};
use model::instance::Instance;
use model::{Result, Span};

use crate::commands::each;
use crate::commands::start::settle;
use crate::context::Context;
use crate::{complete, objects, out, plan};

/// How something is stopped.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// Seconds it may take before it is killed
    #[arg(short = 't', long = "time", visible_alias = "timeout", value_name = "SECONDS")]
    pub time: Option<Span>,
    /// Signal instead of its own
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// Keep a machine's memory on its disk: the next start goes on from there
    #[arg(long, conflicts_with_all = ["time", "signal"])]
    pub save: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub plan: bool,
}

/// How long an instance may take to stop when nobody said.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long writing a machine's memory to its disk is waited for.
const SAVING: Duration = Duration::from_secs(900);

impl How {
    /// How long the end is waited for: the time the instance has, and what the platform may take.
    pub fn patience(&self, instance: &Instance) -> Span {
        if self.save {
            return Span(SAVING);
        }
        let given = self.time.or(instance.spec.stop_timeout).map_or(STOP_TIMEOUT, |time| time.0);
        Span(given.saturating_add(objects::PATIENCE))
    }

    /// What is asked of the API.
    pub fn request(&self) -> StopRequest {
        StopRequest {
            timeout: self.time,
            signal: self.signal.clone().unwrap_or_default(),
            save: self.save,
        }
    }
}

/// Stops instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull stop web\n  hull stop -t 60 db\n  hull stop --save vm")]
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
            let instances = context.instances();
            if self.how.plan {
                let write = instances.stop(name, &request, true);
                return plan::change(&instances, name, write).await;
            }
            let instance = instances.stop(name, &request, false).await?;
            if !self.no_wait {
                let patience = self.how.patience(&instance);
                settle(&instances, &instance, Goal::Stopped, Some(patience)).await?;
            }
            out::line(name);
            Ok(())
        })
        .await
    }
}
