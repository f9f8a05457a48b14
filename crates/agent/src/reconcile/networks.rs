//! Networks that are not wanted any more go. Those that are come with the first instance that joins them.

use std::collections::HashSet;
use std::sync::Arc;

use faults::may_die;
use link::Report;
use model::{Kind, Result, Uid};
use tasks::Pass;

use crate::build_network::BuildNetwork;
use crate::context::Context;

/// The pass.
pub struct Networks {
    context: Arc<Context>,
}

impl Networks {
    /// The pass of a node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Pass for Networks {
    const NAME: &'static str = "networks";

    async fn pass(&mut self) -> Result<String> {
        let fabric = &self.context.fabric;
        // Before what is wanted: one that comes meanwhile is wanted by a newer word than that.
        let known = fabric.known().await;
        let desired = self.context.desired.borrow().clone();
        if desired.generation == 0 {
            return Ok("nothing is wanted yet".into());
        }
        let mut removed = 0;
        for network in desired.networks.iter().filter(|network| network.meta.deleted.is_some()) {
            fabric.remove(&network.meta.id).await?;
            may_die("networks.removed");
            self.context.outbox.put(Report::Removed(Kind::Network, network.meta.id.clone()));
            removed += 1;
        }
        let wanted: HashSet<&Uid> = desired.networks.iter().map(|it| &it.meta.id).collect();
        let own = BuildNetwork::id();
        for id in known.iter().filter(|id| !wanted.contains(id) && **id != own) {
            fabric.remove(id).await?;
            removed += 1;
        }
        if removed > 0 {
            self.context.metadata.refresh(&self.context).await;
        }
        Ok(if removed == 0 { String::new() } else { format!("removed {removed} networks") })
    }
}
