//! Users: as other nouns, with a password that is set by itself; and the audit log of what they did.

use std::ops::Deref;

use audit::Entry;
use link::ResultStream;
use model::Result;
use model::user::{User, UserNoun};

use crate::Client;
use crate::objects::Objects;
use crate::wire::{AuditQuery, PasswordRequest};

/// Users.
#[derive(Debug, Clone)]
pub struct Users {
    objects: Objects<UserNoun>,
}

impl Deref for Users {
    type Target = Objects<UserNoun>;

    fn deref(&self) -> &Objects<UserNoun> {
        &self.objects
    }
}

impl Users {
    pub(crate) fn new(client: Client) -> Self {
        Self { objects: Objects::of_cluster(client) }
    }

    /// Sets a user's password. Whoever signed in with the one before is signed out.
    pub async fn set_password(&self, name: &str, request: &PasswordRequest) -> Result<User> {
        self.client()
            .call(http::Method::PUT, format!("{}/password", self.object_path(name)))
            .json(request)
            .value()
            .await
    }

    /// What was asked of the node that answers, the newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<ResultStream<Entry>> {
        self.client().get("/v1/audit").query(query).lines().await
    }
}
