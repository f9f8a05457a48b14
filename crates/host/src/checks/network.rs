//! Links, packet filter, ports.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use super::{Finding, Port, Protocol, Settings};
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
            "modprobe nf_tables nft_chain_nat nft_fib_inet nft_masq, or use a kernel that has them",
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

fn nft() -> Command {
    let program = crate::programs::PROGRAMS.iter().find(|program| program.name == "nft");
    let path = program.and_then(|program| program.path()).unwrap_or_else(|| "nft".into());
    let mut command = Command::new(path);
    command.env("LC_ALL", "C").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A firewall of the host's that drops what containers send.
pub fn firewall(_: &Settings) -> Finding {
    let Ok(output) = nft().args(["--json", "list", "chains"]).stdin(Stdio::null()).output() else {
        return Finding::pass("nft is not installed, so no rules were looked at");
    };
    let dropping = dropping_chains(&output.stdout);
    if dropping.is_empty() {
        return Finding::pass("no chain of the host's drops by default");
    }
    Finding::warn(
        format!("these chains drop by default: {}", dropping.join(", ")),
        "let traffic of the platform's bridges pass there (forward), and port 7443 (input)",
    )
}

/// Base chains on the ways in and through that drop by default, in tables not ours.
fn dropping_chains(json: &[u8]) -> Vec<String> {
    let parsed: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let entries = parsed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chains = entries.iter().map(|entry| &entry["chain"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    chains
        .filter(|chain| chain["policy"] == "drop")
        .filter(|chain| chain["hook"] == "forward" || chain["hook"] == "input")
        .filter(|chain| !text(&chain["table"]).starts_with("hull"))
        .map(|chain| {
            let [family, table, name] = ["family", "table", "name"].map(|key| text(&chain[key]));
            format!("{family} {table} {name}")
        })
        .collect()
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
            true => Finding::pass("none is needed"),
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
    fn chains_that_drop() {
        let json = br#"{"nftables":[{"metainfo":{"version":"1.0.6"}},
            {"chain":{"family":"inet","table":"filter","name":"FWD","hook":"forward","policy":"drop"}},
            {"chain":{"family":"ip","table":"nat","name":"out","hook":"output","policy":"drop"}},
            {"chain":{"family":"inet","table":"hull_ab","name":"fwd","hook":"forward","policy":"drop"}},
            {"chain":{"family":"ip","table":"filter","name":"INPUT","hook":"input","policy":"accept"}}]}"#;
        assert_eq!(dropping_chains(json), ["inet filter FWD"]);
        assert!(dropping_chains(b"not json").is_empty());
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
