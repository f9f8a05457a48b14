//! `POST /networks/create`.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use bollard_stubs::models::{Ipam, NetworkCreateRequest};
use control::{Caller, Mode, New};
use http::StatusCode;
use ipnet::IpNet;
use model::ErrorKind;
use model::network::NetworkSpec;
use serde_json::json;

use super::{PREDEFINED, show};
use crate::body::Json;
use crate::failure::{Failure, Reply};
use crate::{Engine, Shared};

pub(super) async fn create(
    State(engine): Shared,
    Extension(caller): crate::By,
    Json(request): Json<NetworkCreateRequest>,
) -> Reply {
    let name = request.name.trim();
    if name.is_empty() {
        return Err(Failure::bad("invalid name: name is empty"));
    }
    if PREDEFINED.contains(&name) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            format!("operation is not permitted on predefined {name} network"),
        ));
    }
    refuse_plugins(&engine, &caller, &request).await?;
    let spec = spec(&request)?;
    let mut new = New::named(name, spec);
    new.labels = request.labels.clone().unwrap_or_default().into_iter().collect();
    new.annotations = show::annotations(&request);
    let networks = engine.control.networks();
    let made = networks.create(&caller, &engine.project, new, Mode::Apply).await;
    let made = made.map_err(|error| match error.kind() {
        ErrorKind::Exists => Failure::conflict(format!("network with name {name} already exists")),
        ErrorKind::Conflict => Failure::new(
            StatusCode::FORBIDDEN,
            format!(
                "invalid pool request: Pool overlaps with other one on this address space: {}",
                error.chain()
            ),
        ),
        _ => error.into(),
    })?;
    let answer = json!({ "Id": made.meta.id.as_str(), "Warning": "" });
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// Says plainly that plugins have no networks here, of one that is there.
async fn refuse_plugins(
    engine: &Engine,
    caller: &Caller,
    request: &NetworkCreateRequest,
) -> Reply<()> {
    let ipam = request.ipam.as_ref().and_then(|ipam| ipam.driver.as_deref());
    let asked = [request.driver.as_deref(), ipam];
    let plugins = engine.control.volumes().plugin_names(caller).await.unwrap_or_default();
    match asked.into_iter().flatten().find(|name| plugins.iter().any(|plugin| plugin == name)) {
        None => Ok(()),
        Some(plugin) => Err(Failure::unserved(format!(
            "plugin {plugin:?}: networks and addresses of plugins are not served by this engine: use \
             driver \"bridge\""
        ))),
    }
}

fn spec(request: &NetworkCreateRequest) -> Reply<NetworkSpec> {
    match request.driver.as_deref() {
        None | Some("" | "default" | "bridge") => {}
        Some(driver @ ("host" | "null")) => {
            return Err(Failure::new(
                StatusCode::FORBIDDEN,
                format!("only one instance of \"{driver}\" network is allowed"),
            ));
        }
        Some("overlay") => {
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, crate::swarm::NO_MANAGER));
        }
        Some(driver @ ("macvlan" | "ipvlan")) => {
            return Err(Failure::unserved(format!(
                "networks of driver {driver:?} are not served by this engine"
            )));
        }
        Some(driver) => return Err(Failure::not_found(format!("plugin \"{driver}\" not found"))),
    }
    let unserved = [
        (request.ingress.unwrap_or_default(), "Ingress"),
        (request.config_only.unwrap_or_default(), "ConfigOnly"),
        (request.config_from.as_ref().is_some_and(|it| it.network.is_some()), "ConfigFrom"),
        (!request.enable_ipv4.unwrap_or(true), "EnableIPv4"),
    ];
    if let Some((_, field)) = unserved.into_iter().find(|(given, _)| *given) {
        // Clients send an empty source.
        let empty = field == "ConfigFrom"
            && request.config_from.as_ref().and_then(|it| it.network.as_deref()) == Some("");
        if !empty {
            return Err(Failure::unserved(format!("{field} is not served by this engine")));
        }
    }
    let mut spec = NetworkSpec {
        enable_ipv6: request.enable_ipv6.unwrap_or_default(),
        internal: request.internal.unwrap_or_default(),
        ..NetworkSpec::default()
    };
    if let Some(ipam) = &request.ipam {
        addresses(&mut spec, ipam)?;
    }
    options(&mut spec, request.options.as_ref())?;
    Ok(spec)
}

