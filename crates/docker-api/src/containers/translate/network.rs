//! How a container is joined to networks, and which of its ports are published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig, PortBinding};
use model::instance::{Attachment, NetworkMode, Port, Protocol};
use model::instance::{Dns, ExtraHost};
use model::network::DEFAULT_NETWORK;

use super::Asked;
use crate::failure::{Failure, Reply};

/// Whether a name means the network that every container is joined to unless told otherwise.
pub(crate) fn is_default(name: &str) -> bool {
    matches!(name, "" | "default" | "bridge")
}

pub(super) fn mode(asked: &Asked<'_>) -> Reply<NetworkMode> {
    if asked.config.network_disabled.unwrap_or_default() {
        return Ok(NetworkMode::None);
    }
    let mode = asked.host.network_mode.as_deref().unwrap_or_default();
    if let Some(name) = mode.strip_prefix("container:") {
        if name.is_empty() {
            return Err(Failure::bad("invalid network mode: container:"));
        }
        refuse_with_shared(asked)?;
        return Ok(NetworkMode::Instance { name: name.to_owned() });
    }
    match mode {
        "host" | "none" if asked.endpoints.iter().any(|(name, _)| name != mode) => {
            Err(Failure::bad(format!(
                "conflicting options: cannot attach a container with network mode {mode} to other networks"
            )))
        }
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        _ => attachments(asked, mode),
    }
}

/// Options that have no meaning in another container's network.
fn refuse_with_shared(asked: &Asked<'_>) -> Reply<()> {
    let host = asked.host;
    if asked.config.hostname.as_deref().is_some_and(|it| !it.is_empty()) {
        return Err(Failure::bad("conflicting options: hostname and the network mode"));
    }
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let wrong = [
        (some(&host.links), "links"),
        (some(&host.dns), "dns"),
        (some(&host.extra_hosts), "custom host-to-IP mapping"),
        (host.port_bindings.as_ref().is_some_and(|map| !map.is_empty()), "port publishing"),
        (host.publish_all_ports.unwrap_or_default(), "port publishing"),
    ];
    match wrong.into_iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, what)) => Err(Failure::bad(format!(
            "conflicting options: {what} and the container type network mode"
        ))),
    }
}

fn attachments(asked: &Asked<'_>, mode: &str) -> Reply<NetworkMode> {
    let plain = EndpointSettings::default();
    let named = |name: &str| {
        let found = asked
            .endpoints
            .iter()
            .find(|(it, _)| it == name || (is_default(it) && is_default(name)));
        found.map_or(&plain, |(_, settings)| settings)
    };
    let mut all = vec![attachment(mode, named(mode))?];
    if let Some(mac) = asked.mac.filter(|mac| !mac.is_empty()) {
        all[0].mac.get_or_insert_with(|| mac.to_lowercase());
    }
    for (name, settings) in asked.endpoints {
        let known = name == mode || (is_default(name) && is_default(mode));
        if !known {
            all.push(attachment(name, settings)?);
        }
    }
    // The first network carries the default route.
    let priority = |attachment: &Attachment| {
        let docker = |name: &str| {
            name == attachment.network
                || (is_default(name) && attachment.network == DEFAULT_NETWORK)
        };
        let settings = asked.endpoints.iter().find(|(name, _)| docker(name));
        settings.and_then(|(_, settings)| settings.gw_priority).unwrap_or_default()
    };
    all.sort_by_key(|attachment| std::cmp::Reverse(priority(attachment)));
    let bare = Attachment { network: DEFAULT_NETWORK.to_owned(), ..Attachment::default() };
    if all == [bare] {
        all.clear();
    }
    Ok(NetworkMode::Networks { attachments: all })
}

/// What is wished on one network.
pub(crate) fn attachment(name: &str, settings: &EndpointSettings) -> Reply<Attachment> {
    let default = is_default(name);
    if settings.driver_opts.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(Failure::unserved(format!(
            "DriverOpts of network {name} are not served by this engine"
        )));
    }
    let ipam = settings.ipam_config.as_ref();
    let address = |text: Option<&String>, what: &str| -> Reply<Option<IpAddr>> {
        match text.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(_) if default => Err(Failure::bad(
                "invalid config for network bridge: invalid endpoint settings:\n* user specified IP \
                 address is supported on user defined networks only\n* user specified IP address is \
                 supported only when connecting to networks with user configured subnets",
            )),
            Some(text) => text.parse().map(Some).map_err(|_| {
                Failure::bad(format!(
                    "invalid config for network {name}: invalid endpoint settings:\ninvalid {what} address: {text}"
                ))
            }),
        }
    };
    let ipv4 = address(ipam.and_then(|it| it.ipv4_address.as_ref()), "IPv4")?;
    let ipv6 = address(ipam.and_then(|it| it.ipv6_address.as_ref()), "IPv6")?;
    let aliases = settings.aliases.clone().unwrap_or_default();
    if default && !aliases.is_empty() {
        return Err(Failure::bad(
            "invalid config for network bridge: invalid endpoint settings:\nnetwork-scoped alias is \
             supported only for containers in user defined networks",
        ));
    }
    Ok(Attachment {
        network: if default { DEFAULT_NETWORK.to_owned() } else { name.to_owned() },
        aliases,
        ipv4: ipv4.and_then(|it| match it {
            IpAddr::V4(it) => Some(it),
            IpAddr::V6(_) => None,
        }),
        ipv6: ipv6.and_then(|it| match it {
            IpAddr::V6(it) => Some(it),
            IpAddr::V4(_) => None,
        }),
        mac: settings
            .mac_address
            .clone()
            .filter(|mac| !mac.is_empty())
            .map(|mac| mac.to_lowercase()),
    })
}

