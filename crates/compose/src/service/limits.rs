//! Processors, memory, processes, devices: what a service may use.

use model::instance::container::Throttle;
use model::instance::{Device, Ulimit};
use model::quantity::{Bytes, Span};

use super::{Draft, bytes};
use crate::field::{Field, number};
use crate::files::shorten;
use crate::yaml::Value;

pub(super) fn read(service: &Field<'_>, draft: &mut Draft) {
    memory(service, draft);
    processors(service, draft);
    let container = &mut draft.container;
    if let Some(field) = service.get("pids_limit") {
        container.resources.pids = field.number().map(|most| if most == 0 { -1 } else { most });
    }
    if let Some(field) = service.get("oom_score_adj") {
        container.oom_score_adj = field.integer();
    }
    if let Some(field) = service.get("ulimits") {
        for (name, limit) in field.entries() {
            container.ulimits.extend(ulimit(name, &limit));
        }
    }
    if let Some(field) = service.get("devices") {
        container.devices = field.items().iter().filter_map(device).collect();
    }
    if let Some(field) = service.get("device_cgroup_rules") {
        container.device_rules = field.texts();
    }
    if let Some(field) = service.get("blkio_config") {
        blkio(&field, draft);
    }
}

fn memory(service: &Field<'_>, draft: &mut Draft) {
    let resources = &mut draft.container.resources;
    let size = |key: &str| {
        let field = service.get(key)?;
        let size = bytes(&field)?;
        (size.0 > 0).then_some(size)
    };
    resources.memory = size("mem_limit");
    resources.memory_reservation = size("mem_reservation");
    draft.container.shm_size = size("shm_size");
    if let Some(field) = service.get("memswap_limit") {
        resources.memory_swap = match field.text().map(str::trim) {
            Some("-1") => Some(-1),
            Some("0") | None => None,
            Some(_) => bytes(&field).and_then(|size| i64::try_from(size.0).ok()),
        };
        if resources.memory.is_none() && resources.memory_swap.is_some_and(|swap| swap > 0) {
            field.ignore("a limit of swap needs a mem_limit");
            resources.memory_swap = None;
        }
    }
    if let Some(field) = service.get("mem_swappiness") {
        resources.memory_swappiness = field.number().and_then(|share| share.try_into().ok());
    }
    if let Some(field) = service.get("oom_kill_disable") {
        resources.oom_kill_disable = field.flag().unwrap_or_default();
    }
}

fn processors(service: &Field<'_>, draft: &mut Draft) {
    let resources = &mut draft.container.resources;
    if let Some(field) = service.get("cpus") {
        resources.cpus = field.read().filter(|cpus: &model::quantity::Cpus| cpus.milli() > 0);
    }
    if let Some(field) = service.get("cpu_shares") {
        resources.cpu_shares = field.integer::<u64>().filter(|shares| *shares > 0);
    }
    if let Some(field) = service.get("cpu_quota") {
        resources.cpu_quota = micros(&field).filter(|quota| *quota != 0);
    }
    if let Some(field) = service.get("cpu_period") {
        let period = micros(&field).and_then(|it| u64::try_from(it).ok());
        resources.cpu_period = period.filter(|period| *period != 0);
    }
    if let Some(field) = service.get("cpuset") {
        resources.cpuset_cpus = field.text().unwrap_or_default().to_owned();
    }
}

/// Microseconds: a number of them, or a length of time.
fn micros(field: &Field<'_>) -> Option<i64> {
    if let Some(number) = number(field.text()?.trim()) {
        return Some(number);
    }
    let span: Span = field.read()?;
    i64::try_from(span.0.as_micros()).ok()
}

pub(super) fn ulimit(name: &str, limit: &Field<'_>) -> Option<Ulimit> {
    let (soft, hard) = match &limit.node.value {
        Value::Map(_) => {
            let part = |key: &str| limit.get(key).and_then(|it| it.number());
            let both = part("soft").zip(part("hard"));
            if both.is_none() {
                limit.refuse("soft and hard belong here");
            }
            both?
        }
        Value::Null | Value::Text(_) | Value::List(_) => {
            let both = limit.number()?;
            (both, both)
        }
    };
    Some(Ulimit { name: name.to_owned(), soft, hard })
}

fn device(item: &Field<'_>) -> Option<Device> {
    let (source, target, permissions) = match &item.node.value {
        Value::Map(_) => {
            let part = |key: &str| item.get(key).and_then(|it| it.text()).unwrap_or_default();
            (part("source"), part("target"), part("permissions"))
        }
        Value::Null | Value::Text(_) | Value::List(_) => {
            let mut parts = item.text()?.splitn(3, ':');
            let mut part = || parts.next().unwrap_or_default();
            (part(), part(), part())
        }
    };
    if !source.starts_with('/') {
        item.refuse(format!(
            "{:?} is not the path of a device; devices by kind (CDI) are not known",
            shorten(source)
        ));
        return None;
    }
    let or = |text: &str, usual: &str| if text.is_empty() { usual } else { text }.to_owned();
    Some(Device {
        source: source.to_owned(),
        target: or(target, source),
        permissions: or(permissions, "rwm"),
    })
}

fn blkio(field: &Field<'_>, draft: &mut Draft) {
    let resources = &mut draft.container.resources;
    resources.blkio_weight = field.get("weight").and_then(|it| it.integer());
    let kinds = ["device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops"];
    for kind in kinds {
        for item in field.get(kind).map(|it| it.items()).unwrap_or_default() {
            let path = item.get("path").and_then(|it| it.text());
            let rate = item.get("rate").and_then(|it| bytes(&it));
            let Some((path, Bytes(rate))) = path.zip(rate) else {
                item.refuse("a path and a rate belong here");
                continue;
            };
            let list = &mut resources.blkio_throttle;
            let place = list.iter().position(|it| it.device == path).unwrap_or_else(|| {
                list.push(Throttle { device: path.to_owned(), ..Throttle::default() });
                list.len() - 1
            });
            match kind {
                "device_read_bps" => list[place].read_bps = rate,
                "device_write_bps" => list[place].write_bps = rate,
                "device_read_iops" => list[place].read_iops = rate,
                _ => list[place].write_iops = rate,
            }
        }
    }
}
