//! What happens, in Engine's words: `GET /events`, and what is told from here besides.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use control::{Caller, EventFilter};
use futures::StreamExt;
use model::event::Event;
use model::image::Reference;
use model::instance::Instance;
use model::volume::LOCAL;
use model::{Kind, Time};
use serde_json::{Value, json};

use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::version::ApiVersion;
use crate::{Engine, Shared, containers};

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new().route("/events", get(events))
}

const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

impl Engine {
    /// Tells of something that was done to a container through this API and is no change of a record.
    pub(crate) fn tell(
        &self,
        caller: &Caller,
        instance: &Instance,
        action: &str,
        more: &[(&str, &str)],
    ) {
        let mut event = Event::new(Time::now(), Kind::Instance, action, &instance.meta);
        if let Some(main) = instance.spec.main() {
            event = event.with("image", &main.image);
        }
        for (name, value) in more {
            event = event.with(name, value);
        }
        self.control.events().emit(caller, event);
    }
}

async fn events(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Reply {
    let filters = Filters::read(&query, &FILTERS)?;
    let since = crate::times::time(query.text("since"))?;
    let until = crate::times::time(query.text("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Failure::bad(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.text("since"),
            query.text("until")
        )));
    }
    let wanted = EventFilter {
        projects: vec![engine.project.clone(), String::new()],
        kinds: vec![Kind::Instance, Kind::Image, Kind::Network, Kind::Volume],
        ..EventFilter::default()
    };
    let events = engine.control.events().watch(&caller, since, until, wanted)?;
    let stop = engine.stop.clone();
    let shown = engine.clone();
    let lines = events.take_until(stop.cancelled_owned()).filter_map(move |event| {
        let line = match event {
            Ok(event) => message(&shown, &event)
                .filter(|message| matches(message, &filters))
                .map(|message| with_old_fields(message, version)),
            Err(error) => Some(json!({ "message": error.chain() })),
        };
        let line =
            line.map(|line| Ok::<_, std::convert::Infallible>(Bytes::from(format!("{line}\n"))));
        std::future::ready(line)
    });
    let body = Body::from_stream(lines);
    Ok(([(http::header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn message(engine: &Engine, event: &Event) -> Option<Value> {
    let kind = match event.kind {
        Kind::Instance => "container",
        Kind::Image => "image",
        Kind::Network => "network",
        Kind::Volume => "volume",
        Kind::App
        | Kind::Config
        | Kind::Event
        | Kind::Node
        | Kind::Operation
        | Kind::Project
        | Kind::Secret
        | Kind::Service
        | Kind::Snapshot
        | Kind::Catalog
        | Kind::Token
        | Kind::User => return None,
    };
    let id = event.id.as_ref().map(|id| id.as_str()).unwrap_or_default();
    let mut attributes: BTreeMap<&str, String> = BTreeMap::new();
    let actor = match event.kind {
        Kind::Instance => {
            attributes
                .extend(event.labels.iter().map(|(key, value)| (key.as_str(), value.clone())));
            attributes
                .extend(event.details.iter().map(|(key, value)| (key.as_str(), value.clone())));
            for ours in ["container", "health"] {
                attributes.remove(ours);
            }
            attributes.insert("name", event.name.clone());
            if !attributes.contains_key("image") {
                attributes.insert("image", image_of(engine, event));
            }
            id.to_owned()
        }
        Kind::Network => {
            attributes.insert("name", containers::docker_name(&event.name).to_owned());
            attributes.insert("type", "bridge".to_owned());
            if let Some(name) = event.details.get("instance") {
                let member = containers::find(engine, &Caller::platform(), name);
                let member = member.map(|it| it.meta.id.to_string()).unwrap_or_default();
                attributes.insert("container", member);
            }
            id.to_owned()
        }
        Kind::Volume => {
            let storage = event.details.get("storage").map_or(LOCAL, String::as_str);
            attributes.insert("driver", storage.to_owned());
            event.name.clone()
        }
        _ => {
            let (actor, name) = crate::images::actor(event);
            attributes.extend(
                event
                    .details
                    .iter()
                    .filter(|(key, _)| *key != "image")
                    .map(|(key, value)| (key.as_str(), value.clone())),
            );
            if !name.is_empty() {
                attributes.insert("name", name);
            }
            actor
        }
    };
    Some(json!({
        "Type": kind,
        "Action": action(event),
        "Actor": { "ID": actor, "Attributes": attributes },
        "scope": "local",
        "time": event.time.0.as_second(),
        "timeNano": i64::try_from(event.time.0.as_nanosecond()).unwrap_or(i64::MAX),
    }))
}

fn image_of(engine: &Engine, event: &Event) -> String {
    let Some(id) = &event.id else { return String::new() };
    let instance = engine.control.instances().get_by_id(&Caller::platform(), id);
    let image = instance.ok().and_then(|it| it.spec.main().map(|main| main.image.clone()));
    image.unwrap_or_default()
}

fn action(event: &Event) -> String {
    match (event.action.as_str(), event.details.get("health")) {
        ("health_status", Some(health)) => format!("health_status: {health}"),
        (action, _) => action.to_owned(),
    }
}

/// Fields that clients before 1.52 read.
fn with_old_fields(mut message: Value, version: ApiVersion) -> Value {
    let kind = message["Type"].as_str().unwrap_or_default().to_owned();
    let kind = kind.as_str();
    if version >= ApiVersion::minor(52) || !matches!(kind, "container" | "image") {
        return message;
    }
    message["status"] = message["Action"].clone();
    message["id"] = message["Actor"]["ID"].clone();
    if kind == "container" {
        message["from"] = message["Actor"]["Attributes"]["image"].clone();
    }
    message
}

fn matches(message: &Value, filters: &Filters) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, action) = (text(&message["Type"]), text(&message["Action"]));
    let (id, attributes) = (text(&message["Actor"]["ID"]), &message["Actor"]["Attributes"]);
    let of = |wanted: &str| {
        filters.any(wanted, |value| {
            kind == wanted
                && (id.starts_with(value) || attributes["name"] == *value.trim_start_matches('/'))
        })
    };
    let image = filters.any("image", |value| {
        let name = text(&attributes[if kind == "image" { "name" } else { "image" }]);
        (kind == "image" && id == value) || same_image(&name, value)
    });
    let event = |wanted: &str| {
        action == wanted || action.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(':'))
    };
    let others = ["config", "daemon", "node", "plugin", "secret", "service"];
    filters.any("type", |wanted| kind == wanted)
        && filters.any("event", event)
        && filters.any("scope", |scope| scope == "local")
        && of("container")
        && of("network")
        && of("volume")
        && image
        && others.iter().all(|other| !filters.has(other))
        && filters.labels(|key| attributes[key].as_str())
}

/// Whether an image's name is the one asked for, with or without its tag.
fn same_image(name: &str, wanted: &str) -> bool {
    let (Ok(name), Ok(asked)) = (name.parse::<Reference>(), wanted.parse::<Reference>()) else {
        return name == wanted;
    };
    let whole = wanted.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    if whole { name == asked } else { name.name() == asked.name() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_old_clients_read() {
        let message = json!({
            "Type": "container", "Action": "die",
            "Actor": { "ID": "abc", "Attributes": { "image": "busybox", "name": "web" } },
        });
        let old = with_old_fields(message.clone(), ApiVersion::minor(44));
        assert_eq!(
            (&old["status"], &old["id"], &old["from"]),
            (&json!("die"), &json!("abc"), &json!("busybox"))
        );
        assert_eq!(with_old_fields(message.clone(), ApiVersion::minor(53)), message);
    }
}
