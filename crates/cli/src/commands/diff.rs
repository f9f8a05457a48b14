//! `hull diff`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use link::instance::ChangeKind;
use model::Result;

use crate::complete;
use crate::context::{Context, Output};
use crate::out::{self, Format};

/// Shows which files of an instance differ from its image: A added, C changed, D deleted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull diff web\n  hull diff -o name web")]
pub struct Diff {
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    #[command(flatten)]
    output: Output,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
}

impl Diff {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let changes = context.instances().diff(&self.name, &self.container).await?;
        if out::structured(self.output.output, &changes)? {
            return Ok(ExitCode::SUCCESS);
        }
        for change in &changes {
            let letter = match change.kind {
                ChangeKind::Changed => "C",
                ChangeKind::Added => "A",
                ChangeKind::Deleted => "D",
            };
            match self.output.output {
                Format::Name => out::line(&change.path),
                _ => out::line(format!("{letter} {}", change.path)),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
