//! Portainer's format, versions 1 to 3: one list, `templates.json`, of containers and of stacks whose
//! Compose file is in a repository. (<https://docs.portainer.io/advanced/app-templates/format>)

use std::collections::BTreeMap;

use model::template::{Choice, Question, QuestionKind, Template, TemplateVersion};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::name_of;
use crate::tree::Tree;

/// Where the Compose files of containers are put.
const MADE: &str = ".containers";
/// Most entries of a list.
const MOST: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    r#type: Value,
    title: String,
    name: String,
    description: String,
    note: String,
    categories: Option<Vec<String>>,
    platform: Option<String>,
    logo: String,
    image: String,
    registry: String,
    command: String,
    hostname: String,
    network: String,
    restart_policy: String,
    privileged: bool,
    interactive: bool,
    ports: Option<Vec<String>>,
    volumes: Option<Vec<Value>>,
    labels: Option<Vec<Label>>,
    env: Option<Vec<Variable>>,
    repository: Option<Repository>,
    #[serde(alias = "stackFile")]
    stackfile: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Label {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Repository {
    url: String,
    stackfile: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    label: Option<String>,
    description: Option<String>,
    default: Option<Value>,
    set: Option<Value>,
    preset: bool,
    r#type: Option<String>,
    select: Option<Vec<Select>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Select {
    text: String,
    value: String,
    default: bool,
}

pub(super) fn read(tree: &mut Tree) -> Vec<Template> {
    let Some((path, entries)) = newest(tree) else { return Vec::new() };
    let mut found = Vec::new();
    for (index, entry) in entries.into_iter().take(MOST).enumerate() {
        let words =
            |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (title, summary) = (words("title"), words("description"));
        let template = match serde_json::from_value::<Entry>(entry) {
            Ok(entry) => template(tree, index, entry),
            Err(error) => Template {
                problem: Some(format!("{path}: entry {} cannot be read: {error}", index + 1)),
                ..Template::default()
            },
        };
        let name = if title.is_empty() { format!("entry-{}", index + 1) } else { name_of(&title) };
        found.push(Template { name, title, summary, ..template });
    }
    found
}

/// The list of the latest version of the format, where there are several.
fn newest(tree: &Tree) -> Option<(String, Vec<Value>)> {
    let names = tree.list("").into_iter().map(|(name, _)| name.to_owned());
    let lists = names.filter(|name| name.starts_with("templates") && name.ends_with(".json"));
    let mut read: Vec<(f64, String, Vec<Value>)> = lists
        .filter_map(|name| {
            let list: Value = serde_json::from_slice(tree.get(&name)?).ok()?;
            let version = match &list["version"] {
                Value::Number(number) => number.as_f64().unwrap_or(1.0),
                Value::String(text) => text.parse().unwrap_or(1.0),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => 1.0,
            };
            let entries = match list {
                Value::Array(entries) => entries,
                Value::Object(mut map) => match map.remove("templates") {
                    Some(Value::Array(entries)) => entries,
                    _ => return None,
                },
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            };
            Some((version, name, entries))
        })
        .collect();
    read.sort_by(|one, two| one.0.total_cmp(&two.0).then_with(|| one.1.cmp(&two.1)));
    read.pop().map(|(_, name, entries)| (name, entries))
}

fn template(tree: &mut Tree, index: usize, entry: Entry) -> Template {
    let questions: Vec<Question> =
        entry.env.iter().flatten().filter(|it| !it.name.is_empty()).map(question).collect();
    let files = match entry.r#type.as_str().unwrap_or_default() {
        "container" => container(tree, index, &entry),
        "stack" => stack(tree, &entry),
        _ => match entry.r#type.as_u64() {
            Some(1) => container(tree, index, &entry),
            Some(2..=4) => stack(tree, &entry),
            _ => Err(format!("it is of the unknown type {}", entry.r#type)),
        },
    };
    let (files, mut problem) = match files {
        Ok(path) => (vec![path], None),
        Err(sentence) => (Vec::new(), Some(sentence)),
    };
    if entry.platform.as_deref() == Some("windows") {
        problem = problem.or(Some("it is for Windows".to_owned()));
    }
    let problem = problem.or_else(|| super::unreadable(tree, &files));
    let version = TemplateVersion {
        version: "1".to_owned(),
        place: String::new(),
        files,
        questions,
        note: entry.note,
        problem,
        ..TemplateVersion::default()
    };
    Template {
        categories: entry.categories.unwrap_or_default(),
        icon: entry.logo,
        version: version.version.clone(),
        versions: vec![version],
        ..Template::default()
    }
}

/// The path of a stack's Compose file, if it is in this catalog.
fn stack(tree: &Tree, entry: &Entry) -> Result<String, String> {
    let (place, path) = match &entry.repository {
        Some(repository) => (repository.url.as_str(), repository.stackfile.as_str()),
        // The raw file of a branch of a public repository.
        None => match entry.stackfile.splitn(7, '/').nth(6) {
            Some(path) => (entry.stackfile.as_str(), path),
            None => ("", entry.stackfile.as_str()),
        },
    };
    if tree.get(path).is_some() {
        return Ok(path.to_owned());
    }
    Err(match (place, path) {
        (_, "") => "it names no Compose file".to_owned(),
        ("", path) => format!("its Compose file {path} is not there"),
        (place, path) => format!("its Compose file {path} is elsewhere, in {place}"),
    })
}

/// Writes a container as a Compose file; JSON is YAML.
fn container(tree: &mut Tree, index: usize, entry: &Entry) -> Result<String, String> {
    if entry.image.is_empty() {
        return Err("it names no image".to_owned());
    }
    let literal = |text: &str| text.replace('$', "$$");
    let mut service = Map::new();
    let mut set = |key: &str, value: Value| drop(service.insert(key.to_owned(), value));
    let image = match entry.registry.trim_end_matches('/') {
        "" => entry.image.clone(),
        registry => format!("{registry}/{}", entry.image),
    };
    set("image", json!(literal(&image)));
    for (key, value) in [("command", &entry.command), ("hostname", &entry.hostname)] {
        if !value.is_empty() {
            set(key, json!(literal(value)));
        }
    }
    if entry.network == "host" {
        set("network_mode", json!("host"));
    }
    if entry.privileged {
        set("privileged", json!(true));
    }
    if entry.interactive {
        set("tty", json!(true));
        set("stdin_open", json!(true));
    }
    let restart = Some(entry.restart_policy.as_str()).filter(|it| !it.is_empty());
    set("restart", json!(restart.unwrap_or("unless-stopped")));
    if let Some(ports) = &entry.ports {
        set("ports", json!(ports));
    }
    let names = entry.env.iter().flatten().map(|it| it.name.as_str()).filter(|it| !it.is_empty());
    let environment: BTreeMap<&str, String> = names.map(|it| (it, format!("${{{it}}}"))).collect();
    set("environment", json!(environment));
    let labels = entry.labels.iter().flatten();
    let labels: BTreeMap<&str, String> =
        labels.map(|label| (label.name.as_str(), literal(&label.value))).collect();
    set("labels", json!(labels));
    let (mounts, volumes) = mounts(entry)?;
    set("volumes", json!(mounts));
    let name = Some(entry.name.as_str()).filter(|it| !it.is_empty());
    let name = name_of(name.unwrap_or(&entry.title));
    let file = json!({ "services": { name: service }, "volumes": volumes });
    let path = format!("{MADE}/{index}/compose.yaml");
    tree.add(&path, file.to_string().into_bytes()).map_err(|error| error.chain())?;
    Ok(path)
}

/// What is mounted, and the volumes of it that have no place of their own.
fn mounts(entry: &Entry) -> Result<(Vec<Value>, BTreeMap<String, Value>), String> {
    let (mut mounts, mut volumes) = (Vec::new(), BTreeMap::new());
    for (index, volume) in entry.volumes.iter().flatten().enumerate() {
        let text = |field: &str| volume.get(field).and_then(Value::as_str);
        let target = volume.as_str().or_else(|| text("container"));
        let target = target.ok_or_else(|| format!("volume {} has no path", index + 1))?;
        let read_only = volume.get("readonly").and_then(Value::as_bool).unwrap_or(false);
        let literal = |text: &str| text.replace('$', "$$");
        mounts.push(match text("bind") {
            Some(source) => json!({
                "type": "bind", "source": literal(source), "target": literal(target),
                "read_only": read_only,
            }),
            None => {
                let name = format!("data{}", index + 1);
                volumes.insert(name.clone(), json!({}));
                json!({ "type": "volume", "source": name, "target": literal(target) })
            }
        });
    }
    Ok((mounts, volumes))
}

fn question(variable: &Variable) -> Question {
    let words = |value: &Option<Value>| {
        value.as_ref().map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let options: Vec<Choice> = variable
        .select
        .iter()
        .flatten()
        .map(|it| Choice { value: it.value.clone(), label: it.text.clone() })
        .collect();
    let chosen = variable.select.iter().flatten().find(|it| it.default).map(|it| it.value.clone());
    let kind = match (options.is_empty(), variable.r#type.as_deref()) {
        (false, _) => QuestionKind::Enum,
        (true, Some("container")) => QuestionKind::Service,
        _ if hides(&variable.name) => QuestionKind::Password,
        _ => QuestionKind::String,
    };
    let label = variable.label.clone().filter(|label| !label.is_empty());
    Question {
        variable: variable.name.clone(),
        label: label.unwrap_or_else(|| variable.name.clone()),
        description: variable.description.clone().unwrap_or_default(),
        kind,
        hidden: variable.preset || variable.set.is_some(),
        default: words(&variable.set).or_else(|| words(&variable.default)).or(chosen),
        options,
        ..Question::default()
    }
}

/// The format has no word for what is not to be shown.
fn hides(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "LICENSE_KEY"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_stacks_and_what_is_broken() {
        let list = json!({ "version": "3", "templates": [
            { "id": 1, "type": 1, "title": "My SQL", "image": "mysql", "ports": ["3306/tcp"],
              "command": "run $HOME",
              "volumes": [{ "container": "/var/lib/mysql" }, { "container": "/x", "bind": "/y", "readonly": true }],
              "env": [
                  { "name": "ROOT_PASSWORD", "label": "Password" },
                  { "name": "HOST", "default": "%", "preset": true },
                  { "name": "EULA", "select": [{ "text": "Yes", "value": "Y", "default": true }] },
              ] },
            { "type": 3, "title": "Stack", "repository": { "url": "https://x/y", "stackfile": "s/c.yml" } },
            { "type": 3, "title": "Gone", "repository": { "url": "https://x/z", "stackfile": "no.yml" } },
            { "type": 1, "title": "My SQL", "image": "mysql", "platform": "windows" },
            { "type": 1, "title": "Broken", "image": ["a"] },
            { "type": 9, "title": "Odd" },
        ] });
        let mut tree = Tree::default();
        tree.add("templates.json", list.to_string().into_bytes()).unwrap();
        tree.add("templates-2.0.json", br#"{"version":"2","templates":[]}"#.to_vec()).unwrap();
        tree.add("s/c.yml", b"services: {}".to_vec()).unwrap();
        let all = super::super::read("p", &mut tree).unwrap();
        let problem = |template: &Template| {
            let version = template.versions.first().and_then(|it| it.problem.clone());
            template.problem.clone().or(version).unwrap_or_default()
        };
        let told: Vec<(&str, bool)> =
            all.iter().map(|it| (it.name.as_str(), problem(it).is_empty())).collect();
        assert_eq!(
            told,
            [
                ("broken", false),
                ("gone", false),
                ("my-sql", true),
                ("my-sql-2", false),
                ("odd", false),
                ("stack", true),
            ]
        );
        assert!(problem(&all[1]).contains("https://x/z"));
        let version = &all[2].versions[0];
        let kinds: Vec<(QuestionKind, bool, Option<&str>)> = version
            .questions
            .iter()
            .map(|it| (it.kind, it.hidden, it.default.as_deref()))
            .collect();
        assert_eq!(
            kinds,
            [
                (QuestionKind::Password, false, None),
                (QuestionKind::String, true, Some("%")),
                (QuestionKind::Enum, false, Some("Y")),
            ]
        );
        let file: Value = serde_json::from_str(tree.text(&version.files[0]).unwrap()).unwrap();
        let service = &file["services"]["my-sql"];
        assert_eq!(service["command"], "run $$HOME");
        assert_eq!(service["environment"]["HOST"], "${HOST}");
        assert_eq!(service["volumes"][1]["source"], "/y");
    }
}
