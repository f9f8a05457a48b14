//! Labels that Rancher gives a meaning.

use model::instance::PullPolicy;
use model::selector::Selector;
use model::service::ServiceMode;

use super::shown;
use crate::field::Field;
use crate::service::Draft;

const SIDEKICKS: &str = "io.rancher.sidekicks";
const GLOBAL: &str = "io.rancher.scheduler.global";
const AFFINITY: &str = "io.rancher.scheduler.affinity:";

/// Labels that need nothing done, as it is so here.
const FULFILLED: [&str; 5] = [
    // An instance's host name is its name.
    "io.rancher.container.hostname_override",
    // Every instance has its network's names and addresses.
    "io.rancher.container.network",
    "io.rancher.container.ip",
    "io.rancher.stack.name",
    "io.rancher.stack_service.name",
];

/// Reads the labels of a service.
pub(crate) fn read(service: &Field<'_>, draft: &mut Draft) {
    let Some(labels) = service.get("labels") else { return };
    for (name, value, field) in labels.pairs() {
        if !name.starts_with("io.rancher.") {
            continue;
        }
        let value = value.unwrap_or_default();
        label(&name, value.trim(), &field, draft);
    }
}

fn label(name: &str, value: &str, field: &Field<'_>, draft: &mut Draft) {
    let yes = value.eq_ignore_ascii_case("true");
    if let Some(rule) = name.strip_prefix(AFFINITY) {
        return affinity(rule, value, field, draft);
    }
    match name {
        SIDEKICKS => {
            let names = value.split(',').map(str::trim).filter(|it| !it.is_empty());
            draft.sidekicks.extend(names.map(str::to_owned));
        }
        GLOBAL if yes => draft.mode = Some(ServiceMode::Global {}),
        GLOBAL => {}
        "io.rancher.container.start_once" => draft.once = yes,
        "io.rancher.container.pull_image" if value == "always" => {
            draft.container.pull = PullPolicy::Always;
        }
        "io.rancher.container.dns" if yes => field.ignore(
            "names of the platform are known on its networks; on the node's own network they are not",
        ),
        "io.rancher.container.dns" => {}
        "io.rancher.container.create_agent" | "io.rancher.container.agent.role" => {
            field.ignore("instances get no key to Rancher's API");
        }
        "io.rancher.scheduler.require_any" => field.ignore("any node that has room will do"),
        name if name.starts_with("io.rancher.loadbalancer.target.") => {}
        name if FULFILLED.contains(&name) => {}
        _ => field.ignore("this label means nothing here; instances have it"),
    }
}

/// Where instances are put beside or apart from what.
fn affinity(rule: &str, value: &str, field: &Field<'_>, draft: &mut Draft) {
    let (subject, soft, not) = match rule {
        "host_label" => ("host", false, false),
        "host_label_ne" => ("host", false, true),
        "host_label_soft" => ("host", true, false),
        "host_label_soft_ne" => ("host", true, true),
        _ if rule.starts_with("container") => ("container", true, false),
        _ => {
            return field.ignore("this rule is not known");
        }
    };
    if subject == "container" {
        return field.ignore("instances are spread over the nodes by the platform");
    }
    if soft {
        return field.ignore("nodes are chosen by what they must have, not by what would be nice");
    }
    for label in value.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        if label.starts_with("io.rancher.host.") {
            field.ignore("nodes have no labels of Rancher's agent");
            continue;
        }
        let term = match label.split_once('=') {
            Some((key, value)) => format!("{key}{}{value}", if not { "!=" } else { "=" }),
            None => format!("{}{label}", if not { "!" } else { "" }),
        };
        match Selector::parse(&term) {
            Ok(_) => draft.nodes.push(term),
            Err(_) => field.refuse(format!("{} is not a label of nodes", shown(label))),
        }
    }
}
