//! Images: how they are named, and what a node knows of one.

mod change;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::instance::HealthCheck;
use crate::quantity::Bytes;
use crate::time::Time;

/// An image's full name after Docker Hub's rules: `nginx` is `docker.io/library/nginx:latest`.
/// Grammar: the distribution specification's reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry's host, and port if it has one: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// Path in the registry: `library/nginx`.
    pub repository: String,
    /// Tag; `latest` when neither tag nor digest was given, absent when only a digest was.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads what people write.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::invalid(format!("{text:?} is not an image name: {why}"))
                .next("write it like nginx, nginx:1.27 or ghcr.io/owner/app@sha256:…")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(refuse("what follows '@' is not a digest")),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("the tag has characters that are not allowed"));
        }
        let (registry, repository) = split_registry(path);
        if repository.is_empty() || repository.len() > 255 {
            return Err(refuse("no repository, or one of over 255 characters"));
        }
        if !repository.split('/').all(is_component) {
            return Err(refuse("a repository has lower-case letters, digits and . _ - /"));
        }
        let host = |c: u8| c.is_ascii_alphanumeric() || b".-:[]".contains(&c);
        let first = registry.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == b'[');
        if !first || !registry.bytes().all(host) || registry.contains("..") {
            return Err(refuse("the registry is not a host"));
        }
        let tag = if tag.is_none() && digest.is_none() { Some("latest".into()) } else { tag };
        Ok(Self { registry, repository, tag, digest })
    }

    /// The short form people know: `nginx:latest`, `ghcr.io/a/b:1`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }

    /// The name without tag and digest: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

fn split_registry(path: &str) -> (String, String) {
    let hub = |path: &str| match path.contains('/') {
        true => ("docker.io".to_owned(), path.to_owned()),
        false => ("docker.io".to_owned(), format!("library/{path}")),
    };
    match path.split_once('/') {
        Some(("docker.io" | "index.docker.io" | "registry-1.docker.io", rest)) => hub(rest),
        Some((host, rest))
            if host.contains(['.', ':']) || host == "localhost" || has_upper(host) =>
        {
            (host.to_owned(), rest.to_owned())
        }
        _ => hub(path),
    }
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|c| c.is_ascii_uppercase())
}

/// Whether it is the digest of a document: `sha256:` and 64 digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|c| word(c) || b".-".contains(&c))
}

fn is_component(part: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.bytes().next().is_some_and(plain)
        && part.bytes().last().is_some_and(plain)
        && part.bytes().all(|c| plain(c) || b"._-".contains(&c))
        && !part.contains("..")
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// What a node knows of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Digest of its configuration: what Docker calls the image's id.
    pub id: String,
    /// Digest of what its names point at (an index or a manifest).
    pub digest: String,
    /// Its names with tags, in full.
    pub names: Vec<String>,
    /// Its names with digests, in full.
    pub digests: Vec<String>,
    /// When it was made, by its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// Bytes of its layers, compressed as they were pulled.
    pub size: Bytes,
    /// `amd64`, `arm64` …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// What it says about how to run it.
    pub config: ImageConfig,
    /// Digests of its layers, unpacked, lowest first.
    pub layers: Vec<String>,
    /// The disk it carries, when it is the image of a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineImage>,
    /// How it came about, lowest first.
    pub history: Vec<ImageHistory>,
}

/// The disk that a machine's image carries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineImage {
    /// Path of the disk in the image's file system: `/disk/disk.qcow2`.
    pub disk: String,
    /// The disk is compressed as a file (gzip), not only inside its format.
    pub compressed: bool,
    /// What starts before the guest.
    pub firmware: crate::instance::FirmwareKind,
    /// Path of a kernel in the image, when it is to be started without firmware.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Path of the kernel's first file system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub initrd: String,
    /// The kernel's command line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command_line: String,
}

/// What an image says about how to run it (OCI image specification, `config.md`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageConfig {
    /// `user[:group]`.
    pub user: String,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// First words of what is run.
    pub entrypoint: Vec<String>,
    /// Last words of what is run, or all of them.
    pub command: Vec<String>,
    /// Working directory.
    pub workdir: String,
    /// Paths that want a volume.
    pub volumes: Vec<String>,
    /// `80/tcp` each.
    pub exposed_ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks it to end.
    pub stop_signal: String,
    /// How its health is told (Docker's extension).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Lines that a build which begins with it carries out first (Docker's extension).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// One step in how an image came about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageHistory {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// By which command.
    pub created_by: String,
    /// A remark.
    pub comment: String,
    /// It made no layer.
    pub empty_layer: bool,
    /// Bytes of its layer as it was pulled.
    pub size: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_people_write() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, full, familiar) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned(), "nginx:latest"),
            ("a/b:1", "docker.io/a/b:1".to_owned(), "a/b:1"),
            ("docker.io/nginx", "docker.io/library/nginx:latest".to_owned(), "nginx:latest"),
            ("localhost/x", "localhost/x:latest".to_owned(), "localhost/x:latest"),
            ("h:5000/x/y", "h:5000/x/y:latest".to_owned(), "h:5000/x/y:latest"),
            (
                &format!("ghcr.io/o/a@{digest}"),
                format!("ghcr.io/o/a@{digest}"),
                &format!("ghcr.io/o/a@{digest}"),
            ),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
    }

    #[test]
    fn names_that_are_none() {
        for text in ["", ":", "a b", "Nginx", "a//b", "a@sha256:1", "a:b:c", "../x", "a/../b"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
