//! Files of older forms: version 1, which has services at the top, and words that later versions changed.

use crate::rancher;
use crate::yaml::{Entry, Node, Tag, Value};

/// What stands at the top of a file of the present form.
const TOP: [&str; 9] = [
    "version", "name", "services", "networks", "volumes", "secrets", "configs", "include", "models",
];

/// Words of Rancher's that are found in Compose files, too, and mean nothing else there.
const RANCHERS: [&str; 17] = [
    "type",
    "scale_policy",
    "health_check",
    "metadata",
    "retain_ip",
    "upgrade_strategy",
    "lb_config",
    "load_balancer_config",
    "default_cert",
    "certs",
    "external_ips",
    "storage_driver",
    "network_driver",
    "start_on_create",
    "service_schemas",
    "selector_container",
    "selector_link",
];
/// Those of a service that is a machine.
const OF_MACHINES: [&str; 4] = ["vcpu", "memory", "userdata", "disks"];

/// Brings a document to the present form. Whether its form is one in which volumes need not be declared.
pub(crate) fn upgrade(document: &mut Node) -> bool {
    for key in [".catalog", "catalog"] {
        document.remove(key);
    }
    let first = is_first(document);
    if first {
        let Value::Map(entries) = std::mem::replace(&mut document.value, Value::Map(Vec::new()))
        else {
            return false;
        };
        let (services, rest): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.key != "version" && !entry.key.starts_with("x-"));
        let at = document.at.clone();
        document.value = Value::Map(rest);
        document.set("services", Node { at, tag: Tag::None, value: Value::Map(services) });
    }
    let Some(services) = document.get_mut("services") else { return first };
    let names: Vec<String> = services.entries().iter().map(|it| it.key.clone()).collect();
    if let Value::Map(entries) = &mut services.value {
        for Entry { node, .. } in entries {
            service(node, &names);
            move_ranchers(node);
        }
    }
    first
}

/// Whether services stand at the top.
fn is_first(document: &Node) -> bool {
    if ["services", "include"].iter().any(|key| document.get(key).is_some()) {
        return false;
    }
    let version = document.get("version").and_then(Node::as_text).unwrap_or_default();
    let beside = |entry: &Entry| {
        let known = TOP.contains(&entry.key.as_str()) && !looks_like_service(&entry.node);
        !known && !entry.key.starts_with("x-") && matches!(entry.node.value, Value::Map(_))
    };
    matches!(version, "" | "1" | "1.0") && document.entries().iter().any(beside)
}

fn looks_like_service(node: &Node) -> bool {
    ["image", "build"].iter().any(|key| node.get(key).is_some())
}

/// Puts Rancher's words that stand in a Compose file where those of its own file are.
fn move_ranchers(node: &mut Node) {
    let machine = node.get("type").and_then(Node::as_text) == Some("virtualMachine");
    let of_machines = OF_MACHINES.iter().filter(|_| machine);
    for key in RANCHERS.iter().chain(of_machines) {
        let Some(entry) = node.remove(key) else { continue };
        if node.get(rancher::KEY).is_none() {
            node.set(rancher::KEY, Node::map(entry.at.clone()));
        }
        if let Some(words) = node.get_mut(rancher::KEY) {
            words.set(key, entry.node);
        }
    }
}

/// Brings a service's words to the present ones.
fn service(node: &mut Node, names: &[String]) {
    if let Some(net) = node.remove("net") {
        let mut mode = net.node;
        if let Value::Text(text) = &mut mode.value
            && let Some(other) = text.strip_prefix("container:")
            && names.iter().any(|name| name == other)
        {
            *text = format!("service:{other}");
        }
        node.set("network_mode", mode);
    }
    if let Some(Value::Text(text)) = node.get_mut("network_mode").map(|mode| &mut mode.value)
        && let Some(other) = text.strip_prefix("container:")
        && names.iter().any(|name| name == other)
    {
        *text = format!("service:{other}");
    }
    for (old, new) in [("log_driver", "driver"), ("log_opt", "options")] {
        let Some(entry) = node.remove(old) else { continue };
        if node.get("logging").is_none() {
            node.set("logging", Node::map(entry.at.clone()));
        }
        if let Some(logging) = node.get_mut("logging") {
            logging.set(new, entry.node);
        }
    }
    if let Some(dockerfile) = node.remove("dockerfile") {
        let mut build = Node::map(dockerfile.at.clone());
        if let Some(context) = node.remove("build") {
            build.set("context", context.node);
        }
        build.set("dockerfile", dockerfile.node);
        node.set("build", build);
    }
}
