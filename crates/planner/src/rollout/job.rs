//! Jobs: so many runs that end well, and then no more.

use std::time::Duration;

use model::Uid;
use model::instance::Reason;
use model::quantity::Span;
use model::service::{ServicePhase, SlotSet};

use super::{Key, Member, Step, Work};

/// Waits between runs of a job that fail double from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(360);

impl Work<'_> {
    pub(super) fn run_job(
        mut self,
        completions: u32,
        parallelism: u32,
        retries: u32,
        deadline: Option<Span>,
    ) -> Step {
        self.status.wanted = completions.min(parallelism);
        self.count();
        let revision = self.status.revision;
        let old = self.members.iter().filter(|it| it.revision != revision && !it.leaves());
        let mut remove: Vec<Uid> = old.map(|it| it.instance.meta.id.clone()).collect();
        let active = self.tally();
        let (succeeded, failed) = (self.status.succeeded, self.status.failed);
        if succeeded >= completions {
            self.status.phase = ServicePhase::Complete;
            self.status.reason = None;
            return Step { remove, ..self.done() };
        }
        if self.status.phase == ServicePhase::Failed && !self.changed && !self.asked_anew {
            remove.extend(self.others());
            return Step { remove, ..self.done() };
        }
        self.status.reason = self.waits_for();
        let made = self.status.revision(revision).map_or(self.now, |it| it.made);
        let left = deadline.map(|deadline| deadline.0.saturating_sub(self.now.since(made)));
        let late = left.is_some_and(|left| left.is_zero());
        if failed > retries || late {
            self.status.phase = ServicePhase::Failed;
            let (code, message) = if late {
                ("DeadlineExceeded", format!("not done after {}", Span(self.now.since(made))))
            } else {
                ("RunsFailed", format!("{failed} runs failed, {retries} may"))
            };
            self.status.reason = Some(Reason::new(code, message));
            remove.extend(self.others());
            return Step { remove, ..self.done() };
        }
        self.status.phase = ServicePhase::Updating;
        let (shut, renew) = self.depend();
        let mut again = left;
        let mut create = Vec::new();
        if shut.is_some() {
            self.status.reason = shut;
        } else if !self.service.spec.paused {
            let wait = self.retry_in(failed);
            let most = parallelism.min(completions - succeeded);
            let more = if wait.is_some() { 0 } else { most.saturating_sub(active) };
            let ended = [self.status.succeeded_slots.last(), self.status.failed_slots.last()];
            let there = self.members.iter().map(|member| Some(member.number()));
            let last = there.chain(ended).flatten().max().unwrap_or(0);
            let numbers = (1..=more).map(|number| Key::Number(last.saturating_add(number)));
            create.extend(numbers.map(|key| self.slot(key)));
            again = [again, wait].into_iter().flatten().min();
        }
        Step { create, remove, renew, again, ..self.done() }
    }

    /// Runs of the present revision that go on though the job was given up. One that had ended and was started
    /// by hand is whose who started it.
    fn others(&self) -> Vec<Uid> {
        let status = &self.status;
        let goes_on = |it: &&Member<'_>| {
            let noted = [&status.succeeded_slots, &status.failed_slots];
            let noted = noted.iter().any(|slots| slots.contains(it.number()));
            it.revision == status.revision && !it.leaves() && it.ended().is_none() && !noted
        };
        self.members.iter().filter(goes_on).map(|it| it.instance.meta.id.clone()).collect()
    }

    /// Notes the runs of the present revision that have ended: they count also when somebody takes their
    /// instances away. Returns how many go on.
    fn tally(&mut self) -> u32 {
        let status = &mut self.status;
        if self.changed {
            status.succeeded_slots = SlotSet::default();
            status.failed_slots = SlotSet::default();
        }
        let mut active = 0;
        for member in self.members.iter().filter(|it| it.revision == status.revision) {
            match member.ended() {
                Some(true) => status.succeeded_slots.insert(member.number()),
                Some(false) => status.failed_slots.insert(member.number()),
                None => active += u32::from(!member.leaves()),
            }
        }
        status.succeeded = status.succeeded_slots.len();
        status.failed = status.failed_slots.len();
        active
    }

    /// Time until a run that failed is followed by another.
    fn retry_in(&self, failed: u32) -> Option<Duration> {
        let doublings = failed.checked_sub(1)?.min(16);
        let wait = FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY);
        let failed = self.current().filter(|it| it.ended() == Some(false));
        // One that could not even be started has no end.
        let ended = |it: &Member<'_>| it.finished().unwrap_or(it.instance.meta.created);
        let last = failed.map(ended).max()?;
        wait.checked_sub(self.now.since(last)).filter(|left| !left.is_zero())
    }
}
