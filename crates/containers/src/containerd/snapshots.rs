//! Snapshots: layers, and what containers write over them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, Info, Kind, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest, StatSnapshotRequest, UsageRequest, ViewSnapshotRequest,
};
use containerd_client::types::Mount;
use model::{Bytes, Error, Result};
use tonic::{Code, Status};
use tracing::warn;

use super::leases::Lease;
use super::status::{self, Explain, gone};
use super::{Containerd, QUICK, SLOW, SNAPSHOTTER, call, mounts};

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
    ) -> Result<Vec<Mount>, Status> {
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
        let mut answer = prepare().await;
        if orphan(&answer).is_some() {
            let _alone = self.inner.orphans.lock().await;
            // Another may have removed it while this waited.
            answer = prepare().await;
            if let Some(directory) = orphan(&answer) {
                self.remove_orphan(&directory)?;
                answer = prepare().await;
            }
        }
        Ok(answer?.into_inner().mounts)
    }

    /// Removes a directory that containerd was killed over: made, and not recorded. It would give
    /// its number to the next snapshot, find the directory there, and fail, for ever.
    fn remove_orphan(&self, directory: &Path) -> Result<(), Status> {
        let failed = |error: std::io::Error| {
            Status::unavailable(format!("{} cannot be removed: {error}", directory.display()))
        };
        if !directory.starts_with(&self.inner.state) || !directory.is_dir() {
            return Ok(());
        }
        warn!(directory = %directory.display(), "removing a directory that is no layer's");
        // Out of the way in one step, under a name that is no snapshot's.
        let aside = directory.with_extension(format!("orphan-{:016x}", mounts::fastrand()));
        std::fs::rename(directory, &aside).map_err(failed)?;
        std::fs::remove_dir_all(&aside).map_err(failed)
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

/// The directory in the way, when that is why a snapshot could not be made.
fn orphan<T>(answer: &Result<T, Status>) -> Option<PathBuf> {
    let message = answer.as_ref().err()?.message();
    let (_, paths) = message.split_once("failed to rename: rename ")?;
    let (_, target) = paths.strip_suffix(": file exists")?.rsplit_once(' ')?;
    Some(PathBuf::from(target))
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
    fn what_is_in_the_way() {
        let answer: Result<(), _> = Err(Status::unknown(
            "failed to rename: rename /s/snapshots/new-29 /s/snapshots/2: file exists",
        ));
        assert_eq!(orphan(&answer).as_deref(), Some(Path::new("/s/snapshots/2")));
        assert_eq!(orphan::<()>(&Err(Status::unknown("else: file exists"))), None);
        assert_eq!(orphan(&Ok(())), None);
    }

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
