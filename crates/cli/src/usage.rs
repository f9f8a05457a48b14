//! What instances use, told by what lies between two looks.

use link::instance::{InterfaceStats, Stats};
use model::Bytes;

/// What an instance used between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Processors in use: 1.5 is one and a half.
    pub cpus: f64,
    /// Bytes a second received and sent.
    pub net: (f64, f64),
    /// Bytes a second read and written.
    pub disk: (f64, f64),
}

impl Rates {
    /// What lies between two looks; nothing when no time does.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn between(before: &Stats, now: &Stats) -> Self {
        let passed = match (before.time, now.time) {
            (Some(before), Some(now)) => now.since(before).as_secs_f64(),
            _ => 0.0,
        };
        if passed <= 0.0 {
            return Self::default();
        }
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / passed;
        let net = |of| rate(sum(before, of), sum(now, of));
        Self {
            cpus: rate(before.cpu_ns, now.cpu_ns) / 1e9,
            net: (net(|it| it.rx_bytes), net(|it| it.tx_bytes)),
            disk: (rate(before.block.0, now.block.0), rate(before.block.1, now.block.1)),
        }
    }
}

/// A counter of all interfaces together.
pub fn sum(stats: &Stats, of: fn(&InterfaceStats) -> u64) -> u64 {
    stats.interfaces.iter().map(of).sum()
}

/// The share of its limit that memory in use is, when there is a limit.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub fn of_limit(stats: &Stats) -> Option<f64> {
    (stats.memory_limit > 0).then(|| stats.memory as f64 / stats.memory_limit as f64)
}

/// `1.5 MiB` without the space and the letters that every size has.
pub fn compact(bytes: u64) -> String {
    Bytes(bytes).to_string().replace(' ', "").replace("iB", "")
}

#[cfg(test)]
mod tests {
    use model::Time;

    use super::*;

    #[test]
    fn rates_are_told_by_the_difference() {
        let look = |seconds: i64, count: u64| Stats {
            time: Some(Time::from_unix(seconds, 0)),
            cpu_ns: count * 1_000_000_000,
            block: (count * 10, count * 20),
            interfaces: vec![
                InterfaceStats { rx_bytes: count, tx_bytes: 0, ..InterfaceStats::default() },
                InterfaceStats { rx_bytes: count, tx_bytes: count, ..InterfaceStats::default() },
            ],
            ..Stats::default()
        };
        let rates = Rates::between(&look(10, 4), &look(12, 6));
        assert_eq!(rates, Rates { cpus: 1.0, net: (2.0, 1.0), disk: (10.0, 20.0) });
        // A counter that begins anew, as after a restart, and a look at the same moment.
        assert_eq!(Rates::between(&look(10, 4), &look(12, 1)), Rates::default());
        assert_eq!(Rates::between(&look(10, 4), &look(10, 9)), Rates::default());
    }
}
