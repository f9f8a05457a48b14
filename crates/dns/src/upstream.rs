//! Whom the host asks: `/etc/resolv.conf`, followed as it changes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use model::error::Context;
use model::{ErrorKind, Result};
use tokio::time::Instant;

/// How often the file is looked at, at most, and only when somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Port of name servers (RFC 1035, section 4.2).
const DOMAIN: u16 = 53;

/// What a resolv.conf(5) says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostResolvConf {
    /// The servers, in order.
    pub servers: Vec<SocketAddr>,
    /// The search domains, in order.
    pub search: Vec<String>,
    /// The options, such as `ndots:2`.
    pub options: Vec<String>,
}

impl HostResolvConf {
    /// Reads the text; what isn't understood is passed over, as the C library does.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
        for line in lines {
            let mut words = line.split_whitespace();
            let rest = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                // The last of `search` and `domain` counts.
                Some("search" | "domain") => conf.search = rest(words),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }
}

/// The resolv.conf at `path`.
pub fn read_resolv_conf(path: &Path) -> Result<HostResolvConf> {
    let text = std::fs::read_to_string(path)
        .context(ErrorKind::Unavailable, || format!("{} cannot be read", path.display()))?;
    Ok(HostResolvConf::parse(&text))
}

/// An address, for a link-local one with its interface: `fe80::1%eth0`.
fn server(text: &str) -> Option<SocketAddr> {
    let Some((address, interface)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, DOMAIN));
    };
    let scope = match interface.parse() {
        Ok(number) => number,
        Err(_) => interface_index(interface)?,
    };
    Some(SocketAddr::V6(SocketAddrV6::new(address.parse().ok()?, DOMAIN, 0, scope)))
}

fn interface_index(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(any, name).ok()
}

/// The host's servers, as the file says now.
#[derive(Debug)]
pub(crate) struct Upstream {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    looked: Option<Instant>,
    stamp: Option<(SystemTime, u64)>,
    servers: Arc<[SocketAddr]>,
}

impl Upstream {
    pub(crate) fn new(path: PathBuf) -> Self {
        let seen = Seen { looked: None, stamp: None, servers: default_servers() };
        Self { path, seen: Mutex::new(seen) }
    }

    /// The servers, and whether they changed since the last call.
    pub(crate) fn servers(&self) -> (Arc<[SocketAddr]>, bool) {
        let mut seen = self.seen.lock().expect("no holder of the lock panics");
        if seen.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return (seen.servers.clone(), false);
        }
        seen.looked = Some(Instant::now());
        let stamp = stamp(&self.path);
        if stamp.is_none() || stamp == seen.stamp {
            return (seen.servers.clone(), false);
        }
        // A file that can't be read leaves those of before; one without servers means this host.
        let Ok(conf) = read_resolv_conf(&self.path) else { return (seen.servers.clone(), false) };
        seen.stamp = stamp;
        let servers = match conf.servers.is_empty() {
            true => default_servers(),
            false => conf.servers.into(),
        };
        let changed = servers != seen.servers;
        seen.servers = servers;
        (seen.servers.clone(), changed)
    }
}

/// Without a server, resolv.conf(5) means this host.
fn default_servers() -> Arc<[SocketAddr]> {
    Arc::new([SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DOMAIN)])
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_the_c_library_does() {
        let conf = HostResolvConf::parse(
            "# by hand\nnameserver 127.0.0.53\nnameserver fe80::1%1 ; local\nnameserver x\n\
             domain old.example\nsearch a.example b.example\noptions edns0 ndots:2\nunknown 1\n",
        );
        let servers: Vec<_> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[fe80::1%1]:53"]);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!(conf.options, ["edns0", "ndots:2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let upstream = Upstream::new(path.clone());
        assert_eq!(upstream.servers().0.to_vec(), default_servers().to_vec());
        std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(upstream.servers().0.to_vec(), default_servers().to_vec(), "looked just now");
        tokio::time::advance(LOOK_EVERY).await;
        let (servers, changed) = upstream.servers();
        assert!(changed);
        assert_eq!(servers[0].to_string(), "192.0.2.1:53");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(upstream.servers().0, servers, "kept");
    }
}
