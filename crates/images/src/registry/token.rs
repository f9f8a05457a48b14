//! Tokens (distribution, `docs/spec/auth/token.md` and `oauth.md`): got from the realm that a
//! registry names, kept in memory until they expire.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, StatusCode, header};
use model::{Error, ErrorKind};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::failure::Failure;
use super::{Access, fetch};
use crate::credentials::Credentials;
use crate::registries::Endpoint;

/// Bytes of a realm's answer. Tokens of large organisations reach some ten thousand.
const ANSWER: usize = 1 << 20;
/// How long a token holds whose realm does not say (token.md: 60 s), less a margin for the way.
const DEFAULT_LIFE: u64 = 60;
const MARGIN: u64 = 10;
const CLIENT_ID: &str = "hull";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub repository: String,
    pub access: Access,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        write!(f, "repository:{}:{actions}", self.repository)
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    base: String,
    scopes: Vec<Scope>,
    credentials: Option<Credentials>,
}

struct Kept {
    authorization: HeaderValue,
    until: Option<Instant>,
}

/// What to show to whom.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Key, Kept>>);

/// A realm's answer.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    /// An identity token, if one was asked for.
    pub refresh_token: Option<String>,
    expires_in: Option<u64>,
}

/// Where and as what a token is asked for.
pub(super) struct Realm<'a> {
    pub url: &'a str,
    pub service: Option<&'a str>,
    pub scopes: Vec<String>,
    /// Ask for an identity token too.
    pub offline: bool,
}

impl Tokens {
    /// What was shown before with success, if it still holds.
    pub fn known(
        &self,
        endpoint: &Endpoint,
        scopes: &[Scope],
        credentials: &Option<Credentials>,
    ) -> Option<HeaderValue> {
        if let Some(Credentials::Bearer { token }) = credentials {
            return bearer(token);
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(&key(endpoint, scopes, credentials))?;
        let holds = kept.until.is_none_or(|until| Instant::now() < until);
        holds.then(|| kept.authorization.clone())
    }

    /// What answers the challenge in `response`; `None` if there is nothing (new) to show.
    pub async fn answer(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        response: &Response,
        scopes: &[Scope],
        credentials: &Option<Credentials>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let kept = match (Challenge::of(response.headers()), credentials) {
            (_, Some(Credentials::Bearer { .. })) | (None, _) => return Ok(None),
            (Some(Challenge::Basic), Some(Credentials::Basic { user, password })) => {
                Kept { authorization: basic(user, password)?, until: None }
            }
            (Some(Challenge::Basic), _) => return Ok(None),
            (Some(Challenge::Bearer { realm, service, scope }), credentials) => {
                let mut asked: Vec<String> = scopes.iter().map(Scope::to_string).collect();
                asked.extend(scope.filter(|_| scopes.is_empty()));
                let service = service.as_deref();
                let realm = Realm { url: &realm, service, scopes: asked, offline: false };
                let granted = realm.ask(client, response.url(), credentials.as_ref()).await?;
                granted.keep(&endpoint.host)?
            }
        };
        let authorization = kept.authorization.clone();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| kept.until.is_none_or(|until| Instant::now() < until));
        all.insert(key(endpoint, scopes, credentials), kept);
        Ok(Some(authorization))
    }
}

