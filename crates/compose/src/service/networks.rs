//! Networks that a service is on, or whose network it uses.

use model::instance::{Attachment, NetworkMode};

use super::{Context, Draft};
use crate::field::Field;
use crate::yaml::Value;

pub(super) fn read(service: &Field<'_>, draft: &mut Draft, context: &Context<'_, '_>) {
    let mut attachments = match service.get_null("networks") {
        Some(field) => attachments(&field, context),
        None => Vec::new(),
    };
    if let Some(field) = service.get("network_mode") {
        if !attachments.is_empty() {
            field.refuse("give either networks or a network_mode");
        }
        mode(&field, draft);
    }
    let own = matches!(draft.instance.network, NetworkMode::Networks { .. });
    if !own || draft.network_of.is_some() {
        return;
    }
    if attachments.is_empty() {
        attachments.push(Attachment { network: "default".into(), ..Attachment::default() });
    }
    if let Some(field) = service.get("mac_address")
        && let Some(first) = attachments.first_mut()
    {
        first.mac = field.text().map(str::to_owned);
    }
    draft.instance.network = NetworkMode::Networks { attachments };
}

fn mode(field: &Field<'_>, draft: &mut Draft) {
    let Some(text) = field.text() else { return };
    match text {
        "host" => draft.instance.network = NetworkMode::Host,
        "none" => draft.instance.network = NetworkMode::None,
        "bridge" | "default" | "managed" | "" => {}
        _ => {
            if let Some(service) = text.strip_prefix("service:") {
                draft.network_of = Some((service.to_owned(), field.at().clone()));
            } else if let Some(name) = text.strip_prefix("container:") {
                field.refuse(format!(
                    "the network of container {name:?}, which is not of this app, cannot be had"
                ));
            } else {
                field.refuse(format!(
                    "{text:?} is none of host, none, bridge and service:NAME; networks are named \
                     under networks"
                ));
            }
        }
    }
}

/// Attachments, those with the highest priority first: the first one carries the default route.
fn attachments(field: &Field<'_>, context: &Context<'_, '_>) -> Vec<Attachment> {
    let mut found: Vec<(i64, i64, Attachment)> = Vec::new();
    let named: Vec<(String, Field<'_>)> = match &field.node.value {
        Value::List(_) => {
            let items = field.items().into_iter();
            items.filter_map(|item| Some((item.text()?.to_owned(), item))).collect()
        }
        Value::Null | Value::Text(_) | Value::Map(_) => {
            let entries = field.entries().into_iter();
            entries.map(|(name, entry)| (name.to_owned(), entry)).collect()
        }
    };
    for (name, entry) in named {
        if name != "default" && !context.networks.contains(&name) {
            entry.refuse(format!("networks has no {name:?} at the top of the file"));
            continue;
        }
        let mut attachment = Attachment { network: name, ..Attachment::default() };
        let number = |key: &str| entry.get(key).and_then(|it| it.number()).unwrap_or(0);
        attachment.aliases = entry.get("aliases").map(|it| it.texts()).unwrap_or_default();
        attachment.ipv4 = entry.get("ipv4_address").and_then(|it| it.parsed("an IPv4 address"));
        attachment.ipv6 = entry.get("ipv6_address").and_then(|it| it.parsed("an IPv6 address"));
        attachment.mac = entry.get("mac_address").and_then(|it| it.text()).map(str::to_owned);
        found.push((number("gw_priority"), number("priority"), attachment));
    }
    found.sort_by_key(|(gateway, priority, _)| (-gateway, -priority));
    found.into_iter().map(|(_, _, attachment)| attachment).collect()
}
