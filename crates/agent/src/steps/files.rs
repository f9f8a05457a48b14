//! Step: the files every container of an instance finds in its `/etc`, and its shared memory.

use std::net::IpAddr;
use std::path::PathBuf;

use containers::Bind;
use dns::files::{Hosts, ResolvConf};
use model::error::Context as _;
use model::instance::{ContainerSpec, Instance, NetworkMode, Sharing};
use model::{ErrorKind, Result};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::worker::Worker;

const FILES: [(&str, &str); 4] = [
    ("hosts", "/etc/hosts"),
    ("hostname", "/etc/hostname"),
    ("resolv.conf", "/etc/resolv.conf"),
    // Empty. Programs that want to know whether they are in a container look for it.
    ("dockerenv", "/.dockerenv"),
];

/// Domain under which the names of all instances stand.
pub const DOMAIN: &str = "hull.internal";

/// The name an instance calls itself.
pub fn host_name(worker: &Worker, wanted: &Instance) -> String {
    let spec = &wanted.spec;
    // What has the host's network is found under the host's name.
    let as_host = spec.uts == Sharing::Host || matches!(spec.network, NetworkMode::Host);
    match spec.hostname.as_str() {
        "" if as_host => {
            let name = rustix::system::uname();
            name.nodename().to_string_lossy().into_owned()
        }
        "" => worker.uid.short().to_owned(),
        own => own.to_owned(),
    }
}

/// The name a machine's guest is to call itself: as people call the instance, which a guest's log-in
/// prompt and its own logs show.
pub fn machine_name(wanted: &Instance) -> String {
    match wanted.spec.hostname.as_str() {
        "" if wanted.meta.name.len() > model::name::MAX_DNS_LABEL => {
            wanted.meta.id.short().to_owned()
        }
        "" => wanted.meta.name.clone(),
        own => own.to_owned(),
    }
}

/// Writes the files, in place: containers have them mounted.
pub fn write(worker: &Worker, wanted: &Instance) -> Result<()> {
    let name = host_name(worker, wanted);
    let host = matches!(wanted.spec.network, NetworkMode::Host);
    let (hosts, resolv_conf) = match host {
        true => (host_file("/etc/hosts"), host_file("/etc/resolv.conf")),
        false => (hosts(worker, wanted, &name), resolv_conf(worker, wanted)),
    };
    let texts = [hosts, dns::files::hostname(&name), resolv_conf, String::new()];
    std::fs::create_dir_all(&worker.dir)
        .context(ErrorKind::Unavailable, || format!("cannot make {}", worker.dir.display()))?;
    for ((file, _), text) in FILES.iter().zip(texts) {
        let path = worker.dir.join(file);
        std::fs::write(&path, text)
            .context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))?;
    }
    share_memory(worker, wanted)
}

/// The mounts of these files in a container, but those it mounts something of its own at.
pub fn binds(worker: &Worker, wanted: &Instance, container: &ContainerSpec) -> Vec<Bind> {
    let own = |target: &str| container.mounts.iter().any(|mount| mount.target == target);
    let files = FILES.iter().filter(|(_, target)| !own(target));
    let mut binds: Vec<Bind> =
        files.map(|(file, target)| Bind::new(worker.dir.join(file), *target)).collect();
    if let Some(path) = shared_memory(worker, wanted)
        && !own("/dev/shm")
    {
        binds.push(Bind::new(path, "/dev/shm"));
    }
    binds
}

fn hosts(worker: &Worker, wanted: &Instance, name: &str) -> String {
    let addresses = own_addresses(wanted);
    let gateways = gateways(worker, wanted);
    dns::files::hosts(&Hosts {
        hostname: name,
        domainname: &wanted.spec.domainname,
        addresses: &addresses,
        extra: &wanted.spec.extra_hosts,
        gateways: &gateways,
    })
}

fn resolv_conf(worker: &Worker, wanted: &Instance) -> String {
    let servers = match wanted.spec.network {
        // No network of the platform's: the servers asked for, asked directly.
        NetworkMode::None | NetworkMode::Host => wanted.spec.dns.servers.clone(),
        NetworkMode::Networks { .. } | NetworkMode::Instance { .. } => gateways(worker, wanted),
    };
    let host = dns::read_resolv_conf(std::path::Path::new("/etc/resolv.conf"));
    let host_search = host.map(|host| host.search).unwrap_or_default();
    dns::files::resolv_conf(&ResolvConf {
        dns: &wanted.spec.dns,
        servers: &servers,
        domain: &format!("{}.{DOMAIN}", wanted.meta.project),
        host_search: &host_search,
    })
}

fn own_addresses(wanted: &Instance) -> Vec<IpAddr> {
    let placement = wanted.spec.placement.iter().flat_map(|placement| &placement.interfaces);
    placement
        .flat_map(|interface| {
            let ipv4 = interface.ipv4.map(|net| IpAddr::from(net.addr()));
            ipv4.into_iter().chain(interface.ipv6.map(|net| IpAddr::from(net.addr())))
        })
        .collect()
}

/// The host's addresses on the instance's networks, first network first.
fn gateways(worker: &Worker, wanted: &Instance) -> Vec<IpAddr> {
    let placement = wanted.spec.placement.iter().flat_map(|placement| &placement.interfaces);
    placement.flat_map(|interface| worker.context.gateways(&interface.network_id)).collect()
}

fn host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Where the shared memory of an instance is whose containers, or other instances, share it.
pub fn shared_memory(worker: &Worker, wanted: &Instance) -> Option<PathBuf> {
    match &wanted.spec.ipc {
        Sharing::Group => Some(worker.context.places.shm(&worker.uid)),
        Sharing::Instance(name) => {
            let other = worker.context.roster.named(&wanted.meta.project, name)?;
            let other = other.wanted.borrow().meta.id.clone();
            Some(worker.context.places.shm(&other))
        }
        Sharing::Private | Sharing::Host => None,
    }
}

fn share_memory(worker: &Worker, wanted: &Instance) -> Result<()> {
    if wanted.spec.ipc != Sharing::Group {
        return Ok(());
    }
    let path = worker.context.places.shm(&worker.uid);
    if is_mount_point(&path) {
        return Ok(());
    }
    let size = wanted.spec.main().and_then(|main| main.shm_size).map_or(64 << 20, |size| size.0);
    let failed = || format!("cannot make shared memory at {}", path.display());
    std::fs::create_dir_all(&path).context(ErrorKind::Unavailable, failed)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = std::ffi::CString::new(format!("mode=1777,size={size}"))
        .expect("digits and letters have no zero byte");
    rustix::mount::mount("shm", &path, "tmpfs", flags, options.as_c_str())
        .context(ErrorKind::Unavailable, failed)
}

/// Takes the shared memory away.
pub fn release(worker: &Worker) -> Result<()> {
    let path = worker.context.places.shm(&worker.uid);
    if !path.exists() {
        return Ok(());
    }
    if is_mount_point(&path) {
        rustix::mount::unmount(&path, UnmountFlags::DETACH)
            .context(ErrorKind::Unavailable, || format!("cannot unmount {}", path.display()))?;
    }
    std::fs::remove_dir(&path)
        .context(ErrorKind::Unavailable, || format!("cannot remove {}", path.display()))
}

pub fn is_mount_point(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &std::path::Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    device(path).is_some_and(|own| path.parent().and_then(device) != Some(own))
}
