//! What real clients make of the answers: those of Debian and busybox, each in a namespace of its own
//! behind a bridge as a guest is.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use machines::config::Nic;
use machines::dhcp::Server;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);

/// Says whether a program is here; with `HULL_E2E` set it must be.
fn present(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    let can = found.status.success() && nix::unistd::geteuid().is_root();
    assert!(can || std::env::var_os("HULL_E2E").is_none(), "{program}, or root, is not there");
    if !can {
        eprintln!("skipped: {program}, or root, is not there");
    }
    can
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nic() -> Nic {
    Nic {
        tap: "tap0".to_owned(),
        mac: "02:00:00:00:00:09".to_owned(),
        mtu: 1450,
        ipv4: Some("10.7.0.5/24".parse().unwrap()),
        ipv6: Some("fd00:7::5/64".parse().unwrap()),
        gateway4: Some("10.7.0.1".parse().unwrap()),
        gateway6: Some("fd00:7::1".parse().unwrap()),
        router6: Some("fe80::1".parse().unwrap()),
        dns: ["10.7.0.1", "fd00:7::1"].map(|server| server.parse().unwrap()).to_vec(),
        search: ["app.hull.internal", "hull.internal"].map(str::to_owned).to_vec(),
        hostname: "db-1".to_owned(),
    }
}

/// A guest's namespace behind a card that is answered. The platform's side is a namespace as well:
/// a bridge with the card and a port to a network where nobody else is.
struct Guest {
    directory: TempDir,
    holder: Running,
    _server: mpsc::Sender<()>,
}

impl Guest {
    fn new(nic: Nic) -> Self {
        let directory = TempDir::new().unwrap();
        let hold = ["--net", "--mount", "sleep", "infinity"];
        let holder = Running(Command::new("unshare").args(hold).spawn().unwrap());
        let (ready, opened) = mpsc::channel();
        let (server, ends) = mpsc::channel::<()>();
        let inside = holder.0.id();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            // The namespace of the holder is there once it is another than this process's.
            shell(&format!(
                "ip link set lo up
                 ip link add br0 type bridge && ip link set br0 up
                 ip link add tap0 type veth peer name guest0 address {}
                 ip link add net0 type veth peer name net1 && ip link set net1 up
                 ip link set tap0 master br0 && ip link set net0 master br0
                 while [ $(readlink /proc/{inside}/ns/net) = $(readlink /proc/1/ns/net) ]; do :; done
                 ip link set guest0 name eth0 netns {inside}
                 ip link set net0 up && ip link set tap0 up",
                nic.mac
            ));
            let server = Server::open(&[nic]).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            ready.send(()).unwrap();
            let _answering = {
                let _inside = runtime.enter();
                server.start()
            };
            runtime.block_on(async {
                tokio::task::spawn_blocking(move || ends.recv()).await.unwrap().unwrap_err();
            });
        });
        opened.recv_timeout(SOON).unwrap();
        let guest = Self { directory, holder, _server: server };
        guest.run(
            "mount --make-rprivate / && mount -t tmpfs none /var/lib && mount -t tmpfs none /run
             echo 2 > /proc/sys/net/ipv6/conf/eth0/accept_ra
             echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
             ip link set lo up",
        );
        guest
    }

    fn command(&self, script: &str) -> Command {
        let inside = self.holder.0.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &inside, "-n", "-m", "sh", "-ec", script]);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, script: &str) -> String {
        let done = self.command(script).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{script}: {text}{}", String::from_utf8_lossy(&done.stderr));
        text
    }

    /// Runs a client whose hook writes down what it was told, until `said` is all in it.
    fn learns(&self, client: &str, said: &[&str]) {
        let hook = self.directory.path().join("hook");
        let told = self.directory.path().join("told");
        let script = format!("#!/bin/sh\nenv >> {}\n", told.display());
        fs::write(&hook, script).unwrap();
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(&told, "").unwrap();
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = self.command(client);
        command.env("HOOK", &hook).stdout(log.try_clone().unwrap()).stderr(log);
        let _client = Running(command.spawn().unwrap());
        let missing = |told: &Path| {
            let text = fs::read_to_string(told).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            said.iter().filter(|line| !lines.contains(line)).copied().collect::<Vec<_>>()
        };
        until(
            || missing(&told).is_empty(),
            || {
                let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap();
                format!(
                    "{client} was not told {:?}:\n{}\n{}",
                    missing(&told),
                    read("told"),
                    read("log")
                )
            },
        );
    }
}

