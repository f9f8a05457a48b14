//! How a service's image is built.

use crate::field::{Field, sentence};
use crate::files::resolve;
use crate::service::limits::ulimit;
use crate::service::{Context, bytes, host_names};
use crate::wanted::Build;
use crate::yaml::Value;

/// What no image is built with here. One that is here already, or in a registry, is used all the same.
const UNSERVED: [(&str, &str); 5] = [
    ("additional_contexts", "there is one context; copy what is wanted into it"),
    ("entitlements", "steps have no more rights than others"),
    ("privileged", "steps have no more rights than others"),
    ("secrets", "a build is handed no secrets"),
    ("ssh", "a build is handed no keys"),
];

/// Reads `build`, which is a context or a mapping.
pub(super) fn read(field: &Field<'_>, context: &Context<'_, '_>) -> Option<Build> {
    if let Value::Text(place) = &field.node.value {
        return Some(Build { context: place_of(field, place)?, ..Build::default() });
    }
    let text = |key: &str| {
        let found = field.get(key).and_then(|it| it.text().map(str::to_owned));
        found.unwrap_or_default()
    };
    let flag = |key: &str| field.get(key).and_then(|it| it.flag()).unwrap_or_default();
    let texts = |key: &str| field.get(key).map(|it| it.texts()).unwrap_or_default();
    let build = Build {
        context: match field.get("context") {
            Some(place) => place_of(&place, place.text()?)?,
            None => place_of(field, ".")?,
        },
        dockerfile: text("dockerfile"),
        dockerfile_inline: text("dockerfile_inline"),
        args: arguments(field, context),
        target: text("target"),
        labels: field.get("labels").map(|it| it.labels()).unwrap_or_default(),
        no_cache: flag("no_cache"),
        pull: flag("pull"),
        platforms: texts("platforms"),
        network: network(field),
        extra_hosts: hosts(field),
        shm_size: field.get("shm_size").and_then(|it| bytes(&it)).map_or(0, |size| size.0),
        ulimits: ulimits(field),
        tags: tags(field),
        always: false,
        unserved: Vec::new(),
    };
    if !build.dockerfile.is_empty() && !build.dockerfile_inline.is_empty() {
        field.refuse("dockerfile and dockerfile_inline are two of one thing");
    }
    Some(Build { unserved: unserved(field), ..build })
}

fn unserved(field: &Field<'_>) -> Vec<crate::Note> {
    let found = UNSERVED.iter().filter_map(|(key, why)| {
        let part = field.get(key)?;
        let wanted = match &part.node.value {
            Value::Null => false,
            Value::Text(text) => text != "false",
            Value::List(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
        };
        wanted.then(|| part.note(*why))
    });
    found.collect()
}

/// A directory below the root, or an address.
fn place_of(field: &Field<'_>, place: &str) -> Option<String> {
    if place.contains("://") || place.starts_with("git@") || place.starts_with("github.com/") {
        return Some(place.to_owned());
    }
    match resolve(&field.at().source.directory, place) {
        Ok(path) => Some(path),
        Err(why) => {
            field.refuse(why);
            None
        }
    }
}

/// One without a value has that of the variable of its name, and is left to the Dockerfile where there is
/// none.
fn arguments(
    field: &Field<'_>,
    context: &Context<'_, '_>,
) -> std::collections::BTreeMap<String, String> {
    let Some(args) = field.get("args") else { return Default::default() };
    let value = |name: &str| context.variables.get(name).cloned();
    let pairs = args.pairs().into_iter();
    pairs.filter_map(|(name, own, _)| Some((name.clone(), own.or_else(|| value(&name))?))).collect()
}

fn network(field: &Field<'_>) -> String {
    let Some(network) = field.get("network") else { return String::new() };
    match network.text().unwrap_or_default() {
        "default" | "bridge" => String::new(),
        known @ ("" | "host" | "none") => known.to_owned(),
        other => {
            network.refuse(format!("a build cannot be in {other:?}: default, host and none are"));
            String::new()
        }
    }
}

fn hosts(field: &Field<'_>) -> Vec<String> {
    let Some(hosts) = field.get("extra_hosts") else { return Vec::new() };
    host_names(&hosts).iter().map(|it| format!("{}:{}", it.name, it.address)).collect()
}

fn ulimits(field: &Field<'_>) -> Vec<String> {
    let Some(limits) = field.get("ulimits") else { return Vec::new() };
    let limits = limits.entries().into_iter().filter_map(|(name, limit)| ulimit(name, &limit));
    limits.map(|it| format!("{}={}:{}", it.name, it.soft, it.hard)).collect()
}

fn tags(field: &Field<'_>) -> Vec<String> {
    let Some(tags) = field.get("tags") else { return Vec::new() };
    let items = tags.one_or_more();
    let known = items.iter().filter_map(|item| {
        let name = item.text()?.trim();
        if let Err(error) = model::image::Reference::parse(name) {
            item.refuse(sentence(&error));
        }
        Some(name.to_owned())
    });
    known.collect()
}
