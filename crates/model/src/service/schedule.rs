//! When a service runs that runs at set times.

mod times;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::quantity::Span;
use crate::time::Time;

pub use times::Times;

/// Longest text of a schedule.
const LONGEST: usize = 256;
/// Most runs that have ended and are kept, of each kind.
const MOST_KEPT: u32 = 100;
/// Words for schedules that many use (crontab(5)).
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Runs at set times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week, as in crontab(5); or `@daily` and the like.
    pub times: String,
    /// Time zone that these are in, of the IANA database; UTC when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub time_zone: String,
    /// What is done when a run goes on still.
    pub overlap: Overlap,
    /// A run that could not begin within so long after its time is left out; none: one that was
    /// missed is made up for, the last one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_deadline: Option<Span>,
    /// No run begins.
    pub suspended: bool,
    /// So many instances of runs that ended well are kept.
    pub keep_succeeded: u32,
    /// So many of those that failed are kept.
    pub keep_failed: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            times: String::new(),
            time_zone: String::new(),
            overlap: Overlap::default(),
            starting_deadline: None,
            suspended: false,
            keep_succeeded: 3,
            keep_failed: 1,
        }
    }
}

/// What is done when it is time for a run and another goes on still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    /// Both run.
    #[default]
    Allow,
    /// The new one is left out.
    Forbid,
    /// The old one is ended.
    Replace,
}

/// A run that has begun and has not been seen to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its slot.
    pub slot: u32,
    /// The time it was for.
    pub due: Time,
    /// Its instance was there.
    pub made: bool,
    /// Another run took its place: its instance is to go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

impl Schedule {
    /// Reads the times, to be asked often.
    ///
    /// # Errors
    /// `Invalid` for times or a zone that cannot be read.
    pub fn read(&self) -> Result<Times> {
        let text = self.times.trim();
        let word = WORDS.iter().find(|(word, _)| *word == text);
        let fields = word.map_or(text, |(_, fields)| fields);
        if self.times.len() > LONGEST || fields.split_whitespace().count() != 5 {
            return Err(self.refuse("five fields are needed: minute, hour, day, month, weekday"));
        }
        let name = if self.time_zone.is_empty() { "UTC" } else { &self.time_zone };
        let zone = jiff::tz::TimeZone::get(name).map_err(|_| {
            Error::invalid(format!("there is no time zone {name:?}"))
                .at("timeZone")
                .next("give one of the IANA database, like Europe/Berlin")
        })?;
        Times::read(fields, zone)
            .ok_or_else(|| self.refuse("a field is out of its range or not understood"))
    }

    fn refuse(&self, why: &str) -> Error {
        let shown: String = self.times.chars().take(40).collect();
        Error::invalid(format!("{shown:?} are no times to run at: {why}"))
            .at("times")
            .next("write them like \"30 4 * * 1-5\" (half past four on working days)")
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.read()?;
        for (field, kept) in
            [("keepSucceeded", self.keep_succeeded), ("keepFailed", self.keep_failed)]
        {
            if kept > MOST_KEPT {
                return Err(Error::invalid(format!("at most {MOST_KEPT} are kept")).at(field));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(times: &str, zone: &str, after: &str) -> Result<Option<String>> {
        let schedule =
            Schedule { times: times.into(), time_zone: zone.into(), ..Schedule::default() };
        let found = schedule.read()?.next(after.parse().unwrap());
        Ok(found.map(|time| time.to_string()))
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let after = "2026-03-01T10:00:00Z";
        for (times, zone, expected) in [
            ("*/5 * * * *", "", "2026-03-01T10:05:00Z"),
            ("@daily", "", "2026-03-02T00:00:00Z"),
            ("30 4 * * 1-5", "", "2026-03-02T04:30:00Z"),
            ("0 12 * * *", "Asia/Shanghai", "2026-03-02T04:00:00Z"),
        ] {
            assert_eq!(next(times, zone, after).unwrap().as_deref(), Some(expected), "{times}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for times in ["", "* * * *", "61 * * * *", "a b c d e", "* * * * * *", "@sometimes"] {
            let error = next(times, "", "2026-03-01T10:00:00Z").unwrap_err();
            assert_eq!(error.field(), Some("times"), "{times}");
        }
        let error = next("* * * * *", "Mars/Base", "2026-03-01T10:00:00Z").unwrap_err();
        assert_eq!(error.field(), Some("timeZone"));
        let long = "*".repeat(LONGEST + 1);
        assert!(next(&long, "", "2026-03-01T10:00:00Z").is_err());
        // A day that no month has: never, and found out soon.
        assert_eq!(next("0 0 30 2 *", "", "2026-03-01T10:00:00Z").ok().flatten(), None);
    }
}
