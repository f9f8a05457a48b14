//! Changing what exists: names and limits.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bollard_stubs::models::HostConfig;
use control::{Goal, Mode};
use model::ErrorKind;
use model::instance::RestartPolicy;
use serde_json::json;

use super::create::nothing;
use super::{find, id_of, translate};
use crate::Shared;
use crate::body::Json;
use crate::failure::{Failure, Reply};
use crate::query::Query;

pub(super) async fn rename(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let new = query.text("name");
    let new = new.strip_prefix('/').unwrap_or(new);
    if new.is_empty() {
        return Err(Failure::bad("Neither old nor new names may be empty"));
    }
    let instance = find(&engine, &caller, &name)?;
    if instance.meta.name == new {
        return Err(Failure::bad("Renaming a container with the same name as its current name"));
    }
    let (id, instances) = (id_of(&instance), engine.control.instances());
    let renamed = instances.rename(&caller, &engine.project, id, new, Mode::Apply).await;
    renamed.map_err(|error| match error.kind() {
        ErrorKind::Exists => {
            let other = find(&engine, &caller, new);
            let id = other.map(|other| other.meta.id.to_string()).unwrap_or_default();
            Failure::conflict(format!(
                "Error when allocating new name: Conflict. The container name \"/{new}\" is already in \
                 use by container \"{id}\". You have to remove (or rename) that container to be able to \
                 reuse that name."
            ))
        }
        ErrorKind::Invalid => Failure::bad(format!(
            "Error when allocating new name: Invalid container name (/{new}), only \
             [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )),
        _ => Failure::from(error),
    })?;
    Ok(nothing())
}

/// The body of an update has fields of `HostConfig` only.
pub(super) async fn update(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    Json(host): Json<HostConfig>,
) -> Reply {
    let instance = find(&engine, &caller, &name)?;
    let id = id_of(&instance);
    refuse_fixed(&host)?;
    let restart = host
        .restart_policy
        .as_ref()
        .filter(|policy| {
            policy.name.is_some_and(|it| it != bollard_stubs::models::RestartPolicyNameEnum::EMPTY)
        })
        .map(|policy| translate::restart(Some(policy)))
        .transpose()?;
    if instance.spec.auto_remove && restart.is_some_and(|policy| policy != RestartPolicy::No) {
        return Err(cannot(
            id,
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ));
    }
    let cpus = engine.cpus(&caller);
    let mut resources = instance.spec.main().map(|main| main.resources.clone()).unwrap_or_default();
    translate::update_limits(&mut resources, &host, cpus)?;
    if let (Some(memory), Some(swap)) = (resources.memory, resources.memory_swap)
        && u64::try_from(swap).is_ok_and(|swap| swap < memory.0)
    {
        return Err(cannot(
            id,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the \
             same time",
        ));
    }
    let edit = |(_, _, spec): control::Editable<'_, model::instance::InstanceNoun>| {
        if let Some(restart) = restart {
            spec.restart = restart;
        }
        // On what is there now: another change may have come in between.
        match spec.containers.first_mut() {
            Some(main) => translate::update_limits(&mut main.resources, &host, cpus)
                .map_err(|failure| model::Error::invalid(failure.message)),
            None => Ok(()),
        }
    };
    let instances = engine.control.instances();
    instances.update(&caller, &engine.project, id, None, edit, Mode::Apply).await?;
    instances.settle(&caller, &instance.meta.id, Goal::InForce, super::PATIENCE).await?;
    Ok(axum::Json(json!({ "Warnings": null })).into_response())
}

fn cannot(id: &str, why: &str) -> Failure {
    Failure::conflict(format!("Cannot update container {id}: {why}"))
}

/// What a container has from its start.
fn refuse_fixed(host: &HostConfig) -> Reply<()> {
    fn some<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let number = |field: Option<i64>| field.is_some_and(|number| number != 0);
    let fixed = [
        (some(host.devices.as_ref()), "Devices"),
        (some(host.device_cgroup_rules.as_ref()), "DeviceCgroupRules"),
        (some(host.device_requests.as_ref()), "DeviceRequests"),
        (some(host.ulimits.as_ref()), "Ulimits"),
        (some(host.blkio_weight_device.as_ref()), "BlkioWeightDevice"),
        (host.init.is_some(), "Init"),
        (host.cgroup_parent.as_deref().is_some_and(|text| !text.is_empty()), "CgroupParent"),
        (number(host.cpu_realtime_period), "CpuRealtimePeriod"),
        (number(host.cpu_realtime_runtime), "CpuRealtimeRuntime"),
    ];
    match fixed.into_iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, field)) => Err(Failure::unserved(format!(
            "{field} cannot change while a container exists in this engine"
        ))),
    }
}
