//! Links, packet filter, ports.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;

use super::{Finding, Port, Protocol, Settings};
use crate::firewall::nft;
use crate::{netlink, proc, sandbox};

/// Everything the platform's own table uses: both families, NAT, maps, connection states.
const RULES: &str = "
table inet hull_check {
  map published {
    type inet_proto . inet_service : ipv4_addr . inet_service
  }
  set members {
    type ipv4_addr
    flags interval
    elements = { 10.0.0.0/8 }
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    ip saddr @members drop
  }
  chain prerouting {
    type nat hook prerouting priority -100;
    fib daddr type local dnat ip to meta l4proto . th dport map @published
    ip daddr 10.0.0.1 dnat ip to numgen inc mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.3 }
    ip daddr 10.0.0.1 dnat ip to jhash ip saddr mod 2 seed 1 map { 0 : 10.0.0.2, 1 : 10.0.0.3 }
  }
  chain postrouting {
    type nat hook postrouting priority 100;
    ip saddr @members masquerade
  }
}
";

/// Bridges.
pub fn bridge(_: &Settings) -> Finding {
    needed_link("bridge")
}

/// Pairs of virtual interfaces.
pub fn veth(_: &Settings) -> Finding {
    needed_link("veth")
}

/// Overlays between nodes.
pub fn vxlan(_: &Settings) -> Finding {
    wanted_link("vxlan", "networks cannot reach over several nodes")
}

/// Their encryption.
pub fn wireguard(_: &Settings) -> Finding {
    wanted_link("wireguard", "traffic between nodes is encrypted by IPsec instead")
}

fn needed_link(kind: &str) -> Finding {
    match link(kind) {
        Ok(()) => Finding::pass("one was made"),
        Err(error) => {
            Finding::fail(format!("none can be made: {error}"), format!("modprobe {kind}"))
        }
    }
}

fn wanted_link(kind: &str, loss: &str) -> Finding {
    match link(kind) {
        Ok(()) => Finding::pass("one was made"),
        Err(error) => Finding::warn(
            format!("none can be made ({error}); {loss}"),
            format!("modprobe {kind}, or use a kernel that has it"),
        ),
    }
}

/// Makes a link in a network namespace of its own, with which it goes.
fn link(kind: &str) -> io::Result<()> {
    sandbox::within(libc::CLONE_NEWNET, || netlink::make_link(kind, "hullcheck")).flatten()
}

/// A rule set like the platform's, loaded in a network namespace of its own.
pub fn nftables(_: &Settings) -> Finding {
    match sandbox::within(libc::CLONE_NEWNET, load).flatten() {
        Ok(()) => Finding::pass("a rule set with NAT, maps and connection states was loaded"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::fail("nft is not installed", "apt-get install nftables")
        }
        Err(error) => Finding::fail(
            format!("rules cannot be loaded: {error}"),
            "modprobe nf_tables nft_chain_nat nft_fib_inet nft_hash nft_masq nft_numgen, or use a kernel that has them",
        ),
    }
}

fn load() -> io::Result<()> {
    let mut nft = nft().arg("-f").arg("-").stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(RULES.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(words.lines().next().unwrap_or("nft failed").to_owned()))
}

/// A firewall of the host's that drops what instances send.
pub fn firewall(_: &Settings) -> Finding {
    let looked = match crate::firewall::look() {
        Ok(looked) => looked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::pass("nft is not installed, so no rules were looked at");
        }
        Err(error) => {
            return Finding::warn(format!("the rules cannot be listed: {error}"), "run it as root");
        }
    };
    let Some(first) = looked.obstacles.first() else {
        return Finding::pass("no chain of the host's stops instances");
    };
    let findings: Vec<_> = looked
        .obstacles
        .iter()
        .map(|obstacle| format!("{}: {}", obstacle.finding, obstacle.effect))
        .collect();
    let remedies: Vec<_> =
        looked.obstacles.iter().map(|obstacle| obstacle.remedy.as_str()).collect();
    let remedy = if remedies.len() == 1 { first.remedy.clone() } else { remedies.join("; ") };
    Finding::warn(findings.join("; "), remedy)
}

