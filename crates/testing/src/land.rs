//! A network that a test made itself: a namespace for a node to live in, and the world outside it.
//!
//! ```text
//!   node's host  198.51.100.2, fd99::2 ── up0 ════ out0 ── 198.51.100.1, fd99::1  outside
//! ```
//! The addresses are those for documentation (RFC 5737) and unique local ones (RFC 4193), which no
//! machine has. What a test that was killed leaves is swept with its node.

use std::fs::File;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::node::REGISTRY;

/// The node's own addresses.
pub const NODE: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 2)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2)),
];

/// The outside's addresses.
pub const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1)),
];

/// Largest packet of the uplink, bytes; no interface has it by itself.
pub const MTU: u32 = 1380;

/// Both namespaces. They go when it is dropped.
#[derive(Debug)]
pub struct Land {
    name: String,
}

impl Land {
    /// Makes both, with the uplink between them.
    pub fn make(name: &str) -> Result<Self> {
        let land = Self { name: format!("hull-{name}-{}", std::process::id()) };
        let (node, outside) = (land.namespace('n'), land.namespace('o'));
        run(Command::new("ip").args(["netns", "add", &node]))?;
        run(Command::new("ip").args(["netns", "add", &outside]))?;
        let mtu = MTU.to_string();
        run(Command::new("ip")
            .args(["link", "add", "up0", "mtu", &mtu, "netns", &node, "type", "veth"])
            .args(["peer", "name", "out0", "mtu", &mtu, "netns", &outside]))?;
        for (side, link, own) in [('n', "up0", NODE), ('o', "out0", OUTSIDE)] {
            let ip = |words: &str| run(land.ip(side).args(words.split(' ')));
            ip("link set lo up")?;
            ip(&format!("addr add {}/24 dev {link}", own[0]))?;
            ip(&format!("addr add {}/64 dev {link} nodad", own[1]))?;
            ip(&format!("link set {link} up"))?;
        }
        for gateway in OUTSIDE {
            run(land.ip('n').args(["route", "add", "default", "via", &gateway.to_string()]))?;
        }
        Ok(land)
    }

    /// What the namespaces are called, without the letter that tells them apart.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command in the namespace of the node's host.
    pub fn inside(&self, command: &[&str]) -> Command {
        self.command('n', command)
    }

    /// A command in the namespace of the outside.
    pub fn outside(&self, command: &[&str]) -> Command {
        self.command('o', command)
    }

    /// Runs a command on the node's host; what it printed.
    pub fn on_host(&self, command: &[&str]) -> Result<String> {
        run(&mut self.inside(command))
    }

    /// Works on the node's host: sockets opened there belong there.
    pub fn at_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.at('n', work)
    }

    /// Works outside.
    pub fn at_outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.at('o', work)
    }

    fn at<T: Send>(&self, side: char, work: impl FnOnce() -> T + Send) -> Result<T> {
        within(Path::new(&format!("/run/netns/{}", self.namespace(side))), work)
    }

    /// Lets the node find the starter images where a node of the machine finds them. Ends with the
    /// test.
    pub fn reach_registry(&self) -> Result<()> {
        let listener = self.at_host(|| TcpListener::bind(REGISTRY))??;
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                std::thread::spawn(move || pass_on(&caller));
            }
        });
        Ok(())
    }

    fn namespace(&self, side: char) -> String {
        format!("{}-{side}", self.name)
    }

    fn ip(&self, side: char) -> Command {
        let mut command = Command::new("ip");
        command.args(["-n", &self.namespace(side)]);
        command
    }

    fn command(&self, side: char, command: &[&str]) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net=/run/netns/{}", self.namespace(side))).args(command);
        nsenter
    }
}

impl Drop for Land {
    fn drop(&mut self) {
        for side in ['n', 'o'] {
            // The sweeper may have been faster.
            let _ = Command::new("ip")
                .args(["netns", "del", &self.namespace(side)])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Works in the network namespace that a file is mounted on.
pub fn within<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let namespace = File::open(namespace)?;
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        });
        there.join().map_err(|_| anyhow!("the thread panicked"))?
    })
}

/// Both directions, until both have ended.
fn pass_on(caller: &TcpStream) {
    let Ok(registry) = TcpStream::connect(REGISTRY) else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| pour(caller, &registry));
        pour(&registry, caller);
    });
}

fn pour(mut from: &TcpStream, mut to: &TcpStream) {
    // Whoever hung up has no use for the rest.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
