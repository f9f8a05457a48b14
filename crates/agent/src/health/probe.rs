//! One try of a health check.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use containers::{ContainerId, ExecConfig, ExecId, Signal};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use machines::guest_agent::GuestAgent;
use model::instance::{Instance, NetworkMode, Probe};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::calls::guest;
use crate::context::Context;
use crate::guests;

/// Most that is kept of what a try printed, in bytes.
const MOST_OUTPUT: u64 = 4096;

/// Whom a probe is aimed at.
pub struct Target {
    container: ContainerId,
    /// The guest, if it is a machine.
    guest: Option<Arc<GuestAgent>>,
    address: Option<IpAddr>,
}

/// Why a try failed.
pub struct Failure {
    /// The program's exit code; 1 for a probe over the network.
    pub code: i32,
    /// What it printed, or why it failed.
    pub output: String,
}

impl Failure {
    fn new(output: impl ToString) -> Self {
        Self { code: 1, output: output.to_string() }
    }
}

impl Target {
    /// A container of an instance.
    pub fn of(context: &Context, wanted: &Instance, container: ContainerId) -> Self {
        let address = match &wanted.spec.network {
            NetworkMode::Host => Some(Ipv4Addr::LOCALHOST.into()),
            NetworkMode::None => None,
            NetworkMode::Networks { .. } => first_address(wanted),
            NetworkMode::Instance { name } => {
                let other = context.roster.named(&wanted.meta.project, name);
                other.and_then(|other| first_address(&other.wanted.borrow()))
            }
        };
        let known = context.roster.get(&wanted.meta.id);
        let machine = wanted.spec.machine.is_some()
            || known.is_some_and(|known| known.known.borrow().status.machine.is_some());
        Self { container, guest: machine.then(|| guests::agent(context, wanted)), address }
    }

    /// Tries once.
    pub async fn tries(&self, context: &Context, probe: &Probe) -> Result<(), Failure> {
        match probe {
            Probe::None => Ok(()),
            Probe::Exec { command } => match &self.guest {
                Some(agent) => inside(agent, command).await,
                None => self.exec(context, command).await,
            },
            Probe::Tcp { port } => self.connect(*port).await.map(drop),
            Probe::Http { port, path, tls: false } => {
                let stream = self.connect(*port).await?;
                get(stream, self.authority(*port)?, path).await
            }
            Probe::Http { port, path, tls: true } => {
                let stream = tls(self.connect(*port).await?).await?;
                get(stream, self.authority(*port)?, path).await
            }
            Probe::Grpc { port, service } => self.grpc(*port, service).await,
        }
    }

    fn authority(&self, port: u16) -> Result<SocketAddr, Failure> {
        let address = self.address.ok_or_else(|| {
            Failure::new("the instance has no address of its own; use a check that runs inside")
        })?;
        Ok(SocketAddr::new(address, port))
    }

    async fn connect(&self, port: u16) -> Result<TcpStream, Failure> {
        TcpStream::connect(self.authority(port)?).await.map_err(Failure::new)
    }

    async fn exec(&self, context: &Context, command: &[String]) -> Result<(), Failure> {
        let fail = |error: model::Error| Failure::new(error.chain());
        let id = ExecId::parse(&format!("health-{:016x}", rand::random::<u64>())).map_err(fail)?;
        let exec = ExecConfig::new(id.clone(), command.iter().cloned());
        let streams = context.engine.exec(&self.container, &exec).await.map_err(fail)?;
        let reaper = Reaper { context, container: &self.container, exec: Some(id) };
        let mut output = Vec::new();
        let stderr = async {
            let mut bytes = Vec::new();
            if let Some(stderr) = streams.stderr {
                read_some(stderr, &mut bytes).await;
            }
            bytes
        };
        let ((), more) = tokio::join!(read_some(streams.stdout, &mut output), stderr);
        output.extend(more);
        let exit = reaper.wait().await.map_err(fail)?;
        if exit == 0 {
            return Ok(());
        }
        output.truncate(usize::try_from(MOST_OUTPUT).expect("4096 fits"));
        Err(Failure { code: exit, output: String::from_utf8_lossy(&output).into_owned() })
    }

    async fn grpc(&self, port: u16, service: &str) -> Result<(), Failure> {
        use tonic_health::pb::health_check_response::ServingStatus;
        use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
        let url = format!("http://{}", self.authority(port)?);
        let channel = tonic::transport::Endpoint::from_shared(url).map_err(Failure::new)?;
        let channel = channel.connect().await.map_err(|error| Failure::new(causes(&error)))?;
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel).check(request).await;
        let answer = answer.map_err(|status| Failure::new(status.message()))?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(Failure::new(other.as_str_name())),
        }
    }
}

/// Runs the check's program in a machine's guest.
async fn inside(agent: &Arc<GuestAgent>, command: &[String]) -> Result<(), Failure> {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let said = guest::ask(agent, &command).await;
    let mut said = said.map_err(|error| Failure::new(error.chain()))?;
    if said.code == 0 {
        return Ok(());
    }
    said.stdout.append(&mut said.stderr);
    said.stdout.truncate(usize::try_from(MOST_OUTPUT).expect("4096 fits"));
    Err(Failure { code: said.code, output: String::from_utf8_lossy(&said.stdout).into_owned() })
}

/// An error's sentence and those of its causes; the outer ones of a transport say nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn first_address(wanted: &Instance) -> Option<IpAddr> {
    let placement = wanted.spec.placement.as_ref()?;
    placement.interfaces.iter().find_map(|interface| {
        let ipv4 = interface.ipv4.map(|net| IpAddr::from(net.addr()));
        ipv4.or_else(|| interface.ipv6.map(|net| IpAddr::from(net.addr())))
    })
}

/// Kills and clears a check's process that is not waited for any more, as its time is over.
struct Reaper<'a> {
    context: &'a Context,
    container: &'a ContainerId,
    exec: Option<ExecId>,
}

impl Reaper<'_> {
    async fn wait(mut self) -> model::Result<i32> {
        let Some(exec) = self.exec.clone() else { return Ok(0) };
        let exit = self.context.engine.exec_wait(self.container, &exec).await?;
        self.exec = None;
        Ok(exit.code)
    }
}

impl Drop for Reaper<'_> {
    fn drop(&mut self) {
        let Some(exec) = self.exec.take() else { return };
        let (engine, container) = (self.context.engine.clone(), self.container.clone());
        tokio::spawn(async move {
            let killed = engine.exec_kill(&container, &exec, Signal::KILL).await;
            if killed.is_ok() {
                // It is waited for so that it is cleared; how it ended is known.
                let _ = engine.exec_wait(&container, &exec).await;
            }
        });
    }
}

/// Reads to the end and keeps the beginning, so that a check that prints much is not held up.
async fn read_some(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) {
    let kept = (&mut from).take(MOST_OUTPUT).read_to_end(into).await;
    if kept.is_ok() {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
}

async fn get<S>(stream: S, authority: SocketAddr, path: &str) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failure::new)?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let request = hyper::Request::get(path)
        .header("host", authority.to_string())
        .header("user-agent", "hull-health/1")
        .body(Empty::<Bytes>::new())
        .map_err(Failure::new)?;
    let answer = sender.send_request(request).await.map_err(Failure::new)?;
    drop(connection);
    let status = answer.status().as_u16();
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(Failure::new(format!("answered {status}")))
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tls(stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(Failure::new)
}

/// A health check asks whether a server answers, not who it is: containers' certificates are rarely
/// for their address, and nothing secret is sent.
#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
