//! Services that run at set times.

use std::time::Duration;

use model::instance::Reason;
use model::service::schedule::Times;
use model::service::{Overlap, Run, Schedule, ServicePhase};
use model::{Time, Uid};

use super::{Key, Member, Slot, Step, Work};

/// Most runs that go on at a time.
const MOST: usize = 100;
/// A clock that was set back no further than this makes no run a second time; one that was set back further
/// was wrong before, and what it shows now counts (as cron(8) has it).
const SET_BACK: Duration = Duration::from_secs(3 * 3600);

impl Work<'_> {
    pub(super) fn run_at_times(mut self, schedule: &Schedule) -> Step {
        self.count();
        self.status.phase = ServicePhase::Scheduled;
        self.note_ends();
        let (shut, renew) = self.depend();
        let halted = shut.is_some() || schedule.suspended || self.service.spec.paused;
        match self.around.times {
            Some(times) if !halted => self.begin_due(schedule, times),
            Some(_) | None => self.status.next_due = None,
        }
        let mut remove = self.replaced_runs();
        remove.extend(self.surplus_runs(schedule));
        let create = self.missing_runs();
        self.status.wanted = u32::try_from(self.going().count()).unwrap_or(u32::MAX);
        let again = self.status.next_due.map(|next| next.since(self.now));
        // A time that has come meanwhile.
        let again = again.map(|left| left.max(Duration::from_millis(1)));
        let held = match self.around.times {
            Some(_) => halted.then(|| self.held()),
            None => Some(self.unreadable()),
        };
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

    /// They could be read when they were asked for: the names of time zones change.
    fn unreadable(&self) -> Reason {
        let name = &self.service.meta.name;
        Reason {
            next: Some(format!("`hull service update --cron … --time-zone … {name}`")),
            ..Reason::new("ScheduleUnreadable", "its times, or their time zone, are not known")
        }
    }

    /// Runs that have begun and are to come to their own end.
    fn going(&self) -> impl Iterator<Item = &Run> {
        self.status.runs.iter().filter(|run| !run.replaced)
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
                Some((_, true)) if run.replaced => {}
                Some((Some(true), _)) => succeeded += 1,
                Some((Some(false), _)) => failed += 1,
                Some((None, true)) => {}
                None if made || run.replaced => {}
                Some((None, false)) | None => going.push(Run { made, ..run.clone() }),
            }
        }
        let status = &mut self.status;
        status.runs = going;
        status.succeeded = status.succeeded.saturating_add(succeeded);
        status.failed = status.failed.saturating_add(failed);
    }

    /// Begins a run when its time has come, and works out the next time.
    fn begin_due(&mut self, schedule: &Schedule, times: &Times) {
        let now = self.now;
        let Some(due) = self.status.next_due.filter(|next| *next <= now) else {
            let acted_on = |last: &Time| *last > now && last.since(now) <= SET_BACK;
            let next = times.next(self.status.last_due.filter(acted_on).unwrap_or(now));
            // An earlier one than was worked out before: the clock was ahead then.
            self.status.next_due = match self.asked_anew {
                true => next,
                false => [self.status.next_due, next].into_iter().flatten().min(),
            };
            return;
        };
        let (last, missed) = times.passed(due, now);
        self.status.left_out = self.status.left_out.saturating_add(missed);
        self.status.next_due = times.next(now);
        self.begin_run(schedule, last);
    }

    fn begin_run(&mut self, schedule: &Schedule, due: Time) {
        self.status.last_due = Some(due);
        let late = schedule.starting_deadline.is_some_and(|most| self.now.since(due) > most.0);
        let going = self.going().count();
        let barred = match schedule.overlap {
            Overlap::Forbid => going > 0,
            Overlap::Allow => going >= MOST,
            Overlap::Replace => false,
        };
        if late || barred {
            self.status.left_out = self.status.left_out.saturating_add(1);
            return;
        }
        if schedule.overlap == Overlap::Replace {
            self.status.runs.iter_mut().for_each(|run| run.replaced = true);
        }
        let status = &mut self.status;
        status.begun = status.begun.saturating_add(1);
        status.runs.push(Run { slot: status.begun, due, made: false, replaced: false });
    }

    /// Instances of runs that another one took the place of.
    fn replaced_runs(&self) -> Vec<Uid> {
        let replaced = self.status.runs.iter().filter(|run| run.replaced);
        let members = replaced.filter_map(|run| self.of_run(run)).filter(|it| !it.leaves());
        members.map(|member| member.instance.meta.id.clone()).collect()
    }

    /// Runs that have begun and whose instance is not there yet: also those of a platform that died
    /// between the one and the other.
    fn missing_runs(&self) -> Vec<Slot> {
        let missing = self.going().filter(|run| self.of_run(run).is_none());
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
