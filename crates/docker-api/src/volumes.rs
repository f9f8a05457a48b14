//! Volumes of the project.
//!
//! Docker's local driver can stand a directory of the host or memory behind a volume's name
//! (`type=none,o=bind,device=…`, `type=tmpfs`). Such a volume is a record whose options
//! [`stand_in`] reads: a container that names it mounts what they say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bollard_stubs::models::VolumeCreateRequest;
use control::{Caller, ListOptions, Mode, New};
use http::StatusCode;
use model::instance::{Instance, MountKind, Propagation};
use model::volume::{Volume, VolumeSpec};
use model::{ErrorKind, Uid};
use serde_json::{Value, json};

use crate::body::Json;
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::version::ApiVersion;
use crate::{Engine, Shared, containers};

/// Driver options as Docker was given them.
const OPTIONS: &str = "io.monohull.docker.options";

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove).put(update))
}

pub(crate) fn all(engine: &Engine, caller: &Caller) -> Reply<Vec<Arc<Volume>>> {
    let options = ListOptions::default();
    Ok(engine.control.volumes().list(caller, Some(&engine.project), &options)?.items)
}

fn find(engine: &Engine, caller: &Caller, name: &str) -> Reply<Arc<Volume>> {
    let found = engine.control.volumes().get(caller, &engine.project, name);
    let found = found.ok().filter(|volume| volume.meta.name == name);
    found.ok_or_else(|| Failure::not_found(format!("get {name}: no such volume")))
}

fn driver_options(volume: &Volume) -> Option<HashMap<String, String>> {
    serde_json::from_str(volume.meta.annotations.get(OPTIONS)?).ok()
}

/// What a container mounts that names this volume, when the volume only stands for something else.
pub(crate) fn stand_in(volume: &Volume) -> Option<MountKind> {
    let options = driver_options(volume)?;
    let text = |name: &str| options.get(name).map(String::as_str).unwrap_or_default();
    match text("type") {
        "tmpfs" => {
            let (mut size, mut mode, mut others) = (None, None, Vec::new());
            for option in text("o").split(',').filter(|option| !option.is_empty()) {
                match option.split_once('=') {
                    Some(("size", value)) => size = containers::size_of(value),
                    Some(("mode", value)) => mode = u32::from_str_radix(value, 8).ok(),
                    _ => others.push(option.to_owned()),
                }
            }
            Some(MountKind::Tmpfs { size, mode, options: others })
        }
        _ if is_bind(&options) => Some(MountKind::Bind {
            source: text("device").to_owned(),
            create: false,
            propagation: Propagation::default(),
            non_recursive: !text("o").split(',').any(|word| word == "rbind"),
        }),
        _ => None,
    }
}

fn is_bind(options: &HashMap<String, String>) -> bool {
    let words = options.get("o").map(String::as_str).unwrap_or_default();
    words.split(',').any(|word| matches!(word, "bind" | "rbind"))
        && options.get("device").is_some_and(|device| device.starts_with('/'))
}

fn show(volume: &Volume) -> Value {
    let options = driver_options(volume);
    let path = match stand_in(volume) {
        Some(MountKind::Bind { source, .. }) => source,
        Some(MountKind::Tmpfs { .. } | MountKind::Volume { .. }) | None => {
            volume.status.path.clone()
        }
    };
    json!({
        "CreatedAt": volume.meta.created.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "Driver": "local",
        "Labels": if volume.meta.labels.is_empty() && volume.spec.anonymous { json!({"com.docker.volume.anonymous": ""}) } else if volume.meta.labels.is_empty() { Value::Null } else { json!(volume.meta.labels) },
        "Mountpoint": path,
        "Name": volume.meta.name,
        "Options": options,
        "Scope": "local",
    })
}

/// Names of the volumes that containers mount, stand-ins too, and how many do.
pub(crate) fn used(
    engine: &Engine,
    caller: &Caller,
) -> Reply<BTreeMap<String, Vec<Arc<Instance>>>> {
    let mut used: BTreeMap<String, Vec<Arc<Instance>>> = BTreeMap::new();
    for instance in containers::all(engine, caller)? {
        for name in containers::volume_names(&instance) {
            used.entry(name).or_default().push(instance.clone());
        }
    }
    Ok(used)
}

