//! States saved in the machine's own disks (qcow2).

use std::time::Duration;

use model::Result;
use serde_json::{Value, json};

use super::Qmp;

impl Qmp {
    /// Saves the machine with its memory under `tag`: the state goes into the disk `state`, and all
    /// of `disks` keep what they hold. All are node names of qcow2 disks.
    ///
    /// # Errors
    ///
    /// As [`Qmp::run_job`].
    pub async fn snapshot_save(
        &self,
        tag: &str,
        state: &str,
        disks: &[String],
        bound: Duration,
    ) -> Result<()> {
        self.snapshot("snapshot-save", tag, Some(state), disks, bound).await
    }

    /// Takes the machine back to what was saved. It must stand still.
    ///
    /// # Errors
    ///
    /// As [`Qmp::run_job`].
    pub async fn snapshot_load(
        &self,
        tag: &str,
        state: &str,
        disks: &[String],
        bound: Duration,
    ) -> Result<()> {
        self.snapshot("snapshot-load", tag, Some(state), disks, bound).await
    }

    /// Deletes what was saved.
    ///
    /// # Errors
    ///
    /// As [`Qmp::run_job`].
    pub async fn snapshot_delete(
        &self,
        tag: &str,
        disks: &[String],
        bound: Duration,
    ) -> Result<()> {
        self.snapshot("snapshot-delete", tag, None, disks, bound).await
    }

    async fn snapshot(
        &self,
        command: &str,
        tag: &str,
        state: Option<&str>,
        disks: &[String],
        bound: Duration,
    ) -> Result<()> {
        let id = format!("{command}-{tag}");
        let mut arguments = json!({"job-id": id, "tag": tag, "devices": disks});
        if let Some(state) = state {
            arguments["vmstate"] = state.into();
        }
        self.run_job(command, arguments, &id, bound).await
    }

    /// Saves what the disks hold at one moment, without memory: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn snapshot_disks(&self, tag: &str, disks: &[String]) -> Result<()> {
        let action = |disk: &String| {
            let data = json!({"device": disk, "name": tag});
            json!({"type": "blockdev-snapshot-internal-sync", "data": data})
        };
        let actions: Vec<Value> = disks.iter().map(action).collect();
        self.transaction(actions).await
    }

    /// Deletes from one disk what [`Qmp::snapshot_disks`] saved.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn snapshot_disk_delete(&self, tag: &str, disk: &str) -> Result<()> {
        let arguments = json!({"device": disk, "name": tag});
        self.command("blockdev-snapshot-delete-internal-sync", arguments).await
    }

    /// Carries out block commands: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn transaction(&self, actions: Vec<Value>) -> Result<()> {
        self.command("transaction", json!({"actions": actions})).await
    }
}
