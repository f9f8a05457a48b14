//! The builder: found on this machine, started for a job.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cgroup::Cgroup;
use crate::job::{Job, Network, Supply};
use crate::process::{Building, Ended, Program};
use crate::{layout, registries, words};

/// The program, and the package that brings it.
pub const PACKAGE: &str = "buildah";
/// Where programs are.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Signatures are the business of whoever fetches images, which is not the builder.
const POLICY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
/// Bytes of what is said while an image is written out.
const SAID: usize = 64 << 10;

/// The builder with its room. Clones are the same.
#[derive(Debug, Clone)]
pub struct Builder {
    program: PathBuf,
    room: PathBuf,
    cgroup: String,
    /// Builds share it; who clears the store holds it alone.
    store: Arc<RwLock<()>>,
}

impl Builder {
    /// The builder of this machine. What it keeps is in `room`; its builds are in cgroups below `cgroup`.
    /// All builders of one room are given one `store`, which they lock.
    ///
    /// # Errors
    /// `Unsupported` when none is installed.
    pub fn find(room: &Path, cgroup: &str, store: Arc<RwLock<()>>) -> Result<Self> {
        let places = PATH.split(':').map(|place| Path::new(place).join(PACKAGE));
        let program = places.into_iter().find(|file| file.is_file()).ok_or_else(|| {
            Error::unsupported("no builder is installed on this node")
                .next(format!("install one: apt install {PACKAGE}"))
        })?;
        Ok(Self::at(program, room, cgroup, store))
    }

    /// The builder in this file.
    pub(crate) fn at(program: PathBuf, room: &Path, cgroup: &str, store: Arc<RwLock<()>>) -> Self {
        Self { program, room: room.to_owned(), cgroup: cgroup.to_owned(), store }
    }

    /// Where everything is kept.
    pub(crate) fn room(&self) -> &Path {
        &self.room
    }

    /// A directory for the files of a job. It goes with [`Builder::clear`].
    ///
    /// # Errors
    /// `Internal` when it cannot be made.
    pub fn place(&self, job: &str) -> Result<PathBuf> {
        let place = self.room.join("jobs").join(job);
        std::fs::create_dir_all(place.join("tmp")).context(ErrorKind::Internal, || {
            format!("the directory {} cannot be made", place.display())
        })?;
        Ok(place)
    }

    /// Removes a job's directory.
    pub async fn clear(&self, job: &str) {
        let place = self.room.join("jobs").join(job);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(place)).await;
        if let Ok(Err(error)) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(job, %error, "a build's directory cannot be removed");
        }
    }

    /// Held while a job is done.
    pub async fn busy(&self) -> RwLockReadGuard<'_, ()> {
        self.store.read().await
    }

    /// Held while what builds use is taken away. It is not waited for: who waits for a long build would
    /// hold up every later one.
    pub(crate) fn alone(&self) -> Result<RwLockWriteGuard<'_, ()>> {
        self.store.try_write().map_err(|_| {
            Error::conflict("the build cache is in use: a build runs")
                .next("try again when it has ended")
        })
    }

    /// Starts a build.
    ///
    /// # Errors
    /// `Unsupported` for limits that this machine cannot set.
    pub fn build(&self, job: &Job, supply: &Supply) -> Result<Building> {
        let place = self.place(&job.id)?;
        self.write_files(job, supply, &place)?;
        let cgroup = Cgroup::make(&format!("{}/{}", self.cgroup, job.id), &job.limits)?;
        let mut program = self.program(words::build(job, &place), Some(&place))?;
        program.env.extend(words::environment(job));
        let resolv_conf = place.join("resolv.conf");
        // A host without one is asked nothing.
        let own = resolv_conf.exists() && Path::new("/etc/resolv.conf").exists();
        program.start(job, cgroup, own.then_some(&*resolv_conf))
    }

    /// Id of what a build made.
    ///
    /// # Errors
    /// `Internal` when it made nothing.
    pub fn built(&self, job: &str) -> Result<String> {
        let file = self.place(job)?.join("id");
        let text = std::fs::read_to_string(&file)
            .context(ErrorKind::Internal, || "the build says no id".to_owned())?;
        Ok(text.trim().to_owned())
    }

    /// Writes what a build made into a directory, an OCI layout; where that is.
    ///
    /// # Errors
    /// `Internal` when the builder fails.
    pub async fn export(&self, job: &str, id: &str) -> Result<PathBuf> {
        let place = self.place(job)?;
        let directory = place.join("image");
        let words = words::export(id, &place, &directory);
        let program = self.program(words, Some(&place))?.start_bare()?;
        match program.read(SAID).await? {
            (_, _, Ended::Well) => layout::arrange(&directory).map(|()| directory),
            (_, error, Ended::Badly { .. }) => {
                let last = error.lines().last().unwrap_or_default().to_owned();
                Err(Error::internal(format!("the builder cannot write the image: {last}")))
            }
        }
    }

    pub(crate) fn program(&self, words: Vec<String>, place: Option<&Path>) -> Result<Program<'_>> {
        let common = self.room.join("conf");
        std::fs::create_dir_all(&common)
            .context(ErrorKind::Internal, || "the builder's room cannot be made".to_owned())?;
        // Settings of the host's other tools are not for it: empty files stand in their place.
        for file in ["storage.conf", "containers.conf"] {
            write(&common.join(file), "")?;
        }
        let at = |file: &str| common.join(file).display().to_string();
        let mut env = vec![
            ("PATH", PATH.to_owned()),
            ("HOME", common.display().to_string()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("CONTAINERS_STORAGE_CONF", at("storage.conf")),
            ("CONTAINERS_CONF", at("containers.conf")),
        ];
        if let Some(place) = place {
            env.push(("TMPDIR", place.join("tmp").display().to_string()));
            env.push((
                "CONTAINERS_REGISTRIES_CONF",
                place.join("registries.conf").display().to_string(),
            ));
        }
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut all = words::global(&self.room);
        all.extend(words);
        Ok(Program { file: &self.program, words: all, env })
    }

    fn write_files(&self, job: &Job, supply: &Supply, place: &Path) -> Result<()> {
        let values = job.arguments.iter().filter_map(|(_, value)| value.as_deref());
        let hosts = registries::hosts(job.dockerfile.as_deref().into_iter().chain(values));
        write(&place.join("registries.conf"), &registries::file(&hosts, supply))?;
        write(&place.join("policy.json"), POLICY)?;
        write(&place.join("auth.json"), &registries::auth(supply))?;
        if let Network::Namespace { resolv_conf, .. } = &job.network
            && !resolv_conf.is_empty()
        {
            write(&place.join("resolv.conf"), resolv_conf)?;
        }
        match &job.dockerfile {
            Some(text) => write(&place.join("Dockerfile"), text),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .context(ErrorKind::Internal, || format!("{} cannot be written", path.display()))
}
