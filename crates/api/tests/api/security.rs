//! Who gets in.

use std::os::unix::fs::PermissionsExt;

use client::wire::{DeleteQuery, TokenDraft};
use client::{Client, Host, Trust};
use model::{ErrorKind, Time};
use sha2::{Digest, Sha256};

use crate::raw;
use crate::world::World;

fn pem(world: &World) -> Trust {
    Trust::Pem(world.ca.clone().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_token_is_needed_for_all_but_two() {
    let world = World::start().await;
    let nobody = world.remote_as(None, pem(&world));
    nobody.system().healthy().await.unwrap();
    for error in [
        nobody.system().status().await.unwrap_err(),
        nobody.system().ready().await.unwrap_err(),
        nobody.nodes().get("n1").await.unwrap_err(),
        nobody.nodes().get("no such").await.unwrap_err(),
        nobody.images().list().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.next_step().is_some());
    }
    for token in ["hull_", "hull_x_y", "nonsense", &world.secret[..world.secret.len() - 1]] {
        let client = world.remote_as(Some(token.into()), pem(&world));
        let error = client.system().status().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{token}");
        assert!(!error.chain().contains(token), "a refusal repeats the token");
    }
    for header in ["Basic YTpi", "Bearer", "Bearer ", ""] {
        let headers = [("authorization", header)];
        let answer = raw::request(&world, "GET", "/v1/nodes", &headers, b"").await;
        assert_eq!(answer.status, 401, "{header}");
        assert!(answer.head.contains("www-authenticate: Bearer"), "{}", answer.head);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_renewed_and_withdrawn() {
    let world = World::start().await;
    let tokens = world.remote().tokens();
    let draft =
        TokenDraft { name: "ci".into(), description: "for CI".into(), ..TokenDraft::default() };
    assert!(tokens.issue(&draft, true).await.unwrap().secret.is_empty());
    let issued = tokens.issue(&draft, false).await.unwrap();
    assert_eq!(issued.token.spec.hash, "");
    let ci = world.remote_as(Some(issued.secret.clone()), pem(&world));
    ci.system().status().await.unwrap();
    let listed = tokens.list(&Default::default()).await.unwrap().items;
    assert!(listed.iter().all(|token| token.spec.hash.is_empty()));
    assert_eq!(tokens.get("ci").await.unwrap().spec.hash, "");
    let renewed = tokens.renew("ci").await.unwrap();
    assert_ne!(renewed.secret, issued.secret);
    assert_eq!(ci.system().status().await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let ci = world.remote_as(Some(renewed.secret), pem(&world));
    ci.system().status().await.unwrap();
    let patch = serde_json::json!({ "spec": { "description": "else" } });
    tokens.patch("ci", &patch, None, false).await.unwrap();
    ci.system().status().await.unwrap();
    tokens.delete("ci", DeleteQuery::default()).await.unwrap();
    assert_eq!(ci.system().status().await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let past = Some(Time::from_unix(1_000_000_000, 0));
    let old = TokenDraft { name: "old".into(), expires: past, ..TokenDraft::default() };
    if let Ok(old) = tokens.issue(&old, false).await {
        let client = world.remote_as(Some(old.secret), pem(&world));
        let error = client.system().status().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_must_prove_who_it_is() {
    let world = World::start().await;
    let token = Some(world.secret.clone());
    let pin: [u8; 32] = Sha256::digest(&world.ca_der).into();
    world.remote_as(token.clone(), Trust::Pin(pin)).system().status().await.unwrap();
    let own: [u8; 32] = Sha256::digest(&world.leaf_der).into();
    world.remote_as(token.clone(), Trust::Pin(own)).system().status().await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &world.ca).unwrap();
    let by_file = world.remote_as(token.clone(), Trust::File(file.path().into()));
    by_file.system().status().await.unwrap();
    let wrong = world.remote_as(token.clone(), Trust::Pin([7; 32]));
    assert_eq!(wrong.system().status().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let other = World::start().await;
    let stranger = world.remote_as(token.clone(), pem(&other));
    let error = stranger.system().status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.next_step().unwrap().contains("HULL_CA"), "{}", error.chain());
    let host = Host::Https { name: "127.0.0.2".into(), port: world.address.port() };
    let config = client::Config { host: host.clone(), token: token.clone(), trust: pem(&world) };
    let misnamed = Client::connect(config).unwrap();
    assert_eq!(misnamed.system().status().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let nobody = client::Config { host, token, trust: Trust::None };
    assert_eq!(Client::connect(nobody).unwrap_err().kind(), ErrorKind::Invalid);
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_its_owner_and_group() {
    let world = World::start().await;
    let mode = std::fs::metadata(&world.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (control, socket) = (world.control.clone(), world.socket.clone());
    let tls = rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_cert_resolver(std::sync::Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
    let elsewhere = tempfile::tempdir().unwrap();
    let config = api::Config {
        audit: std::sync::Arc::new(audit::Log::open(elsewhere.path()).unwrap()),
        listen: Vec::new(),
        tls: std::sync::Arc::new(tls),
        authority: String::new(),
        socket: Some(socket),
        node: "n1".into(),
        version: String::new(),
        scratch: std::env::temp_dir(),
        library: catalog::Library::new(std::env::temp_dir()),
        sign_ins: None,
        limits: api::Limits::default(),
        metrics: telemetry::metrics::Metrics::default(),
    };
    let second = api::bind(config, control).await.err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    world.local().system().status().await.unwrap();
    world.stop().await;
}

/// What root may do and another user may not, tried by becoming one where the test runs as root.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_even_if_the_socket_lets_them() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let world = World::start().await;
    let everyone = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&world.socket, everyone.clone()).unwrap();
    std::fs::set_permissions(world.socket.parent().unwrap(), everyone).unwrap();
    let script = "import socket,sys,os\nos.setgid(65534);os.setuid(65534)\n\
        s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n\
        s.sendall(b'GET /v1/nodes HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n')\n\
        print(s.recv(64).split()[1].decode())";
    let run = tokio::process::Command::new("python3")
        .args(["-c", script])
        .arg(&world.socket)
        .output()
        .await;
    let Ok(output) = run else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "403", "{output:?}");
    world.stop().await;
}
