//! The cgroup of a build: bounds on all of its processes together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};

use crate::job::Limits;

const ROOT: &str = "/sys/fs/cgroup";
/// Processes and threads of one build; a compiler for each processor needs few hundreds.
const PROCESSES: &str = "32768";
/// How long processes that were killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(20);

/// The directories that make up the cgroup, one for each hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
    unified: bool,
}

impl Cgroup {
    /// Makes the cgroup at `path` below the root of each hierarchy.
    pub(crate) fn make(path: &str, limits: &Limits) -> Result<Self> {
        Self::below(Path::new(ROOT), path, limits)
    }

    fn below(root: &Path, path: &str, limits: &Limits) -> Result<Self> {
        let unified = root.join("cgroup.controllers").exists();
        let path = path.trim_matches('/');
        let directories = match unified {
            true => vec![root.join(path)],
            false => {
                let controllers = ["memory", "cpu", "pids"].map(|name| root.join(name));
                controllers.into_iter().filter(|it| it.is_dir()).map(|it| it.join(path)).collect()
            }
        };
        let cgroup = Self { directories, unified };
        for directory in &cgroup.directories {
            if unified {
                hand_down(root, path);
            }
            std::fs::create_dir_all(directory).context(ErrorKind::Internal, || {
                format!("the cgroup {} cannot be made", directory.display())
            })?;
        }
        cgroup.limit(limits)?;
        Ok(cgroup)
    }

    /// The files that a process writes itself into.
    pub(crate) fn entries(&self) -> Vec<String> {
        let file = |directory: &PathBuf| directory.join("cgroup.procs").display().to_string();
        self.directories.iter().map(file).collect()
    }

    fn limit(&self, limits: &Limits) -> Result<()> {
        // Not everywhere can processes be counted; it is a guard and not asked for.
        let _ = self.write("pids", "pids.max", PROCESSES);
        let Limits { memory, memory_swap, cpu_shares, cpu_quota, cpu_period, cpus: _ } = limits;
        let number = |value: &u64| value.to_string();
        if *memory > 0 {
            let file = if self.unified { "memory.max" } else { "memory.limit_in_bytes" };
            self.write("memory", file, &number(memory))?;
        }
        if *memory_swap > 0 {
            let (file, value) = match self.unified {
                true => ("memory.swap.max", memory_swap.saturating_sub(*memory)),
                false => ("memory.memsw.limit_in_bytes", *memory_swap),
            };
            self.write("memory", file, &number(&value))?;
        }
        if *cpu_shares > 0 {
            let shares = (*cpu_shares).clamp(2, 262_144);
            match self.unified {
                // The kernel's own scale has 1 to 10000.
                true => {
                    self.write("cpu", "cpu.weight", &number(&(1 + (shares - 2) * 9999 / 262_142)))?
                }
                false => self.write("cpu", "cpu.shares", &number(&shares))?,
            }
        }
        if *cpu_quota > 0 {
            let period = if *cpu_period > 0 { *cpu_period } else { 100_000 };
            match self.unified {
                true => self.write("cpu", "cpu.max", &format!("{cpu_quota} {period}"))?,
                false => {
                    self.write("cpu", "cpu.cfs_period_us", &number(&period))?;
                    self.write("cpu", "cpu.cfs_quota_us", &number(cpu_quota))?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, controller: &str, file: &str, value: &str) -> Result<()> {
        let own = |it: &&PathBuf| {
            self.unified || it.components().any(|part| part.as_os_str() == controller)
        };
        let refuse = || format!("a build cannot be bounded by {file} = {value} on this machine");
        let directory = self.directories.iter().find(own).ok_or_else(|| {
            Error::unsupported(refuse()).next("leave the limit out, or turn the controller on")
        })?;
        std::fs::write(directory.join(file), value).context(ErrorKind::Unsupported, refuse)
    }

    /// Removes it once its processes have ended.
    pub(crate) async fn remove(self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        for directory in &self.directories {
            while std::fs::remove_dir(directory).is_err() && directory.exists() {
                if tokio::time::Instant::now() > end {
                    tracing::warn!(directory = %directory.display(), "a build's cgroup stays");
                    return;
                }
                tokio::time::sleep(TICK).await;
            }
        }
    }

    /// Removes the cgroup that it is in, with all in that, once the processes have ended.
    pub(crate) async fn remove_with_parent(self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        for directory in self.directories.iter().filter_map(|it| it.parent()) {
            while !prune(directory) {
                if tokio::time::Instant::now() > end {
                    tracing::warn!(directory = %directory.display(), "a builder's cgroup stays");
                    break;
                }
                tokio::time::sleep(TICK).await;
            }
        }
    }
}

/// Removes a cgroup and those in it, as far as they are empty; whether it is gone.
fn prune(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir())) {
        prune(&entry.path());
    }
    std::fs::remove_dir(directory).is_ok() || !directory.exists()
}

/// Gives the controllers on to the cgroups on the way down; what cannot be given is told when a limit
/// is set.
fn hand_down(root: &Path, path: &str) {
    let mut directory = root.to_owned();
    for part in path.split('/') {
        for controller in ["+memory", "+cpu", "+pids"] {
            let _ = std::fs::write(directory.join("cgroup.subtree_control"), controller);
        }
        directory.push(part);
        if directory != root.join(path) {
            let _ = std::fs::create_dir(&directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_versions() {
        for unified in [true, false] {
            let root = tempfile::tempdir().unwrap();
            let place = |name: &str| match unified {
                true => root.path().to_owned(),
                false => root.path().join(name),
            };
            for name in ["memory", "cpu", "pids"] {
                std::fs::create_dir_all(place(name).join("hull/b")).unwrap();
            }
            if unified {
                std::fs::write(root.path().join("cgroup.controllers"), "").unwrap();
            }
            let limits = Limits { memory: 9, cpu_quota: 5, ..Limits::default() };
            let made = Cgroup::below(root.path(), "/hull/b", &limits).unwrap();
            assert_eq!(made.entries().len(), if unified { 1 } else { 3 });
            let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
            let text = std::fs::read_to_string(place("memory").join("hull/b").join(file)).unwrap();
            assert_eq!(text, "9");
        }
    }
}
