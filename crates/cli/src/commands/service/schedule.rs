//! Flags for services that run at set times.

use clap::{Args, ValueEnum};
use model::Span;
use model::service::{Overlap, Schedule};

/// When a service runs.
#[derive(Debug, Clone, Default, Args)]
pub struct ScheduleFlags {
    /// Run it at set times: minute, hour, day, month, weekday; or @hourly, @daily, @weekly …
    #[arg(long, value_name = "TIMES")]
    cron: Option<String>,
    /// Time zone of these [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What is done when it is time and a run goes on still [default: allow]
    #[arg(long, value_enum)]
    overlap: Option<Overlapping>,
    /// Leave out a run that could not begin within so long after its time
    #[arg(long, value_name = "TIME")]
    starting_deadline: Option<Span>,
    /// Keep so many runs that ended well [default: 3]
    #[arg(long, value_name = "N")]
    keep_succeeded: Option<u32>,
    /// Keep so many runs that failed [default: 1]
    #[arg(long, value_name = "N")]
    keep_failed: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overlapping {
    /// Both run
    Allow,
    /// The new one is left out
    Forbid,
    /// The old one is ended
    Replace,
}

impl ScheduleFlags {
    /// Whether a service is to run at set times.
    pub fn is_given(&self) -> bool {
        self.cron.is_some()
    }

    /// The schedule with what was given laid over it.
    pub fn over(&self, schedule: &Schedule) -> Schedule {
        Schedule {
            times: self.cron.clone().unwrap_or_else(|| schedule.times.clone()),
            time_zone: self.time_zone.clone().unwrap_or_else(|| schedule.time_zone.clone()),
            overlap: match self.overlap {
                Some(Overlapping::Allow) => Overlap::Allow,
                Some(Overlapping::Forbid) => Overlap::Forbid,
                Some(Overlapping::Replace) => Overlap::Replace,
                None => schedule.overlap,
            },
            starting_deadline: self.starting_deadline.or(schedule.starting_deadline),
            suspended: schedule.suspended,
            keep_succeeded: self.keep_succeeded.unwrap_or(schedule.keep_succeeded),
            keep_failed: self.keep_failed.unwrap_or(schedule.keep_failed),
        }
    }
}
