//! The command line: words in, calls of the API, words out.
//!
//! One file for each command in [`commands`]. Nothing here decides anything about instances: the
//! API does. Start at [`commands::Command`].

mod archive;
mod commands;
mod complete;
mod context;
mod download;
mod exit;
mod flags;
mod follow;
#[cfg(test)]
mod help;
mod later;
#[cfg(test)]
mod mentions;
mod objects;
mod out;
mod parse;
mod password;
mod plan;
mod screen;
mod source;
mod stream;
mod terminal;
mod usage;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::context::Global;

/// Run containers and machines on one machine, or on many.
#[derive(Debug, Parser)]
#[command(name = "hull", version, propagate_version = true, disable_help_subcommand = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    global: Global,
    /// What to do.
    #[command(subcommand)]
    command: commands::Command,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return later::answer(&error).unwrap_or_else(|| error.exit()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out::remark(format!("hull: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(commands::run(cli.command, &cli.global));
    // A read of the terminal may still be waiting; it must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Tells a failure as every command does; its exit code.
pub fn fail(error: &model::Error) -> ExitCode {
    out::failure(error);
    exit::code(error)
}