fn key(endpoint: &Endpoint, scopes: &[Scope], credentials: &Option<Credentials>) -> Key {
    Key { base: endpoint.base.clone(), scopes: scopes.to_vec(), credentials: credentials.clone() }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    let encoded = BASE64.encode(format!("{user}:{password}"));
    let value = HeaderValue::from_str(&format!("Basic {encoded}"));
    let mut value =
        value.map_err(|_| Failure::lasting(Error::internal("base64 fits no header")))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Realm<'_> {
    /// Asks for a token, showing `credentials` if there are any. `registry` is who sent us.
    pub async fn ask(
        &self,
        client: &Client,
        registry: &Url,
        credentials: Option<&Credentials>,
    ) -> Result<Granted, Failure> {
        let host = registry.host_str().unwrap_or("the registry");
        let url = self.url(registry, credentials.is_some())?;
        let realm = url.host_str().unwrap_or("its realm").to_owned();
        let request = self.request(client, url, credentials)?;
        let sent = request.header(header::ACCEPT, "application/json").send().await;
        let response = sent.map_err(|error| Failure::of_transport(&realm, error))?;
        match response.status() {
            StatusCode::OK => {
                let body = fetch::bounded(response, ANSWER).await?;
                // The cause is left out: serde quotes what it read, which may be a token.
                serde_json::from_slice(&body).map_err(|_| no_token(host))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST
                if credentials.is_some() =>
            {
                Err(Failure::lasting(refused(host)))
            }
            _ => Err(Failure::of_answer(&realm, &format!("a token for {host}"), response).await),
        }
    }

    /// A registry that is reached over TLS cannot have credentials sent in the clear.
    fn url(&self, registry: &Url, secret: bool) -> Result<Url, Failure> {
        let url = Url::parse(self.url).ok();
        let allowed = |url: &Url| match url.scheme() {
            "https" => true,
            "http" => registry.scheme() == "http" || !secret,
            _ => false,
        };
        url.filter(allowed).ok_or_else(|| {
            let host = registry.host_str().unwrap_or("the registry");
            let message = format!("{host} sends for tokens to a place that is not allowed");
            Failure::lasting(Error::unavailable(message))
        })
    }

    fn request(
        &self,
        client: &Client,
        mut url: Url,
        credentials: Option<&Credentials>,
    ) -> Result<RequestBuilder, Failure> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(self.service.map(|service| ("service", service)));
        if let Some(Credentials::Identity { token }) = credentials {
            let scope = self.scopes.join(" ");
            fields.extend([("grant_type", "refresh_token"), ("client_id", CLIENT_ID)]);
            fields.extend([("refresh_token", &**token), ("scope", &*scope)]);
            let form = form(&url, &fields);
            let form_type = "application/x-www-form-urlencoded";
            return Ok(client.post(url).header(header::CONTENT_TYPE, form_type).body(form));
        }
        fields.extend(self.scopes.iter().map(|scope| ("scope", &**scope)));
        if self.offline {
            fields.extend([("offline_token", "true"), ("client_id", CLIENT_ID)]);
        }
        let Some(Credentials::Basic { user, password }) = credentials else {
            url.query_pairs_mut().extend_pairs(fields);
            return Ok(client.get(url));
        };
        fields.push(("account", user));
        url.query_pairs_mut().extend_pairs(fields);
        Ok(client.get(url).header(header::AUTHORIZATION, basic(user, password)?))
    }
}

/// The fields as a form: what a URL's query is, without the URL.
fn form(url: &Url, fields: &[(&str, &str)]) -> String {
    let mut scratch = url.clone();
    scratch.set_query(None);
    scratch.query_pairs_mut().extend_pairs(fields);
    scratch.query().unwrap_or_default().to_owned()
}

pub(super) fn refused(host: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, format!("{host} refuses the credentials"))
        .next(format!("log in again: hull image login {host}"))
}

fn no_token(host: &str) -> Failure {
    Failure::lasting(Error::unavailable(format!("{host} sends for tokens to what gives none")))
}

impl Granted {
    fn keep(self, host: &str) -> Result<Kept, Failure> {
        let token = self.token.or(self.access_token).filter(|token| !token.is_empty());
        let authorization = token.and_then(|token| bearer(&token)).ok_or_else(|| no_token(host))?;
        let life = self.expires_in.unwrap_or(DEFAULT_LIFE).max(DEFAULT_LIFE) - MARGIN;
        let until = Instant::now().checked_add(Duration::from_secs(life));
        Ok(Kept { authorization, until })
    }
}
