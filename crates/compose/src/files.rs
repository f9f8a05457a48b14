//! Files that Compose files are read from: paths below a root, and no way out of it.

use std::collections::BTreeMap;

use model::Result;

/// Most files of one reading.
const MOST_FILES: usize = 256;
/// Most bytes of all files of one reading.
const MOST_BYTES: usize = 16 << 20;
/// Longest path.
const LONGEST: usize = 1024;

/// Where files are found. Paths are relative, with `/` between their parts and neither `.` nor `..` in them.
pub trait Files {
    /// The bytes of a file; `None` when there is none of that path.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is larger than whoever keeps it allows.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// The paths of all files below a directory; the empty path is the root.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self, directory: &str) -> Result<Vec<String>>;

    /// Whether there is a file of that path, which may be told without reading it.
    fn has(&self, path: &str) -> bool {
        matches!(self.read(path), Ok(Some(_)))
    }
}

/// Files in memory: path to bytes.
impl Files for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get(path).cloned())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let below = |path: &&String| {
            directory.is_empty()
                || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
        };
        Ok(self.keys().filter(below).cloned().collect())
    }

    fn has(&self, path: &str) -> bool {
        self.contains_key(path)
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Miss {
    /// There is none.
    Absent,
    /// It is there, and this is wrong with it; or its path leads nowhere.
    Bad(String),
}

/// The files of one reading, within bounds.
pub(crate) struct Reading<'a> {
    files: &'a dyn Files,
    count: usize,
    bytes: usize,
}

impl<'a> Reading<'a> {
    pub fn new(files: &'a dyn Files) -> Self {
        Self { files, count: 0, bytes: 0 }
    }

    /// The text of a file.
    pub fn text(&mut self, path: &str) -> Result<String, Miss> {
        let bytes = self.bytes(path)?;
        String::from_utf8(bytes).map_err(|error| {
            let place = error.utf8_error().valid_up_to();
            Miss::Bad(format!("{path} is not UTF-8: byte {place} fits nowhere"))
        })
    }

    /// The bytes of a file.
    pub fn bytes(&mut self, path: &str) -> Result<Vec<u8>, Miss> {
        let found = self.files.read(path).map_err(|error| Miss::Bad(error.chain()))?;
        let bytes = found.ok_or(Miss::Absent)?;
        self.count += 1;
        self.bytes += bytes.len();
        if self.count > MOST_FILES || self.bytes > MOST_BYTES {
            return Err(Miss::Bad(format!(
                "more than {MOST_FILES} files or {} MiB are read for one app",
                MOST_BYTES >> 20
            )));
        }
        Ok(bytes)
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.files.has(path)
    }

    /// The files below a directory.
    pub fn list(&self, directory: &str) -> Result<Vec<String>, Miss> {
        self.files.list(directory).map_err(|error| Miss::Bad(error.chain()))
    }
}

/// A path below the root, from what is written in a file of `directory`.
pub(crate) fn resolve(directory: &str, written: &str) -> Result<String, String> {
    if written.is_empty() || written.len() > LONGEST || written.contains('\0') {
        return Err(format!("{:?} is not a path", shorten(written)));
    }
    if written.starts_with('/') || written.starts_with('~') {
        return Err(format!(
            "{written:?} is a path of your machine: only files that are sent are read"
        ));
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_some() => {}
            ".." => return Err(format!("{written:?} leaves the directory that was sent")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The directory a file is in.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The beginning of a text, for a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (directory, written, path) in [
            ("", "a.env", "a.env"),
            ("", "./a/./b", "a/b"),
            ("x/y", "../z.yaml", "x/z.yaml"),
            ("x", "..", ""),
        ] {
            assert_eq!(resolve(directory, written).unwrap(), path, "{written}");
        }
        for bad in ["../a", "x/../../a", "/etc/passwd", "~/a", "", "a\0b", &"x".repeat(2000)] {
            assert!(resolve("", bad).is_err(), "{bad:?}");
        }
    }
}
