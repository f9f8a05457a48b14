//! Every field of the Compose Specification's schema, and what becomes of it here.
//!
//! The paths are those of `schema/compose-spec.json` in <https://github.com/compose-spec/compose-spec> at
//! 170098b: `*` is any key, `[]` any item. A field that stands in no row is refused, unless it begins with
//! `x-`. What is served is read by `load.rs`, `resource.rs` and `service.rs`.

use crate::files::shorten;
use crate::interpolate::join;
use crate::told::Told;
use crate::yaml::{Node, Value};

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is honoured.
    Served,
    /// It is left out of account, and this is told.
    Ignored(&'static str),
    /// No image is built with it; one that is built already is used. `service/build.rs` says why.
    Unbuilt,
    /// It cannot be honoured, and the file is refused.
    Refused(&'static str),
}

use Verdict::{Ignored, Refused, Served, Unbuilt};

const WINDOWS: &str = "it is for Windows";
const CACHE: &str = "the builder keeps a cache of its own";
const CLAIMS: &str = "an image that is built here carries no attestations";
const GPU: &str = "the platform gives no GPUs to containers; devices does, by path";
const HOOK: &str = "the platform runs no hooks in containers";
const BACK: &str = "going back is done as going forward is, by update_config";

/// Path to verdict.
pub const FIELDS: &[(&str, Verdict)] = &[
    ("version", Served),
    ("name", Served),
    ("include", Served),
    ("include[].path", Served),
    ("include[].env_file", Served),
    ("include[].project_directory", Served),
    ("models", Ignored("the platform runs no models; a service that uses one is refused")),
    ("services", Served),
    ("services.*", Served),
    ("services.*.annotations", Served),
    ("services.*.attach", Ignored("logs of all services are kept")),
    ("services.*.blkio_config", Served),
    ("services.*.blkio_config.device_read_bps", Served),
    ("services.*.blkio_config.device_read_bps[].path", Served),
    ("services.*.blkio_config.device_read_bps[].rate", Served),
    ("services.*.blkio_config.device_read_iops", Served),
    ("services.*.blkio_config.device_read_iops[].path", Served),
    ("services.*.blkio_config.device_read_iops[].rate", Served),
    ("services.*.blkio_config.device_write_bps", Served),
    ("services.*.blkio_config.device_write_bps[].path", Served),
    ("services.*.blkio_config.device_write_bps[].rate", Served),
    ("services.*.blkio_config.device_write_iops", Served),
    ("services.*.blkio_config.device_write_iops[].path", Served),
    ("services.*.blkio_config.device_write_iops[].rate", Served),
    ("services.*.blkio_config.weight", Served),
    ("services.*.blkio_config.weight_device", Ignored("weights are for all devices: weight")),
    ("services.*.build", Served),
    ("services.*.build.additional_contexts", Unbuilt),
    ("services.*.build.args", Served),
    ("services.*.build.cache_from", Ignored(CACHE)),
    ("services.*.build.cache_to", Ignored(CACHE)),
    ("services.*.build.context", Served),
    ("services.*.build.dockerfile", Served),
    ("services.*.build.dockerfile_inline", Served),
    ("services.*.build.entitlements", Unbuilt),
    ("services.*.build.extra_hosts", Served),
    ("services.*.build.isolation", Ignored(WINDOWS)),
    ("services.*.build.labels", Served),
    ("services.*.build.network", Served),
    ("services.*.build.no_cache", Served),
    ("services.*.build.platforms", Served),
    ("services.*.build.privileged", Unbuilt),
    ("services.*.build.provenance", Ignored(CLAIMS)),
    ("services.*.build.pull", Served),
    ("services.*.build.sbom", Ignored(CLAIMS)),
    ("services.*.build.secrets", Served),
    ("services.*.build.secrets[].gid", Unbuilt),
    ("services.*.build.secrets[].mode", Unbuilt),
    ("services.*.build.secrets[].source", Served),
    ("services.*.build.secrets[].target", Served),
    ("services.*.build.secrets[].uid", Unbuilt),
    ("services.*.build.shm_size", Served),
    ("services.*.build.ssh", Unbuilt),
    ("services.*.build.tags", Served),
    ("services.*.build.target", Served),
    ("services.*.build.ulimits", Served),
    ("services.*.build.ulimits.*.hard", Served),
    ("services.*.build.ulimits.*.soft", Served),
    ("services.*.cap_add", Served),
    ("services.*.cap_drop", Served),
    ("services.*.cgroup", Served),
    ("services.*.cgroup_parent", Ignored("the platform has a tree of cgroups of its own")),
    ("services.*.command", Served),
    ("services.*.configs", Served),
    ("services.*.configs[].gid", Served),
    ("services.*.configs[].mode", Served),
    ("services.*.configs[].source", Served),
    ("services.*.configs[].target", Served),
    ("services.*.configs[].uid", Served),
    ("services.*.container_name", Served),
    ("services.*.cpu_count", Ignored(WINDOWS)),
    ("services.*.cpu_percent", Ignored(WINDOWS)),
    ("services.*.cpu_period", Served),
    ("services.*.cpu_quota", Served),
    ("services.*.cpu_rt_period", Refused("the platform gives no realtime processor time")),
    ("services.*.cpu_rt_runtime", Refused("the platform gives no realtime processor time")),
    ("services.*.cpu_shares", Served),
    ("services.*.cpus", Served),
    ("services.*.cpuset", Served),
    ("services.*.credential_spec", Refused(WINDOWS)),
    ("services.*.depends_on", Served),
    ("services.*.depends_on.*.condition", Served),
    ("services.*.depends_on.*.required", Served),
    ("services.*.depends_on.*.restart", Served),
    ("services.*.deploy", Served),
    ("services.*.deploy.endpoint_mode", Served),
    ("services.*.deploy.labels", Served),
    ("services.*.deploy.mode", Served),
    ("services.*.deploy.placement", Served),
    ("services.*.deploy.placement.constraints", Served),
    (
        "services.*.deploy.placement.max_replicas_per_node",
        Ignored("instances are spread over the nodes, without a bound for each"),
    ),
    (
        "services.*.deploy.placement.preferences",
        Ignored("instances are spread over the nodes, not over their labels"),
    ),
    ("services.*.deploy.replicas", Served),
    ("services.*.deploy.resources", Served),
    ("services.*.deploy.resources.limits", Served),
    ("services.*.deploy.resources.limits.cpus", Served),
    ("services.*.deploy.resources.limits.memory", Served),
    ("services.*.deploy.resources.limits.pids", Served),
    ("services.*.deploy.resources.reservations", Served),
    (
        "services.*.deploy.resources.reservations.cpus",
        Ignored("processors are not reserved; limits and cpu_shares are kept"),
    ),
    ("services.*.deploy.resources.reservations.devices", Refused(GPU)),
    (
        "services.*.deploy.resources.reservations.generic_resources",
        Refused("nodes have no resources of other kinds"),
    ),
    ("services.*.deploy.resources.reservations.memory", Served),
    ("services.*.deploy.restart_policy", Served),
    ("services.*.deploy.restart_policy.condition", Served),
    (
        "services.*.deploy.restart_policy.delay",
        Ignored("the time between two tries grows from 100 ms to a minute"),
    ),
    ("services.*.deploy.restart_policy.max_attempts", Served),
    ("services.*.deploy.restart_policy.window", Ignored("a start has worked after ten seconds")),
    ("services.*.deploy.rollback_config", Ignored(BACK)),
    ("services.*.deploy.update_config", Served),
    ("services.*.deploy.update_config.delay", Served),
    ("services.*.deploy.update_config.failure_action", Served),
    ("services.*.deploy.update_config.max_failure_ratio", Served),
    ("services.*.deploy.update_config.monitor", Served),
    ("services.*.deploy.update_config.order", Served),
    ("services.*.deploy.update_config.parallelism", Served),
    ("services.*.develop", Ignored("the platform watches no sources")),
    ("services.*.device_cgroup_rules", Served),
    ("services.*.devices", Served),
    ("services.*.devices[].permissions", Served),
    ("services.*.devices[].source", Served),
    ("services.*.devices[].target", Served),
    ("services.*.dns", Served),
    ("services.*.dns_opt", Served),
    ("services.*.dns_search", Served),
    ("services.*.domainname", Served),
    ("services.*.entrypoint", Served),
    ("services.*.env_file", Served),
    ("services.*.env_file[].format", Served),
    ("services.*.env_file[].path", Served),
    ("services.*.env_file[].required", Served),
    ("services.*.environment", Served),
    ("services.*.expose", Served),
    ("services.*.extends", Served),
    ("services.*.extends.file", Served),
    ("services.*.extends.service", Served),
    ("services.*.external_links", Served),
    ("services.*.extra_hosts", Served),
    ("services.*.gpus", Refused(GPU)),
    ("services.*.group_add", Served),
    ("services.*.healthcheck", Served),
    ("services.*.healthcheck.disable", Served),
    ("services.*.healthcheck.interval", Served),
    ("services.*.healthcheck.retries", Served),
    ("services.*.healthcheck.start_interval", Served),
    ("services.*.healthcheck.start_period", Served),
    ("services.*.healthcheck.test", Served),
    ("services.*.healthcheck.timeout", Served),
    ("services.*.hostname", Served),
    ("services.*.image", Served),
    ("services.*.init", Served),
    ("services.*.ipc", Served),
    ("services.*.isolation", Ignored(WINDOWS)),
    ("services.*.label_file", Served),
    ("services.*.labels", Served),
    ("services.*.links", Served),
    ("services.*.logging", Served),
    ("services.*.logging.driver", Served),
    ("services.*.logging.options", Served),
    ("services.*.mac_address", Served),
    ("services.*.mem_limit", Served),
    ("services.*.mem_reservation", Served),
    ("services.*.mem_swappiness", Served),
    ("services.*.memswap_limit", Served),
    ("services.*.models", Refused("the platform runs no models")),
    ("services.*.network_mode", Served),
    ("services.*.networks", Served),
    ("services.*.networks.*.aliases", Served),
    ("services.*.networks.*.driver_opts", Ignored("an interface has no options of a driver")),
    ("services.*.networks.*.gw_priority", Served),
    ("services.*.networks.*.interface_name", Ignored("interfaces are called eth0, eth1 …")),
    ("services.*.networks.*.ipv4_address", Served),
    ("services.*.networks.*.ipv6_address", Served),
    ("services.*.networks.*.link_local_ips", Ignored("the platform gives no link-local addresses")),
    ("services.*.networks.*.mac_address", Served),
    ("services.*.networks.*.priority", Served),
    ("services.*.oom_kill_disable", Served),
    ("services.*.oom_score_adj", Served),
    ("services.*.pid", Served),
    ("services.*.pids_limit", Served),
    ("services.*.platform", Ignored("images are taken for the node's own kind of processor")),
    ("services.*.ports", Served),
    ("services.*.ports[].app_protocol", Ignored("requests are not looked into")),
    ("services.*.ports[].host_ip", Served),
    ("services.*.ports[].mode", Ignored("a port leads to all instances of its service")),
    ("services.*.ports[].name", Ignored("ports have no names")),
    ("services.*.ports[].protocol", Served),
    ("services.*.ports[].published", Served),
    ("services.*.ports[].target", Served),
    ("services.*.post_start", Refused(HOOK)),
    ("services.*.pre_stop", Refused(HOOK)),
    ("services.*.privileged", Served),
    ("services.*.profiles", Served),
    ("services.*.provider", Refused("the platform runs no programs beside Compose")),
    ("services.*.pull_policy", Served),
    ("services.*.pull_refresh_after", Ignored("images are not looked for by the clock")),
    ("services.*.read_only", Served),
    ("services.*.restart", Served),
    ("services.*.runtime", Served),
    ("services.*.scale", Served),
    ("services.*.secrets", Served),
    ("services.*.secrets[].gid", Served),
    ("services.*.secrets[].mode", Served),
    ("services.*.secrets[].source", Served),
    ("services.*.secrets[].target", Served),
    ("services.*.secrets[].uid", Served),
    ("services.*.security_opt", Served),
    ("services.*.shm_size", Served),
    ("services.*.stdin_open", Served),
    ("services.*.stop_grace_period", Served),
    ("services.*.stop_signal", Served),
    ("services.*.storage_opt", Ignored("what is written into a container has no bound of its own")),
    ("services.*.sysctls", Served),
    ("services.*.tmpfs", Served),
    ("services.*.tty", Served),
    ("services.*.ulimits", Served),
    ("services.*.ulimits.*.hard", Served),
    ("services.*.ulimits.*.soft", Served),
    ("services.*.use_api_socket", Refused("containers are not given the platform's socket")),
    ("services.*.user", Served),
    ("services.*.userns_mode", Served),
    ("services.*.uts", Served),
    ("services.*.volumes", Served),
    ("services.*.volumes[].bind", Served),
    ("services.*.volumes[].bind.create_host_path", Served),
    ("services.*.volumes[].bind.propagation", Served),
    ("services.*.volumes[].bind.recursive", Served),
    ("services.*.volumes[].bind.selinux", Ignored("the platform does not label for SELinux")),
    ("services.*.volumes[].consistency", Ignored("what is mounted is always consistent")),
    ("services.*.volumes[].image", Refused("images are not mounted")),
    ("services.*.volumes[].read_only", Served),
    ("services.*.volumes[].source", Served),
    ("services.*.volumes[].target", Served),
    ("services.*.volumes[].tmpfs", Served),
    ("services.*.volumes[].tmpfs.mode", Served),
    ("services.*.volumes[].tmpfs.size", Served),
    ("services.*.volumes[].type", Served),
    ("services.*.volumes[].volume", Served),
    ("services.*.volumes[].volume.labels", Ignored("volumes have labels at the top of the file")),
    ("services.*.volumes[].volume.nocopy", Served),
    ("services.*.volumes[].volume.subpath", Served),
    ("services.*.volumes_from", Served),
    ("services.*.working_dir", Served),
    ("networks", Served),
    ("networks.*", Served),
    ("networks.*.attachable", Ignored("any instance may join a network")),
    ("networks.*.driver", Served),
    ("networks.*.driver_opts", Served),
    ("networks.*.enable_ipv4", Served),
    ("networks.*.enable_ipv6", Served),
    ("networks.*.external", Served),
    ("networks.*.external.name", Served),
    ("networks.*.internal", Served),
    ("networks.*.ipam", Served),
    ("networks.*.ipam.config", Served),
    ("networks.*.ipam.config[].aux_addresses", Served),
    ("networks.*.ipam.config[].gateway", Served),
    ("networks.*.ipam.config[].ip_range", Served),
    ("networks.*.ipam.config[].subnet", Served),
    ("networks.*.ipam.driver", Served),
    ("networks.*.ipam.options", Ignored("addresses are given out by the platform")),
    ("networks.*.labels", Served),
    ("networks.*.name", Served),
    ("volumes", Served),
    ("volumes.*", Served),
    ("volumes.*.driver", Served),
    ("volumes.*.driver_opts", Served),
    ("volumes.*.external", Served),
    ("volumes.*.external.name", Served),
    ("volumes.*.labels", Served),
    ("volumes.*.name", Served),
    ("secrets", Served),
    ("secrets.*", Served),
    ("secrets.*.driver", Refused("secrets are kept by the platform")),
    ("secrets.*.driver_opts", Refused("secrets are kept by the platform")),
    ("secrets.*.environment", Served),
    ("secrets.*.external", Served),
    ("secrets.*.external.name", Served),
    ("secrets.*.file", Served),
    ("secrets.*.labels", Served),
    ("secrets.*.name", Served),
    ("secrets.*.template_driver", Refused("what stands in a secret is not filled in")),
    ("configs", Served),
    ("configs.*", Served),
    ("configs.*.content", Served),
    ("configs.*.environment", Served),
    ("configs.*.external", Served),
    ("configs.*.external.name", Served),
    ("configs.*.file", Served),
    ("configs.*.labels", Served),
    ("configs.*.name", Served),
    ("configs.*.template_driver", Refused("what stands in a config is not filled in")),
];

/// Fields of older forms, and of Rancher's, which the schema does not have.
const OLD: &[(&str, Verdict)] = &[
    ("services.*.volume_driver", Served),
    ("services.*.cpu_set", Ignored("it is called cpuset")),
    ("services.*.name", Ignored("a service is called by its key")),
    ("services.*.disk", Ignored("it means nothing here")),
    ("volumes.*.per_container", Ignored("a volume is shared by the instances of a service")),
];

/// Mappings whose keys are the user's own.
const OPEN: &[&str] = &[
    "services.*.annotations",
    "services.*.build.args",
    "services.*.build.extra_hosts",
    "services.*.build.labels",
    "services.*.deploy.labels",
    "services.*.environment",
    "services.*.extra_hosts",
    "services.*.labels",
    "services.*.links",
    "services.*.external_links",
    "services.*.logging.options",
    "services.*.sysctls",
    "networks.*.driver_opts",
    "networks.*.ipam.config[].aux_addresses",
    "networks.*.labels",
    "volumes.*.driver_opts",
    "volumes.*.labels",
    "secrets.*.labels",
    "configs.*.labels",
];

/// What becomes of a field.
#[must_use]
pub fn verdict(pattern: &str) -> Option<Verdict> {
    let found = FIELDS.iter().chain(OLD).find(|(known, _)| *known == pattern);
    found.map(|(_, verdict)| *verdict)
}

/// Tells what of a tree is left out of account, what cannot be honoured, and what is not known; and takes it
/// out, so that it is not looked at again.
pub(crate) fn judge(tree: &mut Node, told: &Told) {
    walk(tree, "", "", told);
}

fn walk(node: &mut Node, pattern: &str, path: &str, told: &Told) {
    match &mut node.value {
        Value::Null | Value::Text(_) => {}
        Value::List(items) => {
            let pattern = format!("{pattern}[]");
            for (i, item) in items.iter_mut().enumerate() {
                walk(item, &pattern, &format!("{path}[{i}]"), told);
            }
        }
        Value::Map(_) if OPEN.contains(&pattern) => {}
        Value::Map(entries) => {
            let names = format!("{}*", dotted(pattern));
            let any = FIELDS.iter().any(|(known, _)| {
                known
                    .strip_prefix(&names)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            entries.retain_mut(|entry| {
                let inner = match any {
                    true => names.clone(),
                    false => format!("{}{}", dotted(pattern), entry.key),
                };
                let path = join(path, &entry.key);
                if entry.key.starts_with("x-") && !any {
                    return true;
                }
                let known = if any { Some(Served) } else { verdict(&inner) };
                match known {
                    Some(Served) => {
                        walk(&mut entry.node, &inner, &path, told);
                        true
                    }
                    Some(Unbuilt) => true,
                    Some(Ignored(why)) => {
                        told.ignore(&entry.at, path, why);
                        false
                    }
                    Some(Refused(why)) => {
                        if !is_off(&entry.node) {
                            told.refuse(&entry.at, path, why);
                        }
                        false
                    }
                    None => {
                        told.refuse(&entry.at, path, unknown(pattern, &entry.key));
                        false
                    }
                }
            });
        }
    }
}

/// Whether a value asks for nothing.
fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Text(text) => matches!(text.as_str(), "false" | ""),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

fn dotted(pattern: &str) -> String {
    if pattern.is_empty() { String::new() } else { format!("{pattern}.") }
}

/// Why a field is refused that nobody knows, with the one that may be meant.
fn unknown(pattern: &str, key: &str) -> String {
    let prefix = dotted(pattern);
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let near = FIELDS.iter().filter_map(|(known, _)| {
        let name = known.strip_prefix(&prefix).filter(|it| !it.contains(['.', '[', '*']))?;
        let distance = distance(&plain(name), &plain(key));
        (distance <= 2).then_some((distance, name))
    });
    match near.min() {
        Some((_, name)) => format!("there is no such field; {name} is one"),
        None => format!("there is no field {:?}; fields of your own begin with x-", shorten(key)),
    }
}

/// How many letters are to be changed to come from one word to another (Levenshtein), up to 3.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 2 {
        return 3;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let cost = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(corner + 1);
        }
    }
    row[other.len()].min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_once_and_above_those_below_them() {
        let mut seen = std::collections::BTreeSet::new();
        for (path, _) in FIELDS {
            assert!(seen.insert(*path), "{path} stands twice");
        }
        for open in OPEN {
            assert!(verdict(open.trim_end_matches("[]")).is_some(), "{open}");
        }
    }

    /// The paths of all fields of the schema, as a walk over its JSON gives them.
    const SCHEMA: &str = include_str!("schema/fields.txt");

    /// The row that says what becomes of a field: its own, or that of what it is in.
    fn row(path: &str) -> Option<&'static str> {
        let own = FIELDS.iter().find(|(known, _)| *known == path);
        let above = || {
            let whole = |known: &str| {
                path.strip_prefix(known).is_some_and(|rest| rest.starts_with(['.', '[']))
            };
            FIELDS.iter().find(|(known, verdict)| {
                whole(known) && (*verdict != Served || OPEN.contains(known))
            })
        };
        own.or_else(above).map(|(known, _)| *known)
    }

    #[test]
    fn every_field_of_the_schema_has_a_verdict() {
        let missing: Vec<_> = SCHEMA.lines().filter(|path| row(path).is_none()).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn every_row_is_a_field_of_the_schema() {
        let known: std::collections::BTreeSet<_> = SCHEMA.lines().collect();
        let strange = |path: &&str| {
            !path.ends_with(".*") && !path.ends_with(".external.name") && !known.contains(*path)
        };
        let strange: Vec<_> = FIELDS.iter().map(|(path, _)| *path).filter(strange).collect();
        assert_eq!(strange, [""; 0]);
    }

    #[test]
    fn words_that_are_nearly_right() {
        for (key, name) in
            [("enviroment", "environment"), ("dependsOn", "depends_on"), ("port", "ports")]
        {
            let said = unknown("services.*", key);
            assert!(said.contains(&format!("; {name} is one")), "{key}: {said}");
        }
        assert!(unknown("services.*", "qwertz").contains("x-"));
    }
}
