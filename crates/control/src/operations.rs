//! Operations: long work with progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::instance::Reason;
use model::operation::{Operation, OperationNoun, OperationPhase, OperationSpec};
use model::{Error, Result, Uid};

use crate::batch::Batch;
use crate::caller::{Caller, Via};
use crate::core::{Core, Mode};
use crate::mirror::State;
use crate::service::{Context, New, Rules, Service};

/// The verbs of operations. They are begun by the work itself.
pub type Operations = Service<OperationNoun>;

/// Longest title, characters: it is for people, and names in it are callers'.
const LONGEST_TITLE: usize = 300;

impl Rules for OperationNoun {
    fn admit(context: &Context<'_>, _: &mut Operation, _: &mut Batch) -> Result<()> {
        match context.caller.via {
            Via::Platform => Ok(()),
            Via::Token | Via::Password | Via::Socket => {
                Err(Error::unsupported("an operation is begun by the work it stands for"))
            }
        }
    }

    fn delete(_: &Context<'_>, operation: &mut Operation, _: &mut Batch) -> Result<()> {
        match operation.status.phase {
            OperationPhase::Done | OperationPhase::Failed => Ok(()),
            OperationPhase::Running => {
                Err(Error::conflict(format!("{} is under way", operation.title())))
            }
        }
    }
}

/// How far the operations under way are; written down by a loop once in a while.
#[derive(Debug, Default)]
pub(crate) struct Ongoings(Mutex<HashMap<Uid, Far>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Far {
    pub(crate) done: u64,
    pub(crate) total: u64,
    /// Whoever did it went away without a word.
    pub(crate) abandoned: bool,
}

impl Ongoings {
    fn set(&self, id: &Uid, change: impl FnOnce(&mut Far)) {
        change(self.lock().entry(id.clone()).or_default());
    }

    pub(crate) fn forget(&self, id: &Uid) {
        self.lock().remove(id);
    }

    pub(crate) fn all(&self) -> HashMap<Uid, Far> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uid, Far>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation under way. Dropping it without [`Ongoing::finish`] makes it a failed one.
pub struct Ongoing {
    core: Arc<Core>,
    operation: Arc<Operation>,
    finished: bool,
}

impl Operations {
    /// Begins an operation; `title` is for people: `pull nginx`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin(&self, caller: &Caller, title: &str) -> Result<Ongoing> {
        let title = title.chars().take(LONGEST_TITLE).collect();
        let spec = OperationSpec { title, by: caller.name.clone() };
        let by = Caller::platform_for(caller);
        let operation =
            self.create_as(self.core.new_id(), &by, "", New::unnamed(spec), Mode::Apply).await?;
        Ok(Ongoing { core: self.core.clone(), operation, finished: false })
    }
}

impl Ongoing {
    /// The operation as it was begun.
    #[must_use]
    pub fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    /// Says how far it is. Cheap: it is written down once in a while.
    pub fn progress(&self, done: u64, total: u64) {
        self.core.ongoing.set(&self.operation.meta.id, |far| (far.done, far.total) = (done, total));
        self.core.wakes.operations.wake();
    }

    /// Says how it ended, and returns it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn finish(mut self, outcome: Result<(), &Error>) -> Result<Arc<Operation>> {
        self.finished = true;
        let id = &self.operation.meta.id;
        let far = self.core.ongoing.all().get(id).copied().unwrap_or_default();
        let (phase, reason) = match outcome {
            Ok(()) => (OperationPhase::Done, None),
            Err(error) => {
                let reason = Reason::from_error(error.kind().as_str(), error);
                (OperationPhase::Failed, Some(reason))
            }
        };
        let ended = end(&self.core, id, far, phase, reason).await;
        self.core.ongoing.forget(id);
        ended
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if !self.finished {
            self.core.ongoing.set(&self.operation.meta.id, |far| far.abandoned = true);
            self.core.wakes.operations.wake();
        }
    }
}

async fn end(
    core: &Core,
    id: &Uid,
    far: Far,
    phase: OperationPhase,
    reason: Option<Reason>,
) -> Result<Arc<Operation>> {
    let now = core.now();
    let plan = |state: &State, batch: &mut Batch| {
        let Some(old) = state.operations.by_id(id) else {
            return Err(Error::not_found(format!("operation {} is gone", id.short())));
        };
        let mut new = Operation::clone(old);
        let total = if phase == OperationPhase::Done { far.total.max(far.done) } else { far.total };
        let done = if phase == OperationPhase::Done { total } else { far.done };
        (new.status.done, new.status.total) = (done, total);
        (new.status.phase, new.status.reason) = (phase, reason.clone());
        new.status.finished = Some(now);
        batch.replace(old, &new);
        Ok(new)
    };
    let changed = core.transact(Mode::Apply, plan).await?;
    Ok(crate::batch::at(changed.1, changed.0))
}

/// What an operation failed of when nobody is left who does it.
pub(crate) fn interrupted() -> Reason {
    Reason {
        code: "Interrupted".into(),
        message: "hull was stopped, or the client went away, while it was under way".into(),
        next: Some("begin it again".into()),
    }
}

/// Fails what was under way when the platform ended: nobody does it any more.
pub(crate) async fn fail_abandoned(core: &Core) -> Result<()> {
    let now = core.now();
    let plan = |state: &State, batch: &mut Batch| {
        let running = state.operations.iter();
        for old in running.filter(|it| it.status.phase == OperationPhase::Running).take(256) {
            let mut new = Operation::clone(old);
            new.status.phase = OperationPhase::Failed;
            new.status.reason = Some(interrupted());
            new.status.finished = Some(now);
            batch.replace(old, &new);
        }
        Ok(())
    };
    core.transact(Mode::Apply, plan).await.map(drop)
}
