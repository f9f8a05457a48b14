//! Reads every Compose file below a directory and prints what comes of it: how many parse, how many are
//! what the platform can do, and why the others are not.
//!
//! `cargo run -p compose --example survey -- DIRECTORY [--notes]`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compose::{Asked, read};

const NAMES: [&str; 4] =
    ["docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let notes = arguments.next().is_some();
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let (mut parsed, mut planned, mut templates) = (0, 0, 0);
    let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut count = |why: &str, place: String| {
        let entry = reasons.entry(why.to_owned()).or_insert((0, place));
        entry.0 += 1;
    };
    for path in &found {
        let directory = path.parent().unwrap_or(&root);
        let files = files(directory);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&files[&name]).into_owned();
        if text.contains("{{") {
            templates += 1;
            continue;
        }
        let asked = Asked {
            name: "survey".into(),
            files: vec![name],
            variables: answers(&files),
            ..Asked::default()
        };
        match read(&files, &asked) {
            Ok(wanted) => {
                parsed += 1;
                planned += 1;
                if notes {
                    wanted.ignored.iter().for_each(|note| count(&note.why, note.to_string()));
                }
            }
            Err(refusal) => {
                let broken = refusal.faults.iter().any(|it| it.why.contains("not YAML"));
                parsed += usize::from(!broken);
                println!("{}", path.display());
                for fault in &refusal.faults {
                    println!("    {fault}");
                    if !notes {
                        count(&fault.why, format!("{}: {fault}", path.display()));
                    }
                }
            }
        }
    }
    let plain = found.len() - templates;
    println!("{} files, {templates} with templates left out", found.len());
    println!("{parsed} of {plain} parse, {planned} of {plain} plan");
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (why, (count, place)) in reasons.iter().take(60) {
        println!("{count:5}  {why}\n           {place}");
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.file_name().is_some_and(|it| NAMES.iter().any(|name| it == *name)) {
            found.push(path);
        }
    }
}

/// The small files beside a Compose file, and below.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().take(500) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if entry.metadata().is_ok_and(|it| it.len() < 1 << 20)
                && let (Ok(name), Ok(bytes)) = (path.strip_prefix(root), std::fs::read(&path))
            {
                files.insert(name.to_string_lossy().into_owned(), bytes);
            }
        }
    }
    files
}

/// The defaults of a template's questions.
fn answers(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    let Some(bytes) = files.get("rancher-compose.yml") else { return answers };
    let text = String::from_utf8_lossy(bytes);
    let Ok(file) = serde_saphyr::from_str::<serde_json::Value>(&text) else { return answers };
    let catalog = file.get(".catalog").or_else(|| file.get("catalog"));
    let questions = catalog.and_then(|it| it.get("questions")).and_then(|it| it.as_array());
    for question in questions.into_iter().flatten() {
        let Some(variable) = question["variable"].as_str() else { continue };
        let default = match &question["default"] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        let required = question["required"].as_bool().unwrap_or_default();
        let value = match (default.as_str(), question["type"].as_str()) {
            ("", Some("int")) => "1".to_owned(),
            ("", Some("boolean")) => "false".to_owned(),
            ("", Some("enum")) => question["options"][0].as_str().unwrap_or_default().to_owned(),
            ("", _) if required => "answer".to_owned(),
            _ => default,
        };
        answers.insert(variable.to_owned(), value);
    }
    answers
}
