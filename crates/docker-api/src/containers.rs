//! Containers: instances of the project, seen as an engine shows them.
//!
//! [`translate`] goes from a create request to an instance, [`show`] from an instance to what is
//! listed and inspected, [`origin`] keeps what only Docker has a word for. The verbs are a file each.

mod archive;
mod attach;
mod create;
mod inspect;
mod lifecycle;
mod list;
mod logs;
pub(crate) mod origin;
mod remove;
mod show;
mod stats;
mod translate;
mod update;
mod wait;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use control::Caller;
use model::ErrorKind;
use model::instance::Instance;

use crate::Engine;
use crate::failure::{Failure, Reply};

pub(crate) use attach::size;
pub(crate) use lifecycle::PATIENCE;
pub(crate) use list::{all, usage};
pub(crate) use origin::volume_names;
pub(crate) use show::networks::{docker_name, made_up_id};
pub(crate) use show::state::{NEVER, word as state_word};
pub(crate) use translate::{attachment, is_default, size_of};

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/json", get(list::list))
        .route("/containers/create", post(create::create))
        .route("/containers/prune", post(remove::prune))
        .route("/containers/{name}", delete(remove::remove))
        .route("/containers/{name}/json", get(inspect::inspect))
        .route("/containers/{name}/start", post(lifecycle::start))
        .route("/containers/{name}/stop", post(lifecycle::stop))
        .route("/containers/{name}/restart", post(lifecycle::restart))
        .route("/containers/{name}/kill", post(lifecycle::kill))
        .route("/containers/{name}/pause", post(lifecycle::pause))
        .route("/containers/{name}/unpause", post(lifecycle::unpause))
        .route("/containers/{name}/rename", post(update::rename))
        .route("/containers/{name}/update", post(update::update))
        .route("/containers/{name}/wait", post(wait::wait))
        .route("/containers/{name}/logs", get(logs::logs))
        .route("/containers/{name}/attach", post(attach::attach))
        .route("/containers/{name}/attach/ws", get(attach::attach_ws))
        .route("/containers/{name}/resize", post(attach::resize))
        .route("/containers/{name}/stats", get(stats::stats))
        .route("/containers/{name}/top", get(stats::top))
        .route("/containers/{name}/changes", get(archive::changes))
        .route("/containers/{name}/export", get(archive::export))
        .route(
            "/containers/{name}/archive",
            get(archive::read).head(archive::stat).put(archive::write),
        )
        .route("/commit", post(archive::commit))
}

/// The container of that name, id, or unique beginning of an id.
pub(crate) fn find(engine: &Engine, caller: &Caller, name: &str) -> Reply<Arc<Instance>> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    if bare.is_empty() {
        return Err(Failure::bad(format!("invalid name or ID supplied: {name:?}")));
    }
    let found = engine.control.instances().get(caller, &engine.project, bare);
    found.map_err(|error| {
        if error.kind() == ErrorKind::Invalid {
            return Failure::bad(format!("multiple IDs found with provided prefix: {name}"));
        }
        Failure::reword(error, ErrorKind::NotFound, |_| format!("No such container: {name}"))
    })
}

/// The instance's id: what verbs are asked for by, as names can be given to another meanwhile.
pub(crate) fn id_of(instance: &Instance) -> &str {
    instance.meta.id.as_str()
}

/// Whether a running instance is looked at.
pub(crate) fn check_running(instance: &Instance) -> Reply<()> {
    if instance.status.phase.is_live() {
        return Ok(());
    }
    Err(Failure::conflict(format!("container {} is not running", id_of(instance))))
}

/// Goes the way of a create request with any body.
#[cfg(test)]
pub(crate) fn translate_any(body: serde_json::Value) {
    let Ok((config, host, endpoints)) = create::take_apart_json(body) else { return };
    let image = serde_json::json!({
        "id": "sha256:1", "digest": "", "names": [], "digests": [], "size": 0,
        "architecture": "amd64", "os": "linux", "config": {}, "layers": [], "history": [],
    });
    let image = serde_json::from_value(image).expect("written by hand");
    let asked = translate::Asked {
        config: &config,
        host: &host,
        endpoints: &endpoints,
        mac: None,
        image: &image,
        inherited: &[],
        links: &[],
        cpus: 2,
    };
    drop(translate::spec(&asked));
}

/// Whether its output is a terminal's, as clients are told and so understand it. A machine's console is
/// one, unless Docker asked for none.
pub(crate) fn has_terminal(instance: &Instance) -> bool {
    let asked = instance.spec.main().is_some_and(|main| main.tty);
    asked || (instance.status.machine.is_some() && !origin::is_dockers(instance))
}
