//! Verbs of instances.

use std::ops::Deref;

use http::{HeaderMap, Method};
use link::instance::{
    AttachRequest, Change, CommitRequest, ExecRequest, LogRecord, LogsRequest, PathStat,
    ProcessTable, Stats,
};
use link::snapshot::{MachineSnapshot, SnapshotRequest};
use link::{ByteStream, ResultStream, Session};
use model::instance::{GuestFacts, Instance, InstanceNoun};
use model::{Error, Result};

use crate::config::Host;
use crate::objects::Objects;
use crate::request::Call;
use crate::wire::archive::{PATH_STAT, decode_stat};
use crate::wire::{
    ArchiveQuery, CloneRequest, ContainerQuery, KillRequest, LogsQuery, SettleQuery, SnapshotQuery,
    StatsQuery, StopRequest, TAR, TopQuery, WaitQuery, Waited,
};
use crate::{Client, download, session};

/// Instances of a project. `container` is a container's name, empty for the main one.
#[derive(Debug, Clone)]
pub struct Instances {
    objects: Objects<InstanceNoun>,
}

/// What is at a path inside a container, and its archive.
pub struct Download {
    /// What it is.
    pub stat: PathStat,
    /// A tar archive (POSIX.1-2001).
    pub archive: ByteStream,
}

impl Deref for Instances {
    type Target = Objects<InstanceNoun>;

    fn deref(&self) -> &Objects<InstanceNoun> {
        &self.objects
    }
}

impl Instances {
    pub(crate) fn new(client: Client, project: &str) -> Self {
        Self { objects: Objects::in_project(client, project) }
    }

    pub(crate) fn verb(&self, method: Method, name: &str, verb: &str) -> Call {
        self.client().call(method, format!("{}/{verb}", self.object_path(name)))
    }

    pub(crate) fn host(&self) -> Host {
        self.client().host().clone()
    }

    fn write(&self, name: &str, verb: &str, plan: bool) -> Call {
        self.verb(Method::POST, name, verb).plan(plan)
    }

    /// Asks it to run. Already running is fine.
    pub async fn start(&self, name: &str, plan: bool) -> Result<Instance> {
        self.write(name, "start", plan).value().await
    }

    /// Asks it to end. Already ended is fine.
    pub async fn stop(&self, name: &str, how: &StopRequest, plan: bool) -> Result<Instance> {
        self.write(name, "stop", plan).json(how).value().await
    }

    /// Asks it to end and run again.
    pub async fn restart(&self, name: &str, how: &StopRequest, plan: bool) -> Result<Instance> {
        self.write(name, "restart", plan).json(how).value().await
    }

    /// Asks it to freeze.
    pub async fn pause(&self, name: &str, plan: bool) -> Result<Instance> {
        self.write(name, "pause", plan).value().await
    }

    /// Asks it to go on.
    pub async fn unpause(&self, name: &str, plan: bool) -> Result<Instance> {
        self.write(name, "unpause", plan).value().await
    }

    /// Sends a container's main process a signal.
    pub async fn kill(&self, name: &str, what: &KillRequest) -> Result<()> {
        self.verb(Method::POST, name, "kill").json(what).done().await
    }

    /// Waits until it is as `query` says. Fails with `Unavailable` after its timeout.
    pub async fn wait(&self, name: &str, query: &WaitQuery) -> Result<Waited> {
        self.verb(Method::POST, name, "wait").query(query).value().await
    }

    /// Waits until a verb has had its effect. Fails with the reason as soon as it is known that it
    /// cannot have it, and with `Unavailable` at the timeout.
    pub async fn settle(&self, name: &str, query: &SettleQuery) -> Result<Instance> {
        self.verb(Method::POST, name, "settle").query(query).value().await
    }

    /// Reads a container's log.
    pub async fn logs(
        &self,
        name: &str,
        container: &str,
        request: &LogsRequest,
    ) -> Result<ResultStream<LogRecord>> {
        let query = LogsQuery::new(container, request);
        let answer = self.verb(Method::GET, name, "logs").query(&query).send().await?;
        Ok(download::records(self.client().host().clone(), answer.into_body()))
    }

    /// Talks to a container's main process. Dropping the session's output ends it.
    pub async fn attach(
        &self,
        name: &str,
        container: &str,
        request: &AttachRequest,
    ) -> Result<Session> {
        let query = ContainerQuery { container: container.to_owned() };
        let call = self.verb(Method::GET, name, "attach").query(&query);
        session::open(call, self.client().host().clone(), request).await
    }

    /// Runs a further process. Dropping the session's output ends it.
    pub async fn exec(
        &self,
        name: &str,
        container: &str,
        request: &ExecRequest,
    ) -> Result<Session> {
        let query = ContainerQuery { container: container.to_owned() };
        let call = self.verb(Method::GET, name, "exec").query(&query);
        session::open(call, self.client().host().clone(), request).await
    }

