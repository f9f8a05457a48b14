//! What the node tells of itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use async_trait::async_trait;
use host::checks::Outcome;
use link::MachineCalls;
use link::machine::{DiskUsage, Finding};
use model::error::Context as _;
use model::{Bytes, ErrorKind, Result};
use volumes::{Driver as _, Format, VolumeInfo};

use super::Calls;

#[async_trait]
impl MachineCalls for Calls {
    async fn check(&self) -> Result<Vec<Finding>> {
        // The platform's own port is taken by the platform itself; every other finding counts.
        let settings = host::Settings {
            state_dir: self.context.places.state().to_owned(),
            ports: Vec::new(),
            ..host::Settings::default()
        };
        let report = host::checks::run(&settings).await;
        Ok(report
            .checks
            .into_iter()
            .map(|check| Finding {
                name: check.name,
                outcome: match check.outcome {
                    Outcome::Pass => "pass".into(),
                    Outcome::Warn => "warn".into(),
                    Outcome::Fail => "fail".into(),
                },
                finding: check.finding,
                remedy: check.remedy.unwrap_or_default(),
            })
            .collect())
    }

    async fn disk_usage(&self) -> Result<DiskUsage> {
        let context = self.context.clone();
        let images = context.images.local.usage(&|_| None).await?.total;
        let mut volumes = 0;
        // What plugins have is on no disk of the node's, and might keep whoever looks.
        let own = |volume: &VolumeInfo| volume.format != Format::Plugin;
        for volume in context.volumes.list().await?.into_iter().filter(own) {
            if let Ok(stats) = context.volumes.stats(&volume.id).await {
                volumes += stats.allocated.0;
            }
        }
        let free = context.volumes.capacity().await?.available;
        let state = context.places.state().to_owned();
        let snapshots = state.join("containerd/io.containerd.snapshotter.v1.overlayfs/snapshots");
        let logs = context.places.all_logs();
        let walked = tokio::task::spawn_blocking(move || (allocated(&snapshots), allocated(&logs)));
        let (instances, logs) =
            walked.await.context(ErrorKind::Internal, || "counting files failed".into())?;
        Ok(DiskUsage {
            images,
            instances: Bytes(instances),
            volumes: Bytes(volumes),
            logs: Bytes(logs),
            free,
        })
    }
}

/// Bytes that the files below a directory take on the disk; nothing for what cannot be read.
fn allocated(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => allocated(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
