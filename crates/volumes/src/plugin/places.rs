//! Where plugins are found.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::name::check_name;
use model::{Error, Result};
use serde::Deserialize;

/// Most bytes of a file that names an address.
const LONGEST: u64 = 64 << 10;
/// Most plugins that are looked at.
const MOST: usize = 256;

/// The directories that have plugins: sockets named as they are, and files that name an address, each
/// there or in a directory of its own (docs.docker.com/engine/extend/plugin_api, "Plugin discovery").
#[derive(Debug, Clone)]
pub struct Places {
    sockets: PathBuf,
    files: [PathBuf; 2],
    /// Directories that no plugin has volumes in.
    barred: Vec<PathBuf>,
}

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// At a socket of this machine.
    Socket(PathBuf),
    /// At `host:port`, without encryption.
    Tcp(String),
}

/// A plugin's address, and the file it was found by as it was then: another file is another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub address: Address,
    stamp: (u64, i64, i64),
}

/// A file `NAME.json`; what is not read here is for people.
#[derive(Deserialize)]
struct Described {
    #[serde(rename = "Addr")]
    address: String,
    #[serde(rename = "TLSConfig", default)]
    tls: Option<serde_json::Value>,
}

impl Places {
    /// Docker's own places below `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            sockets: root.join("run/docker/plugins"),
            files: [root.join("etc/docker/plugins"), root.join("usr/lib/docker/plugins")],
            barred: Vec::new(),
        }
    }

    /// The same with a directory that no plugin has volumes in: what is there is not a plugin's to give.
    #[must_use]
    pub fn barring(mut self, dir: &Path) -> Self {
        self.barred.push(dir.to_owned());
        self
    }

    /// Whether a directory, whose path has no links in it, is not a plugin's to give.
    pub fn bars(&self, dir: &Path) -> bool {
        let barred = self.barred.iter().filter_map(|barred| barred.canonicalize().ok());
        dir.parent().is_none()
            || barred.into_iter().any(|it| dir.starts_with(&it) || it.starts_with(dir))
    }

    /// The names of all plugins, in order. Nobody is asked whether they are there.
    pub fn names(&self) -> BTreeSet<String> {
        let sockets = names_in(&self.sockets, &["sock"]);
        let files = self.files.iter().flat_map(|dir| names_in(dir, &["spec", "json"]));
        let mut names: BTreeSet<_> = sockets.into_iter().chain(files).collect();
        while names.len() > MOST {
            names.pop_last();
        }
        names
    }

    /// Where the plugin of that name listens; `None` when there is none.
    ///
    /// # Errors
    /// `Invalid` for a file that names no address.
    pub fn find(&self, name: &str) -> Result<Option<Found>> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        for path in both(&self.sockets, name, "sock") {
            if let Ok(meta) = fs::metadata(&path)
                && meta.file_type().is_socket()
            {
                return Ok(Some(Found { address: Address::Socket(path), stamp: stamp(&meta) }));
            }
        }
        for dir in &self.files {
            for path in ["spec", "json"].iter().flat_map(|ending| both(dir, name, ending)) {
                if let Ok(meta) = fs::metadata(&path)
                    && meta.is_file()
                {
                    return Ok(Some(Found { address: read(&path)?, stamp: stamp(&meta) }));
                }
            }
        }
        Ok(None)
    }

    /// Where a plugin's socket would be.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.sockets.join(format!("{name}.sock"))
    }
}

fn stamp(meta: &fs::Metadata) -> (u64, i64, i64) {
    (meta.ino(), meta.ctime(), meta.ctime_nsec())
}

/// `DIR/NAME.ENDING` and `DIR/NAME/NAME.ENDING`.
fn both(dir: &Path, name: &str, ending: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{ending}");
    [dir.join(&file), dir.join(name).join(&file)]
}

fn names_in(dir: &Path, endings: &[&str]) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(4 * MOST);
    let name = |entry: fs::DirEntry| {
        let path = entry.path();
        let ending = |path: &Path| {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            endings.contains(&ending)
        };
        let stem = path.file_stem()?.to_str()?.to_owned();
        if ending(&path) && !path.is_dir() {
            return Some(stem);
        }
        let name = path.file_name()?.to_str()?.to_owned();
        let inside = |ending: &&str| path.join(format!("{name}.{ending}")).exists();
        endings.iter().any(inside).then_some(name)
    };
    entries.filter_map(name).filter(|name| check_name(name).is_ok()).collect()
}

fn read(path: &Path) -> Result<Address> {
    let wrong = |why: &str| {
        Error::invalid(format!("{} does not say where the plugin listens: {why}", path.display()))
            .next("write unix:///path/of/a/socket or tcp://host:port into it")
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| wrong("it cannot be read").caused_by(error))?;
    let read = file.take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| wrong("it cannot be read").caused_by(error))?;
    if path.extension().is_none_or(|ending| ending != "json") {
        return address(text.trim()).map_err(wrong);
    }
    let described: Described =
        serde_json::from_str(&text).map_err(|error| wrong("it is no JSON").caused_by(error))?;
    if described.tls.is_some_and(|tls| !tls.is_null()) {
        return Err(Error::unsupported(format!(
            "{} asks for TLS, which is not spoken to plugins",
            path.display()
        ))
        .next("have the plugin listen at a socket of this machine"));
    }
    address(described.address.trim()).map_err(wrong)
}

fn address(text: &str) -> std::result::Result<Address, &'static str> {
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Socket(path.into())),
        Some(("tcp" | "http", host)) if host.contains(':') && !host.contains('/') => {
            Ok(Address::Tcp(host.to_owned()))
        }
        Some(("unix" | "tcp" | "http", _)) => Err("the address is not whole"),
        Some(_) => Err("it names neither a socket nor a port"),
        None => Err("it has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorKind;

    #[test]
    fn plugins_are_found_where_docker_finds_them() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/docker/plugins/far.spec", "tcp://192.0.2.1:8080\n");
        write(
            "usr/lib/docker/plugins/deep/deep.json",
            r#"{"Name": "x", "Addr": "unix:///d.sock"}"#,
        );
        write("etc/docker/plugins/bad.spec", "nowhere");
        write("etc/docker/plugins/tls.json", r#"{"Addr": "tcp://a:1", "TLSConfig": {}}"#);
        write("etc/docker/plugins/-x.spec", "unix:///x");
        write("etc/docker/plugins/note.txt", "unix:///x");
        write("etc/docker/plugins/near.spec", "unix:///elsewhere");
        let run = root.path().join("run/docker/plugins");
        fs::create_dir_all(run.join("own")).unwrap();
        let _near = std::os::unix::net::UnixListener::bind(run.join("near.sock")).unwrap();
        let _own = std::os::unix::net::UnixListener::bind(run.join("own/own.sock")).unwrap();
        let places = Places::below(root.path());
        let names: Vec<_> = places.names().into_iter().collect();
        assert_eq!(names, ["bad", "deep", "far", "near", "own", "tls"]);
        let at = |name: &str| places.find(name).unwrap().map(|found| found.address);
        assert_eq!(at("far"), Some(Address::Tcp("192.0.2.1:8080".into())));
        assert_eq!(at("deep"), Some(Address::Socket("/d.sock".into())));
        assert_eq!(at("near"), Some(Address::Socket(run.join("near.sock"))), "sockets go first");
        assert_eq!(at("own"), Some(Address::Socket(run.join("own/own.sock"))));
        assert_eq!(at("absent"), None);
        assert_eq!(at("../near"), None);
        assert_eq!(places.find("bad").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(places.find("tls").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