    /// What a running container uses, once a second with `follow`, else once.
    pub async fn stats(
        &self,
        name: &str,
        container: &str,
        follow: bool,
    ) -> Result<ResultStream<Stats>> {
        let query = StatsQuery { container: container.to_owned(), follow };
        self.verb(Method::GET, name, "stats").query(&query).lines().await
    }

    /// The processes of a running container; `options` are ps(1)'s.
    pub async fn top(&self, name: &str, container: &str, options: &str) -> Result<ProcessTable> {
        let query = TopQuery { container: container.to_owned(), options: options.to_owned() };
        self.verb(Method::GET, name, "top").query(&query).value().await
    }

    /// What the guest of a running machine tells of itself.
    pub async fn guest(&self, name: &str) -> Result<GuestFacts> {
        self.verb(Method::GET, name, "guest").value().await
    }

    /// What is at a path inside.
    pub async fn stat_path(&self, name: &str, container: &str, path: &str) -> Result<PathStat> {
        let query = archive_query(container, path);
        let call = self.verb(Method::HEAD, name, "archive").query(&query);
        // An answer to HEAD has no body to tell a failure with; the same GET tells it.
        match call.send().await {
            Ok(answer) => stat_of(answer.headers()),
            Err(_) => self.read_archive(name, container, path).await.map(|found| found.stat),
        }
    }

    /// What is at a path inside, as an archive.
    pub async fn read_archive(&self, name: &str, container: &str, path: &str) -> Result<Download> {
        let query = archive_query(container, path);
        let call = self.verb(Method::GET, name, "archive").query(&query);
        let (headers, archive) = call.stream().await?;
        Ok(Download { stat: stat_of(&headers)?, archive })
    }

    /// Unpacks an archive into a directory inside. With `keep_type` a directory is not replaced by
    /// a file nor a file by a directory.
    pub async fn write_archive(
        &self,
        name: &str,
        container: &str,
        path: &str,
        keep_type: bool,
        archive: ByteStream,
    ) -> Result<()> {
        let query = ArchiveQuery { keep_type, ..archive_query(container, path) };
        self.verb(Method::PUT, name, "archive").query(&query).upload(TAR, archive).done().await
    }

    /// What differs from the image.
    pub async fn diff(&self, name: &str, container: &str) -> Result<Vec<Change>> {
        let query = ContainerQuery { container: container.to_owned() };
        self.verb(Method::GET, name, "diff").query(&query).value().await
    }

    /// Makes an image of a container; answers its id.
    pub async fn commit(
        &self,
        name: &str,
        container: &str,
        request: &CommitRequest,
    ) -> Result<String> {
        let query = ContainerQuery { container: container.to_owned() };
        self.verb(Method::POST, name, "commit").query(&query).json(request).value().await
    }

    /// All snapshots of a machine, oldest first.
    pub async fn snapshots(&self, name: &str) -> Result<Vec<MachineSnapshot>> {
        self.verb(Method::GET, name, "snapshots").value().await
    }

    /// Takes a snapshot of a machine.
    pub async fn take_snapshot(
        &self,
        name: &str,
        request: &SnapshotRequest,
    ) -> Result<MachineSnapshot> {
        self.verb(Method::POST, name, "snapshots").json(request).value().await
    }

    /// Takes a machine back to a snapshot.
    pub async fn restore_snapshot(&self, name: &str, snapshot: &str) -> Result<()> {
        let query = SnapshotQuery { snapshot: snapshot.to_owned() };
        self.verb(Method::POST, name, "restore").query(&query).done().await
    }

    /// Makes a machine of a snapshot of another. Made already is fine.
    pub async fn clone_snapshot(
        &self,
        name: &str,
        request: &CloneRequest,
        plan: bool,
    ) -> Result<Instance> {
        self.write(name, "clone", plan).json(request).value().await
    }

    /// Removes a snapshot of a machine.
    pub async fn remove_snapshot(&self, name: &str, snapshot: &str) -> Result<()> {
        let query = SnapshotQuery { snapshot: snapshot.to_owned() };
        self.verb(Method::DELETE, name, "snapshots").query(&query).done().await
    }

    /// The whole file system as a tar archive.
    pub async fn export(&self, name: &str, container: &str) -> Result<ByteStream> {
        let query = ContainerQuery { container: container.to_owned() };
        let call = self.verb(Method::GET, name, "export").query(&query);
        call.stream().await.map(|(_, archive)| archive)
    }
}

fn archive_query(container: &str, path: &str) -> ArchiveQuery {
    ArchiveQuery { container: container.to_owned(), path: path.to_owned(), keep_type: false }
}

fn stat_of(headers: &HeaderMap) -> Result<PathStat> {
    let value = headers.get(PATH_STAT).and_then(|value| value.to_str().ok());
    decode_stat(value.ok_or_else(|| Error::internal("the server does not say what the path is"))?)
}
