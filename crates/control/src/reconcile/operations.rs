//! Writes how far long work is, and forgets what is long done.

use std::sync::Arc;
use std::time::Duration;

use model::operation::{Operation, OperationPhase};
use model::{Result, Time};
use tasks::Pass;

use crate::batch::Batch;
use crate::caller::Caller;
use crate::core::{Core, Mode};
use crate::mirror::State;
use crate::operations::interrupted;

/// How long an operation that ended is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// How many of those that ended are kept at most.
const KEPT: usize = 256;
/// Most operations written by one commit.
const AT_ONCE: usize = 256;

/// The loop.
pub(crate) struct Operations(pub(crate) Arc<Core>);

impl Pass for Operations {
    const NAME: &'static str = "operations";

    async fn pass(&mut self) -> Result<String> {
        let (ongoing, now) = (self.0.ongoing.all(), self.0.now());
        let plan = |state: &State, batch: &mut Batch| {
            let known =
                ongoing.iter().filter_map(|(id, far)| Some((state.operations.by_id(id)?, far)));
            let running = known.filter(|(old, _)| old.status.phase == OperationPhase::Running);
            for (old, far) in running.take(AT_ONCE) {
                let mut new = Operation::clone(old);
                (new.status.done, new.status.total) = (far.done, far.total);
                if far.abandoned {
                    new.status.phase = OperationPhase::Failed;
                    new.status.reason = Some(interrupted());
                    new.status.finished = Some(now);
                }
                if new != **old {
                    batch.replace(old, &new);
                }
            }
            forget_old(state, now, batch);
            Ok(batch.len())
        };
        let (_, written) = self.0.transact(Mode::Apply, plan).await?;
        let ended = ongoing.iter().filter(|(_, far)| far.abandoned);
        ended.for_each(|(id, _)| self.0.ongoing.forget(id));
        Ok(if written == 0 { String::new() } else { format!("{written} records") })
    }
}

fn forget_old(state: &State, now: Time, batch: &mut Batch) {
    let ended = state.operations.iter().filter_map(|it| Some((it.status.finished?, it)));
    let mut ended: Vec<_> = ended.collect();
    ended.sort_by_key(|(finished, _)| std::cmp::Reverse(*finished));
    let old = ended.iter().enumerate();
    let old = old.filter(|(i, (finished, _))| *i >= KEPT || now.since(*finished) > KEPT_FOR);
    for (_, (_, operation)) in old.take(AT_ONCE) {
        batch.delete(operation, Operation::clone(operation), now, &Caller::platform());
    }
}
