//! What Rancher's metadata service told, as programs made for Rancher 1.x ask for it: the tree below
//! `/2015-12-19/`, as text or JSON (<https://github.com/rancher/rancher-metadata>).
//!
//! An instance is told of its project's apps: an app is a stack, the project the environment, a node a host.
//! What it asks for alone is made, and no more than [`MOST_CONTAINERS`] of a list.

use std::borrow::Cow;

use link::stacks::{Stack, StackContainer, StackHost, StackNetwork, StackService, Stacks};
use model::Uid;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Versions of the tree, the oldest one first.
const VERSIONS: [&str; 3] = ["2015-07-25", "2015-12-19", "2016-07-29"];
/// What stands for the newest one.
const LATEST: &str = "latest";
/// Most containers in one answer.
const MOST_CONTAINERS: usize = 2000;
/// Most parts of a path.
const MOST_PARTS: usize = 64;

/// One who asks: its project, and which instance it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) of: &'a Stacks,
    pub(super) instance: &'a Uid,
}

/// What an asker was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Found(Value),
    Nothing,
    TooMuch,
}

/// Whether a path is one of this tree; at the root that depends on the name that was asked.
pub(super) fn is_ours(path: &str, by_name: bool) -> bool {
    let first = path.split('/').find(|part| !part.is_empty());
    VERSIONS.iter().any(|it| first == Some(it)) || by_name
}

/// The version of the tree and the differences between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Lists have names of what they list.
    Names,
    Whole,
    /// Names are in small letters.
    Small,
}

impl Version {
    fn of(word: &str) -> Option<Self> {
        match word {
            "2015-07-25" => Some(Version::Names),
            "2015-12-19" => Some(Version::Whole),
            "2016-07-29" | LATEST => Some(Version::Small),
            _ => None,
        }
    }

    fn name(self, name: &str) -> String {
        match self {
            Version::Names | Version::Whole => name.to_owned(),
            Version::Small => name.to_lowercase(),
        }
    }
}