/// Rows of `df`.
pub(crate) fn usage(engine: &Engine, caller: &Caller) -> Reply<Vec<Value>> {
    let used = used(engine, caller)?;
    let row = |volume: &Arc<Volume>| {
        let mut row = show(volume);
        let users = used.get(&volume.meta.name).map_or(0, Vec::len);
        // What is in a volume is not counted: that would read all of it.
        row["UsageData"] = json!({ "Size": -1, "RefCount": users });
        row
    };
    Ok(all(engine, caller)?.iter().map(row).collect())
}

async fn list(State(engine): Shared, Extension(caller): crate::By, query: Query) -> Reply {
    let filters = Filters::read(&query, &["dangling", "driver", "label", "label!", "name"])?;
    let dangling = filters.flag("dangling")?;
    let names = filters.names()?;
    let used = used(&engine, &caller)?;
    let rows: Vec<_> = all(&engine, &caller)?
        .iter()
        .filter(|volume| {
            let meta = &volume.meta;
            dangling.is_none_or(|wanted| wanted != used.contains_key(&meta.name))
                && names.any(&meta.name)
                && filters.any("driver", |driver| driver == "local")
                && filters.labels(|key| meta.labels.get(key).map(String::as_str))
        })
        .map(|volume| show(volume))
        .collect();
    Ok(axum::Json(json!({ "Volumes": rows, "Warnings": null })).into_response())
}

async fn inspect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let volume = find(&engine, &caller, &name)?;
    Ok(axum::Json(show(&volume)).into_response())
}

async fn create(
    State(engine): Shared,
    Extension(caller): crate::By,
    Json(request): Json<VolumeCreateRequest>,
) -> Reply {
    if request.cluster_volume_spec.is_some() {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, crate::swarm::NO_MANAGER));
    }
    match request.driver.as_deref() {
        None | Some("" | "local" | "default") => {}
        Some(driver) => {
            return Err(Failure::not_found(format!(
                "create {}: error looking up volume plugin {driver}: plugin \"{driver}\" not found",
                request.name.as_deref().unwrap_or_default()
            )));
        }
    }
    let name = request.name.clone().unwrap_or_default();
    check_name(&name)?;
    let options = request.driver_opts.clone().unwrap_or_default();
    check_options(&name, &options)?;
    if let Ok(known) = find(&engine, &caller, &name) {
        return same_again(&known, &name, &options);
    }
    let made = make(&engine, &caller, name, request.labels.unwrap_or_default(), &options).await?;
    Ok((StatusCode::CREATED, axum::Json(show(&made))).into_response())
}

/// Makes a volume of that name with these labels and options, unless there is one.
pub(crate) async fn ensure(
    engine: &Engine,
    caller: &Caller,
    name: &str,
    labels: HashMap<String, String>,
    options: HashMap<String, String>,
) -> Reply<()> {
    check_name(name)?;
    check_options(name, &options)?;
    match find(engine, caller, name) {
        Ok(known) => same_again(&known, name, &options).map(drop),
        Err(_) => make(engine, caller, name.to_owned(), labels, &options).await.map(drop),
    }
}

async fn make(
    engine: &Engine,
    caller: &Caller,
    name: String,
    labels: HashMap<String, String>,
    options: &HashMap<String, String>,
) -> Reply<Arc<Volume>> {
    let id = Uid::random();
    let anonymous = name.is_empty();
    let name = if anonymous { model::volume::anonymous_name(&id).to_owned() } else { name };
    let spec = VolumeSpec { anonymous, ..VolumeSpec::default() };
    let mut new = New::named(&name, spec);
    new.labels = labels.into_iter().collect();
    if !options.is_empty() {
        new.annotations.insert(OPTIONS.to_owned(), json!(options).to_string());
    }
    let volumes = engine.control.volumes();
    match volumes.create(caller, &engine.project, new, Mode::Apply).await {
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::Exists => {
            let known = find(engine, caller, &name)?;
            same_again(&known, &name, options)?;
            Ok(known)
        }
        made => Ok(made?),
    }
}

/// A volume that is there already is as good as made, unless it would be another.
fn same_again(known: &Volume, name: &str, options: &HashMap<String, String>) -> Reply {
    if driver_options(known).unwrap_or_default() != *options && !options.is_empty() {
        return Err(Failure::conflict(format!(
            "volume with name {name} already exists with different options"
        )));
    }
    Ok((StatusCode::CREATED, axum::Json(show(known))).into_response())
}

