//! The distribution protocol (OCI distribution specification 1.1), as a client.
//!
//! `Registries` is what all pulls and pushes share: connections, tokens, what was learnt about hosts.
//! `Remote` is one repository at one endpoint, with the credentials to show there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::image::Reference;
use model::{Error, ErrorKind, Result};
use reqwest::{Body, Response, Url};

use crate::credentials::{CredentialFile, Credentials};
use crate::registries::Endpoint;
use crate::settings::Settings;

mod challenge;
mod clients;
mod failure;
mod fetch;
mod login;
mod retry;
mod search;
mod tags;
mod token;
mod upload;

pub(crate) use failure::Failure;
pub(crate) use fetch::Found;
pub(crate) use retry::Backoff;
pub use search::SearchHit;
pub(crate) use upload::Begun;

use clients::Clients;
use token::{Scope, Tokens};

/// Redirects followed for one request; Docker's and browsers' figures lie between 10 and 20.
const REDIRECTS: usize = 10;

/// What all transfers share.
pub(crate) struct Registries {
    pub settings: Settings,
    clients: Clients,
    tokens: Tokens,
    /// Hosts that turned out to speak plain HTTP only.
    plain: Mutex<HashMap<String, String>>,
}

/// What one request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// One repository at one endpoint.
#[derive(Clone)]
pub(crate) struct Remote {
    shared: Arc<Registries>,
    pub endpoint: Endpoint,
    pub repository: String,
    access: Access,
    credentials: Option<Credentials>,
}

/// One request to the endpoint.
struct Ask {
    method: Method,
    /// What follows `/v2/`.
    path: String,
    headers: HeaderMap,
    scopes: Vec<Scope>,
    /// Answer a challenge, rather than give it back.
    answer: bool,
}

impl Ask {
    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Registries {
    /// Nothing is connected yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        let clients = Clients::new(&settings.transfer);
        Arc::new(Self { settings, clients, tokens: Tokens::default(), plain: Mutex::default() })
    }

    /// Where the content of `reference` may be had, best first.
    pub fn remotes(
        self: &Arc<Self>,
        reference: &Reference,
        given: Option<&Credentials>,
    ) -> Result<Vec<Remote>> {
        let endpoints = self.settings.registries.now().endpoints(&reference.registry).into_iter();
        endpoints.map(|endpoint| self.remote(endpoint, reference, Access::Pull, given)).collect()
    }

    /// The repository of `reference` at the registry itself, to push to.
    pub fn target(
        self: &Arc<Self>,
        reference: &Reference,
        given: Option<&Credentials>,
    ) -> Result<Remote> {
        let endpoint = self.settings.registries.now().upstream(&reference.registry);
        self.remote(endpoint, reference, Access::Push, given)
    }

    /// Credentials given with a call are for the registry named in the call, not for its mirrors.
    fn remote(
        self: &Arc<Self>,
        endpoint: Endpoint,
        reference: &Reference,
        access: Access,
        given: Option<&Credentials>,
    ) -> Result<Remote> {
        let credentials = match given {
            Some(given) if !endpoint.mirror => Some(given.clone()),
            _ => self.kept(&endpoint.host)?,
        };
        let repository = reference.repository.clone();
        Ok(Remote { shared: self.clone(), endpoint, repository, access, credentials })
    }

    fn kept(&self, host: &str) -> Result<Option<Credentials>> {
        match &self.settings.credentials {
            Some(path) => CredentialFile::new(path).get(host),
            None => Ok(None),
        }
    }

    /// The URL to begin with: plain HTTP for hosts that were found to speak nothing else.
    fn base(&self, endpoint: &Endpoint) -> String {
        let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        plain.get(&endpoint.base).cloned().unwrap_or_else(|| endpoint.base.clone())
    }

    fn speaks_plain(&self, endpoint: &Endpoint, base: &str) {
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        plain.insert(endpoint.base.clone(), base.to_owned());
    }
}

impl Remote {
    /// How people know it: `docker.io/library/nginx`, with the mirror's address if it is one.
    pub fn name(&self) -> String {
        match self.endpoint.mirror {
            true => format!("{} (a mirror)", self.endpoint.base),
            false => self.endpoint.host.clone(),
        }
    }

    fn ask(&self, method: Method, path: String) -> Ask {
        let path = format!("{}/{path}", self.repository);
        Ask { method, path, headers: HeaderMap::new(), scopes: self.scopes(), answer: true }
    }

