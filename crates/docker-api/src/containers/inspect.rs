//! `GET /containers/{name}/json`.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bollard_stubs::models::MountType;
use model::instance::Instance;
use serde_json::{Value, json};

use super::origin::{self, Origin};
use super::show::{config, mounts, networks, state};
use crate::failure::Reply;
use crate::query::Query;
use crate::version::ApiVersion;
use crate::{Engine, Shared};

pub(super) async fn inspect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let instance = super::find(&engine, &caller, &name)?;
    let mut document = document(&engine, &caller, &instance);
    if version < ApiVersion::minor(52) {
        networks::add_old_fields(&mut document["NetworkSettings"]);
    }
    if query.flag("size") {
        let (changed, whole) = engine.sizes(&caller, &instance).await;
        document["SizeRw"] = json!(changed);
        document["SizeRootFs"] = json!(whole);
    }
    Ok(axum::Json(document).into_response())
}

fn document(engine: &Engine, caller: &control::Caller, instance: &Instance) -> Value {
    let origin = Origin::of(instance);
    let origin = origin.as_ref();
    let config = config::config(instance, origin);
    let mut words = Vec::new();
    for list in [&config["Entrypoint"], &config["Cmd"]] {
        let list = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.extend(list.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    let path = if words.is_empty() { String::new() } else { words.remove(0) };
    let id = instance.meta.id.as_str();
    let restarts = state::main_status(instance).map_or(0, |main| main.restarts);
    let asked = origin.and_then(|origin| origin.host.mounts.as_ref());
    let memory = asked.into_iter().flatten().filter(|it| it.typ == Some(MountType::TMPFS));
    let tmpfs: Vec<String> = memory.filter_map(|mount| mount.target.clone()).collect();
    let execs = engine.execs.of_container(id);
    json!({
        "Id": id,
        "Created": instance.meta.created.to_string(),
        "Path": path,
        "Args": words,
        "State": state::state(instance),
        "Image": origin::image_id(instance),
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "",
        "Name": format!("/{}", instance.meta.name),
        "RestartCount": restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if execs.is_empty() { Value::Null } else { json!(execs) },
        "HostConfig": config::host(instance, origin),
        "GraphDriver": { "Name": "overlay2", "Data": null },
        "Mounts": mounts::points(engine, instance, &tmpfs),
        "Config": config,
        "NetworkSettings": networks::settings(engine, caller, instance, origin),
    })
}
