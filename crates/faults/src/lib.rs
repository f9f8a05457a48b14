//! Places at which a test can have the platform die, to see what the next start makes of it.
//!
//! Only debug builds know them, and only those whose environment names a file in [`FILE`]: one that
//! holds the name of a place kills the process there, once. Release builds have nothing of it.
//! `docs/decisions/021-dying-at-a-place.md` says why.

/// Environment variable with the path of the file.
pub const FILE: &str = "HULL_DIE_AT";

/// Ends the process here, as SIGKILL does, if a test asked for it.
#[inline]
pub fn may_die(place: &str) {
    #[cfg(debug_assertions)]
    asked::may_die(place);
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(debug_assertions)]
mod asked {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use rustix::process::{Signal, getpid, kill_process};

    pub(super) fn may_die(place: &str) {
        static ASKED: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(file) = ASKED.get_or_init(|| std::env::var_os(super::FILE).map(PathBuf::from))
        else {
            return;
        };
        if take(file, place) {
            // A process may always kill itself.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }

    /// Whether the file names this place. It is gone then, so that the next process goes on.
    pub(super) fn take(file: &Path, place: &str) -> bool {
        let named = std::fs::read_to_string(file).is_ok_and(|text| text.trim() == place);
        named && std::fs::remove_file(file).is_ok()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::asked::take;

    #[test]
    fn a_place_is_named_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("die-at");
        assert!(!take(&file, "here"));
        std::fs::write(&file, "here\n").unwrap();
        assert!(!take(&file, "there"));
        assert!(take(&file, "here"));
        assert!(!take(&file, "here"));
    }
}
