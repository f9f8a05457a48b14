//! What of an instance reaches the host: whoever may ask for it has the host.

use super::{ContainerSpec, InstanceSpec, MountKind, NetworkMode, Seccomp, Sharing};

/// Something beyond its walls that an object asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The field by which.
    pub field: String,
    /// What it is, in words.
    pub what: &'static str,
}

impl InstanceSpec {
    /// The first thing beyond its walls that it asks for.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        let lists = [("init", &self.init), ("containers", &self.containers)];
        let containers = lists.into_iter().flat_map(|(list, containers)| {
            containers.iter().enumerate().filter_map(move |(index, container)| {
                let (field, what) = container.reach()?;
                Some(Reach { field: format!("{list}.{index}.{field}"), what })
            })
        });
        let own = self.own_reach().map(|(field, what)| Reach { field: field.to_owned(), what });
        own.into_iter().chain(containers).next()
    }

    fn own_reach(&self) -> Option<(&'static str, &'static str)> {
        if self.network == NetworkMode::Host {
            return Some(("network", "the host's network"));
        }
        let shared = [("pid", &self.pid), ("ipc", &self.ipc), ("uts", &self.uts)];
        if let Some((field, _)) = shared.into_iter().find(|(_, it)| **it == Sharing::Host) {
            return Some((field, "a namespace of the host"));
        }
        if self.cgroup == Sharing::Host {
            return Some(("cgroup", "the host's cgroups"));
        }
        let pci = self.machine.as_ref().is_some_and(|machine| !machine.pci.is_empty());
        pci.then_some(("machine.pci", "devices of the host"))
    }
}

impl ContainerSpec {
    fn reach(&self) -> Option<(&'static str, &'static str)> {
        let bind = self.mounts.iter().any(|mount| matches!(mount.kind, MountKind::Bind { .. }));
        let subpath = self.mounts.iter().filter(|mount| mount.disk.is_some()).any(
            |mount| matches!(&mount.kind, MountKind::Volume { subpath, .. } if !subpath.is_empty()),
        );
        let asked = [
            (self.privileged, "privileged", "privileges over the host"),
            (bind, "mounts", "a directory or file of the host"),
            // Copies of a machine that is stopped are made by path, which a link may have lead elsewhere.
            (subpath, "mounts", "a disk in a directory inside a volume"),
            (!self.devices.is_empty(), "devices", "devices of the host"),
            (!self.device_rules.is_empty(), "deviceRules", "devices of the host"),
            (!self.capabilities.add.is_empty(), "capabilities.add", "more capabilities"),
            (self.seccomp != Seccomp::Default, "seccomp", "another filter of system calls"),
            (!self.apparmor.is_empty(), "apparmor", "another AppArmor profile"),
            (
                self.oom_score_adj.is_some_and(|it| it < 0),
                "oomScoreAdj",
                "sparing when memory is short",
            ),
            (
                self.resources.oom_kill_disable,
                "resources.oomKillDisable",
                "sparing when memory is short",
            ),
        ];
        asked.into_iter().find(|(asked, ..)| *asked).map(|(_, field, what)| (field, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{Capabilities, Device, DiskOptions, MachineSpec, Mount, Propagation};

    fn container(change: impl FnOnce(&mut ContainerSpec)) -> InstanceSpec {
        let mut container = ContainerSpec::default();
        change(&mut container);
        InstanceSpec { containers: vec![ContainerSpec::default(), container], ..Default::default() }
    }

    #[test]
    fn what_reaches_the_host_is_found() {
        let bind = MountKind::Bind {
            source: "/".into(),
            create: false,
            propagation: Propagation::default(),
            non_recursive: false,
        };
        let mount = Mount { kind: bind, target: "/host".into(), read_only: true, disk: None };
        let kind = MountKind::Volume { name: "v".into(), subpath: "a".into(), no_copy: false };
        let part = Mount { kind, target: "/part".into(), read_only: false, disk: None };
        let disk = Mount { disk: Some(DiskOptions::default()), ..part.clone() };
        let device = Device {
            source: "/dev/mem".into(),
            target: "/dev/mem".into(),
            permissions: "r".into(),
        };
        let add = Capabilities { add: vec!["SYS_ADMIN".into()], drop: Vec::new() };
        let machine = MachineSpec { pci: vec!["0000:00:1f.0".into()], ..Default::default() };
        let default = InstanceSpec::default;
        let cases = [
            (container(|_| {}), None),
            (container(|it| it.privileged = true), Some("containers.1.privileged")),
            (container(|it| it.mounts.push(mount)), Some("containers.1.mounts")),
            (container(|it| it.mounts.push(part)), None),
            (container(|it| it.mounts.push(disk)), Some("containers.1.mounts")),
            (container(|it| it.devices.push(device)), Some("containers.1.devices")),
            (container(|it| it.capabilities = add), Some("containers.1.capabilities.add")),
            (container(|it| it.seccomp = Seccomp::Unconfined), Some("containers.1.seccomp")),
            (container(|it| it.apparmor = "unconfined".into()), Some("containers.1.apparmor")),
            (container(|it| it.oom_score_adj = Some(-1)), Some("containers.1.oomScoreAdj")),
            (container(|it| it.oom_score_adj = Some(1)), None),
            (InstanceSpec { network: NetworkMode::Host, ..default() }, Some("network")),
            (InstanceSpec { pid: Sharing::Host, ..default() }, Some("pid")),
            (InstanceSpec { pid: Sharing::Instance("a".into()), ..default() }, None),
            (InstanceSpec { cgroup: Sharing::Host, ..default() }, Some("cgroup")),
            (InstanceSpec { machine: Some(machine), ..default() }, Some("machine.pci")),
        ];
        for (spec, expected) in cases {
            assert_eq!(spec.reach().map(|reach| reach.field).as_deref(), expected);
        }
    }
}
