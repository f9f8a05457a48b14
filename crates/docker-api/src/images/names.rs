//! Names of images: how people write them, how Engine says them, what it says of those that are none.

use model::image::Reference;
use model::{Error, ErrorKind};
use serde::Deserialize;

use crate::failure::{Failure, Reply};

/// Digits of an id in messages.
const SHORT: usize = 12;

/// Reads a name.
pub(crate) fn parse(text: &str) -> Reply<Reference> {
    if is_hex_id(text) {
        return Err(Failure::bad(format!(
            "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )));
    }
    let repository = repository(text);
    // Of a tag, capitals are allowed.
    if repository.bytes().any(|c| c.is_ascii_uppercase()) {
        return Err(Failure::bad(format!(
            "invalid reference format: repository name ({repository}) must be lowercase"
        )));
    }
    Reference::parse(text).map_err(|_| Failure::bad("invalid reference format"))
}

/// What stands between the registry and the tag, as Engine tells them apart before it looks closer.
fn repository(text: &str) -> String {
    let names_registry = |first: &str| {
        first.contains(['.', ':'])
            || first == "localhost"
            || first.bytes().any(|c| c.is_ascii_uppercase())
    };
    let (registry, rest) = match text.split_once('/') {
        Some((first, rest)) if names_registry(first) => (first, rest),
        _ => ("docker.io", text),
    };
    let path = rest.split(':').next().unwrap_or(rest);
    let official = matches!(registry, "docker.io" | "index.docker.io") && !rest.contains('/');
    if official { format!("library/{path}") } else { path.to_owned() }
}

/// Refuses what is neither a name nor an id.
pub(super) fn parse_any(text: &str) -> Reply<()> {
    let digest = text.strip_prefix("sha256:").is_some_and(is_hex_id);
    if is_hex_id(text) || digest { Ok(()) } else { parse(text).map(drop) }
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// A repository and a tag in fields of their own; `None` without a repository.
pub(super) fn join(repository: &str, tag: &str) -> Reply<Option<Reference>> {
    if repository.is_empty() {
        return Ok(None);
    }
    let mut reference = parse(repository)?;
    if reference.digest.is_some() {
        return Err(Failure::bad("cannot import digest reference"));
    }
    if !tag.is_empty() {
        reference.tag = Some(checked_tag(&reference, tag)?);
    }
    Ok(Some(reference))
}

/// The tag, if it is one.
pub(super) fn checked_tag(reference: &Reference, tag: &str) -> Reply<String> {
    let text = format!("{}:{tag}", reference.name());
    match Reference::parse(&text) {
        Ok(parsed) if parsed.tag.as_deref() == Some(tag) => Ok(tag.to_owned()),
        Ok(_) | Err(_) => Err(Failure::bad("invalid tag format")),
    }
}

/// Whether the name has neither tag nor digest.
pub(super) fn is_bare(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or(text);
    !last.contains(['@', ':'])
}

/// The short form of a full name: `busybox:1`.
pub(crate) fn familiar(full: &str) -> String {
    Reference::parse(full).map_or_else(|_| full.to_owned(), |reference| reference.familiar())
}

/// The short form without tag and digest: `busybox`.
pub(super) fn familiar_name(reference: &Reference) -> String {
    let name = reference.name();
    let short = name.strip_prefix("docker.io/").unwrap_or(&name);
    short.strip_prefix("library/").unwrap_or(short).to_owned()
}

/// The beginning of an id, as messages have it.
pub(crate) fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..SHORT).unwrap_or(digits)
}

/// Whether the text is the beginning of the id.
pub(super) fn begins(id: &str, text: &str) -> bool {
    id.starts_with(text)
        || id.strip_prefix("sha256:").is_some_and(|digits| digits.starts_with(text))
}

/// In Engine's words: clients pull when they hear them.
pub(crate) fn missing(name: &str, error: Error) -> Failure {
    let told = match (name.strip_prefix("sha256:"), Reference::parse(name)) {
        (Some(digits), _) if is_hex_id(digits) => name.to_owned(),
        (None, _) if is_hex_id(name) => format!("sha256:{name}"),
        (_, Ok(reference)) => reference.familiar(),
        (_, Err(_)) => name.to_owned(),
    };
    match error.kind() {
        // Several begin so: none is meant.
        ErrorKind::NotFound | ErrorKind::Invalid => {
            Failure::not_found(format!("No such image: {told}"))
        }
        _ => error.into(),
    }
}

/// A platform as JSON in a query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: String,
}

impl Platform {
    /// Reads it; `None` for an empty text.
    pub(super) fn read(text: &str) -> Reply<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let platform: Self = serde_json::from_str(text)
            .map_err(|error| Failure::bad(format!("failed to parse platform: {error}")))?;
        match (platform.os.is_empty(), platform.architecture.is_empty()) {
            (false, false) => Ok(Some(platform)),
            (true, true) if !platform.variant.is_empty() => Err(Failure::bad(
                "optional platform fields provided, but OS and Architecture are missing",
            )),
            _ => Err(Failure::bad("both OS and Architecture must be provided")),
        }
    }

    /// Refuses an image for another platform.
    pub(super) fn check(&self, name: &str, image: &model::image::Image) -> Reply<()> {
        if self.os == image.os && self.architecture == image.architecture {
            return Ok(());
        }
        Err(Failure::not_found(format!(
            "image with reference {} was found but its platform ({}/{}) does not match the specified \
             platform ({self})",
            familiar(name),
            image.os,
            image.architecture
        )))
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none() {
        for (text, told) in [
            ("", "invalid reference format"),
            ("a b", "invalid reference format"),
            (
                "Bad Name",
                "invalid reference format: repository name (library/Bad Name) must be lowercase",
            ),
            (
                "Busybox",
                "invalid reference format: repository name (library/Busybox) must be lowercase",
            ),
            ("h:5/aB:x", "invalid reference format: repository name (aB) must be lowercase"),
        ] {
            assert_eq!(parse(text).unwrap_err().message, told, "{text}");
        }
        let id = "a".repeat(64);
        assert!(parse(&id).unwrap_err().message.contains("64-byte hexadecimal"));
        assert!(parse_any(&id).is_ok() && parse_any(&format!("sha256:{id}")).is_ok());
    }

    #[test]
    fn images_that_are_not_there() {
        let told = |name: &str| missing(name, Error::not_found("x")).message;
        let id = "a".repeat(64);
        assert_eq!(told("busybox"), "No such image: busybox:latest");
        assert_eq!(told("docker.io/library/busybox:1"), "No such image: busybox:1");
        assert_eq!(told("abc123"), "No such image: abc123:latest");
        assert_eq!(told(&id), format!("No such image: sha256:{id}"));
    }

    #[test]
    fn repositories_and_tags() {
        assert_eq!(join("", "x").unwrap(), None);
        assert_eq!(join("a", "").unwrap().unwrap().familiar(), "a:latest");
        assert_eq!(join("h:5/a:1", "2").unwrap().unwrap().familiar(), "h:5/a:2");
        assert_eq!(join("a", "b/c").unwrap_err().message, "invalid tag format");
        assert!(is_bare("h:5/a") && !is_bare("h:5/a:1") && !is_bare("a@sha256:x"));
    }
}
