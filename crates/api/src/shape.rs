//! Fields that no type has. Serde cannot tell them inside flattened and tagged types, so bodies are
//! held against the schemas that the types themselves give.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Schemas by name, as JSON (OpenAPI 3.1, which is JSON Schema 2020-12).
pub(crate) type Schemas = BTreeMap<String, Value>;

/// Where a schema refers to another one by name.
const REFERENCE: &str = "#/components/schemas/";

/// Path of the first field in `value` that `schema` does not know.
pub(crate) fn unknown_field(value: &Value, schema: &Value, schemas: &Schemas) -> Option<String> {
    Walk { schemas }.unknown(value, &[schema], "")
}

struct Walk<'a> {
    schemas: &'a Schemas,
}

/// What may stand in an object.
#[derive(Default)]
struct Fields<'a> {
    named: BTreeMap<&'a str, Vec<&'a Value>>,
    /// Schemas of fields of any name.
    open: Vec<&'a Value>,
    /// Anything may stand there.
    anything: bool,
}

impl<'a> Walk<'a> {
    fn unknown(&self, value: &Value, schemas: &[&'a Value], path: &str) -> Option<String> {
        match value {
            Value::Object(object) => self.unknown_in_object(object, schemas, path),
            Value::Array(items) => self.unknown_in_array(items, schemas, path),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }

    fn unknown_in_object(
        &self,
        object: &Map<String, Value>,
        schemas: &[&'a Value],
        path: &str,
    ) -> Option<String> {
        let mut fields = Fields::default();
        for schema in schemas {
            self.collect(schema, object, &mut fields);
        }
        if fields.anything {
            return None;
        }
        object.iter().find_map(|(name, value)| {
            let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match fields.named.get(name.as_str()) {
                Some(inner) => self.unknown(value, inner, &place),
                None if !fields.open.is_empty() => self.unknown(value, &fields.open, &place),
                None => Some(place),
            }
        })
    }

    fn unknown_in_array(
        &self,
        items: &[Value],
        schemas: &[&'a Value],
        path: &str,
    ) -> Option<String> {
        let mut inner = Vec::new();
        for schema in schemas {
            self.collect_items(schema, &mut inner);
        }
        items
            .iter()
            .enumerate()
            .find_map(|(i, value)| self.unknown(value, &inner, &format!("{path}[{i}]")))
    }

    fn collect_items(&self, schema: &'a Value, inner: &mut Vec<&'a Value>) {
        let schema = self.resolve(schema);
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            inner.push(items);
        }
        for part in parts(schema, &["prefixItems", "allOf", "oneOf", "anyOf"]) {
            match schema.get("prefixItems") {
                Some(_) => inner.push(part),
                None => self.collect_items(part, inner),
            }
        }
    }

    fn collect(&self, schema: &'a Value, object: &Map<String, Value>, fields: &mut Fields<'a>) {
        let schema = self.resolve(schema);
        if let Some(named) = schema.get("properties").and_then(Value::as_object) {
            for (name, inner) in named {
                fields.named.entry(name).or_default().push(inner);
            }
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => fields.anything = true,
            Some(inner @ Value::Object(_)) => fields.open.push(inner),
            _ => {}
        }
        for part in parts(schema, &["allOf"]) {
            self.collect(part, object, fields);
        }
        for part in parts(schema, &["oneOf", "anyOf"]) {
            if self.fits(part, object) {
                self.collect(part, object, fields);
            }
        }
        let says_nothing = schema.as_object().is_some_and(|schema| {
            ["type", "properties", "additionalProperties", "allOf", "oneOf", "anyOf", "enum"]
                .iter()
                .all(|key| !schema.contains_key(*key))
        });
        fields.anything |= says_nothing;
    }

    /// Whether a variant is the one meant: its tag has the right word, or its only field is there.
    fn fits(&self, schema: &'a Value, object: &Map<String, Value>) -> bool {
        let schema = self.resolve(schema);
        if parts(schema, &["allOf"]).any(|part| !self.fits(part, object)) {
            return false;
        }
        let Some(named) = schema.get("properties").and_then(Value::as_object) else {
            return true;
        };
        let required = schema.get("required").and_then(Value::as_array);
        let tags = named.iter().all(|(name, inner)| {
            let words = inner.get("enum").and_then(Value::as_array);
            match (words, object.get(name)) {
                (Some(words), Some(word)) => words.contains(word),
                (Some(_), None) | (None, _) => true,
            }
        });
        let single = named.len() == 1
            && required.is_some_and(|required| required.len() == 1)
            && named.keys().all(|name| !object.contains_key(name));
        tags && !single
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let name = schema.get("$ref").and_then(Value::as_str);
        match name.and_then(|name| self.schemas.get(name.strip_prefix(REFERENCE)?)) {
            Some(found) => self.resolve(found),
            None => schema,
        }
    }
}

fn parts<'a>(schema: &'a Value, keys: &'static [&'static str]) -> impl Iterator<Item = &'a Value> {
    keys.iter().filter_map(|key| schema.get(key).and_then(Value::as_array)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expected: Option<&str>) {
        let mut found = Vec::new();
        <model::instance::InstanceSpec as utoipa::ToSchema>::schemas(&mut found);
        let schemas: Schemas = found
            .into_iter()
            .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap()))
            .collect();
        let schema = <model::instance::InstanceSpec as utoipa::PartialSchema>::schema();
        let schema = serde_json::to_value(schema).unwrap();
        assert_eq!(unknown_field(&value, &schema, &schemas).as_deref(), expected, "{value}");
    }

    #[test]
    fn fields_are_found_wherever_they_stand() {
        check(json!({"containers": [{"image": "a", "env": []}]}), None);
        check(json!({"container": []}), Some("container"));
        check(json!({"containers": [{"imgae": "a"}]}), Some("containers[0].imgae"));
        check(json!({"sysctls": {"net.x": "1"}}), None);
        check(json!({"network": {"mode": "host"}}), None);
        check(json!({"network": {"mode": "host", "name": "x"}}), Some("network.name"));
        check(json!({"network": {"mode": "instance", "name": "x"}}), None);
        check(
            json!({"network": {"mode": "networks", "attachments": [{"network": "a", "alias": 1}]}}),
            Some("network.attachments[0].alias"),
        );
        check(json!({"restart": {"onFailure": {"max": 3}}}), None);
        check(json!({"restart": {"onFailure": {"maxx": 3}}}), Some("restart.onFailure.maxx"));
        let mount = |mount: Value| json!({"containers": [{"mounts": [mount]}]});
        check(
            mount(json!({"type": "volume", "name": "a", "target": "/a", "readOnly": true})),
            None,
        );
        check(
            mount(json!({"type": "tmpfs", "target": "/a", "name": "a"})),
            Some("containers[0].mounts[0].name"),
        );
        check(
            json!({"containers": [{"health": {"probe": {"exec": {"comand": []}}}}]}),
            Some("containers[0].health.probe.exec.comand"),
        );
    }
}
