//! Which subnet a network gets.

use ipnet::{Ipv4Net, Ipv6Net};
use model::network::Network;
use model::{Error, Result};
use planner::subnets;

use crate::batch::Batch;
use crate::core::Core;
use crate::keys;
use crate::mirror::State;

/// Checks the subnets that were asked for and chooses those that were not. Two networks that are
/// made at the same time are kept apart by a guard.
pub(crate) fn assign(
    state: &State,
    core: &Core,
    network: &mut Network,
    batch: &mut Batch,
) -> Result<()> {
    batch.guard(state, keys::SUBNETS);
    let taken = taken(state, network);
    let name = network.meta.name.clone();
    network.spec.ipv4 = Some(match network.spec.ipv4 {
        Some(wanted) => subnets::check4(wanted, &taken).map_err(|error| error.at("spec.ipv4"))?,
        None => subnets::choose4(core.pool, &taken).ok_or_else(|| exhausted(&name, core.pool))?,
    });
    if network.spec.ipv6.is_some() || network.spec.enable_ipv6 {
        network.spec.enable_ipv6 = true;
        network.spec.ipv6 = Some(match network.spec.ipv6 {
            Some(wanted) => {
                subnets::check6(wanted, &taken).map_err(|error| error.at("spec.ipv6"))?
            }
            None => subnets::choose6(cluster(state), &taken).ok_or_else(|| exhausted6(&name))?,
        });
    }
    Ok(())
}

fn exhausted(name: &str, pool: Ipv4Net) -> Error {
    Error::exhausted(format!("network {name:?} gets no subnet: every /24 of {pool} is in use"))
        .at("spec.ipv4")
        .next("give it a subnet, or remove networks that are not needed")
}

fn exhausted6(name: &str) -> Error {
    Error::exhausted(format!("network {name:?} gets no IPv6 subnet: all are in use"))
        .at("spec.ipv6")
        .next("give it a subnet, or remove networks that are not needed")
}

fn cluster(state: &State) -> [u8; 5] {
    let id = state.cluster.as_ref().map_or("", |id| id.as_str());
    let mut bytes = [0; 5];
    for (byte, digits) in bytes.iter_mut().zip(id.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    bytes
}

/// The subnets that a network must not overlap, with who has them.
fn taken(state: &State, network: &Network) -> Vec<subnets::Taken> {
    let others = state.networks.iter().filter(|other| other.meta.id != network.meta.id);
    let mut taken = Vec::new();
    for other in others {
        let holder = format!("network {:?} of project {:?}", other.meta.name, other.meta.project);
        taken.extend(other.spec.ipv4.map(|net| subnets::Taken::new(net, &holder)));
        taken.extend(other.spec.ipv6.map(|net| subnets::Taken::new(net, &holder)));
    }
    for node in state.nodes.iter() {
        let holder = format!("node {:?} itself", node.meta.name);
        for text in &node.status.host_subnets {
            taken.extend(text.parse::<Ipv4Net>().map(|net| subnets::Taken::new(net, &holder)).ok());
            taken.extend(text.parse::<Ipv6Net>().map(|net| subnets::Taken::new(net, &holder)).ok());
        }
    }
    taken
}
