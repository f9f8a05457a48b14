//! The contents of catalogs on this machine's disk.
//!
//! A content is read from its source as a whole, listed, and put in a directory called after its digest;
//! it never changes there. Which content of a catalog is offered is written in the catalog's record, so
//! there is no moment at which half of one is seen.

use std::path::{Path, PathBuf};

use model::catalog::CatalogSource;
use model::error::Context;
use model::template::{Template, TemplateVersion};
use model::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use crate::answers::Answers;
use crate::formats;
use crate::render::{File, render};
use crate::signers::Signers;
use crate::sources::{archive, builtin, directory, git};
use crate::tree::Tree;

const INDEX: &str = "index.json";
const FILES: &str = "files";
/// Largest index.
const MAX_INDEX: u64 = 64 << 20;

/// The contents.
#[derive(Debug, Clone)]
pub struct Library {
    dir: PathBuf,
}

/// A content that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What it is called.
    pub digest: String,
    /// The commit it is of.
    pub commit: Option<String>,
    /// How many templates can be installed.
    pub templates: u32,
    /// How many have a problem.
    pub broken: u32,
}

impl Library {
    /// The library in a directory, which is made with the first content.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Reads a source and puts its content beside those that are there. Blocks.
    ///
    /// # Errors
    /// Those of the source; `Invalid` for one without templates.
    pub fn take_in(&self, id: &str, name: &str, source: &CatalogSource) -> Result<Content> {
        let (mut tree, commit) = match source {
            CatalogSource::BuiltIn => (builtin::read()?, None),
            CatalogSource::Directory { path } => (directory::read(Path::new(path))?, None),
            CatalogSource::Archive { path } => (archive::open(Path::new(path))?, None),
            CatalogSource::Git { url, branch, keys } => {
                let signers = keys.as_deref().map(Signers::read).transpose()?;
                let scratch = self.scratch(id)?;
                let (tree, commit) = git::read(url, branch.as_deref(), signers, &scratch)?;
                (tree, Some(commit))
            }
        };
        let templates = formats::read(name, &mut tree)?;
        let usable = templates.iter().filter(|template| template.usable().next().is_some()).count();
        let content = Content {
            digest: digest(name, &tree),
            commit,
            templates: u32::try_from(usable).unwrap_or(u32::MAX),
            broken: u32::try_from(templates.len() - usable).unwrap_or(u32::MAX),
        };
        self.put(id, &content.digest, &tree, &templates)?;
        Ok(content)
    }

    /// A place for what comes over the network, with nothing in it.
    fn scratch(&self, id: &str) -> Result<PathBuf> {
        let place = self.dir.join(id).join("fetch.new");
        let failed = || format!("{} cannot be made", place.display());
        remove(&place).context(ErrorKind::Unavailable, failed)?;
        std::fs::create_dir_all(self.dir.join(id)).context(ErrorKind::Unavailable, failed)?;
        Ok(place)
    }

    fn put(&self, id: &str, digest: &str, tree: &Tree, templates: &[Template]) -> Result<()> {
        let place = self.dir.join(id).join(digest);
        if place.join(INDEX).exists() {
            return Ok(());
        }
        let unwritable = || format!("the catalog cannot be kept in {}", place.display());
        let new = self.dir.join(id).join(format!("{digest}.new"));
        remove(&new).context(ErrorKind::Unavailable, unwritable)?;
        for (path, bytes) in tree.files() {
            let path = new.join(FILES).join(path);
            let parent = path.parent().unwrap_or(&new);
            std::fs::create_dir_all(parent).context(ErrorKind::Unavailable, unwritable)?;
            std::fs::write(&path, bytes).context(ErrorKind::Unavailable, unwritable)?;
        }
        let index = serde_json::to_vec(templates).expect("a template can be encoded");
        std::fs::write(new.join(INDEX), index).context(ErrorKind::Unavailable, unwritable)?;
        remove(&place).context(ErrorKind::Unavailable, unwritable)?;
        std::fs::rename(&new, &place).context(ErrorKind::Unavailable, unwritable)
    }

