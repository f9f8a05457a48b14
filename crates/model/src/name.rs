//! Names people give to things.

use crate::error::{Error, Result};

/// Longest name. Tools make long ones (of a pipeline, a job and a number), and files carry them.
pub const MAX_NAME: usize = 128;
/// Longest label of a DNS name (RFC 1035, section 2.3.4). What has a longer name is known by its id.
pub const MAX_DNS_LABEL: usize = 63;
/// Longest key or value of a label or annotation, in bytes.
pub const MAX_LABEL: usize = 4096;

/// Checks an object's name: 1 to 128 of `a-z A-Z 0-9 _ . -`, beginning with a letter or digit, as
/// Docker's names do.
pub fn check_name(name: &str) -> Result<()> {
    let first = name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = name.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    if first && rest && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Error::invalid(format!("{name:?} is not a name"))
        .at("meta.name")
        .next("use 1 to 128 letters, digits, '_', '.' or '-', beginning with a letter or digit"))
}

/// Checks a host name or DNS alias: labels of letters, digits and hyphens, also `_` for what is
/// found in the wild, 253 characters at most.
pub fn check_host_name(name: &str) -> Result<()> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
            && !label.starts_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(Error::invalid(format!("{name:?} is not a host name")))
    }
}

/// A name for an object that was given none: an adjective, a noun and digits from `seed`.
pub fn invent(seed: u64) -> String {
    const FIRST: [&str; 32] = [
        "amber", "brave", "brisk", "calm", "clear", "coral", "crisp", "dapper", "eager", "early",
        "fair", "fleet", "fresh", "gentle", "glad", "golden", "keen", "kind", "lively", "lucid",
        "merry", "mild", "neat", "nimble", "plucky", "quick", "quiet", "steady", "sunny", "swift",
        "tidy", "warm",
    ];
    const SECOND: [&str; 32] = [
        "anchor", "beacon", "bosun", "bow", "breeze", "buoy", "canvas", "capstan", "compass",
        "cove", "cutter", "deck", "dinghy", "ferry", "galley", "harbor", "helm", "jib", "keel",
        "ketch", "lagoon", "mast", "oar", "pier", "pilot", "reef", "rudder", "sail", "schooner",
        "sloop", "tide", "yawl",
    ];
    let first = FIRST[(seed % 32) as usize];
    let second = SECOND[(seed / 32 % 32) as usize];
    format!("{first}-{second}-{:04}", seed / 1024 % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "Web_2.x", "0"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&invent(0xdead_beef)).is_ok());
    }
}
