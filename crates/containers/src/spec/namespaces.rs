//! Namespaces (namespaces(7)), host name and kernel parameters.

use std::collections::BTreeMap;

use super::oci;
use crate::engine::{ContainerConfig, Namespace, UserNamespace};

/// All that are not the host's.
pub(super) fn namespaces(config: &ContainerConfig) -> Vec<oci::Namespace> {
    let named = |kind: &str, namespace: &Namespace| match namespace {
        Namespace::Host => None,
        Namespace::New => Some(oci::Namespace { kind: kind.to_owned(), path: None }),
        Namespace::Path(path) => {
            Some(oci::Namespace { kind: kind.to_owned(), path: Some(path.clone()) })
        }
    };
    let user = match &config.user {
        UserNamespace::Host => None,
        UserNamespace::Mapped(_) => Some(oci::Namespace { kind: "user".to_owned(), path: None }),
        UserNamespace::Path { path, mapping: _ } => {
            Some(oci::Namespace { kind: "user".to_owned(), path: Some(path.clone()) })
        }
    };
    [
        named("mount", &Namespace::New),
        named("network", &config.network),
        named("uts", &config.uts),
        named("pid", &config.pid),
        named("ipc", &config.ipc),
        named("cgroup", &config.cgroup),
        user,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The host name to set: only in a namespace that is the container's own.
pub(super) fn hostname(config: &ContainerConfig) -> String {
    match config.uts {
        Namespace::New => config.hostname.clone(),
        Namespace::Host | Namespace::Path(_) => String::new(),
    }
}

/// Kernel parameters: those asked for over Docker's defaults. A container may listen on every port
/// and send pings without a capability, in a network of its own.
pub(super) fn sysctls(config: &ContainerConfig) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let own_network = config.network != Namespace::Host;
    if own_network && config.user == UserNamespace::Host {
        all.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        all.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    }
    if config.uts == Namespace::New && !config.domainname.is_empty() {
        // Runtimes before version 1.1 of the specification know no domainname field.
        all.insert("kernel.domainname".to_owned(), config.domainname.clone());
    }
    all.extend(config.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}
