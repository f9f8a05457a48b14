//! A network in Engine's words.

use std::net::IpAddr;
use std::sync::Arc;

use bollard_stubs::models::NetworkCreateRequest;
use ipnet::IpNet;
use model::instance::{Instance, Interface};
use model::meta::Labels;
use model::network::Network;
use serde_json::{Map, Value, json};

use super::Found;
use crate::containers::{docker_name, made_up_id};

/// What Docker asked of a network and the platform has no word for.
const REQUEST: &str = "io.monohull.docker.request";

/// The annotations that keep it.
pub(super) fn annotations(request: &NetworkCreateRequest) -> Labels {
    let kept = json!({
        "Options": request.options,
        "IpamOptions": request.ipam.as_ref().and_then(|ipam| ipam.options.as_ref()),
        "Auxiliary": auxiliary(request),
        "Attachable": request.attachable.unwrap_or_default(),
    });
    Labels::from([(REQUEST.to_owned(), kept.to_string())])
}

/// The names of addresses that were set aside.
fn auxiliary(request: &NetworkCreateRequest) -> Map<String, Value> {
    let pools = request.ipam.iter().flat_map(|ipam| ipam.config.iter().flatten());
    let named = pools.flat_map(|pool| pool.auxiliary_addresses.iter().flatten());
    named.map(|(name, address)| (name.clone(), json!(address))).collect()
}

/// A row of a list.
pub(super) fn summary(found: &Found) -> Value {
    match found {
        Found::Network(network) => of_network(network),
        Found::Predefined(name) => predefined(found, name),
    }
}

/// An inspected network: with the containers that run in it.
pub(super) fn whole(found: &Found, instances: &[Arc<Instance>]) -> Value {
    let mut document = summary(found);
    let members = present(found, instances);
    let members: Map<_, _> = members
        .map(|(instance, interface)| {
            let id = instance.meta.id.as_str();
            let endpoint = made_up_id(&["endpoint", id, interface.network_id.as_str()]);
            let text = |net: Option<String>| net.unwrap_or_default();
            let member = json!({
                "Name": instance.meta.name,
                "EndpointID": endpoint,
                "MacAddress": interface.mac,
                "IPv4Address": text(interface.ipv4.map(|net| net.to_string())),
                "IPv6Address": text(interface.ipv6.map(|net| net.to_string())),
            });
            (id.to_owned(), member)
        })
        .collect();
    document["Containers"] = Value::Object(members);
    document
}

/// The containers that run in it: what is stopped has no endpoint.
pub(super) fn present<'a>(
    found: &Found,
    instances: &'a [Arc<Instance>],
) -> impl Iterator<Item = (&'a Instance, &'a Interface)> {
    members(found, instances).filter(|(it, _)| it.status.phase.is_live())
}

fn members<'a>(
    found: &Found,
    instances: &'a [Arc<Instance>],
) -> impl Iterator<Item = (&'a Instance, &'a Interface)> {
    let id = found.id();
    instances.iter().filter_map(move |instance| {
        let interfaces = &instance.spec.placement.as_ref()?.interfaces;
        let interface = interfaces.iter().find(|it| it.network_id.as_str() == id)?;
        Some((&**instance, interface))
    })
}

fn of_network(network: &Network) -> Value {
    let kept = network.meta.annotations.get(REQUEST).map(String::as_str).unwrap_or_default();
    let kept: Value = serde_json::from_str(kept).unwrap_or_default();
    let spec = &network.spec;
    let mut pools = Vec::new();
    if let Some(net) = spec.ipv4 {
        let mut pool = json!({ "Subnet": net.to_string() });
        if let Some(range) = spec.range4 {
            pool["IPRange"] = json!(range.to_string());
        }
        pool["Gateway"] = json!(spec.host4().map(|net| net.addr()));
        set_aside(&mut pool, &kept, &net.into());
        pools.push(pool);
    }
    if let Some(net) = spec.ipv6 {
        let gateway = spec.host6().map(|net| net.addr());
        let mut pool = json!({ "Subnet": net.to_string(), "Gateway": gateway });
        set_aside(&mut pool, &kept, &net.into());
        pools.push(pool);
    }
    let options = match &kept["Options"] {
        Value::Null if network.meta.name == model::network::DEFAULT_NETWORK => json!({
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": network.status.bridge,
            "com.docker.network.driver.mtu": spec.mtu.unwrap_or(1500).to_string(),
        }),
        Value::Null => json!({}),
        options => options.clone(),
    };
    json!({
        "Name": docker_name(&network.meta.name),
        "Id": network.meta.id.as_str(),
        "Created": network.meta.created.to_string(),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": true,
        "EnableIPv6": spec.enable_ipv6,
        "IPAM": { "Driver": "default", "Options": kept["IpamOptions"], "Config": pools },
        "Internal": spec.internal,
        "Attachable": kept["Attachable"].as_bool().unwrap_or_default(),
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": {},
        "Options": options,
        "Labels": network.meta.labels,
    })
}

/// Puts the named addresses of a subnet to it.
fn set_aside(pool: &mut Value, kept: &Value, net: &IpNet) {
    let inside = |address: &Value| {
        let address = address.as_str().and_then(|text| text.parse::<IpAddr>().ok());
        address.is_some_and(|address| net.contains(&address))
    };
    let named = kept["Auxiliary"].as_object().into_iter().flatten();
    let own: Map<_, _> =
        named.filter(|(_, it)| inside(it)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if !own.is_empty() {
        pool["AuxiliaryAddresses"] = Value::Object(own);
    }
}

fn predefined(found: &Found, name: &str) -> Value {
    json!({
        "Name": name,
        "Id": found.id(),
        "Created": crate::containers::NEVER,
        "Scope": "local",
        "Driver": if name == "none" { "null" } else { name },
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": null },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": {},
        "Options": {},
        "Labels": {},
    })
}
