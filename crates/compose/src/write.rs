//! The way back: a Compose file of what is wanted, which [`read`](crate::read()) reads as the same.

use std::collections::BTreeMap;

use model::instance::{
    BootDevice, Datasource, DiskBus, DiskCache, FirmwareKind, HealthCheck, InstanceSpec,
    LogOptions, MachineProfile, MachineSpec, Mount, MountKind, NetworkMode, Port, Probe,
    PullPolicy, RestartPolicy, Seccomp, Sharing,
};
use model::instance::{ContainerSpec, Handed};
use model::network::NetworkSpec;
use model::service::{
    AccessMode, Affinity, DependencyCondition, OnFailure, Overlap, Schedule, ServiceMode,
    UpdateOrder, UpdatePolicy,
};
use model::volume::LOCAL;
use model::{Error, Result};
use serde_json::{Map, Value as Json, json};

use crate::wanted::{Build, Named, SecretSource, Wanted, WantedService};

/// A Compose file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Its text. Secrets are read from variables, see [`variable`].
    pub text: String,
    /// Files that it names.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What a Compose file has no words for: where, and what.
    pub left_out: Vec<String>,
}

/// The variable that a file which was written has a secret from; each key has another one. What a
/// variable cannot have, and capital letters, become `_x2d`, and small letters capital ones.
#[must_use]
pub fn variable(key: &str) -> String {
    let mut name = String::from("SECRET_");
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => name.push(byte.to_ascii_uppercase().into()),
            _ => name.push_str(&format!("_x{byte:02x}")),
        }
    }
    name
}

/// Writes a Compose file.
///
/// # Errors
/// `Internal` when it cannot be written as YAML.
pub fn write(wanted: &Wanted) -> Result<Written> {
    let mut written = Written::default();
    let mut top = Map::new();
    if !wanted.name.is_empty() {
        top.insert("name".into(), wanted.name.clone().into());
    }
    let mut services = Map::new();
    for service in &wanted.services {
        write_service(service, &mut services, &mut written.left_out);
    }
    put(&mut top, "services", Json::Object(services));
    let networks = wanted.networks.iter().map(|it| {
        let map = if it.object.external { Map::new() } else { network(&it.spec) };
        (it.object.key.clone(), named(&it.object, map))
    });
    put(&mut top, "networks", Json::Object(networks.collect()));
    let volumes = wanted.volumes.iter().map(|it| {
        let mut map = Map::new();
        if it.spec.storage != LOCAL {
            map.insert("driver".into(), it.spec.storage.clone().into());
        }
        put(&mut map, "driver_opts", json!(it.spec.options));
        if let Some(size) = it.spec.size {
            map.insert("x-monohull".into(), json!({ "size": size.0 }));
        }
        (it.object.key.clone(), named(&it.object, map))
    });
    put(&mut top, "volumes", Json::Object(volumes.collect()));
    let secrets = wanted.secrets.iter().map(|it| {
        let mut map = Map::new();
        if !it.object.external {
            map.insert("environment".into(), variable(&it.object.key).into());
        }
        (it.object.key.clone(), named(&it.object, map))
    });
    let mut secrets: Map<String, Json> = secrets.collect();
    let builds = wanted.services.iter().flat_map(|service| service.builds.values());
    for secret in builds.flat_map(|build| build.secrets.values()) {
        secrets.entry(secret.key.clone()).or_insert_with(|| match &secret.from {
            SecretSource::File(path) => json!({ "file": path }),
            SecretSource::Environment(name) => json!({ "environment": name }),
            SecretSource::Platform(name) => json!({ "external": true, "name": name }),
        });
    }
    put(&mut top, "secrets", Json::Object(secrets));
    let mut configs = Map::new();
    for config in &wanted.configs {
        let mut map = Map::new();
        match std::str::from_utf8(&config.value) {
            _ if config.object.external => {}
            Ok(text) => drop(map.insert("content".into(), text.into())),
            Err(_) => {
                let path = format!("configs/{}", config.object.key);
                map.insert("file".into(), path.clone().into());
                written.files.insert(path, config.value.clone());
            }
        }
        configs.insert(config.object.key.clone(), named(&config.object, map));
    }
    put(&mut top, "configs", Json::Object(configs));
    let mut top = Json::Object(top);
    escape(&mut top);
    written.text = serde_saphyr::to_string(&top)
        .map_err(|error| Error::internal("the app cannot be written as YAML").caused_by(error))?;
    Ok(written)
}

