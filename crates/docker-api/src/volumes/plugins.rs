//! Volumes that plugins have: some of them the platform has made, others it only hears of.

use std::sync::Arc;
use std::time::Duration;

use control::{Caller, Mode};
use futures::StreamExt;
use futures::future::join_all;
use http::StatusCode;
use link::storage::{PluginVolume, PluginVolumes};
use model::selector::Selector;
use model::volume::{Volume, VolumePhase};
use model::{ErrorKind, Uid};
use serde_json::{Value, json};

use super::Wanted;
use crate::Engine;
use crate::failure::{Failure, Reply};

/// Longest wait for a volume to come or go: longer than a plugin may take for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// What Engine says when there is no such plugin.
pub(super) fn absent(volume: &str, plugin: &str) -> Failure {
    Failure::not_found(format!(
        "create {volume}: error looking up volume plugin {plugin}: plugin \"{plugin}\" not found"
    ))
}

/// What all plugins tell of their volumes.
pub(super) async fn told(engine: &Engine, caller: &Caller) -> PluginVolumes {
    let told = engine.control.volumes().in_plugins(caller).await;
    told.unwrap_or_else(|error| PluginVolumes {
        volumes: Vec::new(),
        warnings: vec![error.chain()],
    })
}

/// The volume of that name that one of the plugins has. One that does not answer has none.
pub(super) async fn elsewhere(
    engine: &Engine,
    caller: &Caller,
    name: &str,
) -> Option<PluginVolume> {
    if name.is_empty() {
        return None;
    }
    let volumes = engine.control.volumes();
    let plugins = volumes.plugin_names(caller).await.unwrap_or_default();
    let asked = plugins.iter().map(|plugin| volumes.in_plugin(caller, plugin, name));
    join_all(asked).await.into_iter().find_map(|told| told.ok().flatten())
}

/// A volume that the platform knows nothing of.
pub(super) fn show(told: &PluginVolume) -> Value {
    let mut row = json!({
        "CreatedAt": told.created,
        "Driver": told.storage,
        "Labels": null,
        "Mountpoint": told.path,
        "Name": told.name,
        "Options": null,
        "Scope": if told.global { "global" } else { "local" },
    });
    if let Some(status) = &told.status {
        row["Status"] = json!(status);
    }
    row
}

/// A known volume, with what its plugin tells of it now.
pub(super) async fn complete(
    engine: &Engine,
    caller: &Caller,
    volume: &Volume,
    mut row: Value,
) -> Reply<Value> {
    let (plugin, name) = (&volume.spec.storage, &volume.meta.name);
    let told = engine.control.volumes().in_plugin(caller, plugin, name).await;
    let told = told.map_err(|error| failed("get", name, &error.chain(), error.next_step()))?;
    let told = told.ok_or_else(|| Failure::not_found(format!("get {name}: no such volume")))?;
    for (field, value) in show(&told).as_object().into_iter().flatten() {
        if matches!(field.as_str(), "Mountpoint" | "Scope" | "Status") {
            row[field] = value.clone();
        }
    }
    Ok(row)
}

/// Makes a volume of a plugin's one of the platform's.
pub(super) async fn adopt(
    engine: &Engine,
    caller: &Caller,
    told: PluginVolume,
) -> Reply<Arc<Volume>> {
    let wanted = Wanted { driver: Some(told.storage), ..Wanted::default() };
    super::make(engine, caller, told.name, wanted).await
}

/// Waits until a plugin has made a volume. One that it does not make is taken away again.
pub(super) async fn made(engine: &Engine, caller: &Caller, volume: &Volume) -> Reply<Arc<Volume>> {
    let (id, name) = (&volume.meta.id, &volume.meta.name);
    let settled = |volume: Option<&Arc<Volume>>| match volume {
        None => Some(Err("it was removed meanwhile".to_owned())),
        Some(volume) => match (volume.status.phase, &volume.status.reason) {
            (VolumePhase::Ready, _) => Some(Ok(volume.clone())),
            (VolumePhase::Pending, None) => None,
            (VolumePhase::Pending | VolumePhase::Failed | VolumePhase::Removing, _) => {
                Some(Err(why(volume)))
            }
        },
    };
    let outcome = until(engine, caller, id, PATIENCE, settled).await;
    let why = match outcome.unwrap_or_else(|| Err("it takes too long".to_owned())) {
        Ok(volume) => return Ok(volume),
        Err(why) => why,
    };
    let volumes = engine.control.volumes();
    match volumes.delete(caller, &engine.project, id.as_str(), None, Mode::Apply).await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(volume = name, error = error.chain(), "a volume that failed stays");
        }
        _ => {}
    }
    Err(failed("create", name, &why, None))
}

/// Why a volume is not as it was to be.
pub(super) fn why(volume: &Volume) -> String {
    let reason = volume.status.reason.as_ref();
    reason.map_or_else(
        || "its plugin does not say why".to_owned(),
        |reason| {
            let next = reason.next.iter().map(|next| format!(": {next}")).collect::<String>();
            format!("{}{next}", reason.message)
        },
    )
}

/// A plugin's failure, which is none of the client's.
fn failed(verb: &str, name: &str, why: &str, next: Option<&str>) -> Failure {
    let next = next.map(|next| format!(": {next}")).unwrap_or_default();
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{verb} {name}: {why}{next}"))
}

/// Waits until `settled` tells something of a volume, which is `None` when it is gone; not for ever.
pub(super) async fn until<T>(
    engine: &Engine,
    caller: &Caller,
    id: &Uid,
    patience: Duration,
    settled: impl Fn(Option<&Arc<Volume>>) -> Option<T>,
) -> Option<T> {
    let volumes = engine.control.volumes();
    let (any, project) = (Selector::default(), Some(engine.project.as_str()));
    let mut changes = volumes.watch(caller, project, any.clone(), any, None).ok()?;
    let wait = async {
        loop {
            let now = volumes.get_by_id(caller, id).ok();
            if let Some(told) = settled(now.as_ref()) {
                return Some(told);
            }
            changes.next().await?.ok()?;
        }
    };
    tokio::time::timeout(patience, wait).await.ok().flatten()
}
