//! What no record can say: logs, terminals, files, counters. The instance and its node are found
//! here, the rest is asked of the node.

use std::sync::Arc;
use std::time::Duration;

use link::instance::{
    AttachRequest, Change, CommitRequest, DiskSize, ExecRequest, LogRecord, LogsRequest, PathStat,
    ProcessTable, Stats, Target,
};
use link::snapshot::{MachineSnapshot, SnapshotRequest};
use link::{ByteStream, NodePort, ResultStream, Session};
use model::instance::{GuestFacts, InstanceNoun};
use model::name::check_name;
use model::{Error, Kind, Result, Time};

use super::{Instances, clone};
use crate::caller::{Caller, Verb, authorise, stay_inside};
use crate::images::keep_names;
use crate::service::find;

/// For how long one that was just made is waited for to be placed; that takes milliseconds.
const PLACING: Duration = Duration::from_secs(5);

impl Instances {
    /// Reads a container's log. `container` is a container's name, empty for the main one, here and
    /// in all verbs below.
    ///
    /// # Errors
    /// `NotFound` for an unknown instance or container, `Conflict` for one that no node has yet,
    /// `Unavailable` when its node is not connected, here and in all verbs below.
    pub async fn logs(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        request: LogsRequest,
    ) -> Result<ResultStream<LogRecord>> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, container).await?;
        node.logs(target, request).await
    }

    /// All snapshots of a machine, oldest first.
    ///
    /// # Errors
    /// See [`logs`](Self::logs); `Unsupported` for an instance that is no machine, here and in the
    /// three verbs below.
    pub async fn snapshots(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
    ) -> Result<Vec<MachineSnapshot>> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, "").await?;
        node.snapshots(target).await
    }

    /// Takes a snapshot of a machine.
    ///
    /// # Errors
    /// See [`snapshots`](Self::snapshots); `Exists` for a name that is taken, `Conflict` while another
    /// is being taken.
    pub async fn take_snapshot(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        mut request: SnapshotRequest,
    ) -> Result<MachineSnapshot> {
        if request.name.is_empty() {
            let now = Time::now().0.strftime("%Y%m%d-%H%M%S");
            request.name = format!("s-{now}");
        }
        check_name(&request.name).map_err(|error| error.at("name"))?;
        let (node, target) = self.on_node(caller, Verb::Operate, project, name, "").await?;
        node.take_snapshot(target, request).await
    }

    /// Takes a machine back to a snapshot.
    ///
    /// # Errors
    /// See [`snapshots`](Self::snapshots); `Conflict` for one that runs and a snapshot without memory.
    pub async fn restore_snapshot(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        snapshot: &str,
    ) -> Result<()> {
        let (node, target) = self.on_node(caller, Verb::Operate, project, name, "").await?;
        node.restore_snapshot(target, snapshot.to_owned()).await
    }

    /// Removes a snapshot of a machine.
    ///
    /// # Errors
    /// See [`snapshots`](Self::snapshots); `Conflict` for one that a machine is still to be made of.
    pub async fn remove_snapshot(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        snapshot: &str,
    ) -> Result<()> {
        let (node, target) = self.on_node(caller, Verb::Operate, project, name, "").await?;
        self.core.read(|state| {
            let instance = find::<InstanceNoun>(state, project, name)?;
            clone::refuse_needed(state, instance, Some(snapshot))
        })?;
        node.remove_snapshot(target, snapshot.to_owned()).await
    }

    /// Talks to a container's main process.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn attach(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        request: AttachRequest,
    ) -> Result<Session> {
        if request.run > 0 {
            // Whoever waits for a run to begin waits for the instance to be placed, too.
            self.placed(caller, project, name).await?;
        }
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.attach(target, request).await
    }

    /// Runs a further process in a running container.
    ///
    /// # Errors
    /// See [`logs`](Self::logs); `Invalid` when no program is named.
    pub async fn exec(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        request: ExecRequest,
    ) -> Result<Session> {
        if request.command.is_empty() {
            return Err(Error::invalid("no program is named").at("command"));
        }
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.exec(target, request).await
    }

    /// Sets the size of a container's terminal, in characters.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn resize(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        (width, height): (u16, u16),
    ) -> Result<()> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.resize(target, width, height).await
    }

    /// What a running container uses, once a second; once only unless `follow`.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn stats(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        follow: bool,
    ) -> Result<ResultStream<Stats>> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, container).await?;
        node.stats(target, follow).await
    }

    /// The processes of a running container; `options` are ps(1)'s.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn top(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        options: &str,
    ) -> Result<ProcessTable> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, container).await?;
        node.top(target, options.to_owned()).await
    }

    /// What is at a path inside.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn stat_path(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        path: &str,
    ) -> Result<PathStat> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.stat_path(target, path.to_owned()).await
    }

    /// What is at a path inside, as a tar archive.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn read_archive(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        path: &str,
    ) -> Result<(PathStat, ByteStream)> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.read_archive(target, path.to_owned()).await
    }

    /// Unpacks a tar archive into a directory inside. With `keep_type` a directory is not replaced
    /// by a file nor a file by a directory.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    #[expect(clippy::too_many_arguments, reason = "who, where, what and how")]
    pub async fn write_archive(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        path: &str,
        keep_type: bool,
        archive: ByteStream,
    ) -> Result<()> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.write_archive(target, path.to_owned(), keep_type, archive).await
    }

    /// What differs from the image.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn diff(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
    ) -> Result<Vec<Change>> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, container).await?;
        node.diff(target).await
    }

    /// How much disk a container takes.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn disk_size(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
    ) -> Result<DiskSize> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, container).await?;
        node.disk_size(target).await
    }

    /// What the guest of a running machine tells of itself.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn guest(&self, caller: &Caller, project: &str, name: &str) -> Result<GuestFacts> {
        let (node, target) = self.on_node(caller, Verb::Get, project, name, "").await?;
        node.guest(target).await
    }

    /// Makes an image of a container; returns its id.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn commit(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        request: CommitRequest,
    ) -> Result<String> {
        authorise(caller, Verb::Create, Kind::Image, "")?;
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        keep_names(caller, &*node, &request.name).await?;
        node.commit(target, request).await
    }

    /// The whole file system as a tar archive.
    ///
    /// # Errors
    /// See [`logs`](Self::logs).
    pub async fn export(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
    ) -> Result<ByteStream> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, container).await?;
        node.export(target).await
    }

    /// The node that has the instance, and what it calls the container. One made a moment ago is
    /// waited for until it is known where it is.
    pub(super) async fn on_node(
        &self,
        caller: &Caller,
        verb: Verb,
        project: &str,
        name: &str,
        container: &str,
    ) -> Result<(Arc<dyn NodePort>, Target)> {
        authorise(caller, verb, Kind::Instance, project)?;
        let mut instance =
            self.core.read(|state| find::<InstanceNoun>(state, project, name).cloned())?;
        instance.spec.container(container)?;
        if verb == Verb::Enter {
            stay_inside(caller, instance.spec.reach())?;
        }
        if instance.spec.placement.is_none() && instance.status.reason.is_none() {
            let _ = tokio::time::timeout(PLACING, self.placed(caller, project, name)).await;
            instance =
                self.core.read(|state| find::<InstanceNoun>(state, project, name).cloned())?;
        }
        let Some(placed) = &instance.spec.placement else {
            let reason = instance.status.reason.as_ref();
            let why = reason.map_or("it waits to be placed", |reason| &reason.message);
            let next = reason.and_then(|reason| reason.next.clone()).unwrap_or_else(|| {
                format!("`hull inspect {}` says what it waits for", instance.meta.name)
            });
            return Err(Error::conflict(format!("{} is on no node yet: {why}", instance.title()))
                .next(next));
        };
        let node = self.core.node_port(&placed.node)?;
        Ok((node, Target { instance: instance.meta.id.clone(), container: container.to_owned() }))
    }
}
