//! Volumes of the project.
//!
//! Docker's local driver can stand a directory of the host or memory behind a volume's name
//! (`type=none,o=bind,device=…`, `type=tmpfs`). Such a volume is a record whose options
//! [`stand_in`] reads: a container that names it mounts what they say. [`plugins`] has what is different
//! about volumes of plugins.

mod plugins;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bollard_stubs::models::VolumeCreateRequest;
use control::{Caller, ListOptions, Mode, New};
use http::StatusCode;
use model::instance::{Instance, MountKind, Propagation};
use model::volume::{LOCAL, Volume, VolumeSpec};
use model::{ErrorKind, Uid};
use serde_json::{Value, json};

use crate::body::Json;
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::version::ApiVersion;
use crate::{Engine, Shared, containers};

/// Longest wait for a volume of the node's own to go.
const PATIENCE: Duration = Duration::from_secs(60);
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
    if volume.spec.storage != LOCAL {
        let options = &volume.spec.options;
        return (!options.is_empty()).then(|| options.clone().into_iter().collect());
    }
    serde_json::from_str(volume.meta.annotations.get(OPTIONS)?).ok()
}

/// What a volume is to be like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Its driver; `None` when any will do.
    pub(crate) driver: Option<String>,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) options: HashMap<String, String>,
}

impl Wanted {
    /// The storage that is asked for; `None` when any will do.
    fn storage(&self) -> Option<&str> {
        match self.driver.as_deref() {
            None | Some("") => None,
            Some("local" | "default") => Some(LOCAL),
            Some(plugin) => Some(plugin),
        }
    }

    /// The plugin that is to have it.
    pub(crate) fn plugin(&self) -> Option<&str> {
        self.storage().filter(|storage| *storage != LOCAL)
    }

    /// Whether nothing but its name is said of it.
    pub(crate) fn is_plain(&self) -> bool {
        self.storage().is_none() && self.labels.is_empty() && self.options.is_empty()
    }

    fn check(&self, name: &str) -> Reply<()> {
        if self.plugin().is_some() {
            return Ok(());
        }
        check_name(name)?;
        check_options(name, &self.options)
    }
}

/// What a container mounts that names this volume, when the volume only stands for something else.
pub(crate) fn stand_in(volume: &Volume) -> Option<MountKind> {
    let options = driver_options(volume).filter(|_| volume.spec.storage == LOCAL)?;
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
        "Driver": volume.spec.storage,
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
    let own = all(engine, caller)?;
    Ok(own.iter().filter(|volume| volume.spec.storage == LOCAL).map(row).collect())
}

async fn list(State(engine): Shared, Extension(caller): crate::By, query: Query) -> Reply {
    let filters = Filters::read(&query, &["dangling", "driver", "label", "label!", "name"])?;
    let dangling = filters.flag("dangling")?;
    let names = filters.names()?;
    let used = used(&engine, &caller)?;
    let wanted = |name: &str, driver: &str, labels: &BTreeMap<String, String>| {
        dangling.is_none_or(|wanted| wanted != used.contains_key(name))
            && names.any(name)
            && filters.any("driver", |asked| asked == driver)
            && filters.labels(|key| labels.get(key).map(String::as_str))
    };
    let own = all(&engine, &caller)?;
    let told = plugins::told(&engine, &caller).await;
    let mut rows: Vec<_> = own
        .iter()
        .filter(|volume| wanted(&volume.meta.name, &volume.spec.storage, &volume.meta.labels))
        .map(|volume| show(volume))
        .collect();
    let strange = told.volumes.iter().filter(|told| {
        !own.iter().any(|own| own.meta.name == told.name)
            && wanted(&told.name, &told.storage, &BTreeMap::new())
    });
    rows.extend(strange.map(plugins::show));
    let warnings = (!told.warnings.is_empty()).then_some(told.warnings);
    Ok(axum::Json(json!({ "Volumes": rows, "Warnings": warnings })).into_response())
}

async fn inspect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let row = match find(&engine, &caller, &name) {
        Ok(volume) if volume.spec.storage == LOCAL => show(&volume),
        Ok(volume) => plugins::complete(&engine, &caller, &volume, show(&volume)).await?,
        Err(absent) => match plugins::elsewhere(&engine, &caller, &name).await {
            Some(told) => plugins::show(&told),
            None => return Err(absent),
        },
    };
    Ok(axum::Json(row).into_response())
}

async fn create(
    State(engine): Shared,
    Extension(caller): crate::By,
    Json(request): Json<VolumeCreateRequest>,
) -> Reply {
    if request.cluster_volume_spec.is_some() {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, crate::swarm::NO_MANAGER));
    }
    let name = request.name.clone().unwrap_or_default();
    let wanted = Wanted {
        driver: request.driver,
        labels: request.labels.unwrap_or_default(),
        options: request.driver_opts.unwrap_or_default(),
    };
    let made = ensure(&engine, &caller, &name, wanted).await?;
    Ok((StatusCode::CREATED, axum::Json(show(&made))).into_response())
}

