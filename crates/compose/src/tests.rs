//! Tests of whole readings.

mod back;
mod builds;
mod hostile;
mod many;
mod old;
mod plain;
mod rancher;
mod words;

use std::collections::BTreeMap;

use crate::{Asked, Wanted, WantedService, read};

/// Files by their paths.
fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn asked() -> Asked {
    Asked { name: "shop".into(), ..Asked::default() }
}

/// What one file wants.
fn wanted(text: &str) -> Wanted {
    match read(&files(&[("compose.yaml", text)]), &asked()) {
        Ok(wanted) => wanted,
        Err(refusal) => panic!("{refusal}"),
    }
}

/// Why one file is refused, a line each: `line:column path: reason`.
fn refused(text: &str) -> Vec<String> {
    refused_of(&[("compose.yaml", text)], &asked())
}

fn refused_of(pairs: &[(&str, &str)], asked: &Asked) -> Vec<String> {
    let refusal = read(&files(pairs), asked).expect_err("it should be refused");
    refusal.faults.iter().map(ToString::to_string).collect()
}

fn service<'a>(wanted: &'a Wanted, key: &str) -> &'a WantedService {
    wanted.services.iter().find(|it| it.object.key == key).unwrap()
}
