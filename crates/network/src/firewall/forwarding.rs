//! Forwarding: switched on where instances need it, without making a router of the host.
//!
//! IPv4 has a switch for each interface, so the global one is left alone: our bridges forward, and so
//! do the interfaces that answers and published ports come in by. IPv6 decides by the global switch
//! alone (`ip6_forward` in the kernel); the switch of an interface says only whether the host acts as
//! a router there, so those are put back to keep the host's own autoconfiguration.

use model::Result;

use super::HostNetwork;
use super::render::Guards;
use crate::kernel::route::{Link, Rtnl};
use crate::kernel::sysctl;
use crate::names::Names;

/// What has to be switched on, found out before anything is.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    /// Interfaces between which nothing may be forwarded once it is on.
    pub(super) guards: Guards,
    needs4: bool,
    needs6: bool,
    localnet: Vec<String>,
}

impl Forwarding {
    /// What `desired` needs on this host.
    pub(super) fn plan(host: &mut Rtnl, desired: &HostNetwork) -> Result<Self> {
        let outgoing = || desired.networks.iter().filter(|network| !network.internal);
        let needs4 = outgoing().any(|network| network.ipv4.is_some());
        let needs6 = outgoing().any(|network| network.ipv6.is_some());
        let others = other_interfaces(&host.links()?);
        let router4 = sysctl::read("ipv4/ip_forward").as_deref() == Some("1");
        let router6 = |name: &String| {
            let global = sysctl::read("ipv6/conf/all/forwarding").as_deref() == Some("1");
            let own = sysctl::read(&format!("ipv6/conf/{name}/forwarding"));
            global && own.as_deref() == Some("1")
        };
        let guards = Guards {
            ipv4: if needs4 && !router4 { others.clone() } else { Vec::new() },
            ipv6: others.into_iter().filter(|name| needs6 && !router6(name)).collect(),
            loopback6: sysctl::filters_bridges6(),
        };
        let with4 = outgoing().filter(|network| network.ipv4.is_some());
        let localnet = with4.map(|network| network.bridge.clone()).collect();
        Ok(Self { guards, needs4, needs6, localnet })
    }

    /// Switches it on. Our table is in place by now: the guards, and what keeps members from 127/8.
    pub(super) fn switch_on(&self) -> Result<()> {
        if self.needs4 {
            for name in &self.guards.ipv4 {
                sysctl::ensure(&format!("ipv4/conf/{name}/forwarding"), "1")?;
            }
        }
        for bridge in &self.localnet {
            // 127.0.0.1:port of the host leads to an instance: the answer comes in by the bridge for
            // an address of loopback (Documentation/networking/ip-sysctl.rst, route_localnet).
            sysctl::write_if_there(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
        }
        if self.needs6 { self.switch_on_ipv6() } else { Ok(()) }
    }

    fn switch_on_ipv6(&self) -> Result<()> {
        if sysctl::read("ipv6/conf/all/forwarding").as_deref() == Some("1") {
            return Ok(());
        }
        // Switching on drops default routes learnt from advertisements, but where accept_ra is 2.
        let learning = self.guards.ipv6.iter().filter(|name| {
            sysctl::read(&format!("ipv6/conf/{name}/accept_ra")).as_deref() == Some("1")
        });
        let learning: Vec<_> = learning.collect();
        for name in &learning {
            sysctl::write(&format!("ipv6/conf/{name}/accept_ra"), "2")?;
        }
        sysctl::write("ipv6/conf/all/forwarding", "1")?;
        for name in &self.guards.ipv6 {
            sysctl::write_if_there(&format!("ipv6/conf/{name}/forwarding"), "0")?;
        }
        for name in &learning {
            sysctl::write(&format!("ipv6/conf/{name}/accept_ra"), "1")?;
        }
        Ok(())
    }
}

/// Switches off what was switched on for IPv4, unless another node on this host needs it. The global
/// IPv6 switch stays: who else has come to rely on it cannot be known.
pub(super) fn switch_off(host: &mut Rtnl, names: &Names) -> Result<()> {
    let links = host.links()?;
    let other_node =
        links.iter().any(|link| Names::is_any_bridge(&link.name) && !names.is_bridge(&link.name));
    if other_node || sysctl::read("ipv4/ip_forward").as_deref() != Some("0") {
        return Ok(());
    }
    other_interfaces(&links)
        .iter()
        .try_for_each(|name| sysctl::write_if_there(&format!("ipv4/conf/{name}/forwarding"), "0"))
}

/// The interfaces that are neither loopback nor of any node of ours.
fn other_interfaces(links: &[Link]) -> Vec<String> {
    let ours = |name: &str| Names::is_any_bridge(name) || Names::is_any_link(name);
    let others = links.iter().filter(|link| link.name != "lo" && !ours(&link.name));
    others.map(|link| link.name.clone()).collect()
}
