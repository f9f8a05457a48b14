//! A directory of this machine. Links in it are not followed: they may lead anywhere.

use std::path::Path;

use model::error::Context;
use model::{Error, ErrorKind, Result};

use crate::tree::{MAX_FILE, MAX_FILES, Tree, join, too_much};

/// Most entries that are looked at.
const MAX_ENTRIES: usize = 4 * MAX_FILES;

/// Reads all files.
///
/// # Errors
/// `NotFound` and `Unavailable` for what cannot be read; those of [`Tree::add`].
pub fn read(root: &Path) -> Result<Tree> {
    if !root.is_absolute() {
        return Err(Error::invalid(format!("{} is not an absolute path", root.display())));
    }
    if !root.is_dir() {
        return Err(Error::not_found(format!(
            "{} is no directory of this machine",
            root.display()
        )));
    }
    let mut tree = Tree::default();
    let mut seen = 0;
    let mut open = vec![String::new()];
    while let Some(dir) = open.pop() {
        let path = root.join(&dir);
        let unreadable = || format!("{} cannot be read", path.display());
        for entry in std::fs::read_dir(&path).context(ErrorKind::Unavailable, unreadable)? {
            let entry = entry.context(ErrorKind::Unavailable, unreadable)?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(too_much());
            }
            let kind = entry.file_type().context(ErrorKind::Unavailable, unreadable)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            // What a checkout keeps for itself.
            if name == ".git" {
                continue;
            }
            let below = join(&dir, &name);
            if kind.is_dir() && below.matches('/').count() < 15 {
                open.push(below);
            } else if kind.is_file() {
                add(&mut tree, &entry.path(), &below)?;
            }
        }
    }
    Ok(tree)
}

fn add(tree: &mut Tree, path: &Path, below: &str) -> Result<()> {
    let unreadable = || format!("{} cannot be read", path.display());
    let size = std::fs::metadata(path).context(ErrorKind::Unavailable, unreadable)?.len();
    if size > MAX_FILE {
        return Ok(());
    }
    let content = std::fs::read(path).context(ErrorKind::Unavailable, unreadable)?;
    tree.add(below, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_no_links() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        file("web/template.yaml");
        file(".git/config");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("web/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
        let tree = read(dir.path()).unwrap();
        assert_eq!(tree.below("").collect::<Vec<_>>(), ["web/template.yaml"]);
        assert_eq!(read(Path::new("/no/such")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(Path::new("here")).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
