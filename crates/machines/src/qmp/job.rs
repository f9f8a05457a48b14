//! Jobs: work that goes on after its command was answered.

use std::time::Duration;

use model::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::event::Events;
use super::{Event, Qmp};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Job {
    id: String,
    status: String,
    error: Option<String>,
}

impl Qmp {
    /// Begins a job by `command`, whose `arguments` name it `id`, and waits for its end, at most
    /// `bound`. A job that takes longer is asked to stop.
    ///
    /// # Errors
    ///
    /// `Conflict` with QEMU's reason when the job fails, `Unavailable` when it takes too long.
    pub async fn run_job(
        &self,
        command: &str,
        arguments: Value,
        id: &str,
        bound: Duration,
    ) -> Result<()> {
        // One of that name that nobody waits for any more.
        if self.command("job-cancel", json!({"id": id})).await.is_ok() {
            let mut events = self.listen();
            let _ = tokio::time::timeout(bound, self.concluded(id, &mut events)).await;
        }
        let _ = self.command("job-dismiss", json!({"id": id})).await;
        let mut events = self.listen();
        self.command(command, arguments).await?;
        let Ok(ended) = tokio::time::timeout(bound, self.concluded(id, &mut events)).await else {
            let _ = self.command("job-cancel", json!({"id": id})).await;
            let seconds = bound.as_secs();
            return Err(Error::unavailable(format!(
                "{command} took longer than {seconds} seconds"
            )));
        };
        let job = ended?;
        self.command("job-dismiss", json!({"id": id})).await?;
        match job.error {
            Some(reason) => Err(Error::conflict(format!("{command} failed: {reason}"))),
            None => Ok(()),
        }
    }

    /// Begins a job as [`Qmp::run_job`] does, and does not wait for it.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn begin_job(&self, command: &str, arguments: Value, id: &str) -> Result<()> {
        let _ = self.command("job-dismiss", json!({"id": id})).await;
        self.command(command, arguments).await.map(drop)
    }

    /// Whether a job has ended that was begun; one that has is forgotten.
    ///
    /// # Errors
    ///
    /// `Conflict` with QEMU's reason when it failed.
    pub async fn job_ended(&self, id: &str) -> Result<bool> {
        let jobs: Vec<Job> = self.query("query-jobs", Value::Null).await?;
        let job = jobs.into_iter().find(|job| job.id == id);
        let job = job.ok_or_else(|| Error::conflict(format!("job {id} is not there any more")))?;
        if job.status != "concluded" {
            return Ok(false);
        }
        self.command("job-dismiss", json!({"id": id})).await?;
        match job.error {
            Some(reason) => Err(Error::conflict(format!("job {id} failed: {reason}"))),
            None => Ok(true),
        }
    }

    /// Asks a job to stop.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn cancel_job(&self, id: &str) -> Result<()> {
        self.command("job-cancel", json!({"id": id})).await.map(drop)
    }

    async fn concluded(&self, id: &str, events: &mut Events) -> Result<Job> {
        loop {
            let jobs: Vec<Job> = self.query("query-jobs", Value::Null).await?;
            match jobs.into_iter().find(|job| job.id == id) {
                Some(job) if job.status == "concluded" => return Ok(job),
                Some(_) => {}
                None => return Err(Error::conflict(format!("job {id} was dismissed by somebody"))),
            }
            self.changed(id, events).await?;
        }
    }

    /// Waits until a job may have another state.
    async fn changed(&self, job: &str, events: &mut Events) -> Result<()> {
        loop {
            match events.recv().await {
                Some(Event::JobStatusChange { id, .. }) if id == job => return Ok(()),
                Some(Event::Missed(_)) => return Ok(()),
                Some(_) => {}
                None => return Err(Error::unavailable(format!("QEMU ended during job {job}"))),
            }
        }
    }
}
