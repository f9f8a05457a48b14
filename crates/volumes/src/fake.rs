//! A driver on plain directories, with faults on demand, for tests of whoever uses one.
//!
//! It needs no privilege and keeps nothing over a restart. Sizes are remembered, not enforced; what is
//! written to a volume's path is really there.

mod state;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use model::{Bytes, Error, Result, Time};

use crate::copy;
use crate::driver::{
    Capability, Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Format, Info, Method,
    Populate, Populated, Publish, SnapshotInfo, Source, Stats, VolumeId, VolumeInfo,
};
use crate::fault::Fault;
use state::{State, Volume};

/// Size of the storage the fake says to have.
const TOTAL: Bytes = Bytes::gib(100);

/// The fake driver.
#[derive(Debug)]
pub struct FakeDriver {
    dir: PathBuf,
    state: Mutex<State>,
}

impl FakeDriver {
    /// Keeps its volumes under `dir`, made when absent.
    ///
    /// # Errors
    /// `Unavailable` when the directory cannot be made.
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).fault(|| format!("{} cannot be made", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), state: Mutex::default() })
    }

    /// Makes the next call of `verb` (the method's name, e.g. `node_stage`) fail with this error.
    /// Several wait their turn.
    pub fn fail_next(&self, verb: &str, error: Error) {
        self.state().faults.entry(verb.to_owned()).or_default().push_back(error);
    }

    /// The verbs called so far, each with the id it was called for, e.g. `create data`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call and fails it when that was asked for.
    fn enter(&self, verb: &str, id: &VolumeId) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.push(format!("{verb} {id}"));
        match state.faults.get_mut(verb).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    fn volume_dir(&self, id: &VolumeId) -> PathBuf {
        self.dir.join("volumes").join(id.as_str())
    }

    fn snapshot_dir(&self, id: &VolumeId) -> PathBuf {
        self.dir.join("snapshots").join(id.as_str())
    }

    fn describe(&self, id: &VolumeId, volume: &Volume) -> VolumeInfo {
        VolumeInfo {
            id: id.clone(),
            name: volume.request.name.clone(),
            size: volume.size,
            format: Format::None,
            path: volume.staged.then(|| self.volume_dir(id)),
            published: volume.users.iter().cloned().collect(),
            method: volume.request.source.as_ref().map(|_| Method::Copy),
            created: volume.created,
        }
    }

    fn make(&self, state: &State, request: &CreateVolume) -> Result<Option<Bytes>> {
        let path = self.volume_dir(&request.id);
        fs::create_dir_all(&path).fault(|| format!("volume {:?} cannot be made", request.name))?;
        match &request.source {
            None => Ok(request.size),
            Some(Source::Volume(id)) => {
                let size = state.volume(id).map_err(|error| error.at("source"))?.size;
                duplicate(&self.volume_dir(id), &path)?;
                Ok(request.size.or(size))
            }
            Some(Source::Snapshot(id)) => {
                let snapshots = &state.snapshots;
                let found = snapshots.get(id).ok_or_else(|| {
                    Error::not_found(format!("there is no snapshot {id}")).at("source")
                })?;
                duplicate(&self.snapshot_dir(id), &path)?;
                Ok(request.size.or(found.1))
            }
        }
    }
}

