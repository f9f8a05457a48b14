//! Registries over TLS, with a certificate of their own making.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use images::{RegistriesConfig, RegistryConfig, Settings};
use model::ErrorKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::mock::{Answer, Shared, router};
use crate::sample::Sample;
use crate::store::{Fixture, settings};

/// Serves `shared` over TLS; gives the port and the CA's certificate.
async fn serve(shared: Arc<Shared>) -> (u16, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = router(shared);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = TowerToHyperService::new(router);
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, authority.pem())
}

fn with(registry: &str, config: RegistryConfig) -> Fixture {
    let registries = RegistriesConfig([(registry.to_owned(), config)].into());
    Fixture::with(Settings { registries: registries.into(), ..settings() })
}

#[tokio::test]
async fn certificates_are_checked_unless_told_otherwise() {
    let shared = Shared::new(|_| Answer::Serve);
    shared.put("1", &Sample::of_size(400, 1000));
    let (port, good) = serve(shared.clone()).await;
    let (_, other) = serve(Shared::new(|_| Answer::Serve)).await;
    let registry = format!("127.0.0.1:{port}");
    let name = format!("{registry}/app:1");
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let trusting = || RegistryConfig { ca: Some(ca.clone()), ..RegistryConfig::default() };
    std::fs::write(&ca, other).unwrap();
    let error = with(&registry, trusting()).pull(&name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("certificate"), "{}", error.chain());
    assert!(shared.seen().is_empty(), "an unknown certificate was taken");
    // Neither does a mirror pass by its own name's rules.
    let mirrors = vec![format!("https://{registry}")];
    let elsewhere = RegistryConfig { mirrors, ..RegistryConfig::default() };
    let error = with("127.0.0.1:9", elsewhere).pull("127.0.0.1:9/app:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(shared.seen().is_empty(), "an unknown certificate of a mirror was taken");
    std::fs::write(&ca, good).unwrap();
    with(&registry, trusting()).pull(&name).await.unwrap();
    let config = RegistryConfig { insecure: true, ..RegistryConfig::default() };
    with(&registry, config).pull(&name).await.unwrap();
    // As Docker does: a registry of this machine may have any certificate.
    Fixture::new().pull(&name).await.unwrap();
    std::fs::write(&ca, "no certificate").unwrap();
    let error = with(&registry, trusting()).pull(&name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
    assert!(error.message().contains("ca.pem"));
}
