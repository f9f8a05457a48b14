//! The verbs, each handed to the file that does it.

use std::path::Path;

use async_trait::async_trait;
use model::instance::Resources;
use model::{Bytes, Error, Result};
use tokio::sync::oneshot;

use super::Containerd;
use super::create::blocking;
use super::mounts::Layers;
use crate::engine::{
    Change, CommitConfig, Committed, ContainerConfig, ContainerId, Created, Engine, Events,
    ExecConfig, ExecId, ExecStreams, Exit, NoneBegins, Observed, Process, Started, Stats,
    WindowSize, Writer,
};
use crate::rootfs::Rootfs;
use model::Signal;

#[async_trait]
impl Engine for Containerd {
    async fn create(&self, config: &ContainerConfig) -> Result<Created> {
        self.create_container(config).await
    }

    async fn start(&self, id: &ContainerId) -> Result<Started> {
        self.start_task(id).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        self.wait_task(id).await
    }

    async fn kill(&self, id: &ContainerId, signal: Signal) -> Result<()> {
        self.kill_task(id, signal).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        self.pause_task(id).await
    }

    async fn resume(&self, id: &ContainerId) -> Result<()> {
        self.resume_task(id).await
    }

    async fn delete_task(&self, id: &ContainerId) -> Result<Option<Exit>> {
        self.clear_task(id).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.clear_task(id).await?;
        let (record, layer, end) = tokio::join!(
            self.delete_record(id),
            self.remove_snapshot(id.as_str()),
            self.forget_end(id.as_str())
        );
        record.and(layer).and(end)
    }

    async fn none_begins(&self, id: &ContainerId) -> NoneBegins {
        NoneBegins::new(Some(self.inner.gates.freezing(id).await))
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        self.list_containers().await
    }

    async fn observe(&self, id: &ContainerId) -> Result<Option<Observed>> {
        self.observe_container(id).await
    }

    async fn events(&self) -> Result<Events> {
        Ok(self.follow_events())
    }

    async fn exec(&self, id: &ContainerId, exec: &ExecConfig) -> Result<ExecStreams> {
        // While the shim opens the pipes it tells of nothing else, the container's own end included: who
        // leaves in the middle must not take our side of them away.
        let (engine, id, exec) = (self.clone(), id.clone(), exec.clone());
        let (done, begun) = oneshot::channel();
        tokio::spawn(async move {
            let started = engine.start_exec(&id, &exec).await;
            if let Err(Ok(unwanted)) = done.send(started) {
                drop(unwanted);
                // It may have ended by itself.
                let _ = engine.exec_kill(&id, &exec.id, Signal::KILL).await;
                let _ = engine.exec_wait(&id, &exec.id).await;
            }
        });
        begun.await.unwrap_or_else(|_| Err(Error::internal("the start of a process panicked")))
    }

    async fn exec_wait(&self, id: &ContainerId, exec: &ExecId) -> Result<Exit> {
        self.wait_exec(id, exec).await
    }

    async fn exec_kill(&self, id: &ContainerId, exec: &ExecId, signal: Signal) -> Result<()> {
        self.kill_exec(id, exec, signal).await
    }

    async fn exec_resize(&self, id: &ContainerId, exec: &ExecId, size: WindowSize) -> Result<()> {
        self.resize_process(id, Some(exec), size).await
    }

    async fn open_stdin(&self, id: &ContainerId) -> Result<Writer> {
        self.open_input(id).await
    }

    async fn close_stdin(&self, id: &ContainerId) -> Result<()> {
        self.close_input(id, None).await
    }

    async fn resize(&self, id: &ContainerId, size: WindowSize) -> Result<()> {
        self.resize_process(id, None, size).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats> {
        self.read_stats(id).await
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<Process>> {
        self.list_processes(id).await
    }

    async fn update(&self, id: &ContainerId, resources: &Resources) -> Result<Vec<String>> {
        self.update_resources(id, resources).await
    }

    async fn changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        self.list_changes(id).await
    }

    async fn written(&self, id: &ContainerId) -> Result<Bytes> {
        self.written_bytes(id).await
    }

    async fn rootfs(&self, id: &ContainerId) -> Result<Rootfs> {
        if let Ok(task) = self.live_task(id).await {
            return Rootfs::at(Path::new(&format!("/proc/{}/root", task.pid)));
        }
        self.record(id).await?;
        let layers = Layers::of(&self.mounts(id.as_str()).await?)?;
        let run = self.inner.run.clone();
        blocking(move || layers.open(&run)).await
    }

    async fn commit(&self, id: &ContainerId, commit: &CommitConfig) -> Result<Committed> {
        self.commit_container(id, commit).await
    }
}
