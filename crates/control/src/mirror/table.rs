//! All objects of one noun, and what happened to them lately.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use model::{Error, Meta, Noun, Object, Result, Uid};
use tokio::sync::watch;

/// Changes kept for watchers; one that is further behind has to list again.
const KEPT_CHANGES: usize = 2048;

/// An object with the JSON it is shown as, made when it is first asked for.
#[derive(Debug)]
pub struct Entry<N: Noun> {
    /// The object.
    pub object: Arc<Object<N>>,
    json: OnceLock<Bytes>,
}

impl<N: Noun> Entry<N> {
    pub(crate) fn new(object: Arc<Object<N>>) -> Self {
        Self { object, json: OnceLock::new() }
    }

    /// The object as JSON.
    pub fn json(&self) -> Bytes {
        self.json.get_or_init(|| self.object.encode().into()).clone()
    }
}

/// One change of one object: what it was, what it is.
#[derive(Debug)]
pub struct Logged<N: Noun> {
    pub(crate) revision: u64,
    pub(crate) old: Option<Arc<Entry<N>>>,
    pub(crate) new: Option<Arc<Entry<N>>>,
}

impl<N: Noun> Clone for Logged<N> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, old: self.old.clone(), new: self.new.clone() }
    }
}

/// All objects of one noun, by id and by name, and their last changes.
#[derive(Debug)]
pub struct Table<N: Noun> {
    by_id: BTreeMap<Uid, Arc<Entry<N>>>,
    by_name: BTreeMap<String, Arc<Entry<N>>>,
    /// The objects that have an owner, by it.
    by_owner: BTreeMap<Uid, BTreeSet<Uid>>,
    log: VecDeque<Logged<N>>,
    /// The number of the first change in `log`.
    first: u64,
    /// Changes after this revision are all in `log`.
    complete_after: u64,
    /// The number of the next change.
    changed: watch::Sender<u64>,
}

impl<N: Noun> Default for Table<N> {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_owner: BTreeMap::new(),
            log: VecDeque::new(),
            first: 0,
            complete_after: 0,
            changed: watch::Sender::new(0),
        }
    }
}

/// The key of `by_name`; also what a page of a list ends with.
pub(crate) fn name_key(project: &str, name: &str) -> String {
    format!("{project}/{name}")
}

fn key_of(meta: &Meta) -> String {
    name_key(&meta.project, &meta.name)
}

impl<N: Noun> Table<N> {
    pub(crate) fn by_id(&self, id: &Uid) -> Option<&Arc<Object<N>>> {
        self.by_id.get(id).map(|entry| &entry.object)
    }

    pub(crate) fn by_name(&self, project: &str, name: &str) -> Option<&Arc<Object<N>>> {
        self.by_name.get(&name_key(project, name)).map(|entry| &entry.object)
    }

