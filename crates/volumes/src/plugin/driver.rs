//! All plugins of a node as one driver.
//!
//! Volumes have their own identities here and their names at the plugin, which has one space of names.
//! A mount is told to the plugin once for each user, and taken back once for each, whoever dies in
//! between: see [`State`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use faults::may_die;
use futures::future::join_all;
use model::error::Context as _;
use model::{Bytes, Error, ErrorKind, Result};
use tokio::sync::Notify;

use super::client::Failure;
use super::fill::fill;
use super::known::Plugins;
use super::looks::Looks;
use super::places::Places;
use super::protocol::{Plugin, SHORT};
use super::record::{Mount, Record, Shelf, State};
use crate::driver::{
    Capability, Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Info, Populate,
    Populated, Publish, SnapshotInfo, Stats, VolumeId, VolumeInfo,
};
use crate::fault::Fault;
use crate::turns::{Turn, Turns};

/// Who takes a user away waits so long for the plugin; then it goes on without him.
const PARTING: Duration = Duration::from_secs(10);
/// A directory that does not answer within this is not there.
const LOOK: Duration = Duration::from_secs(5);
/// A mount that the plugin refused to take back so often is forgotten.
const REFUSALS: u32 = 3;

/// The volumes of all plugins of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PluginVolumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plugins: Plugins,
    shelf: Shelf,
    boot: String,
    turns: Turns,
    looks: Looks,
    /// Notified when a mount could not be taken back at once.
    unsettled: Notify,
}

impl Failure {
    /// The failure of a method of a plugin as the platform's error.
    pub fn error(self, plugin: &str, method: &str) -> Error {
        match self {
            Failure::Unheard(error) | Failure::Unanswered(error) => error,
            Failure::Refused { status, words } if status.is_success() => {
                Error::conflict(words).next(format!("plugin {plugin:?} said so to {method}"))
            }
            Failure::Refused { words, .. } => Error::conflict(format!("{method}: {words}"))
                .next(format!("see the log of plugin {plugin:?}")),
        }
    }
}

impl PluginVolumes {
    /// The volumes of the plugins in `places`, remembered in `dir`. `boot` is this boot of the machine.
    ///
    /// # Errors
    /// As for the files in `dir`.
    pub fn open(dir: &Path, places: Places, boot: &str) -> Result<Self> {
        let inner = Inner {
            plugins: Plugins::new(places),
            shelf: Shelf::open(dir)?,
            boot: boot.to_owned(),
            turns: Turns::default(),
            looks: Looks::new(LOOK),
            unsettled: Notify::new(),
        };
        // What was not taken back when the last process died.
        inner.unsettled.notify_one();
        Ok(Self(Arc::new(inner)))
    }

    /// Whether a plugin has this volume.
    pub fn has(&self, id: &VolumeId) -> bool {
        self.0.shelf.get(id).is_some()
    }

    pub(super) fn plugins(&self) -> &Plugins {
        &self.0.plugins
    }

    /// Comes when there are mounts that [`PluginVolumes::settle`] is to take back.
    pub async fn unsettled(&self) {
        self.0.unsettled.notified().await;
    }

    /// Takes back the mounts that could not be taken back at once; whether none is left.
    pub async fn settle(&self) -> bool {
        let leaving = |record: &Record| record.mounts.values().any(|mount| !mount.used());
        let part = async |record: Record| {
            let turn = self.0.turns.wait(&[&record.id]).await;
            if let Err(error) = self.0.part_all(&record.id, &turn).await {
                tracing::warn!(volume = record.name, error = error.chain(), "cannot unmount yet");
            }
        };
        // A plugin that hangs holds up no other.
        join_all(self.0.shelf.all().into_iter().filter(leaving).map(part)).await;
        !self.0.shelf.all().iter().any(leaving)
    }

