//! Published ports: `80`, `8080:80`, `127.0.0.1:8080-8090:80-90/udp`, and the long form.

use std::net::IpAddr;

use model::instance::{Port, Protocol};

use super::Draft;
use crate::field::Field;
use crate::files::shorten;
use crate::yaml::Value;

pub(super) fn read(service: &Field<'_>, draft: &mut Draft) {
    let Some(field) = service.get("ports") else { return };
    if !draft.instance.network.is_own() {
        return field.ignore("on the node's own network its ports are the node's");
    }
    for item in field.items() {
        let port = match &item.node.value {
            Value::Map(_) => long(&item),
            Value::Null | Value::Text(_) | Value::List(_) => {
                item.text().and_then(|text| short(text).map_err(|why| item.refuse(why)).ok())
            }
        };
        if let Some(port) = port
            && !draft.instance.ports.contains(&port)
        {
            draft.instance.ports.push(port);
        }
    }
}

/// Reads the short form.
pub(crate) fn short(text: &str) -> Result<Port, String> {
    let bad = |why: &str| format!("{:?} is not a port: {why}", shorten(text));
    let (rest, protocol) = text.trim().split_once('/').unwrap_or((text.trim(), "tcp"));
    let protocol = protocol_of(protocol).ok_or_else(|| bad("tcp, udp and sctp are known"))?;
    let (rest, target) = rest.rsplit_once(':').unwrap_or(("", rest));
    // An IPv6 address has colons of its own: it stands in brackets.
    let (address, host) = match rest.rsplit_once(':') {
        Some((address, host)) => (address, host),
        None if rest.parse::<IpAddr>().is_ok() => (rest, ""),
        None => ("", rest),
    };
    let address = match address.trim_start_matches('[').trim_end_matches(']') {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| bad("no address stands before it"))?),
    };
    let (target, count) = range(target).ok_or_else(|| bad("ports are 1 to 65535"))?;
    let host = match host {
        "" => None,
        text => {
            let (first, among) = range(text).ok_or_else(|| bad("ports are 1 to 65535"))?;
            match among == count {
                true => Some(first),
                // One of several: which is free is known to whoever publishes it.
                false if count == 1 => {
                    return Err(bad("one port of the node is named, or none, not one of many"));
                }
                false => return Err(bad("as many ports stand before ':' as behind it")),
            }
        }
    };
    Ok(Port { target, host, address, protocol, count })
}

/// The first port, and how many there are.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = (port(first)?, port(last)?);
    last.checked_sub(first)?.checked_add(1).map(|count| (first, count))
}

fn protocol_of(text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" | "" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn long(item: &Field<'_>) -> Option<Port> {
    let target: u16 = match item.get("target") {
        Some(field) => field.integer()?,
        None => {
            item.refuse("a target is missing: the port inside");
            return None;
        }
    };
    let host = match item.get("published") {
        None => None,
        Some(field) => match range(field.text()?) {
            Some((first, 1)) => Some(first),
            Some(_) => {
                field.refuse("one port of the node is named, or none, not one of many");
                return None;
            }
            None => {
                field.refuse("ports are 1 to 65535");
                return None;
            }
        },
    };
    let address = match item.get("host_ip") {
        Some(field) => Some(field.parsed("an address")?),
        None => None,
    };
    let protocol = match item.get("protocol") {
        None => Protocol::Tcp,
        Some(field) => match protocol_of(field.text()?) {
            Some(protocol) => protocol,
            None => {
                field.refuse("tcp, udp and sctp are known");
                return None;
            }
        },
    };
    Some(Port { target, host, address, protocol, count: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(target: u16, host: Option<u16>) -> Port {
        Port { target, host, address: None, protocol: Protocol::Tcp, count: 1 }
    }

    #[test]
    fn the_short_form() {
        let local = Some("127.0.0.1".parse().unwrap());
        let six = Some("::1".parse().unwrap());
        for (text, wanted) in [
            ("80", port(80, None)),
            ("8080:80", port(80, Some(8080))),
            ("8000-8002:80-82", Port { count: 3, ..port(80, Some(8000)) }),
            ("3000-3005", Port { count: 6, ..port(3000, None) }),
            ("53:53/udp", Port { protocol: Protocol::Udp, ..port(53, Some(53)) }),
            ("127.0.0.1:8080:80", Port { address: local, ..port(80, Some(8080)) }),
            ("127.0.0.1::80", Port { address: local, ..port(80, None) }),
            ("127.0.0.1:80", Port { address: local, ..port(80, None) }),
            ("[::1]:8080:80", Port { address: six, ..port(80, Some(8080)) }),
        ] {
            assert_eq!(short(text), Ok(wanted), "{text}");
        }
        for bad in ["", "x", "0", "70000", "80:", "a:80", "8000-8001:80", "80/icmp", "9-8", "x:1:2"]
        {
            assert!(short(bad).is_err(), "{bad}");
        }
    }
}
