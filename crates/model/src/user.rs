//! User: somebody who signs in with a password, or shows tokens of theirs.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::object::{Kind, Noun, Object};
use crate::role::{Grant, check_grants};

/// Fewest characters of a password (NIST SP 800-63B, section 3.1.1.2).
pub const LEAST_PASSWORD: usize = 8;
/// Most bytes of a password: more make hashing it a way to keep a node busy.
pub const MOST_PASSWORD: usize = 1024;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserNoun;

/// A user.
pub type User = Object<UserNoun>;

/// What a user is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserSpec {
    /// For people: a full name, an address.
    pub description: String,
    /// What they may do; nothing when empty.
    pub roles: Vec<Grant>,
    /// They may do nothing for now, by password or token.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The password's hash in the PHC string format; empty until one is set. Written by control and never shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
}

/// What was seen of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserStatus {
    /// They can sign in with a password.
    pub has_password: bool,
}

impl Noun for UserNoun {
    const KIND: Kind = Kind::User;
    const IN_PROJECT: bool = false;
    type Spec = UserSpec;
    type Status = UserStatus;

    fn validate(spec: &UserSpec) -> Result<()> {
        check_grants(&spec.roles)
    }
}

/// Refuses a password that is too short to be one, or too long to be hashed.
///
/// # Errors
/// `Invalid`.
pub fn check_password(password: &str) -> Result<()> {
    if password.chars().count() < LEAST_PASSWORD {
        return Err(Error::invalid(format!(
            "the password has fewer than {LEAST_PASSWORD} characters"
        ))
        .at("password")
        .next("take a longer one; several words make a good one"));
    }
    if password.len() > MOST_PASSWORD {
        return Err(Error::invalid(format!("the password has more than {MOST_PASSWORD} bytes"))
            .at("password"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_a_length() {
        let cases = [("", false), ("1234567", false), ("12345678", true), ("ñandúes!", true)];
        for (password, good) in cases {
            assert_eq!(check_password(password).is_ok(), good, "{password}");
        }
        assert!(check_password(&"x".repeat(MOST_PASSWORD + 1)).is_err());
    }
}
