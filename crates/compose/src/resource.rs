//! What stands at the top of a file beside services: networks, volumes, secrets, configs.

use std::net::IpAddr;

use ipnet::IpNet;
use model::network::NetworkSpec;
use model::volume::{LOCAL, VolumeSpec};

use crate::field::Field;
use crate::files::{Miss, Reading, resolve};
use crate::interpolate::Variables;
use crate::service::volume_name;
use crate::wanted::{Named, SecretSource, WantedConfig, WantedNetwork, WantedSecret, WantedVolume};
use crate::yaml::Value;

/// Most bytes of a secret or config.
const MOST_BYTES: usize = 500 << 10;
/// Docker's option for the largest packet of a network.
const MTU: &str = "com.docker.network.driver.mtu";

/// What something is called, and whether it is there already.
fn named(key: &str, field: &Field<'_>) -> Named {
    let mut object = Named { key: volume_name(key), ..Named::default() };
    object.name = field.get("name").and_then(|it| it.text()).map(volume_name).unwrap_or_default();
    if let Some(external) = field.get("external") {
        match &external.node.value {
            // Version 2 and 3.0 have the name here.
            Value::Map(_) => {
                object.external = true;
                if let Some(name) = external.get("name").and_then(|it| it.text()) {
                    object.name = volume_name(name);
                }
            }
            Value::Null | Value::Text(_) | Value::List(_) => {
                object.external = external.flag().unwrap_or_default();
            }
        }
    }
    if object.external && object.name.is_empty() {
        object.name.clone_from(&object.key);
    }
    object.labels = field.get("labels").map(|it| it.labels()).unwrap_or_default();
    object
}

pub(crate) fn network(key: &str, field: &Field<'_>) -> WantedNetwork {
    let object = named(key, field);
    let mut spec = NetworkSpec::default();
    if let Some(driver) = field.get("driver") {
        match driver.text().unwrap_or_default() {
            "bridge" | "overlay" | "default" | "" => {}
            "host" | "none" if object.external => {}
            name => driver.refuse(format!("{name:?} is no driver of networks; leave it out")),
        }
    }
    let flag = |key: &str| field.get(key).and_then(|it| it.flag());
    spec.internal = flag("internal").unwrap_or_default();
    spec.enable_ipv6 = flag("enable_ipv6").unwrap_or_default();
    if flag("enable_ipv4") == Some(false)
        && let Some(field) = field.get("enable_ipv4")
    {
        field.refuse("every network has IPv4");
    }
    for (name, value) in field.get("driver_opts").map(|it| it.entries()).unwrap_or_default() {
        match name {
            MTU => spec.mtu = value.integer(),
            _ => value.ignore(format!("of a network's options {MTU} is known")),
        }
    }
    if let Some(ipam) = field.get("ipam") {
        addresses(&ipam, &mut spec);
    }
    WantedNetwork { object, spec }
}

fn addresses(ipam: &Field<'_>, spec: &mut NetworkSpec) {
    if let Some(driver) = ipam.get("driver")
        && driver.text().is_some_and(|name| name != "default")
    {
        driver.refuse("addresses are given out by the platform");
    }
    for pool in ipam.get("config").map(|it| it.items()).unwrap_or_default() {
        let gateway: Option<IpAddr> = pool.get("gateway").and_then(|it| it.parsed("an address"));
        match pool.get("subnet").and_then(|it| it.parsed::<IpNet>("a subnet such as 10.9.0.0/24")) {
            Some(IpNet::V4(net)) => {
                spec.ipv4 = Some(net.trunc());
                spec.range4 = pool.get("ip_range").and_then(|it| it.parsed("a range"));
                spec.gateway4 = match gateway {
                    Some(IpAddr::V4(address)) => Some(address),
                    Some(IpAddr::V6(_)) | None => None,
                };
            }
            Some(IpNet::V6(net)) => {
                spec.enable_ipv6 = true;
                spec.ipv6 = Some(net.trunc());
                spec.gateway6 = match gateway {
                    Some(IpAddr::V6(address)) => Some(address),
                    Some(IpAddr::V4(_)) | None => None,
                };
            }
            None => {}
        }
        for (_, address) in pool.get("aux_addresses").map(|it| it.entries()).unwrap_or_default() {
            spec.reserved.extend(address.parsed::<IpAddr>("an address"));
        }
    }
}

