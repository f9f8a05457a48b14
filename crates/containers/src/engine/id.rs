//! Names the engine knows things by.

use std::fmt;
use std::str::FromStr;

use model::{Error, Result};
use serde::{Deserialize, Serialize};

/// Longest identifier containerd takes (`identifiers.maxLength`).
const LONGEST: usize = 76;

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes letters, digits and, between them, single `.`, `_`, `-`; 76 bytes at most.
            pub fn parse(text: &str) -> Result<Self> {
                check(text).map(|()| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    )*};
}

identifiers! {
    /// A container's name in the engine.
    ContainerId,
    /// A further process's name, unique in its container.
    ExecId,
}

fn check(text: &str) -> Result<()> {
    let words = text.split(['.', '_', '-']);
    let sound = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric());
    if text.len() <= LONGEST && words.into_iter().all(sound) {
        return Ok(());
    }
    Err(Error::invalid(format!("{text:?} is not a name the container engine takes"))
        .next("use letters and digits with single '.', '_' or '-' between them, 76 at most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containerd_takes() {
        for good in ["a", "web-1.main", "A_b", &"x".repeat(76)] {
            assert!(ContainerId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "a/b", "..", "ä", &"x".repeat(77)] {
            assert!(ContainerId::parse(bad).is_err(), "{bad}");
        }
    }
}