/// Doubles dollar signs, so that no variable is filled in.
fn escape(value: &mut Json) {
    match value {
        Json::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Json::Array(items) => items.iter_mut().for_each(escape),
        Json::Object(map) => map.values_mut().for_each(escape),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Puts a value in unless it says nothing.
fn put(map: &mut Map<String, Json>, key: &str, value: Json) {
    let empty = match &value {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
        Json::Bool(true) | Json::Number(_) => false,
    };
    if !empty {
        map.insert(key.to_owned(), value);
    }
}

fn named(object: &Named, mut map: Map<String, Json>) -> Json {
    put(&mut map, "external", object.external.into());
    put(&mut map, "name", object.name.clone().into());
    put(&mut map, "labels", json!(object.labels));
    Json::Object(map)
}

fn network(spec: &NetworkSpec) -> Map<String, Json> {
    let mut map = Map::new();
    put(&mut map, "internal", spec.internal.into());
    put(&mut map, "enable_ipv6", spec.enable_ipv6.into());
    if let Some(mtu) = spec.mtu {
        map.insert("driver_opts".into(), json!({ "com.docker.network.driver.mtu": mtu }));
    }
    let mut pools = Vec::new();
    let reserved = |six: bool| -> Map<String, Json> {
        let fits = spec.reserved.iter().filter(|it| it.is_ipv6() == six);
        fits.enumerate().map(|(i, it)| (format!("reserved{i}"), it.to_string().into())).collect()
    };
    if let Some(subnet) = spec.ipv4 {
        let mut pool = Map::new();
        put(&mut pool, "subnet", subnet.to_string().into());
        put(&mut pool, "ip_range", spec.range4.map(|it| it.to_string()).into());
        put(&mut pool, "gateway", spec.gateway4.map(|it| it.to_string()).into());
        put(&mut pool, "aux_addresses", Json::Object(reserved(false)));
        pools.push(Json::Object(pool));
    }
    if let Some(subnet) = spec.ipv6 {
        let mut pool = Map::new();
        put(&mut pool, "subnet", subnet.to_string().into());
        put(&mut pool, "gateway", spec.gateway6.map(|it| it.to_string()).into());
        put(&mut pool, "aux_addresses", Json::Object(reserved(true)));
        pools.push(Json::Object(pool));
    }
    if !pools.is_empty() {
        map.insert("ipam".into(), json!({ "config": pools }));
    }
    map
}

fn write_service(
    service: &WantedService,
    services: &mut Map<String, Json>,
    left_out: &mut Vec<String>,
) {
    let key = &service.object.key;
    let spec = &service.spec;
    let instance = &spec.template.spec;
    let mut own = Map::new();
    let mut map = Map::new();
    if let Some(main) = instance.main() {
        container(main, &mut map, &mut own, key, left_out);
        if let Some(build) = service.builds.get(&main.name) {
            map.insert("build".into(), write_build(build));
            if build.always {
                map.insert("pull_policy".into(), "build".into());
            }
        }
        put(&mut own, "metadata", service.metadata.get(&main.name).cloned().unwrap_or_default());
        write_links(service, &main.name, &mut map);
    }
    put(&mut map, "labels", json!(spec.template.labels));
    put(&mut map, "annotations", json!(spec.template.annotations));
    write_instance(instance, &mut map, key, left_out);
    let mut needs = Map::new();
    for need in &spec.depends_on {
        let condition = match need.condition {
            DependencyCondition::Started => "service_started",
            DependencyCondition::Healthy => "service_healthy",
            DependencyCondition::Completed => "service_completed_successfully",
        };
        let mut entry = Map::new();
        entry.insert("condition".into(), condition.into());
        if !need.required {
            entry.insert("required".into(), false.into());
        }
        put(&mut entry, "restart", need.restart.into());
        needs.insert(need.service.clone(), Json::Object(entry));
    }
    put(&mut map, "depends_on", Json::Object(needs));
    put(&mut map, "deploy", deploy(service, &mut own));
    put(&mut own, "drain", spec.access.drain.map(|it| it.to_string()).into());
    if spec.access.affinity == Affinity::ClientAddress {
        own.insert("affinity".into(), "client_address".into());
    }
    put(&mut own, "nodes", instance.nodes.labels.clone().into());
    let names = instance.extra_names.iter().map(|it| (it.name.clone(), it.target.clone().into()));
    put(&mut own, "names", Json::Object(names.collect()));
    if let Some(machine) = &instance.machine {
        write_machine(machine, &mut own, key, left_out);
    }
    if spec.paused || spec.keep.is_some() {
        left_out.push(format!("services.{key}: that it is paused, and how much it keeps"));
    }
    put(&mut map, "x-monohull", Json::Object(own));
    services.insert(key.clone(), Json::Object(map));
    if !instance.init.is_empty() {
        left_out.push(format!("services.{key}: containers that run before it"));
    }
    for sidekick in instance.containers.iter().skip(1) {
        let mut map = Map::new();
        let mut own = Map::new();
        container(sidekick, &mut map, &mut own, &sidekick.name, left_out);
        map.insert("network_mode".into(), format!("service:{key}").into());
        map.insert("restart".into(), "always".into());
        if let Some(build) = service.builds.get(&sidekick.name) {
            map.insert("build".into(), write_build(build));
            if build.always {
                map.insert("pull_policy".into(), "build".into());
            }
        }
        let metadata = service.metadata.get(&sidekick.name).cloned();
        put(&mut own, "metadata", metadata.unwrap_or_default());
        write_links(service, &sidekick.name, &mut map);
        put(&mut own, "once", sidekick.once.into());
        put(&mut map, "x-monohull", Json::Object(own));
        services.insert(sidekick.name.clone(), Json::Object(map));
    }
}

fn write_links(service: &WantedService, container: &str, map: &mut Map<String, Json>) {
    let links = service.links.get(container).into_iter().flatten();
    let (outside, inside): (Vec<_>, Vec<_>) = links.partition(|(name, _)| name.contains('/'));
    for (key, links) in [("links", inside), ("external_links", outside)] {
        let links = links.into_iter().map(|(name, alias)| format!("{name}:{alias}").into());
        put(map, key, Json::Array(links.collect()));
    }
}

fn write_build(build: &Build) -> Json {
    let mut map = Map::new();
    let context = if build.context.is_empty() { "." } else { build.context.as_str() };
    put(&mut map, "context", context.into());
    put(&mut map, "dockerfile", build.dockerfile.clone().into());
    put(&mut map, "dockerfile_inline", build.dockerfile_inline.clone().into());
    put(&mut map, "args", json!(build.args));
    put(&mut map, "target", build.target.clone().into());
    put(&mut map, "labels", json!(build.labels));
    put(&mut map, "no_cache", build.no_cache.into());
    put(&mut map, "pull", build.pull.into());
    put(&mut map, "platforms", json!(build.platforms));
    put(&mut map, "network", build.network.clone().into());
    put(&mut map, "extra_hosts", json!(build.extra_hosts));
    if build.shm_size > 0 {
        map.insert("shm_size".into(), build.shm_size.to_string().into());
    }
    let limits = build.ulimits.iter().filter_map(|limit| {
        let (name, both) = limit.split_once('=')?;
        let (soft, hard) = both.split_once(':')?;
        Some((name.to_owned(), json!({ "soft": soft, "hard": hard })))
    });
    put(&mut map, "ulimits", Json::Object(limits.collect()));
    put(&mut map, "tags", json!(build.tags));
    let secrets = build.secrets.iter();
    let secrets = secrets.map(|(id, secret)| json!({ "source": secret.key, "target": id }));
    put(&mut map, "secrets", secrets.collect());
    Json::Object(map)
}

fn container(
    spec: &ContainerSpec,
    map: &mut Map<String, Json>,
    own: &mut Map<String, Json>,
    key: &str,
    left_out: &mut Vec<String>,
) {
    put(map, "image", spec.image.clone().into());
    match spec.pull {
        PullPolicy::Always => drop(map.insert("pull_policy".into(), "always".into())),
        PullPolicy::Never => drop(map.insert("pull_policy".into(), "never".into())),
        PullPolicy::Missing => {}
    }
    // An empty list says that the image's words are not used.
    for (name, words) in [("command", &spec.command), ("entrypoint", &spec.entrypoint)] {
        if let Some(words) = words {
            map.insert(name.into(), json!(words));
        }
    }
    put(map, "environment", json!(spec.env));
    put(map, "working_dir", spec.workdir.clone().into());
    put(map, "user", spec.user.clone().into());
    put(map, "group_add", json!(spec.groups));
    put(map, "tty", spec.tty.into());
    put(map, "stdin_open", spec.stdin.into());
    put(map, "init", spec.init.into());
    put(map, "stop_signal", spec.stop_signal.clone().into());
    put(map, "privileged", spec.privileged.into());
    put(map, "read_only", spec.read_only.into());
    put(map, "cap_add", json!(spec.capabilities.add));
    put(map, "cap_drop", json!(spec.capabilities.drop));
    let mut security = Vec::new();
    match &spec.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => security.push("seccomp:unconfined".to_owned()),
        Seccomp::Profile(_) => left_out.push(format!("services.{key}: its seccomp profile")),
    }
    if !spec.apparmor.is_empty() {
        security.push(format!("apparmor:{}", spec.apparmor));
    }
    if spec.no_new_privileges {
        security.push("no-new-privileges:true".to_owned());
    }
    put(map, "security_opt", json!(security));
    limits(spec, map);
    put(map, "volumes", spec.mounts.iter().filter_map(mount).collect());
    put(map, "tmpfs", spec.mounts.iter().filter_map(memory).collect());
    put(own, "disks", spec.mounts.iter().filter_map(disk).collect());
    put(map, "secrets", spec.secrets.iter().map(handed).collect());
    put(map, "configs", spec.configs.iter().map(handed).collect());
    let from = spec
        .volumes_from
        .iter()
        .map(|it| Json::from(format!("{}{}", it.container, if it.read_only { ":ro" } else { "" })));
    put(map, "volumes_from", from.collect());
    if let Some(check) = &spec.health {
        health(check, map, own);
    }
    if spec.log.off {
        map.insert("logging".into(), json!({ "driver": "none" }));
    } else if spec.log != LogOptions::default() {
        let (size, files) = (spec.log.max_size.0.to_string(), spec.log.max_files.to_string());
        map.insert("logging".into(), json!({ "options": { "max-size": size, "max-file": files } }));
    }
}

fn limits(spec: &ContainerSpec, map: &mut Map<String, Json>) {
    let resources = &spec.resources;
    let number = |value: Option<u64>| value.map_or(Json::Null, Json::from);
    put(map, "cpus", resources.cpus.map(|it| it.to_string()).into());
    put(map, "cpu_shares", number(resources.cpu_shares));
    put(map, "cpu_period", number(resources.cpu_period));
    put(map, "cpu_quota", resources.cpu_quota.map_or(Json::Null, Json::from));
    put(map, "cpuset", resources.cpuset_cpus.clone().into());
    put(map, "mem_limit", number(resources.memory.map(|it| it.0)));
    put(map, "mem_reservation", number(resources.memory_reservation.map(|it| it.0)));
    put(map, "memswap_limit", resources.memory_swap.map_or(Json::Null, Json::from));
    put(map, "mem_swappiness", number(resources.memory_swappiness));
    put(map, "oom_kill_disable", resources.oom_kill_disable.into());
    put(map, "pids_limit", resources.pids.map_or(Json::Null, Json::from));
    put(map, "oom_score_adj", spec.oom_score_adj.map_or(Json::Null, Json::from));
    put(map, "shm_size", number(spec.shm_size.map(|it| it.0)));
    let ulimits = spec
        .ulimits
        .iter()
        .map(|it| (it.name.clone(), json!({ "soft": it.soft, "hard": it.hard })));
    put(map, "ulimits", Json::Object(ulimits.collect()));
    let devices = spec
        .devices
        .iter()
        .map(|it| Json::from(format!("{}:{}:{}", it.source, it.target, it.permissions)));
    put(map, "devices", devices.collect());
    put(map, "device_cgroup_rules", json!(spec.device_rules));
    let mut blkio = Map::new();
    put(&mut blkio, "weight", resources.blkio_weight.map_or(Json::Null, Json::from));
    type Rate = fn(&model::instance::container::Throttle) -> u64;
    let kinds: [(&str, Rate); 4] = [
        ("device_read_bps", |it| it.read_bps),
        ("device_write_bps", |it| it.write_bps),
        ("device_read_iops", |it| it.read_iops),
        ("device_write_iops", |it| it.write_iops),
    ];
    for (kind, rate) in kinds {
        let rates = resources.blkio_throttle.iter().filter(|it| rate(it) > 0);
        let rates = rates.map(|it| json!({ "path": it.device, "rate": rate(it) }));
        put(&mut blkio, kind, rates.collect());
    }
    put(map, "blkio_config", Json::Object(blkio));
}

fn mount(mount: &Mount) -> Option<Json> {
    if mount.disk.is_some() {
        return None;
    }
    let mut map = Map::new();
    map.insert("target".into(), mount.target.clone().into());
    put(&mut map, "read_only", mount.read_only.into());
    match &mount.kind {
        MountKind::Volume { name, subpath, no_copy } => {
            map.insert("type".into(), "volume".into());
            put(&mut map, "source", name.clone().into());
            let mut options = Map::new();
            put(&mut options, "subpath", subpath.clone().into());
            put(&mut options, "nocopy", (*no_copy).into());
            put(&mut map, "volume", Json::Object(options));
        }
        MountKind::Bind { source, create, propagation, non_recursive } => {
            map.insert("type".into(), "bind".into());
            map.insert("source".into(), source.clone().into());
            let mut options = Map::new();
            options.insert("create_host_path".into(), (*create).into());
            options.insert("propagation".into(), propagation.as_str().into());
            if *non_recursive {
                options.insert("recursive".into(), "disabled".into());
            }
            map.insert("bind".into(), Json::Object(options));
        }
        MountKind::Tmpfs { size, mode, options } if options.is_empty() => {
            map.insert("type".into(), "tmpfs".into());
            let mut options = Map::new();
            put(&mut options, "size", size.map_or(Json::Null, |it| it.0.into()));
            put(&mut options, "mode", mode.map_or(Json::Null, |it| format!("{it:04o}").into()));
            put(&mut map, "tmpfs", Json::Object(options));
        }
        MountKind::Tmpfs { .. } => return None,
    }
    Some(Json::Object(map))
}

/// Memory with options that only the short form has.
fn memory(mount: &Mount) -> Option<Json> {
    let MountKind::Tmpfs { size, mode, options } = &mount.kind else { return None };
    if options.is_empty() {
        return None;
    }
    let mut all = options.clone();
    all.extend(size.map(|it| format!("size={}", it.0)));
    all.extend(mode.map(|it| format!("mode={it:o}")));
    Some(format!("{}:{}", mount.target, all.join(",")).into())
}

fn disk(mount: &Mount) -> Option<Json> {
    let (options, name) = (mount.disk.as_ref()?, mount.volume()?);
    let mut map = Map::new();
    map.insert("volume".into(), name.into());
    put(&mut map, "size", options.size.map_or(Json::Null, |it| it.0.into()));
    let bus = match options.bus {
        DiskBus::Virtio => "",
        DiskBus::Scsi => "scsi",
        DiskBus::Sata => "sata",
    };
    put(&mut map, "bus", bus.into());
    for (key, rate) in [("iops", options.iops), ("bps", options.bps)] {
        if rate > 0 {
            map.insert(key.into(), rate.into());
        }
    }
    match options.cache {
        DiskCache::Writeback => {}
        DiskCache::None => drop(map.insert("cache".into(), "none".into())),
    }
    if !options.serial.is_empty() {
        map.insert("serial".into(), options.serial.clone().into());
    }
    put(&mut map, "read_only", mount.read_only.into());
    Some(Json::Object(map))
}

fn handed(handed: &Handed) -> Json {
    let mut map = Map::new();
    map.insert("source".into(), handed.source.clone().into());
    put(&mut map, "target", handed.target.clone().into());
    for (key, id) in [("uid", handed.uid), ("gid", handed.gid)] {
        if id > 0 {
            map.insert(key.into(), id.to_string().into());
        }
    }
    map.insert("mode".into(), format!("{:04o}", handed.mode).into());
    Json::Object(map)
}

fn health(check: &HealthCheck, map: &mut Map<String, Json>, own: &mut Map<String, Json>) {
    let mut words = Map::new();
    words.insert("interval".into(), check.interval.to_string().into());
    words.insert("timeout".into(), check.timeout.to_string().into());
    words.insert("retries".into(), check.retries.into());
    words.insert("start_period".into(), check.start_period.to_string().into());
    words.insert("start_interval".into(), check.start_interval.to_string().into());
    let (key, kind) = match &check.probe {
        Probe::None => {
            words.insert("disable".into(), true.into());
            map.insert("healthcheck".into(), Json::Object(words));
            return;
        }
        Probe::Exec { command } => {
            let mut test = vec!["CMD".to_owned()];
            test.extend(command.clone());
            words.insert("test".into(), json!(test));
            map.insert("healthcheck".into(), Json::Object(words));
            return;
        }
        Probe::Http { port, path, tls } => {
            ("http", json!({ "port": port, "path": path, "tls": tls }))
        }
        Probe::Tcp { port } => ("tcp", json!({ "port": port })),
        Probe::Grpc { port, service } => ("grpc", json!({ "port": port, "service": service })),
    };
    words.insert(key.into(), kind);
    own.insert("health".into(), Json::Object(words));
}

fn write_instance(
    instance: &InstanceSpec,
    map: &mut Map<String, Json>,
    key: &str,
    left_out: &mut Vec<String>,
) {
    put(map, "hostname", instance.hostname.clone().into());
    put(map, "domainname", instance.domainname.clone().into());
    match &instance.network {
        NetworkMode::Host => drop(map.insert("network_mode".into(), "host".into())),
        NetworkMode::None => drop(map.insert("network_mode".into(), "none".into())),
        NetworkMode::Instance { name } => {
            left_out.push(format!("services.{key}: the network of instance {name:?}"));
        }
        NetworkMode::Networks { attachments } => {
            let mut networks = Map::new();
            let count = attachments.len();
            for (i, it) in attachments.iter().enumerate() {
                let mut entry = Map::new();
                put(&mut entry, "aliases", json!(it.aliases));
                put(&mut entry, "ipv4_address", it.ipv4.map(|it| it.to_string()).into());
                put(&mut entry, "ipv6_address", it.ipv6.map(|it| it.to_string()).into());
                put(&mut entry, "mac_address", it.mac.clone().into());
                if count > 1 {
                    // The first one has the default route, however they stand in the file.
                    entry.insert("gw_priority".into(), (count - i).into());
                }
                networks.insert(it.network.clone(), Json::Object(entry));
            }
            put(map, "networks", Json::Object(networks));
        }
    }
    put(map, "ports", instance.ports.iter().map(|it| Json::from(port(it))).collect());
    put(map, "dns", json!(instance.dns.servers));
    put(map, "dns_search", json!(instance.dns.search));
    put(map, "dns_opt", json!(instance.dns.options));
    let hosts = instance.extra_hosts.iter().map(|it| format!("{}={}", it.name, it.address));
    put(map, "extra_hosts", hosts.collect());
    let restart = match instance.restart {
        RestartPolicy::No => "no".to_owned(),
        RestartPolicy::Always => "always".to_owned(),
        RestartPolicy::UnlessStopped => "unless-stopped".to_owned(),
        RestartPolicy::OnFailure { max: None } => "on-failure".to_owned(),
        RestartPolicy::OnFailure { max: Some(max) } => format!("on-failure:{max}"),
    };
    map.insert("restart".into(), restart.into());
    put(map, "stop_grace_period", instance.stop_timeout.map(|it| it.to_string()).into());
    let spaces = [
        ("pid", &instance.pid),
        ("ipc", &instance.ipc),
        ("uts", &instance.uts),
        ("cgroup", &instance.cgroup),
    ];
    for (name, sharing) in spaces {
        match sharing {
            Sharing::Private => {}
            Sharing::Host => drop(map.insert(name.into(), "host".into())),
            Sharing::Group | Sharing::Instance(_) => {
                left_out.push(format!("services.{key}.{name}: whose it shares"));
            }
        }
    }
    if instance.user.is_some() {
        left_out.push(format!("services.{key}: how its users are mapped"));
    }
    put(map, "sysctls", json!(instance.sysctls));
}

fn port(port: &Port) -> String {
    let range = |first: u16| match port.count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    let address = match port.address {
        None => String::new(),
        Some(std::net::IpAddr::V4(address)) => format!("{address}:"),
        Some(std::net::IpAddr::V6(address)) => format!("[{address}]:"),
    };
    let host = match (port.host, port.address) {
        (Some(host), _) => format!("{}:", range(host)),
        (None, Some(_)) => ":".to_owned(),
        (None, None) => String::new(),
    };
    format!("{address}{host}{}/{}", range(port.target), port.protocol.as_str())
}

fn deploy(service: &WantedService, own: &mut Map<String, Json>) -> Json {
    let spec = &service.spec;
    let mut map = Map::new();
    match &spec.mode {
        ServiceMode::Replicated { replicas } => {
            map.insert("replicas".into(), (*replicas).into());
        }
        ServiceMode::Global {} => drop(map.insert("mode".into(), "global".into())),
        ServiceMode::Job { completions, retries, parallelism: _, deadline: _ } => {
            map.insert("mode".into(), "replicated-job".into());
            map.insert("replicas".into(), (*completions).into());
            let policy = match retries {
                0 => json!({ "condition": "none" }),
                retries => json!({ "condition": "on-failure", "max_attempts": retries }),
            };
            map.insert("restart_policy".into(), policy);
        }
        ServiceMode::Cron(schedule) => drop(own.insert("schedule".into(), cron(schedule))),
    }
    put(&mut map, "labels", json!(service.object.labels));
    if spec.access.mode == AccessMode::EachInstance {
        map.insert("endpoint_mode".into(), "dnsrr".into());
    }
    if spec.update != UpdatePolicy::default() {
        map.insert("update_config".into(), update(&spec.update));
    }
    if !spec.template.spec.nodes.name.is_empty() {
        let rule = format!("node.hostname=={}", spec.template.spec.nodes.name);
        map.insert("placement".into(), json!({ "constraints": [rule] }));
    }
    Json::Object(map)
}

fn update(policy: &UpdatePolicy) -> Json {
    let mut map = Map::new();
    map.insert("parallelism".into(), policy.parallelism.into());
    put(&mut map, "delay", policy.delay.map(|it| it.to_string()).into());
    put(&mut map, "monitor", policy.monitor.map(|it| it.to_string()).into());
    let order = match policy.order {
        UpdateOrder::StopFirst => "stop-first",
        UpdateOrder::StartFirst => "start-first",
    };
    let action = match policy.on_failure {
        OnFailure::Pause => "pause",
        OnFailure::Continue => "continue",
        OnFailure::RollBack => "rollback",
    };
    map.insert("order".into(), order.into());
    map.insert("failure_action".into(), action.into());
    let ratio = f64::from(policy.max_failure_percent) / 100.0;
    map.insert("max_failure_ratio".into(), ratio.to_string().into());
    Json::Object(map)
}

fn cron(schedule: &Schedule) -> Json {
    let mut map = Map::new();
    map.insert("times".into(), schedule.times.clone().into());
    put(&mut map, "time_zone", schedule.time_zone.clone().into());
    let overlap = match schedule.overlap {
        Overlap::Allow => "allow",
        Overlap::Forbid => "forbid",
        Overlap::Replace => "replace",
    };
    map.insert("overlap".into(), overlap.into());
    put(&mut map, "starting_deadline", schedule.starting_deadline.map(|it| it.to_string()).into());
    put(&mut map, "suspended", schedule.suspended.into());
    Json::Object(map)
}

fn write_machine(
    machine: &MachineSpec,
    own: &mut Map<String, Json>,
    key: &str,
    left_out: &mut Vec<String>,
) {
    let size = |size: Option<model::quantity::Bytes>| size.map_or(Json::Null, |it| it.0.into());
    put(own, "root_size", size(machine.root_size));
    for (name, rate) in [("root_iops", machine.root_iops), ("root_bps", machine.root_bps)] {
        if rate > 0 {
            own.insert(name.into(), rate.into());
        }
    }
    put(own, "cdroms", json!(machine.cdroms));
    if machine.boot == BootDevice::Cdrom {
        own.insert("boot".into(), "cdrom".into());
    }
    let firmware = match machine.firmware {
        None => "",
        Some(FirmwareKind::Bios) => "bios",
        Some(FirmwareKind::Uefi) => "uefi",
        Some(FirmwareKind::SecureBoot) => "secure-boot",
    };
    put(own, "firmware", firmware.into());
    put(own, "tpm", machine.tpm.into());
    // Written always: it says that this is a machine.
    let profile = match machine.profile {
        MachineProfile::Generic => "generic",
        MachineProfile::Windows => "windows",
    };
    own.insert("profile".into(), profile.into());
    put(own, "nested", machine.nested.into());
    put(own, "hugepages", machine.hugepages.into());
    put(own, "watchdog", machine.watchdog.into());
    put(own, "pci", json!(machine.pci));
    put(own, "max_cpus", machine.max_cpus.map_or(Json::Null, Json::from));
    put(own, "max_memory", size(machine.max_memory));
    if let Some(data) = &machine.cloud_init {
        let mut map = Map::new();
        put(&mut map, "user_data", data.user_data.clone().into());
        put(&mut map, "vendor_data", data.vendor_data.clone().into());
        put(&mut map, "network_config", data.network_config.clone().into());
        put(&mut map, "ssh_keys", json!(data.ssh_keys));
        let datasource = data.datasource.map(|it| match it {
            Datasource::NoCloud => "nocloud",
            Datasource::ConfigDrive => "config-drive",
        });
        put(&mut map, "datasource", json!(datasource));
        own.insert("cloud_init".into(), Json::Object(map));
    }
    if machine.source.is_some() {
        left_out.push(format!("services.{key}: the snapshot that its disks began as"));
    }
}
