//! What an engine always sends: generated types leave out what is absent, while clients read some
//! fields without a check.

use serde::Serialize;
use serde_json::Value;

/// The value as JSON, with every field of `always` that it lacks.
pub(crate) fn complete(value: &impl Serialize, always: Value) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    fill(&mut value, always);
    value
}

/// Adds the fields that are not there, in objects within objects too.
pub(crate) fn fill(value: &mut Value, always: Value) {
    let Value::Object(always) = always else {
        if value.is_null() {
            *value = always;
        }
        return;
    };
    if value.is_null() {
        *value = Value::Object(always);
        return;
    }
    let Value::Object(fields) = value else { return };
    for (name, default) in always {
        match fields.get_mut(&name) {
            Some(field) => fill(field, default),
            None => {
                fields.insert(name, default);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_there_stays() {
        let mut value = json!({"a": 1, "b": {"c": null}, "l": []});
        fill(&mut value, json!({"a": 2, "b": {"c": 3, "d": null}, "e": [], "l": null}));
        assert_eq!(value, json!({"a": 1, "b": {"c": 3, "d": null}, "e": [], "l": []}));
    }
}
