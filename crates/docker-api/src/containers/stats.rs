//! What a container uses, and its processes.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::StreamExt;
use link::instance::{InterfaceStats, Stats};
use model::instance::Instance;
use serde_json::{Value, json};

use super::show::state::NEVER;
use super::{find, id_of};
use crate::Shared;
use crate::failure::{Failure, Reply};
use crate::query::Query;

pub(super) async fn stats(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let stream = query.flag_or("stream", true);
    let one_shot = query.flag("one-shot");
    if stream && one_shot {
        return Err(Failure::bad("cannot have stream=true and one-shot=true"));
    }
    let instance = find(&engine, &caller, &name)?;
    if !instance.status.phase.is_live() {
        let answer = document(&instance, None, &Stats::default());
        return Ok(axum::Json(answer).into_response());
    }
    let instances = engine.control.instances();
    let follow = !one_shot;
    let id = id_of(&instance);
    let mut samples = instances.stats(&caller, &engine.project, id, "", follow).await?;
    if !stream {
        // The second of two samples, from which a rate can be told, unless only one is asked for.
        let first = samples.next().await.transpose()?.unwrap_or_default();
        let answer = match follow {
            false => document(&instance, None, &first),
            true => match samples.next().await.transpose()? {
                Some(second) => document(&instance, Some(&first), &second),
                None => document(&instance, None, &first),
            },
        };
        return Ok(axum::Json(answer).into_response());
    }
    let stop = engine.stop.clone();
    let lines = futures::stream::unfold(
        (samples, instance, None::<Stats>),
        |(mut samples, instance, before)| async move {
            let now = samples.next().await?.ok()?;
            let line = format!("{}\n", document(&instance, before.as_ref(), &now));
            Some((
                Ok::<_, std::convert::Infallible>(Bytes::from(line)),
                (samples, instance, Some(now)),
            ))
        },
    );
    let body = Body::from_stream(lines.take_until(stop.cancelled_owned()));
    Ok(([(http::header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn document(instance: &Instance, before: Option<&Stats>, now: &Stats) -> Value {
    let nothing = Stats::default();
    let before = before.unwrap_or(&nothing);
    let time = |stats: &Stats| stats.time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    let networks: serde_json::Map<_, _> =
        now.interfaces.iter().map(|it| (it.name.clone(), network(it))).collect();
    json!({
        "name": format!("/{}", instance.meta.name),
        "id": id_of(instance),
        "read": time(now),
        "preread": time(before),
        "pids_stats": if now.pids > 0 { json!({ "current": now.pids, "limit": limit(now.pids_limit) }) } else { json!({}) },
        "blkio_stats": blocks(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": processors(now),
        "precpu_stats": processors(before),
        "memory_stats": memory(now),
        "networks": networks,
    })
}

/// No limit is the largest number, as the kernel has it.
fn limit(limit: u64) -> u64 {
    if limit == 0 { u64::MAX } else { limit }
}

/// The system's own time is told by its clock: all processors pass as much of it.
fn processors(stats: &Stats) -> Value {
    let Some(time) = stats.time else {
        return json!({
            "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        });
    };
    let clock = u64::try_from(time.0.as_nanosecond()).unwrap_or_default();
    json!({
        "cpu_usage": {
            "total_usage": stats.cpu_ns,
            "usage_in_kernelmode": stats.cpu_system_ns,
            "usage_in_usermode": stats.cpu_user_ns,
        },
        "system_cpu_usage": clock.saturating_mul(u64::from(stats.online_cpus.max(1))),
        "online_cpus": stats.online_cpus,
        "throttling_data": {
            "periods": 0,
            "throttled_periods": stats.throttled.0,
            "throttled_time": stats.throttled.1,
        },
    })
}

fn memory(stats: &Stats) -> Value {
    if stats.time.is_none() {
        return json!({});
    }
    let cache = stats.memory_total.saturating_sub(stats.memory);
    json!({
        "usage": stats.memory_total,
        // Clients take the first (cgroup v1) or the second (v2) off the usage.
        "stats": { "total_inactive_file": cache, "inactive_file": cache },
        "limit": stats.memory_limit,
    })
}

fn blocks(stats: &Stats) -> Value {
    let entry = |op: &str, value: u64| json!({ "major": 0, "minor": 0, "op": op, "value": value });
    let recursive = match stats.time {
        Some(_) => json!([entry("read", stats.block.0), entry("write", stats.block.1)]),
        None => Value::Null,
    };
    json!({
        "io_service_bytes_recursive": recursive, "io_serviced_recursive": null,
        "io_queue_recursive": null, "io_service_time_recursive": null,
        "io_wait_time_recursive": null, "io_merged_recursive": null, "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn network(it: &InterfaceStats) -> Value {
    json!({
        "rx_bytes": it.rx_bytes, "rx_packets": it.rx_packets, "rx_errors": it.rx_errors,
        "rx_dropped": it.rx_dropped, "tx_bytes": it.tx_bytes, "tx_packets": it.tx_packets,
        "tx_errors": it.tx_errors, "tx_dropped": it.tx_dropped,
    })
}

pub(super) async fn top(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let instance = find(&engine, &caller, &name)?;
    super::check_running(&instance)?;
    let options = query.given("ps_args").filter(|options| !options.is_empty()).unwrap_or("-ef");
    let instances = engine.control.instances();
    let table = instances.top(&caller, &engine.project, id_of(&instance), "", options).await;
    let table = table.map_err(|error| match error.message().split_once("error: ") {
        // ps prints its usage after that.
        Some((_, why)) => {
            Failure::bad(format!("ps: error: {}", why.lines().next().unwrap_or_default()))
        }
        None => error.into(),
    })?;
    let answer = json!({ "Titles": table.titles, "Processes": table.processes });
    Ok(axum::Json(answer).into_response())
}
