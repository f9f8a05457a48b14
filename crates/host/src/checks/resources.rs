//! Control groups, memory and limits.

use model::Bytes;

use super::{Finding, Settings};
use crate::facts::CgroupVersion;
use crate::facts::cgroups::Cgroups;
use crate::proc;

/// Below this the platform and a few containers do not fit.
const LEAST_MEMORY: Bytes = Bytes::mib(480);
/// Below this there is little room for instances.
const GOOD_MEMORY: Bytes = Bytes::mib(1900);
/// Open files the daemon may need with a few hundred instances; systemd's default hard limit is 524,288.
const GOOD_FILES: u64 = 65_536;
/// The kernel's old default; a busy container has tens of threads.
const SMALL_PIDS: u64 = 32_768;

/// How they are mounted.
pub fn cgroups(_: &Settings) -> Finding {
    match Cgroups::read().version {
        CgroupVersion::None => Finding::fail(
            "no control groups are mounted",
            "boot with systemd, or mount cgroup2 at /sys/fs/cgroup",
        ),
        version => Finding::pass(version.as_str()),
    }
}

/// Which there are.
pub fn controllers(_: &Settings) -> Finding {
    judge_controllers(&Cgroups::read().controllers())
}

fn judge_controllers(have: &[String]) -> Finding {
    let missing = |names: &[&[&str]]| -> Vec<String> {
        let absent = |any: &&&[&str]| !any.iter().any(|name| have.iter().any(|held| held == name));
        names.iter().filter(absent).map(|any| any.join(" or ")).collect()
    };
    let needed = missing(&[&["memory"], &["cpu"], &["pids"], &["devices"]]);
    if !needed.is_empty() {
        return Finding::fail(
            format!("missing: {}; limits could not be enforced", needed.join(", ")),
            "enable them in the kernel, and on its command line (e.g. cgroup_enable=memory)",
        );
    }
    let wanted = missing(&[&["cpuset"], &["blkio", "io"], &["freezer"]]);
    if wanted.is_empty() {
        return Finding::pass(have.join(", "));
    }
    Finding::warn(
        format!("missing: {}; limits of that kind, or pause, do not work", wanted.join(", ")),
        "enable them in the kernel",
    )
}

/// Whether swap is counted.
pub fn swap_accounting(_: &Settings) -> Finding {
    let groups = Cgroups::read();
    let v1 = groups.ancestors("memory");
    let counted = match groups.version {
        CgroupVersion::V1 | CgroupVersion::Hybrid => {
            v1.iter().any(|dir| dir.join("memory.memsw.limit_in_bytes").exists())
        }
        // The root group has no such file, but /proc/swaps' own accounting is on unless turned off.
        CgroupVersion::V2 => {
            let inside = groups.ancestors("");
            inside.len() < 2 || inside.iter().any(|dir| dir.join("memory.swap.max").exists())
        }
        CgroupVersion::None => false,
    };
    if counted {
        Finding::pass("swap is counted")
    } else if proc::meminfo(&proc::text("/proc/meminfo"), "SwapTotal") == 0 {
        Finding::pass("swap is not counted, and there is none")
    } else {
        Finding::warn("swap is not counted: its limit has no effect", "boot with swapaccount=1")
    }
}

/// How much there is.
pub fn memory(_: &Settings) -> Finding {
    let meminfo = proc::text("/proc/meminfo");
    let total = proc::meminfo(&meminfo, "MemTotal");
    let usable = Bytes(Cgroups::read().memory_limit().map_or(total, |limit| limit.min(total)));
    let available = Bytes(proc::meminfo(&meminfo, "MemAvailable"));
    let text = format!("{usable}, {available} available");
    if usable < LEAST_MEMORY {
        Finding::fail(text, format!("give the machine {LEAST_MEMORY} at least"))
    } else if usable < GOOD_MEMORY {
        Finding::warn(text, "2 GiB leave room for instances")
    } else {
        Finding::pass(text)
    }
}

/// How many files may be open.
pub fn open_files(_: &Settings) -> Finding {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let hard = limits.maximum.unwrap_or(u64::MAX);
    if hard >= GOOD_FILES {
        return Finding::pass(format!("up to {hard}"));
    }
    Finding::warn(
        format!("at most {hard}: few hundred instances use that up"),
        "set LimitNOFILE=524288 in the unit, or ulimit -Hn 524288 before the start",
    )
}

/// How many processes there may be.
pub fn pid_max(_: &Settings) -> Finding {
    let highest: u64 = proc::number("/proc/sys/kernel/pid_max").unwrap_or(0);
    if highest > SMALL_PIDS {
        return Finding::pass(format!("up to {highest}"));
    }
    Finding::warn(
        format!("at most {highest} processes and threads on the whole machine"),
        "sysctl kernel.pid_max=4194304",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn controllers_of_both_versions() {
        let judge = |names: &str| {
            let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
            judge_controllers(&names).outcome
        };
        assert_eq!(judge("blkio cpu cpuset devices freezer memory pids"), Outcome::Pass);
        assert_eq!(judge("cpu cpuset devices freezer io memory pids"), Outcome::Pass);
        assert_eq!(judge("cpu devices memory pids"), Outcome::Warn);
        assert_eq!(judge("cpu cpuset devices freezer io pids"), Outcome::Fail);
    }
}
