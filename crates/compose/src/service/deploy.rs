//! How many instances a service has, where, and how they are changed.

use model::instance::RestartPolicy;
use model::service::{AccessMode, OnFailure, ServiceMode, UpdateOrder};

use super::{Draft, bytes, duration};
use crate::field::Field;
use crate::files::shorten;

pub(super) fn read(service: &Field<'_>, draft: &mut Draft) {
    let mut replicas = service.get("scale").and_then(|it| it.integer::<u32>());
    let Some(field) = service.get("deploy") else {
        draft.mode = replicas.map(|replicas| ServiceMode::Replicated { replicas });
        return;
    };
    replicas = field.get("replicas").and_then(|it| it.integer()).or(replicas);
    mode(&field, replicas, draft);
    if let Some(labels) = field.get("labels") {
        draft.service_labels.extend(labels.labels());
    }
    if let Some(mode) = field.get("endpoint_mode") {
        match mode.text() {
            Some("vip") => {}
            Some("dnsrr") => draft.access.mode = AccessMode::EachInstance,
            Some(other) => mode.refuse(format!("{other:?} is neither vip nor dnsrr")),
            None => {}
        }
    }
    if let Some(update) = field.get("update_config") {
        update_config(&update, draft);
    }
    resources(&field, draft);
    if let Some(policy) = field.get("restart_policy") {
        restart(&policy, draft);
    }
    if let Some(placement) = field.get("placement") {
        for item in placement.get("constraints").map(|it| it.items()).unwrap_or_default() {
            constraint(&item, draft);
        }
    }
}

fn mode(field: &Field<'_>, replicas: Option<u32>, draft: &mut Draft) {
    let count = replicas.unwrap_or(1);
    let job = |parallelism| ServiceMode::Job {
        completions: count,
        parallelism,
        retries: 0,
        deadline: None,
    };
    match field.get("mode").and_then(|it| it.text()).unwrap_or("replicated") {
        "replicated" => {
            draft.mode = replicas.map(|replicas| ServiceMode::Replicated { replicas });
        }
        "global" => draft.mode = Some(ServiceMode::Global {}),
        "replicated-job" => draft.mode = Some(job(count)),
        other => {
            if let Some(mode) = field.get("mode") {
                mode.refuse(format!("{other:?} is none of replicated, global and replicated-job"));
            }
        }
    }
}

fn update_config(field: &Field<'_>, draft: &mut Draft) {
    let update = &mut draft.update;
    if let Some(parallelism) = field.get("parallelism").and_then(|it| it.integer()) {
        update.parallelism = parallelism;
    }
    update.delay = field.get("delay").and_then(|it| duration(&it));
    update.monitor = field.get("monitor").and_then(|it| duration(&it));
    if let Some(ratio) = field.get("max_failure_ratio") {
        match ratio.parsed::<f64>("a number between 0 and 1") {
            Some(share) if (0.0..=1.0).contains(&share) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and 100"
                )]
                let percent = (share * 100.0).round() as u8;
                update.max_failure_percent = percent;
            }
            Some(_) => ratio.refuse("a number between 0 and 1 belongs here"),
            None => {}
        }
    }
    if let Some(order) = field.get("order") {
        match order.text() {
            Some("stop-first") => update.order = UpdateOrder::StopFirst,
            Some("start-first") => update.order = UpdateOrder::StartFirst,
            Some(_) | None => order.refuse("stop-first and start-first are known"),
        }
    }
    if let Some(action) = field.get("failure_action") {
        match action.text() {
            Some("pause") => update.on_failure = OnFailure::Pause,
            Some("continue") => update.on_failure = OnFailure::Continue,
            Some("rollback") => update.on_failure = OnFailure::RollBack,
            Some(_) | None => action.refuse("pause, continue and rollback are known"),
        }
    }
}

fn resources(deploy: &Field<'_>, draft: &mut Draft) {
    let Some(field) = deploy.get("resources") else { return };
    let resources = &mut draft.container.resources;
    if let Some(limits) = field.get("limits") {
        let cpus = limits.get("cpus").and_then(|it| it.read::<model::quantity::Cpus>());
        resources.cpus = cpus.filter(|it| it.milli() > 0).or(resources.cpus);
        let memory = limits.get("memory").and_then(|it| bytes(&it));
        resources.memory = memory.filter(|it| it.0 > 0).or(resources.memory);
        let pids = limits.get("pids").and_then(|it| it.number()).filter(|it| *it != 0);
        resources.pids = pids.or(resources.pids);
    }
    if let Some(memory) = field.get("reservations").and_then(|it| it.get("memory")) {
        resources.memory_reservation = bytes(&memory);
    }
}

fn restart(field: &Field<'_>, draft: &mut Draft) {
    let most = field.get("max_attempts").and_then(|it| it.integer());
    let condition = field.get("condition");
    draft.instance.restart = match condition.as_ref().and_then(|it| it.text()).unwrap_or("any") {
        "none" => RestartPolicy::No,
        "on-failure" => RestartPolicy::OnFailure { max: most },
        "any" => {
            if let Some(attempts) = field.get("max_attempts") {
                attempts.ignore("tries are bounded with condition on-failure only");
            }
            RestartPolicy::Always
        }
        other => {
            if let Some(condition) = &condition {
                condition.refuse(format!("{other:?} is none of none, on-failure and any"));
            }
            return;
        }
    };
}

/// A rule about nodes: `node.labels.KEY==VALUE`, `node.hostname==NAME`.
fn constraint(item: &Field<'_>, draft: &mut Draft) {
    let Some(text) = item.text() else { return };
    let (name, value, not) = match (text.split_once("!="), text.split_once("==")) {
        (Some((name, value)), _) => (name.trim(), value.trim(), true),
        (None, Some((name, value))) => (name.trim(), value.trim(), false),
        (None, None) => match text.split_once('=') {
            // `disktype=ssd` is what the specification shows.
            Some((name, value)) => (name.trim(), value.trim(), false),
            None => return item.refuse(format!("{:?} is not KEY==VALUE", shorten(text))),
        },
    };
    let mark = if not { "!=" } else { "=" };
    let plain = ["node.labels.", "engine.labels."];
    if let Some(label) = plain.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        node_label(item, &format!("{label}{mark}{value}"), draft);
        return;
    }
    match name {
        "node.hostname" if !not => draft.instance.nodes.name = value.to_owned(),
        "node.platform.os" if (value == "linux") != not => {}
        "node.role" => item.ignore("every node may have instances"),
        "node.hostname" | "node.id" | "node.ip" | "node.platform.os" | "node.platform.arch" => {
            item.refuse("nodes are told by node.hostname== and node.labels.KEY");
        }
        _ => node_label(item, &format!("{name}{mark}{value}"), draft),
    }
}

/// Puts a term in that the labels of nodes have to fit.
pub(crate) fn node_label(item: &Field<'_>, term: &str, draft: &mut Draft) {
    match model::selector::Selector::parse(term) {
        Ok(_) if !term.contains(',') => draft.nodes.push(term.to_owned()),
        Ok(_) | Err(_) => {
            item.refuse(format!("{:?} is not a rule about labels of nodes", shorten(term)));
        }
    }
}
