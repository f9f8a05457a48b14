//! The networks a container is joined to, and its ports.

use std::collections::HashMap;

use bollard_stubs::models::{PortBinding, PortMap};
use control::Caller;
use model::instance::{Attachment, Instance, Interface, NetworkMode, Port};
use model::network::DEFAULT_NETWORK;
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
        "Networks": endpoints(engine, caller, instance, origin),
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
    engine: &Engine,
    caller: &Caller,
    instance: &Instance,
    origin: Option<&Origin>,
) -> Map<String, Value> {
    let mut all = Map::new();
    let asked = |name: &str| origin.and_then(|origin| origin.endpoints.get(name));
    match &instance.spec.network {
        NetworkMode::Networks { attachments } => {
            let placed = instance.spec.placement.iter().flat_map(|it| &it.interfaces);
            for interface in placed {
                let name = docker_name(&interface.network);
                all.insert(
                    name.to_owned(),
                    joined(engine, caller, instance, interface, asked(name)),
                );
            }
            let names = attachments.iter().map(|it| it.network.as_str());
            let default = attachments.is_empty().then_some(DEFAULT_NETWORK);
            for network in names.chain(default) {
                let name = docker_name(network);
                if !all.contains_key(name) {
                    let mut endpoint = empty(asked(name));
                    endpoint["NetworkID"] = json!(engine.network_id(caller, network));
                    all.insert(name.to_owned(), endpoint);
                }
            }
        }
        // One that was parted from its last network.
        NetworkMode::None
            if origin.is_some_and(|it| it.host.network_mode.as_deref() != Some("none")) => {}
        NetworkMode::Host | NetworkMode::None => {
            let name = mode_name(instance);
            let mut endpoint = empty(asked(&name));
            endpoint["NetworkID"] = json!(made_up_id(&["network", &name]));
            all.insert(name, endpoint);
        }
        NetworkMode::Instance { .. } => {}
    }
    all
}

fn empty(asked: Option<&bollard_stubs::models::EndpointSettings>) -> Value {
    json!({
        "IPAMConfig": asked.and_then(|it| it.ipam_config.as_ref()),
        "Links": asked.and_then(|it| it.links.as_ref()),
        "Aliases": asked.and_then(|it| it.aliases.as_ref()),
        "DriverOpts": asked.and_then(|it| it.driver_opts.as_ref()),
        "GwPriority": asked.and_then(|it| it.gw_priority).unwrap_or_default(),
        "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "MacAddress": "",
        "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "DNSNames": null,
    })
}

fn joined(
    engine: &Engine,
    caller: &Caller,
    instance: &Instance,
    interface: &Interface,
    asked: Option<&bollard_stubs::models::EndpointSettings>,
) -> Value {
    let mut endpoint = empty(asked);
    let id = instance.meta.id.as_str();
    endpoint["NetworkID"] = json!(interface.network_id.as_str());
    if let Some(wished) = wished(instance, &interface.network) {
        if !wished.aliases.is_empty() {
            endpoint["Aliases"] = json!(wished.aliases);
        }
        let fixed = [
            ("IPv4Address", wished.ipv4.map(|it| it.to_string())),
            ("IPv6Address", wished.ipv6.map(|it| it.to_string())),
        ];
        for (field, address) in fixed {
            if let Some(address) = address {
                endpoint["IPAMConfig"][field] = json!(address);
            }
        }
    }
    if !instance.status.phase.is_live() {
        return endpoint;
    }
    endpoint["EndpointID"] = json!(made_up_id(&["endpoint", id, interface.network_id.as_str()]));
    endpoint["MacAddress"] = json!(interface.mac);
    if let Some(address) = interface.ipv4 {
        endpoint["IPAddress"] = json!(address.addr());
        endpoint["IPPrefixLen"] = json!(address.prefix_len());
    }
    if let Some(address) = interface.ipv6 {
        endpoint["GlobalIPv6Address"] = json!(address.addr());
        endpoint["GlobalIPv6PrefixLen"] = json!(address.prefix_len());
    }
    let (gateway4, gateway6) = engine.gateways(caller, &interface.network);
    endpoint["Gateway"] = json!(gateway4);
    endpoint["IPv6Gateway"] = json!(gateway6);
    if interface.network != DEFAULT_NETWORK {
        let mut names = vec![instance.meta.name.clone()];
        names.extend(interface.aliases.iter().cloned());
        names.push(instance.meta.id.short().to_owned());
        names.dedup();
        endpoint["DNSNames"] = json!(names);
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
