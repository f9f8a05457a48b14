//! Manifests and blobs.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, StatusCode, header};
use model::Error;
use reqwest::Response;

use super::Remote;
use super::failure::Failure;
use crate::digest::Digest;
use crate::media;

/// Most pieces of a body that are joined; the network brings some 16 KiB in each.
const PIECES: usize = 64;

/// A manifest or index as it came.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub digest: Digest,
    /// As the registry calls it; empty if it does not.
    pub media_type: String,
    pub data: Bytes,
}

/// A blob on its way.
pub(crate) struct Download {
    /// Where in the blob the bytes begin: 0 if the registry would not continue.
    pub start: u64,
    pub bytes: BoxStream<'static, Result<Bytes, Failure>>,
}

impl Remote {
    /// The digest `tag` means, if the registry tells it without handing out the manifest.
    pub async fn digest_of(&self, tag: &str) -> Result<Option<Digest>, Failure> {
        let ask = self.ask(Method::HEAD, format!("manifests/{tag}"));
        let response = self.send(&ask.header(header::ACCEPT, media::ACCEPT)).await?;
        if !response.status().is_success() {
            return Err(Failure::of_answer(&self.name(), &self.what(tag), response).await);
        }
        Ok(claimed_digest(&response))
    }

    /// The manifest of `version`, a tag or a digest; at most `limit` bytes.
    pub async fn manifest(&self, version: &str, limit: u64) -> Result<Found, Failure> {
        let ask = self.ask(Method::GET, format!("manifests/{version}"));
        let response = self.send(&ask.header(header::ACCEPT, media::ACCEPT)).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::of_answer(&self.name(), &self.what(version), response).await);
        }
        let claimed = claimed_digest(&response);
        let media_type = header_text(&response, header::CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        // Some registries know no type better than JSON or bytes.
        let generic = ["application/json", "application/octet-stream", "text/plain"];
        let media_type = if generic.contains(&media_type) { "" } else { media_type }.to_owned();
        let data = bounded(response, limit as usize).await?;
        let digest = Digest::of(&data);
        let asked = Digest::parse(version).ok();
        if [claimed, asked].into_iter().flatten().any(|expected| expected != digest) {
            return Err(Failure::passing(Error::unavailable(format!(
                "{} sends a manifest of {} that does not have the digest it should",
                self.name(),
                self.what(version)
            ))));
        }
        Ok(Found { digest, media_type, data })
    }

    /// The bytes of a blob from `offset` on.
    pub async fn blob(&self, digest: &Digest, offset: u64) -> Result<Download, Failure> {
        let mut ask = self.ask(Method::GET, format!("blobs/{digest}"));
        if offset > 0 {
            ask = ask.header(header::RANGE, &format!("bytes={offset}-"));
        }
        let response = self.send(&ask).await?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(offset) => offset,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                let message = format!("{} does not send the part asked for", self.name());
                return Err(Failure::passing(Error::unavailable(message)));
            }
            _ => {
                let what = format!("blob {} of {}", digest.short(), self.repository);
                return Err(Failure::of_answer(&self.name(), &what, response).await);
            }
        };
        let name = self.name();
        let pieces = response.bytes_stream().ready_chunks(PIECES);
        let bytes = pieces.flat_map(move |pieces| futures::stream::iter(join(&name, pieces)));
        Ok(Download { start, bytes: bytes.boxed() })
    }

    fn what(&self, version: &str) -> String {
        let separator = if version.contains(':') { '@' } else { ':' };
        format!("{}{separator}{version}", self.repository)
    }
}

/// What has arrived, as one piece: a store takes few large pieces faster than many small ones.
fn join(host: &str, pieces: Vec<reqwest::Result<Bytes>>) -> Vec<Result<Bytes, Failure>> {
    let (mut joined, mut results) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        match piece {
            Ok(piece) => joined.extend_from_slice(&piece),
            Err(error) => results.push(Err(Failure::of_transport(host, error))),
        }
    }
    // What came before a break is kept.
    results.insert(0, Ok(joined.freeze()));
    results
}

/// A whole body, refused once it is over `limit` bytes.
pub(super) async fn bounded(response: Response, limit: usize) -> Result<Bytes, Failure> {
    let host = response.url().host_str().unwrap_or("the registry").to_owned();
    let mut body = response.bytes_stream();
    let mut data = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Failure::of_transport(&host, error))?;
        if data.len() + piece.len() > limit {
            let message = format!("{host} sends a document of over {limit} bytes");
            return Err(Failure::lasting(Error::invalid(message)));
        }
        data.extend_from_slice(&piece);
    }
    Ok(data.freeze())
}

fn header_text(response: &Response, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn claimed_digest(response: &Response) -> Option<Digest> {
    let name = header::HeaderName::from_static("docker-content-digest");
    Digest::parse(header_text(response, name)?).ok()
}

/// The first position of `Content-Range: bytes 5-9/10`.
fn range_start(response: &Response) -> Option<u64> {
    let text = header_text(response, header::CONTENT_RANGE)?.trim().strip_prefix("bytes")?;
    text.trim_start().split('-').next()?.trim().parse().ok()
}
