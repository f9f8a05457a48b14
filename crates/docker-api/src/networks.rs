//! Networks: those of the project, and the three that every engine has.
//!
//! `bridge` is the platform's default network. `host` and `none` are no networks of the platform: they
//! are shown, and cannot be changed.

mod create;
mod show;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bollard_stubs::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use control::{Caller, Editable, Goal, ListOptions, Mode};
use futures::StreamExt;
use http::StatusCode;
use model::ErrorKind;
use model::error::Code;
use model::instance::{Instance, InstanceNoun, NetworkMode};
use model::network::{DEFAULT_NETWORK, Network};
use serde_json::{Value, json};

use crate::body::Json;
use crate::containers::{self, PATIENCE, attachment, id_of, is_default};
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::{Engine, Shared};

/// How long a network's end is waited for: a node may be busy.
const GONE_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create::create))
        .route("/networks/prune", post(prune))
        .route("/networks/{name}", get(inspect).delete(remove))
        .route("/networks/{name}/connect", post(connect))
        .route("/networks/{name}/disconnect", post(disconnect))
}

/// Names that no network can be given.
const PREDEFINED: [&str; 4] = ["bridge", "host", "none", "default"];

/// A network, or one of those that are none.
enum Found {
    Network(Arc<Network>),
    /// `host` or `none`.
    Predefined(&'static str),
}

impl Found {
    fn id(&self) -> String {
        match self {
            Found::Network(network) => network.meta.id.to_string(),
            Found::Predefined(name) => containers::made_up_id(&["network", name]),
        }
    }

    fn is_predefined(&self) -> bool {
        match self {
            Found::Network(network) => network.meta.name == DEFAULT_NETWORK,
            Found::Predefined(_) => true,
        }
    }
}

/// The network of that name, id, or unique beginning of an id.
fn find(engine: &Engine, caller: &Caller, name: &str) -> Reply<Found> {
    for predefined in ["host", "none"] {
        let id = containers::made_up_id(&["network", predefined]);
        if name == predefined || (name.len() >= 12 && id.starts_with(name)) {
            return Ok(Found::Predefined(predefined));
        }
    }
    let ours = if is_default(name) { DEFAULT_NETWORK } else { name };
    let found = engine.control.networks().get(caller, &engine.project, ours);
    found.map(Found::Network).map_err(|error| {
        Failure::reword(error, ErrorKind::NotFound, |_| format!("network {name} not found"))
    })
}

/// All networks, those that are none among them.
pub(crate) fn all(engine: &Engine, caller: &Caller) -> Reply<Vec<Arc<Network>>> {
    let options = ListOptions::default();
    Ok(engine.control.networks().list(caller, Some(&engine.project), &options)?.items)
}

async fn list(State(engine): Shared, Extension(caller): crate::By, query: Query) -> Reply {
    let known = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];
    let filters = Filters::read(&query, &known)?;
    for kind in filters.all("type") {
        if !matches!(kind.as_str(), "custom" | "builtin") {
            return Err(Failure::bad(format!("invalid filter: 'type'='{kind}'")));
        }
    }
    let dangling = filters.flag("dangling").map_err(|_| {
        Failure::bad(
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        )
    })?;
    let names = filters.names()?;
    let instances = containers::all(&engine, &caller)?;
    let mut rows = Vec::new();
    let found = all(&engine, &caller)?.into_iter().map(Found::Network);
    for found in found.chain([Found::Predefined("host"), Found::Predefined("none")]) {
        let row = show::summary(&found);
        let unused = !found.is_predefined() && show::present(&found, &instances).next().is_none();
        let named = names.any(row["Name"].as_str().unwrap_or_default());
        if named && wanted(&row, &found, &filters) && dangling.is_none_or(|wanted| wanted == unused)
        {
            rows.push(row);
        }
    }
    Ok(axum::Json(rows).into_response())
}

fn wanted(row: &Value, found: &Found, filters: &Filters) -> bool {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let kind = if found.is_predefined() { "builtin" } else { "custom" };
    filters.any("id", |prefix| text("Id").starts_with(prefix))
        && filters.any("driver", |driver| text("Driver") == driver)
        && filters.any("scope", |scope| text("Scope") == scope)
        && filters.any("type", |wanted| kind == wanted)
        && filters.labels(|key| row["Labels"][key].as_str())
}

async fn inspect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    match query.text("scope") {
        "" | "local" => {}
        _ => return Err(Failure::not_found(format!("network {name} not found"))),
    }
    let found = find(&engine, &caller, &name)?;
    let instances = containers::all(&engine, &caller)?;
    Ok(axum::Json(show::whole(&found, &instances)).into_response())
}

async fn remove(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let found = find(&engine, &caller, &name)?;
    let network = match &found {
        Found::Network(network) if !found.is_predefined() => network,
        Found::Network(_) | Found::Predefined(_) => {
            return Err(Failure::new(
                StatusCode::FORBIDDEN,
                format!("{name} is a pre-defined network and cannot be removed"),
            ));
        }
    };
    let id = network.meta.id.as_str();
    let networks = engine.control.networks();
    let removed = networks.delete(&caller, &engine.project, id, None, Mode::Apply).await;
    if let Err(error) = removed {
        if error.kind() != ErrorKind::Conflict {
            return Err(error.into());
        }
        let instances = containers::all(&engine, &caller)?;
        let members = show::present(&found, &instances).map(|(instance, _)| {
            format!("name:{:?} id:\"{}\"", instance.meta.name, &instance.meta.id.as_str()[..12])
        });
        let members: Vec<_> = members.collect();
        if members.is_empty() {
            return Err(error.into());
        }
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            format!(
                "error while removing network: network {} has active endpoints ({})",
                network.meta.name,
                members.join(", ")
            ),
        ));
    }
    gone(&engine, &caller, id).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Waits until a network is not there any more: programs that tear an application down and set it up
