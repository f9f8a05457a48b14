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

    /// Makes a token. Its secret is told once, here.
    pub async fn issue(&self, draft: &TokenDraft) -> Result<NewToken> {
        self.client().post(self.collection_path()).json(draft).value().await
    }
}
