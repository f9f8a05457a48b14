//! Login: are these credentials good?

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use model::Result;

use super::challenge::Challenge;
use super::failure::Failure;
use super::token::{Realm, refused};
use super::{Access, Ask, Registries, Remote};
use crate::credentials::Credentials;

impl Registries {
    /// Shows `credentials` to `registry`. Gives back what is to be kept: an identity token if the
    /// registry hands one out, else what was shown.
    pub async fn verify(
        self: &Arc<Self>,
        registry: &str,
        credentials: Credentials,
    ) -> Result<Credentials> {
        let remote = Remote {
            shared: self.clone(),
            endpoint: self.settings.registries.now().upstream(registry),
            repository: String::new(),
            access: Access::Pull,
            credentials: Some(credentials.clone()),
        };
        remote.verify(credentials).await.map_err(|failure| failure.error)
    }
}

impl Remote {
    async fn verify(&self, credentials: Credentials) -> Result<Credentials, Failure> {
        // Asked without credentials first: a registry that is open to all would take any.
        let challenge = self.send(&ping(false)).await?;
        let Some(Challenge::Bearer { realm, service, scope }) = Challenge::of(challenge.headers())
        else {
            return self.shown().await.map(|()| credentials);
        };
        let service = service.as_deref();
        let scopes = scope.into_iter().collect();
        let realm = Realm { url: &realm, service, scopes, offline: true };
        let client = self.client().await?;
        let granted = realm.ask(&client, challenge.url(), Some(&credentials)).await?;
        self.shown().await?;
        Ok(match granted.refresh_token.filter(|token| !token.is_empty()) {
            Some(token) => Credentials::Identity { token },
            None => credentials,
        })
    }

    /// The registry takes the credentials.
    async fn shown(&self) -> Result<(), Failure> {
        let response = self.send(&ping(true)).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Failure::lasting(refused(&self.endpoint.host)))
            }
            _ => {
                let what = format!("the registry {}", self.endpoint.host);
                Err(Failure::of_answer(&self.name(), &what, response).await)
            }
        }
    }
}

/// The question every registry answers, if it knows who asks.
fn ping(answer: bool) -> Ask {
    let (path, headers, scopes) = (String::new(), HeaderMap::new(), Vec::new());
    Ask { method: Method::GET, path, headers, scopes, answer }
}
