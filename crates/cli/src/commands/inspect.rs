//! `hull inspect`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::Result;

use crate::commands::each;
use crate::complete;
use crate::context::Context;
use crate::out::{self, Format};

/// Shows everything that is known of instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull inspect web\n  hull inspect -o yaml web")]
pub struct Inspect {
    /// How it is printed
    #[arg(short, long, value_enum, default_value = "json", value_name = "FORMAT")]
    output: Format,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Inspect {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            let instance = context.instances().get(name).await?;
            match self.output {
                Format::Name => out::line(&instance.meta.name),
                Format::Table => drop(out::structured(Format::Yaml, &instance)?),
                format => drop(out::structured(format, &instance)?),
            }
            Ok(())
        })
        .await
    }
}
