//! Where steps of builds run that are to reach the world: on a bridge of the node's own, behind the same
//! firewall as every network, and not among what listens on the host's loopback.
//!
//! It is no network of the platform: nobody else joins it, and control knows nothing of it. It comes with
//! the first build that needs it.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use dns::NetworkNames;
use ipnet::{IpNet, Ipv4Net};
use model::error::Context as _;
use model::network::NetworkSpec;
use model::{Error, ErrorKind, Result, Uid};
use network::{InstanceLinks, InterfaceLink};
use sha2::{Digest, Sha256};

use crate::context::Context;

/// Its addresses: link-local ones (RFC 3927), which nobody routes, and none that clouds answer at.
const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 101, 0), 24);

/// The network, and who is in it.
#[derive(Debug, Default)]
pub struct BuildNetwork {
    taken: Mutex<BTreeMap<Uid, Ipv4Addr>>,
}

impl BuildNetwork {
    /// Its identity, on every node.
    pub fn id() -> Uid {
        Uid::from_bytes(Sha256::digest("the network of builds").into())
    }

    /// What the name server is told of it: nobody has a name, all may ask for those of the outside.
    pub fn names() -> NetworkNames {
        let spec = spec();
        NetworkNames {
            id: Self::id(),
            name: "builds".into(),
            project: "builds".into(),
            listen: spec.host4().map(|net| net.addr().into()).into_iter().collect(),
            subnets: vec![IpNet::V4(SUBNET)],
            forward: true,
        }
    }

    /// Whether a namespace is that of a build that goes on.
    pub fn has(&self, namespace: &Uid) -> bool {
        self.lock().contains_key(namespace)
    }

    /// Takes an address that nobody has.
    fn take(&self, id: &Uid) -> Result<Ipv4Addr> {
        let mut taken = self.lock();
        let free = SUBNET.hosts().skip(1).find(|it| !taken.values().any(|other| other == it));
        let address = free.ok_or_else(|| {
            Error::exhausted("as many builds run as can be")
                .next("try again when one of them has ended")
        })?;
        taken.insert(id.clone(), address);
        Ok(address)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uid, Ipv4Addr>> {
        self.taken.lock().expect("nobody panics with it")
    }
}

fn spec() -> NetworkSpec {
    NetworkSpec { ipv4: Some(SUBNET), ..NetworkSpec::default() }
}

/// A network namespace of a build, until it is dropped.
pub struct Site {
    _held: Held,
    /// The namespace.
    pub namespace: Arc<OwnedFd>,
    /// What asks for names there: resolv.conf(5).
    pub resolv_conf: String,
    /// The host's address there.
    pub gateway: String,
}

impl Site {
    /// A namespace with a way out.
    ///
    /// # Errors
    /// `Exhausted` when there are too many.
    pub async fn open(context: &Arc<Context>) -> Result<Self> {
        let (held, address) = Held::take(context)?;
        let links = context.fabric.links_of(&BuildNetwork::id(), &spec());
        context.fabric.ensure(std::slice::from_ref(&links)).await?;
        let interface = InterfaceLink {
            network: links.id.clone(),
            bridge: links.bridge.clone(),
            name: "eth0".into(),
            mac: mac(address),
            ipv4: Ipv4Net::new(address, SUBNET.prefix_len()).ok(),
            ipv6: None,
            gateway4: links.gateway4(),
            gateway6: None,
            mtu: links.mtu,
            guest: false,
        };
        let inside =
            InstanceLinks { id: held.id.clone(), interfaces: vec![interface], guest: false };
        context.fabric.driver().attach(&inside).await?;
        context.names.refresh(context).await?;
        let file = File::open(context.fabric.driver().namespace(&held.id))
            .context(ErrorKind::Internal, || "a build's network cannot be entered".into())?;
        let gateway = spec().host4().map(|net| net.addr().to_string()).unwrap_or_default();
        let (namespace, resolv_conf) = (Arc::new(file.into()), resolv_conf());
        Ok(Self { _held: held, namespace, resolv_conf, gateway })
    }
}

/// An address and whatever is made of a namespace for it, until it is dropped: also when the build's client
/// goes away while it is made.
struct Held {
    context: Arc<Context>,
    id: Uid,
}

impl Held {
    fn take(context: &Arc<Context>) -> Result<(Self, Ipv4Addr)> {
        let id = Uid::random();
        let address = context.builds.take(&id)?;
        Ok((Self { context: context.clone(), id }, address))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (context, id) = (self.context.clone(), self.id.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { release(&context, &id).await });
        }
    }
}

/// Takes a namespace away. What fails is left for the pass over leftovers.
async fn release(context: &Context, id: &Uid) {
    if let Err(error) = context.fabric.driver().detach(id).await {
        tracing::warn!(error = error.chain(), "a build's network cannot be taken away yet");
    }
    context.builds.lock().remove(id);
}

fn resolv_conf() -> String {
    let gateways = BuildNetwork::names().listen;
    gateways.iter().map(|gateway: &IpAddr| format!("nameserver {gateway}\n")).collect()
}

/// As instances' are: `02:42` and the address.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_build_has_an_address_while_it_goes_on() {
        let network = BuildNetwork::default();
        let ids: Vec<Uid> = (0..253).map(|_| Uid::random()).collect();
        let first = network.take(&ids[0]).unwrap();
        assert_eq!(first.to_string(), "169.254.101.2", "the first is the gateway");
        assert!(ids[1..].iter().all(|id| network.take(id).is_ok()));
        assert!(network.has(&ids[9]) && !network.has(&Uid::random()));
        let more = Uid::random();
        assert_eq!(network.take(&more).unwrap_err().kind(), ErrorKind::Exhausted);
        network.lock().remove(&ids[0]);
        assert_eq!(network.take(&more).unwrap(), first);
        assert_eq!(resolv_conf(), "nameserver 169.254.101.1\n");
        assert_eq!(mac(first), "02:42:a9:fe:65:02");
    }
}
