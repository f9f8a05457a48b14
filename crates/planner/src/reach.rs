//! Which addresses and ports a service gets.

use std::net::IpAddr;

use model::instance::{Attachment, Interface, Port, Reason};
use model::network::Network;
use model::service::Service;

use crate::addresses;
use crate::ledger::Ledger;
use crate::ports;
use crate::refusal::{NodeRefusal, Refusal};

impl Ledger<'_> {
    /// An address of each family of a network, that nobody has, for a service.
    ///
    /// # Errors
    /// The network has none left.
    pub fn service_address(&mut self, network: &Network) -> Result<Vec<IpAddr>, Refusal> {
        let attachment = Attachment::default();
        let name = String::new();
        let wish = addresses::Wish { network, attachment: &attachment, name, before: None };
        let interface: Interface = self.assign(&wish, network)?;
        self.move_cursor(&interface);
        let v4 = interface.ipv4.map(|net| IpAddr::V4(net.addr()));
        let v6 = interface.ipv6.map(|net| IpAddr::V6(net.addr()));
        Ok(v4.into_iter().chain(v6).collect())
    }

    /// The ports of nodes that lead to a service: the same on each node. Those it has it keeps where they
    /// are free. It must not be entered, nor its instances.
    ///
    /// # Errors
    /// Who holds one of them on which node.
    pub fn service_ports(&self, service: &Service) -> Result<Vec<Port>, Reason> {
        let asked = &service.spec.template.spec.ports;
        let mut given = service.status.ports.clone();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        // What is chosen on one node may be held on another: a few rounds over all.
        for _ in 0..8 {
            let before = given.clone();
            for (name, book) in &self.nodes {
                let wish = ports::Wish {
                    ports: asked,
                    before: &given,
                    id: &service.meta.id,
                    name: &service.meta.name,
                };
                given = ports::assign(&wish, &book.ports).map_err(|cause| {
                    let refused = NodeRefusal { node: (*name).to_owned(), cause };
                    refused.of_service(&service.meta.name)
                })?;
            }
            if given == before || self.nodes.len() < 2 {
                return Ok(given);
            }
        }
        let message = format!("no port is free on all nodes for service {:?}", service.meta.name);
        Err(Reason::new("PortTaken", message))
    }
}
