//! Snapshots: layers, and what containers write over them.

use std::collections::HashMap;

use containerd_client::services::v1::snapshots::{
    CleanupRequest, CommitSnapshotRequest, Info, Kind, ListSnapshotsRequest, MountsRequest,
    PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest, UsageRequest,
    ViewSnapshotRequest,
};
use containerd_client::types::Mount;
use model::{Bytes, Error, Result};
use tonic::Code;

use super::leases::Lease;
use super::status::{self, Explain, gone};
use super::{Containerd, QUICK, SLOW, SNAPSHOTTER, call};

/// Marks what the garbage collector must keep for its own sake (containerd's garbage collection
/// document).
const ROOT_LABEL: &str = "containerd.io/gc.root";

/// Disk used by a snapshot alone, without what it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes.
    pub size: Bytes,
    /// Files.
    pub inodes: u64,
}

impl Containerd {
    /// Makes a writable snapshot on `parent` that stays until it is removed, or finds it.
    pub(super) async fn prepare_rooted(&self, key: &str, parent: &str) -> Result<Vec<Mount>> {
        let labels = HashMap::from([(ROOT_LABEL.to_owned(), model::Time::now().to_string())]);
        match self.prepare(key, parent, labels, None).await {
            Ok(mounts) => Ok(mounts),
            Err(status) if status.code() == Code::AlreadyExists => self.mounts(key).await,
            Err(status) if status.code() == Code::NotFound => {
                Err(status::error(status, format!("the image of {key} is not unpacked")))
            }
            Err(status) => Err(status::error(status, format!("the layer of {key} cannot be made"))),
        }
    }

    pub(super) async fn prepare(
        &self,
        key: &str,
        parent: &str,
        labels: HashMap<String, String>,
        lease: Option<&Lease>,
    ) -> Result<Vec<Mount>, tonic::Status> {
        let request = PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let prepare = || async {
            let request = Lease::over(lease, call(request.clone(), QUICK))?;
            self.client().snapshots().prepare(request).await
        };
        let answer = match prepare().await {
            Err(status) if status.message().contains("failed to rename") => {
                self.tidy_snapshots().await?;
                prepare().await
            }
            answer => answer,
        };
        Ok(answer?.into_inner().mounts)
    }

    /// Removes directories that belong to no snapshot: a containerd that is killed between making
    /// one and recording it leaves the directory, and fails on it ever after.
    pub(super) async fn tidy_snapshots(&self) -> Result<(), tonic::Status> {
        let request = CleanupRequest { snapshotter: SNAPSHOTTER.to_owned() };
        self.client().snapshots().cleanup(call(request, SLOW)).await.map(drop)
    }

    /// A read-only look at a committed snapshot; remove it afterwards.
    pub(super) async fn view(&self, key: &str, parent: &str, lease: &Lease) -> Result<Vec<Mount>> {
        let request = ViewSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        let failed = || format!("the layer {parent} cannot be read");
        let request = Lease::over(Some(lease), call(request, QUICK)).explain(failed)?;
        let answer = self.client().snapshots().view(request).await.explain(failed)?;
        Ok(answer.into_inner().mounts)
    }

    /// How a writable snapshot is mounted.
    pub(super) async fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let request = MountsRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
        let answer = self.client().snapshots().mounts(call(request, QUICK)).await;
        Ok(answer.explain(|| format!("the layer of {key} cannot be found"))?.into_inner().mounts)
    }

    /// Makes a writable snapshot a layer of that name; true unless there was one already.
    pub(super) async fn commit_snapshot(
        &self,
        key: &str,
        name: &str,
        lease: &Lease,
    ) -> Result<bool> {
        let request = CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            labels: HashMap::new(),
        };
        let failed = || format!("layer {name} cannot be kept");
        let request = Lease::over(Some(lease), call(request, SLOW)).explain(failed)?;
        match self.client().snapshots().commit(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::AlreadyExists => Ok(false),
            Err(status) => Err(status::error(status, failed())),
        }
    }

    /// Removes a snapshot; one that is gone is removed.
    ///
    /// # Errors
    /// `Conflict` when another stands on it.
    pub async fn remove_snapshot(&self, key: &str) -> Result<()> {
        let request =
            RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
        gone(self.client().snapshots().remove(call(request, SLOW)).await)
            .explain(|| format!("the layer of {key} cannot be removed"))
            .map(drop)
    }

    /// Whether a layer is unpacked: a snapshot of this chain id.
    pub async fn has_snapshot(&self, chain: &str) -> Result<bool> {
        let request =
            StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: chain.to_owned() };
        let found = gone(self.client().snapshots().stat(call(request, QUICK)).await)
            .explain(|| format!("layer {chain} cannot be looked up"))?;
        let info = found.and_then(|answer| answer.into_inner().info);
        Ok(info.is_some_and(|info| info.kind() == Kind::Committed))
    }

    /// Disk used by a layer (a chain id) or by what a container wrote (its id).
    pub async fn snapshot_usage(&self, key: &str) -> Result<Usage> {
        let request = UsageRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
        let answer = self.client().snapshots().usage(call(request, SLOW)).await;
        let usage =
            answer.explain(|| format!("the disk used by {key} cannot be told"))?.into_inner();
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(Usage { size: Bytes(number(usage.size)), inodes: number(usage.inodes) })
    }

    /// All snapshots.
    pub(super) async fn all_snapshots(&self) -> Result<Vec<Info>> {
        let failed = || "the layers cannot be listed".to_owned();
        let request =
            ListSnapshotsRequest { snapshotter: SNAPSHOTTER.to_owned(), filters: Vec::new() };
        let answer = self.client().snapshots().list(call(request, SLOW)).await.explain(failed)?;
        let mut stream = answer.into_inner();
        let mut all = Vec::new();
        while let Some(some) = stream.message().await.explain(failed)? {
            all.extend(some.info);
        }
        Ok(all)
    }
}

/// The chain id of layers with these digests of their unpacked archives, lowest first (OCI image
/// specification, `config.md`); empty for none.
pub fn chain_id<S: AsRef<str>>(diff_ids: &[S]) -> String {
    use sha2::Digest;
    let mut chain = String::new();
    for diff_id in diff_ids {
        chain = match chain.as_str() {
            "" => diff_id.as_ref().to_owned(),
            below => {
                let both = format!("{below} {}", diff_id.as_ref());
                format!("sha256:{}", hex::encode(sha2::Sha256::digest(both)))
            }
        };
    }
    chain
}

/// Refuses what is no digest.
pub(super) fn check_digest(digest: &str) -> Result<()> {
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Error::invalid(format!("{digest:?} is not a sha256 digest")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains() {
        let a = format!("sha256:{}", "a".repeat(64));
        let b = format!("sha256:{}", "b".repeat(64));
        assert_eq!(chain_id::<&str>(&[]), "");
        assert_eq!(chain_id(&[&a]), a);
        let both = chain_id(&[&a, &b]);
        assert!(check_digest(&both).is_ok());
        assert_ne!(both, chain_id(&[&b, &a]));
        assert!(check_digest("sha256:zz").is_err());
    }
}
