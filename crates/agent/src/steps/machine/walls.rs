//! The container that a machine runs in.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use containers::{Bind, ContainerConfig};
use machines::config::{Accelerator, DIRECTORY, DISKS, MachineConfig, Share};
use model::error::Context as _;
use model::image::ImageConfig;
use model::instance::{Capabilities, ContainerSpec, Device, MountKind, Resources, Ulimit};
use model::{Bytes, Error, ErrorKind, Result, Uid};

use super::share;
use crate::steps::container::host_bind;
use crate::steps::volume::Mounted;
use crate::worker::Worker;

/// Users of machines begin here, far from those of people and of distributions' services; each
/// machine has one of its own, so that one that broke out of its guest finds nothing of another's.
const FIRST_USER: u32 = 0x7000_0000;
/// Where the program is inside.
const MONITOR: &str = "/hull";
/// What QEMU and the monitor are made of.
const HOST: [&str; 5] = ["/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache"];
/// Held by the monitor until its files are open: the sockets of DHCP, then another user, the devices.
const FIRST_CAPABILITIES: [&str; 5] = ["NET_RAW", "SETUID", "SETGID", "SETPCAP", "CHOWN"];

/// What the servers of shared directories hold as well: to act as any owner, and to shut themselves in.
const SERVERS_CAPABILITIES: [&str; 4] = ["DAC_OVERRIDE", "FOWNER", "FSETID", "SYS_CHROOT"];

/// The user that a machine's QEMU runs as.
pub fn user_of(uid: &Uid) -> u32 {
    FIRST_USER | u32::from_str_radix(&uid.as_str()[..6], 16).unwrap_or_default()
}

/// Makes a directory that only the machine's user (and root) may look into.
pub fn own_directory(directory: &Path, user: u32) -> Result<()> {
    let failed = || format!("cannot make {}", directory.display());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .context(ErrorKind::Unavailable, failed)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
        .context(ErrorKind::Unavailable, failed)?;
    std::os::unix::fs::chown(directory, Some(user), Some(user))
        .context(ErrorKind::Unavailable, failed)
}

/// What is shared with the guest: volumes, and directories of the host. Where QEMU shares them itself, a
/// volume becomes its user's.
pub fn shares(
    container: &ContainerSpec,
    mounted: &[Mounted],
    owner: Option<u32>,
) -> Result<Vec<(Share, Bind)>> {
    let mut found = Vec::new();
    let mut add = |source: PathBuf, target: &str, read_only: bool| {
        let share = share(found.len(), target, read_only);
        let mut bind = Bind::new(source, share.path.to_string_lossy());
        bind.read_only = read_only;
        found.push((share, bind));
    };
    for volume in mounted.iter().filter(|volume| volume.disk.is_none()) {
        if !volume.source.is_dir() {
            return Err(Error::unsupported("a file of a volume cannot be shared with a machine")
                .at("mounts")
                .next("share the directory it is in"));
        }
        if let (false, Some(user)) = (volume.read_only, owner) {
            // QEMU writes there in the guest's name; who owns what inside is kept in attributes.
            super::disks::give(&volume.source, user)?;
        }
        add(volume.source.clone(), &volume.target, volume.read_only);
    }
    for mount in &container.mounts {
        match &mount.kind {
            MountKind::Bind { .. } => {
                let bind = host_bind(mount)?;
                if let Some(file) = bind.iter().find(|bind| !bind.source.is_dir()) {
                    return Err(Error::unsupported(format!(
                        "{} is no directory, and nothing else can be shared with a machine",
                        file.source.display()
                    ))
                    .at("mounts")
                    .next("share the directory it is in, or copy it: hull cp"));
                }
                bind.into_iter().for_each(|bind| add(bind.source, &mount.target, bind.read_only));
            }
            // A volume came mounted; memory is the guest's own business.
            MountKind::Volume { .. } | MountKind::Tmpfs { .. } => {}
        }
    }
    Ok(found)
}

/// The walls: the same network, log and cgroup as every container; all else is closed.
pub fn config(
    worker: &Worker,
    machine: &MachineConfig,
    shares: Vec<Bind>,
    mut config: ContainerConfig,
) -> Result<ContainerConfig> {
    let mut binds: Vec<Bind> = HOST
        .iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| Bind::new(*path, *path).read_only())
        .collect();
    binds.push(Bind::new(worker.context.program.clone(), MONITOR).read_only());
    binds.push(Bind::new(worker.context.places.machine(&worker.uid), DIRECTORY));
    let disks = format!("{DIRECTORY}/{DISKS}");
    binds.push(Bind::new(super::disks::directory(worker), disks));
    binds.extend(shares);
    let spec = &config.spec;
    config.spec = ContainerSpec {
        name: spec.name.clone(),
        image: spec.image.clone(),
        pull: spec.pull,
        entrypoint: Some(vec![MONITOR.to_owned(), machines::monitor::MODE.to_owned()]),
        command: Some(Vec::new()),
        // The guest's serial line.
        tty: true,
        stdin: true,
        resources: resources(&spec.resources, machine),
        capabilities: Capabilities {
            add: capabilities(machine).map(str::to_owned).collect(),
            drop: vec!["ALL".to_owned()],
        },
        no_new_privileges: true,
        read_only: true,
        devices: devices(machine),
        ulimits: limits(machine),
        log: spec.log,
        oom_score_adj: spec.oom_score_adj,
        ..ContainerSpec::default()
    };
    config.image_config = ImageConfig::default();
    config.binds = binds;
    Ok(config)
}

fn capabilities(machine: &MachineConfig) -> impl Iterator<Item = &'static str> {
    let more = if machine.has_virtiofs() { &SERVERS_CAPABILITIES[..] } else { &[] };
    FIRST_CAPABILITIES.iter().chain(more).copied()
}

fn limits(machine: &MachineConfig) -> Vec<Ulimit> {
    match machine.pci.is_empty() {
        true => Vec::new(),
        // What a device of the host writes into must stay where it is.
        false => vec![Ulimit { name: "memlock".to_owned(), soft: -1, hard: -1 }],
    }
}

/// The guest's limits, and what QEMU needs beyond the guest's memory.
pub fn resources(asked: &Resources, machine: &MachineConfig) -> Resources {
    let memory = Bytes(machine.max_memory.saturating_add(machines::qemu::overhead(machine)));
    let swap = asked.memory_swap.map(|swap| match swap {
        bounded if bounded > 0 => {
            bounded.saturating_add_unsigned(machines::qemu::overhead(machine))
        }
        unbounded => unbounded,
    });
    Resources { memory: Some(memory), memory_swap: swap, ..asked.clone() }
}

fn devices(machine: &MachineConfig) -> Vec<Device> {
    let device = |path: &str| Device {
        source: path.to_owned(),
        target: path.to_owned(),
        permissions: "rw".to_owned(),
    };
    let mut devices = Vec::new();
    if !machine.nics.is_empty() {
        devices.push(device("/dev/net/tun"));
    }
    match machine.accelerator {
        Accelerator::Kvm => devices.push(device("/dev/kvm")),
        Accelerator::Tcg => {}
    }
    if !machine.pci.is_empty() {
        devices.push(device("/dev/vfio/vfio"));
        let groups = machine.pci.iter().filter_map(|address| {
            super::fitness::device(Path::new("/sys/bus/pci/devices"), address).ok()
        });
        devices.extend(groups.map(|group| device(&group.to_string_lossy())));
    }
    devices
}
