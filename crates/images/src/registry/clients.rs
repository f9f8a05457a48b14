//! Connections: one pool for each set of certificates.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::Mutex;

use crate::registries::Endpoint;
use crate::settings::Transfer;

/// What makes connections differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Trust {
    insecure: bool,
    ca: Option<PathBuf>,
}

/// Pools of connections, made when first used.
pub(super) struct Clients {
    transfer: Transfer,
    made: Mutex<HashMap<Trust, reqwest::Client>>,
}

impl Clients {
    pub fn new(transfer: &Transfer) -> Self {
        Self { transfer: transfer.clone(), made: Mutex::default() }
    }

    /// The pool for `endpoint`.
    pub async fn get(&self, endpoint: &Endpoint) -> Result<reqwest::Client> {
        let trust = Trust { insecure: endpoint.insecure, ca: endpoint.ca.clone() };
        let mut made = self.made.lock().await;
        if let Some(client) = made.get(&trust) {
            return Ok(client.clone());
        }
        let (transfer, asked) = (self.transfer.clone(), trust.clone());
        // Reads the system's certificates from the disk.
        let client = tokio::task::spawn_blocking(move || build(&transfer, &asked))
            .await
            .context(ErrorKind::Internal, || "the connections could not be set up".to_owned())??;
        made.insert(trust, client.clone());
        Ok(client)
    }
}

/// Redirects are followed by hand, so that it is plain what is shown to whom.
fn build(transfer: &Transfer, trust: &Trust) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls(trust)?)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(transfer.connect_timeout)
        .read_timeout(transfer.stall_timeout)
        .user_agent(concat!("hull/", env!("CARGO_PKG_VERSION")))
        .build()
        .context(ErrorKind::Internal, || "the connections could not be set up".to_owned())
}

/// The provider is named here and not taken from the process, so that this room works in any program.
fn tls(trust: &Trust) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context(ErrorKind::Internal, || "TLS cannot be set up".to_owned())?;
    if trust.insecure {
        let verifier = Arc::new(AnyCertificate(provider));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        return Ok(builder.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    // A machine without certificates can still use registries whose `ca` is given.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &trust.ca {
        add_authorities(&mut roots, path)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<()> {
    let refuse = |why: &str| {
        Error::invalid(format!("the certificates in {} {why}", path.display()))
            .at("registries")
            .next("give a PEM file of certificates as `ca`")
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse("cannot be read").caused_by(error))?;
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(refuse("are none")),
        _ => Ok(()),
    }
}

/// Takes every certificate: what `insecure` asks for. Signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
