//! What is said of a machine: `x-monohull` at a service, and Rancher's `type: virtualMachine`.
//!
//! ```yaml
//! services:
//!   db:
//!     image: debian-cloud
//!     x-monohull:
//!       cpus: 2
//!       memory: 2g
//!       root_size: 20g
//!       disks: [{volume: data, size: 50g}]
//!       cloud_init: {user_data: "#cloud-config\n…", ssh_keys: [ssh-ed25519 …]}
//! ```

use model::instance::{
    BootDevice, CloudInit, Datasource, DiskBus, DiskCache, DiskOptions, ExtraName, FirmwareKind,
    HealthCheck, MachineProfile, MachineSpec, Mount, MountKind, Probe,
};
use model::quantity::{Bytes, Cpus};
use model::service::{Affinity, Overlap, Schedule, ServiceMode};

use super::deploy::node_label;
use super::{Context, Draft, bytes, duration, volume_name};
use crate::field::Field;
use crate::files::resolve;
use crate::rancher;

/// The key of a service under which words stand that Compose does not have.
pub(crate) const KEY: &str = "x-monohull";

/// What may stand there of machines and containers alike.
const OF_BOTH: [&str; 2] = ["cpus", "memory"];
/// What makes a machine of it.
const OF_MACHINES: [&str; 16] = [
    "root_size",
    "root_iops",
    "root_bps",
    "disks",
    "cdroms",
    "boot",
    "firmware",
    "tpm",
    "profile",
    "nested",
    "hugepages",
    "watchdog",
    "pci",
    "max_cpus",
    "max_memory",
    "cloud_init",
];
/// What may stand there of services.
const OF_SERVICES: [&str; 8] =
    ["health", "drain", "affinity", "schedule", "metadata", "once", "nodes", "names"];

pub(super) fn read(service: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    if let Some(field) = service.get(KEY) {
        let known = [&OF_BOTH[..], &OF_MACHINES, &OF_SERVICES].concat();
        for (name, entry) in field.entries() {
            if !known.contains(&name) {
                entry.refuse(format!("there is no such field; {} are known", known.join(", ")));
            }
        }
        if OF_MACHINES.iter().any(|name| field.get(name).is_some()) {
            draft.instance.machine = Some(machine(&field, draft, context));
        }
        of_services(&field, draft);
    }
    virtual_machine(service, draft, context);
}

/// Words for containers, too.
fn of_services(field: &Field<'_>, draft: &mut Draft) {
    let resources = &mut draft.container.resources;
    if let Some(cpus) = field.get("cpus") {
        resources.cpus = cpus.read();
    }
    if let Some(memory) = field.get("memory") {
        resources.memory = bytes(&memory);
    }
    if let Some(health) = field.get("health") {
        probe(&health, draft);
    }
    if let Some(drain) = field.get("drain") {
        draft.access.drain = duration(&drain);
    }
    if let Some(affinity) = field.get("affinity") {
        match affinity.text() {
            Some("none") => draft.access.affinity = Affinity::None,
            Some("client_address") => draft.access.affinity = Affinity::ClientAddress,
            Some(_) | None => affinity.refuse("none and client_address are known"),
        }
    }
    if let Some(schedule) = field.get("schedule") {
        draft.mode = Some(ServiceMode::Cron(cron(&schedule)));
    }
    if let Some(once) = field.get("once") {
        draft.once = once.flag().unwrap_or_default();
    }
    if let Some(nodes) = field.get("nodes") {
        let terms = nodes.text().unwrap_or_default().split(',').map(str::trim);
        for term in terms.filter(|it| !it.is_empty()) {
            node_label(&nodes, term, draft);
        }
    }
    if let Some(names) = field.get("names") {
        for (name, target) in names.entries() {
            let target = target.text().unwrap_or_default().to_owned();
            draft.instance.extra_names.push(ExtraName { name: name.to_owned(), target });
        }
    }
    if let Some(metadata) = field.get("metadata") {
        draft.metadata = Some(rancher::json(metadata.node));
    }
}

