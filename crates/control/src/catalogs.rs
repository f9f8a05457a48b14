//! Catalogs: what is recorded of where templates come from. Their files are read by whoever is connected
//! as the [`Librarian`].

use std::sync::Arc;

use async_trait::async_trait;
use model::catalog::{BUILT_IN, Catalog, CatalogNoun, CatalogStatus};
use model::event::Event;
use model::{Error, Kind, Result, Uid};

use crate::batch::Batch;
use crate::caller::{Caller, Verb, authorise};
use crate::core::Mode;
use crate::mirror::State;
use crate::service::{Context, Rules, Service, find, not_deleted, not_found, project_exists};

/// The finalizer of a catalog whose content is on a disk.
pub(crate) const CONTENT: &str = "content";

/// The verbs of catalogs.
pub type Catalogs = Service<CatalogNoun>;

/// Reads the sources of catalogs and keeps what is in them.
#[async_trait]
pub trait Librarian: Send + Sync + 'static {
    /// Reads a catalog's source.
    async fn take_in(&self, catalog: &Catalog) -> Result<TakenIn>;

    /// Removes what is kept of a catalog but this content.
    async fn forget(&self, catalog: &Uid, but: Option<&str>) -> Result<()>;
}

/// What was found in a catalog's source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TakenIn {
    /// The content's digest.
    pub content: String,
    /// The commit it is of.
    pub commit: Option<String>,
    /// How many templates can be installed.
    pub templates: u32,
    /// How many have a problem.
    pub broken: u32,
}

impl Rules for CatalogNoun {
    fn admit(_: &Context<'_>, catalog: &mut Catalog, _: &mut Batch) -> Result<()> {
        catalog.meta.finalizers.push(CONTENT.to_owned());
        Ok(())
    }

    fn delete(_: &Context<'_>, catalog: &mut Catalog, _: &mut Batch) -> Result<()> {
        if catalog.meta.name == BUILT_IN {
            return Err(Error::unsupported("catalog \"builtin\" comes with hull")
                .next("to offer it nowhere else, name the projects that see it"));
        }
        Ok(())
    }

    fn change(_: &Context<'_>, old: &Catalog, new: &mut Catalog, _: &mut Batch) -> Result<()> {
        let same = old.meta.name == new.meta.name && old.spec.source == new.spec.source;
        if old.meta.name == BUILT_IN && !same {
            return Err(Error::unsupported(
                "catalog \"builtin\" comes with hull and stays as it is",
            )
            .next("add another one: hull catalog add"));
        }
        if old.spec.source != new.spec.source {
            // What another source held, or this one while nobody had to sign it, is offered no more.
            let CatalogStatus { tried, asked, .. } = std::mem::take(&mut new.status);
            (new.status.tried, new.status.asked) = (tried, asked);
        }
        Ok(())
    }
}

impl Catalogs {
    /// Has a catalog's source read again, soon.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for one that is being removed.
    pub async fn refresh(&self, caller: &Caller, name: &str) -> Result<Arc<Catalog>> {
        authorise(caller, Verb::Update, Kind::Catalog, "")?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<CatalogNoun>(state, "", name)?;
            not_deleted(old)?;
            let mut new = Catalog::clone(old);
            new.status.asked = Some(now);
            batch.replace(old, &new);
            batch.event(caller, Event::new(now, Kind::Catalog, "refresh", &new.meta));
            Ok(new)
        };
        let outcome = self.core.transact(Mode::Apply, plan).await?;
        self.changed(Mode::Apply, outcome)
    }

    /// Catalogs whose templates are offered in a project, in order of name.
    ///
    /// # Errors
    /// `NotFound` for a project that is not there.
    pub fn offered(&self, caller: &Caller, project: &str) -> Result<Vec<Arc<Catalog>>> {
        authorise(caller, Verb::List, Kind::Catalog, project)?;
        let mut all: Vec<Arc<Catalog>> = self.core.read(|state| {
            project_exists(state, project)?;
            let offered = state.catalogs.iter().filter(|it| it.spec.is_for(project));
            Ok::<_, Error>(offered.filter(|it| it.meta.deleted.is_none()).cloned().collect())
        })?;
        // What comes with the program stands last: what people added is what they look for.
        all.sort_by_key(|it| (it.meta.name == BUILT_IN, it.meta.name.clone()));
        Ok(all)
    }

    /// One of them.
    ///
    /// # Errors
    /// `NotFound`, also for one that is not offered in this project.
    pub fn offered_one(&self, caller: &Caller, project: &str, name: &str) -> Result<Arc<Catalog>> {
        let mut offered = self.offered(caller, project)?.into_iter();
        offered.find(|it| it.meta.name == name).ok_or_else(|| not_found(Kind::Catalog, name))
    }
}
