//! What was asked of a container, read back.

use bollard_stubs::models::{
    ContainerConfig, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    RestartPolicy as DockerRestart, RestartPolicyNameEnum,
};
use model::instance::{
    ContainerSpec, HealthCheck, Instance, MountKind, Probe, Resources, RestartPolicy, Sharing,
};
use serde_json::{Value, json};

use super::networks;
use crate::containers::origin::{self, Origin};
use crate::shape::complete;

/// `Config` of an inspected container.
pub(crate) fn config(instance: &Instance, origin: Option<&Origin>) -> Value {
    let main = instance.spec.main();
    let mut config = origin.map_or_else(|| from_spec(instance), |origin| origin.config.clone());
    config.env = main.map(|main| main.env.clone());
    config.labels = Some(instance.meta.labels.clone().into_iter().collect());
    let always = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null,
        "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
        "OnBuild": null, "Labels": {},
    });
    for list in [&mut config.exposed_ports, &mut config.volumes] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    }
    config.stop_signal = config.stop_signal.filter(|signal| !signal.is_empty());
    complete(&config, always)
}

/// The same for an instance that was made by other words.
fn from_spec(instance: &Instance) -> ContainerConfig {
    let spec = &instance.spec;
    let main = spec.main().cloned().unwrap_or_default();
    let hostname = if spec.hostname.is_empty() { &instance.meta.name } else { &spec.hostname };
    ContainerConfig {
        hostname: Some(hostname.clone()),
        domainname: Some(spec.domainname.clone()),
        user: Some(main.user),
        tty: Some(crate::containers::has_terminal(instance)),
        open_stdin: Some(main.stdin || instance.status.machine.is_some()),
        stdin_once: Some(main.stdin_once),
        cmd: main.command,
        entrypoint: main.entrypoint,
        image: Some(main.image),
        working_dir: Some(main.workdir),
        healthcheck: main.health.as_ref().map(health),
        stop_signal: Some(main.stop_signal),
        stop_timeout: spec.stop_timeout.and_then(|span| i64::try_from(span.0.as_secs()).ok()),
        ..ContainerConfig::default()
    }
}

/// How its health is told.
pub(crate) fn health(check: &HealthCheck) -> HealthConfig {
    let nanos = |span: model::Span| i64::try_from(span.0.as_nanos()).ok();
    let test = match &check.probe {
        Probe::None => vec!["NONE".to_owned()],
        Probe::Exec { command } => {
            let shell = command.len() == 3 && command[0] == "/bin/sh" && command[1] == "-c";
            match shell {
                true => vec!["CMD-SHELL".to_owned(), command[2].clone()],
                false => std::iter::once("CMD".to_owned()).chain(command.iter().cloned()).collect(),
            }
        }
        Probe::Http { port, path, tls } => {
            let scheme = if *tls { "https" } else { "http" };
            vec!["HTTP".to_owned(), format!("{scheme}://:{port}{path}")]
        }
        Probe::Tcp { port } => vec!["TCP".to_owned(), port.to_string()],
        Probe::Grpc { port, service } => vec!["GRPC".to_owned(), format!("{port}/{service}")],
    };
    HealthConfig {
        test: Some(test),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        retries: Some(i64::from(check.retries)),
        start_period: nanos(check.start_period).filter(|nanos| *nanos > 0),
        start_interval: nanos(check.start_interval),
    }
}

