//! Sending blobs and manifests.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::Error;
use reqwest::{Body, Response, Url};

use super::failure::Failure;
use super::token::Scope;
use super::{Access, Remote};
use crate::digest::Digest;

/// What a registry answers to the beginning of an upload.
pub(crate) enum Begun {
    /// It took the blob over from another repository.
    Mounted,
    /// Send it here.
    At(Url),
}

impl Remote {
    /// The repository has the blob already.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        let response = self.send(&self.ask(Method::HEAD, format!("blobs/{digest}"))).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused("a blob", response).await),
        }
    }

    /// Begins an upload; `from` is a repository of the same registry that has the blob.
    pub async fn begin_upload(
        &self,
        digest: &Digest,
        from: Option<&str>,
    ) -> Result<Begun, Failure> {
        let mount = from.map(|from| format!("?mount={digest}&from={from}")).unwrap_or_default();
        let mut ask = self.ask(Method::POST, format!("blobs/uploads/{mount}"));
        let repository = from.map(str::to_owned);
        let scope = repository.map(|repository| Scope { repository, access: Access::Pull });
        ask.scopes.extend(scope);
        let response = self.send(&ask.header(header::CONTENT_LENGTH, "0")).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => self.location(&response).map(Begun::At),
            _ => Err(self.refused("a blob", response).await),
        }
    }

    /// Sends all bytes of a blob to where [`Remote::begin_upload`] said.
    pub async fn upload(
        &self,
        mut url: Url,
        digest: &Digest,
        size: u64,
        body: Body,
    ) -> Result<(), Failure> {
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let response = self.send_body(Method::PUT, url, headers, body).await?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(self.refused("a blob", response).await),
        }
    }

    /// Puts a manifest or index under `version`, a tag or its digest.
    pub async fn put_manifest(
        &self,
        version: &str,
        media_type: &str,
        data: Bytes,
    ) -> Result<(), Failure> {
        let base = self.shared.base(&self.endpoint);
        let url = format!("{base}/v2/{}/manifests/{version}", self.repository);
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(media_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        let url = super::parse_url(&url)?;
        let put = || self.send_body(Method::PUT, url.clone(), headers.clone(), data.clone().into());
        let mut response = put().await?;
        // What was shown before the blobs were sent may have expired meanwhile.
        if response.status() == StatusCode::UNAUTHORIZED
            && self.authorize(&response, &self.scopes()).await?.is_some()
        {
            response = put().await?;
        }
        match response.status().is_success() {
            true => Ok(()),
            false => Err(self.refused("the manifest", response).await),
        }
    }

    async fn refused(&self, what: &str, response: Response) -> Failure {
        let denied = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let name = self.name();
        let asked = format!("{what} of {}", self.repository);
        let failure = Failure::of_answer(&name, &asked, response).await;
        if !denied {
            return failure;
        }
        let message = format!("{name} does not let this caller push to {}", self.repository);
        let step = format!("log in as someone who may push there: hull image login {name}");
        Failure::lasting(Error::forbidden(message).next(step).caused_by(failure.error))
    }

    fn location(&self, response: &Response) -> Result<Url, Failure> {
        let location = response.headers().get(header::LOCATION).and_then(|text| text.to_str().ok());
        let url = location.and_then(|location| response.url().join(location).ok());
        url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            let message = format!("{} does not say where to send a blob", self.name());
            Failure::lasting(Error::unavailable(message))
        })
    }
}
