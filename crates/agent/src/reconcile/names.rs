//! The name server knows the names that control says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dns::{Alias, Inside, Joined, Listening, Member, NameServer, NetworkNames, Zones};
use ipnet::IpNet;
use link::Desired;
use model::instance::{ExtraName, Instance};
use model::{Result, Uid};
use tasks::Pass;
use tokio::sync::Mutex;

use crate::build_network::BuildNetwork;
use crate::context::Context;

/// Wait before another try to start the server.
const AWAY: Duration = Duration::from_secs(1);

/// The node's name server and what it was told last.
pub struct Names {
    server: Arc<dyn NameServer>,
    published: Mutex<Published>,
    /// The networks that are present are known.
    known: AtomicBool,
}

#[derive(Default)]
struct Published {
    /// None when there is something left to do.
    zones: Option<Arc<Zones>>,
    /// What could not be done, as it was told of.
    failed: BTreeSet<String>,
    /// Numbers of the files that instances' namespaces are mounted on, as long as nobody makes or ends one.
    inodes: HashMap<Uid, u64>,
}

impl Published {
    /// Remembers what came of telling the server. What failed is tried again, and told of once.
    fn take(&mut self, zones: Arc<Zones>, listening: &Listening) {
        let mut failed = BTreeSet::new();
        for (address, error) in &listening.failed {
            let cause = error.chain();
            if !self.failed.contains(&cause) {
                tracing::warn!(%address, cause, "names cannot be answered here");
            }
            failed.insert(cause);
        }
        self.zones = failed.is_empty().then_some(zones);
        self.failed = failed;
    }
}

impl Names {
    /// The names of a node, served by `server`.
    pub fn new(server: Arc<dyn NameServer>) -> Self {
        Self { server, published: Mutex::default(), known: AtomicBool::default() }
    }

    /// Whether it is not known yet which networks are present, as after a restart.
    pub fn wait_for_networks(&self) -> bool {
        !self.known.load(Ordering::Relaxed)
    }

    /// Answers from what is desired, on the networks that are present. An instance must not start
    /// before its network's name server listens: resolvers wait seconds before they ask again.
    pub async fn refresh(&self, context: &Context) -> Result<String> {
        self.publish(context, &mut *self.published.lock().await).await
    }

    /// The same, after the namespace of an instance was made or taken away.
    pub async fn refresh_at(&self, context: &Context, instance: &Uid) -> Result<String> {
        let mut published = self.published.lock().await;
        published.inodes.remove(instance);
        self.publish(context, &mut published).await
    }

    async fn publish(&self, context: &Context, published: &mut Published) -> Result<String> {
        self.known.store(true, Ordering::Relaxed);
        let desired = context.desired.borrow().clone();
        let present = context.fabric.known().await;
        let mut zones = zones(&desired, |id| present.contains(id));
        if present.contains(&BuildNetwork::id()) {
            zones.networks.push(BuildNetwork::names());
        }
        let inodes = std::mem::take(&mut published.inodes);
        for instance in &desired.instances {
            let known = inodes.get(&instance.meta.id).copied();
            if let Some(inside) = inside(context, &zones.networks, instance, known) {
                published.inodes.insert(instance.meta.id.clone(), inside.inode);
                zones.inside.insert(inside);
            }
        }
        if published.zones.as_deref() == Some(&zones) {
            return Ok("unchanged".into());
        }
        let zones = Arc::new(zones);
        let listening = self.server.publish(zones.clone()).await?;
        published.take(zones, &listening);
        Ok(format!("answering on {} addresses", listening.addresses.len()))
    }
}

/// Tells the server everything again whenever it has forgotten it: its process ended.
pub async fn keep_names(context: Arc<Context>) {
    loop {
        context.names.server.forgotten().await;
        tracing::warn!("the name server ended; it is started anew");
        context.names.published.lock().await.zones = None;
        while let Err(error) = context.names.refresh(&context).await {
            tracing::error!(error = error.chain(), "names cannot be answered");
            tokio::time::sleep(AWAY).await;
        }
    }
}

