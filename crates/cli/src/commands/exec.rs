//! `hull exec`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use link::instance::ExecRequest;
use model::Result;

use crate::complete;
use crate::context::Context;
use crate::parse::env;
use crate::terminal::{Part, converse, detach_keys, size};

/// Runs a further program in a running instance.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull exec web nginx -s reload\n  hull exec -it db psql -U postgres"
)]
pub struct Exec {
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Leave it running
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Working directory
    #[arg(short, long, default_value = "", value_name = "DIR")]
    workdir: String,
    /// User, and group if wished
    #[arg(short, long, default_value = "", value_name = "USER[:GROUP]")]
    user: String,
    /// With all capabilities
    #[arg(long)]
    privileged: bool,
    /// Keys that leave it running
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: String,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let own = |name: &str| std::env::var(name).ok();
        let request = ExecRequest {
            command: self.command,
            env: env::variables(&self.env_file, &self.env, own)?,
            workdir: self.workdir,
            user: self.user,
            tty: self.tty,
            stdin: self.interactive,
            privileged: self.privileged,
            detach: self.detach,
            size: if self.tty { size() } else { None },
        };
        let part = Part {
            stdin: self.interactive,
            tty: self.tty,
            signals: true,
            redraw: false,
            detach: detach_keys(&self.detach_keys)?,
        };
        let session = context.instances().exec(&self.name, &self.container, &request).await?;
        if self.detach {
            return Ok(ExitCode::SUCCESS);
        }
        Ok(converse(session, &part).await?.code())
    }
}
