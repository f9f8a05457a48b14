//! `POST /containers/create`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bollard_stubs::models::{
    ContainerConfig, ContainerCreateBody, EndpointSettings, HostConfig, MountType,
};
use control::{Caller, Mode, New};
use http::StatusCode;
use model::image::{Image, ImageConfig};
use model::instance::{Instance, InstanceSpec, Mount, MountKind, NetworkMode, Probe, Sharing};
use model::{ErrorKind, Uid};
use serde::Deserialize;
use serde_json::json;

use super::origin::{self, Origin};
use super::translate::{self, Asked, Inherited};
use crate::body::Json;
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::volumes::{Wanted, prepare};
use crate::{Engine, Shared, words};

/// The request's body, with what older clients wrote into it.
#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(flatten)]
    body: ContainerCreateBody,
    #[serde(rename = "MacAddress")]
    mac: Option<String>,
}

/// A request taken apart.
struct Parts {
    config: ContainerConfig,
    host: HostConfig,
    endpoints: Vec<(String, EndpointSettings)>,
    mac: Option<String>,
}

pub(super) async fn create(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
    Json(body): Json<Body>,
) -> Reply {
    let asked_name = query.given("name").filter(|name| !name.is_empty());
    let name = asked_name.map(|name| name.strip_prefix('/').unwrap_or(name));
    if let (Some(name), Some(asked)) = (name, asked_name) {
        check_name(name, asked)?;
    }
    let mut parts = take_apart(body);
    if parts.config == ContainerConfig::default() {
        return Err(Failure::bad("config cannot be empty in order to create a container"));
    }
    name_networks(&engine, &caller, &mut parts);
    refuse_own_annotations(&parts.host)?;
    let asked = parts.config.image.clone().unwrap_or_default();
    if asked.is_empty() {
        return Err(Failure::bad("no command specified"));
    }
    let image = engine.image(&caller, &asked).await?;
    refuse_platform(&image, &asked, query.text("platform"))?;
    merge(&mut parts.config, &image.config);
    let id = Uid::random();
    name_host(&mut parts, &id);
    let links = links(&engine, &caller, &parts).await?;
    make_volumes(&engine, &caller, &parts, &image).await?;
    let new = new_instance(&engine, &caller, name, &parts, &image, &links)?;
    let instances = engine.control.instances();
    let made = instances.create_with_id(id, &caller, &engine.project, new, Mode::Apply).await;
    let made = made.map_err(|error| refusal(&engine, &caller, name, error))?;
    let answer = json!({ "Id": made.meta.id.as_str(), "Warnings": warnings(&parts) });
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// What is not done as asked, and said so.
fn warnings(parts: &Parts) -> Vec<&'static str> {
    let host = &parts.host;
    let mut all = Vec::new();
    let published = host.port_bindings.as_ref().is_some_and(|map| !map.is_empty())
        || host.publish_all_ports.unwrap_or_default();
    if host.network_mode.as_deref() == Some("host") && published {
        all.push("Published ports are discarded when using host network mode");
    }
    if host.oom_kill_disable.unwrap_or_default() && host.memory.unwrap_or_default() == 0 {
        all.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the \
             system running out of resources.",
        );
    }
    all
}