    /// Forgets a volume, whatever its plugin would say.
    ///
    /// # Errors
    /// `Conflict` while it is used; the file system's.
    pub async fn forget(&self, id: &VolumeId) -> Result<()> {
        let _turn = self.0.turns.wait(&[id]).await;
        match self.0.shelf.get(id) {
            Some(record) => refuse_used(&record, "forgotten")?,
            None => return Ok(()),
        }
        self.0.shelf.remove(id).await
    }
}

/// Does work that goes on to its end when nobody waits for it any more: a plugin cannot be told to stop
/// in the middle, and what it answers must be taken down.
async fn through<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.context(ErrorKind::Internal, || "work on a volume ended early".to_owned())?
}

fn refuse_used(record: &Record, what: &str) -> Result<()> {
    match record.users().first() {
        None => Ok(()),
        Some(user) => Err(Error::conflict(format!(
            "volume {:?} is mounted by {user} and cannot be {what}",
            record.name
        ))
        .next("stop what uses it first")),
    }
}

/// The plugin's own words, which name neither it nor the volume, as the cause.
fn cannot_mount(record: &Record, error: Error) -> Error {
    let what = format!("plugin {:?} cannot mount volume {:?}", record.plugin, record.name);
    let next = error.next_step().unwrap_or("see the plugin's log").to_owned();
    Error::new(error.kind(), what).next(next).caused_by(error)
}

fn absent(id: &VolumeId) -> Error {
    Error::not_found(format!("there is no volume {id}"))
}

impl Inner {
    fn record(&self, id: &VolumeId) -> Result<Record> {
        self.shelf.get(id).ok_or_else(|| absent(id))
    }

