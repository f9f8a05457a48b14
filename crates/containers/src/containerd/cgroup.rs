//! A container's cgroups, as the kernel shows them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::host::CGROUPS;

/// The cgroups of one container.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    path: String,
    unified: bool,
}

impl Cgroup {
    /// The cgroup at `path` below the root of each hierarchy.
    pub(super) fn at(path: &str) -> Self {
        let unified = Path::new(CGROUPS).join("cgroup.controllers").exists();
        Self { path: path.trim_start_matches('/').to_owned(), unified }
    }

    /// Whether there is one hierarchy for all controllers.
    pub(super) fn is_unified(&self) -> bool {
        self.unified
    }

    /// Where the files of a controller are; any controller's in the unified hierarchy.
    pub(super) fn directory(&self, controller: &str) -> PathBuf {
        let root = Path::new(CGROUPS);
        if self.unified { root.join(&self.path) } else { root.join(controller).join(&self.path) }
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

/// Whether the kernel killed a process in it for want of memory.
pub(super) fn was_out_of_memory(path: &str) -> bool {
    let cgroup = Cgroup::at(path);
    let file = if cgroup.unified { "memory.events" } else { "memory.oom_control" };
    cgroup.field("memory", file, "oom_kill").is_some_and(|kills| kills > 0)
}
