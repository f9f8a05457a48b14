//! `hull name-server`: answers the names of a node's instances, whether the platform runs or not.

use std::ffi::{CStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dns::process::{Process, Settings, serve};
use model::error::Context;
use model::{ErrorKind, Result};

use crate::config::Places;

/// The word that makes the program a name server.
pub const MODE: &str = "name-server";

/// What lists of processes call it, 15 bytes at most.
const NAME: &CStr = c"hull-names";

/// Answers names, as the daemon says over a socket.
#[derive(Debug, Parser)]
#[command(name = "hull name-server", version)]
struct Arguments {
    /// Where its socket is
    directory: PathBuf,
    /// Take the place of the one that runs, which leaves when it is told to
    #[arg(long)]
    beside: bool,
}

/// The node's name server, in a process of this very program.
pub fn process(places: &Places) -> Process {
    Process::new(Settings {
        // Found also after an upgrade has put another file in its place.
        command: vec![OsString::from("/proc/self/exe"), MODE.into()],
        directory: places.run.join("names"),
        log: places.state.join("names.log"),
    })
}

/// Runs the name server of this process.
pub fn main() -> ExitCode {
    // It was started by way of /proc/self/exe, after which lists of processes would call it `exe`.
    if let Err(error) = rustix::thread::set_name(NAME) {
        tracing::debug!(%error, "the process keeps its name");
    }
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    telemetry::init(telemetry::Format::Text, "info");
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error.chain(), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(ErrorKind::Exhausted, || "a runtime cannot be made".into())?;
    runtime.block_on(async {
        tokio::select! {
            ended = serve(&arguments.directory, dns::Config::default(), arguments.beside) => ended,
            never = crate::settle::settle() => match never {},
        }
    })
}
