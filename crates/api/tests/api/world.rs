//! A whole API with everything behind it, for one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::{Config, Limits, Server};
use client::{Client, Host, Trust};
use control::Control;
use model::instance::{ContainerSpec, Instance, InstanceSpec};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use store::sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::node::Node;

pub const NODE: &str = "n1";
/// Longest a condition is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct World {
    pub control: Arc<Control>,
    pub node: Arc<Node>,
    pub address: SocketAddr,
    pub socket: PathBuf,
    pub secret: String,
    pub ca: String,
    pub ca_der: Vec<u8>,
    pub leaf_der: Vec<u8>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    agent: JoinHandle<()>,
    dir: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = store::sqlite::Config::new(dir.path().join("state.db"));
        let store = Arc::new(SqliteStore::open(file).await.unwrap());
        let control = Control::open(control::Config::new(store, NODE)).await.unwrap();
        let secret = control.take_admin_secret().unwrap();
        let node = Arc::new(Node::default());
        control.connect_node(NODE, node.clone());
        let agent = tokio::spawn(crate::agent::run(control.clone()));
        let socket = dir.path().join("api.sock");
        let Certificates { tls, ca, ca_der, leaf_der } = certificates();
        let config = Config {
            audit: Arc::new(audit::Log::open(&dir.path().join("audit")).unwrap()),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            tls: Arc::new(tls),
            authority: "ca11".into(),
            socket: Some(socket.clone()),
            node: NODE.into(),
            version: "0.0.0-test".into(),
            scratch: dir.path().to_owned(),
            library: catalog::Library::new(dir.path().join("catalogs")),
            sign_ins: Some(dir.path().join("sign-ins.json")),
            limits,
            metrics: telemetry::metrics::Metrics::default(),
        };
        let server: Server = api::bind(config, control.clone()).await.unwrap();
        let address = server.addresses()[0];
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(stop.clone().cancelled_owned()));
        let world = Self {
            control,
            node,
            address,
            socket,
            secret,
            ca,
            ca_der,
            leaf_der,
            stop,
            serving,
            agent,
            dir,
        };
        let client = world.local();
        until(async || client.system().ready().await.is_ok()).await;
        world
    }

    /// By the local socket, as whoever runs the test.
    pub fn local(&self) -> Client {
        Client::connect(client::Config::local(&self.socket)).unwrap()
    }

    /// Over TLS with the admin's token.
    pub fn remote(&self) -> Client {
        self.remote_as(Some(self.secret.clone()), Trust::Pem(self.ca.clone().into_bytes()))
    }

    pub fn remote_as(&self, token: Option<String>, trust: Trust) -> Client {
        let host = Host::Https { name: "localhost".into(), port: self.address.port() };
        Client::connect(client::Config { host, token, trust }).unwrap()
    }

    /// An instance that runs.
    pub async fn run(&self, name: &str) -> Instance {
        let instances = self.local().instances("default");
        let draft = client::wire::Draft::new(name, spec("busybox"));
        instances.create(&draft, false).await.unwrap();
        let query = client::wire::SettleQuery::default();
        instances.settle(name, &query).await.unwrap()
    }

    /// Streams that the node still has open.
    pub fn open(&self) -> usize {
        self.node.open.load(Ordering::SeqCst)
    }

    /// Stops everything.
    pub async fn stop(self) {
        let Self { control, stop, serving, agent, dir, .. } = self;
        stop.cancel();
        serving.await.unwrap();
        // A pass under way when control stops may wait for a mirror that no longer follows.
        let _ = tokio::time::timeout(Duration::from_secs(2), control.shutdown()).await;
        agent.abort();
        drop(dir);
    }
}

pub fn spec(image: &str) -> InstanceSpec {
    let container =
        ContainerSpec { name: "main".into(), image: image.into(), ..ContainerSpec::default() };
    InstanceSpec { containers: vec![container], ..InstanceSpec::default() }
}

/// Waits until it is so.
pub async fn until(mut so: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    let wait = async {
        while !so().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("it never came to be so");
}

/// A result that must come in time.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it never came")
}

struct Certificates {
    tls: ServerConfig,
    ca: String,
    ca_der: Vec<u8>,
    leaf_der: Vec<u8>,
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone(), authority.der().clone()], key)
        .unwrap();
    let (ca_der, leaf_der) = (authority.der().to_vec(), leaf.der().to_vec());
    Certificates { tls, ca: authority.pem(), ca_der, leaf_der }
}
