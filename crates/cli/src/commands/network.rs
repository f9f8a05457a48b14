//! `hull network`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::Objects;
use client::wire::{Draft, DraftMeta, ListQuery};
use model::instance::{Attachment, InstanceSpec, NetworkMode};
use model::network::{DEFAULT_NETWORK, Network as Known, NetworkNoun, NetworkSpec};
use model::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::commands::{each, update};
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::parse::env;
use crate::{complete, out, plan};

const EXAMPLES: &str = "Examples:
  hull network create back
  hull run -d --name db --network back -e POSTGRES_PASSWORD=x postgres
  hull run -d --network default --network back:alias=api,ip=10.128.1.9 nginx
  hull network create --internal --subnet 10.9.0.0/24 closed
  hull network connect --alias cache back web
  hull network ls -o json";

/// Networks.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Network {
    /// Make a network
    Create(Create),
    /// List networks
    Ls(Ls),
    /// Show networks
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// Join an instance to one more network, while it runs
    Connect(Connect),
    /// Part an instance from a network, while it runs
    Disconnect(Disconnect),
    /// Remove networks
    Rm(Rm),
    /// Remove networks that no instance is joined to
    Prune(Prune),
}

/// Makes a network.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull network create back\n  hull network create --internal --subnet 10.9.0.0/24 db\n  hull network create --ipv6 --subnet fd00:9::/64 six"
)]
pub struct Create {
    /// Subnet, IPv4 or IPv6; one that is free is chosen when none is given
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<String>,
    /// The host's address in it; the first one when none is given
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<std::net::IpAddr>,
    /// Part of the IPv4 subnet that addresses are given from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Option<String>,
    /// Give it IPv6 too
    #[arg(long)]
    ipv6: bool,
    /// No way in or out but between its members
    #[arg(long)]
    internal: bool,
    /// Largest packet in bytes; the uplink's when not given
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// Its name
    name: String,
}

/// Lists networks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull network ls\n  hull network ls -l app=shop -o name")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows networks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull network show default")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The networks
    #[arg(required = true, add = ArgValueCompleter::new(complete::networks))]
    names: Vec<String>,
}

/// Joins an instance to one more network.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull network connect back web\n  hull network connect --ip 10.128.1.9 --alias api back web"
)]
pub struct Connect {
    /// A further name it answers to there
    #[arg(long, visible_alias = "network-alias", value_name = "NAME")]
    alias: Vec<String>,
    /// A fixed address there
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// A fixed address there
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// A fixed hardware address there
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The network
    #[arg(add = ArgValueCompleter::new(complete::networks))]
    network: String,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    instance: String,
}

/// Parts an instance from a network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull network disconnect back web")]
pub struct Disconnect {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The network
    #[arg(add = ArgValueCompleter::new(complete::networks))]
    network: String,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    instance: String,
}

/// Removes networks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull network rm back")]
pub struct Rm {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The networks
    #[arg(required = true, add = ArgValueCompleter::new(complete::networks))]
    names: Vec<String>,
}

/// Removes networks that no instance is joined to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull network prune --plan\n  hull network prune")]
pub struct Prune {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
}

impl Network {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let networks = context.client.networks(&context.project);
        match self {
            Network::Create(args) => args.run(&networks).await?,
            Network::Ls(args) => args.listing.show(&networks, &VIEW).await?,
            Network::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&networks.get(name).await?, args.output.output)
                })
                .await;
            }
            Network::Connect(args) => {
                let attachment = Attachment {
                    network: by_name(&networks, &args.network).await?,
                    aliases: args.alias.clone(),
                    ipv4: args.ip,
                    ipv6: args.ip6,
                    mac: args.mac_address.clone(),
                };
                let join = |mode: &mut NetworkMode| mode.connect(attachment.clone());
                change(context, &args.instance, args.plan, join).await?;
            }
            Network::Disconnect(args) => {
                let name = by_name(&networks, &args.network).await?;
                let part = |mode: &mut NetworkMode| mode.disconnect(&name);
                change(context, &args.instance, args.plan, part).await?;
            }
            Network::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&networks, name, args.plan, true).await
                })
                .await;
            }
            Network::Prune(args) => return prune(context, &networks, args.plan).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A network's name, which may have been given by its id, or as Docker calls the default one. One that
/// is not there may be made by being joined.
async fn by_name(networks: &Objects<NetworkNoun>, given: &str) -> Result<String> {
    let given = if given == "bridge" { DEFAULT_NETWORK } else { given };
    match networks.get(given).await {
        Ok(network) => Ok(network.meta.name.clone()),
        Err(error) if error.kind() == ErrorKind::NotFound && given == DEFAULT_NETWORK => {
            Ok(given.to_owned())
        }
        Err(error) => Err(error),
    }
}

