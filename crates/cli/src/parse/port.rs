//! Published ports: `8080:80`, `127.0.0.1:8080:80/tcp`, `53:53/udp`, `8000-8010:80-90`, `80`.

use std::net::IpAddr;

use model::instance::{Port, Protocol};
use model::{Error, Result};

/// Reads one `--publish`.
pub fn port(text: &str) -> Result<Port> {
    let refuse = |why: &str| {
        Error::invalid(format!("{text:?} is not a port to publish: {why}"))
            .at("--publish")
            .next("write [ADDRESS:][HOST:]TARGET[/PROTOCOL], e.g. 8080:80 or 127.0.0.1:53:53/udp")
    };
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, word)) => (rest, protocol(word).ok_or_else(|| refuse("unknown protocol"))?),
        None => (text, Protocol::Tcp),
    };
    let (front, target) = match rest.rsplit_once(':') {
        Some((front, target)) => (Some(front), target),
        None => (None, rest),
    };
    let (first, last) = range(target).ok_or_else(|| refuse("no port inside"))?;
    let (address, host) = match front {
        Some(front) => split_address(front).ok_or_else(|| refuse("not an address"))?,
        None => (None, ""),
    };
    let count = last - first + 1;
    let host = match host {
        "" => None,
        host => {
            let (begin, end) = range(host).ok_or_else(|| refuse("no port of the host"))?;
            if end - begin + 1 != count {
                return Err(refuse("the ranges have different lengths"));
            }
            Some(begin)
        }
    };
    Ok(Port { target: first, host, address, protocol, count })
}

/// `ADDRESS:HOST`, `ADDRESS:`, or `HOST`.
fn split_address(front: &str) -> Option<(Option<IpAddr>, &str)> {
    if let Some(rest) = front.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let host = rest.strip_prefix(':').unwrap_or(rest);
        return Some((Some(address.parse().ok()?), host));
    }
    match front.rsplit_once(':') {
        Some((address, host)) => Some((Some(address.parse().ok()?), host)),
        None => match front.parse::<IpAddr>() {
            Ok(address) => Some((Some(address), "")),
            Err(_) => Some((None, front)),
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

fn protocol(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// A port as an image exposes it (`80/tcp`), published at a port of the host's choice.
pub fn exposed(text: &str) -> Result<Port> {
    port(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_people_write() {
        let address = |text: &str| Some(text.parse().unwrap());
        for (text, expected) in [
            ("80", (80, None, None, Protocol::Tcp, 1)),
            ("8080:80", (80, Some(8080), None, Protocol::Tcp, 1)),
            ("53:53/UDP", (53, Some(53), None, Protocol::Udp, 1)),
            ("127.0.0.1:8080:80", (80, Some(8080), address("127.0.0.1"), Protocol::Tcp, 1)),
            ("127.0.0.1::80", (80, None, address("127.0.0.1"), Protocol::Tcp, 1)),
            ("[::1]:8080:80", (80, Some(8080), address("::1"), Protocol::Tcp, 1)),
            ("8000-8002:80-82", (80, Some(8000), None, Protocol::Tcp, 3)),
        ] {
            let port = port(text).unwrap();
            let found = (port.target, port.host, port.address, port.protocol, port.count);
            assert_eq!(found, expected, "{text}");
        }
        for text in ["", "x", "0", "70000", "80:", ":", "1-2:1-3", "1.2.3:80:80", "80/icmp", "5-3"]
        {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