/// The volume of that name, made as wanted unless there is one.
pub(crate) async fn ensure(
    engine: &Engine,
    caller: &Caller,
    name: &str,
    mut wanted: Wanted,
) -> Reply<Arc<Volume>> {
    wanted.check(name)?;
    if let Ok(known) = find(engine, caller, name) {
        return same_again(known, &wanted);
    }
    if wanted.storage().is_none()
        && let Some(told) = plugins::elsewhere(engine, caller, name).await
    {
        wanted.driver = Some(told.storage);
    }
    make(engine, caller, name.to_owned(), wanted).await
}

/// Makes a volume that a container is to mount, unless it is made with the container: one that is like
/// any other, and that no plugin has.
pub(crate) async fn prepare(
    engine: &Engine,
    caller: &Caller,
    name: &str,
    wanted: Wanted,
) -> Reply<()> {
    if !wanted.is_plain() {
        return ensure(engine, caller, name, wanted).await.map(drop);
    }
    if find(engine, caller, name).is_ok() {
        return Ok(());
    }
    match plugins::elsewhere(engine, caller, name).await {
        Some(told) => plugins::adopt(engine, caller, told).await.map(drop),
        None => Ok(()),
    }
}

async fn make(
    engine: &Engine,
    caller: &Caller,
    name: String,
    wanted: Wanted,
) -> Reply<Arc<Volume>> {
    let id = Uid::random();
    let anonymous = name.is_empty();
    let name = if anonymous { model::volume::anonymous_name(&id).to_owned() } else { name };
    let storage = wanted.storage().unwrap_or(LOCAL).to_owned();
    let plugin = wanted.plugin().is_some();
    let mut spec = VolumeSpec { anonymous, storage, ..VolumeSpec::default() };
    if plugin {
        spec.options = wanted.options.clone().into_iter().collect();
    }
    let mut new = New::named(&name, spec);
    new.labels = wanted.labels.clone().into_iter().collect();
    if !plugin && !wanted.options.is_empty() {
        new.annotations.insert(OPTIONS.to_owned(), json!(wanted.options).to_string());
    }
    let volumes = engine.control.volumes();
    match volumes.create(caller, &engine.project, new, Mode::Apply).await {
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::Exists => match find(engine, caller, &name) {
            Ok(known) => same_again(known, &wanted),
            Err(_) => Err(error.into()),
        },
        Err(error) if plugin && error.kind() == ErrorKind::NotFound => {
            Err(plugins::absent(&name, wanted.storage().unwrap_or_default()))
        }
        Ok(made) if plugin => plugins::made(engine, caller, &made).await,
        made => Ok(made?),
    }
}

/// A volume that is there already is as good as made, unless it would be another.
fn same_again(known: Arc<Volume>, wanted: &Wanted) -> Reply<Arc<Volume>> {
    let (name, storage) = (&known.meta.name, &known.spec.storage);
    if wanted.storage().is_some_and(|wanted| wanted != storage) {
        return Err(Failure::conflict(format!(
            "create {name}: driver '{storage}' already has volume '{name}': volume name must be unique"
        )));
    }
    let same = driver_options(&known).unwrap_or_default() == wanted.options;
    if storage == LOCAL && !same && !wanted.options.is_empty() {
        return Err(Failure::conflict(format!(
            "volume with name {name} already exists with different options"
        )));
    }
    Ok(known)
}

/// Refuses what no volume of Engine's local driver is called.
pub(crate) fn check_name(name: &str) -> Reply<()> {
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
    let force = query.flag("force");
    let volume = match find(&engine, &caller, &name) {
        Ok(known) => known,
        Err(absent) => match plugins::elsewhere(&engine, &caller, &name).await {
            Some(told) => plugins::adopt(&engine, &caller, told).await?,
            None if force => return Ok(StatusCode::NO_CONTENT.into_response()),
            None => return Err(absent),
        },
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
    match gone(&engine, &caller, &volume).await {
        Ok(()) => {}
        Err(_) if force => {
            volumes.forget(&caller, &engine.project, id).await?;
            let _ = gone(&engine, &caller, &volume).await;
        }
        Err(why) => {
            let message = format!("remove {name}: {why}");
            return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Waits until a volume is not there any more, so that its name can be used again; tells why it stays
/// if its plugin will not remove it.
async fn gone(engine: &Engine, caller: &Caller, volume: &Volume) -> Result<(), String> {
    if engine.node_is_away(caller) {
        return Ok(());
    }
    let patience = if volume.spec.storage == LOCAL { PATIENCE } else { plugins::PATIENCE };
    let stays = |volume: Option<&Arc<Volume>>| match volume {
        None => Some(Ok(())),
        Some(volume) if volume.meta.deleted.is_some() => None,
        Some(volume) => Some(Err(plugins::why(volume))),
    };
    // It goes on in the background.
    plugins::until(engine, caller, &volume.meta.id, patience, stays).await.unwrap_or(Ok(()))
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
        let kind = volume.spec.storage == LOCAL && (everything || volume.spec.anonymous);
        if used.contains_key(&meta.name) || !labels || !kind {
            continue;
        }
        let id = meta.id.as_str();
        // One that is mounted meanwhile is none to prune.
        if volumes.delete(&caller, &engine.project, id, None, Mode::Apply).await.is_ok() {
            let _ = gone(&engine, &caller, &volume).await;
            deleted.push(meta.name.clone());
        }
    }
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
