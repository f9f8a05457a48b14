//! What this machine, and this daemon on it, can do for containers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::capability::CAPABILITIES;

/// The version of cgroups that limits are set in. A hybrid machine counts as version 1: its
/// controllers are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy.
    V2,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Where limits are set.
    pub cgroup: CgroupVersion,
    /// Controllers there are, by their names in version 1 (`blkio`, not `io`).
    pub controllers: BTreeSet<String>,
    /// Swap can be limited.
    pub swap_limit: bool,
    /// Block I/O can be weighted.
    pub blkio_weight: bool,
    /// System calls can be filtered.
    pub seccomp: bool,
    /// AppArmor is on.
    pub apparmor: bool,
    /// The usual profile for containers, if it is loaded.
    pub apparmor_default: Option<String>,
    /// Capabilities this daemon can give away.
    pub capabilities: BTreeSet<&'static str>,
    /// Hard limits of this daemon, by the names of [`ULIMITS`]; absent is unlimited.
    pub hard_limits: BTreeMap<String, u64>,
    /// This daemon's own out-of-memory score.
    pub oom_score_adj: i32,
    /// Processors there may be.
    pub processors: u32,
    /// Memory nodes there may be.
    pub memory_nodes: u32,
    /// Most files any process may open (`fs.nr_open`).
    pub most_files: u64,
}

impl HostFacts {
    /// Looks at this machine.
    pub fn read() -> Self {
        let status = read("/proc/self/status");
        let root = Path::new(CGROUPS);
        let (cgroup, controllers) = cgroups(root);
        let apparmor = read("/sys/module/apparmor/parameters/enabled").starts_with('Y');
        Self {
            cgroup,
            swap_limit: swap_limit(root, cgroup),
            blkio_weight: blkio_weight(root, cgroup),
            controllers,
            seccomp: status.lines().any(|line| line.starts_with("Seccomp:")),
            apparmor,
            apparmor_default: apparmor.then(apparmor_default).flatten(),
            capabilities: capabilities(&status),
            hard_limits: hard_limits(&read("/proc/self/limits")),
            oom_score_adj: read("/proc/self/oom_score_adj").trim().parse().unwrap_or(0),
            processors: count("/sys/devices/system/cpu/possible"),
            memory_nodes: count("/sys/devices/system/node/possible"),
            most_files: read("/proc/sys/fs/nr_open").trim().parse().unwrap_or(1 << 20),
        }
    }

    /// A machine that can do everything; for tests.
    pub fn able() -> Self {
        let controllers = ["memory", "cpu", "cpuset", "pids", "blkio"];
        Self {
            cgroup: CgroupVersion::V1,
            controllers: controllers.map(str::to_owned).into(),
            swap_limit: true,
            blkio_weight: true,
            seccomp: true,
            apparmor: false,
            apparmor_default: None,
            capabilities: CAPABILITIES.into(),
            hard_limits: BTreeMap::new(),
            oom_score_adj: 0,
            processors: 64,
            memory_nodes: 1,
            most_files: u64::MAX,
        }
    }

    /// Whether limits may be raised above this daemon's own.
    pub fn may_raise_limits(&self) -> bool {
        self.capabilities.contains("CAP_SYS_RESOURCE")
    }

