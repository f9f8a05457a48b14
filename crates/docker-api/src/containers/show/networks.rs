//! The networks a container is joined to, and its ports.

use std::collections::{BTreeMap, HashMap};

use bollard_stubs::models::{EndpointSettings, PortBinding, PortMap};
use control::Caller;
use model::instance::{Attachment, Instance, Interface, NetworkMode, Port};
use model::network::DEFAULT_NETWORK;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Engine;
use crate::containers::origin::{self, Origin};

/// The name Docker has for a network.
pub(crate) fn docker_name(network: &str) -> &str {
    if network == DEFAULT_NETWORK { "bridge" } else { network }
}

/// `HostConfig.NetworkMode`.
pub(crate) fn mode_name(instance: &Instance) -> String {
    match &instance.spec.network {
        NetworkMode::Networks { attachments } => match attachments.first() {
            Some(first) => docker_name(&first.network).to_owned(),
            None => "bridge".to_owned(),
        },
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Instance { name } => format!("container:{name}"),
    }
}

/// An id for what has none of its own, the same each time.
pub(crate) fn made_up_id(words: &[&str]) -> String {
    use std::fmt::Write;
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word);
        hash.update([0]);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One of `Networks`: Engine leaves none of these out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    ipam: Value,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    driver_opts: Option<HashMap<String, String>>,
    gw_priority: i64,
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(rename = "EndpointID")]
    id: String,
    gateway: String,
    #[serde(rename = "IPAddress")]
    ipv4: String,
    mac_address: String,
    #[serde(rename = "IPPrefixLen")]
    prefix4: u8,
    #[serde(rename = "IPv6Gateway")]
    gateway6: String,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    prefix6: u8,
    #[serde(rename = "DNSNames")]
    names: Option<Vec<String>>,
}

/// What is asked of networks, once of each: a list has a thousand containers on one.
pub(crate) struct Seen<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
    gateways: BTreeMap<String, (String, String)>,
}

impl<'a> Seen<'a> {
    /// Nothing was asked yet.
    pub(crate) fn new(engine: &'a Engine, caller: &'a Caller) -> Self {
        Self { engine, caller, gateways: BTreeMap::new() }
    }

    fn gateways(&mut self, network: &str) -> (String, String) {
        if let Some(known) = self.gateways.get(network) {
            return known.clone();
        }
        let found = self.engine.gateways(self.caller, network);
        self.gateways.insert(network.to_owned(), found.clone());
        found
    }
}

/// `NetworkSettings` of an inspected container.
pub(crate) fn settings(
    engine: &Engine,
    caller: &Caller,
    instance: &Instance,
    origin: Option<&Origin>,
) -> Value {
    let live = instance.status.phase.is_live();
    let ports = if live { ports_of(instance) } else { Map::new() };
    let sandbox =
        if live { made_up_id(&["sandbox", instance.meta.id.as_str()]) } else { String::new() };
    json!({
        "SandboxID": sandbox,
        "SandboxKey": "",
        "Ports": ports,
        "Networks": endpoints(&mut Seen::new(engine, caller), instance, origin),
    })
}

/// What clients before 1.52 read: the default network's fields, a level higher.
pub(crate) fn add_old_fields(settings: &mut Value) {
    let bridge = settings["Networks"]["bridge"].clone();
    for field in
        ["EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress"]
    {
        settings[field] = json!(bridge[field].as_str().unwrap_or_default());
    }
    for field in ["GlobalIPv6PrefixLen", "IPPrefixLen"] {
        settings[field] = json!(bridge[field].as_u64().unwrap_or_default());
    }
    settings["Bridge"] = json!("");
    settings["HairpinMode"] = json!(false);
    settings["LinkLocalIPv6Address"] = json!("");
    settings["LinkLocalIPv6PrefixLen"] = json!(0);
    settings["SecondaryIPAddresses"] = Value::Null;
    settings["SecondaryIPv6Addresses"] = Value::Null;
}

/// `Networks` of a listed or inspected container.
pub(crate) fn endpoints(
    seen: &mut Seen<'_>,
    instance: &Instance,
    origin: Option<&Origin>,
) -> BTreeMap<String, Endpoint> {
    let mut all = BTreeMap::new();
    let asked = |name: &str| origin.and_then(|origin| origin.endpoints.get(name));
    match &instance.spec.network {
        NetworkMode::Networks { attachments } => {
            let placed = instance.spec.placement.iter().flat_map(|it| &it.interfaces);
            for interface in placed {
                let name = docker_name(&interface.network);
                let endpoint = joined(seen, instance, interface, asked(name));
                all.insert(name.to_owned(), endpoint);
            }
            let names = attachments.iter().map(|it| it.network.as_str());
            let default = attachments.is_empty().then_some(DEFAULT_NETWORK);
            for network in names.chain(default) {
                let name = docker_name(network);
                if !all.contains_key(name) {
                    let network = seen.engine.network_id(seen.caller, network);
                    all.insert(name.to_owned(), Endpoint { network, ..empty(asked(name)) });
                }
            }
        }
        // One that was parted from its last network.
        NetworkMode::None
            if origin.is_some_and(|it| it.host.network_mode.as_deref() != Some("none")) => {}
        NetworkMode::Host | NetworkMode::None => {
            let name = mode_name(instance);
            let network = made_up_id(&["network", &name]);
            let endpoint = Endpoint { network, ..empty(asked(&name)) };
            all.insert(name, endpoint);
        }
        NetworkMode::Instance { .. } => {}
    }
    all
}

