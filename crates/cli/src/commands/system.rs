//! `hull system`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::Result;

use crate::context::{Context, Output};
use crate::out::{self, Format};

/// The platform itself.
#[derive(Debug, Subcommand)]
pub enum System {
    /// What takes up the disk
    Df(Df),
}

/// Shows what takes up the disk.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull system df\n  hull system df -o json")]
pub struct Df {
    #[command(flatten)]
    output: Output,
}

impl System {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let System::Df(args) = self;
        let usage = context.client.system().disk_usage().await?;
        if out::structured(args.output.output, &usage)? {
            return Ok(ExitCode::SUCCESS);
        }
        let rows = [
            ("images", usage.images, "hull image prune --all"),
            ("instances", usage.instances, "hull rm"),
            ("volumes", usage.volumes, "hull volume prune --all"),
            ("logs", usage.logs, "hull rm"),
            ("free", usage.free, ""),
        ];
        if args.output.output == Format::Name {
            rows.iter().for_each(|(what, ..)| out::line(what));
            return Ok(ExitCode::SUCCESS);
        }
        let row = |(what, size, next): &(&str, model::Bytes, &str)| {
            vec![(*what).to_owned(), size.to_string(), (*next).to_owned()]
        };
        out::table(&["WHAT", "SIZE", "GIVEN BACK BY"], rows.iter().map(row).collect(), &[1]);
        Ok(ExitCode::SUCCESS)
    }
}