/// Probes that Compose has no words for; the times are those of `healthcheck`, or stand here.
fn probe(field: &Field<'_>, draft: &mut Draft) {
    let inside = |key: &str| {
        let kind = field.get(key)?;
        let port = kind.get("port").and_then(|it| it.integer::<u16>());
        if port.is_none() {
            kind.refuse("a port is missing");
        }
        Some((port?, kind))
    };
    let text = |kind: &Field<'_>, key: &str| {
        kind.get(key).and_then(|it| it.text()).unwrap_or_default().to_owned()
    };
    let probe = if let Some((port, kind)) = inside("http") {
        let tls = kind.get("tls").and_then(|it| it.flag()).unwrap_or_default();
        Probe::Http { port, path: text(&kind, "path"), tls }
    } else if let Some((port, _)) = inside("tcp") {
        Probe::Tcp { port }
    } else if let Some((port, kind)) = inside("grpc") {
        Probe::Grpc { port, service: text(&kind, "service") }
    } else {
        return field.refuse("one of http, tcp and grpc belongs here, with a port");
    };
    let mut check = HealthCheck::new(probe);
    let time = |key: &str| field.get(key).and_then(|it| duration(&it));
    check.interval = time("interval").unwrap_or(check.interval);
    check.timeout = time("timeout").unwrap_or(check.timeout);
    check.start_period = time("start_period").unwrap_or(check.start_period);
    check.start_interval = time("start_interval").unwrap_or(check.start_interval);
    check.retries = field.get("retries").and_then(|it| it.integer()).unwrap_or(check.retries);
    draft.container.health = Some(check);
}

fn cron(field: &Field<'_>) -> Schedule {
    let text = |key: &str| field.get(key).and_then(|it| it.text()).unwrap_or_default().to_owned();
    let mut schedule =
        Schedule { times: text("times"), time_zone: text("time_zone"), ..Schedule::default() };
    if let Some(overlap) = field.get("overlap") {
        match overlap.text() {
            Some("allow") => schedule.overlap = Overlap::Allow,
            Some("forbid") => schedule.overlap = Overlap::Forbid,
            Some("replace") => schedule.overlap = Overlap::Replace,
            Some(_) | None => overlap.refuse("allow, forbid and replace are known"),
        }
    }
    schedule.starting_deadline = field.get("starting_deadline").and_then(|it| duration(&it));
    schedule.suspended = field.get("suspended").and_then(|it| it.flag()).unwrap_or_default();
    schedule
}

fn machine(field: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) -> MachineSpec {
    let flag = |key: &str| field.get(key).and_then(|it| it.flag()).unwrap_or_default();
    let rate = |key: &str| field.get(key).and_then(|it| bytes(&it)).unwrap_or_default().0;
    let mut machine = MachineSpec {
        root_size: field.get("root_size").and_then(|it| bytes(&it)),
        root_iops: rate("root_iops"),
        root_bps: rate("root_bps"),
        cdroms: field.get("cdroms").map(|it| it.texts()).unwrap_or_default(),
        tpm: flag("tpm"),
        nested: flag("nested"),
        hugepages: flag("hugepages"),
        watchdog: flag("watchdog"),
        pci: field.get("pci").map(|it| it.texts()).unwrap_or_default(),
        max_cpus: field.get("max_cpus").and_then(|it| it.integer()),
        max_memory: field.get("max_memory").and_then(|it| bytes(&it)),
        ..MachineSpec::default()
    };
    if let Some(boot) = field.get("boot") {
        match boot.text() {
            Some("disk") => machine.boot = BootDevice::Disk,
            Some("cdrom") => machine.boot = BootDevice::Cdrom,
            Some(_) | None => boot.refuse("disk and cdrom are known"),
        }
    }
    if let Some(firmware) = field.get("firmware") {
        match firmware.text() {
            Some("bios") => machine.firmware = Some(FirmwareKind::Bios),
            Some("uefi") => machine.firmware = Some(FirmwareKind::Uefi),
            Some("secure-boot") => machine.firmware = Some(FirmwareKind::SecureBoot),
            Some(_) | None => firmware.refuse("bios, uefi and secure-boot are known"),
        }
    }
    if let Some(profile) = field.get("profile") {
        match profile.text() {
            Some("generic") => machine.profile = MachineProfile::Generic,
            Some("windows") => machine.profile = MachineProfile::Windows,
            Some(_) | None => profile.refuse("generic and windows are known"),
        }
    }
    machine.cloud_init = field.get("cloud_init").map(|it| cloud_init(&it, context));
    for item in field.get("disks").map(|it| it.items()).unwrap_or_default() {
        if let Some(mount) = disk(&item, "volume", context) {
            draft.container.mounts.push(mount);
        }
    }
    machine
}

