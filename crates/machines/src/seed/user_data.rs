//! What cloud-init takes as user data and vendor data.

use std::collections::BTreeMap;

use model::{Error, Result};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Bytes that each text may have. Clouds take 16 KiB (EC2) to 64 KiB (OpenStack).
const LARGEST: usize = 1 << 20;

/// Keys that a user may have, and bytes of each.
const MOST_KEYS: usize = 256;
const LONGEST_KEY: usize = 16 << 10;

/// First words that cloud-init knows (`cloudinit/handlers/__init__.py`), longer ones before those that
/// they begin with.
const KINDS: [(&str, Kind); 10] = [
    ("#cloud-config-archive", Kind::Archive),
    ("#cloud-config-jsonp", Kind::Other),
    ("#cloud-config", Kind::Config),
    ("#cloud-boothook", Kind::Other),
    ("#part-handler", Kind::Other),
    ("#include-once", Kind::Other),
    ("#include", Kind::Other),
    ("## template: jinja", Kind::Other),
    ("#!", Kind::Other),
    ("mime-version:", Kind::Mime),
];

/// What follows a first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Settings: YAML, a mapping.
    Config,
    /// Parts: YAML, a list.
    Archive,
    /// Parts of a message (RFC 2045).
    Mime,
    /// What only the guest can judge.
    Other,
}

/// What a text is, by the word it begins with; none if cloud-init would not know.
pub(super) fn kind(text: &str) -> Option<Kind> {
    let text = text.trim_start();
    let starts =
        |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts("content-type: multipart/") {
        return Some(Kind::Mime);
    }
    KINDS.iter().find(|(word, _)| starts(word)).map(|(_, kind)| *kind)
}

/// Refuses what cloud-init would not know, or could not read.
pub(super) fn check(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    bounded(text, LARGEST)?;
    match kind(text) {
        Some(Kind::Config) => read::<BTreeMap<String, IgnoredAny>>(text).map(drop),
        Some(Kind::Archive) => read::<Vec<IgnoredAny>>(text).map(drop),
        Some(Kind::Mime | Kind::Other) => Ok(()),
        None => {
            let first: String =
                text.trim_start().chars().take_while(|c| *c != '\n').take(40).collect();
            let known = "#cloud-config, #! (a script), #include, #cloud-boothook, \
                         #cloud-config-archive, #part-handler, ## template: jinja, or MIME-Version:";
            Err(Error::invalid(format!("cloud-init does not know what {first:?} begins"))
                .next(format!("begin it with one of {known}")))
        }
    }
}

/// Refuses what is not a list of keys, one a line of `authorized_keys`.
pub(super) fn check_keys(keys: &[String]) -> Result<()> {
    if keys.len() > MOST_KEYS {
        return Err(Error::invalid(format!("more than {MOST_KEYS} keys")));
    }
    for (i, key) in keys.iter().enumerate() {
        let words = key.split_whitespace().count();
        if words < 2 || key.contains(['\n', '\r', '\0']) || key.len() > LONGEST_KEY {
            return Err(Error::invalid(format!("key {} is not a public key", i + 1))
                .next("give the one line of a file such as id_ed25519.pub"));
        }
    }
    Ok(())
}

/// Reads YAML as freely as cloud-init does: of a key that is there twice, the last counts.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place =
            error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
        // Without the lines around it, which may hold a password.
        let cause = std::io::Error::other(error.without_snippet().to_string());
        Error::invalid(format!("it is not YAML that cloud-init takes{}", place.unwrap_or_default()))
            .caused_by(cause)
    })
}

pub(super) fn bounded(text: &str, most: usize) -> Result<()> {
    if text.len() > most {
        return Err(Error::invalid(format!("{} bytes are more than {most}", text.len()))
            .next("let it fetch what is large"));
    }
    if text.contains('\0') {
        return Err(Error::invalid("it holds a zero byte, so it is not text"));
    }
    Ok(())
}

/// Network configuration of the user's own: its version, bare or under `network`.
#[derive(Debug, Deserialize)]
pub(super) struct NetworkConfig {
    version: Option<u32>,
    network: Option<Box<NetworkConfig>>,
}

impl NetworkConfig {
    /// The version that is named.
    pub(super) fn version(&self) -> Option<u32> {
        self.version.or_else(|| self.network.as_ref()?.version)
    }
}