/// `HostConfig` of an inspected container: as it was asked for, with what can change as it is.
pub(crate) fn host(instance: &Instance, origin: Option<&Origin>) -> Value {
    let spec = &instance.spec;
    let main = spec.main().cloned().unwrap_or_default();
    let mut host = origin.map_or_else(|| host_from_spec(instance, &main), |it| it.host.clone());
    limits(&mut host, &main.resources);
    host.restart_policy = Some(restart(spec.restart));
    host.network_mode = Some(networks::mode_name(instance));
    host.annotations = Some(
        instance
            .meta
            .annotations
            .iter()
            .filter(|(key, _)| !origin::is_own(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
    .filter(|map: &std::collections::HashMap<_, _>| !map.is_empty());
    if host.cgroupns_mode.is_none_or(|mode| mode == HostConfigCgroupnsModeEnum::EMPTY) {
        host.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::PRIVATE);
    }
    host.memory_swappiness = host.memory_swappiness.filter(|share| *share != -1);
    let ipc = host.ipc_mode.get_or_insert_default();
    if ipc.is_empty() {
        "private".clone_into(ipc);
    }
    host.runtime = Some("runc".to_owned());
    host.shm_size = host.shm_size.filter(|size| *size > 0).or(Some(64 << 20));
    let log = host.log_config.get_or_insert_with(HostConfigLogConfig::default);
    if log.typ.as_deref().unwrap_or_default().is_empty() {
        log.typ = Some("json-file".to_owned());
    }
    log.config.get_or_insert_default();
    let mut host = complete(&host, always());
    if main.privileged {
        host["MaskedPaths"] = Value::Null;
        host["ReadonlyPaths"] = Value::Null;
    }
    if host["Mounts"].as_array().is_none_or(Vec::is_empty)
        && let Some(fields) = host.as_object_mut()
    {
        fields.remove("Mounts");
    }
    host
}

/// What an engine always sends of it.
fn always() -> Value {
    serde_json::from_str(include_str!("host_config.json")).unwrap_or_default()
}

/// The paths that are hidden (`MaskedPaths`) or not written to (`ReadonlyPaths`) in every container.
pub(crate) fn usual_paths(field: &str) -> Vec<String> {
    let paths = always()[field].clone();
    serde_json::from_value(paths).unwrap_or_default()
}

fn limits(host: &mut HostConfig, resources: &Resources) {
    let signed = |number: u64| i64::try_from(number).ok();
    let bytes = |bytes: Option<model::Bytes>| bytes.and_then(|bytes| signed(bytes.0));
    host.memory = bytes(resources.memory);
    host.memory_reservation = bytes(resources.memory_reservation);
    host.memory_swap = resources.memory_swap;
    host.nano_cpus = resources.cpus.and_then(|cpus| signed(cpus.milli() * 1_000_000));
    host.cpu_shares = resources.cpu_shares.and_then(signed);
    host.cpu_period = resources.cpu_period.and_then(signed);
    host.cpu_quota = resources.cpu_quota;
    host.cpuset_cpus = Some(resources.cpuset_cpus.clone());
    host.cpuset_mems = Some(resources.cpuset_mems.clone());
    host.pids_limit = resources.pids;
    host.blkio_weight = resources.blkio_weight;
}

fn restart(policy: RestartPolicy) -> DockerRestart {
    let (name, most) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::OnFailure { max } => (RestartPolicyNameEnum::ON_FAILURE, max),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    DockerRestart {
        name: Some(name),
        maximum_retry_count: Some(i64::from(most.unwrap_or_default())),
    }
}

fn host_from_spec(instance: &Instance, main: &ContainerSpec) -> HostConfig {
    let spec = &instance.spec;
    let binds = main.mounts.iter().filter_map(|mount| {
        let mode = if mount.read_only { ":ro" } else { "" };
        let source = match &mount.kind {
            MountKind::Bind { source, .. } => source,
            MountKind::Volume { name, .. } => name,
            MountKind::Tmpfs { .. } => return None,
        };
        Some(format!("{source}:{}{mode}", mount.target))
    });
    let binds: Vec<_> = binds.collect();
    let list = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    HostConfig {
        binds: list(&binds),
        port_bindings: Some(networks::bindings(instance, &spec.ports)),
        auto_remove: Some(spec.auto_remove),
        cap_add: list(&main.capabilities.add),
        cap_drop: list(&main.capabilities.drop),
        privileged: Some(main.privileged),
        readonly_rootfs: Some(main.read_only),
        init: main.init.then_some(true),
        pid_mode: Some(shared(&spec.pid)),
        ipc_mode: Some(shared(&spec.ipc)),
        uts_mode: Some(shared(&spec.uts)),
        oom_score_adj: main.oom_score_adj.map(i64::from),
        shm_size: main.shm_size.and_then(|size| i64::try_from(size.0).ok()),
        ..HostConfig::default()
    }
}

fn shared(sharing: &Sharing) -> String {
    match sharing {
        Sharing::Private | Sharing::Group => String::new(),
        Sharing::Host => "host".to_owned(),
        Sharing::Instance(name) => format!("container:{name}"),
    }
}
