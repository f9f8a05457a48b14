//! Reads the sources of catalogs for control.

use async_trait::async_trait;
use catalog::Library;
use control::{Librarian, TakenIn};
use model::catalog::Catalog;
use model::error::Context;
use model::{ErrorKind, Result, Uid};

/// Keeps the contents of catalogs on this machine's disk.
pub(crate) struct DiskLibrarian(pub(crate) Library);

impl DiskLibrarian {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Library) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let library = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(library)).await;
        done.context(ErrorKind::Internal, || "reading a catalog failed".into())?
    }
}

#[async_trait]
impl Librarian for DiskLibrarian {
    async fn take_in(&self, catalog: &Catalog) -> Result<TakenIn> {
        let (id, name) = (catalog.meta.id.clone(), catalog.meta.name.clone());
        let source = catalog.spec.source.clone();
        let content =
            self.blocking(move |library| library.take_in(id.as_str(), &name, &source)).await?;
        let catalog::Content { digest, commit, templates, broken } = content;
        Ok(TakenIn { content: digest, commit, templates, broken })
    }

    async fn forget(&self, catalog: &Uid, but: Option<&str>) -> Result<()> {
        let (id, but) = (catalog.clone(), but.map(str::to_owned));
        self.blocking(move |library| library.forget(id.as_str(), but.as_deref())).await
    }
}
