//! Worlds to ask about.

use model::instance::{
    Attachment, ContainerSpec, Instance, InstanceSpec, Mount, MountKind, NetworkMode, Port,
    Protocol, Resources,
};
use model::network::{Network, NetworkSpec};
use model::node::{Node, NodeSpec, NodeStatus};
use model::project::{Project, ProjectSpec, Quota};
use model::volume::{Volume, VolumeSpec};
use model::{Bytes, Cpus, Meta, Time, Uid};
use planner::{Cursors, Decision, Ledger, Refusal, World};

/// All there is.
#[derive(Default, Clone)]
pub struct Things {
    pub nodes: Vec<Node>,
    pub instances: Vec<Instance>,
    pub networks: Vec<Network>,
    pub volumes: Vec<Volume>,
    pub projects: Vec<Project>,
    made: u8,
}

impl Things {
    fn meta(&mut self, project: &str, name: &str) -> Meta {
        self.made += 1;
        let mut bytes = [0; 32];
        bytes[3] = self.made;
        let time = Time::from_unix(i64::from(self.made), 0);
        Meta::new(project, name, Uid::from_bytes(bytes), time)
    }

    /// A node that is ready, with so many GiB of memory.
    pub fn node(&mut self, name: &str, memory: u64) -> &mut Node {
        let mut node = Node::new(self.meta("", name), NodeSpec::default());
        node.status = NodeStatus {
            ready: true,
            memory: Bytes::gib(memory),
            cpus: Cpus::from_milli(4000),
            ..NodeStatus::default()
        };
        self.nodes.push(node);
        self.nodes.last_mut().unwrap()
    }

    pub fn network(&mut self, name: &str, subnet: &str) -> &mut Network {
        let spec = NetworkSpec { ipv4: Some(subnet.parse().unwrap()), ..NetworkSpec::default() };
        let network = Network::new(self.meta("p", name), spec);
        self.networks.push(network);
        self.networks.last_mut().unwrap()
    }

    pub fn volume(&mut self, name: &str, node: Option<&str>) {
        let spec = VolumeSpec { node: node.map(str::to_owned), ..VolumeSpec::default() };
        let volume = Volume::new(self.meta("p", name), spec);
        self.volumes.push(volume);
    }

    /// The project that all is in, with a quota.
    pub fn quota(&mut self, quota: Quota) {
        let spec = ProjectSpec { quota, ..ProjectSpec::default() };
        self.projects = vec![Project::new(self.meta("", "p"), spec)];
    }

    /// An instance that is not in the world yet.
    pub fn instance(&mut self, name: &str) -> Instance {
        let container = ContainerSpec {
            name: "main".into(),
            image: "a".into(),
            resources: Resources::default(),
            ..ContainerSpec::default()
        };
        let spec = InstanceSpec { runs: 1, containers: vec![container], ..InstanceSpec::default() };
        Instance::new(self.meta("p", name), spec)
    }

    pub fn ledger(&self, cursors: Cursors) -> Ledger<'_> {
        let world = World {
            nodes: self.nodes.iter().collect(),
            instances: self.instances.iter().collect(),
            services: Vec::new(),
            networks: self.networks.iter().collect(),
            volumes: self.volumes.iter().collect(),
            snapshots: Vec::new(),
            projects: self.projects.iter().collect(),
        };
        Ledger::new(&world, cursors)
    }

    /// Asks where an instance goes, and puts it there.
    pub fn place(&mut self, mut instance: Instance) -> Result<Decision, Refusal> {
        let decision = self.ledger(Cursors::new()).place(&instance)?;
        for id in &decision.volumes {
            let volume = self.volumes.iter_mut().find(|it| it.meta.id == *id).unwrap();
            volume.spec.node = Some(decision.placement.node.clone());
        }
        instance.spec.placement = Some(decision.placement.clone());
        self.instances.push(instance);
        Ok(decision)
    }
}

pub fn port(host: impl Into<Option<u16>>, target: u16, count: u16) -> Port {
    Port { target, host: host.into(), address: None, protocol: Protocol::Tcp, count }
}

pub fn joined(instance: &mut Instance, network: &str, ipv4: Option<&str>) {
    let attachment = Attachment {
        network: network.into(),
        ipv4: ipv4.map(|it| it.parse().unwrap()),
        ..Attachment::default()
    };
    match &mut instance.spec.network {
        NetworkMode::Networks { attachments } => attachments.push(attachment),
        other => panic!("{other:?}"),
    }
}

pub fn mounts(instance: &mut Instance, volume: &str) {
    let kind = MountKind::Volume { name: volume.into(), subpath: String::new(), no_copy: false };
    let target = format!("/{volume}");
    instance.spec.containers[0].mounts.push(Mount { kind, target, read_only: false, disk: None });
}

pub fn limited(instance: &mut Instance, milli: u64, mib: u64) {
    let resources = &mut instance.spec.containers[0].resources;
    resources.cpus = Some(Cpus::from_milli(milli));
    resources.memory = Some(Bytes::mib(mib));
}

pub fn reserves(instance: &mut Instance, gib: u64) {
    instance.spec.containers[0].resources.memory_reservation = Some(Bytes::gib(gib));
}

/// An answer as people read it.
pub fn told(answer: &Result<Decision, Refusal>) -> String {
    match answer {
        Ok(decision) => {
            let placed = &decision.placement;
            let mut lines = decision.reasons.clone();
            for it in &placed.interfaces {
                let v4 = it.ipv4.map_or(String::new(), |net| format!(" {net}"));
                let v6 = it.ipv6.map_or(String::new(), |net| format!(" {net}"));
                lines.push(format!("{} on {}:{v4}{v6} {}", it.name, it.network, it.mac));
            }
            for it in &placed.ports {
                let address = it.address.map_or(String::new(), |address| format!("{address}:"));
                let (host, protocol) = (it.host.unwrap_or_default(), it.protocol.as_str());
                lines.push(format!("{address}{host} -> {}/{protocol}", it.target));
            }
            lines.join("\n")
        }
        Err(refusal) => {
            let reason = refusal.reason();
            format!("{}: {}\nnext: {}", reason.code, reason.message, reason.next.unwrap())
        }
    }
}
