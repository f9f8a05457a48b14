//! `hull console`: the serial line of a machine, its screen for viewers of VNC, or a picture of it.

mod viewer;

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use link::instance::AttachRequest;
use model::instance::Instance;
use model::{Error, Result};

use crate::context::Context;
use crate::stream::{PRIVATE, to_file};
use crate::terminal::{Part, converse, detach_keys, size};
use crate::{complete, out};

/// Lines shown of what was printed before, where the terminal does not say how many it has.
const LINES: u64 = 24;

/// Sits down at the console of a machine: its serial line, or with --vnc its screen.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hull console vm
  hull console vm --vnc
  hull console vm --screenshot vm.png")]
pub struct Console {
    /// Let a viewer of VNC on this machine show the screen
    #[arg(long)]
    vnc: bool,
    /// Port for the viewer; any that is free when not given
    #[arg(long, default_value_t = 0, requires = "vnc", hide_default_value = true)]
    port: u16,
    /// Write what the screen shows to a file, as a PNG picture
    #[arg(long, value_name = "FILE", conflicts_with = "vnc")]
    screenshot: Option<String>,
    /// Keys that leave the serial line
    #[arg(long, default_value = "ctrl-]", value_name = "KEYS")]
    detach_keys: String,
    /// The machine
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
}

impl Console {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(file) = &self.screenshot {
            let picture = context.instances().screenshot(&self.name).await?;
            to_file(picture, Path::new(file), PRIVATE).await?;
            return Ok(ExitCode::SUCCESS);
        }
        match self.vnc {
            true => viewer::serve(context, &self.name, self.port).await,
            false => self.serial_line(context).await,
        }
    }

    /// The last that it printed, then what it prints, with the user's keys going in.
    async fn serial_line(&self, context: &Context) -> Result<ExitCode> {
        let detach = detach_keys(&self.detach_keys)?;
        let instance = context.instances().get(&self.name).await?;
        is_machine(&instance)?;
        let part = Part { stdin: true, tty: true, signals: true, redraw: false, detach };
        let tail = size().map_or(LINES, |(_, height)| u64::from(height));
        let request = AttachRequest { stdin: true, replay: true, tail: Some(tail), run: 0 };
        let id = instance.meta.id.as_str();
        let session = context.instances().attach(id, "", &request).await?;
        let keys = match self.detach_keys.as_str() {
            "" => String::new(),
            keys => format!("; {keys} leaves"),
        };
        out::remark(format!("the serial line of {}{keys}", instance.meta.name));
        Ok(converse(session, &part).await?.code())
    }
}

fn is_machine(instance: &Instance) -> Result<()> {
    if instance.status.machine.is_some() || instance.spec.machine.is_some() {
        return Ok(());
    }
    let name = &instance.meta.name;
    Err(Error::invalid(format!("instance {name:?} is a container: it has no console"))
        .next(format!("take part in its main process: hull attach {name}")))
}
