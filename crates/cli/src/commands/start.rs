//! `hull start`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::Instances;
use client::wire::{Goal, SettleQuery};
use link::instance::AttachRequest;
use model::instance::Instance;
use model::{Error, Result, Span};

use crate::commands::each;
use crate::context::Context;
use crate::terminal::{Part, converse, detach_keys};
use crate::{complete, out, plan};

/// Starts instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull start web db\n  hull start -a job")]
pub struct Start {
    /// Take part in its main process until it ends
    #[arg(short, long)]
    attach: bool,
    /// Send it what you type; with --attach
    #[arg(short, long)]
    interactive: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

impl Start {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if self.attach || self.interactive {
            let [name] = self.names.as_slice() else {
                return Err(Error::invalid("only one instance can be attached to"));
            };
            return self.attached(context, name).await;
        }
        each(&self.names, async |name| {
            let instances = context.instances();
            if self.plan {
                return plan::change(&instances, name, instances.start(name, true)).await;
            }
            let instance = instances.start(name, false).await?;
            let started = settle(&instances, &instance, Goal::Started, None).await?;
            out::warnings(&started.status.warnings);
            out::line(name);
            Ok(())
        })
        .await
    }

    async fn attached(&self, context: &Context, name: &str) -> Result<ExitCode> {
        let instance = context.instances().start(name, false).await?;
        let main = instance.spec.main();
        let request = AttachRequest {
            stdin: self.interactive,
            replay: true,
            tail: None,
            run: instance.spec.runs,
        };
        let session = context.instances().attach(instance.meta.id.as_str(), "", &request).await?;
        let part = Part {
            stdin: self.interactive,
            tty: main.is_some_and(|main| main.tty),
            signals: true,
            redraw: false,
            detach: detach_keys("ctrl-p,ctrl-q")?,
        };
        Ok(converse(session, &part).await?.code())
    }
}

/// Waits for what a verb was to bring about, for `patience` if that is not the usual time, and says
/// how the instance is then.
pub async fn settle(
    instances: &Instances,
    instance: &Instance,
    goal: Goal,
    patience: Option<Span>,
) -> Result<Instance> {
    let query = SettleQuery { goal, timeout: patience };
    instances.settle(instance.meta.id.as_str(), &query).await
}
