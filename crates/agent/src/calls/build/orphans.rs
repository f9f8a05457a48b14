//! Builds by buildah whose daemon died. Nobody reads what they say, and they would end only when they say it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::places::Places;

const CGROUPS: &str = "/sys/fs/cgroup";
/// How long processes that were killed may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(20);

/// Ends all processes of builds of the node that has this tag.
pub(super) fn end(tag: &str) {
    let below = |hierarchy: &Path| hierarchy.join(format!("hull-{tag}")).join("builds");
    let root = Path::new(CGROUPS);
    // Of one hierarchy, or of one for each controller.
    let each = ["memory", "cpu", "pids"].map(|name| below(&root.join(name)));
    let places: Vec<PathBuf> = each.into_iter().chain([below(root)]).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        let mut processes = Vec::new();
        places.iter().for_each(|place| list(place, &mut processes));
        if processes.is_empty() || Instant::now() > end {
            return;
        }
        for process in processes {
            // It may have ended meanwhile.
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(TICK);
    }
}

fn list(cgroup: &Path, found: &mut Vec<Pid>) {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
    let entries = std::fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir())) {
        list(&entry.path(), found);
    }
}

/// Removes the copies of secrets that buildah keeps for a step, root's alone, as long as that lasts.
pub(super) fn forget_secrets(places: &Places) {
    let containers = places.build().join("storage/overlay-containers");
    for entry in std::fs::read_dir(containers).into_iter().flatten().flatten() {
        let copies = entry.path().join("userdata/secrets");
        if let Err(error) = std::fs::remove_dir_all(&copies)
            && error.kind() != std::io::ErrorKind::NotFound
            && error.kind() != std::io::ErrorKind::NotADirectory
        {
            tracing::warn!(%error, "copies of an old build's secrets cannot be removed");
        }
    }
}
