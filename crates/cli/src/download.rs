//! A file fetched by HTTP, as it comes.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use link::ByteStream;
use model::error::Context as _;
use model::{Error, ErrorKind, Result};
use rustls::crypto::aws_lc_rs;

/// Silence after which the other side is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Fetches `url`. Proxies are those of the environment.
///
/// # Errors
/// `NotFound`, or `Unavailable` if nobody answers.
pub async fn open(url: &str) -> Result<ByteStream> {
    let response = client()?.get(url).send().await;
    let response =
        response.context(ErrorKind::Unavailable, || format!("{url} cannot be fetched"))?;
    let status = response.status();
    if !status.is_success() {
        let kind = match status.as_u16() {
            404 | 410 => ErrorKind::NotFound,
            401 | 403 => ErrorKind::Forbidden,
            _ => ErrorKind::Unavailable,
        };
        return Err(Error::new(kind, format!("{url} is answered by {status}")));
    }
    let url = url.to_owned();
    let broken =
        move |error| Error::unavailable(format!("{url} broke off while it came")).caused_by(error);
    Ok(Box::pin(response.bytes_stream().map_err(broken)))
}

fn client() -> Result<reqwest::Client> {
    let failed = || "the connection cannot be set up".to_owned();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context(ErrorKind::Internal, failed)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .user_agent(concat!("hull/", env!("CARGO_PKG_VERSION")))
        .build()
        .context(ErrorKind::Internal, failed)
}