/// Changes how an instance is joined to networks, and waits until its node has done it.
async fn change(
    context: &Context,
    name: &str,
    plan: bool,
    change: impl Fn(&mut NetworkMode) -> Result<()>,
) -> Result<()> {
    let patch = |spec: &InstanceSpec| {
        let mut mode = spec.network.clone();
        change(&mut mode).map_err(|error| error.about(format!("instance {name:?}")))?;
        let mut network = update::encoded(&mode)?;
        if let Some(network) = network.as_object_mut() {
            // A mode that has none takes away those that were there (RFC 7396).
            network.entry("attachments").or_insert(Value::Null);
        }
        Ok(json!({"spec": {"network": network}}))
    };
    update::patched(context, name, plan, patch).await
}

const VIEW: View<NetworkNoun> =
    View { titles: &["NAME", "ID", "SUBNETS", "REACHES", "STATE", "AGE"], right: &[], row };

fn row(network: &Known) -> Vec<String> {
    let spec = &network.spec;
    let ipv4 = spec.ipv4.map(|subnet| subnet.to_string());
    let ipv6 = spec.ipv6.map(|subnet| subnet.to_string());
    let subnets: Vec<String> = ipv4.into_iter().chain(ipv6).collect();
    let state = match &network.status.reason {
        Some(reason) => out::short(&reason.message, 60),
        None if network.meta.deleted.is_some() => "removing".into(),
        None if network.status.bridge.is_empty() => "unused".into(),
        None => "in use".into(),
    };
    vec![
        network.meta.name.clone(),
        network.meta.id.short().to_owned(),
        subnets.join(" "),
        if spec.internal { "members" } else { "outside" }.to_owned(),
        state,
        out::age(network.meta.created),
    ]
}

impl Create {
    async fn run(&self, networks: &Objects<NetworkNoun>) -> Result<()> {
        let meta = DraftMeta {
            name: self.name.clone(),
            labels: env::labels(&[], &self.label)?,
            ..DraftMeta::default()
        };
        let draft = Draft { meta, spec: self.spec()? };
        let network = networks.create(&draft, self.plan).await?;
        if self.plan {
            return plan::creation(&network);
        }
        out::line(&network.meta.name);
        Ok(())
    }

    fn spec(&self) -> Result<NetworkSpec> {
        let mut spec = NetworkSpec {
            enable_ipv6: self.ipv6,
            internal: self.internal,
            mtu: self.mtu,
            ..NetworkSpec::default()
        };
        let refuse = |text: &str, flag: &str| {
            let error = Error::invalid(format!("{text:?} is not a subnet"));
            error.at(flag).next("write it like 10.9.0.0/24 or fd00:9::/64")
        };
        for text in &self.subnet {
            if text.contains(':') {
                spec.ipv6 = Some(text.parse().map_err(|_| refuse(text, "--subnet"))?);
                spec.enable_ipv6 = true;
            } else {
                spec.ipv4 = Some(text.parse().map_err(|_| refuse(text, "--subnet"))?);
            }
        }
        for address in &self.gateway {
            match address {
                std::net::IpAddr::V4(address) => spec.gateway4 = Some::<Ipv4Addr>(*address),
                std::net::IpAddr::V6(address) => spec.gateway6 = Some::<Ipv6Addr>(*address),
            }
        }
        if let Some(text) = &self.ip_range {
            spec.range4 = Some(text.parse().map_err(|_| refuse(text, "--ip-range"))?);
        }
        Ok(spec)
    }
}

/// Removes the networks that no instance is joined to. One that is joined meanwhile stays: the API
/// refuses its removal.
async fn prune(context: &Context, networks: &Objects<NetworkNoun>, plan: bool) -> Result<ExitCode> {
    let instances = context.instances().list_all(&ListQuery::default()).await?;
    let joined = |name: &str| {
        instances.iter().any(|instance| match &instance.spec.network {
            NetworkMode::Networks { attachments } => {
                attachments.iter().any(|attachment| attachment.network == name)
            }
            NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => false,
        })
    };
    let all = networks.list_all(&ListQuery::default()).await?;
    let unused = all.into_iter().map(|network| network.meta.name);
    let unused: Vec<String> =
        unused.filter(|name| name != DEFAULT_NETWORK && !joined(name)).collect();
    if plan {
        unused.iter().for_each(|name| out::line(format!("would remove {name}")));
        return Ok(ExitCode::SUCCESS);
    }
    each(&unused, async |name| objects::remove(networks, name, false, false).await).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_of_both_families_are_told_apart() {
        let create = Create {
            subnet: vec!["10.9.0.0/24".into(), "fd00:9::/64".into()],
            gateway: vec!["10.9.0.254".parse().unwrap()],
            ip_range: Some("10.9.0.128/25".into()),
            ipv6: false,
            internal: true,
            mtu: None,
            label: Vec::new(),
            plan: false,
            name: "back".into(),
        };
        let spec = create.spec().unwrap();
        assert_eq!(spec.ipv4.unwrap().to_string(), "10.9.0.0/24");
        assert_eq!(spec.ipv6.unwrap().to_string(), "fd00:9::/64");
        assert!(spec.enable_ipv6 && spec.internal);
        assert_eq!(spec.gateway4.unwrap().to_string(), "10.9.0.254");
        let bad = Create { subnet: vec!["10.9".into()], ..create };
        assert_eq!(bad.spec().unwrap_err().field(), Some("--subnet"));
    }
}
