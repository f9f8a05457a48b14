//! Real questions over real sockets, asked by a resolver that nobody here wrote.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dns::{Alias, Config, Inside, Joined, Member, NetworkNames, Server, Zones};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use model::Uid;
use tempfile::TempDir;
use tokio::net::UdpSocket;

/// One that needs no privilege.
const PORT: u16 = 5453;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a loopback address of the test's own, and a resolv.conf that it follows.
struct Ground {
    server: Server,
    address: IpAddr,
    directory: TempDir,
}

/// Loopback addresses differ from test to test, as they all want the same port.
static NEXT: AtomicUsize = AtomicUsize::new(1);

fn fresh_address() -> IpAddr {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    IpAddr::V4(Ipv4Addr::new(127, u8::try_from(100 + number).unwrap(), (pid >> 8) as u8, pid as u8))
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let resolv_conf = directory.path().join("resolv.conf");
        let config = Config { port: PORT, resolv_conf, ..Config::default() };
        Self { server: Server::start(config), address: fresh_address(), directory }
    }

    fn use_upstream(&self, address: IpAddr) {
        let text = format!("nameserver {address}\n");
        std::fs::write(self.directory.path().join("resolv.conf"), text).unwrap();
    }

    fn zones(&self, forward: bool, members: Vec<Member>) -> Zones {
        let network = NetworkNames {
            id: uid(1),
            name: "front".into(),
            project: "shop".into(),
            listen: vec![self.address],
            subnets: vec!["127.0.0.0/8".parse().unwrap()],
            forward,
        };
        let members = members.into_iter().enumerate();
        let members = members.map(|(number, member)| (format!("{number:04}"), Arc::new(member)));
        Zones { networks: vec![network], members: members.collect(), ..Zones::default() }
    }

    async fn publish(&self, forward: bool, members: Vec<Member>) {
        let listening = self.server.publish(&self.zones(forward, members)).await.unwrap();
        assert!(listening.failed.is_empty(), "{:?}", listening.failed);
        assert_eq!(listening.addresses, [SocketAddr::new(self.address, PORT)]);
    }

    fn resolver(&self, mut connection: ConnectionConfig) -> TokioResolver {
        connection.port = PORT;
        let server = NameServerConfig::new(self.address, true, vec![connection]);
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.build().unwrap()
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.send(question(name, kind)).await
    }

    async fn send(&self, message: Message) -> Message {
        exchange(SocketAddr::new(self.address, PORT), message).await
    }
}

async fn exchange(server: SocketAddr, message: Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&message.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 4096];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
    let answer = Message::from_vec(&buffer[..received.unwrap().unwrap()]).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    answer
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn uid(byte: u8) -> Uid {
    Uid::from_bytes([byte; 32])
}

fn member(name: &str, addresses: &[&str]) -> Member {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let joined = Joined { network: uid(1), names: vec![name.into()], addresses };
    Member { joined: vec![joined], ..Member::default() }
}

/// A server of the outside, which counts what it is asked.
struct Outside {
    address: IpAddr,
    asked: Arc<AtomicUsize>,
}

