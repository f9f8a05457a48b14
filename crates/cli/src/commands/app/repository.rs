//! An app in a git repository: `https://host/path.git#branch:directory`, as `docker build` has it.

use model::error::Context as _;
use model::{Error, ErrorKind, Result};

use crate::archive::context::Given;

/// Where an app's files are in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    url: String,
    branch: Option<String>,
    /// Below the repository's root; empty for all of it.
    directory: String,
    /// What the app is called when nothing else says so.
    pub(super) name: String,
}

impl Repository {
    /// Reads an address.
    pub(super) fn of(word: &str) -> Result<Self> {
        let refused = |why: &str| {
            Error::invalid(format!("{word:?} {why}"))
                .at("--file")
                .next("write it like https://HOST/PATH.git#BRANCH:DIRECTORY")
        };
        let (url, rest) = word.split_once('#').unwrap_or((word, ""));
        let path = ["https://", "http://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
        let path = path.ok_or_else(|| refused("is neither https:// nor http://"))?;
        if [".yaml", ".yml", ".tar", ".gz", ".tgz", ".zip"].iter().any(|end| path.ends_with(end)) {
            return Err(refused("is a file, and no git repository").next("download it first"));
        }
        if path.split('/').next().is_some_and(|host| host.is_empty() || host.contains('@')) {
            return Err(refused("names no host, or a user, and there is no login"));
        }
        let (branch, directory) = rest.split_once(':').unwrap_or((rest, ""));
        let directory = directory.trim_matches('/');
        let good = |part: &str| !matches!(part, "" | "." | "..");
        if !directory.is_empty() && !directory.split('/').all(good) {
            return Err(refused("has a directory that leaves the repository"));
        }
        let last = if directory.is_empty() { path } else { directory };
        let last = last.trim_end_matches('/').trim_end_matches("/.git");
        let last = last.rsplit('/').next().unwrap_or(last);
        Ok(Self {
            url: url.to_owned(),
            branch: Some(branch).filter(|it| !it.is_empty()).map(str::to_owned),
            directory: directory.to_owned(),
            name: last.trim_end_matches(".git").to_owned(),
        })
    }

    /// The files of its last commit, below the directory.
    pub(super) fn read(&self) -> Result<Given> {
        let failed = || "there is no place for what is fetched".to_owned();
        let scratch = tempfile::tempdir().context(ErrorKind::Unavailable, failed)?;
        let place = scratch.path().join("git");
        let (tree, _) =
            catalog::sources::git::read(&self.url, self.branch.as_deref(), None, &place)?;
        let below = |path: &str| match self.directory.is_empty() {
            true => Some(path.to_owned()),
            false => path.strip_prefix(&self.directory)?.strip_prefix('/').map(str::to_owned),
        };
        let files = tree.files().filter_map(|(path, bytes)| Some((below(path)?, bytes.to_vec())));
        let programs = tree.files().map(|(path, _)| path).filter(|path| tree.is_program(path));
        let links = tree.links().filter_map(|(path, to)| Some((below(path)?, to.to_owned())));
        let given = Given {
            files: files.collect(),
            programs: programs.filter_map(below).collect(),
            links: links.collect(),
            left_out: tree.left_out().filter_map(below).collect(),
        };
        match given.files.is_empty() {
            false => Ok(given),
            true => {
                Err(Error::not_found(format!("{} has no files in {:?}", self.url, self.directory)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (word, url, branch, directory, name) in [
            ("https://h/a/shop.git", "https://h/a/shop.git", None, "", "shop"),
            ("http://h:8/shop/.git#main", "http://h:8/shop/.git", Some("main"), "", "shop"),
            ("https://h/all#v1:apps/web/", "https://h/all", Some("v1"), "apps/web", "web"),
            ("https://h/all#:web", "https://h/all", None, "web", "web"),
        ] {
            let found = Repository::of(word).unwrap();
            assert_eq!(found.url, url);
            assert_eq!(found.branch.as_deref(), branch, "{word}");
            assert_eq!(
                (found.directory.as_str(), found.name.as_str()),
                (directory, name),
                "{word}"
            );
        }
        for bad in [
            "ssh://git@h/x",
            "file:///etc",
            "https:///x",
            "https://me:pw@h/x",
            "https://h/compose.yaml",
            "https://h/x#main:../etc",
        ] {
            assert!(Repository::of(bad).is_err(), "{bad}");
        }
    }
}