/// again would find it half gone.
async fn gone(engine: &Engine, caller: &Caller, id: &str) {
    if engine.node_is_away(caller) {
        return;
    }
    let networks = engine.control.networks();
    let project = Some(engine.project.as_str());
    let wait = async {
        let changes = networks.watch(caller, project, Default::default(), Default::default(), None);
        let Ok(mut changes) = changes else { return };
        while networks.get(caller, &engine.project, id).is_ok() {
            if changes.next().await.is_none() {
                return;
            }
        }
    };
    // It goes on in the background.
    let _ = tokio::time::timeout(GONE_WITHIN, wait).await;
}

async fn prune(State(engine): Shared, Extension(caller): crate::By, query: Query) -> Reply {
    let filters = Filters::read(&query, &["until", "label", "label!"])?;
    let until = crate::times::until(&filters)?;
    let instances = containers::all(&engine, &caller)?;
    let networks = engine.control.networks();
    let mut deleted = Vec::new();
    for network in all(&engine, &caller)? {
        let meta = &network.meta;
        let found = Found::Network(network.clone());
        let idle = show::present(&found, &instances).next().is_none();
        let labels = filters.labels(|key| meta.labels.get(key).map(String::as_str));
        let old = until.is_none_or(|until| meta.created < until);
        if found.is_predefined() || !idle || !labels || !old {
            continue;
        }
        let id = meta.id.as_str();
        // One that was joined meanwhile is none to prune.
        if networks.delete(&caller, &engine.project, id, None, Mode::Apply).await.is_ok() {
            gone(&engine, &caller, id).await;
            deleted.push(meta.name.clone());
        }
    }
    let deleted = if deleted.is_empty() { Value::Null } else { json!(deleted) };
    Ok(axum::Json(json!({ "NetworksDeleted": deleted })).into_response())
}

async fn connect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    Json(request): Json<NetworkConnectRequest>,
) -> Reply {
    if request.container.is_empty() {
        return Err(Failure::bad("invalid name or ID supplied: \"\""));
    }
    let instance = containers::find(&engine, &caller, &request.container)?;
    let found = find(&engine, &caller, &name)?;
    let Found::Network(network) = &found else {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            match name.as_str() {
                "host" => {
                    "cannot connect container to host network - container must be created in host \
                           network mode"
                }
                _ => {
                    "container cannot be connected to multiple networks with one of the networks in \
                      private (none) mode"
                }
            },
        ));
    };
    refuse_shared(&instance)?;
    let docker = containers::docker_name(&network.meta.name);
    let settings = request.endpoint_config.unwrap_or_default();
    let mut wished = attachment(docker, &settings)?;
    network.meta.name.clone_into(&mut wished.network);
    let join = |mode: &mut NetworkMode| mode.connect(wished.clone());
    let joined = change(&engine, &caller, &instance, join).await;
    joined.map_err(|error| {
        if error.code() == Some(Code::JoinedAlready) {
            return Failure::new(
                StatusCode::FORBIDDEN,
                format!(
                    "endpoint with name {} already exists in network {docker}",
                    instance.meta.name
                ),
            );
        }
        error.into()
    })?;
    Ok(StatusCode::OK.into_response())
}

async fn disconnect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    Json(request): Json<NetworkDisconnectRequest>,
) -> Reply {
    if request.container.is_empty() {
        return Err(Failure::bad("invalid name or ID supplied: \"\""));
    }
    let instance = containers::find(&engine, &caller, &request.container)?;
    let found = find(&engine, &caller, &name)?;
    refuse_shared(&instance)?;
    let ours = match &found {
        Found::Network(network) => network.meta.name.clone(),
        Found::Predefined(name) => (*name).to_owned(),
    };
    let part = |mode: &mut NetworkMode| mode.disconnect(&ours);
    let parted = change(&engine, &caller, &instance, part).await;
    parted.map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            return Failure::new(
                StatusCode::FORBIDDEN,
                format!("container {} is not connected to network {name}", id_of(&instance)),
            );
        }
        error.into()
    })?;
    Ok(StatusCode::OK.into_response())
}

/// Only what has a network namespace of its own is joined to networks and parted from them.
fn refuse_shared(instance: &Instance) -> Reply<()> {
    match &instance.spec.network {
        NetworkMode::Networks { .. } | NetworkMode::None => Ok(()),
        NetworkMode::Host => Err(Failure::bad(
            "container sharing network namespace with another container or host cannot be connected to \
             any other network",
        )),
        NetworkMode::Instance { .. } => Err(Failure::bad(
            "container sharing network namespace with another container or host cannot be connected to \
             any other network",
        )),
    }
}

/// Changes how a container is joined to networks, and waits until its node has done it.
async fn change(
    engine: &Engine,
    caller: &Caller,
    instance: &Instance,
    change: impl Fn(&mut NetworkMode) -> model::Result<()>,
) -> model::Result<()> {
    let instances = engine.control.instances();
    let edit = |(_, _, spec): Editable<'_, InstanceNoun>| change(&mut spec.network);
    let id = id_of(instance);
    instances.update(caller, &engine.project, id, None, edit, Mode::Apply).await?;
    instances.settle(caller, &instance.meta.id, Goal::InForce, PATIENCE).await.map(drop)
}
