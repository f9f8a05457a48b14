//! Makes a container: its writable layer, its specification, its record.

use faults::may_die;
use model::Result;

use super::Containerd;
use super::mounts::Layers;
use super::record::Record;
use crate::engine::{ContainerConfig, Created};
use crate::spec::{self, Inputs};

impl Containerd {
    /// Two calls to containerd, in this order: the layer (marked as one to keep), then the record
    /// that refers to it. Cut short between them, the next create takes the layer up, and a sweep
    /// removes it if none comes.
    pub(super) async fn create_container(&self, config: &ContainerConfig) -> Result<Created> {
        let (parent, lease) = match config.user.mapping() {
            None => (config.chain.clone(), None),
            Some(mapping) => {
                let (chain, lease) = self.remapped(&config.chain, mapping).await?;
                (chain, Some(lease))
            }
        };
        let mounts = self.prepare_rooted(config.id.as_str(), &parent).await?;
        may_die("create.layer");
        let generated = self.generate(config, Layers::of(&mounts)?).await?;
        let record = Record { config: config.clone(), spec: generated.spec };
        if !self.create_record(&record).await? {
            // Made for an earlier run: what has changed since counts for the next.
            self.update_record(&record).await?;
        }
        if let Some(lease) = lease {
            self.release_soon(lease);
        }
        Ok(Created { warnings: generated.warnings })
    }

    /// Looks into the layers on a thread that may wait for a disk.
    async fn generate(&self, config: &ContainerConfig, layers: Layers) -> Result<spec::Generated> {
        let (engine, config) = (self.clone(), config.clone());
        let generate = move || {
            let inner = &engine.inner;
            let rootfs = layers.open(&inner.run)?;
            let inputs = Inputs { host: &inner.host, rootfs: &rootfs, init: inner.init.as_ref() };
            spec::generate(&config, &inputs)
        };
        blocking(generate).await
    }
}

/// Runs what may wait for a disk where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        model::Error::internal("work on a container's files was cut short").caused_by(error)
    })?
}
