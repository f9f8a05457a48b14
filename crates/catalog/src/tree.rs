//! The files of a catalog, held within bounds. Whoever wrote them is a stranger.

use std::collections::{BTreeMap, BTreeSet};

use model::{Error, Result};

/// Most files of a catalog.
pub const MAX_FILES: usize = 50_000;
/// Largest file; what is larger is left out, as no template needs it.
pub const MAX_FILE: u64 = 8 << 20;
/// Most bytes of all files together.
pub const MAX_BYTES: u64 = 256 << 20;
/// Longest path.
const MAX_PATH: usize = 512;
/// Most directories in each other.
const MAX_DEPTH: usize = 16;

/// Files by path. Paths are relative, have no `.` or `..`, and `/` between their parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
    /// Those that are programs.
    programs: BTreeSet<String>,
    /// Symbolic links, and where they lead. No template is read through one.
    links: BTreeMap<String, String>,
    /// What was too large.
    left_out: Vec<String>,
}

impl Tree {
    /// Adds a file.
    ///
    /// # Errors
    /// `Invalid` for a path that leads elsewhere; `Exhausted` for more than a catalog may have.
    pub fn add(&mut self, path: &str, content: Vec<u8>) -> Result<()> {
        let path = checked(path)?;
        self.bytes = self.bytes.saturating_add(content.len() as u64);
        if self.files.len() >= MAX_FILES || self.bytes > MAX_BYTES {
            return Err(too_much());
        }
        self.files.insert(path, content);
        Ok(())
    }

    /// Says that a file is a program.
    pub fn mark_program(&mut self, path: &str) {
        if self.files.contains_key(path) {
            self.programs.insert(path.to_owned());
        }
    }

    /// Adds a symbolic link, which nothing here follows.
    ///
    /// # Errors
    /// Those of [`Tree::add`].
    pub fn add_link(&mut self, path: &str, target: &str) -> Result<()> {
        let path = checked(path)?;
        self.bytes = self.bytes.saturating_add(target.len() as u64);
        if self.links.len() >= MAX_FILES || self.bytes > MAX_BYTES {
            return Err(too_much());
        }
        self.links.insert(path, target.to_owned());
        Ok(())
    }

    /// Says that a file is there, and too large to be here.
    pub fn leave_out(&mut self, path: &str) {
        if self.left_out.len() < MAX_FILES {
            self.left_out.extend(checked(path));
        }
    }

    /// Whether a file is a program.
    #[must_use]
    pub fn is_program(&self, path: &str) -> bool {
        self.programs.contains(path)
    }

    /// All symbolic links, and where they lead.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.links.iter().map(|(path, target)| (path.as_str(), target.as_str()))
    }

    /// What is there, and too large to be here.
    pub fn left_out(&self) -> impl Iterator<Item = &str> {
        self.left_out.iter().map(String::as_str)
    }

    /// A file's content.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// A file's content as text.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for what is no text.
    pub fn text(&self, path: &str) -> Result<&str> {
        let bytes =
            self.get(path).ok_or_else(|| Error::not_found(format!("there is no file {path}")))?;
        std::str::from_utf8(bytes).map_err(|error| {
            Error::invalid(format!("{path} is not text in UTF-8")).caused_by(error)
        })
    }

    /// Paths below a directory, in order; all of them below `""`.
    pub fn below<'a>(&'a self, dir: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = prefix(dir);
        let from = self.files.range(prefix.clone()..);
        from.map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(&prefix))
    }

    /// Names in a directory, in order, with whether each is a directory.
    #[must_use]
    pub fn list(&self, dir: &str) -> Vec<(&str, bool)> {
        let skip = prefix(dir).len();
        let mut names: Vec<(&str, bool)> = Vec::new();
        for path in self.below(dir) {
            let rest = &path[skip..];
            let entry = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            if names.last() != Some(&entry) {
                names.push(entry);
            }
        }
        names.dedup();
        names
    }

    /// The first of these names that is a file in the directory: its path.
    #[must_use]
    pub fn first(&self, dir: &str, names: &[&str]) -> Option<String> {
        names.iter().map(|name| join(dir, name)).find(|path| self.files.contains_key(path))
    }

    /// The same files without the one directory that holds all of them, where there is one: archives are
    /// often packed that way.
    #[must_use]
    pub fn without_wrapper(self) -> Self {
        let top = self.list("");
        let [(name, true)] = top.as_slice() else { return self };
        // A catalog of one template in Rancher's layout has one directory too.
        if name.ends_with("templates") || self.files.keys().any(|path| is_template(path)) {
            return self;
        }
        let skip = name.len() + 1;
        let files =
            self.files.into_iter().map(|(path, content)| (path[skip..].to_owned(), content));
        Self { files: files.collect(), bytes: self.bytes, ..Self::default() }
    }

    /// All files, in order of path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.as_slice()))
    }
}

