//! Limits of cgroups (cgroups(7)), as far as this kernel has them.

use std::os::unix::fs::MetadataExt;

use model::instance::Resources;
use model::instance::container::Throttle;
use model::{Bytes, Error, Result};

use super::oci;
use crate::host::{CgroupVersion, HostFacts};

/// Length of the period a quota of processors is given in, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;

/// The limits `asked`, without those this machine has no means for; each of these is a warning.
/// Rules for devices are not among them.
pub(crate) fn resources(
    asked: &Resources,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<oci::Resources> {
    let mut limits = oci::Resources {
        devices: Vec::new(),
        memory: memory(asked, host, warnings),
        cpu: cpu(asked, host)?,
        pids: asked.pids.map(|limit| oci::Pids { limit: if limit <= 0 { -1 } else { limit } }),
        block_io: block_io(asked, host, warnings)?,
    };
    let mut need = |controller: &str, what: &str, missing: bool| {
        let gone = missing && !host.controllers.contains(controller);
        if gone {
            warnings.push(format!("left out {what}: the kernel has no {controller} cgroup"));
        }
        gone
    };
    if need("memory", "limits of memory", limits.memory.is_some()) {
        limits.memory = None;
    }
    if need("cpu", "limits of processor time", limits.cpu.is_some()) {
        limits.cpu = None;
    }
    if need("pids", "the limit of processes", limits.pids.is_some()) {
        limits.pids = None;
    }
    Ok(limits)
}

fn memory(asked: &Resources, host: &HostFacts, warnings: &mut Vec<String>) -> Option<oci::Memory> {
    let limits = oci::Memory {
        limit: asked.memory.map(signed),
        reservation: asked.memory_reservation.map(signed),
        swap: swap(asked, host, warnings),
        swappiness: swappiness(asked, host, warnings),
        disable_oom_killer: oom_kill_disable(asked, host, warnings),
    };
    (limits != oci::Memory::default()).then_some(limits)
}

/// Memory and swap together. Twice the memory where only that is limited, as in Docker.
fn swap(asked: &Resources, host: &HostFacts, warnings: &mut Vec<String>) -> Option<i64> {
    if !host.swap_limit {
        if asked.memory_swap.is_some() {
            warnings.push("left out the limit of swap: the kernel has none for cgroups".to_owned());
        }
        return None;
    }
    match (asked.memory_swap, asked.memory) {
        (Some(swap), _) if swap != 0 => Some(swap),
        (Some(_) | None, Some(memory)) => Some(signed(memory).saturating_mul(2)),
        (Some(_) | None, None) => None,
    }
}

fn swappiness(asked: &Resources, host: &HostFacts, warnings: &mut Vec<String>) -> Option<u64> {
    let value = asked.memory_swappiness?;
    if host.cgroup == CgroupVersion::V1 {
        return Some(value);
    }
    warnings.push("left out swappiness: cgroup v2 has none".to_owned());
    None
}

fn oom_kill_disable(
    asked: &Resources,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Option<bool> {
    if !asked.oom_kill_disable {
        return None;
    }
    if host.cgroup == CgroupVersion::V1 {
        return Some(true);
    }
    warnings.push("left out disabling the out-of-memory killer: cgroup v2 cannot".to_owned());
    None
}

fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}

fn cpu(asked: &Resources, host: &HostFacts) -> Result<Option<oci::Cpu>> {
    let mut limits = oci::Cpu {
        shares: asked.cpu_shares.filter(|shares| *shares > 0),
        quota: asked.cpu_quota.filter(|quota| *quota != 0),
        period: asked.cpu_period.filter(|period| *period > 0),
        cpus: asked.cpuset_cpus.clone(),
        mems: asked.cpuset_mems.clone(),
    };
    if let Some(cpus) = asked.cpus.filter(|cpus| cpus.milli() > 0) {
        limits.period = Some(PERIOD);
        limits.quota = i64::try_from(cpus.milli().saturating_mul(PERIOD) / 1000).ok();
    }
    check_list(&limits.cpus, host.processors, "cpusetCpus")?;
    check_list(&limits.mems, host.memory_nodes, "cpusetMems")?;
    Ok((limits != oci::Cpu::default()).then_some(limits))
}

/// Checks a list such as `0-2,5` (cpuset(7)) against how many there are.
fn check_list(list: &str, count: u32, field: &str) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let within = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n < count);
    let good = list.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => match (within(first), within(last)) {
            (Some(first), Some(last)) => first <= last,
            _ => false,
        },
        None => within(part).is_some(),
    });
    if good {
        return Ok(());
    }
    let last = count.saturating_sub(1);
    Err(Error::invalid(format!("{list:?} names some that this machine does not have"))
        .at(format!("resources.{field}"))
        .next(format!("it has 0 to {last}")))
}