    /// The plugin of a volume.
    async fn plugin(&self, record: &Record) -> Result<Plugin, Failure> {
        self.plugins.with_volumes(&record.plugin, SHORT).await
    }

    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        let _turn = self.turns.wait(&[&request.id]).await;
        let mut record = match self.shelf.get(&request.id) {
            Some(record) => {
                record.answers(&request)?;
                record
            }
            None => self.begin(&request)?,
        };
        if record.making {
            self.make(&mut record).await?;
        }
        Ok(record.info(&self.boot))
    }

    /// Refuses what no plugin can make.
    fn begin(&self, request: &CreateVolume) -> Result<Record> {
        let plugin = &request.storage;
        if request.size.is_some() {
            return Err(Error::unsupported(format!("storage {plugin:?} is told no sizes"))
                .at("size")
                .next("give the size as an option, if the plugin has one"));
        }
        if request.source.is_some() {
            return Err(
                Error::unsupported(format!("storage {plugin:?} makes no copies")).at("source")
            );
        }
        let twin = |other: &Record| other.plugin == *plugin && other.name == request.name;
        if let Some(other) = self.shelf.all().into_iter().find(twin) {
            return Err(Error::exists(format!(
                "volume {:?} of storage {plugin:?} is known here as {}",
                request.name, other.id
            ))
            .next("use another name"));
        }
        Ok(Record::new(request))
    }

    /// Has the plugin make a volume, unless it has one of that name, which is taken then.
    async fn make(&self, record: &mut Record) -> Result<()> {
        let fail = |failure: Failure, method: &str| failure.error(&record.plugin, method);
        let plugin = self.plugin(record).await.map_err(|it| fail(it, "Plugin.Activate"))?;
        let there = plugin.get(&record.name, SHORT).await;
        if there.map_err(|it| fail(it, "VolumeDriver.Get"))?.is_none() {
            self.shelf.put(record).await?;
            may_die("plugin.making");
            match plugin.create(&record.name, &record.options).await {
                Ok(()) => may_die("plugin.made"),
                Err(failure @ Failure::Unanswered(_)) => {
                    return Err(fail(failure, "VolumeDriver.Create"));
                }
                Err(failure) => {
                    self.shelf.remove(&record.id).await?;
                    return Err(fail(failure, "VolumeDriver.Create"));
                }
            }
        }
        record.making = false;
        self.shelf.put(record).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<()> {
        let turn = self.turns.wait(&[id]).await;
        let Some(record) = self.shelf.get(id) else { return Ok(()) };
        refuse_used(&record, "removed")?;
        self.part_all(id, &turn).await?;
        let fail = |failure: Failure, method: &str| failure.error(&record.plugin, method);
        let plugin = self.plugin(&record).await.map_err(|it| fail(it, "Plugin.Activate"))?;
        if let Err(failure) = plugin.remove(&record.name).await {
            // It may be that it was removed before, and nobody could take that down any more.
            let gone = match &failure {
                Failure::Refused { .. } => plugin.lacks(&record.name, SHORT).await.unwrap_or(false),
                Failure::Unheard(_) | Failure::Unanswered(_) => false,
            };
            if !gone {
                return Err(fail(failure, "VolumeDriver.Remove"));
            }
        }
        may_die("plugin.removed");
        self.shelf.remove(id).await
    }

    async fn claim(&self, request: Publish) -> Result<PathBuf> {
        let turn = self.turns.wait(&[&request.volume]).await;
        let Publish { volume, consumer } = request;
        let record = self.record(&volume)?;
        if let Some(mount) = record.mounts.get(&consumer) {
            match mount.path(&self.boot) {
                Some(path) if self.find(&volume, path).await.is_ok() => return Ok(path.to_owned()),
                _ => self.take_back(&volume, &consumer, &turn).await?,
            }
        }
        self.mount(&volume, &consumer, &turn).await
    }

    async fn mount(&self, id: &VolumeId, user: &str, turn: &Turn) -> Result<PathBuf> {
        let mut record = self.record(id)?;
        let name = record.plugin.clone();
        let fail = |failure: Failure, method: &str| failure.error(&name, method);
        let plugin = self.plugin(&record).await.map_err(|it| fail(it, "Plugin.Activate"))?;
        let asked = Mount { boot: self.boot.clone(), state: State::Asked };
        record.mounts.insert(user.to_owned(), asked);
        self.shelf.put(&record).await?;
        may_die("plugin.mounting");
        let told = match plugin.mount(&record.name, user).await {
            Ok(told) => told,
            // Taken back with the user, or before the next try.
            Err(failure @ Failure::Unanswered(_)) => {
                return Err(fail(failure, "VolumeDriver.Mount"));
            }
            Err(failure) => {
                record.mounts.remove(user);
                self.shelf.put(&record).await?;
                return Err(cannot_mount(&record, fail(failure, "VolumeDriver.Mount")));
            }
        };
        may_die("plugin.mounted");
        let path = match self.find(id, &told).await {
            Ok(path) => path,
            Err(error) => {
                self.take_back(id, user, turn).await?;
                return Err(Error::unavailable(format!(
                    "plugin {name:?} says that volume {:?} is at {}",
                    record.name,
                    told.display()
                ))
                .next("see the plugin's log; it must mount where this node sees it")
                .caused_by(error));
            }
        };
        let mounted = Mount { boot: self.boot.clone(), state: State::Mounted(path.clone()) };
        record.mounts.insert(user.to_owned(), mounted);
        self.shelf.put(&record).await?;
        Ok(path)
    }

    /// The directory at a path that a plugin told, without links.
    async fn find(&self, id: &VolumeId, told: &Path) -> Result<PathBuf> {
        let (path, places) = (told.to_owned(), self.plugins.places().clone());
        let look = move || {
            let what = || format!("{} cannot be reached", path.display());
            let real = path.canonicalize().fault(what)?;
            if places.bars(&real) {
                return Err(Error::forbidden(format!("{} is the platform's own", real.display())));
            }
            match std::fs::metadata(&real).fault(what)?.is_dir() {
                true => Ok(real),
                false => Err(Error::unavailable(format!("{} is no directory", real.display()))),
            }
        };
        self.looks.look(id, || told.display().to_string(), look).await
    }

    /// Takes a mount back that is to be made anew. The plugin may know nothing of it.
    async fn take_back(&self, id: &VolumeId, user: &str, _: &Turn) -> Result<()> {
        let mut record = self.record(id)?;
        let unmounted = match self.plugin(&record).await {
            Ok(plugin) => plugin.unmount(&record.name, user).await,
            Err(failure) => Err(failure),
        };
        match unmounted {
            Ok(()) | Err(Failure::Refused { .. }) => {}
            Err(failure) => return Err(failure.error(&record.plugin, "VolumeDriver.Unmount")),
        }
        record.mounts.remove(user);
        self.shelf.put(&record).await
    }

    /// Takes a user away. The plugin may be told later.
    async fn leave(&self, id: &VolumeId, user: &str) -> Result<()> {
        let turn = self.turns.wait(&[id]).await;
        let Some(mut record) = self.shelf.get(id) else { return Ok(()) };
        match record.mounts.get_mut(user) {
            Some(mount) if mount.used() => mount.state = State::Leaving(0),
            Some(_) => {}
            None => return Ok(()),
        }
        self.shelf.put(&record).await?;
        may_die("plugin.leaving");
        if let Err(error) = self.part(id, user, &turn).await {
            tracing::warn!(volume = record.name, error = error.chain(), "cannot unmount yet");
        }
        if self.shelf.get(id).is_some_and(|record| record.mounts.contains_key(user)) {
            self.unsettled.notify_one();
        }
        Ok(())
    }

    /// Takes back all mounts of a volume whose users have left.
    async fn part_all(&self, id: &VolumeId, turn: &Turn) -> Result<()> {
        let Some(record) = self.shelf.get(id) else { return Ok(()) };
        for (user, _) in record.mounts.iter().filter(|(_, mount)| !mount.used()) {
            self.part(id, user, turn).await?;
        }
        Ok(())
    }

    /// Takes back a mount whose user has left. What the plugin refuses several times is forgotten; so is
    /// at once what it refuses that was mounted before the machine booted, and what it did not answer
    /// while others use the volume, from under whom a second try could take it.
    async fn part(&self, id: &VolumeId, user: &str, _: &Turn) -> Result<()> {
        let mut record = self.record(id)?;
        let unmounted = match self.plugin(&record).await {
            Ok(plugin) => plugin.unmount(&record.name, user).await,
            Err(failure) => Err(failure),
        };
        may_die("plugin.left");
        let shared = !record.users().is_empty();
        let Some(mount) = record.mounts.get_mut(user) else { return Ok(()) };
        let (forget, failure) = match unmounted {
            Ok(()) => (true, None),
            Err(failure @ Failure::Refused { .. }) => {
                let before = match &mut mount.state {
                    State::Leaving(refusals) => {
                        *refusals += 1;
                        *refusals >= REFUSALS
                    }
                    State::Asked | State::Mounted(_) => false,
                };
                (before || mount.boot != self.boot, Some(failure))
            }
            Err(failure @ Failure::Unanswered(_)) => (shared, Some(failure)),
            Err(failure @ Failure::Unheard(_)) => (false, Some(failure)),
        };
        if forget {
            record.mounts.remove(user);
        }
        self.shelf.put(&record).await?;
        match failure.map(|failure| failure.error(&record.plugin, "VolumeDriver.Unmount")) {
            None => Ok(()),
            Some(error) if forget => {
                let (volume, error) = (&record.name, error.chain());
                tracing::warn!(volume, user, error, "a mount is forgotten that was not taken back");
                Ok(())
            }
            Some(error) => Err(error),
        }
    }

    async fn populate(&self, id: &VolumeId, source: Populate) -> Result<Populated> {
        let _turn = self.turns.wait(&[id]).await;
        let record = self.record(id)?;
        let path = record.path(&self.boot).map(Path::to_owned).ok_or_else(|| {
            Error::conflict(format!("volume {:?} is not mounted", record.name))
                .next("claim it first")
        })?;
        fill(&self.shelf, &self.looks, record, path, source).await
    }

    async fn stats(&self, id: &VolumeId) -> Result<Stats> {
        let record = self.record(id)?;
        let path = record.path(&self.boot).map(Path::to_owned).ok_or_else(|| {
            Error::conflict(format!("volume {:?} is not mounted", record.name))
                .next("its plugin tells nothing of how full it is")
        })?;
        let measure = move || {
            rustix::fs::statvfs(&path).fault(|| format!("{} cannot be measured", path.display()))
        };
        let storage = || format!("the storage of volume {:?}", record.name);
        // It is on no disk of the platform's: nothing is allocated there.
        Ok(Stats::of(&self.looks.look(id, storage, measure).await?))
    }
}