    /// All objects in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Object<N>>> {
        self.by_id.values().map(|entry| &entry.object)
    }

    /// The objects of a project in the order of their names.
    pub(crate) fn in_project<'a>(
        &'a self,
        project: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object<N>>> {
        self.page(Some(project), None).map(|entry| &entry.object)
    }

    /// The objects that this one owns, in the order of their ids.
    pub(crate) fn owned_by(&self, owner: &Uid) -> impl Iterator<Item = &Arc<Object<N>>> {
        self.by_owner.get(owner).into_iter().flatten().filter_map(|id| self.by_id(id))
    }

    /// The entries of a project, or of all, in the order of project and name, those behind `after`.
    pub(crate) fn page<'a>(
        &'a self,
        project: Option<&'a str>,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry<N>>> {
        use std::ops::Bound;
        let start = match (after, project) {
            (Some(after), _) => Bound::Excluded(after.to_owned()),
            (None, Some(project)) => Bound::Included(name_key(project, "")),
            (None, None) => Bound::Unbounded,
        };
        self.by_name
            .range((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| project.is_none_or(|it| entry.object.meta.project == it))
    }

    /// The one object whose id begins so; an error when there are several.
    pub(crate) fn by_prefix(&self, project: &str, prefix: &str) -> Result<Option<&Arc<Object<N>>>> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(hex) {
            return Ok(None);
        }
        let padded = format!("{prefix:0<64}");
        let Ok(start) = padded.parse::<Uid>() else { return Ok(None) };
        let mut found = self
            .by_id
            .range(start..)
            .take_while(|(id, _)| id.as_str().starts_with(prefix))
            .map(|(_, entry)| &entry.object)
            .filter(|object| object.meta.project == project);
        let first = found.next();
        if found.next().is_some() {
            return Err(Error::invalid(format!(
                "more than one {} id begins with {prefix}",
                N::KIND
            ))
            .next("give more digits of the id, or the name"));
        }
        Ok(first)
    }

    /// Takes in what an object is now.
    pub(crate) fn put(&mut self, object: Arc<Object<N>>, revision: u64) {
        let new = Arc::new(Entry::new(object));
        let meta = &new.object.meta;
        let old = self.by_id.insert(meta.id.clone(), new.clone());
        if let Some(old) = &old
            && key_of(&old.object.meta) != key_of(meta)
        {
            self.forget_name(&old.object.meta);
        }
        if let Some(old) = &old
            && old.object.meta.owner != meta.owner
        {
            self.forget_owner(&old.object.meta);
        }
        if let Some(owner) = &meta.owner {
            self.by_owner.entry(owner.id.clone()).or_default().insert(meta.id.clone());
        }
        self.by_name.insert(key_of(meta), new.clone());
        self.record(Logged { revision, old, new: Some(new) });
    }

    /// Takes in that an object is gone.
    pub(crate) fn remove(&mut self, id: &Uid, revision: u64) {
        let Some(old) = self.by_id.remove(id) else { return };
        self.forget_name(&old.object.meta);
        self.forget_owner(&old.object.meta);
        self.record(Logged { revision, old: Some(old), new: None });
    }

    fn forget_owner(&mut self, meta: &Meta) {
        let Some(owner) = &meta.owner else { return };
        if let Some(owned) = self.by_owner.get_mut(&owner.id) {
            owned.remove(&meta.id);
            if owned.is_empty() {
                self.by_owner.remove(&owner.id);
            }
        }
    }

    fn forget_name(&mut self, meta: &Meta) {
        let key = key_of(meta);
        if self.by_name.get(&key).is_some_and(|entry| entry.object.meta.id == meta.id) {
            self.by_name.remove(&key);
        }
    }

    fn record(&mut self, change: Logged<N>) {
        if self.log.len() == KEPT_CHANGES
            && let Some(dropped) = self.log.pop_front()
        {
            self.first += 1;
            self.complete_after = dropped.revision;
        }
        self.log.push_back(change);
    }

    /// Forgets all changes: what was just loaded is the beginning.
    pub(crate) fn begin(&mut self, revision: u64) {
        self.first = self.next();
        self.log.clear();
        self.complete_after = revision;
    }

    /// Tells those who wait that there are changes.
    pub(crate) fn announce(&self) {
        let next = self.next();
        self.changed.send_if_modified(|told| std::mem::replace(told, next) != next);
    }

    /// The number of the next change.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// The number of the first change after a revision, or `None` when some are forgotten.
    pub(crate) fn position(&self, after: u64) -> Option<u64> {
        if after < self.complete_after {
            return None;
        }
        let skipped = self.log.partition_point(|change| change.revision <= after);
        Some(self.first + skipped as u64)
    }

    /// The changes from that number on, at most so many, or `None` when some are forgotten.
    pub(crate) fn since(&self, position: u64, most: usize) -> Option<Vec<Logged<N>>> {
        let skip = position.checked_sub(self.first)?;
        Some(self.log.iter().skip(skip as usize).take(most).cloned().collect())
    }

    /// Hears of changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
