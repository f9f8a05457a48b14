//! What is there.

use std::collections::HashMap;

use containerd_client::services::v1::{Container, ListContainersRequest, ListTasksRequest};
use containerd_client::types::v1::{Process, Status as TaskStatus};
use model::Result;

use super::cgroup::Cgroup;
use super::status::Explain;
use super::{Containerd, SLOW, call, record, wire};
use crate::engine::{ContainerId, Observed, State};
use crate::spec::cgroup_path;

impl Containerd {
    /// All containers, with two calls at once: the records, and the runs.
    pub(super) async fn list_containers(&self) -> Result<Vec<Observed>> {
        let (containers, tasks) = tokio::join!(self.all_records(Vec::new()), self.all_tasks());
        let (containers, mut tasks) = (containers?, tasks?);
        let observed =
            |container: &Container| self.observed(container, tasks.remove(&container.id).as_ref());
        Ok(containers.iter().filter_map(observed).collect())
    }

    pub(super) async fn observe_container(&self, id: &ContainerId) -> Result<Option<Observed>> {
        let filter = vec![format!("id==\"{id}\"")];
        let (containers, task) = tokio::join!(self.all_records(filter), self.task(id));
        let (containers, task) = (containers?, task?);
        Ok(containers.first().and_then(|container| self.observed(container, task.as_ref())))
    }

    /// Records one by one: together they may be larger than a message may be.
    pub(super) async fn all_records(&self, filters: Vec<String>) -> Result<Vec<Container>> {
        let failed = || "the containers cannot be listed".to_owned();
        let request = call(ListContainersRequest { filters }, SLOW);
        let answer = self.client().containers().list_stream(request).await.explain(failed)?;
        let mut stream = answer.into_inner();
        let mut all = Vec::new();
        while let Some(message) = stream.message().await.explain(failed)? {
            all.extend(message.container);
        }
        Ok(all)
    }

    pub(super) async fn all_tasks(&self) -> Result<HashMap<String, Process>> {
        let request = call(ListTasksRequest { filter: String::new() }, SLOW);
        let answer = self.client().tasks().list(request).await;
        let tasks = answer.explain(|| "the runs cannot be listed".to_owned())?.into_inner().tasks;
        Ok(tasks.into_iter().map(|task| (name(&task).to_owned(), task)).collect())
    }

    fn observed(&self, container: &Container, task: Option<&Process>) -> Option<Observed> {
        let config = record::description(container)?;
        let begun = self.files(&config.id).begun();
        let state = match task.map(Process::status) {
            Some(TaskStatus::Created) => State::Created,
            // Not known is what a shim does that does not answer in time: of ends it tells.
            Some(TaskStatus::Running | TaskStatus::Unknown) => State::Running,
            Some(TaskStatus::Paused | TaskStatus::Pausing) => State::Paused,
            Some(TaskStatus::Stopped) => State::Exited,
            // Begun and not there: lost, and nobody knows how it ended.
            None if begun.is_some() => State::Exited,
            None => State::Idle,
        };
        let ended = task.filter(|_| state == State::Exited);
        let oom_killed = ended.is_some() && Cgroup::at(&cgroup_path(&config)).was_out_of_memory();
        Some(Observed {
            labels: container.labels.clone().into_iter().collect(),
            pid: task.filter(|_| state.is_live()).map(|task| task.pid),
            exit_code: ended.map(|task| wire::code(task.exit_status)),
            finished: ended.and_then(|task| wire::time(task.exited_at)),
            started: begun.filter(|_| state != State::Idle),
            created: wire::time(container.created_at),
            id: config.id,
            state,
            oom_killed,
        })
    }
}

/// The container a run belongs to: old versions say it in one field, new ones in the other.
fn name(task: &Process) -> &str {
    if task.container_id.is_empty() { &task.id } else { &task.container_id }
}
