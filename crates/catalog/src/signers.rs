//! Who may have signed the commit that a catalog is read from: keys of SSH, as `ssh-keygen` prints them
//! (`id_ed25519.pub`) or lists them (`allowed_signers`, see ssh-keygen(1)).
//!
//! A signature is the one that `git commit -S` makes with `gpg.format=ssh`: OpenSSH's SSHSIG in the namespace
//! `git` (<https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig>).

mod signature;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::catalog::is_ssh_key;
use model::{Error, Result};

pub use self::signature::Fault;
use self::wire::Reader;

/// Most keys.
const MOST: usize = 100;

/// Keys of those who may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers(Vec<Vec<u8>>);

impl Signers {
    /// Reads a list: one key a line, empty lines and those that begin with `#` passed over.
    ///
    /// # Errors
    /// `Invalid` for what is no key, for options whose meaning is not known here, and for a list without keys.
    pub fn read(text: &str) -> Result<Self> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |why: String| {
                Error::invalid(format!("line {} of the keys {why}", number + 1)).at("keys").next(
                    "give public keys of SSH, one a line, as in ~/.ssh/id_ed25519.pub or a list of \
                     allowed signers",
                )
            };
            keys.extend(key(line).map_err(refused)?);
            if keys.len() > MOST {
                return Err(Error::invalid(format!("there are more than {MOST} keys")).at("keys"));
            }
        }
        match keys.is_empty() {
            true => Err(Error::invalid("there is no key that may sign commits").at("keys")),
            false => Ok(Self(keys)),
        }
    }

    /// Whether one of them made this signature of these bytes.
    ///
    /// # Errors
    /// Why it is not so.
    pub fn check(&self, signature: &str, of: &[u8]) -> std::result::Result<(), Fault> {
        signature::check(signature, of, &self.0)
    }
}

/// The key of a line, as it stands in signatures; none for one that is for other things than git.
fn key(line: &str) -> std::result::Result<Option<Vec<u8>>, String> {
    let words = parts(line, char::is_whitespace);
    // The principals come first, unless it is a key alone; options may stand between them.
    let at = words.iter().take(3).position(|it| is_ssh_key(it));
    let at = at.ok_or("is no public key of SSH")?;
    let mut here = true;
    let options = words.get(1..at).unwrap_or_default();
    for option in options.iter().flat_map(|it| parts(it, |c| c == ',')) {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => here = value.trim_matches('"').split(',').any(|it| it == "git"),
            _ => return Err(format!("has the option {name:?}, which is not served")),
        }
    }
    let text = words.get(at + 1).ok_or("has no key")?;
    let blob = STANDARD.decode(text).map_err(|_| "has a key that is not in base64")?;
    if Reader::new(&blob).text() != Some(words[at].as_str()) {
        return Err("has a key of another sort than it says".to_owned());
    }
    Ok(here.then_some(blob))
}

/// What such characters part, unless they are in quotes.
fn parts(text: &str, ends: impl Fn(char) -> bool) -> Vec<String> {
    let mut quoted = false;
    let parted = text.split(|c| {
        quoted ^= c == '"';
        !quoted && ends(c)
    });
    parted.filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKIVzR9xEUmO4mKEQeTrOAWHeNIkFGE2oGb8Vd2mQlXN";

    #[test]
    fn lists_of_keys() {
        let count = |text: &str| Signers::read(text).map(|it| it.0.len());
        for (text, keys) in [
            (format!("{KEY}\n"), 1),
            (format!("# ours\n\n{KEY} me@example.org\n* {KEY}\n"), 2),
            (format!("a@example.org,b@example.org namespaces=\"file,git\" {KEY} c"), 1),
            (format!("\"a b\" {KEY}\na namespaces=\"file\" {KEY}"), 1),
        ] {
            assert_eq!(count(&text).unwrap(), keys, "{text}");
        }
        for (text, why) in [
            (String::new(), "no key"),
            (format!("a namespaces=\"file\" {KEY}"), "no key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "line 1 of the keys is no public"),
            (format!("a cert-authority {KEY}"), "cert-authority"),
            (format!("a valid-before=\"20200101\" {KEY}"), "valid-before"),
            ("ssh-ed25519".to_owned(), "has no key"),
            ("ssh-ed25519 *".to_owned(), "base64"),
            (KEY.replace("ssh-ed25519", "ssh-rsa"), "another sort"),
            (format!("{KEY}\n").repeat(MOST + 1), "more than"),
        ] {
            let error = Signers::read(&text).unwrap_err();
            assert!(error.message().contains(why), "{text}: {}", error.message());
            assert_eq!(error.field(), Some("keys"));
        }
    }
}
