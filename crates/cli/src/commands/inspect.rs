//! `hull inspect`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::Result;
use model::instance::Phase;

use crate::commands::each;
use crate::context::Context;
use crate::out::{self, Format};
use crate::{complete, objects};

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
        let mut found = Vec::new();
        let outcome = each(&self.names, async |name| {
            let mut instance = context.instances().get(name).await?;
            let runs = instance.status.phase == Phase::Running;
            if let Some(machine) = instance.status.machine.as_mut().filter(|_| runs) {
                // A guest without an agent, or one that boots yet, tells nothing.
                machine.guest = context.instances().guest(name).await.ok();
            }
            found.push(instance);
            Ok(())
        })
        .await?;
        match self.output {
            // One name, one document; several, a list of them.
            Format::Name => found.iter().for_each(|it| out::line(&it.meta.name)),
            format if self.names.len() == 1 => {
                found.iter().try_for_each(|it| objects::show(it, format))?;
            }
            Format::Json => _ = out::structured(Format::Json, &found)?,
            Format::Table | Format::Yaml => _ = out::structured(Format::Yaml, &found)?,
        }
        Ok(outcome)
    }
}
