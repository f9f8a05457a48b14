//! Removes what a daemon cut short has left behind.

use std::collections::HashSet;

use containerd_client::services::v1::snapshots::Kind;
use model::Result;
use tracing::warn;

use super::{Containerd, mounts};
use crate::engine::{ContainerId, ExecId};
use model::Signal;

impl Containerd {
    /// Done at each start: layers whose container was never recorded, further processes whose
    /// output nobody can read any more, run-time files and kept ends of containers that are gone.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let containers: HashSet<String> =
            self.all_records(Vec::new()).await?.into_iter().map(|record| record.id).collect();
        for snapshot in self.all_snapshots().await? {
            let writable = snapshot.kind() == Kind::Active;
            // Those of an unpack or a commit are kept by leases and go with them.
            let ours =
                ContainerId::parse(&snapshot.name).is_ok() && !is_ours_briefly(&snapshot.name);
            if writable && ours && !containers.contains(&snapshot.name) {
                warn!(layer = snapshot.name, "removing a layer without a container");
                self.remove_snapshot(&snapshot.name).await?;
            }
        }
        self.settle_ends(&containers).await?;
        self.sweep_files(&containers).await
    }

    async fn sweep_files(&self, containers: &HashSet<String>) -> Result<()> {
        for entry in std::fs::read_dir(self.all_files()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(id) = ContainerId::parse(&name) else { continue };
            if !containers.contains(&name) {
                self.files(&id).clear()?;
                continue;
            }
            for exec in std::fs::read_dir(self.files(&id).execs()).into_iter().flatten().flatten() {
                if let Ok(exec) = ExecId::parse(&exec.file_name().to_string_lossy()) {
                    self.end_exec_soon(id.clone(), exec);
                }
            }
        }
        Ok(())
    }

    /// Ends a further process nobody waits for.
    fn end_exec_soon(&self, id: ContainerId, exec: ExecId) {
        let engine = self.clone();
        tokio::spawn(async move {
            let ended = async {
                engine.kill_exec(&id, &exec, Signal::KILL).await?;
                if engine.task(&id).await?.is_some() {
                    let _ = engine.wait_exec(&id, &exec).await;
                }
                engine.delete_exec(&id, &exec).await
            };
            if let Err(error) = ended.await {
                warn!(container = %id, error = error.chain(), "a left process cannot be ended");
            }
        });
    }
}

fn is_ours_briefly(name: &str) -> bool {
    ["unpack-", "commit-", "remap-"].iter().any(|prefix| {
        let rest = name.strip_prefix(prefix).unwrap_or_default();
        rest.len() == format!("{:016x}", mounts::fastrand()).len()
            && rest.bytes().all(|c| c.is_ascii_hexdigit())
    })
}