    /// Removes a catalog's contents but the one that is offered.
    ///
    /// # Errors
    /// `Unavailable` when they cannot be removed.
    pub fn forget(&self, id: &str, but: Option<&str>) -> Result<()> {
        let dir = self.dir.join(id);
        let failed = || format!("{} cannot be removed", dir.display());
        let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(()) };
        for entry in entries.flatten() {
            if entry.file_name().to_str() != but {
                remove(&entry.path()).context(ErrorKind::Unavailable, failed)?;
            }
        }
        match but {
            Some(_) => Ok(()),
            None => remove(&dir).context(ErrorKind::Unavailable, failed),
        }
    }

    /// Whether a content is here.
    #[must_use]
    pub fn has(&self, id: &str, digest: &str) -> bool {
        self.dir.join(id).join(digest).join(INDEX).exists()
    }

    /// The templates of a content.
    ///
    /// # Errors
    /// `Unavailable` when it is not here.
    pub fn templates(&self, id: &str, digest: &str) -> Result<Vec<Template>> {
        let path = self.dir.join(id).join(digest).join(INDEX);
        let gone = || {
            Error::unavailable("the catalog's files are not on this machine")
                .next("read it again: hull catalog refresh")
        };
        let size = std::fs::metadata(&path).map_err(|error| gone().caused_by(error))?.len();
        if size > MAX_INDEX {
            return Err(Error::internal("the catalog's index is too large"));
        }
        let bytes = std::fs::read(&path).map_err(|error| gone().caused_by(error))?;
        serde_json::from_slice(&bytes).map_err(|error| gone().caused_by(error))
    }

    /// A file of a content.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn file(&self, id: &str, digest: &str, path: &str) -> Result<Vec<u8>> {
        // What a tree takes in is a path that stays inside.
        Tree::default().add(path, Vec::new())?;
        let place = self.dir.join(id).join(digest).join(FILES).join(path);
        std::fs::read(place)
            .map_err(|error| Error::not_found(format!("there is no file {path}")).caused_by(error))
    }

    /// All files beside those that a version is installed from.
    fn files(&self, id: &str, digest: &str, version: &TemplateVersion) -> Result<Tree> {
        let mut tree = Tree::default();
        for path in &version.files {
            tree.add(path, self.file(id, digest, path)?)?;
        }
        if version.place.is_empty() {
            return Ok(tree);
        }
        let root = self.dir.join(id).join(digest).join(FILES).join(&version.place);
        for (path, bytes) in directory::read(&root)?.files() {
            tree.add(&format!("{}/{path}", version.place), bytes.to_vec())?;
        }
        Ok(tree)
    }

    /// The files of an app: those of a version, rendered, and whatever lies beside them as it is.
    ///
    /// # Errors
    /// Those of [`render`].
    pub fn render(
        &self,
        (id, digest): (&str, &str),
        template: &Template,
        version: &TemplateVersion,
        app: &str,
        answers: &Answers,
    ) -> Result<Rendered> {
        let tree = self.files(id, digest, version)?;
        let files = render(&tree, template, version, app, answers)?;
        let beside = tree.files().filter(|(path, _)| !version.files.iter().any(|it| it == path));
        let beside = beside.map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect();
        Ok(Rendered { files, beside })
    }
}

/// What an app is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its Compose files, in the order in which they are merged.
    pub files: Vec<File>,
    /// Files that they may refer to.
    pub beside: Vec<(String, Vec<u8>)>,
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Tells contents apart, also those of another program's readers.
fn digest(name: &str, tree: &Tree) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(env!("CARGO_PKG_VERSION").as_bytes());
    part(name.as_bytes());
    for (path, bytes) in tree.files() {
        part(path.as_bytes());
        part(bytes);
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_kept_side_by_side() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |path: &str, text: &str| {
            let path = from.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("web/template.yaml", "title: Web\nquestions: [{variable: tag, default: '1'}]");
        write("web/1/compose.yaml.tpl", "services: {web: {image: 'nginx:{{.Values.tag}}'}}");
        write("web/1/x.env", "A=1");
        write("odd/template.yaml", "{");
        let library = Library::new(to.path().to_owned());
        let source = CatalogSource::Directory { path: from.path().to_str().unwrap().to_owned() };
        let first = library.take_in("id", "mine", &source).unwrap();
        assert_eq!((first.templates, first.broken), (1, 1));
        assert_eq!(library.take_in("id", "mine", &source).unwrap(), first);
        write("web/2/compose.yaml", "services: {web: {image: nginx}}");
        let second = library.take_in("id", "mine", &source).unwrap();
        assert_ne!(second.digest, first.digest);
        let templates = library.templates("id", &first.digest).unwrap();
        assert_eq!(templates[1].versions.len(), 1);
        let answers = Answers::from([("tag".into(), "9".into())]);
        let template = &templates[1];
        let version = template.version(None).unwrap();
        let rendered =
            library.render(("id", &first.digest), template, version, "app", &answers).unwrap();
        assert_eq!(rendered.files[0].text, "services: {web: {image: 'nginx:9'}}");
        assert_eq!(rendered.beside, [("web/1/x.env".to_owned(), b"A=1".to_vec())]);
        assert!(library.file("id", &first.digest, "../../index.json").is_err());
        library.forget("id", Some(&second.digest)).unwrap();
        assert!(!library.has("id", &first.digest) && library.has("id", &second.digest));
        library.forget("id", None).unwrap();
        assert!(!to.path().join("id").exists());
    }
}
