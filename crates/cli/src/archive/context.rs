//! What an image is built from: a directory of this machine, or files that came otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use link::ByteStream;
use model::error::Context as _;
use model::{Error, ErrorKind, Result};

use super::ignore::Ignore;
use super::pack::{self, Item};

/// A Dockerfile that is in no context is sent under this name.
pub const OWN: &str = ".hull.dockerfile";
/// Bytes of a Dockerfile, and of a list of what is left out.
const LARGEST: u64 = 1 << 20;

/// Files that are on no disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Path to bytes.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Those that are programs.
    pub programs: BTreeSet<String>,
    /// Symbolic links, and where they lead.
    pub links: BTreeMap<String, String>,
    /// What did not come, as it is too large.
    pub left_out: Vec<String>,
}

/// Where a context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// A directory.
    Disk(PathBuf),
    /// Files below a path; all of them below the empty one.
    Given(Arc<Given>, String),
}

/// How an image is made of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// At a path in the context; at the usual one when empty.
    Inside(String),
    /// It is none of the context's files.
    Text(String),
}

/// A context ready to be sent.
#[derive(Debug)]
pub struct Sent {
    /// Path of the Dockerfile in it.
    pub dockerfile: String,
    /// What is sent, by its path in the context.
    items: Vec<(PathBuf, Item)>,
}

impl Sent {
    /// Its bytes, as a tar archive that is packed as it is read.
    #[must_use]
    pub fn archive(self) -> ByteStream {
        pack::items(self.items)
    }
}

impl Ground {
    /// Looks at what is to be sent; nothing is yet.
    ///
    /// # Errors
    /// `NotFound` without a Dockerfile; `Invalid` for a `.dockerignore` that cannot be read.
    pub fn send(&self, dockerfile: &Dockerfile) -> Result<Sent> {
        let ignore = self.ignore(dockerfile)?;
        // The builder needs it, whether steps may copy it or not.
        let wanted = match dockerfile {
            Dockerfile::Inside(path) => Some(self.find(path)?),
            Dockerfile::Text(_) => None,
        };
        let always = wanted.iter().cloned().chain([".dockerignore".to_owned()]).collect();
        let mut walk = Walk { ignore, always, items: Vec::new() };
        match self {
            Ground::Disk(root) => {
                let failed = || format!("cannot read {}", root.display());
                walk.add(root, Path::new("")).context(ErrorKind::Unavailable, failed)?;
            }
            Ground::Given(given, below) => walk.items = given.items(below, |it| walk.keeps(it))?,
        }
        let mut items = walk.items;
        if let Dockerfile::Text(text) = dockerfile {
            items.push((OWN.into(), Item::Bytes { bytes: text.clone().into(), program: false }));
        }
        Ok(Sent { dockerfile: wanted.unwrap_or_else(|| OWN.to_owned()), items })
    }

    /// The path of the Dockerfile.
    fn find(&self, path: &str) -> Result<String> {
        let usual = ["Dockerfile", "dockerfile"];
        let candidates = if path.is_empty() { &usual[..] } else { &[path][..] };
        let found = candidates.iter().find(|path| self.has(path));
        found.map(|path| (*path).to_owned()).ok_or_else(|| {
            let path = candidates[0];
            Error::not_found(format!("there is no {path} in {}", self.title()))
                .next("name it: -f FILE, or `dockerfile:` in a Compose file")
        })
    }

    /// What of it is not sent: what is said beside the Dockerfile, or for all of it.
    fn ignore(&self, dockerfile: &Dockerfile) -> Result<Ignore> {
        let own = match dockerfile {
            Dockerfile::Inside(path) if !path.is_empty() => format!("{path}.dockerignore"),
            Dockerfile::Inside(_) => "Dockerfile.dockerignore".to_owned(),
            Dockerfile::Text(_) => String::new(),
        };
        for path in [own.as_str(), ".dockerignore"].into_iter().filter(|it| !it.is_empty()) {
            if let Some(text) = self.text(path)? {
                return Ignore::read(&text).map_err(|error| error.at(path.to_owned()));
            }
        }
        Ok(Ignore::default())
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Ground::Disk(root) => root.join(path).symlink_metadata().is_ok_and(|it| !it.is_dir()),
            Ground::Given(given, below) => {
                let path = join(below, path);
                given.files.contains_key(&path) || given.links.contains_key(&path)
            }
        }
    }

    fn text(&self, path: &str) -> Result<Option<String>> {
        match self {
            Ground::Disk(root) => text(&root.join(path)),
            Ground::Given(given, below) => {
                let bytes = given.files.get(&join(below, path));
                Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
            }
        }
    }

    fn title(&self) -> String {
        match self {
            Ground::Disk(root) => root.display().to_string(),
            Ground::Given(_, below) if below.is_empty() => "the root of what was read".to_owned(),
            Ground::Given(_, below) => below.clone(),
        }
    }
}

