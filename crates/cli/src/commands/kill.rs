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
            context.instances().kill(name, &request).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}
