//! Users' passwords, and signing in with one.

use model::Time;
use serde::{Deserialize, Serialize};

/// A password that is to be a user's.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password from now on.
    pub password: String,
    /// The one until now; needed from a user who changes their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
}

/// Who signs in, and what proves it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SignInRequest {
    /// The user's name.
    pub name: String,
    /// Their password.
    pub password: String,
}

/// Which entries of the audit log are wanted. The answer is one entry a line, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AuditQuery {
    /// Nothing older (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only what is older than this (RFC 3339): the time of the last entry of a page asks for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Time>,
    /// Of this token or user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Whose path has this in it: `/instances/web`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Only what was refused, or failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// At most so many; 200 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl std::fmt::Debug for PasswordRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordRequest")
    }
}

impl std::fmt::Debug for SignInRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInRequest").field("name", &self.name).finish_non_exhaustive()
    }
}