impl Given {
    fn items(&self, below: &str, keep: impl Fn(&str) -> bool) -> Result<Vec<(PathBuf, Item)>> {
        let mut items = Vec::new();
        let inside = |path: &'_ String| match below.is_empty() {
            true => Some(path.clone()),
            false => path.strip_prefix(below)?.strip_prefix('/').map(str::to_owned),
        };
        let kept = |path: &String| inside(path).filter(|path| keep(path));
        if let Some(path) = self.left_out.iter().find(|path| kept(path).is_some()) {
            return Err(Error::exhausted(format!("{path} is too large to be fetched this way"))
                .next("clone the repository, and name its directory here"));
        }
        for (path, bytes) in &self.files {
            let program = self.programs.contains(path);
            if let Some(path) = kept(path) {
                items.push((path.into(), Item::Bytes { bytes: bytes.clone(), program }));
            }
        }
        for (path, target) in &self.links {
            if let Some(path) = kept(path) {
                items.push((path.into(), Item::Link(target.into())));
            }
        }
        Ok(items)
    }
}

fn join(below: &str, path: &str) -> String {
    if below.is_empty() { path.to_owned() } else { format!("{below}/{path}") }
}

/// The text of a small file of this machine, if there is one.
///
/// # Errors
/// `Invalid` for one that cannot be read, or is too large.
pub fn text(path: &Path) -> Result<Option<String>> {
    let failed = || format!("cannot read {}", path.display());
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.context(ErrorKind::Invalid, failed)?,
    };
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).context(ErrorKind::Invalid, failed)?;
    match text.len() as u64 > LARGEST {
        false => Ok(Some(text)),
        true => Err(Error::invalid(format!("{} is larger than 1 MiB", path.display()))),
    }
}

/// Collects what of a directory is sent.
struct Walk {
    ignore: Ignore,
    /// Sent, whatever else is said.
    always: Vec<String>,
    items: Vec<(PathBuf, Item)>,
}

impl Walk {
    fn keeps(&self, path: &str) -> bool {
        self.always.iter().any(|it| it == path) || !self.ignore.leaves_out(path)
    }

    fn may_keep_below(&self, path: &str) -> bool {
        let below = |it: &String| it.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.ignore.takes_in() || self.always.iter().any(below)
    }

    /// Adds what is below a directory. One that is left out comes with what of it is taken in again.
    fn add(&mut self, place: &Path, inside: &Path) -> std::io::Result<()> {
        let mut entries: Vec<_> = std::fs::read_dir(place)?.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let inside = inside.join(entry.file_name());
            let path = inside.to_string_lossy().into_owned();
            let (kept, before) = (self.keeps(&path), self.items.len());
            let is_dir = entry.file_type()?.is_dir();
            if kept || is_dir {
                self.items.push((inside.clone(), Item::File(entry.path())));
            }
            if is_dir && (kept || self.may_keep_below(&path)) {
                self.add(&entry.path(), &inside)?;
            }
            if !kept && self.items.len() == before + 1 {
                self.items.truncate(before);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn sent(ground: &Ground, dockerfile: &Dockerfile) -> Vec<(String, u32)> {
        let archive = ground.send(dockerfile).unwrap().archive();
        let bytes: Vec<bytes::Bytes> = archive.try_collect().await.unwrap();
        let mut archive = tar::Archive::new(std::io::Cursor::new(bytes.concat()));
        let entry = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let entry = entry.unwrap();
            let mode = entry.header().mode().unwrap() & 0o111;
            (entry.path().unwrap().to_string_lossy().into_owned(), mode)
        };
        archive.entries().unwrap().map(entry).collect()
    }

    fn names(sent: &[(String, u32)]) -> Vec<&str> {
        sent.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_directory_is_sent_without_what_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            (".dockerignore", "*\n!src\nsrc/*.o\n!deep/er/kept"),
            ("docker/Dockerfile", "FROM busybox"),
            ("docker/other", ""),
            ("src/a.c", ""),
            ("src/a.o", ""),
            ("deep/er/kept", ""),
            ("deep/left", ""),
            ("secret.key", ""),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("src/etc")).unwrap();
        let ground = Ground::Disk(dir.path().to_owned());
        let all = sent(&ground, &Dockerfile::Inside("docker/Dockerfile".into())).await;
        let expected = [
            ".dockerignore",
            "deep",
            "deep/er",
            "deep/er/kept",
            "docker",
            "docker/Dockerfile",
            "src",
            "src/a.c",
            "src/etc",
        ];
        assert_eq!(names(&all), expected);
        let own = sent(&ground, &Dockerfile::Text("FROM busybox".into())).await;
        assert!(!names(&own).contains(&"docker/Dockerfile") && names(&own).contains(&OWN));
        let error = ground.send(&Dockerfile::Inside(String::new())).unwrap_err();
        assert!(error.message().contains("there is no Dockerfile in"), "{}", error.message());
    }

    #[tokio::test]
    async fn what_was_fetched_keeps_its_programs_and_links() {
        let given = Given {
            files: [("web/Dockerfile", ""), ("web/run.sh", ""), ("web/x", ""), ("other", "")]
                .map(|(path, text)| (path.to_owned(), text.into()))
                .into(),
            programs: ["web/run.sh".to_owned()].into(),
            links: [("web/link".to_owned(), "x".to_owned())].into(),
            left_out: vec!["big".into()],
        };
        let ground = Ground::Given(Arc::new(given.clone()), "web".into());
        let all = sent(&ground, &Dockerfile::Inside(String::new())).await;
        assert_eq!(names(&all), ["Dockerfile", "run.sh", "x", "link"]);
        assert_eq!(all[1].1, 0o111);
        let whole = Ground::Given(Arc::new(given), String::new());
        let error = whole.send(&Dockerfile::Inside("other".into())).unwrap_err();
        assert!(error.message().contains("big is too large"), "{}", error.message());
    }
}