    /// The highest hard limit of a kind that a container can get.
    pub fn most(&self, limit: &str) -> u64 {
        let own = self.hard_limits.get(limit).copied().unwrap_or(u64::MAX);
        let given = if self.may_raise_limits() { u64::MAX } else { own };
        // Not even root may go over this one (getrlimit(2)).
        if limit == "nofile" { given.min(self.most_files) } else { given }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Where cgroups are mounted.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

fn cgroups(root: &Path) -> (CgroupVersion, BTreeSet<String>) {
    let unified = read(root.join("cgroup.controllers"));
    if root.join("cgroup.controllers").exists() {
        let named = |name: &str| if name == "io" { "blkio".to_owned() } else { name.to_owned() };
        return (CgroupVersion::V2, unified.split_whitespace().map(named).collect());
    }
    let there = |name: &&str| root.join(name).is_dir();
    let names = ["memory", "cpu", "cpuset", "cpuacct", "pids", "blkio", "devices", "freezer"];
    (CgroupVersion::V1, names.into_iter().filter(there).map(str::to_owned).collect())
}

fn swap_limit(root: &Path, version: CgroupVersion) -> bool {
    match version {
        CgroupVersion::V1 => root.join("memory/memory.memsw.limit_in_bytes").exists(),
        CgroupVersion::V2 => in_some_child(root, &["memory.swap.max"]),
    }
}

fn blkio_weight(root: &Path, version: CgroupVersion) -> bool {
    match version {
        CgroupVersion::V1 => {
            let blkio = root.join("blkio");
            let files = ["blkio.weight", "blkio.bfq.weight"];
            files.iter().any(|file| blkio.join(file).exists()) || in_some_child(&blkio, &files)
        }
        CgroupVersion::V2 => in_some_child(root, &["io.weight", "io.bfq.weight"]),
    }
}

/// The root of a hierarchy lacks most files; any cgroup below it shows them.
fn in_some_child(root: &Path, files: &[&str]) -> bool {
    let children = std::fs::read_dir(root).into_iter().flatten().flatten();
    children
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .any(|child: PathBuf| files.iter().any(|file| child.join(file).exists()))
}

fn apparmor_default() -> Option<String> {
    let loaded = read("/sys/kernel/security/apparmor/profiles");
    let known = ["hull-default", "docker-default", "cri-containerd.apparmor.d"];
    known
        .iter()
        .find(|name| loaded.lines().any(|line| line.split(' ').next() == Some(**name)))
        .map(|name| (*name).to_owned())
}

/// Those both permitted and in the bounding set, from `/proc/<pid>/status`.
fn capabilities(status: &str) -> BTreeSet<&'static str> {
    let mask = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
    };
    let both = mask("CapPrm:") & mask("CapBnd:");
    (0_u32..)
        .zip(CAPABILITIES)
        .filter(|(bit, _)| both >> bit & 1 == 1)
        .map(|(_, name)| name)
        .collect()
}

/// Hard limits from `/proc/<pid>/limits` (proc_pid_limits(5)).
fn hard_limits(text: &str) -> BTreeMap<String, u64> {
    const TITLES: [(&str, &str); 16] = [
        ("Max address space", "as"),
        ("Max core file size", "core"),
        ("Max cpu time", "cpu"),
        ("Max data size", "data"),
        ("Max file size", "fsize"),
        ("Max file locks", "locks"),
        ("Max locked memory", "memlock"),
        ("Max msgqueue size", "msgqueue"),
        ("Max nice priority", "nice"),
        ("Max open files", "nofile"),
        ("Max processes", "nproc"),
        ("Max resident set", "rss"),
        ("Max realtime priority", "rtprio"),
        ("Max realtime timeout", "rttime"),
        ("Max pending signals", "sigpending"),
        ("Max stack size", "stack"),
    ];
    TITLES
        .iter()
        .filter_map(|(title, name)| {
            let line = text.lines().find_map(|line| line.strip_prefix(title))?;
            let hard = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(((*name).to_owned(), hard))
        })
        .collect()
}

/// How many a list such as `0-3` reaches.
fn count(path: &str) -> u32 {
    let list = read(path);
    let last = list.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(1, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_process() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max open files            1024                 20000                files\n\
            Max processes             96365                unlimited            processes\n";
        let limits = hard_limits(text);
        assert_eq!(limits.get("nofile"), Some(&20000));
        assert_eq!(limits.get("nproc"), None);
    }

    #[test]
    fn capabilities_of_a_process() {
        let found = capabilities("CapPrm:\t000001fffeffffff\nCapBnd:\t000001ffffffffff\n");
        assert_eq!(found.len(), 40);
        assert!(!found.contains("CAP_SYS_RESOURCE"));
    }

    #[test]
    fn what_limits_can_be_set() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let put = |path: &str, text: &str| {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        };
        put("memory/memory.limit_in_bytes", "");
        put("blkio/user.slice/blkio.bfq.weight", "");
        let (version, controllers) = cgroups(root);
        assert_eq!(version, CgroupVersion::V1);
        assert_eq!(controllers.into_iter().collect::<Vec<_>>(), ["blkio", "memory"]);
        assert!(!swap_limit(root, version), "this kernel counts no swap");
        assert!(blkio_weight(root, version));

        put("cgroup.controllers", "cpuset cpu io memory pids\n");
        let (version, controllers) = cgroups(root);
        assert_eq!(version, CgroupVersion::V2);
        assert!(controllers.contains("blkio") && !controllers.contains("io"));
        assert!(!swap_limit(root, version) && !blkio_weight(root, version));
        put("init.scope/memory.swap.max", "max\n");
        put("init.scope/io.weight", "default 100\n");
        assert!(swap_limit(root, version) && blkio_weight(root, version));
    }

    #[test]
    fn this_machine_has_processors() {
        assert!(HostFacts::read().processors >= 1);
    }
}