/// Whether ports can be published from this network.
pub(super) fn has_ports(mode: &NetworkMode) -> bool {
    matches!(mode, NetworkMode::Networks { .. })
}

/// `80`, `80/udp` or `8000-8010/tcp`: the ports inside.
pub(crate) fn parse_port(text: &str) -> Reply<(u16, u16, Protocol)> {
    let wrong = || Failure::bad(format!("invalid port specification: \"{text}\""));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(wrong()),
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if first == 0 || last < first {
        return Err(wrong());
    }
    Ok((first, last, protocol))
}

pub(super) fn ports(config: &ContainerConfig, host: &HostConfig) -> Reply<Vec<Port>> {
    let mut ports = Vec::new();
    let bindings: BTreeMap<_, _> = host.port_bindings.iter().flatten().collect();
    for (inside, bound) in &bindings {
        let (first, last, protocol) = parse_port(inside)?;
        let any = [PortBinding::default()];
        let bound = match bound.as_deref() {
            None | Some([]) => &any[..],
            Some(bound) => bound,
        };
        for target in first..=last {
            for binding in bound {
                ports.push(published(target, protocol, binding)?);
            }
            check_count(&ports)?;
        }
    }
    if host.publish_all_ports.unwrap_or_default() {
        let mut known: BTreeSet<_> =
            ports.iter().map(|port| (port.target, port.protocol)).collect();
        for exposed in config.exposed_ports.iter().flatten() {
            let (first, last, protocol) = parse_port(exposed)?;
            for target in first..=last {
                check_count(&ports)?;
                if known.insert((target, protocol)) {
                    ports.push(Port { target, host: None, address: None, protocol, count: 1 });
                }
            }
        }
    }
    Ok(ports)
}

/// More ports than this are a mistake, or meant to be one.
const MOST_PORTS: usize = 16_384;

fn check_count(ports: &[Port]) -> Reply<()> {
    if ports.len() <= MOST_PORTS {
        return Ok(());
    }
    Err(Failure::bad(format!(
        "over {MOST_PORTS} ports are published; publish fewer, or a network of its own"
    )))
}

fn published(target: u16, protocol: Protocol, binding: &PortBinding) -> Reply<Port> {
    let address = match binding.host_ip.as_deref().unwrap_or_default() {
        "" => None,
        text => Some(text.trim_matches(['[', ']']).parse().map_err(|_| {
            Failure::bad(format!("invalid IP address in port binding: \"{text}\""))
        })?),
    };
    let host =
        match binding.host_port.as_deref().unwrap_or_default() {
            "" | "0" => None,
            // Of a range on the host the first free one would do; the first one is taken.
            text => {
                let first = text.split_once('-').map_or(text, |(first, _)| first);
                let number = first.parse::<u16>().ok().filter(|port| *port > 0);
                Some(number.ok_or_else(|| {
                    Failure::bad(format!("invalid port specification: \"{text}\""))
                })?)
            }
        };
    // Every address is what no address means, and holds for IPv6 too.
    let address = address.filter(|address: &IpAddr| !address.is_unspecified());
    Ok(Port { target, host, address, protocol, count: 1 })
}

pub(super) fn dns(host: &HostConfig) -> Reply<Dns> {
    let servers =
        host.dns.iter().flatten().map(|text| {
            text.parse().map_err(|_| Failure::bad(format!("{text} is not an ip address")))
        });
    Ok(Dns {
        servers: servers.collect::<Reply<_>>()?,
        search: host.dns_search.clone().unwrap_or_default(),
        options: host.dns_options.clone().unwrap_or_default(),
    })
}

pub(super) fn extra_hosts(host: &HostConfig, links: &[(String, IpAddr)]) -> Reply<Vec<ExtraHost>> {
    let asked = host.extra_hosts.iter().flatten().map(|text| {
        let wrong = || Failure::bad(format!("bad format for add-host: \"{text}\""));
        let (name, address) = text.split_once(':').ok_or_else(wrong)?;
        let address = address.trim_matches(['[', ']']);
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            return Err(Failure::bad(format!("invalid IP address in add-host: \"{address}\"")));
        }
        Ok(ExtraHost { name: name.to_owned(), address: address.to_owned() })
    });
    let mut all = asked.collect::<Reply<Vec<_>>>()?;
    all.extend(
        links
            .iter()
            .map(|(name, address)| ExtraHost { name: name.clone(), address: address.to_string() }),
    );
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_people_write() {
        assert_eq!(parse_port("80").ok(), Some((80, 80, Protocol::Tcp)));
        assert_eq!(parse_port("53/UDP").ok(), Some((53, 53, Protocol::Udp)));
        assert_eq!(parse_port("8000-8002/tcp").ok(), Some((8000, 8002, Protocol::Tcp)));
        for bad in ["0", "x", "80/quic", "9-8", "70000", ""] {
            assert!(parse_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_default_network_cannot_do() {
        let with =
            |aliases: Option<Vec<String>>| EndpointSettings { aliases, ..Default::default() };
        assert!(attachment("bridge", &with(Some(vec!["a".into()]))).is_err());
        assert_eq!(attachment("bridge", &with(None)).unwrap().network, DEFAULT_NETWORK);
        assert_eq!(attachment("n", &with(Some(vec!["a".into()]))).unwrap().aliases, ["a"]);
    }
}
