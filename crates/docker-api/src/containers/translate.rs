//! From a create request's words to what is asked of an instance.
//!
//! Every field of the request is either meant by the instance, kept for reading back ([`super::origin`]),
//! or refused; the reviewed list is `docs/docker-api.md`.

mod limits;
mod mounts;
mod network;
mod security;

use bollard_stubs::models::{
    ContainerConfig, EndpointSettings, HostConfig, HostConfigIsolationEnum,
    RestartPolicy as DockerRestart, RestartPolicyNameEnum,
};
use model::image::Image;
use model::instance::{
    ContainerSpec, InstanceSpec, LogOptions, PullPolicy, RestartPolicy, RunState, Sharing,
};
use model::{Bytes, Span};

use crate::failure::{Failure, Reply};

pub(crate) use self::size as size_of;
pub(super) use limits::update as update_limits;
pub(super) use mounts::Inherited;
pub(crate) use network::{attachment, is_default, parse_port};

/// What is asked for: the parts of a create request.
pub(super) struct Asked<'a> {
    /// The container's configuration, completed from the image's.
    pub(super) config: &'a ContainerConfig,
    pub(super) host: &'a HostConfig,
    /// Networks by name.
    pub(super) endpoints: &'a [(String, EndpointSettings)],
    /// A hardware address, where clients before 1.44 wrote it.
    pub(super) mac: Option<&'a str>,
    pub(super) image: &'a Image,
    /// What containers named in `VolumesFrom` mount.
    pub(super) inherited: &'a [Inherited],
    /// Hosts and addresses that `Links` stand for.
    pub(super) links: &'a [(String, std::net::IpAddr)],
    /// Processors of the node.
    pub(super) cpus: u64,
}

/// The name of the one container in an instance that was made here.
pub(super) const MAIN: &str = "main";

/// What is asked of the instance. It is not run yet.
pub(super) fn spec(asked: &Asked<'_>) -> Reply<InstanceSpec> {
    let Asked { config, host, .. } = asked;
    refuse_unserved(host)?;
    let restart = restart(host.restart_policy.as_ref())?;
    let auto_remove = host.auto_remove.unwrap_or_default();
    if auto_remove && restart != RestartPolicy::No {
        return Err(Failure::bad("can't create 'AutoRemove' container with restart policy"));
    }
    let stop_timeout = config.stop_timeout.map(|seconds| match u64::try_from(seconds) {
        Ok(seconds) => Span::seconds(seconds),
        // Without end, as near as a span comes to it.
        Err(_) => Span::seconds(u64::from(u32::MAX)),
    });
    let network = network::mode(asked)?;
    let named = config.hostname.as_deref().is_some_and(|name| !name.is_empty());
    if named && host.uts_mode.as_deref() == Some("host") {
        return Err(Failure::bad("conflicting options: hostname and the UTS mode"));
    }
    let mut sysctls = host.sysctls.clone().unwrap_or_default();
    let ports = network::ports(config, host)?;
    Ok(InstanceSpec {
        run: RunState::Stopped,
        containers: vec![container(asked)?],
        hostname: config.hostname.clone().unwrap_or_default(),
        domainname: config.domainname.clone().unwrap_or_default(),
        ports: if network::has_ports(&network) { ports } else { Vec::new() },
        network,
        dns: network::dns(host)?,
        extra_hosts: network::extra_hosts(host, asked.links)?,
        restart,
        auto_remove,
        stop_timeout,
        pid: sharing(host.pid_mode.as_deref(), "PID")?,
        ipc: ipc(host.ipc_mode.as_deref())?,
        uts: sharing(host.uts_mode.as_deref(), "UTS")?,
        cgroup: security::cgroup(host),
        sysctls: sysctls.drain().collect(),
        ..InstanceSpec::default()
    })
}

