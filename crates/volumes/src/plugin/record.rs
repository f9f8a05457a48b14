//! What is remembered of volumes that plugins have: above all, who mounts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::error::Context;
use model::{Error, ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};

use crate::driver::{CreateVolume, Format, VolumeId, VolumeInfo};
use crate::durable;
use crate::fault::Fault;
use crate::filled::Filled;

/// A volume of a plugin's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its identity here.
    pub id: VolumeId,
    /// Its name, here and at the plugin.
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// The plugin's options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The plugin was asked to make it and has not said yet that it did.
    #[serde(default)]
    pub making: bool,
    /// How far the copy from an image has come.
    #[serde(default)]
    pub filled: Filled,
    /// Its mounts by user, each told to the plugin once and taken back once.
    #[serde(default)]
    pub mounts: BTreeMap<String, Mount>,
    /// When it was made.
    pub created: Time,
}

/// A mount for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The machine's boot it was asked for in.
    pub boot: String,
    /// How far it has come.
    pub state: State,
}

/// How far a mount has come. What is written is written before the plugin is asked, and again after it
/// answered, so that a process that died in between is followed by one that knows what to take back.
///
/// ```text
/// (none) ──> Asked ──answer──> Mounted ──> Leaving ──answer──> (none)
///              └────────────────────────────^
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The plugin was asked; whether it did it is not known.
    Asked,
    /// It is mounted here.
    Mounted(PathBuf),
    /// It is to be taken back, and the plugin has said no so often.
    Leaving(u32),
}

impl Mount {
    /// Whether its user still has it.
    pub fn used(&self) -> bool {
        match self.state {
            State::Asked | State::Mounted(_) => true,
            State::Leaving(_) => false,
        }
    }

    /// Where it is, if it was mounted in this boot of the machine.
    pub fn path(&self, boot: &str) -> Option<&Path> {
        match &self.state {
            State::Mounted(path) if self.boot == boot => Some(path),
            State::Asked | State::Mounted(_) | State::Leaving(_) => None,
        }
    }
}

impl Record {
    /// What was asked for, before the plugin was.
    pub fn new(request: &CreateVolume) -> Self {
        Self {
            id: request.id.clone(),
            name: request.name.clone(),
            plugin: request.storage.clone(),
            options: request.options.clone(),
            making: true,
            filled: Filled::No,
            mounts: BTreeMap::new(),
            created: Time::now(),
        }
    }

    /// Refuses a request that would make another volume.
    pub fn answers(&self, request: &CreateVolume) -> Result<()> {
        let same = self.plugin == request.storage
            && self.name == request.name
            && self.options == request.options;
        if same && request.size.is_none() && request.source.is_none() {
            return Ok(());
        }
        Err(Error::exists(format!("volume {:?} exists with another storage or options", self.name))
            .next("use another name, or remove the volume first"))
    }

    /// Its users, in order.
    pub fn users(&self) -> Vec<String> {
        let used = self.mounts.iter().filter(|(_, mount)| mount.used());
        used.map(|(user, _)| user.clone()).collect()
    }

    /// Where it is mounted in this boot of the machine.
    pub fn path(&self, boot: &str) -> Option<&Path> {
        self.mounts.values().find_map(|mount| mount.path(boot))
    }

    /// The same in the words of all drivers.
    pub fn info(&self, boot: &str) -> VolumeInfo {
        VolumeInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            size: None,
            format: Format::Plugin,
            path: self.path(boot).map(Path::to_owned),
            published: self.users(),
            method: None,
            created: self.created,
        }
    }
}

/// All records: on the disk, and here for whoever reads.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: Arc<Path>,
    records: Arc<Mutex<BTreeMap<VolumeId, Record>>>,
}

impl Shelf {
    /// Reads the records in `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// The file system's; `Internal` naming a file that was not written by us.
    pub fn open(dir: &Path) -> Result<Self> {
        let what = || format!("{} cannot be read", dir.display());
        fs::create_dir_all(dir).fault(what)?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(dir).fault(what)? {
            let path = entry.fault(what)?.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let read: Option<Record> = durable::read(&path)
                .context(ErrorKind::Internal, || format!("{} cannot be read", path.display()))?;
            records.extend(read.map(|record| (record.id.clone(), record)));
        }
        Ok(Self { dir: dir.into(), records: Arc::new(Mutex::new(records)) })
    }

    /// The record of a volume, if a plugin has it.
    pub fn get(&self, id: &VolumeId) -> Option<Record> {
        self.records().get(id).cloned()
    }

    /// All, in order.
    pub fn all(&self) -> Vec<Record> {
        self.records().values().cloned().collect()
    }

    /// Keeps a record. It is on the disk when this returns.
    ///
    /// # Errors
    /// The file system's.
    pub async fn put(&self, record: &Record) -> Result<()> {
        let (shelf, record) = (self.clone(), record.clone());
        blocking(move || {
            durable::write(&shelf.file(&record.id), &record)
                .fault(|| format!("volume {:?} cannot be written down", record.name))?;
            shelf.records().insert(record.id.clone(), record);
            Ok(())
        })
        .await
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// The file system's.
    pub async fn remove(&self, id: &VolumeId) -> Result<()> {
        let (shelf, id) = (self.clone(), id.clone());
        blocking(move || {
            match fs::remove_file(shelf.file(&id)) {
                Err(error) if !durable::absent(&error) => Err(error),
                _ => durable::sync(&shelf.dir),
            }
            .fault(|| format!("volume {id} cannot be forgotten"))?;
            shelf.records().remove(&id);
            Ok(())
        })
        .await
    }

    fn file(&self, id: &VolumeId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what waits for the disk, beside those who must not.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.context(ErrorKind::Internal, || "work on a volume ended early".to_owned())?
}