/// The pass.
pub struct NamesPass {
    context: Arc<Context>,
}

impl NamesPass {
    /// The pass of a node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Pass for NamesPass {
    const NAME: &'static str = "names";

    async fn pass(&mut self) -> Result<String> {
        // The server answers as it was told before a restart, until it is known what of that is there.
        if self.context.names.wait_for_networks() {
            return Ok("what runs is not taken over yet".into());
        }
        self.context.names.refresh(&self.context).await
    }
}

/// The names of all networks that are present on the node.
fn zones(desired: &Desired, present: impl Fn(&Uid) -> bool) -> Zones {
    let networks = desired.networks.iter().filter(|network| present(&network.meta.id));
    let networks = networks.map(|network| {
        let spec = &network.spec;
        let host4 = spec.host4();
        let host6 = spec.host6().filter(|_| spec.enable_ipv6);
        NetworkNames {
            id: network.meta.id.clone(),
            name: network.meta.name.clone(),
            project: network.meta.project.clone(),
            listen: host4
                .map(|net| net.addr().into())
                .into_iter()
                .chain(host6.map(|net| net.addr().into()))
                .collect(),
            subnets: host4
                .map(|net| IpNet::from(net.trunc()))
                .into_iter()
                .chain(host6.map(|net| IpNet::from(net.trunc())))
                .collect(),
            forward: !spec.internal,
        }
    });
    Zones { networks: networks.collect(), members: members(desired), ..Zones::default() }
}

/// Where an instance asks on its own loopback, once it has a namespace: as if it asked from its first
/// network that is there. A machine's guest asks at the gateway, which is all it sees.
fn inside(
    context: &Context,
    networks: &[NetworkNames],
    instance: &Instance,
    known: Option<u64>,
) -> Option<Inside> {
    let placement = instance.spec.placement.as_ref()?;
    if instance.status.machine.is_some() {
        return None;
    }
    let (listen, source) = placement.interfaces.iter().find_map(|interface| {
        let network = networks.iter().find(|it| it.id == interface.network_id)?;
        let ipv4 = interface.ipv4.map(|net| IpAddr::from(net.addr()));
        let ipv6 = interface.ipv6.map(|net| IpAddr::from(net.addr()));
        ipv4.into_iter().chain(ipv6).find_map(|source| {
            let listen = network.listen.iter().find(|it| it.is_ipv4() == source.is_ipv4())?;
            Some((*listen, source))
        })
    })?;
    let path = context.fabric.driver().namespace(&instance.meta.id);
    let inode = match known {
        Some(inode) => inode,
        None => std::fs::metadata(&path).ok()?.ino(),
    };
    Some(Inside { path, inode, at: network::NAMES_ANSWERED.into(), listen, source })
}

fn members(desired: &Desired) -> BTreeMap<String, Arc<Member>> {
    let mut members: BTreeMap<(&str, &str), Member> = BTreeMap::new();
    for entry in &desired.names {
        let member = members.entry((&entry.project, &entry.name)).or_default();
        let names = std::iter::once(&entry.name).chain(&entry.aliases).cloned().collect();
        let addresses = entry.addresses.clone();
        member.joined.push(Joined { network: entry.network_id.clone(), names, addresses });
    }
    for instance in &desired.instances {
        let key = (instance.meta.project.as_str(), instance.meta.name.as_str());
        if let Some(member) = members.get_mut(&key) {
            member.servers.clone_from(&instance.spec.dns.servers);
            let alias = |it: &ExtraName| Alias { name: it.name.clone(), target: it.target.clone() };
            member.aliases = instance.spec.extra_names.iter().map(alias).collect();
        }
    }
    let keyed = |((project, name), member)| (format!("{project}/{name}"), Arc::new(member));
    members.into_iter().map(keyed).collect()
}
