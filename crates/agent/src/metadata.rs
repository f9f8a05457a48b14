//! The metadata service: an instance asks `http://169.254.169.254/` what it is, as in a cloud.
//!
//! The firewall leads what members of a network send there to its gateway, where a listener for each
//! network answers. Who asks is told by the link that the address was heard on, which an instance
//! cannot choose, and it is told of itself alone.
//!
//! | module | holds |
//! |---|---|
//! | [`documents`] | what there is to read, as EC2 and OpenStack have it |
//! | [`rancher`] | what Rancher's service told of apps, for instances of apps that were made for it |
//! | [`token`] | EC2's session tokens (IMDSv2) |
//! | [`server`] | connections and requests, all bounded |

mod documents;
mod rancher;
mod server;
mod token;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use model::{Result, Uid};
use network::NetworkLinks;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use self::documents::About;
use self::token::Tokens;
use crate::context::Context;

/// The service of a node.
pub struct Metadata {
    port: Option<u16>,
    tokens: Tokens,
    listeners: Mutex<BTreeMap<Uid, Listener>>,
}

/// A gateway that is answered on, until dropped.
struct Listener {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Metadata {
    /// The service, on this port of every gateway; nowhere without a port.
    pub fn new(port: Option<u16>) -> Self {
        Self { port, tokens: Tokens::new(), listeners: Mutex::default() }
    }

    /// Listens on the networks that are present, and no longer on others. A gateway that can't be
    /// listened on is passed over: those who ask there are refused at once.
    pub async fn refresh(&self, context: &Arc<Context>) {
        let Some(port) = self.port else { return };
        let mut listeners = self.listeners.lock().await;
        let present = context.fabric.present().await;
        let wanted: BTreeMap<&Uid, SocketAddr> = (present.iter())
            .filter_map(|network| Some((&network.id, SocketAddr::from((gateway(network)?, port)))))
            .collect();
        listeners.retain(|network, listener| wanted.get(network) == Some(&listener.address));
        for (network, address) in wanted {
            if listeners.contains_key(network) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(socket) => {
                    let serving = server::serve(socket, network.clone(), Arc::downgrade(context));
                    let task = tokio::spawn(serving).abort_handle();
                    listeners.insert(network.clone(), Listener { address, task });
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "instances cannot ask for metadata here");
                }
            }
        }
    }
}

/// Where members of a network find the service.
fn gateway(network: &NetworkLinks) -> Option<Ipv4Addr> {
    network.gateway4()
}

/// Who asks from an address of a network; nobody if its link belongs to another.
async fn asker(context: &Weak<Context>, network: &Uid, from: Ipv4Addr) -> Result<Option<About>> {
    let Some(context) = context.upgrade() else { return Ok(None) };
    let Some(instance) = context.fabric.driver().neighbour(network, from).await? else {
        return Ok(None);
    };
    let Some(handle) = context.roster.get(&instance) else { return Ok(None) };
    let wanted = handle.wanted.borrow().clone();
    let known = handle.known.borrow().clone();
    let has = About::new(&wanted, &known.status, &context.node);
    Ok(has.filter(|about| about.has(network, from)))
}
