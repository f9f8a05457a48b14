//! Takes away what is ours on the host and nobody wants: leftovers of removals that were cut short.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use link::Desired;
use model::error::Context as _;
use model::{ErrorKind, Result, Uid};
use tasks::Pass;

use crate::context::Context;
use crate::observe::owner;
use crate::steps::release_handed;

/// The pass.
pub struct Leftovers {
    context: Arc<Context>,
}

impl Leftovers {
    /// The pass of a node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Whether an instance is wanted, or its task still takes it down; or it is a build.
    fn is_known(&self, desired: &Desired, uid: &Uid) -> bool {
        desired.instances.iter().any(|instance| instance.meta.id == *uid)
            || self.context.roster.get(uid).is_some()
            || self.context.builds.has(uid)
    }

    async fn containers(&self, desired: &Desired) -> Result<usize> {
        let mut removed = 0;
        for observed in self.context.engine.list().await? {
            let unknown = owner(&observed.id).is_none_or(|uid| !self.is_known(desired, &uid));
            if unknown {
                tracing::info!(container = %observed.id, "removing a container nobody wants");
                self.context.engine.remove(&observed.id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn namespaces(&self, desired: &Desired) -> Result<usize> {
        let driver = self.context.fabric.driver();
        let mut removed = 0;
        for uid in driver.observe().await?.namespaces {
            if !self.is_known(desired, &uid) {
                driver.detach(&uid).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn directories(&self, desired: &Desired) -> Result<usize> {
        let places = &self.context.places;
        let parents = [
            places.instances(),
            places.all_logs(),
            places.all_unkept(),
            places.all_handed(),
            places.all_subpaths(),
        ];
        let unwanted = |uid: &Uid| !self.is_known(desired, uid);
        sweep(&parents, unwanted, |parent, path, uid| self.directory(parent, path, uid))
    }

    fn directory(&self, parent: &Path, path: &Path, uid: &Uid) -> Result<()> {
        if parent == self.context.places.all_handed() {
            return release_handed(&self.context, uid);
        }
        // Volumes are mounted there, in which nothing may be removed.
        if parent == self.context.places.all_subpaths() {
            return volumes::subpath::unmount_all(path);
        }
        std::fs::remove_dir_all(path)
            .context(ErrorKind::Unavailable, || format!("cannot remove {}", path.display()))
    }
}

/// Removes what is in these directories and is named by the id of an instance nobody wants. What cannot be removed
/// keeps nothing else: its error is told when all the rest is gone.
fn sweep(
    parents: &[PathBuf],
    unwanted: impl Fn(&Uid) -> bool,
    remove: impl Fn(&Path, &Path, &Uid) -> Result<()>,
) -> Result<usize> {
    let (mut removed, mut outcome) = (0, Ok(()));
    for parent in parents {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let uid: Option<Uid> = name.to_str().and_then(|name| name.parse().ok());
            let Some(uid) = uid.filter(&unwanted) else { continue };
            match remove(parent, &entry.path(), &uid) {
                Ok(()) => removed += 1,
                failed => outcome = outcome.and(failed),
            }
        }
    }
    outcome.map(|()| removed)
}

impl Pass for Leftovers {
    const NAME: &'static str = "leftovers";

    async fn pass(&mut self) -> Result<String> {
        let desired = self.context.desired.borrow().clone();
        if desired.generation == 0 {
            return Ok("nothing is wanted yet".into());
        }
        let containers = self.containers(&desired).await?;
        let namespaces = self.namespaces(&desired).await?;
        let directories = self.directories(&desired)?;
        Ok(format!(
            "removed {containers} containers, {namespaces} namespaces, {directories} directories"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_removed_keeps_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let parents = ["instances", "logs"].map(|name| base.path().join(name));
        let uids = [Uid::random(), Uid::random(), Uid::random()];
        for (parent, uid) in parents.iter().flat_map(|it| uids.iter().map(move |uid| (it, uid))) {
            std::fs::create_dir_all(parent.join(uid.as_str())).unwrap();
        }
        std::fs::create_dir(parents[0].join("of somebody else")).unwrap();
        let [wanted, stuck, _] = &uids;
        let remove = |parent: &Path, path: &Path, uid: &Uid| match uid == stuck {
            true => Err(model::Error::conflict(format!("{} is in use", parent.display()))),
            false => std::fs::remove_dir(path).context(ErrorKind::Internal, String::new),
        };
        let error = sweep(&parents, |uid| uid != wanted, remove).unwrap_err();
        assert_eq!(error.message(), format!("{} is in use", parents[0].display()));
        let left = |parent: &Path| std::fs::read_dir(parent).unwrap().count();
        assert_eq!((left(&parents[0]), left(&parents[1])), (3, 2));
        let again = sweep(
            &parents,
            |uid| uid == stuck,
            |_, path, _| std::fs::remove_dir(path).context(ErrorKind::Internal, String::new),
        );
        assert_eq!(again.unwrap(), 2);
    }
}
