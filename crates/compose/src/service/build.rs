//! How a service's image is built.

use std::collections::BTreeMap;

use model::data::Data;

use crate::field::{Field, sentence};
use crate::files::{resolve, shorten};
use crate::service::limits::ulimit;
use crate::service::{Context, bytes, host_names, volume_name};
use crate::wanted::{Build, BuildSecret, SecretSource};
use crate::yaml::Value;

/// Bytes of a secret's id.
const LONGEST_ID: usize = 128;
/// What no image is built with here. One that is here already, or in a registry, is used all the same.
const UNSERVED: [(&str, &str); 4] = [
    ("additional_contexts", "there is one context; copy what is wanted into it"),
    ("entitlements", "steps have no more rights than others"),
    ("privileged", "steps have no more rights than others"),
    ("ssh", "a build is handed no keys"),
];

/// What a step's own mount says, and a Compose file has no say in.
const OF_THE_STEP: [&str; 3] = ["uid", "gid", "mode"];

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
        secrets: secrets(field, context),
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
    let items = field.get("secrets").map(|it| it.items()).unwrap_or_default();
    let grants = items.iter().filter(|item| matches!(item.node.value, Value::Map(_)));
    let of_step = grants.flat_map(|item| OF_THE_STEP.iter().filter_map(|key| item.get(key)));
    let why = "whose the file is says the step that asks for it: RUN --mount=type=secret,uid=…";
    found.chain(of_step.map(|part| part.note(why))).collect()
}

/// What steps are handed, by id: the target, or the source where none is said.
fn secrets(field: &Field<'_>, context: &Context<'_, '_>) -> BTreeMap<String, BuildSecret> {
    let mut found = BTreeMap::new();
    for item in field.get("secrets").map(|it| it.items()).unwrap_or_default() {
        let (source, target) = match &item.node.value {
            Value::Text(source) => (Some(source.as_str()), None),
            _ => {
                let text = |key: &str| item.get(key).and_then(|it| it.text());
                (text("source"), text("target"))
            }
        };
        let Some(source) = source else {
            item.refuse("a source is missing: the key of a secret");
            continue;
        };
        let id = target.unwrap_or(source);
        // A path is what steps have of it by default.
        let id = id.strip_prefix("/run/secrets/").unwrap_or(id);
        if !is_id(id) {
            item.refuse(format!("{:?} cannot be the id of a build's secret", shorten(id)));
            continue;
        }
        let key = volume_name(source);
        match context.secrets.get(&key) {
            None => item.refuse(format!("secrets has no {source:?} at the top of the file")),
            // Why there is none is told where it is.
            Some(None) => {}
            Some(Some(from)) => {
                let value = match from {
                    SecretSource::Environment(name) => {
                        context.variables.get(name).map(|it| Data::new(it.as_bytes()))
                    }
                    SecretSource::File(_) | SecretSource::Platform(_) => None,
                };
                let (from, place) = (from.clone(), item.note(""));
                let secret = BuildSecret { key, from, value, place };
                if found.insert(id.to_owned(), secret).is_some() {
                    item.refuse(format!("{id:?} is the id of another secret, too"));
                }
            }
        }
    }
    found
}

fn is_id(id: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(good)
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
fn arguments(field: &Field<'_>, context: &Context<'_, '_>) -> BTreeMap<String, String> {
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
