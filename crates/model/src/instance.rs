//! Instance: one schedulable thing, a group of containers that share a network namespace (or, later,
//! one machine).
//!
//! The life of an instance, as its [`Phase`] tells it:
//!
//! ```text
//!  Pending ──placed──> Creating ──started──> Running <──> Paused
//!     │                    │  ^                 │ exit
//!     └──refused──> Failed ┘  └── Restarting <──┤ (policy says again)
//!                                               └──────────> Exited
//!  any ──deleted──> Removing ──> (gone)
//! ```

pub mod container;
pub mod handed;
pub mod health;
pub mod machine;
pub mod mount;
pub mod net;
mod reach;
pub mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

pub use container::{
    Capabilities, ContainerSpec, Device, LogOptions, PullPolicy, Resources, Seccomp, Ulimit,
    VolumesFrom,
};
pub use handed::Handed;
pub use health::{HealthCheck, Probe};
pub use machine::{
    BootDevice, CloudInit, Datasource, DiskBus, DiskCache, DiskOptions, FirmwareKind, GuestFacts,
    GuestInterface, MachineDisk, MachineEnd, MachineProfile, MachineSource, MachineSpec,
    MachineStatus,
};
pub use mount::{Mount, MountKind, Propagation};
pub use net::{Attachment, NetworkMode, Port, Protocol};
pub use reach::Reach;
pub use status::{
    ContainerState, ContainerStatus, Health, ImageVolume, InstanceStatus, Phase, Reason,
};

use crate::error::{Error, Result};
use crate::name::{check_host_name, check_name};
use crate::object::{Kind, Noun, Object};
use crate::quantity::{Bytes, Cpus, Span};
use crate::selector::Selector;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceNoun;

/// An instance.
pub type Instance = Object<InstanceNoun>;

impl Noun for InstanceNoun {
    const KIND: Kind = Kind::Instance;
    const IN_PROJECT: bool = true;
    type Spec = InstanceSpec;
    type Status = InstanceStatus;

    fn validate(spec: &InstanceSpec) -> Result<()> {
        spec.validate()
    }
}

/// What the owner wants the instance to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// Run, and run again as the restart policy says.
    #[default]
    Running,
    /// Run, but frozen.
    Paused,
    /// Exist, and don't run.
    Stopped,
}

/// What was asked of an instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceSpec {
    /// What it should do.
    pub run: RunState,
    /// Counts the starts asked for. A run that the node has not done yet is begun; `restart` adds
    /// one to a running instance, `start` adds one to one that ended.
    pub runs: u64,
    /// The run that its restart policy does not follow with another, as it was asked to end by a
    /// signal; 0: none. Written by control.
    #[serde(skip_serializing_if = "is_zero")]
    pub final_run: u64,
    /// How the last stop or restart that was asked for is to be done; absent: as `stop_timeout` and
    /// the containers' stop signals say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopRequest>,
    /// Where it is and what was assigned to it; written by control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Which nodes it may be on.
    #[serde(skip_serializing_if = "NodeRules::is_empty")]
    pub nodes: NodeRules,
    /// Run to the end, one after the other, before `containers` start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init: Vec<ContainerSpec>,
    /// The containers, started in this order. The first is the one that verbs mean when none is
    /// named, and whose exit code is the instance's.
    pub containers: Vec<ContainerSpec>,
    /// What is asked of it as a machine; refused where its image carries no disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineSpec>,
    /// Host name; the instance's name when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// NIS domain name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// How it is joined to the network.
    pub network: NetworkMode,
    /// Ports of the host that lead to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// How names are resolved inside.
    pub dns: Dns,
    /// Lines added to `/etc/hosts`: name to address (`host-gateway` is the host's).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// Names that stand for others: the name server answers them with the other name (CNAME) and what is
    /// known of that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_names: Vec<ExtraName>,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Remove it when it has ended.
    pub auto_remove: bool,
    /// Its first run waits for somebody to attach, a few seconds at most, so that whoever made it to
    /// watch it misses nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attended: bool,
    /// How long a container may take to end after its stop signal before it is killed; 10 s when
    /// none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Span>,
    /// Whose processes its processes see.
    pub pid: Sharing,
    /// Whose System V and POSIX message queues and shared memory it uses.
    pub ipc: Sharing,
    /// Whose host name it has.
    pub uts: Sharing,
    /// Whose cgroup tree it sees.
    pub cgroup: Sharing,
    /// Whether users inside are mapped to unprivileged ones outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserMapping>,
    /// Kernel parameters of its namespaces, e.g. `net.core.somaxconn`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
}

