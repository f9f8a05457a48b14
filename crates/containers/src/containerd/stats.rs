//! What a container uses, read from its cgroups: no call to the shim, which would take longer.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Error, Result, Time};

use super::cgroup::{Cgroup, fields};
use super::{Containerd, create::blocking};
use crate::engine::{BlockIo, ContainerId, Cpu, Memory, Pids, Stats};
use crate::spec::cgroup_path;

/// Clock ticks a second that /proc counts in (`USER_HZ`, the same on all machines Linux runs on
/// here).
pub(super) const TICKS: u64 = 100;

impl Containerd {
    pub(super) async fn read_stats(&self, id: &ContainerId) -> Result<Stats> {
        let record = self.record(id).await?;
        let cgroup = Cgroup::at(&cgroup_path(&record.config));
        let id = id.clone();
        blocking(move || {
            if cgroup.processes().is_empty() {
                return Err(Error::conflict(format!("container {id} is not running"))
                    .next("start it first"));
            }
            Ok(read(&cgroup))
        })
        .await
    }
}

fn read(cgroup: &Cgroup) -> Stats {
    let unified = cgroup.is_unified();
    Stats {
        at: Time::now(),
        cpu: if unified { cpu_v2(cgroup) } else { cpu_v1(cgroup) },
        memory: if unified { memory_v2(cgroup) } else { memory_v1(cgroup) },
        pids: Pids {
            current: cgroup.number("pids", "pids.current").unwrap_or(0),
            limit: cgroup.number("pids", "pids.max"),
        },
        block_io: if unified { block_io_v2(cgroup) } else { block_io_v1(cgroup) },
        cgroup_version: if unified { 2 } else { 1 },
    }
}

fn machine() -> Cpu {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let total: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .unwrap_or_default()
        .split_whitespace()
        .take(8)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let processors = stat.lines().filter(|line| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    Cpu {
        system: Duration::from_nanos(total.saturating_mul(1_000_000_000 / TICKS)),
        online: u32::try_from(processors.count()).unwrap_or(u32::MAX),
        ..Cpu::default()
    }
}

fn cpu_v1(cgroup: &Cgroup) -> Cpu {
    let nanos = |file: &str| Duration::from_nanos(cgroup.number("cpuacct", file).unwrap_or(0));
    let throttle = |name: &str| cgroup.field("cpu", "cpu.stat", name).unwrap_or(0);
    let per_cpu = cgroup.text("cpuacct", "cpuacct.usage_percpu");
    Cpu {
        total: nanos("cpuacct.usage"),
        user: nanos("cpuacct.usage_user"),
        kernel: nanos("cpuacct.usage_sys"),
        per_cpu: per_cpu
            .split_whitespace()
            .filter_map(|field| field.parse().ok().map(Duration::from_nanos))
            .collect(),
        periods: throttle("nr_periods"),
        throttled_periods: throttle("nr_throttled"),
        throttled: Duration::from_nanos(throttle("throttled_time")),
        ..machine()
    }
}

fn cpu_v2(cgroup: &Cgroup) -> Cpu {
    let text = cgroup.text("cpu", "cpu.stat");
    let field = |name: &str| fields(&text).find(|(word, _)| *word == name).map_or(0, |(_, n)| n);
    let micros = |name: &str| Duration::from_micros(field(name));
    Cpu {
        total: micros("usage_usec"),
        user: micros("user_usec"),
        kernel: micros("system_usec"),
        periods: field("nr_periods"),
        throttled_periods: field("nr_throttled"),
        throttled: micros("throttled_usec"),
        ..machine()
    }
}

fn machine_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = info.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kilobytes.unwrap_or(0) << 10
}

fn detail(text: &str) -> BTreeMap<String, u64> {
    fields(text).map(|(word, number)| (word.to_owned(), number)).collect()
}

fn memory_v1(cgroup: &Cgroup) -> Memory {
    let number = |file: &str| cgroup.number("memory", file).unwrap_or(0);
    let detail = detail(&cgroup.text("memory", "memory.stat"));
    Memory {
        usage: number("memory.usage_in_bytes"),
        peak: number("memory.max_usage_in_bytes"),
        limit: number("memory.limit_in_bytes").min(machine_memory()),
        failures: number("memory.failcnt"),
        inactive_file: detail.get("total_inactive_file").copied().unwrap_or(0),
        detail,
    }
}

fn memory_v2(cgroup: &Cgroup) -> Memory {
    let detail = detail(&cgroup.text("memory", "memory.stat"));
    let machine = machine_memory();
    Memory {
        usage: cgroup.number("memory", "memory.current").unwrap_or(0),
        peak: cgroup.number("memory", "memory.peak").unwrap_or(0),
        limit: cgroup.number("memory", "memory.max").unwrap_or(machine).min(machine),
        failures: cgroup.field("memory", "memory.events", "max").unwrap_or(0),
        inactive_file: detail.get("inactive_file").copied().unwrap_or(0),
        detail,
    }
}

