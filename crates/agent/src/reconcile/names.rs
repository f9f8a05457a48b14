//! The name server knows the names that control says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dns::{Joined, Member, NameServer, NetworkNames, Zones};
use ipnet::IpNet;
use link::Desired;
use model::Result;
use tasks::Pass;
use tokio::sync::Mutex;

use crate::context::Context;

/// Wait before another try to start the server.
const AWAY: Duration = Duration::from_secs(1);

/// The node's name server and what it was told last.
pub struct Names {
    server: Arc<dyn NameServer>,
    published: Mutex<Option<Zones>>,
    /// The networks that are present are known.
    known: AtomicBool,
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
        let mut published = self.published.lock().await;
        self.known.store(true, Ordering::Relaxed);
        let desired = context.desired.borrow().clone();
        let present = context.fabric.known().await;
        let zones = zones(&desired, |id| present.contains(id));
        if published.as_ref() == Some(&zones) {
            return Ok("unchanged".into());
        }
        let listening = self.server.publish(zones.clone()).await?;
        for (address, error) in &listening.failed {
            tracing::warn!(%address, error = error.chain(), "names cannot be answered here");
        }
        *published = listening.failed.is_empty().then_some(zones);
        Ok(format!("answering on {} addresses", listening.addresses.len()))
    }
}

/// Tells the server everything again whenever it has forgotten it: its process ended.
pub async fn keep_names(context: Arc<Context>) {
    loop {
        context.names.server.forgotten().await;
        tracing::warn!("the name server ended; it is started anew");
        *context.names.published.lock().await = None;
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
fn zones(desired: &Desired, present: impl Fn(&model::Uid) -> bool) -> Zones {
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
    Zones { networks: networks.collect(), members: members(desired) }
}

fn members(desired: &Desired) -> Vec<Member> {
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
        }
    }
    members.into_values().collect()
}