#[async_trait]
impl Driver for PluginVolumes {
    fn info(&self) -> Info {
        Info {
            name: "plugins".to_owned(),
            version: "1".to_owned(),
            capabilities: vec![Capability::CreateDelete, Capability::Stats, Capability::List],
        }
    }

    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        let inner = self.0.clone();
        through(async move { inner.create(request).await }).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<()> {
        let (inner, id) = (self.0.clone(), id.clone());
        through(async move { inner.delete(&id).await }).await
    }

    async fn expand(&self, id: &VolumeId, _: Bytes) -> Result<Expanded> {
        let record = self.0.record(id)?;
        Err(Error::unsupported(format!("storage {:?} is told no sizes", record.plugin)).at("size"))
    }

    async fn show(&self, id: &VolumeId) -> Result<VolumeInfo> {
        let record = self.0.record(id)?;
        // One that is still to be made is made by `create`.
        if record.making { Err(absent(id)) } else { Ok(record.info(&self.0.boot)) }
    }

    async fn list(&self) -> Result<Vec<VolumeInfo>> {
        Ok(self.0.shelf.all().iter().map(|record| record.info(&self.0.boot)).collect())
    }

    async fn capacity(&self) -> Result<Capacity> {
        Err(Error::unsupported("plugins do not tell how much they can hold"))
    }

