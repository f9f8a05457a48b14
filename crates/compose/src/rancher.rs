//! What Rancher 1 adds: `rancher-compose.yml` beside a Compose file, and labels.

pub(crate) mod labels;
pub(crate) mod roles;

use model::instance::{HealthCheck, Probe};
use model::quantity::Span;
use model::service::{ServiceMode, UpdateOrder};
use serde_json::{Map, Value as Json};

use crate::field::Field;
use crate::files::shorten;
use crate::service::Draft;
use crate::told::Told;
use crate::yaml::{Entry, Node, Value};

/// The usual names of the file, the first one first.
pub(crate) const NAMES: [&str; 2] = ["rancher-compose.yml", "rancher-compose.yaml"];
/// Under which key of a service its words are put.
pub(crate) const KEY: &str = "x-rancher-compose";

/// Fields that have no meaning here, and why.
const IGNORED: [(&str, &str); 9] = [
    ("retain_ip", "an instance made anew gets another address; others find it by its name"),
    ("start_on_create", "a service is started when it is made"),
    ("storage_driver", "it is a driver for Rancher's own storage"),
    ("network_driver", "it is a driver for Rancher's own network"),
    ("load_balancer_config", "connections are spread by the platform, not by HAProxy"),
    ("default_cert", "TLS is not terminated by the platform yet"),
    ("certs", "TLS is not terminated by the platform yet"),
    ("selector_container", "containers are not taken into a service by their labels"),
    ("selector_link", "services are linked by name"),
];
/// Fields that are read here, or by the role of a service.
const SERVED: [&str; 19] = [
    "scale",
    "scale_policy",
    "health_check",
    "metadata",
    "upgrade_strategy",
    "lb_config",
    "external_ips",
    "hostname",
    "type",
    "labels",
    "vcpu",
    "memory",
    "userdata",
    "disks",
    "image",
    "service_schemas",
    "links",
    "external_links",
    "drain_timeout_ms",
];

/// Puts the words of the file below the services of a tree.
pub(crate) fn attach(tree: &mut Node, file: &Node, told: &Told) {
    let services = file.get("services").filter(|it| matches!(it.value, Value::Map(_)));
    let top = services.unwrap_or(file);
    for Entry { key, at, node } in top.entries() {
        let other = ["version", ".catalog", "catalog"].contains(&key.as_str());
        if other || node.value == Value::Null {
            continue;
        }
        match tree.get_mut("services").and_then(|it| it.get_mut(key)) {
            Some(service) => {
                if service.get(KEY).is_none() {
                    service.set(KEY, Node::map(at.clone()));
                }
                if let Some(words) = service.get_mut(KEY) {
                    node.entries().iter().for_each(|it| words.set(&it.key, it.node.clone()));
                }
            }
            None => told.ignore(at, key.clone(), "the Compose file has no such service"),
        }
    }
}

/// Reads what stands there of a service.
pub(crate) fn read(service: &Field<'_>, draft: &mut Draft) {
    labels::read(service, draft);
    let Some(field) = service.get(KEY) else { return };
    let field = Field { path: service.path.clone(), ..field };
    for (name, entry) in field.entries() {
        match IGNORED.iter().find(|(known, _)| *known == name) {
            Some((_, why)) => entry.ignore(*why),
            None if SERVED.contains(&name) => {}
            None => entry.ignore("this means nothing here"),
        }
    }
    if let Some(scale) = field.get("scale")
        && !matches!(draft.mode, Some(ServiceMode::Global {}))
        && scale.text() != Some("")
    {
        draft.mode = scale.integer().map(|replicas| ServiceMode::Replicated { replicas });
    }
    if let Some(policy) = field.get("scale_policy") {
        policy.ignore("the least number is taken; a service is scaled by who looks after it");
        let least = policy.get("min").and_then(|it| it.integer::<u32>());
        if let Some(replicas) = least {
            draft.mode = Some(ServiceMode::Replicated { replicas: replicas.max(1) });
        }
    }
    if let Some(time) = field.get("drain_timeout_ms").filter(|it| it.text() != Some("")) {
        // In Rancher 0 is no draining, which is so here when nothing is said.
        let time = time.integer::<u64>().filter(|millis| *millis > 0);
        draft.access.drain = time.map(Span::millis).or(draft.access.drain);
    }
    if let Some(check) = field.get("health_check") {
        health(&check, draft);
    }
    if let Some(metadata) = field.get("metadata") {
        draft.metadata = Some(json(metadata.node));
    }
    if let Some(strategy) = field.get("upgrade_strategy") {
        upgrade(&strategy, draft);
    }
    if let Some(labels) = field.get("labels") {
        draft.service_labels.extend(labels.labels());
    }
}

