//! What a write would do, printed instead of done (`--plan`).

use std::future::Future;

use client::Objects;
use model::{Error, Noun, Object, Result};
use serde::Serialize;
use serde_json::Value;

use crate::out::{self, Format};

/// What an object never has to say: a value that is not there.
const NOTHING: &str = "-";

/// Shows how an object that is there would differ after `write`, which only plans it.
pub async fn change<N: Noun>(
    objects: &Objects<N>,
    name: &str,
    write: impl Future<Output = Result<Object<N>>>,
) -> Result<()> {
    let old = objects.get(name).await?;
    let new = write.await?;
    out::line(old.title());
    let lines = differences(&old, &new)?;
    if lines.is_empty() {
        out::line("  nothing would change");
    }
    lines.iter().for_each(|text| out::line(format!("  {text}")));
    Ok(())
}

/// Shows what would be made.
pub fn creation<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    out::structured(Format::Yaml, value).map(drop)
}

/// Shows that an object would be removed.
pub fn removal<N: Noun>(object: &Object<N>) {
    out::line(object.title());
    out::line("  would be removed");
}

/// One line for each field of what was asked that differs. What the platform counts, and what it
/// has seen, is no change of its own.
fn differences<N: Noun>(old: &Object<N>, new: &Object<N>) -> Result<Vec<String>> {
    let value = |object: &Object<N>| {
        serde_json::to_value(object)
            .map_err(|error| Error::internal("the answer cannot be read").caused_by(error))
    };
    let (old, new) = (value(old)?, value(new)?);
    let mut lines = Vec::new();
    for path in ["meta.name", "meta.labels", "meta.annotations", "spec"] {
        let at = |value: &Value| value.pointer(&format!("/{}", path.replace('.', "/"))).cloned();
        compare(path, &at(&old).unwrap_or_default(), &at(&new).unwrap_or_default(), &mut lines);
    }
    Ok(lines)
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(one), Value::Object(two)) => {
            let keys = one.keys().chain(two.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let get = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or_default()
                };
                compare(&format!("{path}.{key}"), &get(one), &get(two), lines);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (index, (one, two)) in one.iter().zip(two).enumerate() {
                compare(&format!("{path}[{index}]"), one, two, lines);
            }
        }
        (old, new) => lines.push(format!("{path}: {} → {}", word(old), word(new))),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use model::instance::{Instance, InstanceSpec, RunState};
    use model::{Meta, Time, Uid};

    use super::*;

    #[test]
    fn what_was_asked_differently_is_shown_and_nothing_else() {
        let meta = Meta::new("default", "web", Uid::from_bytes([1; 32]), Time::from_unix(0, 0));
        let old = Instance::new(meta, InstanceSpec::default());
        let mut new = old.clone();
        assert_eq!(differences(&old, &new).unwrap(), Vec::<String>::new());
        new.meta.generation += 1;
        new.status.runs = 7;
        new.spec.run = RunState::Stopped;
        new.spec.hostname = "ship".into();
        let mut lines = differences(&old, &new).unwrap();
        lines.sort();
        assert_eq!(lines, ["spec.hostname: - → ship", "spec.run: running → stopped"]);
    }
}
