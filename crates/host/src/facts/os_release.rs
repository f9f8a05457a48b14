//! os-release(5).

use crate::proc;

/// What distribution this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// `PRETTY_NAME`.
    pub name: String,
    /// `ID`.
    pub id: String,
}

impl OsRelease {
    /// Reads it.
    pub fn read() -> Self {
        let etc = proc::text("/etc/os-release");
        Self::parse(&if etc.is_empty() { proc::text("/usr/lib/os-release") } else { etc })
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim_matches(['"', '\'']).to_owned())
        };
        Self {
            name: value("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            id: value("ID").unwrap_or_else(|| "linux".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_plain_and_missing() {
        let found = OsRelease::parse("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n");
        assert_eq!((found.name.as_str(), found.id.as_str()), ("Debian 12", "debian"));
        assert_eq!(OsRelease::parse("").id, "linux");
    }
}