/// `health_check`: a connection, or a request where one is written.
fn health(field: &Field<'_>, draft: &mut Draft) {
    let Some(port) = field.get("port").and_then(|it| it.integer::<u16>()) else {
        if field.get("port").is_none() && !field.entries().is_empty() {
            field.refuse("a port is missing");
        }
        return;
    };
    let line = field.get("request_line").and_then(|it| it.text()).unwrap_or_default();
    let probe = match path_of(line) {
        Some(path) => Probe::Http { port, path, tls: false },
        None => Probe::Tcp { port },
    };
    let mut check = HealthCheck::new(probe);
    let millis = |key: &str| {
        let time = field.get(key).filter(|it| it.text() != Some(""))?;
        time.integer::<u64>().map(|millis| Span::millis(millis.max(1)))
    };
    check.interval = millis("interval").unwrap_or(Span::seconds(2));
    check.timeout = millis("response_timeout").unwrap_or(Span::seconds(2));
    check.start_period = millis("initializing_timeout").unwrap_or(Span::seconds(60));
    let tries = field.get("unhealthy_threshold").and_then(|it| it.integer::<u32>());
    check.retries = tries.unwrap_or(3).max(1);
    for (name, entry) in field.entries() {
        let why = match name {
            "healthy_threshold" if entry.text().is_some_and(|it| it != "1" && it != "2") => {
                "one success makes it healthy"
            }
            "strategy" if matches!(entry.node.as_text(), Some("none")) => {
                "what is unhealthy gets no connections and is not made anew, with any strategy"
            }
            "recreate_on_quorum_strategy_config" => "nothing is made anew for being unhealthy",
            _ => continue,
        };
        entry.ignore(why);
    }
    draft.container.health = Some(check);
}

/// The path of `GET "/x" "HTTP/1.0"`, as it is written in many ways.
fn path_of(line: &str) -> Option<String> {
    let line = line.replace(['"', '\''], " ");
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let path = if first.starts_with('/') { first } else { words.next().unwrap_or("/") };
    Some(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

fn upgrade(field: &Field<'_>, draft: &mut Draft) {
    let strategy = field.get("in_service_strategy").unwrap_or_else(|| field.clone());
    if strategy.get("start_first").and_then(|it| it.flag()).unwrap_or_default() {
        draft.update.order = UpdateOrder::StartFirst;
    }
    if let Some(count) = strategy.get("batch_size").and_then(|it| it.integer()) {
        draft.update.parallelism = count;
    }
    if let Some(millis) = strategy.get("interval_millis").and_then(|it| it.integer()) {
        draft.update.delay = Some(Span::millis(millis));
    }
}

/// A tree as JSON, for who reads metadata. Numbers and truth values are told from texts by their looks.
pub(crate) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            text => {
                let whole = text.parse::<i64>().ok().filter(|it| it.to_string() == text);
                whole.map_or_else(|| Json::String(text.to_owned()), Json::from)
            }
        },
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            let pairs = entries.iter().map(|it| (it.key.clone(), json(&it.node)));
            Json::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

/// What a text stands for, for a message.
pub(crate) fn shown(text: &str) -> String {
    format!("{:?}", shorten(text))
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn request_lines_as_they_are_found() {
        for (line, path) in [
            ("", None),
            ("GET / HTTP/1.0", Some("/")),
            ("GET \"/auth/login\" \"HTTP/1.0\"", Some("/auth/login")),
            ("/health", Some("/health")),
            ("GET", Some("/")),
            ("OPTIONS gossip HTTP/1.0", Some("/gossip")),
        ] {
            assert_eq!(path_of(line).as_deref(), path, "{line}");
        }
    }
}
