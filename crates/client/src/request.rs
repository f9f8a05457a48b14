//! One request and its answer.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH, TE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use link::{ByteStream, ResultStream};
use model::error::Context;
use model::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{cut_off, from_answer, no_answer};
use crate::upload::{Body, streamed, whole};
use crate::wire::{MERGE_PATCH, NDJSON};
use crate::{Client, download};

/// An answer that is read whole and is longer than this is refused, in bytes.
const MAX_ANSWER: usize = 512 << 20;
/// A problem document that is longer than this is cut off, in bytes.
const MAX_PROBLEM: usize = 1 << 20;

/// What is left as it is in a path's segment (RFC 3986, section 2.3).
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path's segment that means `name`, whatever characters it has.
pub(crate) fn segment(name: &str) -> String {
    match name {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(name, &SEGMENT).to_string(),
    }
}

/// A request that is being put together. A fault found on the way is told when it is sent.
pub(crate) struct Call {
    client: Client,
    path: String,
    request: http::request::Builder,
    body: Body,
    fault: Option<Error>,
}

impl Client {
    pub(crate) fn call(&self, method: Method, path: impl Into<String>) -> Call {
        let mut request = Request::builder().method(method).header(TE, "trailers");
        if let Some(value) = &self.inner.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let (client, path) = (self.clone(), path.into());
        Call { client, path, request, body: whole(Bytes::new()), fault: None }
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> Call {
        self.call(Method::POST, path)
    }
}

impl Call {
    /// Adds parameters.
    pub(crate) fn query(mut self, query: &impl Serialize) -> Self {
        match serde_urlencoded::to_string(query) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                let mark = if self.path.contains('?') { '&' } else { '?' };
                self.path = format!("{}{mark}{text}", self.path);
            }
            Err(error) => {
                self.fault = Some(Error::internal("a query cannot be written").caused_by(error));
            }
        }
        self
    }

    /// Adds `plan=true` if it is one.
    pub(crate) fn plan(self, plan: bool) -> Self {
        self.query(&crate::wire::PlanQuery { plan })
    }

    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Only if the object is still at this revision.
    pub(crate) fn if_revision(mut self, revision: Option<u64>) -> Self {
        if let Some(revision) = revision {
            self.request = self.request.header(IF_MATCH, format!("\"{revision}\""));
        }
        self
    }

    pub(crate) fn json(self, value: &impl Serialize) -> Self {
        self.content("application/json", value)
    }

    pub(crate) fn merge_patch(self, patch: &serde_json::Value) -> Self {
        self.content(MERGE_PATCH, patch)
    }

    fn content(mut self, media_type: &'static str, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => {
                self.request = self.request.header(CONTENT_TYPE, media_type);
                self.body = whole(bytes);
            }
            Err(error) => {
                self.fault = Some(Error::internal("a body cannot be written").caused_by(error));
            }
        }
        self
    }

    pub(crate) fn upload(mut self, media_type: &'static str, bytes: ByteStream) -> Self {
        self.request = self.request.header(CONTENT_TYPE, media_type);
        self.body = streamed(bytes);
        self
    }

    /// Sends it. An answer that is not a success (or a switch of protocols) is an error.
    pub(crate) async fn send(self) -> Result<Response<Incoming>> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let inner = &self.client.inner;
        let base = inner.base.to_string();
        let request = self
            .request
            .uri(format!("{}{}", base.trim_end_matches('/'), self.path))
            .body(self.body)
            .context(ErrorKind::Invalid, || format!("{} is not a path", self.path))?;
        let answer = inner.http.request(request).await;
        let answer = answer.map_err(|error| no_answer(&inner.host, error))?;
        let status = answer.status();
        if status.is_success() || status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let body = Limited::new(answer.into_body(), MAX_PROBLEM).collect().await;
        Err(from_answer(status, &body.map(|body| body.to_bytes()).unwrap_or_default()))
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn bytes(self) -> Result<Bytes> {
        let host = self.client.inner.host.clone();
        let body = Limited::new(self.send().await?.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| cut_off(&host, error))?.to_bytes())
    }

    /// Sends it and reads the answer as JSON.
    pub(crate) async fn value<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .context(ErrorKind::Internal, || "the server's answer cannot be read".into())
    }

    /// Sends it; the answer says nothing but that it was done.
    pub(crate) async fn done(self) -> Result<()> {
        self.bytes().await.map(drop)
    }

    /// Sends it and reads the answer as JSON values, one a line.
    pub(crate) async fn lines<T>(self) -> Result<ResultStream<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let host = self.client.inner.host.clone();
        let call = self.header(ACCEPT.as_str(), HeaderValue::from_static(NDJSON));
        Ok(download::lines(host, call.send().await?.into_body()))
    }

    /// Sends it and reads the answer as bytes.
    pub(crate) async fn stream(self) -> Result<(http::HeaderMap, ByteStream)> {
        let host = self.client.inner.host.clone();
        let (head, body) = self.send().await?.into_parts();
        Ok((head.headers, download::bytes(host, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_escapes_its_segment() {
        for (name, written) in [
            ("web-1.2_x", "web-1.2_x"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("..", "%2E%2E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(segment(name), written);
        }
    }
}