/// Which nodes something may be on; all rules hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRules {
    /// The node of this name only; any when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Nodes with such labels only: `zone=a,disk!=hdd,gpu,!old`; any when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub labels: String,
}

impl NodeRules {
    /// Whether any node will do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.name.is_empty() && self.labels.is_empty()
    }

    /// Whether a node of that name with these labels will do.
    #[must_use]
    pub fn allow(&self, node: &crate::Meta) -> bool {
        let name = self.name.is_empty() || self.name == node.name;
        let labels = Selector::parse(&self.labels);
        name && labels.is_ok_and(|selector| selector.matches(&node.labels))
    }

    fn validate(&self) -> Result<()> {
        if !self.name.is_empty() {
            check_name(&self.name).map_err(|error| error.at("name"))?;
        }
        Selector::parse(&self.labels).map(drop).map_err(|error| error.at("labels"))
    }
}

/// How one particular stop is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StopRequest {
    /// Time from the signal to SIGKILL; none: SIGKILL at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Signal instead of the containers' own, by name or number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// Keep the memory of a machine's guest on its disk; the next start goes on from there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub save: bool,
}

/// What control decided: where the instance is, with which addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// One for each attachment of [`NetworkMode::Networks`], in its order.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// One for each of [`InstanceSpec::ports`] after ranges are taken apart, with the host port
    /// filled in.
    #[serde(default)]
    pub ports: Vec<Port>,
}

/// A network interface as assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// The network's name in the instance's project.
    pub network: String,
    /// The network's identity.
    pub network_id: crate::Uid,
    /// Name inside the instance: `eth0`, `eth1` …
    pub name: String,
    /// IPv4 address with the network's prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv4: Option<ipnet::Ipv4Net>,
    /// IPv6 address with the network's prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv6: Option<ipnet::Ipv6Net>,
    /// Hardware address, `02:…`.
    pub mac: String,
    /// Further names it answers to on this network.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// Whose namespace of a kind the instance uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sharing {
    /// One of its own.
    #[default]
    Private,
    /// One for all containers of the group.
    Group,
    /// The host's.
    Host,
    /// That of the first container of another instance on the node, by name.
    Instance(String),
}

/// Maps users inside to users outside (user_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserMapping {
    /// First user id outside; user 0 inside is this one.
    pub first_uid: u32,
    /// First group id outside.
    pub first_gid: u32,
    /// How many ids are mapped.
    pub size: u32,
}

/// How names are resolved inside an instance (resolv.conf(5)).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Dns {
    /// Servers asked for names outside the platform; the host's when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub servers: Vec<std::net::IpAddr>,
    /// Search domains; the host's when empty, none when the only one is `.`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options such as `ndots:1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// An address, or `host-gateway`.
    pub address: String,
}

/// A name that stands for another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtraName {
    /// The name.
    pub name: String,
    /// The other one.
    pub target: String,
}