    /// What is asked for in its repository.
    fn scopes(&self) -> Vec<Scope> {
        vec![Scope { repository: self.repository.clone(), access: self.access }]
    }

    /// Sends a request without a body; follows redirects and answers one challenge.
    async fn send(&self, ask: &Ask) -> Result<Response, Failure> {
        let base = self.shared.base(&self.endpoint);
        let sent = self.send_to(&base, ask).await;
        let (Err(failure), Some(plain)) = (&sent, &self.endpoint.fallback) else { return sent };
        if !failure.unreachable || *plain == base {
            return sent;
        }
        let sent_plain = self.send_to(plain, ask).await;
        if sent_plain.as_ref().is_err_and(|failure| failure.unreachable) {
            return sent;
        }
        self.shared.speaks_plain(&self.endpoint, plain);
        sent_plain
    }

    async fn send_to(&self, base: &str, ask: &Ask) -> Result<Response, Failure> {
        let url = parse_url(&format!("{base}/v2/{}", ask.path))?;
        let known = self.shared.tokens.known(&self.endpoint, &ask.scopes, &self.credentials);
        let response = self.follow(url.clone(), ask, known).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !ask.answer {
            return Ok(response);
        }
        match self.authorize(&response, &ask.scopes).await? {
            Some(authorization) => self.follow(url, ask, Some(authorization)).await,
            None => Ok(response),
        }
    }

    /// The header that answers the challenge in `response`; `None` if there is nothing to show.
    async fn authorize(
        &self,
        response: &Response,
        scopes: &[Scope],
    ) -> Result<Option<HeaderValue>, Failure> {
        let client = self.client().await?;
        let tokens = &self.shared.tokens;
        tokens.answer(&client, &self.endpoint, response, scopes, &self.credentials).await
    }

    async fn client(&self) -> Result<reqwest::Client, Failure> {
        let client = self.shared.clients.get(&self.endpoint).await;
        client.map_err(Failure::lasting)
    }

    /// Sends, and follows redirects. What authorises is shown to the first origin only.
    async fn follow(
        &self,
        mut url: Url,
        ask: &Ask,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, Failure> {
        let client = self.client().await?;
        let home = url.origin();
        for _ in 0..=REDIRECTS {
            let mut request = client.request(ask.method.clone(), url.clone());
            request = request.headers(ask.headers.clone());
            if let Some(value) = authorization.clone().filter(|_| url.origin() == home) {
                request = request.header(header::AUTHORIZATION, value);
            }
            let sent = request.send().await;
            let response = sent.map_err(|error| Failure::of_transport(&self.name(), error))?;
            match self.redirect(&url, &response)? {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        let message = format!("{} redirects without end", self.name());
        Err(Failure::lasting(Error::unavailable(message)))
    }

    /// Where `response` sends us. From HTTPS to plain HTTP only where that is allowed.
    fn redirect(&self, from: &Url, response: &Response) -> Result<Option<Url>, Failure> {
        let status = response.status().as_u16();
        let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let next = location.to_str().ok().and_then(|location| from.join(location).ok());
        let allowed = |url: &Url| match url.scheme() {
            "https" => true,
            "http" => from.scheme() == "http" || self.endpoint.insecure,
            _ => false,
        };
        let refuse = || {
            let message = format!("{} redirects to a place that is not allowed", self.name());
            Failure::lasting(Error::unavailable(message))
        };
        next.filter(allowed).map(Some).ok_or_else(refuse)
    }

    /// Sends a body to `url`, which the registry gave. It may not be sent twice: no redirects, no
    /// challenge; what authorises is taken from what is known, and shown to the registry only.
    async fn send_body(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, Failure> {
        let mut request = self.client().await?.request(method, url.clone()).headers(headers);
        let home = parse_url(&self.shared.base(&self.endpoint))?;
        let known = self.shared.tokens.known(&self.endpoint, &self.scopes(), &self.credentials);
        if let Some(value) = known.filter(|_| url.origin() == home.origin()) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let sent = request.body(body).send().await;
        sent.map_err(|error| Failure::of_transport(&self.name(), error))
    }
}

fn parse_url(text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(|error| {
        let message = "the registry's address is not a URL";
        Failure::lasting(Error::new(ErrorKind::Invalid, message).caused_by(error))
    })
}