/// What was asked of a network, before anything of it is known.
fn empty(asked: Option<&EndpointSettings>) -> Endpoint {
    let Some(asked) = asked else { return Endpoint::default() };
    Endpoint {
        ipam: json!(asked.ipam_config),
        links: asked.links.clone(),
        aliases: asked.aliases.clone(),
        driver_opts: asked.driver_opts.clone(),
        gw_priority: asked.gw_priority.unwrap_or_default(),
        ..Endpoint::default()
    }
}

fn joined(
    seen: &mut Seen<'_>,
    instance: &Instance,
    interface: &Interface,
    asked: Option<&EndpointSettings>,
) -> Endpoint {
    let mut endpoint = empty(asked);
    let id = instance.meta.id.as_str();
    endpoint.network = interface.network_id.to_string();
    if let Some(wished) = wished(instance, &interface.network) {
        if !wished.aliases.is_empty() {
            endpoint.aliases = Some(wished.aliases.clone());
        }
        let fixed = [
            ("IPv4Address", wished.ipv4.map(|it| it.to_string())),
            ("IPv6Address", wished.ipv6.map(|it| it.to_string())),
        ];
        for (field, address) in fixed {
            if let Some(address) = address {
                endpoint.ipam[field] = json!(address);
            }
        }
    }
    if !instance.status.phase.is_live() {
        return endpoint;
    }
    endpoint.id = made_up_id(&["endpoint", id, interface.network_id.as_str()]);
    endpoint.mac_address = interface.mac.to_string();
    if let Some(address) = interface.ipv4 {
        endpoint.ipv4 = address.addr().to_string();
        endpoint.prefix4 = address.prefix_len();
    }
    if let Some(address) = interface.ipv6 {
        endpoint.ipv6 = address.addr().to_string();
        endpoint.prefix6 = address.prefix_len();
    }
    (endpoint.gateway, endpoint.gateway6) = seen.gateways(&interface.network);
    if interface.network != DEFAULT_NETWORK {
        let mut names = vec![instance.meta.name.clone()];
        names.extend(interface.aliases.iter().cloned());
        names.push(instance.meta.id.short().to_owned());
        names.dedup();
        endpoint.names = Some(names);
    }
    endpoint
}

/// What was wished of a network, when it was joined.
fn wished<'a>(instance: &'a Instance, network: &str) -> Option<&'a Attachment> {
    match &instance.spec.network {
        NetworkMode::Networks { attachments } => {
            attachments.iter().find(|it| it.network == network)
        }
        NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => None,
    }
}

/// The ports in force: those of the placement, each alone.
fn published(instance: &Instance) -> Vec<Port> {
    let ports = instance.spec.placement.iter().flat_map(|placement| &placement.ports);
    ports.flat_map(|port| port.expand().collect::<Vec<_>>()).collect()
}

/// `NetworkSettings.Ports`: those published, and those only exposed with nothing.
fn ports_of(instance: &Instance) -> Map<String, Value> {
    let mut all: Map<String, Value> =
        origin::exposed(instance).map(|port| (port.to_owned(), Value::Null)).collect();
    for port in published(instance) {
        let key = format!("{}/{}", port.target, port.protocol.as_str());
        let entry = all.entry(key).or_insert(Value::Null);
        if entry.is_null() {
            *entry = json!([]);
        }
        if let Value::Array(list) = entry {
            for address in addresses(&port) {
                let host = port.host.map(|host| host.to_string()).unwrap_or_default();
                list.push(json!({ "HostIp": address, "HostPort": host }));
            }
        }
    }
    all
}

/// The addresses of the host a port is reached at.
fn addresses(port: &Port) -> Vec<String> {
    match port.address {
        Some(address) => vec![address.to_string()],
        None => vec!["0.0.0.0".to_owned(), "::".to_owned()],
    }
}

/// `PortBindings` for ports that were asked for by other words.
pub(crate) fn bindings(_: &Instance, ports: &[Port]) -> PortMap {
    let mut map: PortMap = HashMap::new();
    for port in ports.iter().flat_map(|port| port.expand().collect::<Vec<_>>()) {
        let key = format!("{}/{}", port.target, port.protocol.as_str());
        let list = map.entry(key).or_insert_with(|| Some(Vec::new()));
        list.get_or_insert_default().push(PortBinding {
            host_ip: Some(port.address.map(|address| address.to_string()).unwrap_or_default()),
            host_port: Some(port.host.map(|host| host.to_string()).unwrap_or_default()),
        });
    }
    map
}

/// `Ports` of a listed container.
pub(crate) fn summary(instance: &Instance) -> Vec<Value> {
    if !instance.status.phase.is_live() {
        return Vec::new();
    }
    let ports = published(instance);
    let mut all = Vec::new();
    for exposed in origin::exposed(instance) {
        let Ok((first, last, protocol)) = crate::containers::translate::parse_port(exposed) else {
            continue;
        };
        for target in first..=last {
            if !ports.iter().any(|port| port.target == target && port.protocol == protocol) {
                all.push(json!({ "PrivatePort": target, "Type": protocol.as_str() }));
            }
        }
    }
    for port in &ports {
        for address in addresses(port) {
            all.push(json!({
                "IP": address,
                "PrivatePort": port.target,
                "PublicPort": port.host,
                "Type": port.protocol.as_str(),
            }));
        }
    }
    all
}
