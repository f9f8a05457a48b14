//! `GET /containers/json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use control::{Caller, ListOptions};
use model::Time;
use model::instance::{Instance, MountKind};
use model::meta::Labels;
use serde::Serialize;
use serde_json::{Value, json};

use super::origin;
use super::show::networks::{Endpoint, Seen};
use super::show::{mounts, networks, state};
use crate::failure::{Failure, Reply};
use crate::filters::{Filters, Names};
use crate::query::Query;
use crate::{Engine, Shared};

const FILTERS: [&str; 16] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] =
    ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

pub(super) async fn list(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
) -> Reply {
    let filters = Filters::read(&query, &FILTERS)?;
    check(&filters)?;
    let limit = query.number::<i64>("limit")?.unwrap_or(-1);
    let mut found = newest_first(all(&engine, &caller)?);
    let everything =
        query.flag("all") || limit > 0 || filters.has("status") || filters.has("exited");
    let ancestors = ancestors(&engine, &caller, &filters).await;
    let names = filters.names()?;
    let bounds = Bounds::of(&engine, &caller, &filters)?;
    found.retain(|instance| {
        (everything || is_shown(instance))
            && bounds.hold(instance)
            && wanted(instance, &filters, &names, ancestors.as_deref())
    });
    if let Ok(limit) = usize::try_from(limit)
        && limit > 0
    {
        found.truncate(limit);
    }
    let now = Time::now();
    let mut seen = Seen::new(&engine, &caller);
    let mut rows: Vec<Row<'_>> =
        found.iter().map(|instance| row(&engine, &mut seen, instance, now)).collect();
    if query.flag("size") {
        for (row, instance) in rows.iter_mut().zip(&found) {
            row.set_sizes(engine.sizes(&caller, instance).await);
        }
    }
    Ok(axum::Json(rows).into_response())
}

/// All containers.
pub(crate) fn all(engine: &Engine, caller: &Caller) -> Reply<Vec<Arc<Instance>>> {
    let options = ListOptions::default();
    Ok(engine.control.instances().list(caller, Some(&engine.project), &options)?.items)
}

fn newest_first(mut all: Vec<Arc<Instance>>) -> Vec<Arc<Instance>> {
    all.sort_by(|a, b| b.meta.created.cmp(&a.meta.created).then(a.meta.id.cmp(&b.meta.id)));
    all
}

/// Rows of `df`.
pub(crate) async fn usage(engine: &Engine, caller: &Caller) -> Reply<Vec<Value>> {
    let (now, mut rows) = (Time::now(), Vec::new());
    let mut seen = Seen::new(engine, caller);
    for instance in newest_first(all(engine, caller)?) {
        let mut row = row(engine, &mut seen, &instance, now);
        row.set_sizes(engine.sizes(caller, &instance).await);
        rows.push(json!(row));
    }
    Ok(rows)
}

fn check(filters: &Filters) -> Reply<()> {
    for value in filters.all("status") {
        if !STATES.contains(&value.as_str()) {
            return Err(Failure::bad(format!(
                "invalid filter 'status={value}': invalid value for state ({value}): must be one of {}",
                STATES.join(", ")
            )));
        }
    }
    for value in filters.all("health") {
        if !["none", "starting", "healthy", "unhealthy"].contains(&value.as_str()) {
            return Err(Failure::bad(format!(
                "invalid filter 'health={value}': invalid value for health ({value}): must be one of none, \
                 starting, healthy, unhealthy"
            )));
        }
    }
    for value in filters.all("exited") {
        if value.parse::<i64>().is_err() {
            return Err(Failure::bad(format!(
                "invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax"
            )));
        }
    }
    for value in filters.all("is-task") {
        if !matches!(value.as_str(), "true" | "false" | "1" | "0") {
            return Err(Failure::bad(format!("invalid filter 'is-task=[{value}]'")));
        }
    }
    for name in ["publish", "expose"] {
        for value in filters.all(name) {
            if super::translate::parse_port(value).is_err() {
                return Err(Failure::bad(format!(
                    "error while looking up for {name} {value}: strconv.ParseUint: parsing \"{value}\": \
                     invalid syntax"
                )));
            }
        }
    }
    Ok(())
}

fn is_shown(instance: &Instance) -> bool {
    matches!(state::word(instance), "running" | "paused" | "restarting")
}

/// Ids of the images whose containers are wanted.
async fn ancestors(engine: &Engine, caller: &Caller, filters: &Filters) -> Option<Vec<String>> {
    if !filters.has("ancestor") {
        return None;
    }
    let mut ids = Vec::new();
    for name in filters.all("ancestor") {
        if let Ok(image) = engine.image(caller, name).await {
            ids.push(image.id);
        }
    }
    Some(ids)
}

/// Times of creation between which containers are wanted.
struct Bounds {
    before: Option<Time>,
    since: Option<Time>,
}