fn addresses(spec: &mut NetworkSpec, ipam: &Ipam) -> Reply<()> {
    match ipam.driver.as_deref() {
        None | Some("" | "default") => {}
        Some(driver) => return Err(Failure::not_found(format!("plugin \"{driver}\" not found"))),
    }
    for config in ipam.config.iter().flatten() {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        for (name, address) in config.auxiliary_addresses.iter().flatten() {
            spec.reserved.push(address.parse().map_err(|_| {
                Failure::bad(format!(
                    "invalid network config:\ninvalid auxiliary address {name}: {address}"
                ))
            })?);
        }
        let Some(subnet) = text(&config.subnet) else {
            if text(&config.ip_range).or(text(&config.gateway)).is_some() {
                return Err(Failure::bad("an IP range or gateway needs the subnet too"));
            }
            continue;
        };
        let wrong = |what: &str, text: &str| {
            Failure::bad(format!(
                "invalid network config:\ninvalid {what} {text}: invalid CIDR block notation"
            ))
        };
        let net: IpNet = subnet.parse().map_err(|_| wrong("subnet", &subnet))?;
        if net.addr() != net.network() {
            return Err(Failure::bad(format!(
                "invalid network config:\ninvalid subnet {subnet}: it should be {}",
                net.trunc()
            )));
        }
        let gateway = text(&config.gateway);
        match net {
            IpNet::V4(net) if spec.ipv4.is_none() => {
                spec.ipv4 = Some(net);
                let parse = |text: String| text.parse().map_err(|_| wrong("gateway", &text));
                spec.gateway4 = gateway.map(parse).transpose()?;
                let parse = |text: String| text.parse().map_err(|_| wrong("ip-range", &text));
                spec.range4 = text(&config.ip_range).map(parse).transpose()?;
            }
            IpNet::V6(net) if spec.ipv6.is_none() => {
                spec.ipv6 = Some(net);
                spec.enable_ipv6 = true;
                let parse = |text: String| text.parse().map_err(|_| wrong("gateway", &text));
                spec.gateway6 = gateway.map(parse).transpose()?;
            }
            IpNet::V4(_) | IpNet::V6(_) => {
                return Err(Failure::unserved(
                    "a network has one subnet of each family in this engine",
                ));
            }
        }
    }
    Ok(())
}

/// Options of the bridge driver: one is meant, others are refused unless they say what is so anyway.
fn options(spec: &mut NetworkSpec, options: Option<&HashMap<String, String>>) -> Reply<()> {
    for (name, value) in options.into_iter().flatten() {
        match (name.as_str(), value.as_str()) {
            ("com.docker.network.driver.mtu", mtu) => {
                spec.mtu = Some(mtu.parse().map_err(|_| {
                    Failure::bad(format!("failed to parse {name} value: {value:?}"))
                })?);
            }
            (
                "com.docker.network.bridge.enable_icc"
                | "com.docker.network.bridge.enable_ip_masquerade",
                "true" | "1",
            )
            | ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0")
            | ("com.docker.network.enable_ipv6", _)
            | ("com.docker.network.enable_ipv4", "true")
            | ("com.docker.network.container_iface_prefix", "eth") => {}
            _ if name.starts_with("com.docker.network.") => {
                return Err(Failure::unserved(format!(
                    "the network option {name}={value} is not served by this engine"
                )));
            }
            // What no driver knows is a label to it.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::IpamConfig;

    use super::*;

    fn made(change: impl FnOnce(&mut NetworkCreateRequest)) -> Result<NetworkSpec, String> {
        let mut request = NetworkCreateRequest { name: "n".into(), ..Default::default() };
        change(&mut request);
        spec(&request).map_err(|failure| failure.message)
    }

    #[test]
    fn what_a_network_can_be() {
        let subnet = |text: &str| Ipam {
            config: Some(vec![IpamConfig { subnet: Some(text.into()), ..Default::default() }]),
            ..Default::default()
        };
        let good = made(|it| it.ipam = Some(subnet("10.9.0.0/24"))).unwrap();
        assert_eq!(good.ipv4.unwrap().to_string(), "10.9.0.0/24");
        assert!(made(|it| it.ipam = Some(subnet("10.9.0.1/24"))).is_err());
        assert!(made(|it| it.ipam = Some(subnet("x"))).is_err());
        assert!(made(|it| it.driver = Some("nope".into())).unwrap_err().contains("not found"));
        let option = |name: &str, value: &str| Some([(name.into(), value.into())].into());
        let mtu = made(|it| it.options = option("com.docker.network.driver.mtu", "1400")).unwrap();
        assert_eq!(mtu.mtu, Some(1400));
        let name = made(|it| it.options = option("com.docker.network.bridge.name", "br9"));
        assert!(name.is_err());
    }
}