fn block_io(
    asked: &Resources,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<Option<oci::BlockIo>> {
    let mut limits = oci::BlockIo { weight: asked.blkio_weight, ..oci::BlockIo::default() };
    if limits.weight.is_some() && !host.blkio_weight {
        warnings.push("left out the weight of block I/O: the kernel has none here".to_owned());
        limits.weight = None;
    }
    if !asked.blkio_throttle.is_empty() && !host.controllers.contains("blkio") {
        warnings.push("left out bounds of block I/O: the kernel has no blkio cgroup".to_owned());
    } else {
        for throttle in &asked.blkio_throttle {
            add_throttle(&mut limits, throttle)?;
        }
    }
    Ok((limits != oci::BlockIo::default()).then_some(limits))
}

fn add_throttle(limits: &mut oci::BlockIo, throttle: &Throttle) -> Result<()> {
    let refuse = || {
        Error::invalid(format!("{} is not a block device", throttle.device))
            .at("resources.blkioThrottle")
    };
    let meta = std::fs::metadata(&throttle.device).map_err(|error| refuse().caused_by(error))?;
    if !std::os::unix::fs::FileTypeExt::is_block_device(&meta.file_type()) {
        return Err(refuse());
    }
    let device = meta.rdev();
    let bound = |rate: u64| oci::Throttle {
        major: i64::from(rustix::fs::major(device)),
        minor: i64::from(rustix::fs::minor(device)),
        rate,
    };
    for (rate, list) in [
        (throttle.read_bps, &mut limits.throttle_read_bps_device),
        (throttle.write_bps, &mut limits.throttle_write_bps_device),
        (throttle.read_iops, &mut limits.throttle_read_iops_device),
        (throttle.write_iops, &mut limits.throttle_write_iops_device),
    ] {
        if rate > 0 {
            list.push(bound(rate));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Cpus;

    fn check(asked: Resources, host: &HostFacts) -> (String, Vec<String>) {
        let mut warnings = Vec::new();
        let limits = resources(&asked, host, &mut warnings).unwrap();
        (serde_json::to_string(&limits).unwrap(), warnings)
    }

    #[test]
    fn what_the_kernel_has() {
        let asked = Resources {
            cpus: Some(Cpus::from_milli(1500)),
            memory: Some(Bytes::mib(64)),
            memory_swappiness: Some(10),
            pids: Some(100),
            blkio_weight: Some(300),
            oom_kill_disable: true,
            ..Resources::default()
        };
        let (json, warnings) = check(asked.clone(), &HostFacts::able());
        assert_eq!(
            json,
            r#"{"memory":{"limit":67108864,"swap":134217728,"swappiness":10,"disableOOMKiller":true},"cpu":{"quota":150000,"period":100000},"pids":{"limit":100},"blockIO":{"weight":300}}"#
        );
        assert!(warnings.is_empty(), "{warnings:?}");

        let mut poor = HostFacts::able();
        poor.cgroup = CgroupVersion::V2;
        poor.swap_limit = false;
        poor.blkio_weight = false;
        poor.controllers.remove("pids");
        let asked = Resources { memory_swap: Some(-1), ..asked };
        let (json, warnings) = check(asked, &poor);
        assert_eq!(json, r#"{"memory":{"limit":67108864},"cpu":{"quota":150000,"period":100000}}"#);
        assert_eq!(warnings.len(), 5, "{warnings:?}");
    }

    #[test]
    fn lists_of_processors() {
        for (list, good) in [
            ("0", true),
            ("0-3", true),
            ("0,2-3", true),
            ("4", false),
            ("3-1", false),
            ("x", false),
        ] {
            let asked = Resources { cpuset_cpus: list.to_owned(), ..Resources::default() };
            let mut host = HostFacts::able();
            host.processors = 4;
            assert_eq!(resources(&asked, &host, &mut Vec::new()).is_ok(), good, "{list}");
        }
    }

    #[test]
    fn nothing_asked_is_nothing_set() {
        let (json, warnings) = check(Resources::default(), &HostFacts::able());
        assert_eq!((json.as_str(), warnings.len()), ("{}", 0));
    }
}
