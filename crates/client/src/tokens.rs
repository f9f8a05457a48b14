//! Tokens: as other nouns, but created with a secret.

use std::ops::Deref;

use model::Result;
use model::token::TokenNoun;

use crate::Client;
use crate::objects::Objects;
use crate::wire::{NewToken, TokenDraft};

/// Tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    objects: Objects<TokenNoun>,
}

impl Deref for Tokens {
    type Target = Objects<TokenNoun>;

    fn deref(&self) -> &Objects<TokenNoun> {
        &self.objects
    }
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Self {
        Self { objects: Objects::of_cluster(client) }
    }

    /// Makes a token. Its secret is told once, here. With `plan` nothing is made, and the secret is
    /// empty.
    pub async fn issue(&self, draft: &TokenDraft, plan: bool) -> Result<NewToken> {
        self.client().post(self.collection_path()).plan(plan).json(draft).value().await
    }

    /// Gives a token another secret; the old one is worth nothing from then on.
    pub async fn renew(&self, name: &str) -> Result<NewToken> {
        self.client().post(format!("{}/renew", self.object_path(name))).value().await
    }
}
