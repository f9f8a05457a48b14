//! Whom a client trusts: an authority's certificates, or one authority by its digest.

use std::sync::Arc;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use crate::config::{HULL_CA, Trust};

/// The client's side of TLS for `trust`. Fails with `Invalid` when it names nobody.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context(ErrorKind::Internal, || "no version of TLS can be spoken".into())?;
    let config = match trust {
        Trust::None => return Err(nobody_trusted()),
        Trust::File(path) => {
            let pem = std::fs::read(path).context(ErrorKind::Invalid, || {
                format!("the certificates in {} cannot be read", path.display())
            })?;
            builder.with_root_certificates(roots(&pem)?)
        }
        Trust::Pem(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Pin(pin) => {
            let verifier = Arc::new(PinVerifier { pin: *pin, provider });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    Ok(config.with_no_client_auth())
}

fn nobody_trusted() -> Error {
    Error::invalid("nothing says which certificate authority to trust")
        .at(HULL_CA)
        .next("set HULL_CA to the cluster's ca.pem, or to sha256: and its digest")
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let refuse = || "the trusted certificates are not PEM".to_owned();
        let certificate = certificate.context(ErrorKind::Invalid, refuse)?;
        store.add(certificate).context(ErrorKind::Invalid, refuse)?;
    }
    match store.is_empty() {
        true => Err(Error::invalid("the file of trusted certificates has none in it").at(HULL_CA)),
        false => Ok(store),
    }
}

/// Trusts the one certificate that has this SHA-256. If it is an authority's, found in the chain that
/// the server sends, everything else (names, dates, signatures) is checked as usual. If it is the
/// server's own, that it holds the key is all there is to prove.
#[derive(Debug)]
struct PinVerifier {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(leaf)[..] == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let pinned = chain.iter().find(|certificate| Sha256::digest(certificate)[..] == self.pin);
        let authority = pinned.ok_or(CertificateError::UnknownIssuer)?;
        let mut store = RootCertStore::empty();
        store.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
