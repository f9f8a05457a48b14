//! `GET /images/{name}/json` and `GET /images/{name}/history`.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use link::image::ImageDetail;
use serde_json::{Map, Value, json};

use super::names::Platform;
use super::{Name, Named, names};
use crate::Shared;
use crate::containers::NEVER;
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::shape::fill;
use crate::version::ApiVersion;

/// What Engine shows of an image's configuration when it is there.
const SHOWN: [&str; 15] = [
    "ArgsEscaped",
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "Memory",
    "MemorySwap",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

pub(super) async fn inspect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Extension(Name(name)): Named,
    query: Query,
) -> Reply {
    let manifests = version >= ApiVersion::minor(48) && query.flag("manifests");
    let platform = match version >= ApiVersion::minor(49) {
        true => Platform::read(query.text("platform"))?,
        false => None,
    };
    if manifests && platform.is_some() {
        return Err(Failure::bad(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let detail = super::detail(&engine, &caller, &name).await?;
    if let Some(platform) = &platform {
        platform.check(&name, &detail.image)?;
    }
    Ok(axum::Json(show(&detail, version)).into_response())
}

fn show(detail: &ImageDetail, version: ApiVersion) -> Value {
    let ImageDetail { image, file, layers, .. } = detail;
    let text = |field: &str| file.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut shown = json!({
        "Id": image.id,
        "RepoTags": familiar(&image.names),
        "RepoDigests": familiar(&image.digests),
        "Config": config(file),
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": layers.iter().map(|layer| layer.0).sum::<u64>(),
        "RootFS": { "Type": "layers", "Layers": image.layers },
        "Metadata": {
            "LastTagTime": detail.tagged.map_or(NEVER.to_owned(), |tagged| tagged.to_string()),
        },
    });
    if image.layers.is_empty() {
        shown["RootFS"] = json!({ "Type": "layers" });
    }
    let created = text("created");
    if !created.is_empty() {
        shown["Created"] = json!(created);
    }
    for (name, field) in [("Variant", "variant"), ("OsVersion", "os.version")] {
        if !text(field).is_empty() {
            shown[name] = json!(text(field));
        }
    }
    let comment = match text("comment") {
        "" => image.history.last().map(|last| last.comment.as_str()).unwrap_or_default(),
        comment => comment,
    };
    let words = [
        ("Comment", comment),
        ("Author", text("author")),
        ("Parent", ""),
        ("DockerVersion", text("docker_version")),
    ];
    for (name, word) in words {
        // Before 1.52 they were always there.
        if version < ApiVersion::minor(52) || !word.is_empty() {
            shown[name] = json!(word);
        }
    }
    old_words(&mut shown, file, version);
    shown
}

/// What older clients read.
fn old_words(shown: &mut Value, file: &Value, version: ApiVersion) {
    if version < ApiVersion::minor(52) {
        shown["GraphDriver"] = json!({ "Data": Value::Null, "Name": "overlayfs" });
        fill(
            &mut shown["Config"],
            json!({
                "Cmd": Value::Null, "Entrypoint": Value::Null, "Env": Value::Null,
                "Labels": Value::Null, "OnBuild": Value::Null, "User": "", "Volumes": Value::Null,
                "WorkingDir": "",
            }),
        );
    }
    let oldest = json!({
        "AttachStderr": false, "AttachStdin": false, "AttachStdout": false, "Domainname": "",
        "Hostname": "", "Image": "", "OpenStdin": false, "StdinOnce": false, "Tty": false,
    });
    if version < ApiVersion::minor(50) {
        fill(&mut shown["Config"], oldest.clone());
    }
    if version < ApiVersion::minor(45) {
        shown["Container"] = file.get("container").cloned().unwrap_or_else(|| json!(""));
        let mut made = file.get("container_config").cloned().unwrap_or_else(|| json!({}));
        fill(&mut made, oldest);
        fill(
            &mut made,
            json!({
                "User": "", "Env": Value::Null, "Cmd": Value::Null, "Volumes": Value::Null,
                "WorkingDir": "", "Entrypoint": Value::Null, "OnBuild": Value::Null,
                "Labels": Value::Null,
            }),
        );
        shown["ContainerConfig"] = made;
    }
    if version < ApiVersion::minor(44) {
        shown["VirtualSize"] = shown["Size"].clone();
        fill(shown, json!({ "Created": NEVER }));
    }
}

/// The configuration's known fields that say something.
fn config(file: &Value) -> Value {
    let Some(Value::Object(fields)) = file.get("config") else { return json!({}) };
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    };
    let shown = fields.iter().filter(|(name, value)| SHOWN.contains(&name.as_str()) && says(value));
    Value::Object(shown.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

fn familiar(names: &[String]) -> Vec<String> {
    names.iter().map(|name| names::familiar(name)).collect()
}

pub(super) async fn history(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Extension(Name(name)): Named,
    query: Query,
) -> Reply {
    let detail = super::detail(&engine, &caller, &name).await?;
    if version >= ApiVersion::minor(48)
        && let Some(platform) = Platform::read(query.text("platform"))?
    {
        platform.check(&name, &detail.image)?;
    }
    let image = &detail.image;
    let mut sizes = detail.layers.iter();
    let mut rows: Vec<Value> = Vec::with_capacity(image.history.len());
    for entry in &image.history {
        let size = if entry.empty_layer { 0 } else { sizes.next().map_or(0, |size| size.0) };
        rows.push(json!({
            "Id": "<missing>",
            "Created": entry.created.map_or(0, |created| created.0.as_second()),
            "CreatedBy": entry.created_by,
            "Tags": Value::Null,
            "Size": size,
            "Comment": entry.comment,
        }));
    }
    rows.reverse();
    if let Some(top) = rows.first_mut() {
        top["Id"] = json!(image.id);
        let tags = familiar(&image.names);
        top["Tags"] = if tags.is_empty() { Value::Null } else { json!(tags) };
    }
    Ok(axum::Json(rows).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_left_out() {
        let file = json!({ "config": {
            "Cmd": ["sh"], "Env": null, "Labels": {}, "User": "", "Hostname": "h",
            "WorkingDir": "/", "ArgsEscaped": true, "OnBuild": [],
        }});
        let expected = json!({ "Cmd": ["sh"], "WorkingDir": "/", "ArgsEscaped": true });
        assert_eq!(config(&file), expected);
        assert_eq!(config(&json!({})), json!({}));
    }

    #[test]
    fn older_clients_get_more() {
        let mut shown = json!({ "Config": { "Cmd": ["sh"] }, "Size": 1 });
        old_words(&mut shown, &json!({}), ApiVersion::minor(51));
        assert_eq!(shown["Config"]["Env"], Value::Null);
        assert!(shown["Config"].get("Tty").is_none() && shown.get("Container").is_none());
        let mut oldest = json!({ "Config": {}, "Size": 1 });
        old_words(&mut oldest, &json!({}), ApiVersion::minor(24));
        assert_eq!(oldest["VirtualSize"], 1);
        assert_eq!(oldest["ContainerConfig"]["Tty"], false);
        assert_eq!(oldest["Created"], NEVER);
    }
}
