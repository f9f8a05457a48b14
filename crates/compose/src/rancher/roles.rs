//! Services that are no containers: load balancers, services outside, other names for services. What they
//! are for is done by the platform, so they become ports, lines of `/etc/hosts` and names of the others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::instance::{ExtraHost, ExtraName, InstanceSpec, Port, Protocol};
use model::name::check_host_name;

use super::{KEY, shown};
use crate::field::Field;
use crate::service::{Draft, Link};
use crate::told::{At, Told};

/// The prefix of labels that say where a load balancer leads.
const TARGET: &str = "io.rancher.loadbalancer.target.";

/// Most addresses of a service outside.
const MOST_ADDRESSES: usize = 16;

/// What a service is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// Instances of its image.
    #[default]
    Instances,
    /// It leads connections to others.
    LoadBalancer(Vec<Rule>),
    /// Something outside.
    External(Outside),
    /// Another name for others.
    Alias,
}

/// Where something outside is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outside {
    /// At these addresses.
    Addresses(Vec<IpAddr>),
    /// Where a name leads.
    Name(String),
}

/// Where a load balancer leads the connections to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub port: u16,
    pub service: String,
    pub target: u16,
    pub at: At,
}

impl Outside {
    /// Lets an instance know it under a name.
    fn know(&self, instance: &mut InstanceSpec, name: &str) {
        let name = name.to_owned();
        match self {
            Outside::Addresses(addresses) => {
                let host = |it: &IpAddr| ExtraHost { name: name.clone(), address: it.to_string() };
                instance.extra_hosts.extend(addresses.iter().map(host));
            }
            // It is called so already.
            Outside::Name(target) if name.eq_ignore_ascii_case(target) => {}
            Outside::Name(target) => {
                instance.extra_names.push(ExtraName { name, target: target.clone() });
            }
        }
    }
}

/// Tells what a service is.
pub(crate) fn read(service: &Field<'_>, draft: &mut Draft) {
    let words = service.get(KEY);
    let word = |key: &str| {
        let own = service.get(key).and_then(|it| it.text());
        own.or_else(|| words.as_ref()?.get(key)?.text()).unwrap_or_default()
    };
    let image = draft.container.image.split([':', '@']).next().unwrap_or_default();
    draft.role = match (image, word("type")) {
        ("rancher/load-balancer-service" | "rancher/lb-service-haproxy", _)
        | (_, "loadBalancerService") => Role::LoadBalancer(rules(service, words.as_ref(), draft)),
        ("rancher/external-service", _) | (_, "externalService") => {
            Role::External(outside(service, words.as_ref()))
        }
        ("rancher/dns-service", _) | (_, "dnsService") => Role::Alias,
        _ => return,
    };
}

fn outside(service: &Field<'_>, words: Option<&Field<'_>>) -> Outside {
    let find = |key: &str| words.and_then(|it| it.get(key));
    let hostname = find("hostname").filter(|it| it.text() != Some(""));
    let Some(addresses) = find("external_ips") else {
        let Some(hostname) = hostname else {
            service.ignore("it has neither external_ips nor a hostname");
            return Outside::Addresses(Vec::new());
        };
        let name = hostname.text().unwrap_or_default().trim_end_matches('.');
        if check_host_name(name).is_err() {
            hostname.refuse(format!("{} is not a host name", shown(name)));
        }
        return Outside::Name(name.to_owned());
    };
    if let Some(hostname) = hostname {
        hostname.ignore("it has external_ips, which say where it is");
    }
    let items = addresses.items();
    if items.len() > MOST_ADDRESSES {
        addresses.refuse(format!("{MOST_ADDRESSES} addresses at most"));
        return Outside::Addresses(Vec::new());
    }
    Outside::Addresses(items.iter().filter_map(|it| it.parsed("an address")).collect())
}

fn rules(service: &Field<'_>, words: Option<&Field<'_>>, draft: &Draft) -> Vec<Rule> {
    let config = words.and_then(|it| it.get("lb_config"));
    let config = config.or_else(|| service.get("lb_config"));
    if let Some(ports) = config.as_ref().and_then(|it| it.get("port_rules")) {
        return ports.items().iter().filter_map(port_rule).collect();
    }
    // The older form: each published port leads to each linked service, unless labels say where.
    let mut rules = Vec::new();
    for link in &draft.links {
        let label = format!("{TARGET}{}", link.service);
        let named = draft.labels.get(&label).map(String::as_str).unwrap_or_default();
        for port in draft.instance.ports.iter().flat_map(Port::expand) {
            let Some(source) = port.host else { continue };
            if let Some(target) = target_of(named, source, port.target) {
                rules.push(Rule {
                    port: source,
                    service: link.service.clone(),
                    target,
                    at: link.at.clone(),
                });
            }
        }
    }
    rules
}