/// Packets from one interface to another.
pub fn forwarding(_: &Settings) -> Finding {
    const FILE: &str = "/proc/sys/net/ipv4/ip_forward";
    if proc::number(FILE) == Some(1_u8) {
        return Finding::pass("on");
    }
    let file = std::fs::File::options().write(true).open(FILE);
    match file {
        Ok(_) => Finding::pass("off; the platform turns it on when it starts"),
        Err(error) => Finding::fail(
            format!("off, and cannot be turned on: {error}"),
            "sysctl net.ipv4.ip_forward=1 on the host",
        ),
    }
}

/// Ports that will be listened on.
pub fn ports(settings: &Settings) -> Finding {
    let taken: Vec<String> = settings.ports.iter().filter_map(taken).collect();
    if taken.is_empty() {
        let numbers: Vec<String> =
            settings.ports.iter().map(|port| port.number.to_string()).collect();
        return match numbers.is_empty() {
            true => Finding::pass("the platform, which runs, has what it needs"),
            false => Finding::pass(format!("{} free", numbers.join(", "))),
        };
    }
    Finding::fail(
        taken.join("; "),
        "stop what listens there (ss -lnp tells), or choose another port in the configuration; \
         if it is hull itself, all is well",
    )
}

/// Why a port cannot be listened on.
fn taken(port: &Port) -> Option<String> {
    let addresses = match port.address {
        Some(address) => vec![address],
        None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
    };
    let errors = addresses.into_iter().filter_map(|address| {
        let at = SocketAddr::new(address, port.number);
        let error = match port.protocol {
            Protocol::Tcp => TcpListener::bind(at).err(),
            Protocol::Udp => UdpSocket::bind(at).err(),
        };
        // A machine without IPv6 has nothing taken there.
        error.filter(|error| error.raw_os_error() != Some(libc::EAFNOSUPPORT))
    });
    let first = errors.into_iter().next()?;
    Some(format!("port {} ({}): {first}", port.number, port.purpose))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_firewall_that_drops_is_told_with_its_remedy() {
        if rustix::process::geteuid().is_root() {
            let rules = "table ip filter { chain FORWARD { type filter hook forward priority 0; \
                         policy drop; } }";
            let told = sandbox::within(libc::CLONE_NEWNET, || {
                let loaded = nft().arg(rules).status().is_ok_and(|status| status.success());
                loaded.then(|| firewall(&Settings::default()))
            });
            let Ok(Some(told)) = told else { return };
            assert_eq!(told.outcome, Outcome::Warn);
            assert!(told.text.contains("chain FORWARD"), "{told:?}");
            assert!(told.remedy.unwrap_or_default().contains("iptables -I FORWARD"));
        }
    }

    #[test]
    fn a_taken_port_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let port = Port {
            number: at.port(),
            protocol: Protocol::Tcp,
            address: Some(at.ip()),
            purpose: "test".to_owned(),
        };
        let settings = Settings { ports: vec![port], ..Settings::default() };
        let told = ports(&settings);
        assert_eq!(told.outcome, Outcome::Fail);
        assert!(told.text.contains(&at.port().to_string()) && told.text.contains("test"));
        drop(listener);
        assert_eq!(ports(&settings).outcome, Outcome::Pass);
    }

    #[test]
    fn rules_like_the_platforms_load() {
        if rustix::process::geteuid().is_root() {
            let told = nftables(&Settings::default());
            assert!(
                told.outcome == Outcome::Pass || told.text.contains("not installed"),
                "{told:?}"
            );
            let none = nft().args(["list", "table", "inet", "hull_check"]).output();
            assert!(none.is_err() || !none.unwrap().status.success(), "it was loaded elsewhere");
        }
    }

    #[test]
    fn a_kind_of_link_nobody_has() {
        if rustix::process::geteuid().is_root() {
            assert_eq!(needed_link("nosuchkind").outcome, Outcome::Fail);
            assert_eq!(needed_link("bridge").outcome, Outcome::Pass);
        }
    }
}
