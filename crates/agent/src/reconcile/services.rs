//! Addresses and ports of services lead to their instances.

use std::net::IpAddr;

use link::{Desired, ServiceLinks};
use model::Result;
use network::{Balanced, PublishedPort};

use crate::context::Context;
use crate::fabric::Services;

/// Brings the host to where services' addresses are to lead. Whether there is news of ports that are
/// somebody else's, of which the node is to tell.
pub async fn balance(context: &Context, desired: &Desired) -> Result<bool> {
    let news = context.fabric.balance(services(desired)).await?;
    if news {
        for it in context.fabric.unpublished().await {
            let (service, why) = (it.service.short(), it.reason.message);
            tracing::warn!(service, why, "a port is not published");
        }
    }
    Ok(news)
}

/// The same, of what is there already when the platform starts.
pub async fn adopt(context: &Context, desired: &Desired) {
    context.fabric.adopt_services(services(desired)).await;
}

fn services(desired: &Desired) -> Services {
    let balanced = |service: &ServiceLinks| Balanced {
        id: service.id.clone(),
        network: service.network_id.clone(),
        addresses: service.addresses.clone(),
        sticky: service.sticky,
        members: service.members.clone(),
    };
    Services {
        addresses: desired.services.iter().map(|service| balanced(service)).collect(),
        ports: desired.services.iter().flat_map(|service| ports(service)).collect(),
    }
}

/// Ports that lead to a service's address, which stands for its instances.
fn ports(service: &ServiceLinks) -> impl Iterator<Item = PublishedPort> {
    let four = service.addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let six = service.addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    service.ports.iter().filter_map(move |port| {
        Some(PublishedPort {
            network: service.network_id.clone(),
            protocol: port.protocol,
            address: port.address,
            host: port.host?,
            target4: four,
            target6: six,
            target: port.target,
        })
    })
}
