//! An archive that is fetched by its address.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::address::without_login;
use model::{Error, ErrorKind, Result};
use reqwest::StatusCode;

/// Time for a connection to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// No byte for this long: the other end is gone.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes that are taken at most; the archive has bounds of its own.
const LARGEST: u64 = 64 << 30;

/// Fetches what is at an address. Redirects are followed, ten at most.
///
/// # Errors
/// `Invalid` for what is no address of `http` or `https`, `NotFound` where nothing is there,
/// `Unavailable` when it cannot be had.
pub async fn download(url: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
    let shown = without_login(url);
    let parsed = reqwest::Url::parse(url)
        .map_err(|error| Error::invalid(format!("parse {shown:?}")).caused_by(error))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(Error::invalid(format!(
            "{shown} is not fetched: it is neither http nor https"
        )));
    }
    let failed = |error: reqwest::Error| {
        Error::unavailable(format!("Get {shown:?}")).caused_by(error.without_url())
    };
    // The program has one as a rule; where it has none, the same is taken.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(STALLED);
    let client = client.build().map_err(failed)?;
    let response = client.get(parsed).send().await.map_err(failed)?;
    if !response.status().is_success() {
        let kind = match response.status() {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        let message = format!("failed to GET {shown} with status {}", response.status());
        return Err(Error::new(kind, message));
    }
    Ok(bounded(response.bytes_stream().map_err(|error| broken().caused_by(error.without_url()))))
}

fn broken() -> Error {
    Error::unavailable("the download broke off")
}

fn bounded(
    parts: impl futures::Stream<Item = Result<Bytes>> + Send + 'static,
) -> BoxStream<'static, Result<Bytes>> {
    let mut left = LARGEST;
    let parts = parts.map(move |part| {
        let part = part?;
        let taken = u64::try_from(part.len()).unwrap_or(u64::MAX);
        left = left
            .checked_sub(taken)
            .ok_or_else(|| Error::exhausted("what is fetched is over 64 GiB"))?;
        Ok(part)
    });
    parts.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_web_is_fetched_from() {
        for url in ["file:///etc/passwd", "ftp://e.org/x", "nothing", "unix:///run/x"] {
            let error = download(url).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_there_and_what_is_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let url = format!("http://joe:pw@{at}/x");
        let error = download(&url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!error.chain().contains("pw"), "{}", error.chain());
        let parts: Vec<Bytes> = download(&url).await.unwrap().try_collect().await.unwrap();
        assert_eq!(parts.concat(), b"abc");
    }
}
