//! Making a token.

use model::Time;
use model::role::Grant;
use model::token::Token;
use serde::{Deserialize, Serialize};

/// A token to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = TokenRequest)]
pub struct TokenDraft {
    /// Its name; one is invented when empty.
    pub name: String,
    /// For people.
    pub description: String,
    /// The user whose it is: it is worth at most what they may do. Nobody's when empty, if an admin asks for it; the
    /// caller's else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What it is worth at most; everything that its user may do, or everything, when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Grant>,
    /// It is worth nothing after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// A browser that is signed in. Its cookie is in no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// The name of the user, or of the token that it was signed in with.
    pub name: String,
    /// The user of the platform that this is; none for a token that is nobody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Whether they may do everything.
    #[serde(default)]
    pub admin: bool,
    /// What they may do, where not everything: what each of these lists allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Vec<Grant>>,
    /// What each request has to show beside the cookie: in the header `Hull-Csrf`, a WebSocket by naming the
    /// sub-protocol `v1.csrf.hull.` with it behind. Told once, when the browser signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
    /// It is signed out by itself then.
    pub expires: Time,
}

/// A token that was made. The secret is in no other answer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    /// The record.
    pub token: Token,
    /// What the caller sends: `hull_…`.
    pub secret: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("token", &self.token).finish_non_exhaustive()
    }
}
