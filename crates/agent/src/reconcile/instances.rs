//! Each instance that the node should have has a task; each task knows what is wanted.

use std::collections::HashSet;
use std::sync::Arc;

use link::Desired;
use model::instance::Instance;
use model::{Result, Time};
use network::NetworkLinks;
use tasks::{Pass, Wake};
use tokio::sync::watch;

use crate::context::Context;
use crate::local::Local;
use crate::steps::ports;
use crate::worker::Worker;

/// The pass.
pub struct Instances {
    context: Arc<Context>,
    node: Wake,
    /// Networks of what was taken over that are not written yet; absent until it was looked for.
    adopted: Option<Vec<NetworkLinks>>,
}

impl Instances {
    /// The pass of a node; it wakes `node`, which tells control what could not be published.
    pub fn new(context: Arc<Context>, node: Wake) -> Self {
        Self { context, node, adopted: None }
    }

    /// Takes over ports and networks of what runs already, before any task can change the firewall:
    /// its first value must know all of them.
    async fn adopt(&self, desired: &Desired) -> Vec<NetworkLinks> {
        if let Ok(uplink) = self.context.fabric.driver().uplink().await {
            self.context.fabric.set_mtu(uplink.mtu);
        }
        let (driver, mut used) = (self.context.fabric.driver(), HashSet::new());
        // Also those that nobody uses now: what is closed off stays closed off.
        let bridges = driver.observe().await.map(|seen| seen.bridges).unwrap_or_default();
        let present = desired.networks.iter().filter(|network| {
            network.meta.deleted.is_none()
                && bridges.contains(&driver.names().bridge(&network.meta.id))
        });
        used.extend(present.map(|network| network.meta.id.clone()));
        for instance in &desired.instances {
            let known = Local::load(&self.context.places.instance(&instance.meta.id));
            if known.is_some_and(|known| known.status.phase.is_live()) {
                self.context.fabric.adopt(&instance.meta.id, ports(desired, instance)).await;
                let placement = instance.spec.placement.iter();
                let interfaces = placement.flat_map(|placement| &placement.interfaces);
                used.extend(interfaces.map(|interface| interface.network_id.clone()));
            }
        }
        super::services::adopt(&self.context, desired).await;
        let networks = desired.networks.iter().filter(|network| used.contains(&network.meta.id));
        networks.map(|network| self.context.fabric.links(network)).collect()
    }

    /// Writes the networks of what was taken over anew.
    async fn write(&self, adopted: &[NetworkLinks]) -> Result<()> {
        if !adopted.is_empty() {
            self.context.fabric.ensure(adopted).await?;
            self.context.fabric.rewrite().await?;
        }
        if self.context.names.wait_for_networks() {
            self.context.names.refresh(&self.context).await?;
            self.context.metadata.refresh(&self.context).await;
        }
        Ok(())
    }
}

impl Pass for Instances {
    const NAME: &'static str = "instances";

    async fn pass(&mut self) -> Result<String> {
        let desired = self.context.desired.borrow().clone();
        if desired.generation == 0 {
            return Ok("nothing is wanted yet".into());
        }
        let adopted = match self.adopted.take() {
            Some(adopted) => adopted,
            None => self.adopt(&desired).await,
        };
        let written = self.write(&adopted).await;
        self.adopted = Some(if written.is_ok() { Vec::new() } else { adopted });
        // What is to end takes no new connections first.
        let written = match written {
            Ok(()) => super::services::balance(&self.context, &desired).await,
            Err(error) => Err(error),
        };
        if matches!(written, Ok(true)) {
            self.node.wake();
        }
        for instance in &desired.instances {
            match self.context.roster.get(&instance.meta.id) {
                Some(handle) => tell(&handle.wanted, instance),
                None => {
                    let handle = Worker::start(self.context.clone(), instance.clone());
                    self.context.roster.insert(instance.meta.id.clone(), handle);
                }
            }
        }
        let gone = self.take_down_unwanted(&desired);
        // What runs is looked after also while no firewall can be written; this pass comes again.
        written?;
        Ok(format!("{} wanted, {gone} not wanted any more", desired.instances.len()))
    }
}

impl Instances {
    /// What is not in the set is taken down. Tasks that ended are forgotten only then: an object
    /// that is still in the set, removed here and not yet in the store, must not come back.
    fn take_down_unwanted(&self, desired: &Desired) -> usize {
        let wanted: HashSet<_> = desired.instances.iter().map(|i| &i.meta.id).collect();
        let unwanted: Vec<_> = self
            .context
            .roster
            .all()
            .into_iter()
            .filter(|(uid, _)| !wanted.contains(uid))
            .collect();
        for (_, handle) in &unwanted {
            handle.wanted.send_if_modified(|instance| {
                let first = instance.meta.deleted.is_none() || instance.meta.revision != 0;
                if first {
                    let mut copy = Instance::clone(instance);
                    copy.meta.deleted = Some(Time::now());
                    copy.meta.revision = 0;
                    *instance = Arc::new(copy);
                }
                first
            });
        }
        self.context.roster.forget(|uid| !wanted.contains(uid));
        unwanted.len()
    }
}

/// Tells a task what is wanted, if that is news: its own reports come back as a status.
fn tell(sender: &watch::Sender<Arc<Instance>>, instance: &Arc<Instance>) {
    sender.send_if_modified(|present| {
        let same = present.spec == instance.spec
            && present.meta.deleted == instance.meta.deleted
            && present.meta.name == instance.meta.name
            && present.meta.labels == instance.meta.labels
            && present.meta.generation == instance.meta.generation;
        if !same {
            *present = instance.clone();
        }
        !same
    });
}
