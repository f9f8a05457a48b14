//! Catalog: where templates come from.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::instance::Reason;
use crate::name::check_name;
use crate::object::{Kind, Noun, Object};
use crate::quantity::Span;
use crate::time::Time;

/// The catalog that comes with the program.
pub const BUILT_IN: &str = "builtin";

/// Shortest time between two looks at a source.
const LEAST_EVERY: Span = Span::seconds(60);

/// Most bytes of the keys of those who sign.
const MOST_KEYS: usize = 64 << 10;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogNoun;

/// A catalog.
pub type Catalog = Object<CatalogNoun>;

/// What was asked of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CatalogSpec {
    /// For people.
    pub description: String,
    /// Where its files are.
    pub source: CatalogSource,
    /// The projects in which its templates are offered; all, when none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Its source is looked at again after so long; only on demand when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
}

/// Where a catalog's files are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "from")]
pub enum CatalogSource {
    /// In the program.
    #[default]
    BuiltIn,
    /// In a directory of the machine that hull runs on.
    Directory {
        /// Its absolute path.
        path: String,
    },
    /// In a tar or zip: a file of the machine that hull runs on.
    Archive {
        /// Its absolute path.
        path: String,
    },
    /// In a git repository.
    Git {
        /// Its address: `https://…`, `http://…`.
        url: String,
        /// The branch; the repository's own choice when none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// Public keys of SSH, one a line, or a list of allowed signers: one of them must have signed the
        /// commit that is read. No signature is asked for when none are given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<String>,
    },
}

/// What was seen of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CatalogStatus {
    /// Which content is offered now: its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The commit it is of, where it is from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// How many templates can be installed.
    pub templates: u32,
    /// How many templates have a problem.
    pub broken: u32,
    /// When its source was read last, with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Time>,
    /// When reading its source was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<Time>,
    /// When somebody asked last that it be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Time>,
    /// The generation of the spec that was tried last.
    pub observed_generation: u64,
    /// Why its source could not be read; what was read before is still offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl CatalogSpec {
    /// Whether its templates are offered in a project.
    #[must_use]
    pub fn is_for(&self, project: &str) -> bool {
        self.projects.is_empty() || self.projects.iter().any(|it| it == project)
    }
}

impl CatalogSource {
    /// In few words, for people.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            CatalogSource::BuiltIn => "built in".to_owned(),
            CatalogSource::Directory { path } | CatalogSource::Archive { path } => path.clone(),
            CatalogSource::Git { url, branch: None, .. } => url.clone(),
            CatalogSource::Git { url, branch: Some(branch), .. } => format!("{url} {branch}"),
        }
    }

    fn validate(&self) -> Result<()> {
        match self {
            CatalogSource::BuiltIn => Ok(()),
            CatalogSource::Directory { path } | CatalogSource::Archive { path } => {
                if path.starts_with('/') && path.len() <= 4096 && !path.contains('\0') {
                    return Ok(());
                }
                Err(Error::invalid(format!("{path:?} is not an absolute path")).at("path"))
            }
            CatalogSource::Git { url, branch, keys } => {
                check_url(url)?;
                branch.as_deref().map_or(Ok(()), check_branch)?;
                keys.as_deref().map_or(Ok(()), check_keys)
            }
        }
    }
}

fn check_url(url: &str) -> Result<()> {
    let refused = |why: &str| {
        Error::invalid(format!("the repository's address {why}"))
            .at("url")
            .next("give https://HOST/PATH")
    };
    let rest = ["https://", "http://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| refused("is neither https:// nor http://"))?;
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c);
    if url.len() > 2048 || rest.starts_with('/') || rest.is_empty() || !url.chars().all(plain) {
        return Err(refused("is not one"));
    }
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return Err(refused("has a name or password in it, which everybody would see"));
    }
    Ok(())
}

/// As `git check-ref-format` does, for what can be harmful.
fn check_branch(branch: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/+@".contains(c);
    let bad = branch.is_empty()
        || branch.len() > 200
        || branch.starts_with(['-', '/', '.'])
        || branch.contains("..")
        || !branch.chars().all(good);
    match bad {
        true => Err(Error::invalid(format!("{branch:?} is not the name of a branch")).at("branch")),
        false => Ok(()),
    }
}

/// Whether a word is what the words of a public key of SSH begin with, of those that sign (RFC 8709, RFC 8332,
/// RFC 5656, OpenSSH's PROTOCOL.u2f).
#[must_use]
pub fn is_ssh_key(word: &str) -> bool {
    matches!(
        word,
        "ssh-ed25519"
            | "ssh-rsa"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
    )
}

/// Looks whether they can be some: they are read when the source is. A private key is none, and is not kept.
fn check_keys(keys: &str) -> Result<()> {
    let refused = |why: &str| {
        Error::invalid(format!("the keys {why}"))
            .at("keys")
            .next("give public keys of SSH, one a line, as in ~/.ssh/id_ed25519.pub")
    };
    if keys.len() > MOST_KEYS {
        return Err(refused("are more than 64 KiB"));
    }
    let mut lines =
        keys.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')).peekable();
    if lines.peek().is_none() {
        return Err(refused("are none"));
    }
    match lines.all(|line| line.split_whitespace().any(is_ssh_key)) {
        true => Ok(()),
        false => Err(refused("are not all public keys of SSH")),
    }
}

impl Noun for CatalogNoun {
    const KIND: Kind = Kind::Catalog;
    const IN_PROJECT: bool = false;
    type Spec = CatalogSpec;
    type Status = CatalogStatus;

    fn validate(spec: &CatalogSpec) -> Result<()> {
        spec.source.validate().map_err(|error| error.under("source"))?;
        for project in &spec.projects {
            check_name(project).map_err(|error| error.at("projects"))?;
        }
        match spec.every {
            Some(every) if every < LEAST_EVERY => {
                Err(Error::invalid("a source is looked at once a minute at most").at("every"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let git = |url: &str, branch: Option<&str>| CatalogSource::Git {
            url: url.into(),
            branch: branch.map(str::to_owned),
            keys: None,
        };
        let signed = |keys: &str| CatalogSource::Git {
            url: "https://example.org/a".into(),
            branch: None,
            keys: Some(keys.into()),
        };
        let directory = |path: &str| CatalogSource::Directory { path: path.into() };
        for good in [
            CatalogSource::BuiltIn,
            directory("/srv/catalog"),
            git("https://example.org/a/b.git", Some("release/1.x")),
            git("http://127.0.0.1:8000/r", None),
            signed("# ours\nme@example.org ssh-ed25519 AAAA\nssh-rsa AAAA me"),
        ] {
            good.validate().unwrap();
        }
        for bad in [
            directory("srv"),
            git("ssh://git@example.org/x", None),
            git("file:///etc", None),
            git("ext::sh -c id", None),
            git("https://me:secret@example.org/x", None),
            git("https:///x", None),
            git("https://example.org/x", Some("--upload-pack=x")),
            git("https://example.org/x", Some("a..b")),
            signed(""),
            signed("-----BEGIN OPENSSH PRIVATE KEY-----"),
            signed("ssh-ed25519 AAAA\nme"),
            signed(&format!("ssh-ed25519 {}", "A".repeat(MOST_KEYS))),
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
