//! Boots of the machine, and the cut of its power, as far as they concern one node.
//!
//! What a boot begins with is its own: an empty run directory, no processes, mounts, links or rules,
//! another boot id. A mount namespace that ends with the node's last process stands for the machine's
//! mounts, and a file bound over the kernel's for the boot id; nobody else sees either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::node::{Node, Outcome, finish, kill, processes, until};

/// Where the kernel tells the boot id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Node {
    /// Runs `hull up` in a boot of this id.
    ///
    /// # Panics
    /// When it cannot be started, or does not end in time.
    pub fn boot(&self, id: &str) -> Outcome {
        let file = self.root().join("boot-id");
        let script = format!("mount --bind \"$0\" {BOOT_ID} && exec \"$@\"");
        let mut up = Command::new("unshare");
        up.args(["--mount", "sh", "-c", &script]).arg(&file);
        up.arg(self.binary()).arg("--root").arg(self.root()).arg("up").env_remove("HULL_HOST");
        let done = std::fs::write(&file, format!("{id}\n"))
            .map_err(Into::into)
            .and_then(|()| finish(up, None));
        done.unwrap_or_else(|error| panic!("hull up: {error:#}"))
    }

    /// Cuts the power: everything ends where it stands, and what no machine keeps is gone.
    pub fn cut_power(&self) -> Result<()> {
        let machine = mounts_of(self.daemon()?).context("the daemon has ended")?;
        let tag = self.tag();
        until("everything has ended", || {
            let left: BTreeSet<i32> = processes()
                .filter(|pid| mounts_of(*pid).as_ref() == Some(&machine))
                .chain(cgroups(&tag).iter().flat_map(|top| members(top)))
                .collect();
            for pid in &left {
                // Who ended meanwhile is what is wanted.
                let _ = kill(*pid);
            }
            left.is_empty().then_some(())
        });
        for top in cgroups(&tag) {
            remove_cgroup(&top);
        }
        std::fs::remove_dir_all(self.root().join("run"))?;
        for link in std::fs::read_dir("/sys/class/net")?.flatten() {
            let name = link.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("hb{tag}")) || name.starts_with(&format!("hv{tag}")) {
                Command::new("ip").args(["link", "delete", &name]).output()?;
            }
        }
        let table = format!("hull-{tag}");
        Command::new("nft").args(["delete", "table", "inet", &table]).output()?;
        Ok(())
    }
}

/// The mount namespace of a process.
fn mounts_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// The node's cgroup in each hierarchy.
fn cgroups(tag: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten();
    let tops = hierarchies.map(|entry| entry.path()).chain([root.to_owned()]);
    tops.map(|top| top.join(format!("hull-{tag}"))).filter(|top| top.is_dir()).collect()
}

fn below(top: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn members(top: &Path) -> Vec<i32> {
    let own = std::fs::read_to_string(top.join("cgroup.procs")).unwrap_or_default();
    let own: Vec<i32> = own.lines().filter_map(|pid| pid.parse().ok()).collect();
    own.into_iter().chain(below(top).flat_map(|child| members(&child))).collect()
}

fn remove_cgroup(top: &Path) {
    below(top).for_each(|child| remove_cgroup(&child));
    // The kernel takes a moment to let go of one whose processes were killed.
    until("a cgroup is empty", || {
        (std::fs::remove_dir(top).is_ok() || !top.exists()).then_some(())
    });
}
