//! The set times of a schedule, with what becomes of them when a zone's clocks are changed.
//!
//! As vixie-cron has it (cron(8)): where the hour is `*` or `*/n`, times follow the clock as it shows them,
//! in both of two hours that have one name and in none that is skipped. Where hours are named, a time that
//! comes twice is taken at its first coming, and one that is skipped at the moment after the gap.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::time::Time;

/// Most changes of a zone's clocks that are looked past for a time: a few in each of the four years that
/// a time is looked for.
const MOST_CHANGES: usize = 64;
/// Most times of one zone's day that are passed over, as they were before.
const MOST_AGAIN: usize = 3000;
/// Most times that were missed and are counted one by one.
const MOST_MISSED: u32 = 1000;

/// The times of a schedule, read.
#[derive(Debug, Clone)]
pub struct Times {
    /// Of a clock that is never changed.
    fields: Crontab,
    zone: TimeZone,
    /// No hour is named.
    each_hour: bool,
}

impl Times {
    pub(super) fn read(fields: &str, zone: TimeZone) -> Option<Self> {
        let each_hour = fields.split_whitespace().nth(1)?.starts_with('*');
        let fields = cronexpr::parse_crontab(&format!("{fields} UTC")).ok()?;
        Some(Self { fields, zone, each_hour })
    }

    /// The first time after `now`; none when there is none within four years.
    #[must_use]
    pub fn next(&self, now: Time) -> Option<Time> {
        let found = match self.each_hour {
            true => self.shown_after(now.0),
            false => self.named_after(now.0),
        };
        found.map(Time)
    }

    /// Of the times behind `first` until `now`: the last one, or `first` where there is none, and how many
    /// there are; at least so many, where they are very many.
    #[must_use]
    pub fn passed(&self, first: Time, now: Time) -> (Time, u32) {
        let by_now = |after: Time| self.next(after).filter(|next| *next <= now);
        let mut last = first;
        for count in 0..MOST_MISSED {
            match by_now(last) {
                Some(next) => last = next,
                None => return (last, count),
            }
        }
        let (mut low, mut high) = (last.0.as_second(), now.0.as_second());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match by_now(Time::from_unix(middle, 0)) {
                Some(_) => low = middle,
                None => high = middle,
            }
        }
        (by_now(Time::from_unix(low, 0)).unwrap_or(last), MOST_MISSED)
    }

    /// The next time that a clock shows which is never changed.
    fn follows(&self, shown: DateTime) -> Option<DateTime> {
        let from = TimeZone::UTC.to_timestamp(shown).ok()?;
        self.fields.find_next(MakeTimestamp(from)).ok().map(|found| found.datetime())
    }

    /// The next moment at which the zone's clocks show one of the times.
    fn shown_after(&self, now: Timestamp) -> Option<Timestamp> {
        let (mut from, mut shown) = (now, self.zone.to_datetime(now));
        for _ in 0..MOST_CHANGES {
            let at = self.zone.to_offset(from).to_timestamp(self.follows(shown)?).ok()?;
            match self.zone.following(from).next().map(|change| change.timestamp()) {
                Some(change) if change <= at => {
                    from = change;
                    // What they show at that moment counts too.
                    shown = self.zone.to_datetime(change).checked_sub(SECOND).ok()?;
                }
                _ => return Some(at),
            }
        }
        None
    }

    /// The next moment of one of the times, each of which is taken once a day.
    fn named_after(&self, now: Timestamp) -> Option<Timestamp> {
        let mut shown = self.zone.to_datetime(now);
        for _ in 0..MOST_AGAIN {
            shown = self.follows(shown)?;
            let at = self.moment(shown)?;
            if at > now {
                return Some(at);
            }
        }
        None
    }

    fn moment(&self, shown: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let ahead = after.to_timestamp(shown).ok()?;
                self.zone.following(ahead).next().map(|change| change.timestamp())
            }
        }
    }
}

