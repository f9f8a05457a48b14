//! Files an instance finds in its `/etc`.

use std::fmt::Write;
use std::net::IpAddr;

use model::instance::{Dns, ExtraHost};

/// What `/etc/hosts` is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts<'a> {
    /// Host name of the instance.
    pub hostname: &'a str,
    /// Its domain name; empty when it has none.
    pub domainname: &'a str,
    /// Its addresses, first network first.
    pub addresses: &'a [IpAddr],
    /// Lines asked for.
    pub extra: &'a [ExtraHost],
    /// Addresses that `host-gateway` stands for: the gateways of its first network.
    pub gateways: &'a [IpAddr],
}

/// `/etc/hosts` (hosts(5)) of an instance.
pub fn hosts(input: &Hosts<'_>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    let extra = |host: &ExtraHost| -> Vec<(String, String)> {
        match host.address.as_str() {
            "host-gateway" => {
                input.gateways.iter().map(|a| (a.to_string(), host.name.clone())).collect()
            }
            address => vec![(address.to_owned(), host.name.clone())],
        }
    };
    for (address, name) in input.extra.iter().flat_map(extra) {
        line(&mut text, &address, &name);
    }
    let names = match (input.hostname, input.domainname) {
        ("", _) => return text,
        (host, "") => host.to_owned(),
        (host, domain) => format!("{host}.{domain} {host}"),
    };
    for address in input.addresses {
        line(&mut text, &address.to_string(), &names);
    }
    text
}

fn line(text: &mut String, address: &str, names: &str) {
    writeln!(text, "{address}\t{names}").expect("a String takes all");
}

/// `/etc/hostname` (hostname(5)) of an instance.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// What `/etc/resolv.conf` is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf<'a> {
    /// What the instance asks for.
    pub dns: &'a Dns,
    /// The servers it is to ask: the gateways of its networks, first one first.
    pub servers: &'a [IpAddr],
    /// Its project's search domain, `<project>.hull.internal`.
    pub domain: &'a str,
    /// The host's search domains, used unless the instance asks for others.
    pub host_search: &'a [String],
}

/// Servers resolv.conf may name: `MAXNS` (resolv.h); more are passed over by the C library.
const MAX_SERVERS: usize = 3;

/// `/etc/resolv.conf` (resolv.conf(5)) of an instance with networks of its own.
pub fn resolv_conf(input: &ResolvConf<'_>) -> String {
    let mut text = String::new();
    for server in input.servers.iter().take(MAX_SERVERS) {
        writeln!(text, "nameserver {server}").expect("a String takes all");
    }
    let asked = &input.dns.search;
    let more: &[String] = match asked.as_slice() {
        [] => input.host_search,
        [only] if only == "." => &[],
        some => some,
    };
    let none = asked.len() == 1 && asked[0] == ".";
    let own = Some(input.domain).filter(|domain| !domain.is_empty() && !none);
    let search: Vec<_> = own.into_iter().chain(more.iter().map(String::as_str)).collect();
    if !search.is_empty() {
        writeln!(text, "search {}", search.join(" ")).expect("a String takes all");
    }
    if !input.dns.options.is_empty() {
        writeln!(text, "options {}", input.dns.options.join(" ")).expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_names_the_instance_last() {
        let extra =
            |name: &str, address: &str| ExtraHost { name: name.into(), address: address.into() };
        let text = hosts(&Hosts {
            hostname: "web",
            domainname: "example.com",
            addresses: &[ip("10.1.0.5"), ip("fd00::5")],
            extra: &[extra("db", "192.0.2.9"), extra("host.docker.internal", "host-gateway")],
            gateways: &[ip("10.1.0.1"), ip("fd00::1")],
        });
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with(
            "192.0.2.9\tdb\n10.1.0.1\thost.docker.internal\nfd00::1\thost.docker.internal\n\
             10.1.0.5\tweb.example.com web\nfd00::5\tweb.example.com web\n"
        ));
        assert_eq!(hostname("web"), "web\n");
    }

    #[test]
    fn resolv_conf_puts_the_projects_domain_first() {
        let servers = [ip("10.1.0.1"), ip("fd00::1")];
        let host = ["corp.example".to_owned()];
        let render = |search: &[&str], options: &[&str]| {
            let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
            let dns = Dns { search: words(search), options: words(options), ..Dns::default() };
            let domain = "shop.hull.internal";
            resolv_conf(&ResolvConf { dns: &dns, servers: &servers, domain, host_search: &host })
        };
        let named = "nameserver 10.1.0.1\nnameserver fd00::1\n";
        assert_eq!(render(&[], &[]), format!("{named}search shop.hull.internal corp.example\n"));
        assert_eq!(
            render(&["a.example"], &["ndots:2", "timeout:1"]),
            format!("{named}search shop.hull.internal a.example\noptions ndots:2 timeout:1\n")
        );
        assert_eq!(render(&["."], &[]), named);
    }
}