fn check_name(name: &str, asked: &str) -> Reply<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && name.chars().all(good) && name.chars().count() >= 2 {
        return Ok(());
    }
    Err(Failure::bad(format!(
        "Invalid container name ({asked}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

fn take_apart(Body { body, mac }: Body) -> Parts {
    let endpoints = body.networking_config.and_then(|it| it.endpoints_config).unwrap_or_default();
    let endpoints: BTreeMap<_, _> = endpoints.into_iter().collect();
    let config = ContainerConfig {
        hostname: body.hostname,
        domainname: body.domainname,
        user: body.user,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        exposed_ports: body.exposed_ports,
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        env: body.env,
        cmd: body.cmd,
        healthcheck: body.healthcheck,
        args_escaped: body.args_escaped,
        image: body.image,
        volumes: body.volumes,
        working_dir: body.working_dir,
        entrypoint: body.entrypoint,
        network_disabled: body.network_disabled,
        on_build: body.on_build,
        labels: body.labels,
        stop_signal: body.stop_signal,
        stop_timeout: body.stop_timeout,
        shell: body.shell,
    };
    Parts {
        config,
        host: body.host_config.unwrap_or_default(),
        endpoints: endpoints.into_iter().collect(),
        mac,
    }
}

/// A container's configuration, its host's, and its networks by name.
#[cfg(test)]
type AsWritten = (ContainerConfig, HostConfig, Vec<(String, EndpointSettings)>);

/// The parts of a request as tests write it.
#[cfg(test)]
pub(super) fn take_apart_json(body: serde_json::Value) -> Reply<AsWritten> {
    let parts = take_apart(crate::body::parse(body.to_string().as_bytes())?);
    Ok((parts.config, parts.host, parts.endpoints))
}

fn refuse_platform(image: &Image, name: &str, platform: &str) -> Reply<()> {
    if platform.split('/').count() > 3 {
        return Err(Failure::bad(format!(
            "{platform:?}: cannot parse platform specifier: invalid argument"
        )));
    }
    let mut words = platform.split('/').filter(|word| !word.is_empty());
    let os = words.next().is_none_or(|os| os == image.os || os == image.architecture);
    let architecture = words.next().is_none_or(|it| it == image.architecture);
    if os && architecture {
        return Ok(());
    }
    Err(Failure::not_found(format!(
        "image with reference {name} was found but its platform ({}/{}) does not match the specified \
         platform ({platform})",
        image.os, image.architecture
    )))
}

/// Completes the configuration from the image's, as Engine does.
fn merge(config: &mut ContainerConfig, image: &ImageConfig) {
    let or = |field: &mut Option<String>, text: &str| {
        if field.as_deref().unwrap_or_default().is_empty() {
            *field = Some(text.to_owned());
        }
    };
    or(&mut config.user, &image.user);
    or(&mut config.working_dir, &image.workdir);
    or(&mut config.stop_signal, &image.stop_signal);
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = Some(image.command.clone()).filter(|words| !words.is_empty());
        }
        if config.entrypoint.is_none() {
            config.entrypoint = Some(image.entrypoint.clone()).filter(|words| !words.is_empty());
        }
    }
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let env = config.env.get_or_insert_default();
    let known: Vec<_> = env.iter().map(|entry| name(entry)).collect();
    env.extend(image.env.iter().filter(|entry| !known.contains(&name(entry))).cloned());
    // A name alone takes a variable away.
    env.retain(|entry| entry.contains('='));
    let labels = config.labels.get_or_insert_default();
    for (key, value) in &image.labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let ports = config.exposed_ports.get_or_insert_default();
    ports.extend(image.exposed_ports.iter().cloned());
    ports.sort();
    ports.dedup();
    let volumes = config.volumes.get_or_insert_default();
    volumes.extend(image.volumes.iter().cloned());
    volumes.sort();
    volumes.dedup();
    merge_health(config, image);
}

fn merge_health(config: &mut ContainerConfig, image: &ImageConfig) {
    let Some(health) = &image.health else { return };
    let mut theirs = super::show::config::health(health);
    if let Some(own) = &config.healthcheck {
        if own.test.as_ref().is_some_and(|test| !test.is_empty()) {
            theirs.test.clone_from(&own.test);
        }
        let number = |own: Option<i64>, theirs: Option<i64>| own.filter(|it| *it != 0).or(theirs);
        theirs.interval = number(own.interval, theirs.interval);
        theirs.timeout = number(own.timeout, theirs.timeout);
        theirs.start_period = number(own.start_period, theirs.start_period);
        theirs.start_interval = number(own.start_interval, theirs.start_interval);
        theirs.retries = number(own.retries, theirs.retries);
    } else if health.probe == Probe::None {
        return;
    }
    config.healthcheck = Some(theirs);
}

/// A container without a host name has the beginning of its id.
fn name_host(parts: &mut Parts, id: &Uid) {
    let mode = parts.host.network_mode.as_deref().unwrap_or_default();
    let own = mode != "host" && !mode.starts_with("container:");
    let own = own && parts.host.uts_mode.as_deref() != Some("host");
    let hostname = &mut parts.config.hostname;
    if own && hostname.as_deref().unwrap_or_default().is_empty() {
        *hostname = Some(id.short().to_owned());
    }
}

fn new_instance(
    engine: &Engine,
    caller: &Caller,
    name: Option<&str>,
    parts: &Parts,
    image: &Image,
    links: &[(String, IpAddr)],
) -> Reply<New<model::instance::InstanceNoun>> {
    let inherited = inherited(engine, caller, &parts.host)?;
    let asked = Asked {
        config: &parts.config,
        host: &parts.host,
        endpoints: &parts.endpoints,
        mac: parts.mac.as_deref(),
        image,
        inherited: &inherited,
        links,
        cpus: engine.cpus(caller),
    };
    let mut spec = translate::spec(&asked)?;
    name_partners(engine, caller, &mut spec)?;
    let labels = parts.config.labels.clone().unwrap_or_default().into_iter().collect();
    let origin = Origin {
        config: parts.config.clone(),
        host: parts.host.clone(),
        endpoints: parts.endpoints.iter().cloned().collect::<HashMap<_, _>>(),
    };
    let mut annotations = origin.annotations(&image.id);
    annotations.extend(parts.host.annotations.clone().unwrap_or_default());
    for mount in spec.containers.iter_mut().flat_map(|container| &mut container.mounts) {
        let MountKind::Volume { name, .. } = &mount.kind else { continue };
        if let Some(kind) = engine.stand_in(caller, name) {
            origin::note_stand_in(&mut annotations, name, &mount.target);
            mount.kind = kind;
        }
    }
    Ok(New { name: name.map(str::to_owned), labels, annotations, spec, owner: None })
}

/// Names the networks, which are often given by id. What is not there is told of when it is joined.
fn name_networks(engine: &Engine, caller: &Caller, parts: &mut Parts) {
    let named = |name: &str| engine.network_name(caller, name);
    let mode = parts.host.network_mode.get_or_insert_default();
    if !mode.starts_with("container:") {
        *mode = named(mode);
    }
    for (name, _) in &mut parts.endpoints {
        *name = named(name);
    }
}

/// Annotations of the platform's own are not given by clients.
fn refuse_own_annotations(host: &HostConfig) -> Reply<()> {
    match host.annotations.iter().flatten().find(|(key, _)| origin::is_own(key)) {
        None => Ok(()),
        Some((key, _)) => Err(Failure::bad(format!("annotation {key} is the engine's own"))),
    }
}

/// Makes the volumes that are to be made with options or labels or by a plugin, before they are
/// mounted.
async fn make_volumes(engine: &Engine, caller: &Caller, parts: &Parts, image: &Image) -> Reply<()> {
    let host = &parts.host;
    let driver = Wanted { driver: host.volume_driver.clone(), ..Wanted::default() };
    check_volume_driver(engine, caller, &driver).await?;
    for mount in host.mounts.iter().flatten() {
        if !matches!(mount.typ, None | Some(MountType::VOLUME)) {
            continue;
        }
        let options = mount.volume_options.clone().unwrap_or_default();
        let driver = options.driver_config.unwrap_or_default();
        let wanted = Wanted {
            driver: driver.name,
            labels: options.labels.unwrap_or_default(),
            options: driver.options.unwrap_or_default(),
        };
        let name = mount.source.as_deref().unwrap_or_default();
        if name.is_empty() && !wanted.is_plain() {
            return Err(nameless("labels, options and drivers"));
        }
        prepare(engine, caller, name, wanted).await?;
    }
    for bind in host.binds.iter().flatten() {
        let name = bind.split_once(':').map_or("", |(source, _)| source);
        if !name.starts_with('/') {
            prepare(engine, caller, name, driver.clone()).await?;
        }
    }
    let asked = parts.config.volumes.iter().flatten();
    match asked.filter(|path| !image.config.volumes.contains(path)).count() {
        0 => Ok(()),
        _ if driver.is_plain() => Ok(()),
        _ => Err(nameless("drivers")),
    }
}

fn nameless(what: &str) -> Failure {
    Failure::unserved(format!("{what} of a volume without a name are not served by this engine"))
}

/// Refuses a driver that is no plugin's, whether volumes are asked for or not.
async fn check_volume_driver(engine: &Engine, caller: &Caller, driver: &Wanted) -> Reply<()> {
    let Some(name) = driver.plugin() else { return Ok(()) };
    if engine.control.volumes().plugin_names(caller).await?.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(Failure::not_found(format!(
        "error looking up volume plugin {name}: plugin \"{name}\" not found"
    )))
}

/// Names the containers whose namespaces are shared, which are often given by id.
fn name_partners(engine: &Engine, caller: &Caller, spec: &mut InstanceSpec) -> Reply<()> {
    let resolve = |name: &mut String, before: &str| -> Reply<()> {
        let other = super::find(engine, caller, name)
            .map_err(|failure| absent(format!("{before}{}", failure.message)))?;
        other.meta.name.clone_into(name);
        Ok(())
    };
    if let NetworkMode::Instance { name } = &mut spec.network {
        resolve(name, "joining network namespace of container: ")?;
    }
    for sharing in [&mut spec.pid, &mut spec.ipc, &mut spec.uts] {
        if let Sharing::Instance(name) = sharing {
            resolve(name, "")?;
        }
    }
    Ok(())
}

/// What the containers named in `VolumesFrom` mount.
fn inherited(engine: &Engine, caller: &Caller, host: &HostConfig) -> Reply<Vec<Inherited>> {
    let mut all = Vec::new();
    for text in host.volumes_from.iter().flatten() {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
            return Err(Failure::bad(format!("invalid mode: {mode}")));
        }
        let other = super::find(engine, caller, name).map_err(|failure| absent(failure.message))?;
        for mut mount in mounts_of(&other) {
            mount.read_only |= mode == "ro";
            all.push(Inherited { mount });
        }
    }
    Ok(all)
}

