//! Tells control what the node is.

use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use link::Report;
use model::node::NodeStatus;
use model::{Result, Time};
use network::Uplink;
use tasks::Pass;

use crate::context::Context;

/// The pass.
pub struct NodeFacts {
    context: Arc<Context>,
    version: String,
    engine: String,
}

impl NodeFacts {
    /// The pass of a node that runs this version of the platform and this engine.
    pub fn new(context: Arc<Context>, version: String, engine: String) -> Self {
        Self { context, version, engine }
    }
}

impl Pass for NodeFacts {
    const NAME: &'static str = "node";

    async fn pass(&mut self) -> Result<String> {
        let state: &Path = self.context.places.state();
        let facts = host::facts::facts(state)?;
        let uplink = self.context.fabric.driver().uplink().await?;
        self.context.fabric.set_mtu(uplink.mtu);
        let obstacles = self.context.obstacles();
        let mut warnings: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
        warnings.extend(self.context.fabric.overlaps(&uplink).await);
        let unpublished = self.context.fabric.unpublished().await;
        warnings.extend(unpublished.iter().map(|it| {
            let next = it.reason.next.as_ref().map_or(String::new(), |next| format!(": {next}"));
            format!("of a service, {}{next}", it.reason.message)
        }));
        if !facts.has_capability("CAP_SYS_RESOURCE") {
            warnings.push(
                "the platform lacks CAP_SYS_RESOURCE: limits above its own cannot be given".into(),
            );
        }
        let status = NodeStatus {
            ready: true,
            seen: Some(Time::now()),
            cpus: facts.cpus,
            memory: facts.memory,
            kernel: facts.kernel,
            os: facts.os,
            architecture: facts.architecture,
            cgroups: facts.cgroups.as_str().to_owned(),
            version: self.version.clone(),
            engine: self.engine.clone(),
            boot_id: facts.boot_id,
            addresses: uplink.addresses.iter().map(ToString::to_string).collect(),
            host_subnets: taken(&uplink).iter().map(ToString::to_string).collect(),
            warnings,
            unpublished,
        };
        self.context.outbox.put(Report::Node(Box::new(status)));
        Ok(String::new())
    }
}

/// What networks must not be given: subnets that the host reaches, and the name servers it asks, which
/// may be reached by the default route alone.
fn taken(uplink: &Uplink) -> Vec<IpNet> {
    let conf = dns::read_resolv_conf(Path::new("/etc/resolv.conf")).unwrap_or_default();
    let servers = conf.servers.iter().map(|server| server.ip()).filter(|ip| !ip.is_loopback());
    uplink.subnets.iter().copied().chain(servers.map(IpNet::from)).collect()
}
