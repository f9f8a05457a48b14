//! This program's own file.

use std::path::{Path, PathBuf};

use model::error::Context;
use model::{ErrorKind, Result};

/// Where it is. After an upgrade another stands in the place of the one that runs, and is meant then.
pub fn file() -> Result<PathBuf> {
    let path = std::env::current_exe()
        .context(ErrorKind::Internal, || "the program's own file is not known".to_owned())?;
    Ok(standing(&path))
}

/// The path that Linux told of a file which may have been replaced since (proc(5), `exe`).
fn standing(told: &Path) -> PathBuf {
    let text = told.to_string_lossy();
    text.strip_suffix(" (deleted)").map_or_else(|| told.to_owned(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_meant_by_its_place() {
        for (told, expected) in
            [("/usr/bin/hull", "/usr/bin/hull"), ("/usr/bin/hull (deleted)", "/usr/bin/hull")]
        {
            assert_eq!(standing(Path::new(told)), Path::new(expected));
        }
    }
}