/// What a container mounts and others can mount too: volumes, those of its image included, and files
/// of the host.
fn mounts_of(instance: &Instance) -> Vec<Mount> {
    let Some(main) = instance.spec.main() else { return Vec::new() };
    let shared = |mount: &&Mount| !matches!(mount.kind, MountKind::Tmpfs { .. });
    let mut all: Vec<_> = main.mounts.iter().filter(shared).cloned().collect();
    let made = instance.status.container(&main.name).map_or(&[][..], |status| &status.volumes);
    all.extend(made.iter().map(|volume| Mount {
        kind: MountKind::Volume {
            name: volume.name().to_owned(),
            subpath: String::new(),
            no_copy: false,
        },
        target: volume.target.clone(),
        read_only: false,
        disk: None,
    }));
    all
}

/// The names that links give to other containers, and their addresses. One that was made a moment ago is
/// waited for until it has its own.
async fn links(engine: &Engine, caller: &Caller, parts: &Parts) -> Reply<Vec<(String, IpAddr)>> {
    let endpoints =
        parts.endpoints.iter().flat_map(|(_, settings)| settings.links.iter().flatten());
    let mut all = Vec::new();
    for text in parts.host.links.iter().flatten().chain(endpoints) {
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        let other = super::archive::known(engine, caller, name).await.map_err(|_| {
            Failure::bad(format!("could not get container for {name}: No such container: {name}"))
        })?;
        let interfaces = other.spec.placement.iter().flat_map(|it| &it.interfaces);
        let Some(address) = interfaces.filter_map(|it| it.ipv4).next() else {
            return Err(Failure::bad(format!("Cannot link to {name}: it has no address yet")));
        };
        let alias = alias.trim_start_matches('/');
        for word in [alias, other.meta.name.as_str()] {
            if !all.iter().any(|(known, _)| known == word) {
                all.push((word.to_owned(), IpAddr::V4(address.addr())));
            }
        }
    }
    Ok(all)
}