/// What happens when an instance ends. Waits between tries double from 100 ms to a minute and
/// begin anew after ten seconds of running, as Docker's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RestartPolicy {
    /// It stays ended.
    #[default]
    No,
    /// It starts again when its exit code isn't 0; at most `max` times when that is given.
    OnFailure {
        /// Tries allowed in a row; no bound when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u32>,
    },
    /// It starts again, also after the daemon or the node starts, even if it was stopped by hand before.
    Always,
    /// It starts again unless it was stopped by hand.
    UnlessStopped,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl InstanceSpec {
    /// The restart policy that holds for the run that was asked for last.
    pub fn policy(&self) -> RestartPolicy {
        match self.final_run {
            0 => self.restart,
            run if run == self.runs => RestartPolicy::No,
            _ => self.restart,
        }
    }

    /// All containers, initial ones first.
    pub fn all_containers(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.init.iter().chain(&self.containers)
    }

    /// The container verbs mean when none is named.
    pub fn main(&self) -> Option<&ContainerSpec> {
        self.containers.first()
    }

    /// Most of something that an instance may use at a time: what its containers may use together, or an
    /// initial one before them. `None` where one of them has no limit.
    fn most(&self, limit: impl Fn(&ContainerSpec) -> Option<u64>) -> Option<u64> {
        let all = |containers: &[ContainerSpec]| {
            containers.iter().map(&limit).collect::<Option<Vec<u64>>>()
        };
        let together = all(&self.containers)?.into_iter().fold(0, u64::saturating_add);
        Some(all(&self.init)?.into_iter().fold(together, u64::max))
    }

    /// Most processors that it may use; `None` where one of its containers has no limit.
    #[must_use]
    pub fn cpu_limit(&self) -> Option<Cpus> {
        self.most(|it| it.resources.cpu_limit().map(Cpus::milli)).map(Cpus::from_milli)
    }

    /// Most memory that it may use; `None` where one of its containers has no limit.
    #[must_use]
    pub fn memory_limit(&self) -> Option<Bytes> {
        self.most(|it| it.resources.memory.map(|bytes| bytes.0)).map(Bytes)
    }

    /// The volumes that are disks of a machine.
    pub fn disks(&self) -> impl Iterator<Item = (&str, &DiskOptions)> {
        let mounts = self.all_containers().flat_map(|container| &container.mounts);
        mounts.filter_map(|mount| Some((mount.volume()?, mount.disk.as_ref()?)))
    }

    /// The container of that name; the main one when `name` is empty.
    pub fn container(&self, name: &str) -> Result<&ContainerSpec> {
        let found = match name {
            "" => self.main(),
            _ => self.all_containers().find(|container| container.name == name),
        };
        found.ok_or_else(|| Error::not_found(format!("the instance has no container {name:?}")))
    }

    fn validate(&self) -> Result<()> {
        if self.containers.is_empty() {
            return Err(Error::invalid("an instance needs at least one container")
                .at("containers")
                .next("name an image"));
        }
        let mut names = BTreeSet::new();
        for (list, containers) in [("init", &self.init), ("containers", &self.containers)] {
            for (i, container) in containers.iter().enumerate() {
                let place = format!("{list}[{i}]");
                container.validate().map_err(|error| error.under(&place))?;
                if !names.insert(&container.name) {
                    return Err(Error::invalid(format!(
                        "two containers are called {:?}",
                        container.name
                    ))
                    .at(format!("{place}.name")));
                }
            }
        }
        if let Some(machine) = &self.machine {
            machine.validate().map_err(|error| error.under("machine"))?;
            if self.all_containers().count() > 1 {
                return Err(Error::invalid("a machine is alone in its instance").at("machine"));
            }
        }
        self.validate_shared_volumes()?;
        self.nodes.validate().map_err(|error| error.under("nodes"))?;
        self.validate_identity()?;
        self.network.validate().map_err(|error| error.under("network"))?;
        for (i, port) in self.ports.iter().enumerate() {
            port.validate().map_err(|error| error.under(&format!("ports[{i}]")))?;
        }
        // One that was parted from its last network keeps its ports for the next one.
        if !self.ports.is_empty() && !self.network.is_own() {
            return Err(Error::invalid("ports can be published only from a network of its own")
                .at("ports")
                .next("leave out the network mode, or the ports"));
        }
        if self.auto_remove && self.restart != RestartPolicy::No {
            return Err(Error::invalid("an instance that restarts cannot be removed at its end")
                .at("autoRemove")
                .next("give either --rm or --restart"));
        }
        self.validate_sysctls()
    }

    /// Volumes are those of a container that is made before: no circles.
    fn validate_shared_volumes(&self) -> Result<()> {
        for container in self.all_containers() {
            for from in &container.volumes_from {
                let place = "volumesFrom";
                if self.container(&from.container).is_err() || from.container.is_empty() {
                    return Err(Error::invalid(format!(
                        "container {:?} has the volumes of {:?}, which is not in its instance",
                        container.name, from.container
                    ))
                    .at(place));
                }
            }
        }
        if self.machine.is_some() && self.all_containers().any(|it| !it.volumes_from.is_empty()) {
            return Err(Error::invalid("a machine has volumes of its own only").at("volumesFrom"));
        }
        if self.main().is_some_and(|main| main.once) {
            return Err(Error::invalid("the first container is what its instance runs for")
                .at("containers[0].once")
                .next("name another container first"));
        }
        for (i, container) in self.init.iter().enumerate() {
            let earlier = |name: &str| self.init[..i].iter().any(|it| it.name == name);
            if !container.volumes_from.iter().all(|from| earlier(&from.container)) {
                return Err(Error::invalid("an initial container runs before that one")
                    .at(format!("init[{i}].volumesFrom")));
            }
        }
        let ordered = self.in_order();
        if ordered.len() < self.containers.len() {
            let left = self.containers.iter().find(|it| !ordered.iter().any(|o| o.name == it.name));
            let name = left.map_or("", |it| it.name.as_str());
            let message = format!("container {name:?} would have its own volumes, by others");
            return Err(Error::invalid(message).at("volumesFrom"));
        }
        Ok(())
    }

    /// The containers whose volumes a container has, near ones first; with each, whether it may only
    /// read them: where one on the way may, no one behind it may more.
    #[must_use]
    pub fn lenders(&self, container: &ContainerSpec) -> Vec<(&ContainerSpec, bool)> {
        let mut lenders: Vec<(&ContainerSpec, bool)> = Vec::new();
        let from = |container: &ContainerSpec, read_only: bool| {
            let each = container.volumes_from.iter();
            each.map(|from| (from.container.clone(), from.read_only || read_only))
                .collect::<Vec<_>>()
        };
        let mut open = VecDeque::from(from(container, false));
        while let Some((name, read_only)) = open.pop_front() {
            let found = self.all_containers().find(|it| it.name == name);
            let new = |it: &&ContainerSpec| !lenders.iter().any(|(known, _)| known.name == it.name);
            if let Some(lender) = found.filter(new) {
                lenders.push((lender, read_only));
                open.extend(from(lender, read_only));
            }
        }
        lenders
    }

    /// The containers in the order in which they are started: as they are listed, but each behind those
    /// whose volumes it has. Some are missing where these have each other's.
    #[must_use]
    pub fn in_order(&self) -> Vec<&ContainerSpec> {
        let mut ordered: Vec<&ContainerSpec> = Vec::new();
        while let Some(next) = self.containers.iter().find(|it| {
            let known = |name: &str| {
                self.init.iter().any(|it| it.name == name) || ordered.iter().any(|o| o.name == name)
            };
            !known(&it.name) && it.volumes_from.iter().all(|from| known(&from.container))
        }) {
            ordered.push(next);
        }
        ordered
    }

    fn validate_identity(&self) -> Result<()> {
        if !self.hostname.is_empty() {
            check_host_name(&self.hostname).map_err(|error| error.at("hostname"))?;
        }
        for host in &self.extra_hosts {
            let address =
                host.address == "host-gateway" || host.address.parse::<std::net::IpAddr>().is_ok();
            if check_host_name(&host.name).is_err() || !address {
                return Err(Error::invalid(format!(
                    "{}:{} is not a host name and an address",
                    host.name, host.address
                ))
                .at("extraHosts"));
            }
        }
        for extra in &self.extra_names {
            let target = extra.target.trim_end_matches('.');
            let one = check_host_name(&extra.name).and_then(|()| check_host_name(target));
            if one.is_err() || extra.name.eq_ignore_ascii_case(target) {
                return Err(Error::invalid(format!(
                    "{}:{} is not a host name and another one",
                    extra.name, extra.target
                ))
                .at("extraNames"));
            }
        }
        for (field, sharing) in [("pid", &self.pid), ("ipc", &self.ipc), ("uts", &self.uts)] {
            if let Sharing::Instance(name) = sharing {
                check_name(name).map_err(|error| error.at(field))?;
            }
        }
        if self.user.as_ref().is_some_and(|map| map.size == 0) {
            return Err(Error::invalid("a user mapping of no ids").at("user.size"));
        }
        Ok(())
    }

    fn validate_sysctls(&self) -> Result<()> {
        for key in self.sysctls.keys() {
            let network = key.starts_with("net.");
            let ipc = key.starts_with("kernel.msg")
                || key.starts_with("kernel.sem")
                || key.starts_with("kernel.shm")
                || key.starts_with("fs.mqueue.");
            let own_network =
                !matches!(self.network, NetworkMode::Host | NetworkMode::Instance { .. });
            let own_ipc = matches!(self.ipc, Sharing::Private | Sharing::Group);
            if (network && own_network) || (ipc && own_ipc) {
                continue;
            }
            return Err(Error::invalid(format!(
                "{key} is not a kernel parameter of the instance's own namespaces"
            ))
            .at(format!("sysctls.{key}"))
            .next("only net.* and System V / mqueue parameters can be set"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_only_be_read_on_the_way_may_only_be_read() {
        let container = |name: &str, from: &[(&str, bool)]| ContainerSpec {
            name: name.to_owned(),
            volumes_from: from
                .iter()
                .map(|&(name, read_only)| VolumesFrom { container: name.to_owned(), read_only })
                .collect(),
            ..ContainerSpec::default()
        };
        let spec = InstanceSpec {
            containers: vec![
                container("data", &[]),
                container("middle", &[("data", false)]),
                container("reader", &[("middle", true)]),
                container("both", &[("middle", true), ("data", false)]),
            ],
            ..InstanceSpec::default()
        };
        let lenders = |of: usize| -> Vec<(&str, bool)> {
            let lenders = spec.lenders(&spec.containers[of]);
            lenders
                .into_iter()
                .map(|(lender, read_only)| (lender.name.as_str(), read_only))
                .collect()
        };
        assert_eq!(lenders(1), [("data", false)]);
        assert_eq!(lenders(2), [("middle", true), ("data", true)]);
        assert_eq!(lenders(3), [("middle", true), ("data", false)]);
    }
}
