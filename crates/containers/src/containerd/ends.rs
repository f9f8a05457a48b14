//! Records that keep how a run ended through a restart of containerd.
//!
//! Since 1.7 containerd, when it starts, throws away every shim that has no process any more, unless
//! it belongs to a sandbox (`loadShim` in its `runtime/v2`): it takes it for the leftover of a start
//! cut short. A container that ended while containerd was away would lose its exit code so. A
//! sandbox record of the container's name leaves the shim to us, who clear it when its end is known.
//! Older versions know no sandboxes and throw nothing away.

use std::collections::HashSet;

use containerd_client::services::v1::sandbox::{
    StoreCreateRequest, StoreDeleteRequest, StoreListRequest,
};
use containerd_client::types::Sandbox;
use containerd_client::types::sandbox::Runtime;
use model::Result;
use tonic::{Code, Status};
use tracing::warn;

use super::status::Explain;
use super::{Containerd, QUICK, RUNTIME, call};
use crate::engine::ContainerId;

impl Containerd {
    /// Keeps the end of a container's runs until [`Containerd::forget_end`].
    pub(super) async fn keep_end(&self, id: &ContainerId) -> Result<()> {
        let sandbox = Sandbox {
            sandbox_id: id.to_string(),
            runtime: Some(Runtime { name: RUNTIME.to_owned(), options: None }),
            ..Sandbox::default()
        };
        let request = call(StoreCreateRequest { sandbox: Some(sandbox) }, QUICK);
        let answer = self.client().sandbox_store().create(request).await;
        settled(answer, Code::AlreadyExists)
            .explain(|| format!("the end of container {id} cannot be kept"))
            .map(drop)
    }

    /// Ends that.
    pub(super) async fn forget_end(&self, id: &str) -> Result<()> {
        let request = call(StoreDeleteRequest { sandbox_id: id.to_owned() }, QUICK);
        let answer = self.client().sandbox_store().delete(request).await;
        settled(answer, Code::NotFound)
            .explain(|| format!("the record of the end of container {id} cannot be removed"))
            .map(drop)
    }

    /// Ends it for containers that are gone, and begins it for runs begun without: by a containerd
    /// that knew no sandboxes.
    pub(super) async fn settle_ends(&self, containers: &HashSet<String>) -> Result<()> {
        let request = call(StoreListRequest { filters: Vec::new() }, QUICK);
        let answer = self.client().sandbox_store().list(request).await;
        let listed = settled(answer, Code::NotFound)
            .explain(|| "the records of ends cannot be listed".to_owned())?;
        let listed = listed.map(|answer| answer.into_inner().list).unwrap_or_default();
        let kept: HashSet<String> = listed.into_iter().map(|kept| kept.sandbox_id).collect();
        for gone in kept.difference(containers) {
            warn!(container = gone, "forgetting the end of a container that is gone");
            self.forget_end(gone).await?;
        }
        for run in self.all_tasks().await?.into_keys().filter(|run| !kept.contains(run)) {
            if let Ok(id) = ContainerId::parse(&run) {
                self.keep_end(&id).await?;
            }
        }
        Ok(())
    }
}

/// Nothing to do where it is so already, or where there are no sandboxes.
fn settled<T>(answer: Result<T, Status>, already: Code) -> Result<Option<T>, Status> {
    // 1.7 says so of a record that is gone, without a code.
    let gone = |status: &Status| {
        already == Code::NotFound && status.message().ends_with("bucket not found")
    };
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(status) if status.code() == already || gone(&status) => Ok(None),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(status),
    }
}
