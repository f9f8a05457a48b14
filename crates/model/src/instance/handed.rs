//! Secrets and configs as a container finds them: files.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::check_name;

/// Where secrets are found that are given no path of their own.
pub const SECRETS: &str = "/run/secrets";
/// Permissions of a file for which none are given.
const MODE: u32 = 0o444;
/// Most bytes of a path.
const LONGEST_PATH: usize = 1024;

/// A secret or config as a file of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Handed {
    /// Its name in the instance's project.
    pub source: String,
    /// The file's path inside. A relative one is below `/run/secrets` for a secret and below `/` for a
    /// config; the source's name when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The file's user.
    pub uid: u32,
    /// The file's group.
    pub gid: u32,
    /// The file's permission bits; 292 (0444) when not given.
    pub mode: u32,
}

impl Default for Handed {
    fn default() -> Self {
        Self { source: String::new(), target: String::new(), uid: 0, gid: 0, mode: MODE }
    }
}

impl Handed {
    /// The secret or config of this name at its usual place.
    pub fn named(source: &str) -> Self {
        Self { source: source.to_owned(), ..Self::default() }
    }

    /// The file's path as that of a secret.
    pub fn secret_path(&self) -> String {
        self.below(SECRETS)
    }

    /// The file's path as that of a config.
    pub fn config_path(&self) -> String {
        self.below("")
    }

    fn below(&self, directory: &str) -> String {
        let target = if self.target.is_empty() { &self.source } else { &self.target };
        match target.starts_with('/') {
            true => target.clone(),
            false => format!("{directory}/{target}"),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        check_name(&self.source).map_err(|error| error.at("source"))?;
        let target = self.target.trim_start_matches('/');
        let climbs = target.split('/').any(|part| matches!(part, "." | ".."));
        let file = self.target.is_empty() || !(target.is_empty() || target.ends_with('/'));
        if climbs || !file || self.target.contains('\0') || self.target.len() > LONGEST_PATH {
            return Err(
                Error::invalid(format!("{:?} is not the path of a file", self.target)).at("target")
            );
        }
        if self.mode > 0o777 {
            return Err(Error::invalid(format!("{:o} is more than permissions", self.mode))
                .at("mode")
                .next("give three octal digits, such as 0440"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_where_compose_puts_it() {
        for (target, secret, config) in [
            ("", "/run/secrets/pw", "/pw"),
            ("db/pw", "/run/secrets/db/pw", "/db/pw"),
            ("/etc/pw", "/etc/pw", "/etc/pw"),
        ] {
            let handed = Handed { target: target.into(), ..Handed::named("pw") };
            handed.validate().unwrap();
            assert_eq!(
                (handed.secret_path(), handed.config_path()),
                (secret.into(), config.into())
            );
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for bad in ["/", "a/../b", "..", "dir/", "a\0b", &"x".repeat(2000)] {
            let handed = Handed { target: bad.into(), ..Handed::named("pw") };
            assert_eq!(handed.validate().unwrap_err().field(), Some("target"), "{bad:?}");
        }
        let handed = Handed { mode: 0o4755, ..Handed::named("pw") };
        assert_eq!(handed.validate().unwrap_err().field(), Some("mode"));
        assert_eq!(Handed::named("a b").validate().unwrap_err().field(), Some("source"));
    }
}