fn shell(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

fn until(mut done: impl FnMut() -> bool, why: impl Fn() -> String) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "{}", why());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn busybox_is_told_who_it_is() {
    if !present("busybox") {
        return;
    }
    let guest = Guest::new(nic());
    guest.run("ip link set eth0 up");
    let said = [
        "interface=eth0",
        "ip=10.7.0.5",
        "mask=24",
        "subnet=255.255.255.0",
        "router=10.7.0.1",
        "dns=10.7.0.1",
        "search=app.hull.internal hull.internal",
        "hostname=db-1",
        "mtu=1450",
        "serverid=10.7.0.1",
    ];
    let client = "exec busybox udhcpc -f -i eth0 -s $HOOK -O search -O mtu -O hostname";
    guest.learns(client, &said);
    // Answers to everybody, after it was told that another address is not to be had.
    guest.learns(&format!("{client} -B -r 10.7.0.77"), &said);
}

#[test]
fn debians_client_is_told_who_it_is() {
    if !present("dhclient") {
        return;
    }
    let guest = Guest::new(nic());
    guest.run("ip link set eth0 up");
    let said = [
        "new_ip_address=10.7.0.5",
        "new_subnet_mask=255.255.255.0",
        "new_routers=10.7.0.1",
        "new_domain_name_servers=10.7.0.1",
        "new_domain_search=app.hull.internal. hull.internal.",
        "new_host_name=db-1",
        "new_interface_mtu=1450",
        "new_dhcp_lease_time=4294967295",
    ];
    guest.learns("touch lease; exec dhclient -d -sf $HOOK -lf lease -pf pid eth0", &said);
    let said = [
        "new_ip6_address=fd00:7::5",
        "new_dhcp6_name_servers=fd00:7::1",
        "new_dhcp6_domain_search=app.hull.internal. hull.internal.",
        "new_max_life=4294967295",
    ];
    guest.learns("touch lease6; exec dhclient -6 -d -sf $HOOK -lf lease6 -pf pid6 eth0", &said);
}

#[test]
fn dhcpcd_is_told_who_it_is() {
    if !present("dhcpcd") {
        return;
    }
    let guest = Guest::new(nic());
    let said = [
        "new_ip_address=10.7.0.5",
        "new_subnet_cidr=24",
        "new_routers=10.7.0.1",
        "new_domain_search=app.hull.internal hull.internal",
        "new_dhcp6_ia_na1_ia_addr1=fd00:7::5",
        "new_dhcp6_name_servers=fd00:7::1",
        "nd1_from=fe80::1",
        "nd1_mtu=1450",
    ];
    guest.learns("exec dhcpcd -B -d -f /dev/null -o interface_mtu -o domain_search -o routers -o dhcp6_name_servers --script $HOOK eth0", &said);
}

#[test]
fn a_guest_without_a_client_finds_the_way_out() {
    if !present("ip") {
        return;
    }
    let guest = Guest::new(nic());
    guest.run("ip link set eth0 up");
    let found = || guest.run("ip -6 route");
    until(|| found().contains("default via fe80::1 dev eth0"), found);
    assert!(found().contains("fd00:7::/64 dev eth0"), "{}", found());
    assert!(!guest.run("ip -6 addr").contains("fd00:7:"), "no address is made of the prefix");
}
