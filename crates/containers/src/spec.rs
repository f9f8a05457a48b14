//! From a container's description to an OCI runtime specification.
//!
//! [`generate`] is the whole way; each file below turns one part. What this machine cannot do is
//! left out and said in a warning; what can never be right is refused.

mod capabilities;
mod command;
mod devices;
mod env;
mod mounts;
mod namespaces;
pub mod oci;
mod process;
mod resources;
mod rlimits;
mod seccomp;
mod user;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::Result;

use crate::engine::ContainerConfig;
use crate::host::HostFacts;
use crate::rootfs::Rootfs;

pub use command::command;
pub(crate) use process::exec_process;
pub(crate) use resources::resources;

/// The version of the runtime specification written.
const VERSION: &str = "1.0.2";

/// What generating needs besides the description.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// What this machine can do.
    pub host: &'a HostFacts,
    /// The container's root, to look users up in.
    pub rootfs: &'a Rootfs,
    /// A program that runs as process 1 and its arguments before `--`, for containers that ask for
    /// one.
    pub init: Option<&'a Init>,
}

/// A program that reaps children and forwards signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Where it lies on the host.
    pub source: PathBuf,
}

/// Where the init is mounted inside, as in Docker.
pub const INIT_TARGET: &str = "/sbin/docker-init";

/// A specification, and what was left out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// For the runtime.
    pub spec: oci::Spec,
    /// In sentences for people.
    pub warnings: Vec<String>,
}

/// Generates the specification of `config` on this machine.
///
/// # Errors
/// `Invalid` when the description names a user, capability, device or profile that does not exist.
pub fn generate(config: &ContainerConfig, inputs: &Inputs<'_>) -> Result<Generated> {
    let mut warnings = Vec::new();
    let process = process::process(config, inputs, &mut warnings)?;
    let mounts = mounts::mounts(config, inputs)?;
    let linux = linux(config, inputs, &process, &mut warnings)?;
    let spec = oci::Spec {
        oci_version: VERSION.to_owned(),
        process: Some(process),
        root: Some(oci::Root { path: "rootfs".to_owned(), readonly: config.spec.read_only }),
        hostname: namespaces::hostname(config),
        domainname: String::new(),
        mounts,
        annotations: BTreeMap::new(),
        linux: Some(linux),
    };
    Ok(Generated { spec, warnings })
}

fn linux(
    config: &ContainerConfig,
    inputs: &Inputs<'_>,
    process: &oci::Process,
    warnings: &mut Vec<String>,
) -> Result<oci::Linux> {
    let spec = &config.spec;
    let host = inputs.host;
    let devices = devices::devices(spec)?;
    let mut resources = resources::resources(&spec.resources, host, warnings)?;
    resources.devices = devices.rules;
    let bounding = process.capabilities.as_ref().map_or(&[][..], |caps| &caps.bounding);
    let (masked_paths, readonly_paths) = mounts::hidden(config);
    let mapping = config.user.mapping();
    Ok(oci::Linux {
        uid_mappings: mapping.map(|m| vec![oci::IdMapping::new(m.first_uid, m.size)]),
        gid_mappings: mapping.map(|m| vec![oci::IdMapping::new(m.first_gid, m.size)]),
        sysctl: namespaces::sysctls(config),
        resources: Some(resources),
        cgroups_path: cgroup_path(config),
        namespaces: namespaces::namespaces(config),
        devices: devices.nodes,
        seccomp: seccomp::seccomp(spec, bounding, host, warnings)?,
        rootfs_propagation: mounts::rootfs_propagation(config),
        masked_paths,
        readonly_paths,
    })
}

/// The cgroup of a container, below the root of each hierarchy.
pub fn cgroup_path(config: &ContainerConfig) -> String {
    format!("{}/{}", config.cgroup_parent.trim_end_matches('/'), config.id)
}