fn cloud_init(field: &Field<'_>, context: &mut Context<'_, '_>) -> CloudInit {
    let mut text = |key: &str| {
        if let Some(text) = field.get(key) {
            return text.text().unwrap_or_default().to_owned();
        }
        let Some(file) = field.get(&format!("{key}_file")) else { return String::new() };
        let Some(written) = file.text() else { return String::new() };
        let path = match resolve(&file.at().source.directory, written) {
            Ok(path) => path,
            Err(why) => {
                file.refuse(why);
                return String::new();
            }
        };
        context.reading.text(&path).unwrap_or_else(|_| {
            file.refuse(format!("there is no file {path}, or it is no text"));
            String::new()
        })
    };
    CloudInit {
        user_data: text("user_data"),
        vendor_data: text("vendor_data"),
        network_config: text("network_config"),
        ssh_keys: field
            .get("ssh_keys")
            .map(|it| it.one_or_more())
            .unwrap_or_default()
            .iter()
            .filter_map(|it| it.text().map(str::to_owned))
            .collect(),
        datasource: field.get("datasource").and_then(|it| datasource(&it)),
    }
}

fn datasource(field: &Field<'_>) -> Option<Datasource> {
    match field.text()? {
        "nocloud" => Some(Datasource::NoCloud),
        "config-drive" => Some(Datasource::ConfigDrive),
        _ => {
            field.refuse("it is nocloud or config-drive");
            None
        }
    }
}

/// A disk: the volume it is in, and how it is plugged in.
fn disk(item: &Field<'_>, named: &str, context: &mut Context<'_, '_>) -> Option<Mount> {
    let Some(written) = item.get(named).and_then(|it| it.text()) else {
        item.refuse(format!("{named} is missing: the volume that the disk is in"));
        return None;
    };
    let name = volume_name(written);
    if !context.volumes.contains(written) {
        // A disk is there for the machine that has it: it need not be declared.
        context.undeclared.entry(written.to_owned()).or_insert(None);
    }
    let number = |key: &str| item.get(key).and_then(|it| bytes(&it)).unwrap_or_default().0;
    let serial = match item.get("serial").and_then(|it| it.text()) {
        Some(serial) => serial.to_owned(),
        None => DiskOptions::short_name(&name).into_owned(),
    };
    let mut options = DiskOptions {
        size: item.get("size").and_then(|it| bytes(&it)),
        iops: number("iops"),
        bps: number("bps"),
        serial,
        ..DiskOptions::default()
    };
    if let Some(bus) = item.get("bus") {
        match bus.text() {
            Some("virtio") => options.bus = DiskBus::Virtio,
            Some("scsi") => options.bus = DiskBus::Scsi,
            Some("sata") => options.bus = DiskBus::Sata,
            Some(_) | None => bus.refuse("virtio, scsi and sata are known"),
        }
    }
    if let Some(cache) = item.get("cache") {
        match cache.text() {
            Some("writeback") => options.cache = DiskCache::Writeback,
            Some("none") => options.cache = DiskCache::None,
            Some(_) | None => cache.refuse("writeback and none are known"),
        }
    }
    Some(Mount {
        target: options.bus.device(&options.serial),
        kind: MountKind::Volume { name, subpath: String::new(), no_copy: true },
        read_only: item.get("read_only").and_then(|it| it.flag()).unwrap_or_default(),
        disk: Some(options),
    })
}

/// Rancher's words for a machine: `vcpu`, `memory` in MiB, `userdata`, `disks`.
fn virtual_machine(service: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    let words = service.get(rancher::KEY);
    let find = |key: &str| service.get(key).or_else(|| words.as_ref()?.get(key));
    if find("type").is_none_or(|it| it.text() != Some("virtualMachine")) {
        return;
    }
    let mut machine = draft.instance.machine.take().unwrap_or_default();
    let resources = &mut draft.container.resources;
    if let Some(count) = find("vcpu").and_then(|it| it.integer::<u64>()) {
        resources.cpus = Some(Cpus::from_milli(count.saturating_mul(1000)));
    }
    if let Some(memory) = find("memory") {
        // A number alone is MiB there.
        resources.memory = match memory.text().and_then(|it| it.trim().parse::<u64>().ok()) {
            Some(count) => Some(Bytes(count.saturating_mul(1 << 20))),
            None => bytes(&memory),
        };
    }
    if let Some(data) = find("userdata") {
        let user_data = data.text().unwrap_or_default().to_owned();
        machine.cloud_init = Some(CloudInit { user_data, ..CloudInit::default() });
    }
    for item in find("disks").map(|it| it.items()).unwrap_or_default() {
        if item.get("root").and_then(|it| it.flag()).unwrap_or_default() {
            machine.root_size = item.get("size").and_then(|it| bytes(&it));
        } else if let Some(mount) = disk(&item, "name", context) {
            draft.container.mounts.push(mount);
        }
    }
    draft.instance.machine = Some(machine);
}
