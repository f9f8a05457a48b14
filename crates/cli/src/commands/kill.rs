//! `hull kill`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::KillRequest;
use model::Result;

use crate::commands::each;
use crate::complete;
use crate::context::Context;
use crate::out;

/// Sends a signal to instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull kill web\n  hull kill -s HUP web")]
pub struct Kill {
    /// The signal, by name or number
    #[arg(short, long, default_value = "KILL", value_name = "SIGNAL")]
    signal: String,
    /// Show what would be signalled, and send nothing
    #[arg(long)]
    plan: bool,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Kill {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let request =
            KillRequest { signal: self.signal.clone(), container: self.container.clone() };
        each(&self.names, async |name| {
            if self.plan {
                return self.show(context, name).await;
            }
            context.instances().kill(name, &request).await?;
            out::line(name);
            Ok(())
        })
        .await
    }

    async fn show(&self, context: &Context, name: &str) -> Result<()> {
        let instance = context.instances().get(name).await?;
        let container = &instance.spec.container(&self.container)?.name;
        let pid = instance.status.container(container).and_then(|seen| seen.pid);
        out::line(instance.title());
        match pid {
            Some(pid) => out::line(format!(
                "  process {pid}, the first of container {container}, would be sent {}",
                self.signal
            )),
            None => out::line(format!("  no process of container {container} would be signalled")),
        }
        Ok(())
    }
}
