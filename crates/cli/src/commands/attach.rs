//! `hull attach`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use link::instance::AttachRequest;
use model::Result;

use crate::complete;
use crate::context::Context;
use crate::terminal::{Part, converse, detach_keys};

/// Takes part in an instance's main process.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull attach web")]
pub struct Attach {
    /// Don't send what you type
    #[arg(long)]
    no_stdin: bool,
    /// Don't pass signals on
    #[arg(long)]
    no_sig_proxy: bool,
    /// Keys that leave it running
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: String,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
}

impl Attach {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let instance = context.instances().get(&self.name).await?;
        let container = instance.spec.container(&self.container)?;
        let serial_line = instance.status.machine.is_some();
        let part = Part {
            stdin: (container.stdin || serial_line) && !self.no_stdin,
            tty: container.tty || serial_line,
            signals: !self.no_sig_proxy,
            redraw: true,
            detach: detach_keys(&self.detach_keys)?,
        };
        let request = AttachRequest { stdin: part.stdin, replay: false, tail: None, run: 0 };
        let id = instance.meta.id.as_str();
        let session = context.instances().attach(id, &self.container, &request).await?;
        Ok(converse(session, &part).await?.code())
    }
}
