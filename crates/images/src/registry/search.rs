//! Search, as Docker Hub and registries that took it over from Docker's first protocol have it
//! (`GET /v1/search`).

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use model::{Error, Result};
use reqwest::Response;
use serde::Deserialize;

use super::failure::Failure;
use super::{Access, Ask, Registries, Remote, fetch, parse_url};
use crate::credentials::Credentials;

/// Bytes of an answer: 100 results with long descriptions.
const ANSWER: usize = 4 << 20;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SearchHit {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// People who like it.
    pub star_count: i64,
    /// It is one of Docker's own.
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<SearchHit>,
}

impl Registries {
    /// Asks `registry` for repositories that fit `term`.
    pub async fn search(
        self: &Arc<Self>,
        registry: &str,
        term: &str,
        limit: u32,
        credentials: Option<Credentials>,
    ) -> Result<Vec<SearchHit>> {
        let mut endpoint = self.settings.registries.now().upstream(registry);
        if registry == "docker.io" {
            endpoint.base = "https://index.docker.io".to_owned();
        }
        let credentials = match credentials {
            Some(given) => Some(given),
            None => self.kept(registry)?,
        };
        let remote = Remote {
            shared: self.clone(),
            endpoint,
            repository: String::new(),
            access: Access::Pull,
            credentials,
        };
        let found = remote.search(term, limit).await.map_err(|failure| failure.error)?;
        Ok(found.into_iter().take(limit as usize).collect())
    }
}

impl Remote {
    async fn search(&self, term: &str, limit: u32) -> Result<Vec<SearchHit>, Failure> {
        let base = self.shared.base(&self.endpoint);
        let mut sent = self.ask_search(&base, term, limit).await;
        if let (Err(failure), Some(plain)) = (&sent, &self.endpoint.fallback)
            && failure.unreachable
        {
            sent = self.ask_search(plain, term, limit).await;
        }
        let response = sent?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let message = format!("the registry {} has no search", self.endpoint.host);
                return Err(Failure::lasting(Error::unsupported(message)));
            }
            _ => {
                let what = format!("the search of {}", self.endpoint.host);
                return Err(Failure::of_answer(&self.name(), &what, response).await);
            }
        }
        let body = fetch::bounded(response, ANSWER).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
            let message = format!("{} answers a search with no results", self.endpoint.host);
            Failure::lasting(Error::unavailable(message).caused_by(error))
        })?;
        Ok(answer.results)
    }

    async fn ask_search(&self, base: &str, term: &str, limit: u32) -> Result<Response, Failure> {
        let mut url = parse_url(&format!("{base}/v1/search"))?;
        url.query_pairs_mut().append_pair("q", term).append_pair("n", &limit.to_string());
        let (path, headers, scopes) = (String::new(), HeaderMap::new(), Vec::new());
        let ask = Ask { method: Method::GET, path, headers, scopes, answer: true };
        let known = self.shared.tokens.known(&self.endpoint, &ask.scopes, &self.credentials);
        let response = self.follow(url.clone(), &ask, known).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.authorize(&response, &ask.scopes).await? {
            Some(authorization) => self.follow(url, &ask, Some(authorization)).await,
            None => Ok(response),
        }
    }
}
