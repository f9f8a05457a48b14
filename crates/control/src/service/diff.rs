//! Where two specs differ.

use serde::Serialize;
use serde_json::Value;

/// The paths of the fields in which two specs differ, e.g. `containers[0].image`. `allowed` fields,
/// and what is in them, are passed over; `*` in one stands for any place of a list.
pub(crate) fn first_difference<T: Serialize>(old: &T, new: &T, allowed: &[&str]) -> Option<String> {
    let (old, new) = (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?);
    differs(&old, &new, String::new(), allowed)
}

fn differs(old: &Value, new: &Value, path: String, allowed: &[&str]) -> Option<String> {
    if old == new || allowed.iter().any(|pattern| is(pattern, &path)) {
        return None;
    }
    match (old, new) {
        (Value::Object(one), Value::Object(two)) => {
            let keys = one.keys().chain(two.keys().filter(|key| !one.contains_key(*key)));
            let pair = |key: &String| {
                let get = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or_default()
                };
                differs(&get(one), &get(two), join(&path, key), allowed)
            };
            keys.map(pair).find_map(|found| found)
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            let pairs = one.iter().zip(two).enumerate();
            pairs
                .map(|(i, (a, b))| differs(a, b, format!("{path}[{i}]"), allowed))
                .find_map(|it| it)
        }
        _ => Some(path),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a path is the one that the pattern describes.
fn is(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('['), path.split('['));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(one), Some(two)) if one == two => {}
            (Some(one), Some(two)) => match (one.strip_prefix("*]"), two.split_once(']')) {
                (Some(one), Some((_, two))) if one == two => {}
                _ => return false,
            },
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_field_that_may_not_change_is_named() {
        let old = json!({"a": 1, "list": [{"x": 1, "y": {"z": 1}}], "c": "k"});
        for (new, allowed, expected) in [
            (old.clone(), &[][..], None),
            (json!({"a": 2, "list": [{"x": 1, "y": {"z": 1}}], "c": "k"}), &["a"], None),
            (json!({"a": 2, "list": [{"x": 1, "y": {"z": 1}}], "c": "k"}), &["c"], Some("a")),
            (
                json!({"a": 1, "list": [{"x": 1, "y": {"z": 2}}], "c": "k"}),
                &[],
                Some("list[0].y.z"),
            ),
            (json!({"a": 1, "list": [{"x": 1, "y": {"z": 2}}], "c": "k"}), &["list[*].y"], None),
            (json!({"a": 1, "list": [], "c": "k"}), &["list[*].y"], Some("list")),
            (json!({"a": 1, "list": [{"x": 1, "y": {"z": 1}}]}), &[], Some("c")),
        ] {
            assert_eq!(first_difference(&old, &new, allowed).as_deref(), expected, "{new}");
        }
    }
}
