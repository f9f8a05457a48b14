//! How long ago things ended, by a clock that does not jump. The time of day does: set back an hour, it
//! would put off every restart by an hour; set forward, it would take every wait away.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::Time;
use model::instance::ContainerState;

use crate::decide::Ago;
use crate::local::Local;

/// Stands for the last start that failed, among the names of containers, of which it is none.
const FAILED: &str = "";

/// When each thing that ended was first seen to have.
#[derive(Debug, Default)]
pub struct Ends {
    /// By container: what the end says of its time, and when it was seen.
    seen: HashMap<String, (Time, Instant)>,
}

impl Ends {
    /// What had ended before anybody looked. The time of day is all that tells how long ago.
    pub fn known(local: &Local, now: Time) -> Self {
        let seen = |(name, at): (&str, Time)| {
            let begun = Instant::now();
            (name.to_owned(), (at, begun.checked_sub(now.since(at)).unwrap_or(begun)))
        };
        Self { seen: all(local).map(seen).collect() }
    }

    /// How long ago each was seen first.
    pub fn ago(&mut self, local: &Local) -> Ago {
        let mut ago = Ago::default();
        for (name, at) in all(local) {
            let seen = self.seen.entry(name.to_owned()).or_insert_with(|| (at, Instant::now()));
            if seen.0 != at {
                *seen = (at, Instant::now());
            }
            let elapsed: Duration = seen.1.elapsed();
            match name {
                FAILED => ago.failed = elapsed,
                _ => drop(ago.ended.insert(name.to_owned(), elapsed)),
            }
        }
        ago
    }
}

fn all(local: &Local) -> impl Iterator<Item = (&str, Time)> {
    let containers = local.status.containers.iter();
    let ended = containers.filter(|seen| seen.state == ContainerState::Exited);
    let ended = ended.filter_map(|seen| Some((seen.name.as_str(), seen.finished?)));
    ended.chain(local.failed_at.map(|at| (FAILED, at)))
}

#[cfg(test)]
mod tests {
    use model::instance::{ContainerStatus, InstanceStatus};

    use super::*;

    fn ended(at: i64) -> Local {
        let main = ContainerStatus {
            name: "main".into(),
            state: ContainerState::Exited,
            finished: Some(Time::from_unix(at, 0)),
            ..Default::default()
        };
        let status = InstanceStatus { containers: vec![main], ..Default::default() };
        Local { status, ..Default::default() }
    }

    #[test]
    fn the_time_of_day_counts_only_for_what_nobody_saw_end() {
        let local = ended(1000);
        let mut ends = Ends::known(&local, Time::from_unix(1007, 0));
        let ago = ends.ago(&local).ended["main"];
        assert!((Duration::from_secs(7)..Duration::from_secs(8)).contains(&ago), "{ago:?}");
        // One that is said to be a day old, or of tomorrow, ended when it was seen.
        for at in [1000 - 86_400, 1000 + 86_400] {
            assert!(ends.ago(&ended(at)).ended["main"] < Duration::from_secs(1));
        }
        // Seen again it is older.
        let local = ended(1000 + 86_400);
        let first = ends.ago(&local).ended["main"];
        assert!(ends.ago(&local).ended["main"] >= first);
    }

    #[test]
    fn an_end_of_tomorrow_is_of_now() {
        let local = ended(2000);
        let mut ends = Ends::known(&local, Time::from_unix(1000, 0));
        assert!(ends.ago(&local).ended["main"] < Duration::from_secs(1));
    }
}
