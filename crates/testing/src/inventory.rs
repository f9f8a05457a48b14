//! Everything a node has on the machine, so that a test can tell what something left behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::node::{Node, PATIENCE, processes, until};

/// Where containerd keeps the bundles of shims, below its run directory.
const BUNDLES: &str = "containerd/state/io.containerd.runtime.v2.task/hull";

/// What is there, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory(BTreeSet<String>);

impl Inventory {
    /// What a node has when nothing changes any more.
    ///
    /// # Panics
    /// When it goes on changing.
    pub fn at_rest(node: &Node) -> Self {
        let mut last = Self::of(node);
        until("nothing changes any more", || {
            let now = Self::of(node);
            let rests = now == last;
            last = now;
            rests.then(|| last.clone())
        })
    }

    /// What a node has now.
    pub fn of(node: &Node) -> Self {
        let run = node.root().join("run/hull");
        let state = node.root().join("var/lib/hull");
        let mut all = BTreeSet::new();
        for place in
            [BUNDLES, "containerd/containers", "containerd/runc/hull", "netns", "shm", "subpaths"]
        {
            entries(&run.join(place), 1, &mut all);
        }
        for place in ["instances", "logs", "volumes", "desired"] {
            entries(&state.join(place), 2, &mut all);
        }
        let tag = node.tag();
        cgroups(&tag, &mut all);
        mounts(node.root(), &mut all);
        links(&tag, &mut all);
        all.extend(firewall(&tag));
        programs(node.root(), &mut all);
        for list in [["snapshots", "ls"], ["containers", "ls"], ["leases", "ls"], ["images", "ls"]]
        {
            all.extend(engine(node, list));
        }
        Self(all)
    }

    /// Waits until a node has this again, and nothing more or less.
    ///
    /// # Panics
    /// When it has not in time; says what differs.
    pub fn await_again(&self, node: &Node, after: &str) {
        let end = Instant::now() + PATIENCE / 2;
        loop {
            let now = Self::of(node);
            if now == *self {
                return;
            }
            let only = |one: &Self, other: &Self| {
                one.0.difference(&other.0).cloned().collect::<Vec<_>>().join("\n  ")
            };
            assert!(
                Instant::now() < end,
                "{after}: left behind:\n  {}\nmissing:\n  {}\n{}",
                only(&now, self),
                only(self, &now),
                node.log(),
            );
        }
    }
}

/// Files and directories so many levels below `place`.
fn entries(place: &Path, depth: u32, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        // What is being written is renamed or removed in a moment.
        all.insert(format!("file {}", path.display()));
        if depth > 1 && path.is_dir() {
            entries(&path, depth - 1, all);
        }
    }
}

fn cgroups(tag: &str, all: &mut BTreeSet<String>) {
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(&root).into_iter().flatten().flatten();
    let tops = hierarchies.map(|entry| entry.path()).chain([root.clone()]);
    for top in tops {
        let ours = top.join(format!("hull-{tag}"));
        for entry in std::fs::read_dir(ours).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                all.insert(format!("cgroup {}", entry.path().display()));
            }
        }
    }
}

fn mounts(root: &Path, all: &mut BTreeSet<String>) {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = text.lines().filter_map(|line| line.split(' ').nth(4));
    all.extend(
        places.filter(|place| Path::new(place).starts_with(root)).map(|p| format!("mount {p}")),
    );
}

fn links(tag: &str, all: &mut BTreeSet<String>) {
    for link in std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = link.file_name().to_string_lossy().into_owned();
        let alias = std::fs::read_to_string(link.path().join("ifalias")).unwrap_or_default();
        // One that is cut off goes when the kernel finds the time.
        if alias.trim() == "hull retired" {
            continue;
        }
        if name.starts_with(&format!("hb{tag}")) || name.starts_with(&format!("hv{tag}")) {
            all.insert(format!("link {name}"));
        }
    }
}

/// The rules without their counters.
fn firewall(tag: &str) -> Vec<String> {
    let table = format!("hull-{tag}");
    let text = lines(Command::new("nft").args(["--stateless", "list", "table", "inet", &table]));
    text.into_iter().map(|line| format!("firewall {line}")).collect()
}

/// Programs that the node runs, however many of each: their processes' ids change.
fn programs(root: &Path, all: &mut BTreeSet<String>) {
    let root = format!("{}/", root.display());
    for pid in processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let ours = line.contains("containerd-shim") || line.contains("log-driver");
        if ours && line.contains(&root) {
            all.insert(format!("process {line}"));
        }
    }
}

/// What containerd says it has.
fn engine(node: &Node, list: [&str; 2]) -> Vec<String> {
    let socket = node.root().join("run/hull/containerd/containerd.sock");
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "hull"]).args(list);
    let first = |line: String| line.split_whitespace().next().map(str::to_owned);
    let names = lines(&mut command).into_iter().filter_map(first);
    names.map(|name| format!("{} {name}", list[0])).collect()
}

fn lines(command: &mut Command) -> Vec<String> {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
}