impl Tree<'_> {
    /// What stands at a path.
    pub(super) fn find(&self, path: &str) -> Told {
        let parts = path.split('/').filter(|part| !part.is_empty()).map(plain);
        let parts: Vec<String> = parts.take(MOST_PARTS + 1).map(Cow::into_owned).collect();
        if parts.len() > MOST_PARTS {
            return Told::Nothing;
        }
        let Some((version, below)) = parts.split_first() else {
            let versions = VERSIONS.iter().chain([&LATEST]);
            let versions = versions.map(|it| ((*it).to_owned(), json!(format!("/{it}"))));
            return Told::Found(Value::Object(versions.collect()));
        };
        let Some(version) = Version::of(version) else { return Told::Nothing };
        match self.below(version, below) {
            // Names are found however they are written.
            Told::Nothing => {
                let small: Vec<String> = below.iter().map(|part| part.to_lowercase()).collect();
                if small == below { Told::Nothing } else { self.below(version, &small) }
            }
            told => told,
        }
    }

    fn below(&self, version: Version, path: &[String]) -> Told {
        let Some((first, rest)) = path.split_first() else { return self.whole(version) };
        let stacks = &self.of.stacks;
        let services =
            || stacks.iter().flat_map(|stack| stack.services.iter().map(move |it| (stack, it)));
        match first.as_str() {
            "version" => walk(json!(self.version()), rest),
            "self" => self.own(version, rest),
            "stacks" => {
                let named = stacks.iter().map(|it| (version.name(&it.name), uuid(&it.id), it));
                pick(named, rest, |it| stack(self.of, it, version), containers_of)
            }
            "services" => {
                let named = services()
                    .map(|(stack, it)| (version.name(&it.name), service_uuid(it), (stack, it)));
                let make =
                    |(stack, it): (&Stack, &StackService)| service(self.of, stack, it, version);
                pick(named, rest, make, |(_, it)| it.containers.len())
            }
            "containers" => {
                let all = services().flat_map(|(stack, service)| {
                    service.containers.iter().map(move |it| (stack, service, it))
                });
                let named = all.map(|it| (version.name(&it.2.name), container_uuid(it.2), it));
                let make = |(stack, service, it): (&Stack, &StackService, &StackContainer)| {
                    container(self.of, stack, service, it, version)
                };
                pick(named, rest, make, |_| 1)
            }
            "hosts" => {
                let named = self.of.hosts.iter().map(|it| (it.name.clone(), uuid(&it.id), it));
                pick(named, rest, host, |_| 1)
            }
            "networks" => {
                let named = self.of.networks.iter().map(|it| (it.name.clone(), uuid(&it.id), it));
                pick(named, rest, network, |_| 1)
            }
            "environment_name" => walk(json!(self.of.project), rest),
            _ => Told::Nothing,
        }
    }

    /// All of it; too much where the project is large.
    fn whole(&self, version: Version) -> Told {
        let mut whole = Map::new();
        for key in ["containers", "hosts", "networks", "self", "services", "stacks", "version"] {
            match self.below(version, &[key.to_owned()]) {
                Told::Found(value) => drop(whole.insert(key.to_owned(), value)),
                // Who asks for text is told the keys, which are there all the same.
                Told::Nothing | Told::TooMuch => drop(whole.insert(key.to_owned(), json!([]))),
            }
        }
        Told::Found(Value::Object(whole))
    }

    /// Changes with all that can be read.
    fn version(&self) -> String {
        let bytes = serde_json::to_vec(self.of).unwrap_or_default();
        hex::encode(&Sha256::digest(bytes)[..16])
    }

    fn own(&self, version: Version, path: &[String]) -> Told {
        let found = self.of.stacks.iter().find_map(|stack| {
            let first = stack.services.iter().find_map(|service| {
                let is_first = service.name == service.primary;
                let mut own = service.containers.iter().filter(|_| is_first);
                own.find(|it| it.instance == *self.instance).map(|it| (service, it))
            });
            first.map(|(service, container)| (stack, service, container))
        });
        let Some((own_stack, own_service, own)) = found else { return Told::Nothing };
        let own_host = || self.of.hosts.iter().find(|it| it.name == own.node).map(host);
        let part = |key: &str| match key {
            "container" => Some(container(self.of, own_stack, own_service, own, version)),
            "service" => Some(service(self.of, own_stack, own_service, version)),
            "stack" => Some(stack(self.of, own_stack, version)),
            "host" => own_host(),
            _ => None,
        };
        let Some((key, rest)) = path.split_first() else {
            let keys = ["container", "host", "service", "stack"];
            let parts = keys.into_iter().filter_map(|key| Some((key.to_owned(), part(key)?)));
            return match containers_of(own_stack) > MOST_CONTAINERS {
                true => Told::TooMuch,
                false => Told::Found(Value::Object(parts.collect())),
            };
        };
        if key == "stack" && containers_of(own_stack) > MOST_CONTAINERS && rest.len() < 2 {
            return Told::TooMuch;
        }
        part(key).map_or(Told::Nothing, |value| walk(value, rest))
    }
}

/// A part of a path without its escapes.
fn plain(part: &str) -> Cow<'_, str> {
    let spaced = part.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Cow::Owned(text.into_owned()),
        Err(_) => Cow::Borrowed(part),
    }
}

/// Picks one of a list by its place, name or identity and goes on from there; or makes all of it.
fn pick<T: Copy>(
    named: impl Iterator<Item = (String, String, T)>,
    path: &[String],
    make: impl Fn(T) -> Value,
    containers: impl Fn(T) -> usize,
) -> Told {
    let Some((key, rest)) = path.split_first() else {
        let all: Vec<T> = named.map(|(_, _, it)| it).collect();
        return match all.iter().map(|it| containers(*it)).sum::<usize>() > MOST_CONTAINERS {
            true => Told::TooMuch,
            false => Told::Found(all.into_iter().map(make).collect()),
        };
    };
    let mut named = named;
    let found = match key.parse::<usize>() {
        Ok(place) => named.nth(place),
        Err(_) => named.find(|(name, uuid, _)| name == key || uuid == key),
    };
    let Some((_, _, found)) = found else { return Told::Nothing };
    match containers(found) > MOST_CONTAINERS {
        true => Told::TooMuch,
        false => walk(make(found), rest),
    }
}

