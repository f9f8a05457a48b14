//! `ARCHITECTURE.md` and the workspace must say the same.

#![expect(clippy::unwrap_used, reason = "a check that cannot look fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use testing::checkout;

fn page() -> String {
    std::fs::read_to_string(checkout().join("ARCHITECTURE.md")).unwrap()
}

/// Crate to layer, from the rows of the table of rooms.
fn layers() -> BTreeMap<String, u8> {
    let page = page();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let layer = cells.next()?.parse().ok()?;
        let name = cells.next()?.trim_matches('`').to_owned();
        Some((name, layer))
    });
    rows.collect()
}

/// Crate to the workspace crates it uses, tests included.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let own = dependencies.iter().filter(|dependency| dependency["path"].is_string());
            (name(package), own.map(name).collect())
        })
        .collect()
}

#[test]
fn every_crate_has_a_row() {
    let rows: BTreeSet<_> = layers().into_keys().collect();
    let crates: BTreeSet<_> = uses().into_keys().collect();
    assert_eq!(rows, crates);
}

#[test]
fn a_crate_uses_only_lower_layers() {
    let layers = layers();
    for (user, used) in uses() {
        for used in used {
            assert!(
                layers[&used] < layers[&user],
                "{user} (layer {}) uses {used} (layer {})",
                layers[&user],
                layers[&used]
            );
        }
    }
}

#[test]
fn every_path_named_exists() {
    let page = page();
    let paths = page
        .split('`')
        .filter(|word| word.contains('/') && !word.contains([' ', '<', '\n']) && word.is_ascii());
    for path in paths.filter(|path| {
        ["crates", "docs", "openapi", "tests", "benches", "images", "scripts"]
            .iter()
            .any(|root| path.starts_with(&format!("{root}/")))
    }) {
        assert!(checkout().join(path).exists(), "ARCHITECTURE.md names {path}, which is not there");
    }
}