fn duplicate(from: &Path, to: &Path) -> Result<copy::Tally> {
    let what = || format!("{} cannot be copied", from.display());
    fs::create_dir_all(to).fault(what)?;
    copy::tree(&File::open(from).fault(what)?, &File::open(to).fault(what)?, true, &|| {})
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.fault(|| format!("{} cannot be removed", path.display())),
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn info(&self) -> Info {
        Info {
            name: "fake".to_owned(),
            version: "0".to_owned(),
            capabilities: vec![
                Capability::CreateDelete,
                Capability::Stage,
                Capability::Snapshot,
                Capability::Clone,
                Capability::Expand,
                Capability::Stats,
                Capability::List,
                Capability::Capacity,
            ],
        }
    }

    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        let mut state = self.enter("create", &request.id)?;
        if let Some(found) = state.volumes.get(&request.id) {
            found.answers(&request)?;
            return Ok(self.describe(&request.id, found));
        }
        if let Some(key) = request.options.keys().next() {
            return Err(Error::invalid(format!("the fake has no option {key:?}"))
                .at(format!("options.{key}")));
        }
        let size = self.make(&state, &request).inspect_err(|_| {
            let _ = remove(&self.volume_dir(&request.id));
        })?;
        let id = request.id.clone();
        let volume = Volume::new(request, size, Time::now());
        let info = self.describe(&id, &volume);
        state.volumes.insert(id, volume);
        Ok(info)
    }

    async fn delete(&self, id: &VolumeId) -> Result<()> {
        let mut state = self.enter("delete", id)?;
        if let Some(volume) = state.volumes.get(id) {
            volume.refuse_used("removed")?;
        }
        state.volumes.remove(id);
        remove(&self.volume_dir(id))
    }

    async fn expand(&self, id: &VolumeId, size: Bytes) -> Result<Expanded> {
        let mut state = self.enter("expand", id)?;
        let volume = state.volume_mut(id)?;
        match volume.size {
            Some(now) if size >= now => volume.size = Some(size),
            _ => {
                return Err(Error::invalid(format!(
                    "volume {:?} cannot be made {size}",
                    volume.request.name
                ))
                .at("size"));
            }
        }
        Ok(Expanded { size, node_expansion_required: false })
    }

    async fn show(&self, id: &VolumeId) -> Result<VolumeInfo> {
        let state = self.enter("show", id)?;
        Ok(self.describe(id, state.volume(id)?))
    }

    async fn list(&self) -> Result<Vec<VolumeInfo>> {
        let state = self.state();
        Ok(state.volumes.iter().map(|(id, volume)| self.describe(id, volume)).collect())
    }

    async fn capacity(&self) -> Result<Capacity> {
        Ok(Capacity { total: TOTAL, available: TOTAL })
    }

    async fn create_snapshot(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        let mut state = self.enter("create_snapshot", &request.id)?;
        if let Some((found, _)) = state.snapshots.get(&request.id) {
            return match found.volume == request.volume {
                true => Ok(found.clone()),
                false => Err(Error::exists(format!("snapshot {:?} exists", found.name))),
            };
        }
        let volume = state.volume(&request.volume)?;
        let (size, consistent) = (volume.size, volume.users.is_empty());
        let tally = duplicate(&self.volume_dir(&request.volume), &self.snapshot_dir(&request.id))?;
        let snapshot = SnapshotInfo {
            id: request.id.clone(),
            name: request.name,
            volume: request.volume,
            method: Method::Copy,
            consistent,
            taken: Time::now(),
            size: Some(size.unwrap_or(Bytes(tally.written + tally.shared))),
        };
        state.snapshots.insert(request.id, (snapshot.clone(), size));
        Ok(snapshot)
    }

    async fn delete_snapshot(&self, id: &VolumeId) -> Result<()> {
        self.enter("delete_snapshot", id)?.snapshots.remove(id);
        remove(&self.snapshot_dir(id))
    }

    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        Ok(self.state().snapshots.values().map(|(snapshot, _)| snapshot.clone()).collect())
    }

    async fn node_stage(&self, id: &VolumeId) -> Result<()> {
        self.enter("node_stage", id)?.volume_mut(id)?.staged = true;
        Ok(())
    }

    async fn node_publish(&self, request: Publish) -> Result<PathBuf> {
        let mut state = self.enter("node_publish", &request.volume)?;
        let volume = state.volume_mut(&request.volume)?;
        volume.refuse_unstaged()?;
        volume.users.insert(request.consumer);
        Ok(self.volume_dir(&request.volume))
    }

    async fn node_unpublish(&self, id: &VolumeId, consumer: &str) -> Result<()> {
        if let Some(volume) = self.enter("node_unpublish", id)?.volumes.get_mut(id) {
            volume.users.remove(consumer);
        }
        Ok(())
    }

    async fn node_unstage(&self, id: &VolumeId) -> Result<()> {
        if let Some(volume) = self.enter("node_unstage", id)?.volumes.get_mut(id) {
            volume.refuse_used("unmounted")?;
            volume.staged = false;
        }
        Ok(())
    }

    async fn node_expand(&self, id: &VolumeId) -> Result<()> {
        self.enter("node_expand", id)?.volume(id).map(drop)
    }

    async fn stats(&self, id: &VolumeId) -> Result<Stats> {
        let state = self.enter("stats", id)?;
        let total = state.volume(id)?.size.unwrap_or(TOTAL);
        Ok(Stats {
            total,
            used: Bytes(0),
            available: total,
            inodes: 0,
            inodes_used: 0,
            allocated: Bytes(0),
            fault: None,
        })
    }

    async fn populate(&self, id: &VolumeId, source: Populate) -> Result<Populated> {
        let mut state = self.enter("populate", id)?;
        let volume = state.volume_mut(id)?;
        volume.refuse_unstaged()?;
        let path = self.volume_dir(id);
        let what = || format!("volume {id} cannot be filled");
        if volume.filled || fs::read_dir(&path).fault(what)?.next().is_some() {
            volume.filled = true;
            return Ok(Populated::InUse);
        }
        let Some(from) = copy::open_inside(&source.root, &source.path)? else {
            return Ok(Populated::NothingToCopy);
        };
        let tally = copy::tree(&from, &File::open(&path).fault(what)?, true, &|| {})?;
        volume.filled = tally.files > 0;
        Ok(match tally.files {
            0 => Populated::NothingToCopy,
            files => Populated::Filled { files, bytes: Bytes(tally.shared + tally.written) },
        })
    }

    async fn trim(&self, id: &VolumeId) -> Result<Bytes> {
        self.enter("trim", id)?.volume(id).map(|_| Bytes(0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::{self, Shape};
    use model::ErrorKind;

    #[tokio::test]
    async fn it_conforms() {
        for size in [None, Some(Bytes::mib(64))] {
            let dir = tempfile::tempdir().unwrap();
            let driver = Arc::new(FakeDriver::new(&dir.path().join("volumes")).unwrap());
            let shape = Shape { size, ..Shape::default() };
            conformance::all(driver, shape, &dir.path().join("scratch")).await;
        }
    }

    #[tokio::test]
    async fn it_fails_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let driver = FakeDriver::new(dir.path()).unwrap();
        let id: VolumeId = "v".parse().unwrap();
        driver.fail_next("create", Error::exhausted("no room"));
        let request = CreateVolume::new(id, "v");
        let error = driver.create(request.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(driver.create(request).await.is_ok());
        assert_eq!(driver.calls(), ["create v", "create v"]);
    }
}
