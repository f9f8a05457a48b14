//! The tags of a repository.

use http::{Method, StatusCode};
use model::Error;
use serde::Deserialize;

use super::failure::Failure;
use super::{Remote, fetch};

/// Tags asked for at once.
const PAGE: usize = 1000;
/// Bytes of one answer: so many tags of the longest kind.
const ANSWER: usize = 256 << 10;
/// Most that are taken in.
const MOST: usize = 20_000;

#[derive(Deserialize)]
struct Answer {
    tags: Option<Vec<String>>,
}

impl Remote {
    /// All tags of the repository.
    pub async fn tags(&self) -> Result<Vec<String>, Failure> {
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().map(|tag| format!("&last={tag}")).unwrap_or_default();
            let ask = self.ask(Method::GET, format!("tags/list?n={PAGE}{last}"));
            let response = self.send(&ask).await?;
            if response.status() != StatusCode::OK {
                return Err(Failure::of_answer(&self.name(), &self.repository, response).await);
            }
            let more = response.headers().contains_key(http::header::LINK);
            let body = fetch::bounded(response, ANSWER).await?;
            let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
                let message = format!("{} lists no tags", self.name());
                Failure::lasting(Error::unavailable(message).caused_by(error))
            })?;
            let page = answer.tags.unwrap_or_default();
            let end = !more || page.is_empty();
            tags.extend(page);
            if tags.len() > MOST {
                let message = format!("{} has over {MOST} tags", self.repository);
                return Err(Failure::lasting(Error::invalid(message)));
            }
            if end {
                return Ok(tags);
            }
        }
    }
}
