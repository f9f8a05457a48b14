//! What processes may do: capabilities, profiles, devices.

use bollard_stubs::models::{HostConfig, HostConfigCgroupnsModeEnum};
use model::instance::{Capabilities, ContainerSpec, Device, Seccomp, Sharing};

use crate::failure::{Failure, Reply};

pub(super) fn capabilities(host: &HostConfig) -> Reply<Capabilities> {
    for (list, field) in [(&host.cap_add, "CapAdd"), (&host.cap_drop, "CapDrop")] {
        for name in list.iter().flatten().filter(|name| !name.eq_ignore_ascii_case("all")) {
            if model::capability::capability(name).is_err() {
                return Err(Failure::bad(format!(
                    "invalid {field}: unknown capability: \"{name}\""
                )));
            }
        }
    }
    Ok(Capabilities {
        add: host.cap_add.clone().unwrap_or_default(),
        drop: host.cap_drop.clone().unwrap_or_default(),
    })
}

/// The cgroups it sees: its own, or with `host` all of them.
pub(super) fn cgroup(host: &HostConfig) -> Sharing {
    match host.cgroupns_mode {
        Some(HostConfigCgroupnsModeEnum::HOST) => Sharing::Host,
        Some(HostConfigCgroupnsModeEnum::PRIVATE | HostConfigCgroupnsModeEnum::EMPTY) | None => {
            Sharing::Private
        }
    }
}

/// `SecurityOpt`: `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`.
pub(super) fn options(host: &HostConfig) -> Reply<ContainerSpec> {
    let mut container = ContainerSpec::default();
    for option in host.security_opt.iter().flatten() {
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((name, value)) => (name, value),
            None => (option.as_str(), ""),
        };
        match (name, value) {
            ("no-new-privileges", "" | "true") => container.no_new_privileges = true,
            ("no-new-privileges", "false") => container.no_new_privileges = false,
            ("seccomp", "unconfined") => container.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => container.seccomp = Seccomp::Default,
            ("seccomp", profile) => {
                serde_json::from_str::<serde_json::Value>(profile).map_err(|error| {
                    Failure::bad(format!("Decoding seccomp profile failed: {error}"))
                })?;
                container.seccomp = Seccomp::Profile(profile.to_owned());
            }
            ("apparmor", profile) => profile.clone_into(&mut container.apparmor),
            // SELinux labels mean nothing on a host without SELinux, here as there.
            ("label", _) => {}
            _ => return Err(Failure::bad(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    Ok(container)
}

pub(super) fn devices(host: &HostConfig) -> Reply<Vec<Device>> {
    if let Some(request) = host.device_requests.iter().flatten().next() {
        let capabilities = request.capabilities.clone().unwrap_or_default();
        let driver = request.driver.clone().unwrap_or_default();
        let words: Vec<String> =
            capabilities.iter().map(|all| format!("[{}]", all.join(" "))).collect();
        return Err(Failure::new(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "could not select device driver {driver:?} with capabilities: [{}]",
                words.join(" ")
            ),
        ));
    }
    let devices = host.devices.iter().flatten().map(|device| {
        let source = device.path_on_host.clone().unwrap_or_default();
        let or = |text: &Option<String>, default: &str| match text.as_deref() {
            None | Some("") => default.to_owned(),
            Some(text) => text.to_owned(),
        };
        Device {
            target: or(&device.path_in_container, &source),
            permissions: or(&device.cgroup_permissions, "rwm"),
            source,
        }
    });
    Ok(devices.collect())
}
