//! Instances: the noun most of the house is about.
//!
//! `create` completes and checks a new one, `lifecycle` has the verbs that start and stop, `remove`
//! takes away, `pin` keeps what an image's name stands for, `change` says what an existing one can take and
//! `disks` what of a machine's disks, `clone` makes a machine of another's snapshot, `wait` waits for what
//! becomes of it, `streams` asks its node for what no record can say, and `console` for a machine's screen.

mod change;
mod clone;
mod console;
mod create;
mod disks;
mod lifecycle;
mod pin;
mod remove;
mod streams;
mod wait;

use std::sync::Arc;

use model::instance::{Instance, InstanceNoun, InstanceSpec, Phase};
use model::{Result, Span};

use crate::batch::Batch;
use crate::reconcile::placement;
use crate::service::{Context, Rules, Service};

pub use clone::CloneOptions;
pub(crate) use planner::{has_ended, is_over};
pub use remove::RemoveOptions;
pub(crate) use remove::{VOLUMES, delete_anonymous, retire};
pub use wait::{Condition, Exit, Goal};

/// The verbs of instances.
pub type Instances = Service<InstanceNoun>;

/// What a verb made of an instance.
#[derive(Debug, Clone)]
pub struct Verbed {
    /// The instance now.
    pub instance: Arc<Instance>,
    /// Whether anything changed; a verb whose goal was reached already changes nothing.
    pub changed: bool,
}

/// How an instance is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopOptions {
    /// Time from the signal to SIGKILL instead of the instance's own; zero: SIGKILL at once.
    pub timeout: Option<Span>,
    /// Signal instead of the containers' own, by name or number; theirs when empty.
    pub signal: String,
    /// Keep the memory of a machine's guest on its disk.
    pub save: bool,
}

impl Rules for InstanceNoun {
    async fn complete(service: &Service<Self>, spec: &mut InstanceSpec) {
        pin::pin(&service.core, spec).await;
    }

    fn admit(context: &Context<'_>, instance: &mut Instance, batch: &mut Batch) -> Result<()> {
        create::admit(context, instance, batch)
    }

    fn describe(instance: &Instance, event: model::event::Event) -> model::event::Event {
        match instance.spec.main() {
            Some(main) => event.with("image", &main.image),
            None => event,
        }
    }

    fn place(context: &Context<'_>, instance: &mut Instance, batch: &mut Batch) {
        placement::place_new(context.core, context.state, instance, batch);
    }

    fn change(
        context: &Context<'_>,
        old: &Instance,
        new: &mut Instance,
        batch: &mut Batch,
    ) -> Result<()> {
        change::change(context, old, new, batch)
    }

    fn delete(context: &Context<'_>, instance: &mut Instance, batch: &mut Batch) -> Result<()> {
        remove::prepare(context, instance, &RemoveOptions::default(), batch)
    }
}

/// Whether an instance runs, or is about to.
pub(crate) fn is_active(instance: &Instance) -> bool {
    planner::holds(instance) || instance.status.phase == Phase::Restarting
}
