//! Identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An object's identity for as long as it exists: 64 lower-case hexadecimal digits (256 random
/// bits), the form Docker's clients expect. A name can change and be used again; this cannot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "3f1c…64 hexadecimal digits")]
pub struct Uid(String);

impl Uid {
    /// Digits of the short form shown in tables and used in names of host objects.
    pub const SHORT: usize = 12;
    const DIGITS: usize = 64;

    /// The identity made of these 32 bytes. The caller supplies randomness, so that tests own it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(hex::encode(bytes))
    }

    /// A new random identity.
    pub fn random() -> Self {
        Self::from_bytes(rand::random())
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first [`Uid::SHORT`] digits.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT]
    }
}

impl FromStr for Uid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == Self::DIGITS && text.bytes().all(digits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!("{text:?} is not an id of 64 hexadecimal digits")))
        }
    }
}

impl TryFrom<String> for Uid {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}