/// What is said when an instance is refused.
fn refusal(engine: &Engine, caller: &Caller, name: Option<&str>, error: model::Error) -> Failure {
    let name = name.unwrap_or_default();
    if error.kind() == ErrorKind::Exists {
        let other = super::find(engine, caller, name);
        let id = other.map(|other| other.meta.id.to_string()).unwrap_or_default();
        return Failure::conflict(format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have \
             to remove (or rename) that container to be able to reuse that name."
        ));
    }
    if error.kind() == ErrorKind::NotFound
        && error.field().is_some_and(|field| field.starts_with("spec.network.attachments"))
    {
        let network = error.message().trim_start_matches("there is no network ").trim_matches('"');
        return absent(format!(
            "failed to set up container networking: network {network} not found"
        ));
    }
    if let Some(failure) = words::of_claim(Some(name), &error) {
        return failure;
    }
    error.into()
}

/// Something that a container needs is not there. Not `404`, by which clients understand that the image
/// is not there, and pull it.
fn absent(message: String) -> Failure {
    Failure::bad(message)
}

/// The answer of a verb that says nothing.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_adds() {
        let image = ImageConfig {
            env: vec!["PATH=/bin".into(), "A=1".into()],
            entrypoint: vec!["/e".into()],
            command: vec!["c".into()],
            exposed_ports: vec!["80/tcp".into()],
            ..ImageConfig::default()
        };
        let mut config = ContainerConfig {
            env: Some(vec!["A=2".into(), "GONE".into()]),
            ..ContainerConfig::default()
        };
        merge(&mut config, &image);
        assert_eq!(config.env.unwrap(), ["A=2", "PATH=/bin"]);
        assert_eq!(config.entrypoint.unwrap(), ["/e"]);
        assert_eq!(config.cmd.unwrap(), ["c"]);
        let mut own = ContainerConfig { entrypoint: Some(vec!["x".into()]), ..Default::default() };
        merge(&mut own, &image);
        assert_eq!(own.cmd, None, "an entrypoint of one's own brings no words of the image");
        let mut none = ContainerConfig { entrypoint: Some(vec![]), ..Default::default() };
        merge(&mut none, &image);
        assert_eq!(none.entrypoint.unwrap(), Vec::<String>::new());
        assert_eq!(none.cmd.unwrap(), ["c"]);
    }

    #[test]
    fn names() {
        for good in ["ab", "a_b.c-1", "0x"] {
            assert!(check_name(good, good).is_ok(), "{good}");
        }
        for bad in ["a", "-ab", "a b", "ä1"] {
            assert!(check_name(bad, bad).is_err(), "{bad}");
        }
    }
}
