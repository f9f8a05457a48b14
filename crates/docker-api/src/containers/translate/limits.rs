//! Limits: what of processors, memory, processes and disks a container may use.

use bollard_stubs::models::{HostConfig, ThrottleDevice};
use model::instance::container::Throttle;
use model::instance::{Resources, Ulimit};
use model::{Bytes, Cpus};

use crate::failure::{Failure, Reply};

/// Least memory with which a container starts.
const LEAST_MEMORY: i64 = 6 << 20;

/// The limits asked for at creation.
pub(super) fn resources(host: &HostConfig, cpus: u64) -> Reply<Resources> {
    let mut resources = Resources::default();
    update(&mut resources, host, cpus)?;
    if let (Some(reservation), Some(memory)) = (resources.memory_reservation, resources.memory)
        && reservation > memory
    {
        return Err(Failure::bad(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    Ok(resources)
}

/// Changes the limits that are given and leaves the others.
pub(crate) fn update(resources: &mut Resources, host: &HostConfig, cpus: u64) -> Reply<()> {
    processors(resources, host, cpus)?;
    memory(resources, host)?;
    if let Some(pids) = given(host.pids_limit) {
        resources.pids = Some(pids).filter(|pids| *pids > 0);
    }
    if let Some(weight) = host.blkio_weight.filter(|weight| *weight != 0) {
        if !(10..=1000).contains(&weight) {
            return Err(Failure::bad("Range of blkio weight is from 10 to 1000"));
        }
        resources.blkio_weight = Some(weight);
    }
    let throttle = throttles(host)?;
    if !throttle.is_empty() {
        resources.blkio_throttle = throttle;
    }
    Ok(())
}

fn given(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}

fn processors(resources: &mut Resources, host: &HostConfig, cpus: u64) -> Reply<()> {
    if let Some(nanos) = given(host.nano_cpus) {
        for (other, what) in [(host.cpu_period, "Period"), (host.cpu_quota, "Quota")] {
            if given(other).is_some() {
                return Err(Failure::bad(format!(
                    "Conflicting options: Nano CPUs and CPU {what} cannot both be set"
                )));
            }
        }
        let milli = u64::try_from(nanos / 1_000_000).unwrap_or_default();
        if milli < 10 || (cpus > 0 && milli > cpus * 1000) {
            return Err(Failure::bad(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            )));
        }
        resources.cpus = Some(Cpus::from_milli(milli));
        (resources.cpu_period, resources.cpu_quota) = (None, None);
    }
    if let Some(shares) = given(host.cpu_shares) {
        let shares = u64::try_from(shares).map_err(|_| {
            Failure::bad(format!("invalid CPU shares ({shares}): value must be a positive integer"))
        })?;
        resources.cpu_shares = Some(shares.clamp(2, 262_144));
    }
    if let Some(period) = given(host.cpu_period) {
        if !(1_000..=1_000_000).contains(&period) {
            return Err(Failure::bad(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ));
        }
        resources.cpu_period = u64::try_from(period).ok();
        resources.cpus = None;
    }
    if let Some(quota) = given(host.cpu_quota) {
        if (1..1_000).contains(&quota) {
            return Err(Failure::bad("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
        }
        resources.cpu_quota = Some(quota);
        resources.cpus = None;
    }
    for (asked, field) in [
        (&host.cpuset_cpus, &mut resources.cpuset_cpus),
        (&host.cpuset_mems, &mut resources.cpuset_mems),
    ] {
        if let Some(list) = asked.as_ref().filter(|list| !list.is_empty()) {
            field.clone_from(list);
        }
    }
    check_set(&resources.cpuset_cpus, cpus)
}

/// Refuses processors that the node does not have.
fn check_set(list: &str, cpus: u64) -> Reply<()> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(Failure::bad(format!(
                "Invalid value {list} for cpuset cpus: invalid format: {part}"
            )));
        };
        if cpus > 0 && (last >= cpus || first > last) {
            return Err(Failure::bad(format!(
                "Requested CPUs are not available - requested {list}, available: 0-{}",
                cpus - 1
            )));
        }
    }
    Ok(())
}

fn memory(resources: &mut Resources, host: &HostConfig) -> Reply<()> {
    let bytes = |number: i64| u64::try_from(number).ok().map(Bytes);
    if let Some(memory) = given(host.memory) {
        if memory < LEAST_MEMORY {
            return Err(Failure::bad("Minimum memory limit allowed is 6MB"));
        }
        resources.memory = bytes(memory);
    }
    if let Some(swap) = given(host.memory_swap) {
        let memory =
            resources.memory.map_or(0, |memory| i64::try_from(memory.0).unwrap_or(i64::MAX));
        if swap > 0 && memory == 0 {
            return Err(Failure::bad(
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ));
        }
        if swap > 0 && swap < memory {
            return Err(Failure::bad(
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ));
        }
        resources.memory_swap = Some(swap);
    }
    if let Some(reservation) = given(host.memory_reservation) {
        if reservation < LEAST_MEMORY {
            return Err(Failure::bad("Minimum memory reservation allowed is 6MB"));
        }
        resources.memory_reservation = bytes(reservation);
    }
    if let Some(share) = host.memory_swappiness.filter(|share| *share != -1) {
        let share = u64::try_from(share).ok().filter(|share| *share <= 100).ok_or_else(|| {
            Failure::bad(format!("Invalid value: {share}, valid memory swappiness range is 0-100"))
        })?;
        resources.memory_swappiness = Some(share);
    }
    if let Some(disable) = host.oom_kill_disable {
        resources.oom_kill_disable = disable;
    }
    Ok(())
}

type Field = fn(&mut Throttle) -> &mut u64;

fn throttles(host: &HostConfig) -> Reply<Vec<Throttle>> {
    let lists: [(&Option<Vec<ThrottleDevice>>, Field); 4] = [
        (&host.blkio_device_read_bps, |it| &mut it.read_bps),
        (&host.blkio_device_write_bps, |it| &mut it.write_bps),
        (&host.blkio_device_read_iops, |it| &mut it.read_iops),
        (&host.blkio_device_write_iops, |it| &mut it.write_iops),
    ];
    let mut throttles: Vec<Throttle> = Vec::new();
    for (list, field) in lists {
        for asked in list.iter().flatten() {
            let device = asked.path.clone().unwrap_or_default();
            let rate = u64::try_from(asked.rate.unwrap_or_default())
                .map_err(|_| Failure::bad(format!("invalid rate for device {device}")))?;
            let index = throttles.iter().position(|it| it.device == device).unwrap_or_else(|| {
                throttles.push(Throttle { device, ..Throttle::default() });
                throttles.len() - 1
            });
            *field(&mut throttles[index]) = rate;
        }
    }
    Ok(throttles)
}

pub(super) fn ulimits(host: &HostConfig) -> Vec<Ulimit> {
    let list = host.ulimits.iter().flatten();
    list.map(|limit| Ulimit {
        name: limit.name.clone().unwrap_or_default(),
        soft: limit.soft.unwrap_or_default(),
        hard: limit.hard.unwrap_or_default(),
    })
    .collect()
}

pub(super) fn shm_size(host: &HostConfig) -> Reply<Option<Bytes>> {
    match host.shm_size {
        None | Some(0) => Ok(None),
        Some(size) => u64::try_from(size)
            .map(|size| Some(Bytes(size)))
            .map_err(|_| Failure::bad("SHM size can not be less than 0")),
    }
}

pub(super) fn oom_score_adj(host: &HostConfig) -> Reply<Option<i32>> {
    let Some(score) = host.oom_score_adj.filter(|score| *score != 0) else { return Ok(None) };
    i32::try_from(score).ok().filter(|score| (-1000..=1000).contains(score)).map(Some).ok_or_else(
        || Failure::bad(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")),
    )
}