impl Outside {
    /// Answers each question by UDP and TCP as `answer` says.
    async fn start(
        answer: impl Fn(&Message, bool) -> Option<Message> + Send + Sync + 'static,
    ) -> Self {
        let address = fresh_address();
        let udp = UdpSocket::bind((address, PORT)).await.unwrap();
        let tcp = tokio::net::TcpListener::bind((address, PORT)).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (asked.clone(), Arc::new(answer));
        let by_tcp = answer.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                count.fetch_add(1, Ordering::Relaxed);
                let request = Message::from_vec(&buffer[..length]).unwrap();
                if let Some(reply) = answer(&request, false) {
                    udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut bytes).await.unwrap();
                let request = Message::from_vec(&bytes).unwrap();
                let reply = by_tcp(&request, true).unwrap().to_vec().unwrap();
                stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn response(request: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(request.metadata.id, OpCode::Query);
    reply.metadata.response_code = code;
    reply.add_queries(request.queries.clone());
    reply
}

fn address_record(request: &Message, ttl: u32) -> Record {
    let name = request.queries[0].name().clone();
    Record::from_rdata(name, ttl, RData::A(A::new(192, 0, 2, 80)))
}

#[tokio::test]
async fn a_resolver_finds_instances_by_udp_and_tcp() {
    let ground = Ground::new();
    ground.publish(true, vec![member("web", &["10.1.0.5", "fd00::5"])]).await;
    for connection in [ConnectionConfig::udp(), ConnectionConfig::tcp()] {
        let resolver = ground.resolver(connection);
        for name in ["web.", "WEB.front.", "web.shop.", "web.shop.hull.internal."] {
            let found: Vec<IpAddr> = resolver.lookup_ip(name).await.unwrap().iter().collect();
            assert!(found.contains(&"10.1.0.5".parse().unwrap()), "{name}: {found:?}");
        }
    }
    let resolver = ground.resolver(ConnectionConfig::udp());
    let missing = resolver.lookup_ip("nobody.hull.internal.").await.unwrap_err();
    assert!(missing.is_nx_domain(), "{missing}");
}

#[tokio::test]
async fn a_name_that_stands_for_another() {
    let ground = Ground::new();
    let outside = Outside::start(|request, _| {
        let name = request.queries[0].name().to_ascii();
        let known = name == "db.example.org.";
        let code = if known { ResponseCode::NoError } else { ResponseCode::NXDomain };
        let mut reply = response(request, code);
        if known && request.queries[0].query_type() == RecordType::A {
            reply.add_answer(address_record(request, 60));
        }
        Some(reply)
    })
    .await;
    ground.use_upstream(outside.address);
    let alias = |name: &str, target: &str| Alias { name: name.into(), target: target.into() };
    let aliases = vec![
        alias("DB", "db.example.org"),
        alias("gone", "gone.example.org"),
        alias("front", "web.shop.hull.internal"),
        alias("nobody", "x.hull.internal"),
    ];
    // Who asks has them, and nobody else.
    let asker = Member { aliases, ..member("asker", &["127.0.0.1"]) };
    let members = || vec![asker.clone(), member("web", &["10.1.0.5"])];
    ground.publish(true, members()).await;
    let shown = |message: &Message| {
        let records = message.answers.iter();
        records.map(|it| format!("{} {}", it.name, it.data)).collect::<Vec<_>>()
    };
    for (name, kind, code, answers) in [
        (
            "db.",
            RecordType::A,
            ResponseCode::NoError,
            vec!["db. db.example.org.", "db.example.org. 192.0.2.80"],
        ),
        (
            "db.shop.",
            RecordType::A,
            ResponseCode::NoError,
            vec!["db.shop. db.example.org.", "db.example.org. 192.0.2.80"],
        ),
        ("db.", RecordType::AAAA, ResponseCode::NoError, vec!["db. db.example.org."]),
        ("db.", RecordType::CNAME, ResponseCode::NoError, vec!["db. db.example.org."]),
        ("gone.", RecordType::A, ResponseCode::NXDomain, vec!["gone. gone.example.org."]),
        ("nobody.", RecordType::A, ResponseCode::NXDomain, vec!["nobody. x.hull.internal."]),
        (
            "front.",
            RecordType::A,
            ResponseCode::NoError,
            vec!["front. web.shop.hull.internal.", "web.shop.hull.internal. 10.1.0.5"],
        ),
    ] {
        // The second time it is known already.
        for _ in 0..2 {
            let reply = ground.ask(name, kind).await;
            assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
            assert_eq!(shown(&reply), answers, "{name} {kind}");
        }
    }
    let resolver = ground.resolver(ConnectionConfig::udp());
    let found: Vec<IpAddr> = resolver.lookup_ip("db.").await.unwrap().iter().collect();
    assert_eq!(found, ["192.0.2.80".parse::<IpAddr>().unwrap()]);

    // From a network without a way out it is told, and nobody asked.
    ground.publish(false, members()).await;
    let asked = outside.asked();
    let reply = ground.ask("db.", RecordType::A).await;
    assert_eq!(shown(&reply), ["db. db.example.org."]);
    assert_eq!(outside.asked(), asked);
}

#[tokio::test]
async fn each_new_value_counts_at_once() {
    let ground = Ground::new();
    ground.publish(true, vec![member("web", &["10.1.0.5"])]).await;
    assert_eq!(ground.ask("web.", RecordType::A).await.answers.len(), 1);
    ground.publish(true, vec![member("web", &["10.1.0.5", "10.1.0.6"])]).await;
    assert_eq!(ground.ask("web.", RecordType::A).await.answers.len(), 2);
    // A network that is gone is not answered for, and its address is free.
    let none = ground.server.publish(&Zones::default()).await.unwrap();
    assert!(none.addresses.is_empty());
    let deadline = Instant::now() + PATIENCE;
    while UdpSocket::bind((ground.address, PORT)).await.is_err() {
        assert!(Instant::now() < deadline, "still bound");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_and_tried_again() {
    let ground = Ground::new();
    let other = UdpSocket::bind((ground.address, PORT)).await.unwrap();
    let listening = ground.server.publish(&ground.zones(true, vec![])).await.unwrap();
    let (address, error) = &listening.failed[0];
    assert_eq!(address.ip(), ground.address);
    assert_eq!(error.kind(), model::ErrorKind::Conflict);
    assert!(error.next_step().unwrap().contains("ss -lnup"));
    drop(other);
    ground.publish(true, vec![]).await;
}

#[tokio::test]
async fn a_server_starts_where_one_just_ended_and_before_the_address_exists() {
    let ground = Ground::new();
    ground.publish(true, vec![member("web", &["10.1.0.5"])]).await;
    let resolver = ground.resolver(ConnectionConfig::tcp());
    assert!(resolver.lookup_ip("web.").await.is_ok(), "leaves a connection behind");
    let Ground { server, address, directory } = ground;
    drop(server);
    let ground = Ground {
        server: Server::start(Config {
            port: PORT,
            resolv_conf: directory.path().join("resolv.conf"),
            ..Config::default()
        }),
        address,
        directory,
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let zones = ground.zones(true, vec![member("web", &["10.1.0.6"])]);
        if ground.server.publish(&zones).await.unwrap().failed.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "still taken");
        tokio::task::yield_now().await;
    }
    assert_eq!(ground.ask("web.", RecordType::A).await.answers.len(), 1);
    let early = Zones {
        networks: vec![NetworkNames {
            listen: vec!["203.0.113.77".parse().unwrap()],
            ..ground.zones(true, vec![]).networks.remove(0)
        }],
        ..Zones::default()
    };
    assert!(ground.server.publish(&early).await.unwrap().failed.is_empty());
}

#[tokio::test]
async fn what_is_not_ours_is_asked_of_the_hosts_servers_and_kept() {
    let outside = Outside::start(|request, _| {
        let mut reply = response(request, ResponseCode::NoError);
        reply.add_answer(address_record(request, 300));
        Some(reply)
    })
    .await;
    let ground = Ground::new();
    ground.use_upstream(outside.address);
    ground.publish(true, vec![member("web", &["10.1.0.5"])]).await;
    for _ in 0..3 {
        let reply = ground.ask("www.example.com.", RecordType::A).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.metadata.recursion_available);
        assert_eq!(reply.answers[0].data, RData::A(A::new(192, 0, 2, 80)));
    }
    assert_eq!(outside.asked(), 1);
    // Never anything of ours, whether it exists or not.
    ground.ask("web.", RecordType::AAAA).await;
    ground.ask("nobody.shop.hull.internal.", RecordType::A).await;
    assert_eq!(outside.asked(), 1);
    // Not from an internal network either.
    ground.publish(false, vec![]).await;
    let reply = ground.ask("other.example.com.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(outside.asked(), 1);
}

#[tokio::test]
async fn many_who_ask_the_same_are_one_question() {
    let outside = Outside::start(|request, _| {
        let mut reply = response(request, ResponseCode::NoError);
        reply.add_answer(address_record(request, 300));
        Some(reply)
    })
    .await;
    let ground = Arc::new(Ground::new());
    ground.use_upstream(outside.address);
    ground.publish(true, vec![]).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let ground = ground.clone();
        all.spawn(async move { ground.ask("same.example.com.", RecordType::A).await });
    }
    while let Some(reply) = all.join_next().await {
        assert_eq!(reply.unwrap().answers.len(), 1);
    }
    assert_eq!(outside.asked(), 1);
}

#[tokio::test]
async fn bad_news_is_kept_too() {
    let outside = Outside::start(|request, _| {
        let mut reply = response(request, ResponseCode::NXDomain);
        let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, 60);
        reply.add_authority(Record::from_rdata(Name::root(), 60, RData::SOA(soa)));
        Some(reply)
    })
    .await;
    let ground = Ground::new();
    ground.use_upstream(outside.address);
    ground.publish(true, vec![]).await;
    for _ in 0..3 {
        let reply = ground.ask("nothing.example.com.", RecordType::A).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(reply.authorities.len(), 1);
    }
    assert_eq!(outside.asked(), 1);
}

#[tokio::test]
async fn a_long_answer_comes_by_tcp() {
    let text = |request: &Message| {
        let name = request.queries[0].name().clone();
        let data = RData::TXT(TXT::new(vec!["x".repeat(200); 20]));
        Record::from_rdata(name, 300, data)
    };
    let outside = Outside::start(move |request, tcp| {
        let mut reply = response(request, ResponseCode::NoError);
        if tcp {
            reply.add_answer(text(request));
        } else {
            reply.metadata.truncation = true;
        }
        Some(reply)
    })
    .await;
    let ground = Ground::new();
    ground.use_upstream(outside.address);
    ground.publish(true, vec![]).await;
    let cut = ground.ask("long.example.com.", RecordType::TXT).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let resolver = ground.resolver(ConnectionConfig::tcp());
    assert_eq!(resolver.txt_lookup("long.example.com.").await.unwrap().answers().len(), 1);
}

#[tokio::test]
async fn a_server_that_fails_is_passed_over() {
    let bad = Outside::start(|request, _| Some(response(request, ResponseCode::ServFail))).await;
    let forged = Outside::start(|request, _| {
        // The wrong number: it came from somebody else.
        let mut reply = response(request, ResponseCode::NoError);
        reply.metadata.id = request.metadata.id.wrapping_add(1);
        reply.add_answer(address_record(request, 300));
        Some(reply)
    })
    .await;
    let good = Outside::start(|request, _| {
        // One who doesn't know EDNS.
        if request.edns.is_some() {
            return Some(response(request, ResponseCode::FormErr));
        }
        let mut reply = response(request, ResponseCode::NoError);
        reply.add_answer(address_record(request, 300));
        Some(reply)
    })
    .await;
    let ground = Ground::new();
    let text = format!(
        "nameserver {}\nnameserver {}\nnameserver {}\n",
        bad.address, forged.address, good.address
    );
    std::fs::write(ground.directory.path().join("resolv.conf"), text).unwrap();
    ground.publish(true, vec![]).await;
    let reply = ground.ask("www.example.com.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!((bad.asked(), good.asked()), (1, 2));
}

#[tokio::test]
async fn silence_becomes_a_failure_in_time() {
    let outside = Outside::start(|_, _| None).await;
    let ground = Ground::new();
    ground.use_upstream(outside.address);
    ground.publish(true, vec![member("web", &["10.1.0.5"])]).await;
    let started = Instant::now();
    let asked = ground.ask("www.example.com.", RecordType::A);
    let (reply, ours) = tokio::join!(asked, ground.ask("web.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(ours.answers.len(), 1, "others are answered meanwhile");
}

#[tokio::test]
async fn a_servers_own_address_is_never_asked() {
    let ground = Ground::new();
    ground.use_upstream(ground.address);
    ground.publish(true, vec![]).await;
    let started = Instant::now();
    let reply = ground.ask("www.example.com.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_instances_own_servers_are_asked_for_it() {
    let answering = |last: u8| {
        move |request: &Message, _: bool| {
            let mut reply = response(request, ResponseCode::NoError);
            let data = RData::A(A::new(192, 0, 2, last));
            reply.add_answer(Record::from_rdata(request.queries[0].name().clone(), 300, data));
            Some(reply)
        }
    };
    let (hosts, own) = (Outside::start(answering(1)).await, Outside::start(answering(2)).await);
    let ground = Ground::new();
    ground.use_upstream(hosts.address);
    // The test asks from 127.0.0.1: that is this instance's address.
    let choosy = Member { servers: vec![own.address], ..member("choosy", &["127.0.0.1"]) };
    ground.publish(true, vec![choosy]).await;
    let reply = ground.ask("www.example.com.", RecordType::A).await;
    assert_eq!(reply.answers[0].data, RData::A(A::new(192, 0, 2, 2)));
    assert_eq!((hosts.asked(), own.asked()), (0, 1));
}

#[tokio::test]
async fn strangers_are_refused_and_answers_never_answered() {
    let ground = Ground::new();
    let mut zones = ground.zones(true, vec![member("web", &["10.1.0.5"])]);
    zones.networks[0].subnets = vec!["10.1.0.0/24".parse().unwrap()];
    ground.server.publish(&zones).await.unwrap();
    let reply = ground.ask("web.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    ground.publish(true, vec![]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut answer = question("web.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    let to = SocketAddr::new(ground.address, PORT);
    socket.send_to(&answer.to_vec().unwrap(), to).await.unwrap();
    // Had it been answered, that answer would come first.
    let real = question("web.shop.hull.internal.", RecordType::A);
    socket.send_to(&real.to_vec().unwrap(), to).await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.id, real.metadata.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_questions_a_second_are_no_trouble() {
    let ground = Ground::new();
    let members = (0..1000_u32)
        .map(|i| {
            let address = Ipv4Addr::from(0x0a01_0000 + i).to_string();
            member(&format!("instance-{i}"), &[&address])
        })
        .collect();
    ground.publish(true, members).await;
    let to = SocketAddr::new(ground.address, PORT);
    let started = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for client in 0..16 {
        all.spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut buffer = [0; 512];
            for i in 0..1250 {
                let name = format!("instance-{}.", (client * 61 + i) % 1000);
                let message = question(&name, RecordType::A).to_vec().unwrap();
                socket.send_to(&message, to).await.unwrap();
                let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
                assert!(received.unwrap().unwrap() > 12);
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    let rate = 20_000.0 / started.elapsed().as_secs_f64();
    eprintln!("{rate:.0} questions a second, client and server in one process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_swapped_under_load_without_a_wrong_answer() {
    let ground = Arc::new(Ground::new());
    ground.publish(true, vec![member("web", &["10.1.0.5"])]).await;
    let asking = ground.clone();
    let asked = tokio::spawn(async move {
        for _ in 0..500 {
            assert_eq!(asking.ask("web.", RecordType::A).await.answers.len(), 1);
        }
    });
    let mut round = 0_u8;
    while !asked.is_finished() {
        round = round.wrapping_add(1);
        ground.publish(true, vec![member("web", &[&format!("10.1.0.{round}")])]).await;
        tokio::task::yield_now().await;
    }
    asked.await.unwrap();
}

/// A network namespace with loopback up, for as long as the process in it lives.
struct Namespace {
    keeper: std::process::Child,
    path: std::path::PathBuf,
}

impl Namespace {
    fn new() -> Option<Self> {
        use std::io::Read;
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let mut command = std::process::Command::new("unshare");
        command.args(["-n", "sh", "-ec", "ip link set lo up; echo up; exec sleep 300"]);
        let mut keeper = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        keeper.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        let path = format!("/proc/{}/ns/net", keeper.id()).into();
        Some(Self { keeper, path })
    }

    /// Does work inside.
    fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        use std::os::fd::AsFd;
        let file = std::fs::File::open(&self.path).unwrap();
        let inside = move || {
            rustix::thread::move_into_link_name_space(file.as_fd(), None).unwrap();
            work()
        };
        std::thread::spawn(inside).join().unwrap()
    }

    /// The addresses a name has when it is asked for inside, by UDP.
    fn ask(&self, server: SocketAddr, name: &str) -> Vec<IpAddr> {
        let message = question(name, RecordType::A);
        let answer = self.enter(move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(&message.to_vec().unwrap(), server).unwrap();
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).unwrap();
            Message::from_vec(&buffer[..length]).unwrap()
        });
        let address = |record: &Record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        };
        answer.answers.iter().filter_map(address).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_inside_a_namespace_is_its_owner() {
    let Some(namespace) = Namespace::new() else { return };
    let ground = Ground::new();
    let at: SocketAddr = "127.0.0.11:61053".parse().unwrap();
    let mut zones =
        ground.zones(false, vec![member("web", &["127.9.0.5"]), member("db", &["127.9.0.6"])]);
    let place = |path: &std::path::Path| Inside {
        path: path.to_owned(),
        inode: 1,
        at,
        listen: ground.address,
        source: "127.9.0.5".parse().unwrap(),
    };
    // In one that is gone, or not there yet, nobody asks.
    let soon = tempfile::NamedTempFile::new().unwrap();
    zones.inside = ["/proc/1/ns/nosuch".as_ref(), soon.path(), &namespace.path].map(place).into();
    // Somebody inside was faster.
    let other = namespace.enter(move || std::net::UdpSocket::bind(at).unwrap());
    let listening = ground.server.publish(&zones).await.unwrap();
    let failed: Vec<SocketAddr> = listening.failed.iter().map(|(address, _)| *address).collect();
    assert_eq!(failed, [at]);
    drop(other);
    let listening = ground.server.publish(&zones).await.unwrap();
    assert!(listening.failed.is_empty(), "it is tried again: {:?}", listening.failed);
    assert_eq!(namespace.ask(at, "db"), ["127.9.0.6".parse::<IpAddr>().unwrap()]);
    // Who has nobody's address is told nothing.
    let source = "192.0.2.9".parse().unwrap();
    zones.inside = [Inside { source, ..place(&namespace.path) }].into();
    ground.server.publish(&zones).await.unwrap();
    zones.inside.clear();
    ground.server.publish(&zones).await.unwrap();
    let free = || namespace.enter(move || std::net::UdpSocket::bind(at).is_ok());
    let since = Instant::now();
    while !free() {
        assert!(since.elapsed() < PATIENCE, "it is let go when nobody is there");
        tokio::task::yield_now().await;
    }
}
