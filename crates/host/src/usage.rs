//! How busy this machine is.

use std::path::{Path, PathBuf};

use model::{Bytes, Cpus, Error, Result};
use serde::{Deserialize, Serialize};

use crate::facts::disk::Disk;
use crate::proc;

/// How busy the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Processors in use since the reading before; 0 at the first.
    pub cpus: Cpus,
    /// Memory in use: all of it less `MemAvailable` of proc_meminfo(5).
    pub memory: Bytes,
    /// Swap in use.
    pub swap: Bytes,
    /// Load average of the last minute.
    pub load: f64,
    /// Bytes in use of the state directory's file system.
    pub disk: Bytes,
    /// Bytes that can still be written there.
    pub disk_available: Bytes,
}

/// Takes readings; keeps the one before, since processor time is a difference.
#[derive(Debug)]
pub struct Meter {
    dir: PathBuf,
    before: Option<Ticks>,
}

impl Meter {
    /// A meter that looks at the disk of `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), before: None }
    }

    /// Reads now: four small files and one call.
    ///
    /// # Errors
    /// `Unavailable` when `/proc` is not mounted.
    pub fn read(&mut self) -> Result<Usage> {
        let now = Ticks::parse(&proc::text("/proc/stat"))
            .ok_or_else(|| Error::unavailable("/proc is not mounted, or cannot be read"))?;
        let meminfo = proc::text("/proc/meminfo");
        let memory = |key: &str| proc::meminfo(&meminfo, key);
        let disk = Disk::of(&self.dir);
        let before = self.before.replace(now).unwrap_or(now);
        Ok(Usage {
            cpus: now.since(before),
            memory: Bytes(memory("MemTotal").saturating_sub(memory("MemAvailable"))),
            swap: Bytes(memory("SwapTotal").saturating_sub(memory("SwapFree"))),
            load: proc::text("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            disk: Bytes(disk.total.0.saturating_sub(disk.available.0)),
            disk_available: disk.available,
        })
    }
}

/// Processor time since the boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
    processors: u64,
}

impl Ticks {
    /// Reads `/proc/stat`: `cpu user nice system idle iowait irq softirq steal …`, then a line for
    /// each processor.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let fields = lines.next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4)?;
        let all = ticks.iter().sum();
        let processors = lines.take_while(|line| line.starts_with("cpu")).count() as u64;
        Some(Self { busy: all - idle, all, processors })
    }

    fn since(self, before: Self) -> Cpus {
        let busy = self.busy.saturating_sub(before.busy);
        let all = self.all.saturating_sub(before.all).max(1);
        Cpus::from_milli(busy * 1000 * self.processors / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_a_difference() {
        let first = Ticks::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        let second = Ticks::parse("cpu  150 0 150 750 150 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        assert_eq!(second.unwrap().since(first.unwrap()).milli(), 1000, "half of two");
        assert_eq!(first.unwrap().since(second.unwrap()).milli(), 0, "never negative");
        assert_eq!(Ticks::parse("nonsense"), None);
    }

    #[test]
    fn this_machine_is_read() {
        let mut meter = Meter::new(Path::new("/"));
        assert_eq!(meter.read().unwrap().cpus, Cpus::default());
        let second = meter.read().unwrap();
        assert!(second.memory > Bytes(0) && second.disk > Bytes(0));
    }
}
