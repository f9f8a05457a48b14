//! Instances that are to end take no new connections first, for a while.

use model::instance::{Instance, Phase as State};
use model::service::{Leaving, Service};
use model::{Time, Uid};

use super::Step;

/// Holds back the removal of instances that serve until they have drained. What is not to go any more
/// takes connections again.
pub(super) fn drain(service: &Service, instances: &[&Instance], now: Time, step: &mut Step) {
    let time = service.spec.access.drain.filter(|_| service.spec.lasts());
    let Some(time) = time else {
        step.status.leaving.clear();
        return;
    };
    let known = std::mem::take(&mut step.status.leaving);
    let since = |id: &Uid| {
        let known = known.iter().find(|it| it.instance == *id);
        // A clock that was set back must not make it longer.
        known.map_or(now, |known| known.since.min(now))
    };
    let serves = |id: &Uid| {
        let instance = instances.iter().find(|it| it.meta.id == *id);
        instance.is_some_and(|it| it.status.phase == State::Running)
    };
    let mut again = step.again;
    let leaving = &mut step.status.leaving;
    step.remove.retain(|id| {
        if !serves(id) {
            return true;
        }
        let since = since(id);
        leaving.push(Leaving { instance: id.clone(), since });
        let left = time.0.checked_sub(now.since(since)).filter(|left| !left.is_zero());
        again = [again, left].into_iter().flatten().min();
        left.is_none()
    });
    step.again = again;
}
