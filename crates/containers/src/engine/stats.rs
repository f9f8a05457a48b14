//! What a container uses.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Time;

/// Use of resources at one moment; counters count from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// When it was read.
    pub at: Time,
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices used.
    pub block_io: Vec<BlockIo>,
    /// 1 or 2: the version of the cgroups these were read from.
    pub cgroup_version: u8,
}

/// Use of processors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpu {
    /// Time used in all.
    pub total: Duration,
    /// Of that, in user mode.
    pub user: Duration,
    /// Of that, in the kernel.
    pub kernel: Duration,
    /// Time each processor was used; empty where the kernel does not tell (cgroup v2).
    pub per_cpu: Vec<Duration>,
    /// Time all processors of the machine spent on anything, idling included: the denominator of a
    /// percentage.
    pub system: Duration,
    /// Processors of the machine that are on.
    pub online: u32,
    /// Periods of the quota that passed.
    pub periods: u64,
    /// Of those, the ones in which it was held back.
    pub throttled_periods: u64,
    /// Time it was held back.
    pub throttled: Duration,
}

/// Use of memory in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// All that is charged to it, page cache included.
    pub usage: u64,
    /// The highest that was; 0 where the kernel does not tell.
    pub peak: u64,
    /// The limit; the machine's memory when it has none.
    pub limit: u64,
    /// Times the limit was hit.
    pub failures: u64,
    /// Of the usage, what is page cache that can go at once (`inactive_file`): what `docker stats`
    /// subtracts.
    pub inactive_file: u64,
    /// The kernel's whole account (`memory.stat`).
    pub detail: BTreeMap<String, u64>,
}

impl Memory {
    /// Usage without page cache that can go at once.
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pids {
    /// Those there are.
    pub current: u64,
    /// Most there may be; `None` for no bound.
    pub limit: Option<u64>,
}

/// Use of one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockIo {
    /// Its numbers.
    pub major: u32,
    /// Its numbers.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}