    async fn create_snapshot(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        let record = self.0.record(&request.volume)?;
        Err(Error::unsupported(format!("storage {:?} takes no snapshots", record.plugin)))
    }

    async fn delete_snapshot(&self, _: &VolumeId) -> Result<()> {
        Ok(())
    }

    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        Ok(Vec::new())
    }

    async fn node_stage(&self, id: &VolumeId) -> Result<()> {
        self.show(id).await.map(drop)
    }

    async fn node_claim(&self, request: &Publish) -> Result<PathBuf> {
        let (inner, request) = (self.0.clone(), request.clone());
        through(async move { inner.claim(request).await }).await
    }

    async fn node_publish(&self, request: Publish) -> Result<PathBuf> {
        let path = self.node_claim(&request).await?;
        match self.0.record(&request.volume)?.filled.is_interrupted() {
            false => Ok(path),
            true => Err(Error::conflict("the volume was filled only half")
                .next("fill it again before it is used")),
        }
    }

    async fn node_unpublish(&self, id: &VolumeId, consumer: &str) -> Result<()> {
        let (inner, id, user) = (self.0.clone(), id.clone(), consumer.to_owned());
        let record = inner.shelf.get(&id);
        if record.and_then(|record| record.mounts.get(&user).map(Mount::used)) != Some(true) {
            return Ok(());
        }
        let leaving = through(async move { inner.leave(&id, &user).await });
        // It goes on by itself.
        tokio::time::timeout(PARTING, leaving).await.unwrap_or(Ok(()))
    }

    async fn node_unstage(&self, id: &VolumeId) -> Result<()> {
        match self.0.shelf.get(id) {
            Some(record) => refuse_used(&record, "unmounted"),
            None => Ok(()),
        }
    }

    async fn node_expand(&self, id: &VolumeId) -> Result<()> {
        self.0.record(id).map(drop)
    }

    async fn stats(&self, id: &VolumeId) -> Result<Stats> {
        self.0.stats(id).await
    }

    async fn populate(&self, id: &VolumeId, source: Populate) -> Result<Populated> {
        let (inner, id) = (self.0.clone(), id.clone());
        through(async move { inner.populate(&id, source).await }).await
    }

    async fn trim(&self, id: &VolumeId) -> Result<Bytes> {
        self.0.record(id).map(|_| Bytes(0))
    }
}
