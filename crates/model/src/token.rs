//! Token: a credential. Only a hash of it is kept.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::object::{Kind, Noun, Object};
use crate::role::{Grant, check_grants};
use crate::time::Time;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenNoun;

/// A token.
pub type Token = Object<TokenNoun>;

/// What a token is. Its secret has the form `hull_<id>_<64 hex digits>` and is shown once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenSpec {
    /// For people.
    pub description: String,
    /// SHA-256 of the secret in hexadecimal; enough, as the secret has 256 random bits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// The user who shows it: it is worth at most what they may do, and nothing when they are gone. Empty: nobody in
    /// particular, as for programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What it is worth at most; everything when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Grant>,
    /// It is worth nothing after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// What was seen of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenStatus {}

impl Noun for TokenNoun {
    const KIND: Kind = Kind::Token;
    const IN_PROJECT: bool = false;
    type Spec = TokenSpec;
    type Status = TokenStatus;

    fn validate(spec: &TokenSpec) -> Result<()> {
        check_grants(&spec.roles)
    }
}
