//! BuildKit's programs: on the host, or in its image.

use std::path::{Path, PathBuf};

/// BuildKit's daemon.
const DAEMON: &str = "buildkitd";
/// What runs steps, as BuildKit brings it and as the platform has it.
const RUNTIMES: [&str; 2] = ["buildkit-runc", "runc"];

/// BuildKit's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The daemon.
    pub daemon: PathBuf,
    /// What runs steps.
    pub runc: PathBuf,
}

impl Programs {
    /// The files of an image of BuildKit that are its programs. They need nothing else of it.
    pub const IN_IMAGE: [&str; 2] = ["usr/bin/buildkitd", "usr/bin/buildkit-runc"];

    /// Those of this host. `name` is a path, or looked for among the programs.
    #[must_use]
    pub fn find(name: &Path) -> Option<Self> {
        let name = if name.as_os_str().is_empty() { Path::new(DAEMON) } else { name };
        Self::among(name, &directories())
    }

    /// Those that were taken out of an image.
    #[must_use]
    pub fn taken_out(directory: &Path) -> Option<Self> {
        let at = |name: &str| directory.join(Path::new(name).file_name().unwrap_or_default());
        let [daemon, runc] = Self::IN_IMAGE.map(at);
        (runs(&daemon) && runs(&runc)).then_some(Self { daemon, runc })
    }

    fn among(name: &Path, directories: &[PathBuf]) -> Option<Self> {
        let find = |name: &Path| {
            if name.components().count() > 1 {
                return runs(name).then(|| name.to_owned());
            }
            directories.iter().map(|it| it.join(name)).find(|file| runs(file))
        };
        let daemon = find(name)?;
        let beside = daemon.parent().map(|it| it.join(RUNTIMES[0])).filter(|file| runs(file));
        let runc = beside.or_else(|| RUNTIMES.iter().find_map(|name| find(Path::new(name))))?;
        Some(Self { daemon, runc })
    }
}

/// Where programs are.
pub(super) fn directories() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    for usual in crate::builder::PATH.split(':').map(PathBuf::from) {
        if !all.contains(&usual) {
            all.push(usual);
        }
    }
    all.retain(|directory| directory.is_absolute());
    all
}

fn runs(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_and_what_runs_its_steps() {
        use std::os::unix::fs::PermissionsExt;
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |directory: &tempfile::TempDir, name: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let directories = [one.path().to_owned(), two.path().to_owned()];
        let find = |name: &Path| Programs::among(name, &directories);
        assert_eq!(find(Path::new(DAEMON)), None);
        let daemon = put(&two, "buildkitd");
        assert_eq!(find(Path::new(DAEMON)), None, "there is nothing that runs steps");
        let runc = put(&one, "runc");
        assert_eq!(find(Path::new(DAEMON)), Some(Programs { daemon: daemon.clone(), runc }));
        let own = put(&two, "buildkit-runc");
        assert_eq!(find(&daemon), Some(Programs { daemon, runc: own }));
        assert!(Programs::taken_out(two.path()).is_some());
        assert!(Programs::taken_out(one.path()).is_none());
    }
}
