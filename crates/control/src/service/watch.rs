//! Hearing of changes.
//!
//! Watchers read from the noun's log of changes, each at its own pace: a slow one holds nothing up
//! and costs no memory. One that the log has run past is told to list again.

use std::sync::Arc;

use link::ResultStream;
use model::selector::Selector;
use model::{Error, Noun, Object, Result};

use super::list::{Sight, matches};
use super::{Rules, Service, project_exists};
use crate::caller::{Caller, Verb};
use crate::core::Core;
use crate::mirror::Logged;

/// Changes read from the log at once.
const READ: usize = 128;

/// What happened to an object, as seen through the watcher's selectors: one that comes to match is
/// added, one that no longer does is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain words")]
pub enum ChangeKind {
    Added,
    Modified,
    Removed,
}

/// A change of an object.
#[derive(Debug)]
pub struct Change<N: Noun> {
    /// What happened to it.
    pub kind: ChangeKind,
    /// The object after the change; before it when it was removed.
    pub object: Arc<Object<N>>,
    /// The revision of the change; a watch after it goes on from here.
    pub revision: u64,
}

impl<N: Noun> Clone for Change<N> {
    fn clone(&self) -> Self {
        Self { kind: self.kind, object: self.object.clone(), revision: self.revision }
    }
}

impl<N: Rules> Service<N> {
    /// Every change of the objects of a project, or of all when `project` is `None`, after a
    /// revision, or from now on. The stream ends with a `Conflict` when it was read too slowly.
    ///
    /// # Errors
    /// `Conflict` when changes after that revision are no longer known, or it has not happened yet.
    pub fn watch(
        &self,
        caller: &Caller,
        project: Option<&str>,
        labels: Selector,
        fields: Selector,
        after: Option<u64>,
    ) -> Result<ResultStream<Change<N>>> {
        let sight = Sight::new::<N>(caller, Verb::Watch, project)?;
        let project = project.filter(|_| N::IN_PROJECT).map(str::to_owned);
        if let Some(project) = &project {
            self.core.read(|state| project_exists(state, project))?;
        }
        let filter = Filter { sight, project, labels, fields };
        let log = Follow::<N>::new(self.core.clone(), after)?;
        let seen = move |change: &Logged<N>| filter.seen(change);
        let stream = futures::stream::unfold((log, seen, Vec::new().into_iter()), next::<N, _>);
        Ok(Box::pin(stream))
    }
}

type Pending<N> = std::vec::IntoIter<Change<N>>;
type Step<N, F> = Option<(Result<Change<N>>, (Follow<N>, F, Pending<N>))>;

async fn next<N: Rules, F: Fn(&Logged<N>) -> Option<Change<N>>>(
    (mut log, seen, mut pending): (Follow<N>, F, Pending<N>),
) -> Step<N, F> {
    loop {
        if let Some(change) = pending.next() {
            return Some((Ok(change), (log, seen, pending)));
        }
        match log.next().await {
            Ok(changes) if changes.is_empty() => return None,
            Ok(changes) => {
                pending = changes.iter().filter_map(&seen).collect::<Vec<_>>().into_iter();
            }
            Err(error) => return Some((Err(error), (log.ended(), seen, pending))),
        }
    }
}

/// A reader of a noun's log.
pub(crate) struct Follow<N: Rules> {
    core: Arc<Core>,
    position: u64,
    changed: tokio::sync::watch::Receiver<u64>,
    ended: bool,
    noun: std::marker::PhantomData<fn() -> N>,
}

impl<N: Rules> Follow<N> {
    /// Reads the changes after a revision, or from now on.
    pub(crate) fn new(core: Arc<Core>, after: Option<u64>) -> Result<Self> {
        let (position, changed) = core.read(|state| {
            let table = N::table(state);
            let position = match after {
                None => Some(table.next()),
                Some(after) if after > state.revision => None,
                Some(after) => table.position(after),
            };
            position.map(|position| (position, table.subscribe())).ok_or_else(behind::<N>)
        })?;
        Ok(Self { core, position, changed, ended: false, noun: std::marker::PhantomData })
    }

    /// The next changes, as soon as there are any; none at all when control shuts down.
    pub(crate) async fn next(&mut self) -> Result<Vec<Logged<N>>> {
        while !self.ended {
            self.changed.borrow_and_update();
            let read = self.core.read(|state| N::table(state).since(self.position, READ));
            let changes = read.ok_or_else(behind::<N>)?;
            if !changes.is_empty() {
                self.position += changes.len() as u64;
                return Ok(changes);
            }
            self.ended = tokio::select! {
                changed = self.changed.changed() => changed.is_err(),
                () = self.core.closing.cancelled() => true,
            };
        }
        Ok(Vec::new())
    }

    fn ended(self) -> Self {
        Self { ended: true, ..self }
    }
}

fn behind<N: Noun>() -> Error {
    Error::conflict(format!("the changes of {}s asked for are no longer known", N::KIND))
        .next("list again and watch from the revision the list gives")
}

struct Filter {
    sight: Sight,
    project: Option<String>,
    labels: Selector,
    fields: Selector,
}

impl Filter {
    fn wants<N: Rules>(&self, object: &Object<N>) -> bool {
        self.sight.sees(object)
            && self.project.as_ref().is_none_or(|project| *project == object.meta.project)
            && matches(object, &self.labels, &self.fields)
    }

    fn seen<N: Rules>(&self, change: &Logged<N>) -> Option<Change<N>> {
        let wanted = |object: &Option<Arc<crate::mirror::Entry<N>>>| {
            object.as_ref().map(|entry| &entry.object).filter(|it| self.wants(it)).cloned()
        };
        let (kind, object) = match (wanted(&change.old), wanted(&change.new)) {
            (None, Some(new)) => (ChangeKind::Added, new),
            (Some(_), Some(new)) => (ChangeKind::Modified, new),
            (Some(old), None) => (ChangeKind::Removed, old),
            (None, None) => return None,
        };
        Some(Change { kind, object: N::shown(&object), revision: change.revision })
    }
}
