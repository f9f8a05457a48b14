//! `hull operation`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::Result;
use model::operation::{Operation as Known, OperationNoun, OperationPhase};

use crate::commands::each;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::out;

/// Long work, under way and done.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List operations
    Ls(Ls),
    /// Show operations
    Show(Show),
}

/// Lists operations.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull operation ls\n  hull operation ls -w -f status.phase=running"
)]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows operations.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull operation show amber-buoy-0042")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The operations
    #[arg(required = true)]
    names: Vec<String>,
}

impl Operation {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let operations = context.client.operations();
        match self {
            Operation::Ls(args) => args.listing.show(&operations, &VIEW).await?,
            Operation::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&operations.get(name).await?, args.output.output)
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

const VIEW: View<OperationNoun> = View {
    titles: &["NAME", "WORK", "STATE", "DONE", "BY", "AGE"],
    right: &[3],
    row: |operation: &Known| {
        vec![
            operation.meta.name.clone(),
            out::short(&operation.spec.title, 40),
            state(operation),
            done(operation),
            operation.spec.by.clone(),
            out::age(operation.meta.created),
        ]
    },
};

fn state(operation: &Known) -> String {
    let status = &operation.status;
    match (status.phase, &status.reason) {
        (OperationPhase::Running, _) => "running".into(),
        (OperationPhase::Done, _) => "done".into(),
        (OperationPhase::Failed, Some(reason)) => {
            format!("failed ({})", out::short(&reason.message, 60))
        }
        (OperationPhase::Failed, None) => "failed".into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn done(operation: &Known) -> String {
    match operation.status.total {
        0 => "-".into(),
        total => out::percent(operation.status.done as f64 / total as f64),
    }
}
