//! Network namespaces: where the host's network is, and where an instance's is kept.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::error::Context;
use model::{Error, ErrorKind, Result, Uid};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use tokio::sync::oneshot;

use super::route::failed;

/// The namespace that plays the host's part.
#[derive(Debug, Clone, Default)]
pub enum HostNamespace {
    /// The one this process runs in.
    #[default]
    Current,
    /// Another one: a test that must not touch the machine.
    At(Arc<OwnedFd>),
}

impl HostNamespace {
    /// Runs `work` in a thread of its own in this namespace. The thread ends with the work, so the
    /// work may enter other namespaces and needn't come back.
    pub async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (answer, waiting) = oneshot::channel();
        let host = self.clone();
        let job = move || {
            // The receiver is gone only when the caller gave up; the work is done all the same.
            let _ = answer.send(host.enter().and_then(|()| work()));
        };
        std::thread::Builder::new()
            .name("network".into())
            .spawn(job)
            .context(ErrorKind::Exhausted, || "no thread can be started".into())?;
        waiting.await.map_err(|_| Error::internal("a thread working on the network panicked"))?
    }

    fn enter(&self) -> Result<()> {
        match self {
            Self::Current => Ok(()),
            Self::At(namespace) => enter(namespace, "the host's"),
        }
    }
}

/// Moves the calling thread into a namespace.
fn enter(namespace: &impl std::os::fd::AsFd, whose: &str) -> Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|errno| failed(errno.into(), &format!("entering {whose} network namespace")))
}

/// Where the namespaces of a node's instances are kept: one file each, named after the instance,
/// that the namespace is mounted on. It outlives this process and ends with the machine. That takes a
/// mount namespace that outlives the process too: a systemd unit must not have one of its own
/// (`PrivateTmp=`, `ProtectSystem=` and the like).
#[derive(Debug, Clone)]
pub struct NamespaceStore {
    directory: PathBuf,
}

/// A namespace that the calling thread has entered.
#[derive(Debug)]
pub struct Entered {
    /// A handle of it.
    pub handle: File,
    /// Whether it was made just now.
    pub fresh: bool,
}

impl NamespaceStore {
    /// Namespaces are kept under `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The file of an instance's namespace.
    pub fn path(&self, instance: &Uid) -> PathBuf {
        self.directory.join(instance.as_str())
    }

    /// Enters the instance's namespace, making it if there is none. What `furnish` does in a new one is done
    /// before anybody finds it here.
    pub fn enter_or_make(
        &self,
        instance: &Uid,
        furnish: impl FnOnce() -> Result<()>,
    ) -> Result<Entered> {
        if let Some(handle) = self.enter(instance)? {
            return Ok(Entered { handle, fresh: false });
        }
        let path = self.path(instance);
        let what = || format!("making the network namespace of instance {}", instance.short());
        fs::create_dir_all(&self.directory).map_err(|error| failed(error, &what()))?;
        empty_file(&path).map_err(|error| failed(error, &what()))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into(), &what()))?;
        furnish()?;
        let none: Option<&str> = None;
        mount(Some("/proc/thread-self/ns/net"), &path, none, MsFlags::MS_BIND, none)
            .map_err(|errno| failed(errno.into(), &what()))?;
        let handle = File::open(&path).map_err(|error| failed(error, &what()))?;
        Ok(Entered { handle, fresh: true })
    }

    /// Enters the instance's namespace if there is one.
    pub fn enter(&self, instance: &Uid) -> Result<Option<File>> {
        let whose = format!("the network namespace of instance {}", instance.short());
        let opened = open_namespace(&self.path(instance));
        let Some(file) = opened.map_err(|error| failed(error, &format!("opening {whose}")))? else {
            return Ok(None);
        };
        enter(&file, &format!("instance {}'s", instance.short()))?;
        Ok(Some(file))
    }

    /// Removes the instance's namespace; the kernel ends it when the last process has left it.
    pub fn remove(&self, instance: &Uid) -> Result<()> {
        let path = self.path(instance);
        let what = || format!("removing the network namespace of instance {}", instance.short());
        // Mounted twice by two at once, or not at all.
        while path.exists() && umount2(&path, MntFlags::MNT_DETACH).is_ok() {}
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| failed(error, &what())),
        }
    }

    /// The instances that have a file here, with or without a namespace.
    pub fn list(&self) -> Result<Vec<Uid>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| failed(error, "listing network namespaces"))?,
        };
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let mut all: Vec<Uid> = entries.flatten().filter_map(name).collect();
        all.sort();
        Ok(all)
    }
}

/// Opens a file if a namespace is mounted on it. After a machine's restart the bare file may be left.
fn open_namespace(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok((fstatfs(&file)?.filesystem_type() == NSFS_MAGIC).then_some(file))
}

fn empty_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o444).open(path).map(drop)
}

/// A new namespace without a file, for a test to play the host.
pub async fn new_namespace() -> Result<Arc<OwnedFd>> {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|errno| failed(errno.into(), "making a network namespace"))?;
        let file = File::open("/proc/thread-self/ns/net")
            .map_err(|error| failed(error, "opening a network namespace"))?;
        Ok(Arc::new(OwnedFd::from(file)))
    };
    HostNamespace::Current.run(make).await
}