pub(crate) fn volume(key: &str, field: &Field<'_>) -> WantedVolume {
    let object = named(key, field);
    let mut spec = VolumeSpec::default();
    if let Some(driver) = field.get("driver") {
        spec.storage = match driver.text().unwrap_or_default() {
            "" | "local" | "default" => LOCAL.to_owned(),
            name => volume_name(name),
        };
    }
    for (name, value) in field.get("driver_opts").map(|it| it.entries()).unwrap_or_default() {
        let Some(text) = value.text() else { continue };
        match (name, spec.storage.as_str()) {
            ("size", LOCAL) => spec.size = value.read(),
            _ => drop(spec.options.insert(name.to_owned(), text.to_owned())),
        }
    }
    if let Some(size) = field.get("x-monohull").and_then(|it| it.get("size")) {
        spec.size = size.read();
    }
    WantedVolume { object, spec }
}

/// Where a secret's or config's value comes from. `None` when it is told why there is none.
fn value(field: &Field<'_>, reading: &mut Reading<'_>, variables: &Variables) -> Option<Vec<u8>> {
    let sources = ["file", "environment", "content"];
    let given: Vec<_> =
        sources.into_iter().filter_map(|key| Some((key, field.get_null(key)?))).collect();
    let [(kind, source)] = given.as_slice() else {
        field.refuse("one of file, environment, content and external belongs here");
        return None;
    };
    let text = source.text()?;
    let value = match *kind {
        "content" => text.as_bytes().to_vec(),
        "environment" => match variables.get(text) {
            Some(value) => value.as_bytes().to_vec(),
            None => {
                source.refuse(format!("variable {text} is not set"));
                return None;
            }
        },
        _ => {
            let path = match resolve(&source.at().source.directory, text) {
                Ok(path) => path,
                Err(why) => {
                    source.refuse(why);
                    return None;
                }
            };
            match reading.bytes(&path) {
                Ok(value) => value,
                Err(Miss::Absent) => {
                    source.refuse(format!("there is no file {path}"));
                    return None;
                }
                Err(Miss::Bad(why)) => {
                    source.refuse(why);
                    return None;
                }
            }
        }
    };
    if value.len() > MOST_BYTES {
        source
            .refuse(format!("more than {} KiB; put what is bigger in a volume", MOST_BYTES >> 10));
        return None;
    }
    Some(value)
}

/// Where the value of a secret comes from; `None` when that is not said well, which reading it tells.
pub(crate) fn secret_source(key: &str, field: &Field<'_>) -> Option<SecretSource> {
    let object = named(key, field);
    if object.external {
        return Some(SecretSource::Platform(object.name));
    }
    match (field.get("file"), field.get("environment")) {
        (Some(file), None) => {
            let found = resolve(&file.at().source.directory, file.node.as_text()?);
            found.ok().map(SecretSource::File)
        }
        (None, Some(variable)) => {
            variable.node.as_text().map(|name| SecretSource::Environment(name.to_owned()))
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

pub(crate) fn secret(
    key: &str,
    field: &Field<'_>,
    reading: &mut Reading<'_>,
    variables: &Variables,
) -> Option<WantedSecret> {
    let object = named(key, field);
    let value = if object.external { Vec::new() } else { value(field, reading, variables)? };
    if !object.external && value.is_empty() {
        field.refuse("a secret has a value");
    }
    Some(WantedSecret { object, value })
}

pub(crate) fn config(
    key: &str,
    field: &Field<'_>,
    reading: &mut Reading<'_>,
    variables: &Variables,
) -> Option<WantedConfig> {
    let object = named(key, field);
    let value = if object.external { Vec::new() } else { value(field, reading, variables)? };
    Some(WantedConfig { object, value })
}
