//! What the fake remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use model::{Bytes, Error, Result, Time};

use crate::driver::{CreateVolume, SnapshotInfo, VolumeId};

/// All of it.
#[derive(Debug, Default)]
pub struct State {
    /// Volumes.
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// Snapshots, each with the volume's size limit.
    pub snapshots: BTreeMap<VolumeId, (SnapshotInfo, Option<Bytes>)>,
    /// Errors to come, by verb.
    pub faults: HashMap<String, VecDeque<Error>>,
    /// Verbs called.
    pub calls: Vec<String>,
}

impl State {
    /// One volume.
    pub fn volume(&self, id: &VolumeId) -> Result<&Volume> {
        self.volumes.get(id).ok_or_else(|| absent(id))
    }

    /// One volume, to change.
    pub fn volume_mut(&mut self, id: &VolumeId) -> Result<&mut Volume> {
        self.volumes.get_mut(id).ok_or_else(|| absent(id))
    }
}

fn absent(id: &VolumeId) -> Error {
    Error::not_found(format!("there is no volume {id}"))
}

/// A volume.
#[derive(Debug)]
pub struct Volume {
    /// What was asked.
    pub request: CreateVolume,
    /// The size in force.
    pub size: Option<Bytes>,
    /// It is ready.
    pub staged: bool,
    /// It was filled from an image, or had contents when that was tried.
    pub filled: bool,
    /// Its consumers.
    pub users: BTreeSet<String>,
    /// When it was made.
    pub created: Time,
}

impl Volume {
    /// A new one.
    pub fn new(request: CreateVolume, size: Option<Bytes>, created: Time) -> Self {
        Self { request, size, staged: false, filled: false, users: BTreeSet::new(), created }
    }

    /// Refuses to create it again with other parameters.
    pub fn answers(&self, request: &CreateVolume) -> Result<()> {
        let same_size = self.request.size == request.size || self.size == request.size;
        let same = self.request.source == request.source && self.request.options == request.options;
        if same_size && same {
            return Ok(());
        }
        Err(Error::exists(format!("volume {:?} exists with other parameters", self.request.name)))
    }

    /// Refuses what must not happen to a volume in use.
    pub fn refuse_used(&self, verb: &str) -> Result<()> {
        if self.users.is_empty() {
            return Ok(());
        }
        let users = self.users.iter().cloned().collect::<Vec<_>>().join(", ");
        let name = &self.request.name;
        Err(Error::conflict(format!("volume {name:?} is used by {users} and cannot be {verb}")))
    }

    /// Refuses what a volume must be staged for.
    pub fn refuse_unstaged(&self) -> Result<()> {
        if self.staged {
            return Ok(());
        }
        Err(Error::conflict(format!("volume {:?} is not mounted", self.request.name))
            .next("stage it first"))
    }
}