impl Bounds {
    fn of(engine: &Engine, caller: &Caller, filters: &Filters) -> Reply<Self> {
        let time = |name: &str| -> Reply<Option<Time>> {
            match filters.all(name).first() {
                None => Ok(None),
                Some(name) => Ok(Some(super::find(engine, caller, name)?.meta.created)),
            }
        };
        Ok(Self { before: time("before")?, since: time("since")? })
    }

    fn hold(&self, instance: &Instance) -> bool {
        let created = instance.meta.created;
        self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
    }
}

fn wanted(
    instance: &Instance,
    filters: &Filters,
    names: &Names,
    ancestors: Option<&[String]>,
) -> bool {
    let id = instance.meta.id.as_str();
    let health =
        state::main_status(instance).map_or("none", |main| state::health_word(main.health));
    let code = state::exit_code(instance);
    let exited = state::word(instance) == "exited";
    ancestors.is_none_or(|ids| ids.contains(&origin::image_id(instance)))
        && filters.any("id", |prefix| id.starts_with(prefix))
        && names.any_container(&instance.meta.name)
        && filters.any("status", |word| state::word(instance) == word)
        && filters.any("health", |word| health == word)
        && filters.any("exited", |text| exited && text.parse() == Ok(code))
        && filters.labels(|key| instance.meta.labels.get(key).map(String::as_str))
        && filters.any("network", |name| in_network(instance, name))
        && filters.any("volume", |name| mounts_volume(instance, name))
        && filters.any("publish", |port| has_port(instance, port, true))
        && filters.any("expose", |port| has_port(instance, port, false))
        && filters.any("is-task", |value| matches!(value, "false" | "0"))
}

fn in_network(instance: &Instance, name: &str) -> bool {
    if networks::mode_name(instance) == name {
        return true;
    }
    let interfaces = instance.spec.placement.iter().flat_map(|placement| &placement.interfaces);
    let by_interface = |interface: &model::instance::Interface| {
        networks::docker_name(&interface.network) == name
            || interface.network_id.as_str().starts_with(name)
    };
    interfaces.into_iter().any(by_interface)
        || match &instance.spec.network {
            model::instance::NetworkMode::Networks { attachments } => {
                attachments.iter().any(|it| networks::docker_name(&it.network) == name)
            }
            model::instance::NetworkMode::Host
            | model::instance::NetworkMode::None
            | model::instance::NetworkMode::Instance { .. } => false,
        }
}

fn mounts_volume(instance: &Instance, wanted: &str) -> bool {
    let Some(main) = instance.spec.main() else { return false };
    let made = state::main_status(instance).map_or(&[][..], |main| &main.volumes);
    made.iter().any(|made| made.name() == wanted || made.target == wanted)
        || main.mounts.iter().any(|mount| {
            let source = match &mount.kind {
                MountKind::Volume { name, .. } => name.as_str(),
                MountKind::Bind { source, .. } => source,
                MountKind::Tmpfs { .. } => "",
            };
            mount.target == wanted || source == wanted
        })
}

fn has_port(instance: &Instance, text: &str, published: bool) -> bool {
    let Ok((first, last, protocol)) = super::translate::parse_port(text) else { return false };
    networks::summary(instance).iter().any(|port| {
        let number = if published { &port["PublicPort"] } else { &port["PrivatePort"] };
        let inside = number
            .as_u64()
            .is_some_and(|number| (u64::from(first)..=u64::from(last)).contains(&number));
        inside && port["Type"] == protocol.as_str()
    })
}

/// One container of a list (`ContainerSummary`).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Vec<Value>,
    labels: &'a Labels,
    state: &'a str,
    status: String,
    host_config: HostConfig,
    network_settings: NetworkSettings,
    mounts: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<String, Endpoint>,
}

impl Row<'_> {
    /// Bytes that the container changed, and bytes of all it sees. An engine leaves out a size of nothing.
    fn set_sizes(&mut self, (changed, whole): (u64, u64)) {
        self.size_rw = (changed > 0).then_some(changed);
        self.size_root_fs = Some(whole);
    }
}

fn row<'a>(engine: &Engine, seen: &mut Seen<'_>, instance: &'a Instance, now: Time) -> Row<'a> {
    Row {
        id: instance.meta.id.as_str(),
        names: [format!("/{}", instance.meta.name)],
        image: instance.spec.main().map_or("", |main| main.image.as_str()),
        image_id: origin::image_id(instance),
        command: origin::command(instance),
        created: instance.meta.created.0.as_second(),
        ports: networks::summary(instance),
        labels: &instance.meta.labels,
        state: state::word(instance),
        status: state::sentence(instance, now),
        host_config: HostConfig { network_mode: networks::mode_name(instance) },
        network_settings: NetworkSettings { networks: networks::endpoints(seen, instance, None) },
        mounts: mounts::points(engine, instance, &[]),
        size_rw: None,
        size_root_fs: None,
    }
}