/// Where a label `8080=80,example.com:443/path=8443` leads a port; all of them where it is empty.
fn target_of(label: &str, source: u16, usual: u16) -> Option<u16> {
    if label.trim().is_empty() {
        return Some(usual);
    }
    for rule in label.split(',').map(str::trim) {
        let (from, to) = rule.split_once('=').unwrap_or((rule, ""));
        let from = from.split('/').next().unwrap_or_default();
        let from = from.rsplit(':').next().unwrap_or_default();
        let port = from.parse::<u16>().ok();
        if port.is_none_or(|port| port == source || port == usual) {
            return to.trim().parse().ok().or(Some(usual));
        }
    }
    None
}

fn port_rule(rule: &Field<'_>) -> Option<Rule> {
    let number = |key: &str| rule.get(key).filter(|it| it.text() != Some(""));
    let port: u16 = number("source_port")?.integer()?;
    let target = match number("target_port") {
        Some(field) => field.integer()?,
        None => port,
    };
    if let Some(protocol) = rule.get("protocol")
        && matches!(protocol.text(), Some("https" | "tls" | "sni"))
    {
        protocol.ignore("TLS is not terminated: connections are led on as they are");
    }
    for key in ["hostname", "path"] {
        if let Some(field) = rule.get(key).filter(|it| it.text() != Some("")) {
            field.ignore("requests are not told apart: the whole port leads to the service");
        }
    }
    let Some(service) = rule.get("service") else {
        rule.ignore("it leads to containers by their labels, which is not known");
        return None;
    };
    let name = service.text()?;
    if name.contains('/') {
        service.ignore("it leads to another app's service; publish the port there");
        return None;
    }
    Some(Rule { port, service: name.to_owned(), target, at: rule.at().clone() })
}

/// Takes services out that are no containers, and gives the others what they are for.
pub(crate) fn dissolve(drafts: Vec<Draft>, told: &Told) -> Vec<Draft> {
    let (mut kept, gone): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| draft.role == Role::Instances);
    let mut names: BTreeMap<String, Vec<Link>> = BTreeMap::new();
    for draft in &gone {
        match &draft.role {
            Role::Instances => {}
            Role::LoadBalancer(rules) => {
                names.insert(draft.name.clone(), balance(rules, draft, &mut kept, told));
            }
            Role::External(outside) => {
                for other in &mut kept {
                    let linked = other.links.iter().filter(|link| link.service == draft.name);
                    let mut called: Vec<String> = linked.map(|link| link.alias.clone()).collect();
                    called.push(draft.name.clone());
                    called.sort_unstable();
                    called.dedup();
                    called.iter().for_each(|name| outside.know(&mut other.instance, name));
                }
                names.insert(draft.name.clone(), Vec::new());
            }
            Role::Alias => {
                let own = |link: &Link| Link { alias: draft.name.clone(), ..link.clone() };
                names.insert(draft.name.clone(), draft.links.iter().map(own).collect());
            }
        }
    }
    for draft in &mut kept {
        draft.needs.retain(|need| !names.contains_key(&need.service));
        draft.sidekicks.retain(|name| !names.contains_key(name));
        let links = std::mem::take(&mut draft.links);
        for link in links {
            match names.get(&link.service) {
                // What stands behind the name is linked under it.
                Some(behind) => draft.links.extend(
                    behind.iter().map(|it| Link { alias: link.alias.clone(), ..it.clone() }),
                ),
                None => draft.links.push(link),
            }
        }
    }
    // A name of its own is there whether somebody links to it or not.
    for link in names.into_values().flatten() {
        if let Some(target) = kept.iter_mut().find(|it| it.name == link.service) {
            target.links.push(link);
        }
    }
    kept
}

/// Publishes what a load balancer leads on, on the services themselves.
fn balance(rules: &[Rule], draft: &Draft, kept: &mut [Draft], told: &Told) -> Vec<Link> {
    let path = format!("{}.lb_config", draft.path);
    let mut behind = Vec::new();
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    for rule in rules {
        let Some(target) = kept.iter_mut().find(|it| it.name == rule.service) else {
            told.refuse(
                &rule.at,
                path.clone(),
                format!("there is no service {}", shown(&rule.service)),
            );
            continue;
        };
        match taken.get(&rule.port) {
            Some(other) if *other != rule.service => {
                let why = format!(
                    "port {} leads to {other:?} already; requests are not told apart by their host or \
                     path yet",
                    rule.port
                );
                told.refuse(&rule.at, path.clone(), why);
                continue;
            }
            Some(_) | None => drop(taken.insert(rule.port, rule.service.clone())),
        }
        let port = Port {
            target: rule.target,
            host: Some(rule.port),
            address: None,
            protocol: Protocol::Tcp,
            count: 1,
        };
        if !target.instance.ports.contains(&port) {
            target.instance.ports.push(port);
        }
        behind.push(Link {
            service: rule.service.clone(),
            alias: draft.name.clone(),
            at: rule.at.clone(),
        });
    }
    if rules.is_empty() {
        told.ignore(
            &draft.at,
            draft.path.clone(),
            "a load balancer that leads nowhere is not made",
        );
    } else {
        let why =
            "connections are spread by the platform: its ports are those of the services behind it";
        told.ignore(&draft.at, draft.path.clone(), why);
    }
    behind.dedup_by(|one, other| one.service == other.service);
    behind
}
