//! The ground tests stand on: a namespace that plays the host, one that plays the world outside, and
//! a cable between them. The machine's own network is never touched.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "only tests use it")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use model::{Error, Uid};
use network::conformance::{interface, network, uid};
use network::{
    Apply, Driver, HostNamespace, HostNetwork, InstanceLinks, InterfaceLink, Names, NetDriver,
    NetworkLinks, PublishedPort, new_namespace,
};
use tempfile::TempDir;

/// The host's addresses on the cable.
pub const HOST4: &str = "192.0.2.1";
pub const HOST6: &str = "2001:db8::1";
/// The outside's.
pub const OUTSIDE4: &str = "192.0.2.2";
pub const OUTSIDE6: &str = "2001:db8::2";

/// How long something that should work may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);
/// How long we wait for what should never come.
pub const NEVER: Duration = Duration::from_millis(400);

pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A place to run things in.
#[derive(Clone)]
pub struct Place(pub HostNamespace);

impl Place {
    pub async fn new() -> Self {
        let place = Self(HostNamespace::At(new_namespace().await.unwrap()));
        place.run("ip link set lo up").await;
        place
    }

    pub fn at(path: &std::path::Path) -> Self {
        Self(HostNamespace::At(Arc::new(OwnedFd::from(File::open(path).unwrap()))))
    }

    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.0.run(move || Ok(work())).await.unwrap()
    }

    /// Runs commands, one a line.
    pub async fn run(&self, script: &str) -> String {
        let script = script.to_owned();
        let done = self.call(move || {
            let output = Command::new("sh").args(["-ec", &script]).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{script}: {said}");
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        });
        done.await.unwrap()
    }

    /// A TCP server that tells each client the address it sees it at.
    pub async fn serve(&self, at: &str) {
        let at: SocketAddr = at.parse().unwrap();
        let listener = self.call(move || TcpListener::bind(at)).await.unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream);
            }
        });
    }

    /// A UDP server that answers with its name and the address it sees its client at.
    pub async fn serve_datagrams(&self, at: &str, name: &'static str) {
        let at: SocketAddr = at.parse().unwrap();
        let socket = self.call(move || UdpSocket::bind(at)).await.unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let _ = socket.send_to(format!("{asked} {name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    /// Who a TCP server says we are.
    pub async fn ask(&self, to: &str) -> io::Result<IpAddr> {
        self.ask_within(to, SOON).await
    }

    pub async fn ask_within(&self, to: &str, patience: Duration) -> io::Result<IpAddr> {
        let to: SocketAddr = to.parse().unwrap();
        let asked = self.call(move || {
            let mut stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            text.parse().map_err(io::Error::other)
        });
        asked.await
    }

    /// A UDP socket here, talking to one server.
    pub async fn talk(&self, to: &str) -> UdpSocket {
        let to: SocketAddr = to.parse().unwrap();
        let socket = self.call(move || {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            Ok(socket)
        });
        socket.await.unwrap()
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip().to_string();
    stream.write_all(peer.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

/// Asks until there is an answer to this very question. Packets get lost while a link comes up, and
/// answers and refusals of earlier ones come late.
pub fn say(socket: &UdpSocket, patience: Duration) -> io::Result<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    let started = Instant::now();
    socket.set_read_timeout(Some(NEVER / 2))?;
    let mut last = io::ErrorKind::TimedOut.into();
    while started.elapsed() < patience {
        if let Err(error) = socket.send(number.as_bytes()) {
            last = error;
            continue;
        }
        let mut buffer = [0; 64];
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if let Some(answer) = answer.strip_prefix(&format!("{number} ")) {
                    return Ok(answer.to_owned());
                }
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A host with a driver, an outside, and a directory that goes with it.
pub struct Ground {
    pub host: Place,
    pub outside: Place,
    pub driver: NetDriver,
    directory: TempDir,
}

impl Ground {
    pub async fn new() -> Self {
        let (host, outside) = (Place::new().await, Place::new().await);
        let HostNamespace::At(far) = &outside.0 else { unreachable!() };
        let far = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(far));
        let directory = tempfile::tempdir().unwrap();
        // ip(8) names a namespace by a path; ours are open files of this very process.
        let process = std::process::id();
        let far = far.replace("self", &process.to_string());
        host.run(&format!(
            "ip link add up0 mtu 1500 type veth peer name up0 netns {far}
             ip address add {HOST4}/24 dev up0; ip address add {HOST6}/64 dev up0 nodad
             ip link set up0 up; ip route add default via {OUTSIDE4}
             ip route add default via {OUTSIDE6}"
        ))
        .await;
        outside
            .run(&format!(
                "ip address add {OUTSIDE4}/24 dev up0; ip address add {OUTSIDE6}/64 dev up0 nodad
                 ip link set up0 up"
            ))
            .await;
        let names = Names::new("te5t0".parse().unwrap());
        let driver = NetDriver::in_namespace(names, directory.path(), host.0.clone());
        Self { host, outside, driver, directory }
    }

    /// A driver that knows nothing of what this one did, as after a restart.
    pub fn restarted(&self) -> NetDriver {
        let names = self.driver.names().clone();
        NetDriver::in_namespace(names, self.directory.path(), self.host.0.clone())
    }

    /// Another node on the same host.
    pub fn neighbour(&self, tag: &str) -> NetDriver {
        let directory = self.directory.path().join(tag);
        NetDriver::in_namespace(Names::new(tag.parse().unwrap()), &directory, self.host.0.clone())
    }

    /// Network `10.213.<byte>.0/24` and `fd00:<byte>::/64`, made.
    pub async fn network(&self, byte: u8) -> NetworkLinks {
        let six: Ipv6Net = format!("fd00:{byte}::1/64").parse().unwrap();
        let network = NetworkLinks { ipv6: Some(six), ..network(&self.driver, byte) };
        self.driver.ensure_network(&network).await.unwrap();
        network
    }

    pub async fn internal(&self, byte: u8) -> NetworkLinks {
        let network = NetworkLinks { internal: true, ..self.network(byte).await };
        self.driver.ensure_network(&network).await.unwrap();
        network
    }

    /// An instance with address `.last` and `::last` on that network.
    pub async fn instance(&self, network: &NetworkLinks, last: u8) -> (Place, InterfaceLink) {
        let [.., third, _] = network.ipv4.unwrap().addr().octets();
        self.instance_named(&uid(100 + third * 10 + last % 10), network, last).await
    }

    pub async fn instance_named(
        &self,
        id: &Uid,
        network: &NetworkLinks,
        last: u8,
    ) -> (Place, InterfaceLink) {
        let link = with_ipv6(interface(network, "eth0", last), network, last);
        let links = InstanceLinks { id: id.clone(), interfaces: vec![link.clone()], guest: false };
        let path = self.driver.attach(&links).await.unwrap();
        (Place::at(&path), link)
    }

    pub async fn apply(
        &self,
        generation: u64,
        networks: &[&NetworkLinks],
        ports: Vec<PublishedPort>,
    ) -> Vec<Error> {
        let value = HostNetwork {
            generation,
            networks: networks.iter().map(|network| (*network).clone()).collect(),
            services: Vec::new(),
            ports,
            reserved: Vec::new(),
            metadata: None,
        };
        let applied = self.driver.apply(&value, Apply::Changes).await.unwrap();
        applied.conflicts.into_iter().map(|conflict| conflict.error).collect()
    }

    /// Ends everything, and makes sure nothing is left.
    pub async fn end(self) {
        self.driver.clear().await.unwrap();
        let rules = self.host.run("nft list tables").await;
        assert!(!rules.contains("hull-"), "{rules}");
    }
}

pub fn with_ipv6(link: InterfaceLink, network: &NetworkLinks, last: u8) -> InterfaceLink {
    let Some(host) = network.ipv6 else { return link };
    let address = u128::from(host.network()) + u128::from(last);
    InterfaceLink {
        ipv6: Some(Ipv6Net::new(address.into(), host.prefix_len()).unwrap()),
        gateway6: network.gateway6(),
        ..link
    }
}
