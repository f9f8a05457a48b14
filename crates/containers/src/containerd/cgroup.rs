//! A container's cgroups, as the kernel shows them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::host::CGROUPS;

/// The cgroups of one container.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    /// Where the hierarchies are mounted.
    root: PathBuf,
    path: String,
    unified: bool,
}

impl Cgroup {
    /// The cgroup at `path` below the root of each hierarchy.
    pub(super) fn at(path: &str) -> Self {
        Self::below(Path::new(CGROUPS), path)
    }

    /// The same where the hierarchies are mounted at `root`.
    pub(super) fn below(root: &Path, path: &str) -> Self {
        let unified = root.join("cgroup.controllers").exists();
        Self { root: root.to_owned(), path: path.trim_start_matches('/').to_owned(), unified }
    }

    /// Whether there is one hierarchy for all controllers.
    pub(super) fn is_unified(&self) -> bool {
        self.unified
    }

    /// Where the files of a controller are; any controller's in the unified hierarchy.
    pub(super) fn directory(&self, controller: &str) -> PathBuf {
        let hierarchy = if self.unified { self.root.clone() } else { self.root.join(controller) };
        hierarchy.join(&self.path)
    }

    /// A file's text; empty when it is not there.
    pub(super) fn text(&self, controller: &str, file: &str) -> String {
        std::fs::read_to_string(self.directory(controller).join(file)).unwrap_or_default()
    }

    /// A file's number; `None` for `max`, and when it is not there.
    pub(super) fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.text(controller, file).trim().parse().ok()
    }

    /// The number behind a word in a file of `word number` lines.
    pub(super) fn field(&self, controller: &str, file: &str, name: &str) -> Option<u64> {
        fields(&self.text(controller, file)).find(|(word, _)| *word == name).map(|(_, n)| n)
    }

    /// Whether the kernel killed a process in it for want of memory.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        self.field("memory", file, "oom_kill").is_some_and(|kills| kills > 0)
    }

    /// All processes in it and below it.
    pub(super) fn processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let controller = ["pids", "memory", "devices"]
            .into_iter()
            .find(|controller| self.directory(controller).is_dir())
            .unwrap_or("devices");
        collect(&self.directory(controller), &mut found);
        found
    }
}

/// Lines of a word and a number.
pub(super) fn fields(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (word, number) = line.rsplit_once(' ')?;
        Some((word, number.trim().parse().ok()?))
    })
}

fn collect(directory: &Path, found: &mut BTreeSet<u32>) {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tree of files with these texts, as the kernel would show it.
    pub(in crate::containerd) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn one_hierarchy_and_one_for_each_controller() {
        let unified = tree(&[
            ("cgroup.controllers", "cpuset cpu io memory pids\n"),
            ("hull-x/a.c0/cgroup.procs", "10\n11\n"),
            ("hull-x/a.c0/inner/cgroup.procs", "12\n"),
            ("hull-x/a.c0/memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n"),
        ]);
        let apart = tree(&[
            ("pids/hull-x/a.c0/cgroup.procs", "10\n11\n"),
            ("pids/hull-x/a.c0/inner/cgroup.procs", "12\n"),
            ("memory/hull-x/a.c0/memory.oom_control", "oom_kill_disable 0\noom_kill 1\n"),
        ]);
        for (root, is_unified) in [(&unified, true), (&apart, false)] {
            let cgroup = Cgroup::below(root.path(), "/hull-x/a.c0");
            assert_eq!(cgroup.is_unified(), is_unified);
            assert_eq!(cgroup.processes(), BTreeSet::from([10, 11, 12]));
            assert!(cgroup.was_out_of_memory());
            let other = Cgroup::below(root.path(), "/hull-x/b.c0");
            assert!(other.processes().is_empty());
            assert!(!other.was_out_of_memory());
        }
    }

    #[test]
    fn a_hybrid_machine_counts_by_its_controllers() {
        // systemd mounts the unified hierarchy beside the others, without controllers.
        let hybrid = tree(&[
            ("unified/cgroup.controllers", "\n"),
            ("memory/hull-x/a.c0/memory.oom_control", "oom_kill 0\n"),
            ("memory/hull-x/a.c0/cgroup.procs", "10\n"),
        ]);
        let cgroup = Cgroup::below(hybrid.path(), "/hull-x/a.c0");
        assert!(!cgroup.is_unified());
        assert_eq!(cgroup.processes(), BTreeSet::from([10]));
        assert!(!cgroup.was_out_of_memory());
    }
}
