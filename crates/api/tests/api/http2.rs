//! HTTP/2, as browsers speak it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::world::{World, soon};

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_a_connection() {
    let world = World::start().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(tls);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = tokio::spawn(connection);
    let ask = async |path: &str, token: Option<&str>| {
        let mut request = hyper::Request::get(format!("https://localhost{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        sender.clone().send_request(request).await.unwrap()
    };
    let token = Some(world.secret.as_str());
    let watch = ask("/v1/nodes?watch=true", token).await;
    let mut watch = watch.into_body();
    let first = soon(watch.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"{\"type\":\"added\""));
    for _ in 0..20 {
        let answer = ask("/v1/nodes/n1", token).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.unwrap().to_bytes().starts_with(b"{"));
    }
    assert_eq!(ask("/v1/nodes/n1", None).await.status(), 401);
    assert_eq!(ask("/healthz", None).await.status(), 200);
    let long = "x".repeat(100 << 10);
    let refused = {
        let request = hyper::Request::get("https://localhost/healthz").header("x-long", long);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        soon(sender.clone().send_request(request)).await
    };
    assert!(refused.is_err() || refused.unwrap().status() == 431);
    driver.abort();
    world.stop().await;
}
