//! Has the sources of catalogs read: new ones, changed ones, those of which somebody asks it, and those
//! whose time has come. Each is read by a task of its own, so that one that does not answer holds up no
//! other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use model::catalog::{Catalog, CatalogNoun, CatalogSource};
use model::instance::Reason;
use model::{Result, Time, Uid};
use tasks::Pass;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::batch::Batch;
use crate::caller::Caller;
use crate::catalogs::{CONTENT, Librarian, TakenIn};
use crate::core::{Core, Mode};
use crate::mirror::State;

/// Most sources that are read at a time.
const MOST_AT_ONCE: usize = 4;

/// The loop.
pub(crate) struct Catalogs {
    core: Arc<Core>,
    /// What came with the program was read since it was started; it may be another program.
    settled: bool,
    readers: JoinSet<Result<String>>,
    /// The catalogs whose sources are being read.
    at_work: Arc<Mutex<BTreeSet<Uid>>>,
    places: Arc<Semaphore>,
}

impl Catalogs {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            settled: false,
            readers: JoinSet::new(),
            at_work: Arc::default(),
            places: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }
    }
}

impl Pass for Catalogs {
    const NAME: &'static str = "catalogs";

    async fn pass(&mut self) -> Result<String> {
        let librarian = self.core.librarian.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(librarian) = librarian else { return Ok(String::new()) };
        let mut done = self.reap();
        let now = self.core.now();
        let settled = std::mem::replace(&mut self.settled, true);
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (due, gone) = self.core.read(|state| {
            let idle = |it: &&Arc<Catalog>| !at_work.contains(&it.meta.id);
            let all = || state.catalogs.iter().filter(idle).cloned();
            let of_program = |it: &Catalog| !settled && it.spec.source == CatalogSource::BuiltIn;
            let due = all().filter(|it| is_due(it, now) || of_program(it)).collect::<Vec<_>>();
            (due, all().filter(|it| it.meta.deleted.is_some()).collect::<Vec<_>>())
        });
        for catalog in gone {
            librarian.forget(&catalog.meta.id, None).await?;
            let_go(&self.core, &catalog.meta.id).await?;
            done.push(format!("{} removed", catalog.meta.name));
        }
        for catalog in due {
            self.begin(librarian.clone(), catalog);
        }
        Ok(done.join(", "))
    }
}

impl Catalogs {
    /// What became of those that were read.
    fn reap(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(ended) = self.readers.try_join_next() {
            match ended {
                Ok(Ok(told)) => done.push(told),
                Ok(Err(error)) => {
                    tracing::warn!(error = error.chain(), "a catalog could not be written");
                }
                Err(error) => tracing::error!(%error, "reading a catalog ended early"),
            }
        }
        done
    }

    fn begin(&mut self, librarian: Arc<dyn Librarian>, catalog: Arc<Catalog>) {
        let (core, places) = (self.core.clone(), self.places.clone());
        let work = Work::begin(&self.core, &self.at_work, &catalog.meta.id);
        self.readers.spawn(async move {
            let _work = work;
            let _place = places.acquire_owned().await;
            take_in(&core, &*librarian, &catalog).await
        });
    }
}

/// A catalog whose source is being read, until dropped. Who was removed or asked for meanwhile has its
/// turn then.
struct Work {
    core: Arc<Core>,
    at_work: Arc<Mutex<BTreeSet<Uid>>>,
    id: Uid,
}

impl Work {
    fn begin(core: &Arc<Core>, at_work: &Arc<Mutex<BTreeSet<Uid>>>, id: &Uid) -> Self {
        at_work.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        Self { core: core.clone(), at_work: at_work.clone(), id: id.clone() }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.core.wakes.catalogs.wake();
    }
}

/// Whether a source is to be read now.
fn is_due(catalog: &Catalog, now: Time) -> bool {
    let status = &catalog.status;
    if catalog.meta.deleted.is_some() {
        return false;
    }
    let Some(tried) = status.tried else { return true };
    let changed = status.observed_generation != catalog.meta.generation;
    let asked = status.asked.is_some_and(|asked| asked > tried);
    changed || asked || catalog.spec.every.is_some_and(|every| now.since(tried) >= every.0)
}

async fn take_in(core: &Core, librarian: &dyn Librarian, catalog: &Catalog) -> Result<String> {
    let began = core.now();
    let outcome = librarian.take_in(catalog).await;
    let plan = |state: &State, batch: &mut Batch| {
        let Some(old) = state.catalogs.by_id(&catalog.meta.id) else { return Ok(None) };
        // It was changed meanwhile, and is read again as it is now: what was read may be of another source, or
        // signed by nobody.
        if old.meta.generation != catalog.meta.generation {
            return Ok(old.status.content.clone());
        }
        let mut new = Catalog::clone(old);
        new.status.tried = Some(began);
        new.status.observed_generation = catalog.meta.generation;
        match &outcome {
            Ok(found) => take_over(&mut new, found, began),
            Err(error) => {
                new.status.reason = Some(Reason::from_error("SourceUnreadable", error));
            }
        }
        batch.replace(old, &new);
        Ok(new.status.content)
    };
    let (_, content) = core.transact(Mode::Apply, plan).await?;
    librarian.forget(&catalog.meta.id, content.as_deref()).await?;
    Ok(match outcome {
        Ok(found) => format!("{}: {} templates", catalog.meta.name, found.templates),
        Err(error) => format!("{}: {}", catalog.meta.name, error.chain()),
    })
}

async fn let_go(core: &Core, id: &Uid) -> Result<()> {
    let now = core.now();
    let plan = |state: &State, batch: &mut Batch| {
        let Some(old) = state.catalogs.by_id(id) else { return Ok(()) };
        let mut new = Catalog::clone(old);
        new.meta.finalizers.retain(|it| it != CONTENT);
        batch.delete::<CatalogNoun>(old, new, now, &Caller::platform());
        Ok(())
    };
    core.transact(Mode::Apply, plan).await.map(drop)
}

fn take_over(catalog: &mut Catalog, found: &TakenIn, began: Time) {
    let TakenIn { content, commit, templates, broken } = found;
    let status = &mut catalog.status;
    status.content = Some(content.clone());
    status.commit.clone_from(commit);
    (status.templates, status.broken) = (*templates, *broken);
    status.read = Some(began);
    status.reason = None;
}

#[cfg(test)]
mod tests {
    use model::catalog::CatalogSpec;
    use model::{Meta, Span};

    use super::*;

    #[test]
    fn when_a_source_is_read() {
        let at = |seconds| Time::from_unix(seconds, 0);
        let meta = Meta::new("", "mine", Uid::from_bytes([1; 32]), at(0));
        let new = Catalog::new(meta, CatalogSpec::default());
        assert!(is_due(&new, at(0)), "a new one");
        let mut read = new;
        read.status.tried = Some(at(10));
        read.status.observed_generation = read.meta.generation;
        assert!(!is_due(&read, at(1_000_000)), "only on demand");
        let mut asked = read.clone();
        asked.status.asked = Some(at(11));
        assert!(is_due(&asked, at(12)));
        asked.status.tried = Some(at(12));
        assert!(!is_due(&asked, at(13)));
        let mut timed = read.clone();
        timed.spec.every = Some(Span::seconds(60));
        assert!(!is_due(&timed, at(69)));
        assert!(is_due(&timed, at(70)));
        let mut changed = read.clone();
        changed.meta.generation += 1;
        assert!(is_due(&changed, at(12)));
        changed.meta.deleted = Some(at(12));
        assert!(!is_due(&changed, at(12)));
    }
}
