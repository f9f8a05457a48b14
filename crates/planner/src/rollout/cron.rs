//! Services that run at set times.

use std::time::Duration;

use model::instance::Reason;
use model::service::{Overlap, Run, Schedule, ServicePhase};
use model::{Time, Uid};

use super::{Key, Member, Slot, Step, Work};

/// Most runs that go on at a time.
const MOST: usize = 100;
/// Most set times that are passed over one by one after a long absence.
const MOST_MISSED: u32 = 100_000;

impl Work<'_> {
    pub(super) fn run_at_times(mut self, schedule: &Schedule) -> Step {
        self.count();
        self.status.phase = ServicePhase::Scheduled;
        self.note_ends();
        let (shut, renew) = self.depend();
        let halted = shut.is_some() || schedule.suspended || self.service.spec.paused;
        let mut remove = Vec::new();
        if halted {
            self.status.next_due = None;
        } else {
            remove = self.begin_due(schedule);
        }
        remove.extend(self.surplus_runs(schedule));
        let create = self.missing_runs();
        self.status.wanted = u32::try_from(self.status.runs.len()).unwrap_or(u32::MAX);
        let again = self.status.next_due.map(|next| next.since(self.now));
        // A time that has come meanwhile.
        let again = again.map(|left| left.max(Duration::from_millis(1)));
        let held = halted.then(|| self.held());
        self.status.reason = shut.or(held).or_else(|| self.waits_for());
        Step { create, remove, renew, again, ..self.done() }
    }

    fn held(&self) -> Reason {
        let name = &self.service.meta.name;
        let message = "no run begins, as somebody suspended it".to_owned();
        Reason {
            next: Some(format!("hull service resume {name}")),
            ..Reason::new("Suspended", message)
        }
    }

    fn of_run(&self, run: &Run) -> Option<&Member<'_>> {
        self.members.iter().find(|member| member.key == Key::Number(run.slot))
    }

    /// Notes which runs have ended, and how. One whose instance somebody took away has ended too.
    fn note_ends(&mut self) {
        let mut going = Vec::new();
        let (mut succeeded, mut failed) = (0, 0);
        for run in &self.status.runs {
            let member = self.of_run(run);
            let made = run.made || member.is_some();
            match member.map(|member| (member.ended(), member.leaves())) {
                Some((Some(true), _)) => succeeded += 1,
                Some((Some(false), _)) => failed += 1,
                Some((None, true)) => {}
                None if made => {}
                Some((None, false)) | None => going.push(Run { made, ..run.clone() }),
            }
        }
        let status = &mut self.status;
        status.runs = going;
        status.succeeded = status.succeeded.saturating_add(succeeded);
        status.failed = status.failed.saturating_add(failed);
    }

    /// Begins a run when its time has come, and works out the next time. Returns what is ended for it.
    fn begin_due(&mut self, schedule: &Schedule) -> Vec<Uid> {
        let (now, due) = (self.now, self.status.next_due.filter(|next| *next <= self.now));
        let mut last = due;
        while let Some(next) = last.and_then(|last| after(schedule, last)).filter(|it| *it <= now) {
            self.status.left_out = self.status.left_out.saturating_add(1);
            last = Some(next);
            if self.status.left_out.is_multiple_of(MOST_MISSED) {
                break;
            }
        }
        if due.is_some() || self.asked_anew || self.status.next_due.is_none() {
            self.status.next_due = after(schedule, now);
        }
        last.map_or_else(Vec::new, |due| self.begin_run(schedule, due))
    }

    fn begin_run(&mut self, schedule: &Schedule, due: Time) -> Vec<Uid> {
        self.status.last_due = Some(due);
        let late = schedule.starting_deadline.is_some_and(|most| self.now.since(due) > most.0);
        let going = self.status.runs.len();
        let barred = match schedule.overlap {
            Overlap::Forbid => going > 0,
            Overlap::Allow => going >= MOST,
            Overlap::Replace => false,
        };
        if late || barred {
            self.status.left_out = self.status.left_out.saturating_add(1);
            return Vec::new();
        }
        let mut ended = Vec::new();
        if schedule.overlap == Overlap::Replace {
            let replaced = std::mem::take(&mut self.status.runs);
            let members = replaced.iter().filter_map(|run| self.of_run(run));
            ended.extend(members.map(|member| member.instance.meta.id.clone()));
        }
        self.status.begun = self.status.begun.saturating_add(1);
        self.status.runs.push(Run { slot: self.status.begun, due, made: false });
        ended
    }

    /// Runs that have begun and whose instance is not there yet: also those of a platform that died
    /// between the one and the other.
    fn missing_runs(&self) -> Vec<Slot> {
        let missing = self.status.runs.iter().filter(|run| self.of_run(run).is_none());
        let slot = |run: &Run| Slot { due: Some(run.due), ..self.slot(Key::Number(run.slot)) };
        missing.map(slot).collect()
    }

    /// Instances of runs that have ended, beyond those that are kept.
    fn surplus_runs(&self, schedule: &Schedule) -> Vec<Uid> {
        let mut surplus = Vec::new();
        for (well, kept) in [(true, schedule.keep_succeeded), (false, schedule.keep_failed)] {
            let ended = |member: &&Member<'_>| !member.leaves() && member.ended() == Some(well);
            let mut ended: Vec<_> = self.members.iter().filter(ended).collect();
            ended.sort_by_key(|member| std::cmp::Reverse(member.number()));
            let beyond = ended.into_iter().skip(kept as usize);
            surplus.extend(beyond.map(|member| member.instance.meta.id.clone()));
        }
        surplus
    }
}

/// The set time after another. Times that cannot be read are refused where they are asked for.
fn after(schedule: &Schedule, time: Time) -> Option<Time> {
    schedule.next(time).ok().flatten()
}