/// Walks on from a value.
fn walk(value: Value, path: &[String]) -> Told {
    let mut here = value;
    for key in path {
        let next = match here {
            Value::Object(mut map) => map.remove(key),
            Value::Array(items) => match key.parse::<usize>() {
                Ok(place) => items.into_iter().nth(place),
                Err(_) => items.into_iter().find(|it| {
                    ["name", "uuid"]
                        .iter()
                        .any(|word| it.get(word).and_then(Value::as_str) == Some(key))
                }),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        match next {
            Some(next) => here = next,
            None => return Told::Nothing,
        }
    }
    Told::Found(here)
}

/// An identity in the form that clients expect.
fn uuid(id: &Uid) -> String {
    uuid_of(id.as_str())
}

fn uuid_of(digits: &str) -> String {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// Of a service, whose sidekicks are services, too.
fn service_uuid(service: &StackService) -> String {
    part_uuid(&service.id, &service.name, service.name == service.primary)
}

fn container_uuid(container: &StackContainer) -> String {
    part_uuid(&container.instance, &container.name, container.first)
}

fn part_uuid(id: &Uid, name: &str, first: bool) -> String {
    match first {
        true => uuid(id),
        false => uuid_of(&hex::encode(&Sha256::digest(format!("{id}/{name}"))[..16])),
    }
}

fn containers_of(stack: &Stack) -> usize {
    stack.services.iter().map(|it| it.containers.len()).sum()
}

fn stack(of: &Stacks, it: &Stack, version: Version) -> Value {
    let services = it.services.iter().map(|part| match version {
        Version::Names => json!(part.name),
        Version::Whole | Version::Small => service(of, it, part, version),
    });
    json!({
        "environment_name": of.project,
        "name": version.name(&it.name),
        "services": services.collect::<Value>(),
        "system": false,
        "uuid": uuid(&it.id),
    })
}

fn service(of: &Stacks, stack: &Stack, it: &StackService, version: Version) -> Value {
    let containers = it.containers.iter().map(|part| match version {
        Version::Names => json!(part.name),
        Version::Whole | Version::Small => container(of, stack, it, part, version),
    });
    let names =
        |names: &[String]| names.iter().map(|name| json!(version.name(name))).collect::<Value>();
    json!({
        "containers": containers.collect::<Value>(),
        "environment_name": of.project,
        "external_ips": [],
        "fqdn": null,
        "health_check": null,
        "hostname": null,
        "kind": "service",
        "labels": it.labels,
        "links": it.links,
        "metadata": it.metadata,
        "name": version.name(&it.name),
        "ports": it.ports,
        "primary_service_name": version.name(&it.primary),
        "scale": it.scale.unwrap_or_else(|| u32::try_from(it.containers.len()).unwrap_or(u32::MAX)),
        "sidekicks": names(&it.sidekicks),
        "stack_name": version.name(&stack.name),
        "stack_uuid": uuid(&stack.id),
        "state": if it.ready { "active" } else { "updating-active" },
        "system": false,
        "uuid": service_uuid(it),
        "vip": it.address,
    })
}

fn container(
    of: &Stacks,
    stack: &Stack,
    service: &StackService,
    it: &StackContainer,
    version: Version,
) -> Value {
    let host = of.hosts.iter().find(|host| host.name == it.node);
    let at = match version {
        Version::Names | Version::Whole => host.and_then(|host| host.address.as_deref()),
        Version::Small => None,
    };
    let published = service.ports.iter().filter(|port| port.contains(':'));
    let ports = published.map(|port| json!(format!("{}:{port}", at.unwrap_or("0.0.0.0"))));
    json!({
        "create_index": it.index,
        "dns": [],
        "dns_search": [],
        "environment_name": of.project,
        "external_id": it.instance,
        "health_check_hosts": [],
        "health_state": it.health,
        "host_uuid": host.map(|host| uuid(&host.id)),
        "hostname": it.name,
        "ips": it.addresses,
        "labels": it.labels,
        "links": {},
        "name": version.name(&it.name),
        "network_uuid": it.network.as_ref().map(uuid),
        "ports": ports.collect::<Value>(),
        "primary_ip": it.addresses.first(),
        "primary_mac_address": it.mac,
        "service_index": it.index.to_string(),
        "service_name": version.name(&service.name),
        "service_uuid": service_uuid(service),
        "stack_name": version.name(&stack.name),
        "stack_uuid": uuid(&stack.id),
        "start_count": 1,
        "state": if it.running { "running" } else { "stopped" },
        "system": false,
        "uuid": container_uuid(it),
    })
}

fn host(it: &StackHost) -> Value {
    json!({
        "agent_ip": it.address,
        "hostname": it.name,
        "labels": it.labels,
        "name": it.name,
        "state": "active",
        "uuid": uuid(&it.id),
    })
}

fn network(it: &StackNetwork) -> Value {
    json!({
        "default_policy_action": "allow",
        "host_ports": true,
        "is_default": it.default,
        "metadata": {},
        "name": it.name,
        "policy": [],
        "uuid": uuid(&it.id),
    })
}

/// A value as text: itself, or what is below it, a line each.
pub(super) fn text(value: &Value) -> String {
    let is_deep = |value: &Value| matches!(value, Value::Object(_) | Value::Array(_));
    let end = |value: &Value| if is_deep(value) { "/\n" } else { "\n" };
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Object(map) => {
            let mut lines: Vec<String> =
                map.iter().map(|(key, value)| escaped(key) + end(value)).collect();
            lines.sort();
            lines.concat()
        }
        Value::Array(items) => {
            let line = |(place, value): (usize, &Value)| {
                let word = |key: &str| value.get(key).and_then(Value::as_str);
                match word("name").or_else(|| word("uuid")) {
                    Some(name) => format!("{place}={}\n", escaped(name)),
                    None => format!("{place}{}", end(value)),
                }
            };
            items.iter().enumerate().map(line).collect()
        }
    }
}

/// As in the query of an address.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn stacks() -> Stacks {
        let container = |byte: u8, first: bool, name: &str| StackContainer {
            instance: Uid::from_bytes([byte; 32]),
            name: name.to_owned(),
            first,
            index: u32::from(byte),
            addresses: vec![format!("10.1.0.{byte}").parse().unwrap()],
            network: Some(Uid::from_bytes([0xdd; 32])),
            mac: "02:00:00:00:00:01".to_owned(),
            labels: BTreeMap::from([("a/b".to_owned(), "c".to_owned())]),
            node: "n1".to_owned(),
            running: true,
            health: Some("healthy".to_owned()),
        };
        let service = |name: &str, primary: &str, containers| StackService {
            id: Uid::from_bytes([0xaa; 32]),
            name: name.to_owned(),
            primary: primary.to_owned(),
            sidekicks: if name == primary { vec!["data".to_owned()] } else { Vec::new() },
            scale: Some(2),
            address: None,
            ready: true,
            ports: vec!["9200:9200/tcp".to_owned()],
            labels: BTreeMap::new(),
            metadata: match name == primary {
                true => BTreeMap::from([(
                    "es".to_owned(),
                    json!({"yml": {"cluster.name": "logs", "shards": 5, "a b": true}, "list": ["x", {"name": "y"}]}),
                )]),
                false => BTreeMap::new(),
            },
            links: BTreeMap::from([("logs/data".to_owned(), "store".to_owned())]),
            containers,
        };
        let firsts =
            vec![container(1, true, "logs-Masters-1"), container(2, true, "logs-Masters-2")];
        let data = vec![container(1, false, "logs-Masters-1-data")];
        Stacks {
            project: "default".to_owned(),
            stacks: vec![Stack {
                id: Uid::from_bytes([0xbb; 32]),
                name: "logs".to_owned(),
                services: vec![
                    service("Masters", "Masters", firsts),
                    service("data", "Masters", data),
                ],
            }],
            hosts: vec![StackHost {
                id: Uid::from_bytes([0xcc; 32]),
                name: "n1".to_owned(),
                address: Some("192.0.2.1".to_owned()),
                labels: BTreeMap::new(),
            }],
            networks: vec![StackNetwork {
                id: Uid::from_bytes([0xdd; 32]),
                name: "logs_default".to_owned(),
                default: false,
            }],
        }
    }

    fn told(path: &str) -> Option<String> {
        let of = stacks();
        let instance = Uid::from_bytes([2; 32]);
        match (Tree { of: &of, instance: &instance }).find(path) {
            Told::Found(value) => Some(text(&value)),
            Told::Nothing => None,
            Told::TooMuch => Some("too much".to_owned()),
        }
    }

    #[test]
    fn the_tree_is_walked_as_in_rancher() {
        let self_service = "/2015-12-19/self/service";
        let table = [
            ("/", Some("2015-07-25\n2015-12-19\n2016-07-29\nlatest\n")),
            (
                "/2015-12-19",
                Some("containers/\nhosts/\nnetworks/\nself/\nservices/\nstacks/\nversion\n"),
            ),
            ("/2015-12-19/self/", Some("container/\nhost/\nservice/\nstack/\n")),
            (&format!("{self_service}/name"), Some("Masters")),
            ("/latest/self/service/name", Some("masters")),
            ("/2015-12-19/self/container/name", Some("logs-Masters-2")),
            ("/2015-12-19/self/container/primary_ip", Some("10.1.0.2")),
            ("/2015-12-19/self/container/service_index", Some("2")),
            ("/2015-12-19/self/container/ports", Some("0\n")),
            ("/2015-12-19/self/container/ports/0", Some("192.0.2.1:9200:9200/tcp")),
            ("/latest/self/container/ports/0", Some("0.0.0.0:9200:9200/tcp")),
            (&format!("{self_service}/metadata"), Some("es/\n")),
            (&format!("{self_service}/metadata/es/yml"), Some("a+b\ncluster.name\nshards\n")),
            (&format!("{self_service}/metadata/es/yml/shards"), Some("5")),
            (&format!("{self_service}/metadata/es/yml/a%20b"), Some("true")),
            (&format!("{self_service}/metadata/ES/yml/cluster.name"), Some("logs")),
            (&format!("{self_service}/metadata/es/list"), Some("0\n1=y\n")),
            (&format!("{self_service}/metadata/none"), None),
            (&format!("{self_service}/sidekicks/0"), Some("data")),
            (&format!("{self_service}/containers"), Some("0=logs-Masters-1\n1=logs-Masters-2\n")),
            ("/2015-07-25/self/service/containers/1", Some("logs-Masters-2")),
            ("/2015-12-19/self/service/containers/1/primary_ip", Some("10.1.0.2")),
            ("/2015-12-19/stacks", Some("0=logs\n")),
            ("/2015-12-19/stacks/logs/services/data/primary_service_name", Some("Masters")),
            ("/2015-07-25/stacks/logs/services", Some("0\n1\n")),
            ("/2015-12-19/services/Masters/scale", Some("2")),
            ("/2015-12-19/services/1/name", Some("data")),
            ("/2015-12-19/containers/logs-Masters-1-data/health_state", Some("healthy")),
            ("/2015-12-19/containers/0/labels/a%2Fb", Some("c")),
            ("/2015-12-19/hosts/n1/agent_ip", Some("192.0.2.1")),
            ("/2015-12-19/hosts/cccccccc-cccc-cccc-cccc-cccccccccccc/name", Some("n1")),
            ("/2015-12-19/self/host/uuid", Some("cccccccc-cccc-cccc-cccc-cccccccccccc")),
            ("/2015-12-19/self/service/links", Some("logs%2Fdata\n")),
            ("/2015-12-19/self/service/links/logs%2Fdata", Some("store")),
            ("/2015-12-19/networks", Some("0=logs_default\n")),
            ("/2015-12-19/networks/logs_default/is_default", Some("false")),
            (
                "/2015-12-19/self/container/network_uuid",
                Some("dddddddd-dddd-dddd-dddd-dddddddddddd"),
            ),
            ("/2015-12-19/self/service/fqdn", Some("")),
            ("/2015-12-19/containers/99", None),
            ("/2015-12-19/nothing", None),
            ("/2014-01-01/self", None),
        ];
        for (path, expected) in table {
            assert_eq!(told(path).as_deref(), expected, "{path}");
        }
        assert_eq!(told("/latest/version").unwrap().len(), 32);
        assert!(told(&"/latest".repeat(200)).is_none());
        let Told::Found(whole) =
            (Tree { of: &stacks(), instance: &Uid::from_bytes([1; 32]) }).find("/latest")
        else {
            panic!()
        };
        assert_eq!(whole["self"]["service"]["metadata"]["es"]["yml"]["shards"], 5);
        assert_eq!(whole["stacks"][0]["services"][0]["containers"][1]["service_name"], "masters");
    }

    #[test]
    fn large_projects_are_told_in_parts() {
        let mut of = stacks();
        let one = of.stacks[0].services[0].containers[0].clone();
        of.stacks[0].services[0].containers = vec![one; MOST_CONTAINERS + 1];
        let instance = Uid::from_bytes([1; 32]);
        let tree = Tree { of: &of, instance: &instance };
        for path in ["/latest/containers", "/latest/stacks", "/latest/self/stack"] {
            assert_eq!(tree.find(path), Told::TooMuch, "{path}");
        }
        for path in ["/latest/containers/7/name", "/latest/self/container/name", "/latest/version"]
        {
            assert!(matches!(tree.find(path), Told::Found(_)), "{path}");
        }
    }
}
