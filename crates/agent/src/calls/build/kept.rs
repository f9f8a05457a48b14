//! What BuildKit said last of what it keeps, for who asks while it does not run.

use std::path::Path;

use link::build::BuildCache;
use model::Result;

use crate::local::replace_file;

/// Its name in BuildKit's directory.
const FILE: &str = "kept.json";

/// What was said last; nothing where nothing was, or where it cannot be read.
pub(super) fn read(room: &Path) -> Vec<BuildCache> {
    let bytes = std::fs::read(room.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Writes it down.
///
/// # Errors
/// `Unavailable` where it cannot be.
pub(super) fn write(room: &Path, records: &[BuildCache]) -> Result<()> {
    let bytes = serde_json::to_vec(records).expect("plain data always encodes");
    replace_file(&room.join(FILE), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_garbage_is_nothing() {
        let room = tempfile::tempdir().unwrap();
        assert_eq!(read(room.path()), []);
        let record = BuildCache {
            id: "a".into(),
            name: "RUN true".into(),
            created: Some(model::Time::from_unix(5, 0)),
            size: model::Bytes(7),
        };
        write(room.path(), std::slice::from_ref(&record)).unwrap();
        assert_eq!(read(room.path()), [record]);
        std::fs::write(room.path().join(FILE), "[{").unwrap();
        assert_eq!(read(room.path()), []);
    }
}