/// Adds up by device what `set` takes from each line.
fn by_device<'a>(
    lines: impl Iterator<Item = &'a str>,
    all: &mut BTreeMap<(u32, u32), BlockIo>,
    set: impl Fn(&mut BlockIo, &str),
) {
    for line in lines {
        let Some((device, rest)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        let entry =
            all.entry((major, minor)).or_insert(BlockIo { major, minor, ..BlockIo::default() });
        set(entry, rest);
    }
}

/// `8:0 Read 4096` a line, in one file for bytes and one for operations.
fn block_io_v1(cgroup: &Cgroup) -> Vec<BlockIo> {
    let mut all = BTreeMap::new();
    let text = |name: &str| {
        let recursive = format!("blkio.throttle.{name}_recursive");
        cgroup.text("blkio", &recursive)
    };
    let word = |rest: &str, wanted: &str| {
        rest.strip_prefix(wanted).and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    by_device(text("io_service_bytes").lines(), &mut all, |entry, rest| {
        entry.read_bytes += word(rest, "Read ");
        entry.write_bytes += word(rest, "Write ");
    });
    by_device(text("io_serviced").lines(), &mut all, |entry, rest| {
        entry.reads += word(rest, "Read ");
        entry.writes += word(rest, "Write ");
    });
    all.into_values().collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 …` a line.
fn block_io_v2(cgroup: &Cgroup) -> Vec<BlockIo> {
    let mut all = BTreeMap::new();
    by_device(cgroup.text("io", "io.stat").lines(), &mut all, |entry, rest| {
        for field in rest.split_whitespace() {
            let Some((name, Ok(number))) =
                field.split_once('=').map(|(n, v)| (n, v.parse::<u64>()))
            else {
                continue;
            };
            match name {
                "rbytes" => entry.read_bytes += number,
                "wbytes" => entry.write_bytes += number,
                "rios" => entry.reads += number,
                "wios" => entry.writes += number,
                _ => {}
            }
        }
    });
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::tests::tree;
    use super::*;

    const NANOS: Duration = Duration::from_nanos(1_500_000);

    fn disk(reads: u64) -> BlockIo {
        let (read_bytes, write_bytes) = (4096, 8192);
        BlockIo { major: 8, minor: 0, read_bytes, write_bytes, reads, writes: 2 }
    }

    #[test]
    fn version_2() {
        let root = tree(&[
            ("cgroup.controllers", "cpu io memory pids\n"),
            (
                "c/cpu.stat",
                "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 4\n\
                nr_throttled 3\nthrottled_usec 20\n",
            ),
            ("c/memory.current", "1048576\n"),
            ("c/memory.max", "2097152\n"),
            ("c/memory.events", "low 0\nmax 5\noom_kill 0\n"),
            ("c/memory.stat", "anon 100\ninactive_file 50\n"),
            ("c/pids.current", "3\n"),
            ("c/pids.max", "max\n"),
            ("c/io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"),
        ]);
        let stats = read(&Cgroup::below(root.path(), "/c"));
        assert_eq!(stats.cgroup_version, 2);
        assert_eq!(
            (stats.cpu.total, stats.cpu.periods, stats.cpu.throttled_periods),
            (NANOS, 4, 3)
        );
        assert_eq!(stats.cpu.throttled, Duration::from_micros(20));
        assert_eq!((stats.memory.usage, stats.memory.limit), (1 << 20, 2 << 20));
        assert_eq!((stats.memory.failures, stats.memory.inactive_file), (5, 50));
        assert_eq!((stats.pids.current, stats.pids.limit), (3, None));
        assert_eq!(stats.block_io, [disk(1)]);
    }

    #[test]
    fn version_1() {
        let root = tree(&[
            ("cpuacct/c/cpuacct.usage", "1500000\n"),
            ("cpuacct/c/cpuacct.usage_percpu", "1000000 500000\n"),
            ("cpu/c/cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 20000\n"),
            ("memory/c/memory.usage_in_bytes", "1048576\n"),
            ("memory/c/memory.limit_in_bytes", "2097152\n"),
            ("memory/c/memory.failcnt", "5\n"),
            ("memory/c/memory.stat", "cache 1\ntotal_inactive_file 50\n"),
            ("pids/c/pids.current", "3\n"),
            ("pids/c/pids.max", "9\n"),
            (
                "blkio/c/blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\nTotal 12288\n",
            ),
            ("blkio/c/blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 2\n"),
        ]);
        let stats = read(&Cgroup::below(root.path(), "/c"));
        assert_eq!(stats.cgroup_version, 1);
        assert_eq!(
            (stats.cpu.total, stats.cpu.periods, stats.cpu.throttled_periods),
            (NANOS, 4, 3)
        );
        assert_eq!(stats.cpu.throttled, Duration::from_micros(20));
        assert_eq!(stats.cpu.per_cpu.len(), 2);
        assert_eq!((stats.memory.usage, stats.memory.limit), (1 << 20, 2 << 20));
        assert_eq!((stats.memory.failures, stats.memory.inactive_file), (5, 50));
        assert_eq!((stats.pids.current, stats.pids.limit), (3, Some(9)));
        assert_eq!(stats.block_io, [disk(1)]);
    }

    #[test]
    fn what_the_kernel_does_not_count_is_nothing() {
        let root = tree(&[("cgroup.controllers", "cpu\n"), ("c/cpu.stat", "usage_usec 1500\n")]);
        let stats = read(&Cgroup::below(root.path(), "/c"));
        assert_eq!((stats.cpu.total, stats.memory.usage, stats.pids.limit), (NANOS, 0, None));
        assert!(stats.memory.limit > 0, "the machine's memory is the limit");
        assert!(stats.block_io.is_empty());
    }
}
