//! Measures, beside a bare bridge in the same run: how fast two instances talk, how many connections
//! a second they make; and how long instances take to be attached and detached.
//!
//! Needs root and ip(8); everything happens in namespaces of its own.
//! `cargo run --release -p network --example bench`

#![allow(clippy::unwrap_used, reason = "a measurement that fails is no measurement")]

#[path = "../tests/ground/mod.rs"]
mod ground;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ground::{Ground, Place};
use network::conformance::{interface, port, uid};
use network::{Driver, InstanceLinks, NetworkLinks};

const SPAN: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    if !ground::is_root() {
        return;
    }
    let (bare_server, bare_client, _host) = bare_bridge().await;
    let ground = Ground::new().await;
    let network = ground.network(1).await;
    let (server, link) = ground.instance(&network, 5).await;
    let (client, _) = ground.instance(&network, 6).await;
    let ports = vec![port(&link, model::instance::Protocol::Tcp, 8080, 5001)];
    ground.apply(1, &[&network], ports).await;
    for round in 1..=3 {
        println!("round {round}");
        compare("bare bridge", &bare_server, &bare_client, "10.213.9.5").await;
        compare("instance to instance", &server, &client, "10.213.1.5").await;
        compare("through a published port", &server, &ground.host, "192.0.2.1:8080").await;
    }
    for round in 1..=2 {
        let (attach, detach) = one_after_the_other(&ground, &network).await;
        println!(
            "100 one after the other, round {round}: attach {attach:?}, detach {detach:?} each"
        );
    }
    for round in 1..=2 {
        let (attach, detach) = eight_at_a_time(&ground, &network).await;
        println!("100 eight at a time, round {round}: attach {attach:?}, detach {detach:?} in all");
    }
    ground.end().await;
}

/// Two namespaces on a bridge made with ip(8), without firewall.
async fn bare_bridge() -> (Place, Place, Place) {
    let (host, one, two) = (Place::new().await, Place::new().await, Place::new().await);
    host.run(
        "ip link add b0 type bridge; ip link set b0 up
         for f in /proc/sys/net/bridge/bridge-nf-call-*tables; do echo 0 > $f || true; done",
    )
    .await;
    for (place, last) in [(&one, 5), (&two, 6)] {
        let network::HostNamespace::At(fd) = &place.0 else { unreachable!() };
        let fd = std::os::fd::AsRawFd::as_raw_fd(fd);
        let path = format!("/proc/{}/fd/{fd}", std::process::id());
        host.run(&format!(
            "ip link add v{last} type veth peer name eth0 netns {path}
             ip link set v{last} master b0 up"
        ))
        .await;
        place
            .run(&format!("ip address add 10.213.9.{last}/24 dev eth0; ip link set eth0 up"))
            .await;
    }
    (one, two, host)
}

async fn compare(what: &str, server: &Place, client: &Place, to: &str) {
    let to: SocketAddr = to.parse().unwrap_or_else(|_| {
        SocketAddr::new(to.parse::<Ipv4Addr>().expect("an address").into(), 5001)
    });
    let listener = server.call(|| TcpListener::bind("0.0.0.0:5001")).await.unwrap();
    let sink = std::thread::spawn(move || serve(&listener));
    let sent = client.call(move || stream(to)).await.unwrap();
    let made = client.call(move || connections(to)).await.unwrap();
    client.call(move || TcpStream::connect(to)?.write_all(b"q")).await.unwrap();
    sink.join().unwrap();
    println!("  {what:26} {sent:6.2} GB/s {made:8.0} connections/s");
}

/// Reads all of each connection; one whose first byte is `q` is the last.
fn serve(listener: &TcpListener) {
    let mut buffer = vec![0; 256 * 1024];
    for mut stream in listener.incoming().flatten() {
        let mut first = true;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if std::mem::take(&mut first) && length == 1 && buffer[0] == b'q' {
                return;
            }
        }
    }
}

/// Gigabytes a second that one connection carries.
fn stream(to: SocketAddr) -> std::io::Result<f64> {
    let mut stream = TcpStream::connect(to)?;
    let (started, data, mut sent) = (Instant::now(), vec![0; 256 * 1024], 0.0);
    while started.elapsed() < SPAN {
        stream.write_all(&data)?;
        sent += data.len() as f64;
    }
    Ok(sent / started.elapsed().as_secs_f64() / 1e9)
}

/// Connections a second, one after the other.
fn connections(to: SocketAddr) -> std::io::Result<f64> {
    let (started, mut made) = (Instant::now(), 0.0);
    while started.elapsed() < SPAN {
        let stream = TcpStream::connect(to)?;
        // A reset leaves no port waiting, so that ports never run out.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        made += 1.0;
    }
    Ok(made / started.elapsed().as_secs_f64())
}

fn instances(network: &NetworkLinks) -> Vec<InstanceLinks> {
    (130..230)
        .map(|last| InstanceLinks {
            id: uid(last),
            guest: false,
            interfaces: vec![interface(network, "eth0", last)],
        })
        .collect()
}

/// Medians.
async fn one_after_the_other(ground: &Ground, network: &NetworkLinks) -> (Duration, Duration) {
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    let all = instances(network);
    for instance in &all {
        let started = Instant::now();
        ground.driver.attach(instance).await.unwrap();
        attach.push(started.elapsed());
    }
    for instance in &all {
        let started = Instant::now();
        ground.driver.detach(&instance.id).await.unwrap();
        detach.push(started.elapsed());
    }
    let median = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    (median(attach), median(detach))
}

async fn eight_at_a_time(ground: &Ground, network: &NetworkLinks) -> (Duration, Duration) {
    use futures::StreamExt;
    let all = Arc::new(instances(network));
    let started = Instant::now();
    let attach = |instance| async move { ground.driver.attach(instance).await.unwrap() };
    futures::stream::iter(all.iter()).for_each_concurrent(8, async |i| drop(attach(i).await)).await;
    let attached = started.elapsed();
    let started = Instant::now();
    futures::stream::iter(all.iter())
        .for_each_concurrent(8, async |i| ground.driver.detach(&i.id).await.unwrap())
        .await;
    (attached, started.elapsed())
}
