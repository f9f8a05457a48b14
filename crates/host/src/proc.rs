//! Small files of `/proc` and `/sys`.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The text of a file without the white space around it; empty when it cannot be read.
pub fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The number in a file; `None` when there is none (`max`, no such file).
pub fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path).parse().ok()
}

/// The value of `key` in text of lines `key: value` or `key value`.
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?;
        let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix([' ', '\t']))?;
        Some(rest.trim())
    })
}

/// `key` of `/proc/meminfo` in bytes.
pub fn meminfo(text: &str, key: &str) -> u64 {
    let kib = field(text, key).and_then(|value| value.strip_suffix(" kB"));
    kib.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The nearest parent of `path` that exists; itself when it does.
pub fn existing(path: &Path) -> PathBuf {
    let mut found = path;
    while !found.exists() {
        match found.parent() {
            Some(parent) if parent != Path::new("") => found = parent,
            _ => return PathBuf::from("/"),
        }
    }
    found.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_lines() {
        let text = "MemTotal:       24684096 kB\nMemFree:  1 kB\nMem: 3\nplain 7\n";
        assert_eq!(meminfo(text, "MemTotal"), 24_684_096 << 10);
        assert_eq!(meminfo(text, "MemAvailable"), 0);
        assert_eq!(field(text, "Mem"), Some("3"));
        assert_eq!(field(text, "plain"), Some("7"));
    }

    #[test]
    fn the_nearest_parent_that_exists() {
        assert_eq!(existing(Path::new("/proc/no/such/thing")), Path::new("/proc"));
        assert_eq!(existing(Path::new("relative/thing")), Path::new("/"));
    }
}
