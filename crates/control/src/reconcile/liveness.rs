//! Says which nodes answer: one whose agent has not been connected for a while is not ready.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::node::Node;
use model::{Result, Uid};
use tasks::Pass;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::core::{Core, Mode};
use crate::mirror::State;

/// The loop.
pub(crate) struct Liveness {
    core: Arc<Core>,
    grace: Duration,
    /// Since when nodes have not been connected.
    silent: HashMap<Uid, Instant>,
}

impl Liveness {
    pub(crate) fn new(core: Arc<Core>, grace: Duration) -> Self {
        Self { core, grace, silent: HashMap::new() }
    }

    fn connected(&self) -> Vec<String> {
        let nodes = self.core.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.keys().cloned().collect()
    }
}

impl Pass for Liveness {
    const NAME: &'static str = "liveness";

    async fn pass(&mut self) -> Result<String> {
        let (connected, now) = (self.connected(), Instant::now());
        let silent: Vec<_> = self.core.read(|state| {
            let silent = state.nodes.iter().filter(|node| !connected.contains(&node.meta.name));
            silent.filter(|node| node.status.ready).map(|node| node.meta.id.clone()).collect()
        });
        self.silent.retain(|id, _| silent.contains(id));
        for id in silent {
            self.silent.entry(id).or_insert(now);
        }
        let grace = self.grace;
        let lost = self.silent.iter().filter(|(_, since)| now.duration_since(**since) >= grace);
        let lost: Vec<_> = lost.map(|(id, _)| id.clone()).collect();
        let plan = |state: &State, batch: &mut Batch| {
            let mut names = Vec::new();
            for node in lost.iter().filter_map(|id| state.nodes.by_id(id)) {
                let mut new = Node::clone(node);
                new.status.ready = false;
                batch.replace(node, &new);
                names.push(format!("node {} does not answer", node.meta.name));
            }
            Ok(names)
        };
        let (_, names) = self.core.transact(Mode::Apply, plan).await?;
        Ok(names.join(", "))
    }
}