const SECOND: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Schedule;

    fn read(times: &str, zone: &str) -> Times {
        let (times, time_zone) = (times.to_owned(), zone.to_owned());
        Schedule { times, time_zone, ..Schedule::default() }.read().unwrap()
    }

    fn all(times: &str, zone: &str, from: &str, until: &str) -> String {
        let times = read(times, zone);
        let (mut now, until): (Time, Time) = (from.parse().unwrap(), until.parse().unwrap());
        let mut found = Vec::new();
        while let Some(next) = times.next(now).filter(|next| *next <= until) {
            // The day and the minute.
            found.push(next.to_string()[8..16].to_owned());
            now = next;
        }
        found.join(" ")
    }

    #[test]
    fn clocks_that_are_changed() {
        let (berlin, york, howe) = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe");
        // From 02:00 to 03:00 at 01:00Z, and from 03:00 back to 02:00 at 01:00Z.
        let (spring, autumn) = (
            ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
        );
        // From 02:00 to 03:00 at 07:00Z, and from 02:00 back to 01:00 at 06:00Z.
        let (york_spring, york_autumn) = (
            ("2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z"),
            ("2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z"),
        );
        // From 02:00 to 02:30 at 15:30Z, and from 02:00 back to 01:30 at 15:00Z.
        let (howe_spring, howe_autumn) = (
            ("2026-10-03T02:00:00Z", "2026-10-04T20:00:00Z"),
            ("2026-04-04T02:00:00Z", "2026-04-05T20:00:00Z"),
        );
        let morning = ("2026-10-25T00:29:00Z", "2026-10-25T02:00:00Z");
        let gap = ("2026-03-29T00:29:00Z", "2026-03-29T01:30:00Z");
        for (times, zone, (from, until), expected) in [
            // What is skipped comes right behind the gap, and once.
            ("30 2 * * *", berlin, spring, "29T01:00 30T00:30"),
            ("*/10 2 * * *", berlin, (spring.0, "2026-03-29T12:00:00Z"), "29T01:00"),
            ("0 2,3 * * *", berlin, spring, "29T01:00 30T00:00 30T01:00"),
            ("0 3 * * *", berlin, spring, "29T01:00 30T01:00"),
            ("30 2 * * *", york, york_spring, "08T07:00 09T06:30"),
            ("15 2 * * *", howe, howe_spring, "03T15:30 04T15:15"),
            // What comes twice is taken at its first coming.
            ("30 2 * * *", berlin, autumn, "25T00:30 26T01:30"),
            ("0 3 * * *", berlin, autumn, "25T02:00 26T02:00"),
            ("*/30 2 * * *", berlin, (autumn.0, "2026-10-25T12:00:00Z"), "25T00:00 25T00:30"),
            ("30 1 * * *", york, york_autumn, "01T05:30 02T06:30"),
            ("45 1 * * *", howe, howe_autumn, "04T14:45 05T15:15"),
            // Where no hour is named, the clocks are followed: no hour is left out, none is skipped.
            ("*/30 * * * *", berlin, morning, "25T00:30 25T01:00 25T01:30 25T02:00"),
            ("*/15 * * * *", berlin, gap, "29T00:30 29T00:45 29T01:00 29T01:15 29T01:30"),
            (
                "@hourly",
                york,
                ("2026-11-01T04:30:00Z", "2026-11-01T07:30:00Z"),
                "01T05:00 01T06:00 01T07:00",
            ),
            (
                "0 * * * *",
                howe,
                ("2026-10-03T14:10:00Z", "2026-10-03T17:10:00Z"),
                "03T14:30 03T16:00 03T17:00",
            ),
            (
                "*/20 * * * *",
                howe,
                ("2026-04-04T14:30:00Z", "2026-04-04T15:30:00Z"),
                "04T14:40 04T15:10 04T15:30",
            ),
            // A day that a zone left out.
            (
                "0 12 * * *",
                "Pacific/Apia",
                ("2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z"),
                "29T22:00 30T10:00 30T22:00",
            ),
        ] {
            assert_eq!(all(times, zone, from, until), expected, "{times} {zone} {from}");
        }
    }

    #[test]
    fn what_was_missed_is_counted_and_the_last_found() {
        for (times, first, now, expected) in [
            (
                "0 * * * *",
                "2026-03-01T10:00:00Z",
                "2026-03-01T10:59:00Z",
                ("2026-03-01T10:00:00Z", 0),
            ),
            (
                "0 * * * *",
                "2026-03-01T10:00:00Z",
                "2026-03-01T13:00:00Z",
                ("2026-03-01T13:00:00Z", 3),
            ),
            (
                "* * * * *",
                "2001-03-01T10:00:00Z",
                "2026-03-01T10:07:30Z",
                ("2026-03-01T10:07:00Z", 1000),
            ),
            (
                "* 3 1 1 *",
                "2001-01-01T03:00:00Z",
                "2026-03-01T10:07:30Z",
                ("2026-01-01T03:59:00Z", 1000),
            ),
        ] {
            let (last, count) =
                read(times, "").passed(first.parse().unwrap(), now.parse().unwrap());
            assert_eq!((last.to_string().as_str(), count), expected, "{times} {first}");
        }
    }
}
