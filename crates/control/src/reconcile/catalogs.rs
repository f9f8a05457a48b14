//! Has the sources of catalogs read: new ones, changed ones, those of which somebody asks it, and those
//! whose time has come.

use std::sync::{Arc, PoisonError};

use model::catalog::{Catalog, CatalogNoun, CatalogSource};
use model::instance::Reason;
use model::{Result, Time, Uid};
use tasks::Pass;

use crate::batch::Batch;
use crate::caller::Caller;
use crate::catalogs::{CONTENT, Librarian, TakenIn};
use crate::core::{Core, Mode};
use crate::mirror::State;

/// The loop.
pub(crate) struct Catalogs {
    core: Arc<Core>,
    /// What came with the program was read since it was started; it may be another program.
    settled: bool,
}

impl Catalogs {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, settled: false }
    }
}

impl Pass for Catalogs {
    const NAME: &'static str = "catalogs";

    async fn pass(&mut self) -> Result<String> {
        let librarian = self.core.librarian.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(librarian) = librarian else { return Ok(String::new()) };
        let now = self.core.now();
        let settled = std::mem::replace(&mut self.settled, true);
        let (due, gone) = self.core.read(|state| {
            let all = || state.catalogs.iter().cloned();
            let of_program = |it: &Catalog| !settled && it.spec.source == CatalogSource::BuiltIn;
            let due = all().filter(|it| is_due(it, now) || of_program(it)).collect::<Vec<_>>();
            (due, all().filter(|it| it.meta.deleted.is_some()).collect::<Vec<_>>())
        });
        let mut done = Vec::new();
        for catalog in gone {
            librarian.forget(&catalog.meta.id, None).await?;
            self.let_go(&catalog.meta.id).await?;
            done.push(format!("{} removed", catalog.meta.name));
        }
        for catalog in due {
            done.push(self.take_in(&*librarian, &catalog).await?);
        }
        Ok(done.join(", "))
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

impl Catalogs {
    async fn take_in(&self, librarian: &dyn Librarian, catalog: &Catalog) -> Result<String> {
        let began = self.core.now();
        let outcome = librarian.take_in(catalog).await;
        let plan = |state: &State, batch: &mut Batch| {
            let Some(old) = state.catalogs.by_id(&catalog.meta.id) else { return Ok(None) };
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
        let (_, content) = self.core.transact(Mode::Apply, plan).await?;
        librarian.forget(&catalog.meta.id, content.as_deref()).await?;
        Ok(match outcome {
            Ok(found) => format!("{}: {} templates", catalog.meta.name, found.templates),
            Err(error) => format!("{}: {}", catalog.meta.name, error.chain()),
        })
    }

    async fn let_go(&self, id: &Uid) -> Result<()> {
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let Some(old) = state.catalogs.by_id(id) else { return Ok(()) };
            let mut new = Catalog::clone(old);
            new.meta.finalizers.retain(|it| it != CONTENT);
            batch.delete::<CatalogNoun>(old, new, now, &Caller::platform());
            Ok(())
        };
        self.core.transact(Mode::Apply, plan).await.map(drop)
    }
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
