//! Secret: data that its instances read, and nobody else.
//!
//! A secret does not change: a new value is a new secret, and whoever used the old one is changed to it.
//! So what an instance reads at a restart is what it read before, and going back is going back.

use serde::{Deserialize, Serialize};

use crate::data::{Data, Sealed};
use crate::error::{Error, Result};
use crate::object::{Kind, Noun, Object};

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretNoun;

/// A secret.
pub type Secret = Object<SecretNoun>;

/// What a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretSpec {
    /// The value; given when it is made, and never shown.
    #[serde(skip_serializing_if = "Data::is_empty")]
    pub data: Data,
    /// How many bytes the value has; written by control.
    pub size: u64,
    /// The value as it is kept; written by control and never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
}

/// What was seen of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretStatus {
    /// Names of the services that read it, and of the instances that are of none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

impl SecretSpec {
    /// A secret of this value.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { data: Data::new(value), ..Self::default() }
    }
}

impl Noun for SecretNoun {
    const KIND: Kind = Kind::Secret;
    const IN_PROJECT: bool = true;
    type Spec = SecretSpec;
    type Status = SecretStatus;

    fn validate(spec: &SecretSpec) -> Result<()> {
        if spec.sealed.is_none() && spec.data.is_empty() {
            return Err(Error::invalid("a secret has a value").at("data"));
        }
        spec.data.check_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::MOST_BYTES;

    #[test]
    fn a_value_is_there_and_bounded() {
        let check = |len: usize| SecretNoun::validate(&SecretSpec::new(vec![7; len]));
        assert!(check(1).is_ok() && check(MOST_BYTES).is_ok());
        for bad in [0, MOST_BYTES + 1] {
            assert_eq!(check(bad).unwrap_err().field(), Some("data"));
        }
    }
}
