//! Takes away what is ours on the host and nobody wants: leftovers of removals that were cut short.

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
        let mut removed = 0;
        let places = &self.context.places;
        let parents = [
            places.instances(),
            places.all_logs(),
            places.all_unkept(),
            places.all_handed(),
            places.all_subpaths(),
        ];
        for parent in parents {
            let Ok(entries) = std::fs::read_dir(&parent) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let uid: Option<Uid> = name.to_str().and_then(|name| name.parse().ok());
                if let Some(uid) = uid.filter(|uid| !self.is_known(desired, uid)) {
                    let path = entry.path();
                    if parent == places.all_handed() {
                        release_handed(&self.context, &uid)?;
                        removed += 1;
                        continue;
                    }
                    // Volumes are mounted there, in which nothing may be removed.
                    if parent == places.all_subpaths() {
                        volumes::subpath::unmount_all(&path)?;
                        removed += 1;
                        continue;
                    }
                    std::fs::remove_dir_all(&path).context(ErrorKind::Unavailable, || {
                        format!("cannot remove {}", path.display())
                    })?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
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
