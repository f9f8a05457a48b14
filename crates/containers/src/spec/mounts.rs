//! What is mounted where, and what is hidden.

use model::instance::{Mount, MountKind, Propagation};
use model::{Bytes, Result};

use super::{INIT_TARGET, Inputs, oci};
use crate::engine::{Bind, ContainerConfig, Namespace};

/// `/dev/shm` where none is asked for.
const SHM: Bytes = Bytes::mib(64);

/// Hidden from containers that are not privileged, as in Docker.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Not writable by containers that are not privileged, as in Docker.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// All mounts, in the order they are made: the kernel's file systems, then what was asked for, a
/// shallower target before one below it.
pub(super) fn mounts(config: &ContainerConfig, inputs: &Inputs<'_>) -> Result<Vec<oci::Mount>> {
    let mut asked: Vec<oci::Mount> = config.binds.iter().map(bind).collect();
    asked.extend(config.spec.mounts.iter().filter_map(tmpfs));
    if let (true, Some(init)) = (config.spec.init, inputs.init) {
        asked.push(bind(&Bind::new(init.source.clone(), INIT_TARGET).read_only()));
    }
    asked.sort_by_key(|mount| mount.destination.trim_end_matches('/').matches('/').count());
    // One's own mount takes the place of the kernel's at the same target, /dev/shm for example.
    let mut all = kernel(config);
    all.retain(|mount| !asked.iter().any(|own| same_target(own, mount)));
    all.extend(asked);
    Ok(all)
}

fn same_target(a: &oci::Mount, b: &oci::Mount) -> bool {
    a.destination.trim_end_matches('/') == b.destination.trim_end_matches('/')
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> oci::Mount {
    oci::Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

fn kernel(config: &ContainerConfig) -> Vec<oci::Mount> {
    let access = if config.spec.privileged { "rw" } else { "ro" };
    // Group 5 is the one that owns terminals (tty); a mapping too small for it cannot name it.
    let terminals = if config.user.mapping().is_some_and(|map| map.size <= 5) {
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"][..]
    } else {
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    };
    let shm = format!("size={}", config.spec.shm_size.unwrap_or(SHM).0);
    let mut all = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", terminals),
        sys(config, access),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[access, "nosuid", "noexec", "nodev"]),
        // Message queues are those of the namespace it is mounted in, the host's too.
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    all.push(match config.ipc {
        Namespace::Host => bind(&Bind::new("/dev/shm", "/dev/shm")),
        Namespace::New | Namespace::Path(_) => {
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm])
        }
    });
    all
}

/// sysfs shows the network it is mounted in, and can be mounted only by the users that own it.
fn sys(config: &ContainerConfig, access: &str) -> oci::Mount {
    if config.user.mapping().is_some() && config.network != Namespace::New {
        mount("/sys", "bind", "/sys", &["rbind", "ro", "nosuid", "noexec", "nodev"])
    } else {
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access])
    }
}

fn bind(bind: &Bind) -> oci::Mount {
    oci::Mount {
        destination: bind.target.clone(),
        kind: "bind".to_owned(),
        source: bind.source.clone(),
        options: vec![
            if bind.recursive { "rbind" } else { "bind" }.to_owned(),
            if bind.read_only { "ro" } else { "rw" }.to_owned(),
            bind.propagation.as_str().to_owned(),
        ],
    }
}

fn tmpfs(asked: &Mount) -> Option<oci::Mount> {
    let MountKind::Tmpfs { size, mode, options } = &asked.kind else {
        return None;
    };
    let has = |option: &str| options.iter().any(|own| own == option);
    let mut all = vec![if asked.read_only { "ro" } else { "rw" }.to_owned()];
    // Safe by default, unless the opposite is asked for.
    for (safe, opposite) in [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")] {
        if !has(opposite) && !has(safe) {
            all.push(safe.to_owned());
        }
    }
    all.extend(size.map(|size| format!("size={}", size.0)));
    all.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
    all.extend(options.iter().cloned());
    Some(oci::Mount {
        destination: asked.target.clone(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".into(),
        options: all,
    })
}

/// Paths hidden and paths not writable.
pub(super) fn hidden(config: &ContainerConfig) -> (Vec<String>, Vec<String>) {
    if config.spec.privileged {
        return (Vec::new(), Vec::new());
    }
    let owned = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect();
    (owned(&MASKED), owned(&READ_ONLY))
}

/// The root must be as open as the most open of the binds below it (mount_namespaces(7)).
pub(super) fn rootfs_propagation(config: &ContainerConfig) -> String {
    let any =
        |kinds: [Propagation; 2]| config.binds.iter().any(|bind| kinds.contains(&bind.propagation));
    if any([Propagation::Shared, Propagation::Rshared]) {
        "shared".to_owned()
    } else if any([Propagation::Slave, Propagation::Rslave]) {
        "rslave".to_owned()
    } else {
        String::new()
    }
}