fn check_name(name: &str) -> Reply<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = name.chars().next().is_none_or(|c| c.is_ascii_alphanumeric());
    if name.len() == 1 {
        return Err(Failure::bad(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    if first && name.chars().all(good) {
        return Ok(());
    }
    Err(Failure::bad(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )))
}

fn check_options(volume: &str, options: &HashMap<String, String>) -> Reply<()> {
    if let Some(name) =
        options.keys().find(|it| !matches!(it.as_str(), "type" | "o" | "device" | "size"))
    {
        return Err(Failure::bad(format!("create {volume}: invalid option: {name:?}")));
    }
    let kind = options.get("type").map(String::as_str).unwrap_or_default();
    match kind {
        "" if options.is_empty() => Ok(()),
        "tmpfs" | "none" if !options.contains_key("device") => {
            Err(Failure::bad(format!("create {volume}: missing required option: \"device\"")))
        }
        "tmpfs" => Ok(()),
        "" | "none" | "bind" if is_bind(options) => Ok(()),
        "" if options.keys().all(|name| name == "size") => {
            Err(Failure::unserved("quota size requested but no quota support"))
        }
        _ => Err(Failure::unserved(format!(
            "volumes with type={kind:?} are not served by this engine: type=none with o=bind and a \
             device, and type=tmpfs are"
        ))),
    }
}

async fn remove(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let volume = match find(&engine, &caller, &name) {
        Err(_) if query.flag("force") => return Ok(StatusCode::NO_CONTENT.into_response()),
        found => found?,
    };
    if let Some(users) = used(&engine, &caller)?.get(&name) {
        let ids: Vec<_> = users.iter().map(|user| user.meta.id.as_str()).collect();
        return Err(Failure::conflict(format!(
            "remove {name}: volume is in use - [{}]",
            ids.join(", ")
        )));
    }
    let volumes = engine.control.volumes();
    let id = volume.meta.id.as_str();
    volumes.delete(&caller, &engine.project, id, None, Mode::Apply).await?;
    gone(&engine, &caller, &name).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Waits until a volume is not there any more, so that its name can be used again.
async fn gone(engine: &Engine, caller: &Caller, name: &str) {
    let volumes = engine.control.volumes();
    let wait = async {
        let Ok(mut changes) = volumes.watch(
            caller,
            Some(&engine.project),
            Default::default(),
            Default::default(),
            None,
        ) else {
            return;
        };
        use futures::StreamExt;
        while find(engine, caller, name).is_ok() {
            if changes.next().await.is_none() {
                return;
            }
        }
    };
    // It goes on in the background.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(60), wait).await;
}

async fn update(Path(name): Path<String>) -> Failure {
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("volume {name} is no cluster volume: this node is not a swarm manager"),
    )
}

async fn prune(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Reply {
    let filters = Filters::read(&query, &["all", "label", "label!"])?;
    // Before 1.42 those with names went too.
    let everything = filters.flag("all")?.unwrap_or_default() || version < ApiVersion::minor(42);
    let used = used(&engine, &caller)?;
    let volumes = engine.control.volumes();
    let (mut deleted, freed) = (Vec::new(), 0_u64);
    for volume in all(&engine, &caller)? {
        let meta = &volume.meta;
        let labels = filters.labels(|key| meta.labels.get(key).map(String::as_str));
        if used.contains_key(&meta.name) || !labels || !(everything || volume.spec.anonymous) {
            continue;
        }
        let id = meta.id.as_str();
        // One that is mounted meanwhile is none to prune.
        if volumes.delete(&caller, &engine.project, id, None, Mode::Apply).await.is_ok() {
            gone(&engine, &caller, &meta.name).await;
            deleted.push(meta.name.clone());
        }
    }
    let deleted = if deleted.is_empty() { Value::Null } else { json!(deleted) };
    let answer = json!({ "VolumesDeleted": deleted, "SpaceReclaimed": freed });
    Ok(axum::Json(answer).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_local_driver() {
        let options = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        for good in [
            options(&[]),
            options(&[("type", "none"), ("o", "bind"), ("device", "/srv")]),
            options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]),
        ] {
            assert!(check_options("v", &good).is_ok());
        }
        for bad in [
            options(&[("x", "y")]),
            options(&[("type", "nfs"), ("device", ":/x")]),
            options(&[("type", "none"), ("o", "bind"), ("device", "x")]),
        ] {
            assert!(check_options("v", &bad).is_err());
        }
    }
}
