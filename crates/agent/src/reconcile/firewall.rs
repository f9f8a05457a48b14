//! Rules of the host: ours are there, and what others' stop is known.

use std::sync::Arc;
use std::time::Duration;

use host::firewall::{Firewall, Obstacle};
use model::error::Context as _;
use model::{ErrorKind, Result};
use network::Disturbance;
use tasks::{Pass, Wake};

use crate::context::Context;

/// Wait before listening again, when that failed.
const DEAF: Duration = Duration::from_secs(10);

/// The pass.
pub struct HostFirewall {
    context: Arc<Context>,
    node: Wake,
}

impl HostFirewall {
    /// The pass of a node; it wakes `node`, which tells control what is in the way.
    pub fn new(context: Arc<Context>, node: Wake) -> Self {
        Self { context, node }
    }

    fn keep(&self, obstacles: Vec<Obstacle>) {
        let mut known = self.context.obstacles.write().expect("nobody panics with it");
        if *known != obstacles {
            *known = obstacles;
            self.node.wake();
        }
    }
}

impl Pass for HostFirewall {
    const NAME: &'static str = "firewall";

    async fn pass(&mut self) -> Result<String> {
        let looked = tokio::task::spawn_blocking(host::firewall::look)
            .await
            .context(ErrorKind::Internal, || "looking at the host's rules failed".into())?;
        let looked = match looked {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => without_nft(),
            other => other.context(ErrorKind::Unavailable, || {
                "the host's firewall rules cannot be listed".into()
            })?,
        };
        let own = self.context.fabric.driver().names().table();
        if !looked.tables.contains(&own) || self.context.fabric.is_behind().await {
            self.context.fabric.rewrite().await?;
        }
        let said = format!("{} rules in the way", looked.obstacles.len());
        self.keep(looked.obstacles);
        Ok(said)
    }
}

fn without_nft() -> Firewall {
    let missing = Obstacle {
        finding: "the program nft is not installed".into(),
        effect: "instances reach nothing outside their network, and no port is published".into(),
        remedy: "install the package nftables: `apt install nftables`".into(),
        forwards: true,
    };
    Firewall { tables: Vec::new(), obstacles: vec![missing] }
}

/// Writes the platform's rules again as soon as somebody has taken them away (`nft flush ruleset`, as a
/// restart of the distribution's nftables service does it), and has others' looked at when they change.
pub async fn keep_firewall(context: Arc<Context>, others: Wake) {
    loop {
        match context.fabric.driver().disturbed().await {
            Ok(Disturbance::Ours) => {
                tracing::warn!(
                    "somebody changed the platform's firewall table; it is written anew"
                );
                if let Err(error) = context.fabric.rewrite().await {
                    tracing::error!(error = error.chain(), "the firewall cannot be written");
                }
                others.wake();
            }
            Ok(Disturbance::Others) => others.wake(),
            Err(error) => {
                tracing::warn!(error = error.chain(), "changes of the firewall are not heard");
                tokio::time::sleep(DEAF).await;
            }
        }
    }
}
