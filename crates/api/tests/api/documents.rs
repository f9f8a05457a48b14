//! The OpenAPI document: checked in, true, and served.

use std::path::PathBuf;

use serde_json::Value;

use crate::raw::{self, Answer};
use crate::world::World;

/// Set to write the document anew instead of comparing it.
const UPDATE: &str = "UPDATE_OPENAPI";

#[test]
fn the_document_that_is_checked_in_is_that_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../openapi/hull.json");
    let document = api::openapi();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &document).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == document, "openapi/hull.json is old: {UPDATE}=1 cargo test -p api");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|methods| methods.as_object().unwrap().values());
    let mut names: Vec<_> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two operations have one name");
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                found.push(reference);
            }
            object.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Walks the document: each path and method it has is served, and each method it lacks is not.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_is_served_and_no_other_method() {
    let world = World::start().await;
    let Answer { status, body, .. } = raw::get(&world, "/openapi.json").await;
    assert_eq!(status, 200);
    assert_eq!(String::from_utf8(body).unwrap(), api::openapi());
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let place = path.replace("{project}", "nowhere").replace("{name}", "nothing");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let known = methods.get(method.to_lowercase()).is_some();
            if path == "/v1/system/backup" && known {
                continue;
            }
            let answer = raw::request(&world, method, &place, &[], b"").await;
            let served = answer.status != 405 && !answer.says("there is nothing at");
            let by_get = method == "HEAD" && methods.get("get").is_some();
            assert_eq!(served, known || by_get, "{method} {path}: {}", answer.status);
        }
    }
    world.stop().await;
}
