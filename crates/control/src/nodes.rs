//! Nodes: machines of the cluster.

use link::machine::{DiskUsage, Finding};
use model::node::{Node, NodeNoun};
use model::{Error, Kind, Result};

use crate::batch::Batch;
use crate::caller::{Caller, Verb, Via, authorise};
use crate::service::{Context, Rules, Service};

/// The verbs of nodes.
pub type Nodes = Service<NodeNoun>;

impl Rules for NodeNoun {
    fn admit(context: &Context<'_>, node: &mut Node, _: &mut Batch) -> Result<()> {
        match context.caller.via {
            Via::Platform => Ok(()),
            Via::Token | Via::Password | Via::Socket => Err(Error::unsupported(format!(
                "{} cannot be made: machines come by themselves",
                node.title()
            ))
            .next("start hull on the machine")),
        }
    }

    fn change(_: &Context<'_>, old: &Node, new: &mut Node, _: &mut Batch) -> Result<()> {
        if old.meta.name == new.meta.name {
            return Ok(());
        }
        Err(Error::conflict(format!("{} has its name from its machine", old.title()))
            .at("meta.name")
            .next("set the name in the machine's hull.toml"))
    }

    fn delete(context: &Context<'_>, node: &mut Node, _: &mut Batch) -> Result<()> {
        let name = &node.meta.name;
        if *name == context.core.node {
            return Err(Error::conflict(format!("{} is the one control runs on", node.title())));
        }
        let placed = context.state.instances.iter().find(|instance| {
            instance.spec.placement.as_ref().is_some_and(|placed| placed.node == *name)
        });
        match placed {
            None => Ok(()),
            Some(instance) => {
                Err(Error::conflict(format!("{} still has {}", node.title(), instance.title()))
                    .next(format!("`hull node cordon {name}`, then move or remove what is on it")))
            }
        }
    }
}

impl Nodes {
    /// Whether the machine is fit.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the node is not connected.
    pub async fn check(&self, caller: &Caller, name: &str) -> Result<Vec<Finding>> {
        authorise(caller, Verb::Get, Kind::Node, "")?;
        let node = self.get(caller, "", name)?;
        self.core.node_port(&node.meta.name)?.check().await
    }

    /// What takes up its disk.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the node is not connected.
    pub async fn disk_usage(&self, caller: &Caller, name: &str) -> Result<DiskUsage> {
        authorise(caller, Verb::Get, Kind::Node, "")?;
        let node = self.get(caller, "", name)?;
        self.core.node_port(&node.meta.name)?.disk_usage().await
    }
}
