//! How an instance is joined to the network, names and namespaces.

use model::instance::{Attachment, ExtraHost, NetworkMode, Sharing};
use model::{Error, Result};

/// The wishes of the flags that concern the first network.
#[derive(Debug, Default)]
pub struct First {
    /// `--network-alias`.
    pub aliases: Vec<String>,
    /// `--ip`.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// `--ip6`.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// `--mac-address`.
    pub mac: Option<String>,
}

/// Reads all `--network`s.
pub fn mode(networks: &[String], first: First) -> Result<NetworkMode> {
    let wishes = !first.aliases.is_empty()
        || first.ipv4.is_some()
        || first.ipv6.is_some()
        || first.mac.is_some();
    if let [only] = networks {
        let special = match only.as_str() {
            "host" => Some(NetworkMode::Host),
            "none" => Some(NetworkMode::None),
            other => other_instance(other).map(|name| NetworkMode::Instance { name }),
        };
        if let Some(mode) = special {
            if wishes {
                return Err(Error::invalid(format!(
                    "network {only:?} takes no addresses or aliases"
                ))
                .at("--network"));
            }
            return Ok(mode);
        }
    }
    let mut attachments =
        networks.iter().map(|text| attachment(text)).collect::<Result<Vec<_>>>()?;
    if attachments.is_empty() && wishes {
        attachments.push(Attachment { network: "default".into(), ..Attachment::default() });
    }
    if let Some(attachment) = attachments.first_mut() {
        attachment.aliases.extend(first.aliases);
        attachment.ipv4 = first.ipv4.or(attachment.ipv4);
        attachment.ipv6 = first.ipv6.or(attachment.ipv6);
        attachment.mac = first.mac.or_else(|| attachment.mac.take());
    }
    Ok(NetworkMode::Networks { attachments })
}

fn other_instance(text: &str) -> Option<String> {
    let name = text.strip_prefix("container:").or_else(|| text.strip_prefix("instance:"))?;
    Some(name.to_owned())
}

/// `NAME`, `NAME:alias=a,ip=10.0.0.5`, or `name=NAME,alias=a` as Docker's long form.
fn attachment(text: &str) -> Result<Attachment> {
    let refuse = |why: &str| {
        Error::invalid(format!("{text:?} is not a network: {why}"))
            .at("--network")
            .next("write NAME, NAME:alias=a,ip=10.0.0.5, host, none or instance:NAME")
    };
    if other_instance(text).is_some() || matches!(text, "host" | "none") {
        return Err(refuse("it cannot be combined with others"));
    }
    let (name, rest) = match text.split_once(':') {
        Some((name, rest)) => (name, rest),
        None if text.contains('=') => ("", text),
        None => (text, ""),
    };
    // Docker's word for the network everybody gets.
    let named = |name: &str| if name == "bridge" { "default".to_owned() } else { name.to_owned() };
    let mut attachment = Attachment { network: named(name), ..Attachment::default() };
    for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| refuse("an option is key=value"))?;
        match key {
            "name" => attachment.network = named(value),
            "alias" => attachment.aliases.push(value.to_owned()),
            "ip" => attachment.ipv4 = Some(value.parse().map_err(|_| refuse("bad ip"))?),
            "ip6" => attachment.ipv6 = Some(value.parse().map_err(|_| refuse("bad ip6"))?),
            "mac" | "mac-address" => attachment.mac = Some(value.to_owned()),
            _ => return Err(refuse("unknown option")),
        }
    }
    if attachment.network.is_empty() {
        return Err(refuse("it has no name"));
    }
    Ok(attachment)
}

/// Reads `--pid`, `--ipc`, `--uts`, `--cgroupns`: `host`, `private`, `shareable`, `container:NAME`.
pub fn sharing(flag: &str, text: &str) -> Result<Sharing> {
    match text {
        "" | "private" => Ok(Sharing::Private),
        "host" => Ok(Sharing::Host),
        "shareable" | "group" => Ok(Sharing::Group),
        other => other_instance(other).map(Sharing::Instance).ok_or_else(|| {
            Error::invalid(format!("{text:?} is none of private, host, shareable, instance:NAME"))
                .at(flag.to_owned())
        }),
    }
}

/// Reads one `--add-host`: `NAME:ADDRESS` or `NAME=ADDRESS`.
pub fn extra_host(text: &str) -> Result<ExtraHost> {
    let parts = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = parts
        .ok_or_else(|| Error::invalid(format!("{text:?} is not NAME:ADDRESS")).at("--add-host"))?;
    let address = address.trim_matches(['[', ']']);
    Ok(ExtraHost { name: name.to_owned(), address: address.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let mode = |text: &str| super::mode(&[text.to_owned()], First::default());
        assert_eq!(mode("host").unwrap(), NetworkMode::Host);
        assert_eq!(mode("none").unwrap(), NetworkMode::None);
        assert_eq!(mode("container:db").unwrap(), NetworkMode::Instance { name: "db".into() });
        let NetworkMode::Networks { attachments } = mode("net:alias=a,ip=10.0.0.5").unwrap() else {
            panic!("not networks");
        };
        assert_eq!(attachments[0].network, "net");
        assert_eq!(attachments[0].aliases, ["a"]);
        for text in ["net:x", "net:ip=x", "alias=a", "net:frob=1"] {
            assert!(mode(text).is_err(), "{text}");
        }
        let both = ["host".to_owned(), "net".into()];
        assert!(super::mode(&both, First::default()).is_err());
        let first = First { aliases: vec!["a".into()], ..First::default() };
        assert!(super::mode(&["host".to_owned()], first).is_err());
    }

    #[test]
    fn hosts_and_sharing() {
        let host = extra_host("db:::1").unwrap();
        assert_eq!((host.name.as_str(), host.address.as_str()), ("db", "::1"));
        assert!(extra_host("db").is_err());
        assert_eq!(sharing("--pid", "container:x").unwrap(), Sharing::Instance("x".into()));
        assert!(sharing("--pid", "frob").is_err());
    }
}
