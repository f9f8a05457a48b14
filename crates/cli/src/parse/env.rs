//! Environment variables and labels, given one by one and in files.

use std::collections::BTreeMap;

use model::error::Context;
use model::{Error, ErrorKind, Result};

/// `NAME=value` entries from files and flags, flags last. `NAME` alone takes the caller's value, and
/// is left out if there is none.
pub fn variables(
    files: &[String],
    flags: &[String],
    own: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let mut entries = Vec::new();
    for file in files {
        for line in lines(file)? {
            entries.extend(entry(&line, &own)?);
        }
    }
    for flag in flags {
        entries.extend(entry(flag, &own)?);
    }
    Ok(entries)
}

/// `key=value` entries from files and flags; `key` alone has an empty value.
pub fn labels(files: &[String], flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for file in files {
        labels.extend(lines(file)?.iter().map(|line| label(line)));
    }
    labels.extend(flags.iter().map(|flag| label(flag)));
    Ok(labels)
}

fn label(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn entry(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Error::invalid(format!("{text:?} is not NAME=value")).at("--env"));
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    Ok(own(name).map(|value| format!("{name}={value}")))
}

/// The lines of a file that say something; `#` begins a comment line.
fn lines(path: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .context(ErrorKind::Invalid, || format!("cannot read {path}"))?;
    let lines = text.lines().map(str::trim_start);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_after_files_and_take_the_callers_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        std::fs::write(&path, "# remark\nA=1\n\nB=x y\n").unwrap();
        let own = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let flags = ["A=2".to_owned(), "HOME".into(), "ABSENT".into(), "E=".into()];
        let entries = variables(&[path.display().to_string()], &flags, own).unwrap();
        assert_eq!(entries, ["A=1", "B=x y", "A=2", "HOME=/root", "E="]);
        assert!(variables(&[], &["=x".to_owned()], own).is_err());
        assert!(variables(&["/absent".to_owned()], &[], own).is_err());
    }
}