/// Whether a path is that of a template of our own in a directory at the top.
fn is_template(path: &str) -> bool {
    path.split_once('/').is_some_and(|(_, rest)| rest == "template.yaml")
}

/// A path of two.
pub(crate) fn join(dir: &str, name: &str) -> String {
    format!("{}{name}", prefix(dir))
}

fn prefix(dir: &str) -> String {
    if dir.is_empty() { String::new() } else { format!("{dir}/") }
}

/// The refusal of a catalog that has too much in it.
pub(crate) fn too_much() -> Error {
    Error::exhausted(format!(
        "a catalog has {MAX_FILES} files of {} MB together at most",
        MAX_BYTES >> 20
    ))
    .next("divide it into several")
}

/// A path that stays below the catalog's root.
fn checked(path: &str) -> Result<String> {
    let refused = |why: &str| {
        let shown: String = path.chars().take(80).collect();
        Error::invalid(format!("the path {shown:?} {why}"))
            .next("a catalog has relative paths only, without `..`")
    };
    if path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(refused("leads out of the catalog"));
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(refused("leads out of the catalog"));
    }
    if parts.is_empty() || path.len() > MAX_PATH || parts.len() > MAX_DEPTH {
        return Err(refused("is empty, too long or too deep"));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let mut tree = Tree::default();
        for good in ["a", "./a/b", "a//c"] {
            tree.add(good, Vec::new()).unwrap();
        }
        for bad in ["", "/etc/passwd", "../a", "a/../../b", "a\\..\\b", ".", "x\0"] {
            assert!(tree.add(bad, Vec::new()).is_err(), "{bad:?}");
        }
        assert!(tree.add(&"d/".repeat(20), Vec::new()).is_err());
        assert!(tree.add(&"d".repeat(600), Vec::new()).is_err());
        assert_eq!(tree.list(""), [("a", false), ("a", true)]);
        assert_eq!(tree.list("a"), [("b", false), ("c", false)]);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut tree = Tree::default();
        let half = vec![0; (MAX_BYTES / 2) as usize];
        tree.add("a", half.clone()).unwrap();
        tree.add("b", half).unwrap();
        assert_eq!(tree.add("c", vec![0]).unwrap_err().kind(), model::ErrorKind::Exhausted);
    }

    #[test]
    fn the_directory_of_an_archive_is_passed_over() {
        let tree = |paths: &[&str]| {
            let mut tree = Tree::default();
            paths.iter().for_each(|path| tree.add(path, Vec::new()).unwrap());
            tree
        };
        let bare = tree(&["cat-1.2/web/template.yaml", "cat-1.2/README.md"]).without_wrapper();
        assert_eq!(bare.list(""), [("README.md", false), ("web", true)]);
        for kept in ["web/template.yaml", "templates/web/0/docker-compose.yml"] {
            assert_eq!(tree(&[kept]).without_wrapper(), tree(&[kept]));
        }
    }
}
