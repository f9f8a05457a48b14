//! Processors.

use model::Cpus;

use super::cgroups::Cgroups;
use crate::proc;

/// Processors this process may use.
pub fn usable(groups: &Cgroups) -> Cpus {
    let affinity = rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |set| set.count());
    let whole = u64::from(affinity.min(online()).max(1)) * 1000;
    Cpus::from_milli(groups.cpu_limit().map_or(whole, |limit| limit.min(whole)))
}

/// Processors online.
pub fn online() -> u32 {
    count(&proc::text("/sys/devices/system/cpu/online")).max(1)
}

/// Length of a list such as `0-3,8`.
fn count(list: &str) -> u32 {
    list.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        for (list, expected) in [("0", 1), ("0-3", 4), ("0-3,8,10-11", 7), ("", 0), ("x", 0)] {
            assert_eq!(count(list), expected, "{list}");
        }
    }
}
