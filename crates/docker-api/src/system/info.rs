//! `GET /version` and `GET /info`.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use control::Caller;
use model::Time;
use model::node::NodeStatus;
use serde_json::{Value, json};

use crate::failure::Reply;
use crate::version::{ENGINE, NEWEST, OLDEST};
use crate::{Engine, Shared, containers};

pub(super) async fn version(State(engine): Shared, Extension(caller): crate::By) -> Reply {
    let status = node(&engine, &caller);
    let architecture = status.architecture;
    let details = json!({
        "ApiVersion": NEWEST.to_string(),
        "Arch": architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": status.kernel,
        "MinAPIVersion": OLDEST.to_string(),
        "Os": "linux",
    });
    let runtime = status.engine.strip_prefix("containerd ").unwrap_or(&status.engine).to_owned();
    let answer = json!({
        "Platform": { "Name": format!("Monohull {}", engine.version) },
        "Components": [
            { "Name": "Engine", "Version": ENGINE, "Details": details },
            { "Name": "hull", "Version": engine.version, "Details": { "GitCommit": "" } },
            { "Name": "containerd", "Version": runtime, "Details": { "GitCommit": "" } },
        ],
        "Version": ENGINE,
        "ApiVersion": NEWEST.to_string(),
        "MinAPIVersion": OLDEST.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": status.kernel,
        "BuildTime": "",
    });
    Ok(axum::Json(answer).into_response())
}

fn node(engine: &Engine, caller: &control::Caller) -> NodeStatus {
    let node = engine.control.nodes().get(caller, "", &engine.node);
    node.map(|node| node.status.clone()).unwrap_or_default()
}

pub(super) async fn info(State(engine): Shared, Extension(caller): crate::By) -> Reply {
    let status = node(&engine, &caller);
    let all = containers::all(&engine, &caller)?;
    let count = |words: &[&str]| {
        all.iter().filter(|instance| words.contains(&containers::state_word(instance))).count()
    };
    let images = engine.control.images().list(&caller, "").await.map_or(0, |images| images.len());
    let (id, labels) = match engine.control.nodes().get(&caller, "", &engine.node) {
        Ok(node) => {
            let pairs = node.meta.labels.iter().map(|(key, value)| format!("{key}={value}"));
            (node.meta.id.to_string(), pairs.collect())
        }
        Err(_) => (String::new(), Vec::new()),
    };
    let mut answer = fixed();
    if let Some(Value::Array(drivers)) = answer.pointer_mut("/Plugins/Volume") {
        drivers.extend(volume_plugins(&engine, &caller).await.into_iter().map(Value::from));
    }
    let own = json!({
        "ID": id,
        "Containers": all.len(),
        "ContainersRunning": count(&["running"]),
        "ContainersPaused": count(&["paused"]),
        "ContainersStopped": count(&["created", "exited", "restarting", "removing"]),
        "Images": images,
        "SystemTime": Time::now().to_string(),
        "CgroupVersion": if status.cgroups == "v2" { "2" } else { "1" },
        "KernelVersion": status.kernel,
        "OperatingSystem": status.os,
        "Architecture": machine(&status.architecture),
        "NCPU": status.cpus.milli() / 1000,
        "MemTotal": status.memory.0,
        "DockerRootDir": engine.root,
        "Name": engine.node,
        "Labels": labels,
        "ServerVersion": ENGINE,
        "Warnings": if status.warnings.is_empty() { Value::Null } else { json!(status.warnings) },
    });
    if let (Value::Object(answer), Value::Object(own)) = (&mut answer, own) {
        answer.extend(own);
    }
    Ok(axum::Json(answer).into_response())
}

/// The plugins that have volumes. One that does not answer is left out.
async fn volume_plugins(engine: &Engine, caller: &Caller) -> Vec<String> {
    let plugins = engine.control.volumes().plugins(caller).await.unwrap_or_default();
    let volumes =
        plugins.into_iter().filter(|it| it.implements.iter().any(|it| it == "VolumeDriver"));
    volumes.map(|plugin| plugin.name).collect()
}

/// The processor's name as `uname -m` has it.
fn machine(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// What is the same on every node.
fn fixed() -> Value {
    serde_json::from_str(include_str!("info.json")).unwrap_or_default()
}