fn container(asked: &Asked<'_>) -> Reply<ContainerSpec> {
    let Asked { config, host, .. } = asked;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let mut words = Vec::new();
    words.extend(config.entrypoint.iter().flatten().filter(|word| !word.is_empty()).cloned());
    words.extend(config.cmd.iter().flatten().cloned());
    if words.is_empty() && asked.image.machine.is_none() {
        return Err(Failure::bad("no command specified"));
    }
    if let Some(path) =
        config.working_dir.as_deref().filter(|it| !it.is_empty() && !it.starts_with('/'))
    {
        return Err(Failure::bad(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(entry) = config.env.iter().flatten().find(|entry| entry.starts_with('=')) {
        return Err(Failure::bad(format!("invalid environment variable: {entry}")));
    }
    let signal = config.stop_signal.as_deref().unwrap_or_default();
    if model::signal::Signal::or_term(signal).is_err() {
        return Err(Failure::bad(format!("invalid signal: {signal}")));
    }
    let command = if words.is_empty() { None } else { Some(words) };
    let entrypoint = command.is_some().then(Vec::new);
    Ok(ContainerSpec {
        name: MAIN.to_owned(),
        image: text(&config.image),
        image_id: asked.image.id.clone(),
        pull: PullPolicy::Never,
        entrypoint,
        command,
        env: config.env.clone().unwrap_or_default(),
        workdir: text(&config.working_dir),
        user: text(&config.user),
        groups: host.group_add.clone().unwrap_or_default(),
        tty: config.tty.unwrap_or_default(),
        stdin: config.open_stdin.unwrap_or_default(),
        stdin_once: config.stdin_once.unwrap_or_default(),
        init: host.init.unwrap_or_default(),
        stop_signal: text(&config.stop_signal),
        mounts: mounts::all(asked)?,
        health: crate::health::read(config.healthcheck.as_ref())?,
        resources: limits::resources(host, asked.cpus)?,
        ulimits: limits::ulimits(host),
        capabilities: security::capabilities(host)?,
        devices: security::devices(host)?,
        device_rules: host.device_cgroup_rules.clone().unwrap_or_default(),
        privileged: host.privileged.unwrap_or_default(),
        read_only: host.readonly_rootfs.unwrap_or_default(),
        shm_size: limits::shm_size(host)?,
        oom_score_adj: limits::oom_score_adj(host)?,
        log: log_options(host)?,
        ..security::options(host)?
    })
}

/// What an engine on Linux would do and this one does not, or what only Windows has.
fn refuse_unserved(host: &HostConfig) -> Reply<()> {
    let some = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let number = |field: Option<i64>| field.is_some_and(|number| number != 0);
    let isolation = matches!(
        host.isolation,
        Some(HostConfigIsolationEnum::PROCESS | HostConfigIsolationEnum::HYPERV)
    );
    if isolation {
        let isolation = host.isolation.map(|it| it.to_string()).unwrap_or_default();
        return Err(Failure::bad(format!(
            "invalid isolation ({isolation}): linux only supports 'default'"
        )));
    }
    if let Some(runtime) = host.runtime.as_deref().filter(|name| !is_runc(name)) {
        return Err(Failure::bad(format!("unknown or invalid runtime name: {runtime}")));
    }
    let unserved = [
        (some(&host.cgroup_parent), "CgroupParent"),
        (some(&host.cgroup), "Cgroup"),
        (host.storage_opt.as_ref().is_some_and(|map| !map.is_empty()), "StorageOpt"),
        (host.blkio_weight_device.as_ref().is_some_and(|it| !it.is_empty()), "BlkioWeightDevice"),
        (number(host.cpu_realtime_period), "CpuRealtimePeriod"),
        (number(host.cpu_realtime_runtime), "CpuRealtimeRuntime"),
        (!is_usual(host.masked_paths.as_ref(), "MaskedPaths"), "MaskedPaths"),
        (!is_usual(host.readonly_paths.as_ref(), "ReadonlyPaths"), "ReadonlyPaths"),
    ];
    if let Some((_, field)) = unserved.into_iter().find(|(given, _)| *given) {
        return Err(Failure::unserved(format!("HostConfig.{field} is not served by this engine")));
    }
    match host.userns_mode.as_deref() {
        None | Some("" | "host") => Ok(()),
        Some(mode) => Err(Failure::bad(format!("invalid userns mode: {mode}"))),
    }
}

/// Whether paths that are hidden or not written to are those that always are, as who makes a container
/// anew from what was inspected asks.
fn is_usual(asked: Option<&Vec<String>>, field: &str) -> bool {
    let usual = super::show::config::usual_paths(field);
    asked.is_none_or(|asked| {
        asked.len() == usual.len() && asked.iter().all(|path| usual.contains(path))
    })
}

fn is_runc(name: &str) -> bool {
    matches!(name, "" | "runc" | "io.containerd.runc.v2")
}

/// What happens when it ends.
pub(super) fn restart(policy: Option<&DockerRestart>) -> Reply<RestartPolicy> {
    let Some(policy) = policy else { return Ok(RestartPolicy::No) };
    let most = policy.maximum_retry_count.unwrap_or_default();
    let name = policy.name.unwrap_or(RestartPolicyNameEnum::EMPTY);
    let counted = name == RestartPolicyNameEnum::ON_FAILURE;
    if most != 0 && !counted {
        return Err(Failure::bad(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    if most < 0 {
        return Err(Failure::bad("invalid restart policy: maximum retry count cannot be negative"));
    }
    Ok(match name {
        RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO => RestartPolicy::No,
        RestartPolicyNameEnum::ALWAYS => RestartPolicy::Always,
        RestartPolicyNameEnum::UNLESS_STOPPED => RestartPolicy::UnlessStopped,
        RestartPolicyNameEnum::ON_FAILURE => {
            RestartPolicy::OnFailure { max: u32::try_from(most).ok().filter(|most| *most > 0) }
        }
    })
}

/// `host` or `container:NAME`; its own otherwise.
fn sharing(mode: Option<&str>, what: &str) -> Reply<Sharing> {
    match mode.unwrap_or_default() {
        "" | "private" => Ok(Sharing::Private),
        "host" => Ok(Sharing::Host),
        other => match other.strip_prefix("container:").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Sharing::Instance(name.to_owned())),
            None => Err(Failure::bad(format!("invalid {what} mode: {other}"))),
        },
    }
}

fn ipc(mode: Option<&str>) -> Reply<Sharing> {
    match mode {
        Some("shareable") => Ok(Sharing::Group),
        Some("none") => Err(Failure::unserved("IpcMode none is not served by this engine")),
        mode => sharing(mode, "IPC"),
    }
}

/// The platform keeps a log itself; drivers that keep it as files are all the same to it.
fn log_options(host: &HostConfig) -> Reply<LogOptions> {
    let mut options = LogOptions::default();
    let Some(asked) = &host.log_config else { return Ok(options) };
    let driver = asked.typ.as_deref().unwrap_or_default();
    if !matches!(driver, "" | "json-file" | "local" | "none") {
        return Err(Failure::bad(format!(
            "error looking up logging plugin {driver}: plugin \"{driver}\" not found"
        )));
    }
    options.off = driver == "none";
    for (name, value) in asked.config.iter().flatten() {
        let wrong = |why: &str| {
            Failure::bad(format!(
                "failed to create task for container: failed to initialize logging driver: {why}"
            ))
        };
        match name.as_str() {
            "max-size" if value == "-1" => {}
            "max-size" => {
                options.max_size =
                    size(value).ok_or_else(|| wrong(&format!("invalid size: '{value}'")))?;
            }
            "max-file" => {
                options.max_files =
                    value.parse().map_err(|_| wrong(&format!("invalid max-file: '{value}'")))?;
                if options.max_files == 0 {
                    return Err(wrong("max-file cannot be less than 1"));
                }
            }
            "compress" | "labels" | "labels-regex" | "env" | "env-regex" | "tag" | "mode"
            | "max-buffer-size" => {}
            _ => {
                let driver = if driver.is_empty() { "json-file" } else { driver };
                return Err(Failure::bad(format!(
                    "unknown log opt '{name}' for {driver} log driver"
                )));
            }
        }
    }
    if options.max_size < Bytes(4096) {
        options.max_size = Bytes(4096);
    }
    Ok(options)
}

/// `10m`, `64k`, `1g`, or bytes: powers of 1024, as Docker reads them.
pub(crate) fn size(text: &str) -> Option<Bytes> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("ib").or_else(|| text.strip_suffix('b')).unwrap_or(&text);
    let (number, power) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 2),
        b'g' => (&text[..text.len() - 1], 3),
        b't' => (&text[..text.len() - 1], 4),
        _ => (text, 0),
    };
    let number: f64 = number.trim().parse().ok().filter(|number: &f64| *number >= 0.0)?;
    let bytes = number * 1024_f64.powi(power);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Some(Bytes(bytes as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::containers::create::take_apart_json;

    /// Rows of the reviewed list: field, example, what becomes of it.
    fn reviewed() -> Vec<(String, Value, String)> {
        let text = include_str!("../../../../docs/docker-api.md");
        let (_, text) = text.split_once("## Fields of `POST /containers/create`").unwrap();
        let (text, _) = text.split_once("\nMounts of type").unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        let cell = |text: &str| text.trim().trim_matches('`').to_owned();
        let row = |line: &str| {
            let cells: Vec<&str> = line.trim_matches('|').splitn(3, " | ").collect();
            let example =
                serde_json::from_str(&cell(cells[1])).unwrap_or_else(|_| panic!("{line}"));
            (cell(cells[0]), example, cells[2].trim().to_owned())
        };
        rows.map(row).collect()
    }

    fn specified() -> Vec<String> {
        let facts: Value = serde_json::from_str(include_str!("../../specification.json")).unwrap();
        let mut all = Vec::new();
        for group in ["Config", "HostConfig", "EndpointSettings"] {
            let names = facts["fields"][group].as_array().unwrap();
            all.extend(names.iter().map(|name| format!("{group}.{}", name.as_str().unwrap())));
        }
        all
    }

    /// What becomes of a request with this one field besides what every request has.
    fn made(field: &str, example: &Value) -> Result<(InstanceSpec, Value), String> {
        let mut body = json!({
            "Image": "busybox", "Cmd": ["sh"],
            "HostConfig": { "NetworkMode": "net" },
            "NetworkingConfig": { "EndpointsConfig": { "net": {}, "other": {} } },
        });
        let (group, name) = field.split_once('.').unwrap_or(("", ""));
        match group {
            "Config" => body[name] = example.clone(),
            "HostConfig" => body["HostConfig"][name] = example.clone(),
            "EndpointSettings" => {
                body["NetworkingConfig"]["EndpointsConfig"]["other"][name] = example.clone();
            }
            _ => {}
        }
        if name == "NetworkMode" || name == "NetworkDisabled" {
            body["NetworkingConfig"] = Value::Null;
        }
        if name == "PublishAllPorts" {
            body["ExposedPorts"] = json!({ "80/tcp": {} });
        }
        if name == "MemorySwap" {
            body["HostConfig"]["Memory"] = json!(67_108_864);
        }
        let image = serde_json::from_value(json!({
            "id": "sha256:1", "digest": "", "names": [], "digests": [], "size": 0,
            "architecture": "amd64", "os": "linux", "config": {}, "layers": [], "history": [],
        }))
        .unwrap();
        let (config, host, endpoints) = take_apart_json(body).map_err(|failure| failure.message)?;
        let linked = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|it| !it.is_empty());
        let links = linked(&host.links) || endpoints.iter().any(|(_, it)| linked(&it.links));
        let inherited = host.volumes_from.is_some().then(|| Inherited {
            mount: model::instance::Mount {
                kind: model::instance::MountKind::Tmpfs { size: None, mode: None, options: vec![] },
                target: "/from".into(),
                read_only: false,
                disk: None,
            },
        });
        let address = ("nobody".to_owned(), std::net::IpAddr::from([10, 0, 0, 1]));
        let asked = Asked {
            config: &config,
            host: &host,
            endpoints: &endpoints,
            mac: None,
            image: &image,
            inherited: inherited.as_slice(),
            links: if links { std::slice::from_ref(&address) } else { &[] },
            cpus: 2,
        };
        let spec = spec(&asked).map_err(|failure| failure.message)?;
        Ok((spec, json!({ "config": config, "host": host })))
    }

    #[test]
    fn every_field_of_the_specification_is_reviewed() {
        let mut reviewed: Vec<_> = reviewed().into_iter().map(|(field, _, _)| field).collect();
        let mut specified = specified();
        reviewed.sort();
        specified.sort();
        assert_eq!(reviewed, specified);
    }

    #[test]
    fn fields_become_what_the_review_says() {
        for (field, example, fate) in reviewed() {
            let plain = match field.as_str() {
                "HostConfig.MemorySwap" => made("HostConfig.Memory", &json!(67_108_864)),
                "HostConfig.PublishAllPorts" => made("Config.ExposedPorts", &json!({"80/tcp": {}})),
                _ => made("", &Value::Null),
            };
            let plain = plain.unwrap();
            let with = made(&field, &example);
            match fate.split([':', ',', ';', ' ']).next().unwrap() {
                "asked" => assert_ne!(with.unwrap().0, plain.0, "{field} is said to be asked"),
                "refused" => assert!(with.is_err(), "{field} is said to be refused"),
                "kept" => {
                    let with = with.unwrap();
                    assert_eq!(with.0, plain.0, "{field} is said to be kept only");
                    assert_ne!(with.1, plain.1, "{field} is said to be kept");
                }
                "none" => assert_eq!(with.unwrap().0, plain.0, "{field} is said to mean nothing"),
                other => panic!("{field}: {other}"),
            }
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("10m", 10 << 20), ("1.5k", 1536), ("7", 7), ("2GB", 2 << 30)] {
            assert_eq!(size(text), Some(Bytes(bytes)), "{text}");
        }
        for text in ["", "m", "-1", "x"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn restart_policies() {
        let policy = |name, most| {
            restart(Some(&DockerRestart { name: Some(name), maximum_retry_count: most }))
        };
        let counted = policy(RestartPolicyNameEnum::ON_FAILURE, Some(3)).unwrap();
        assert_eq!(counted, RestartPolicy::OnFailure { max: Some(3) });
        assert!(policy(RestartPolicyNameEnum::ALWAYS, Some(3)).is_err());
        assert!(policy(RestartPolicyNameEnum::ON_FAILURE, Some(-1)).is_err());
    }
}
