//! A node that plays what its callers' words ask for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use link::image::{
    ImageCalls, ImageDetail, ImportRequest, LayerPhase, Listing, Login, Progress, PruneRequest,
    PullRequest, Removed, SearchHit, SearchRequest, SizedImage,
};
use link::instance::{
    AttachRequest, Change, ChangeKind, CommitRequest, DiskSize, ExecRequest, InstanceCalls,
    LogRecord, LogsRequest, PathStat, ProcessTable, Stats, Target,
};
use link::machine::{DiskUsage, Finding, MachineCalls};
use link::storage::{Plugin, PluginVolume, PluginVolumes, StorageCalls};
use link::{ByteStream, ConsoleCalls, Display, Input, Output, ResultStream, Session};
use model::image::{Image, ImageConfig};
use model::instance::GuestFacts;
use model::{Error, ErrorKind, Result, Time, Uid};
use tokio::sync::mpsc;

/// The node. What was asked of it is in `calls`; streams of its that somebody still holds are counted
/// in `open`.
#[derive(Default)]
pub struct Node {
    pub calls: Mutex<Vec<String>>,
    pub open: Arc<AtomicUsize>,
    pub read: Arc<AtomicUsize>,
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Node {
    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    pub fn was_asked(&self, call: &str) -> bool {
        self.calls.lock().unwrap().iter().any(|made| made == call)
    }

    fn hold(&self) -> Held {
        self.open.fetch_add(1, Ordering::SeqCst);
        Held(self.open.clone())
    }

    /// A stream that is counted as long as somebody holds it.
    fn held<T: Send + 'static>(
        &self,
        items: impl futures::Stream<Item = Result<T>> + Send + 'static,
    ) -> ResultStream<T> {
        let held = self.hold();
        Box::pin(items.map(move |item| {
            let _held = &held;
            item
        }))
    }

    async fn swallow(&self, mut archive: ByteStream) -> Result<usize> {
        let _held = self.hold();
        let mut length = 0;
        while let Some(part) = archive.next().await {
            let part = part?.len();
            length += part;
            self.read.fetch_add(part, Ordering::SeqCst);
        }
        Ok(length)
    }
}

/// The error of a kind, if the word asks for one: `kind-notFound`.
fn wanted_error(word: &str) -> Result<()> {
    let kind = ErrorKind::ALL.into_iter().find(|kind| word == format!("kind-{kind}"));
    match kind {
        Some(kind) => Err(Error::new(kind, format!("this is {kind}"))
            .at("spec.some[0].field")
            .next("do something else")
            .caused_by(std::io::Error::other("the deeper reason"))),
        None => Ok(()),
    }
}

pub fn record(i: u64) -> LogRecord {
    LogRecord {
        time: Time::from_unix(1_700_000_000 + i as i64, 5),
        stderr: i % 2 == 1,
        bytes: Bytes::from(format!("{i:>98} \n")),
        complete: true,
    }
}

/// Bytes that begin with `name` and end, in the stream of a broken path, with an error.
fn bytes_of(name: &str) -> impl futures::Stream<Item = Result<Bytes>> + Send + 'static {
    let broken = name.contains("broken");
    let first = stream::iter([Ok(Bytes::from(name.to_owned()))]);
    let last = broken.then(|| Err(Error::unavailable("the disk went away").next("plug it in")));
    first.chain(stream::iter(last))
}

#[async_trait]
impl InstanceCalls for Node {
    async fn logs(&self, _: Target, request: LogsRequest) -> Result<ResultStream<LogRecord>> {
        let count = request.tail.unwrap_or(3);
        let streams = (request.stdout, request.stderr);
        let kept = move |i: &u64| if i % 2 == 1 { streams.1 } else { streams.0 };
        let records = stream::iter((0..count).filter(kept).map(|i| Ok(record(i))));
        if request.follow {
            return Ok(self.held(records.chain(stream::pending())));
        }
        let failure = (count == 13).then(|| Err(Error::internal("the log is torn")));
        Ok(self.held(records.chain(stream::iter(failure))))
    }

    async fn attach(&self, _: Target, request: AttachRequest) -> Result<Session> {
        self.note(format!("attach stdin={} replay={}", request.stdin, request.replay));
        if request.run == 404 {
            return Err(Error::conflict("that run will not come"));
        }
        self.exec_like(vec!["cat".into()], false)
    }

    async fn exec(&self, target: Target, request: ExecRequest) -> Result<Session> {
        self.note(format!("exec in {:?}", target.container));
        wanted_error(&request.command[0])?;
        self.exec_like(request.command, true)
    }

    async fn kill(&self, _: Target, signal: String) -> Result<()> {
        if signal == "NOPE" {
            return Err(Error::invalid("\"NOPE\" is not a signal").at("signal"));
        }
        self.note(format!("kill {signal}"));
        Ok(())
    }

    async fn resize(&self, _: Target, _: u16, _: u16) -> Result<()> {
        Ok(())
    }

    async fn stats(&self, _: Target, follow: bool) -> Result<ResultStream<Stats>> {
        let stats = |cpu_ns| Ok(Stats { cpu_ns, block: (1, 2), ..Stats::default() });
        let first = stream::iter([stats(1)]);
        if follow {
            return Ok(self.held(first.chain(stream::iter([stats(2)])).chain(stream::pending())));
        }
        Ok(self.held(first))
    }

    async fn top(&self, _: Target, options: String) -> Result<ProcessTable> {
        let row = vec!["1".to_owned(), format!("sleep {options}")];
        Ok(ProcessTable { titles: vec!["PID".into(), "CMD".into()], processes: vec![row] })
    }

    async fn stat_path(&self, _: Target, path: String) -> Result<PathStat> {
        if path == "/missing" {
            return Err(Error::not_found("there is no /missing inside"));
        }
        Ok(PathStat { name: path, size: 7, mode: 0o644, ..PathStat::default() })
    }

    async fn read_archive(&self, target: Target, path: String) -> Result<(PathStat, ByteStream)> {
        let stat = self.stat_path(target, path.clone()).await?;
        Ok((stat, self.held(bytes_of(&path))))
    }

    async fn write_archive(
        &self,
        _: Target,
        path: String,
        keep_type: bool,
        archive: ByteStream,
    ) -> Result<()> {
        if path == "/refuse" {
            return Err(Error::conflict("/refuse cannot be written"));
        }
        let length = self.swallow(archive).await?;
        self.note(format!("write {path} keep={keep_type} {length}"));
        Ok(())
    }

    async fn diff(&self, _: Target) -> Result<Vec<Change>> {
        Ok(vec![Change { path: "/new".into(), kind: ChangeKind::Added }])
    }

    async fn disk_size(&self, _: Target) -> Result<DiskSize> {
        Err(not_asked())
    }

    async fn guest(&self, _: Target) -> Result<GuestFacts> {
        Err(not_asked())
    }

    async fn commit(&self, _: Target, request: CommitRequest) -> Result<String> {
        wanted_error(&request.name)?;
        Ok(format!("sha256:{}", request.name))
    }

    async fn export(&self, _: Target) -> Result<ByteStream> {
        Ok(self.held(bytes_of("export")))
    }
}

impl Node {
    fn exec_like(&self, command: Vec<String>, fresh: bool) -> Result<Session> {
        let (input, mut inputs) = mpsc::channel(4);
        let started = stream::iter(fresh.then_some(Ok(Output::Started(0))));
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        let output: ResultStream<Output> = match words[..] {
            ["exit", code] => Box::pin(stream::iter([Ok(Output::Exit(code.parse().unwrap()))])),
            ["flood", count] => {
                let piece = Bytes::from(vec![b'x'; 200_000]);
                let pieces = (0..count.parse::<usize>().unwrap()).map(move |_| piece.clone());
                let items = pieces.map(Output::Stdout).chain([Output::Exit(0)]);
                Box::pin(stream::iter(items.map(Ok)))
            }
            ["fail"] => Box::pin(stream::iter([Err(Error::unavailable("the shim is gone"))])),
            ["sleep"] => Box::pin(stream::pending()),
            ["stderr", text] => {
                let bytes = Bytes::from(text.to_owned());
                Box::pin(stream::iter([Ok(Output::Stderr(bytes)), Ok(Output::Exit(1))]))
            }
            _ => Box::pin(async_stream::stream! {
                let mut length = 0;
                while let Some(item) = inputs.recv().await {
                    match item {
                        Input::Stdin(bytes) => {
                            length += bytes.len();
                            yield Ok(Output::Stdout(bytes));
                        }
                        Input::Resize { width, height } => {
                            yield Ok(Output::Stderr(format!("{width}x{height}").into()));
                        }
                        Input::Signal(signal) => {
                            yield Ok(Output::Stderr(format!("signal {signal}").into()));
                        }
                        Input::StdinEnd => {
                            yield Ok(Output::Exit((length % 256) as i32));
                            return;
                        }
                    }
                }
                yield Ok(Output::Exit(99));
            }),
        };
        Ok(Session { input, output: self.held(started.chain(output)) })
    }
}

pub fn image(name: &str) -> Image {
    Image {
        id: "sha256:1".into(),
        digest: "sha256:2".into(),
        names: vec![name.to_owned()],
        digests: Vec::new(),
        created: None,
        size: model::Bytes(5),
        architecture: "amd64".into(),
        os: "linux".into(),
        config: ImageConfig::default(),
        layers: Vec::new(),
        machine: None,
        history: Vec::new(),
    }
}

fn progress(name: &str) -> Vec<Result<Progress>> {
    let layer =
        |phase, done| Ok(Progress::Layer { digest: "sha256:3".into(), phase, done, total: 100 });
    let mut items = vec![layer(LayerPhase::Downloading, 40), layer(LayerPhase::Done, 100)];
    items.push(match name.contains("broken") {
        true => Err(Error::unavailable("the registry went away").next("try again")),
        false => Ok(Progress::Done { images: vec![image(name)], unchanged: false }),
    });
    items
}

/// What the native API has no part for.
fn not_asked() -> Error {
    Error::unsupported("the native API does not ask this")
}

#[async_trait]
impl link::BuildCalls for Node {
    async fn build(
        &self,
        _: link::build::BuildRequest,
        _: ByteStream,
    ) -> Result<ResultStream<link::build::BuildStep>> {
        Err(not_asked())
    }

    async fn build_cache(&self) -> Result<Vec<link::build::BuildCache>> {
        Err(not_asked())
    }

    async fn build_prune(&self, _: bool) -> Result<link::build::BuildPruned> {
        Err(not_asked())
    }

    async fn build_kit(&self) -> Result<bool> {
        Err(not_asked())
    }

    async fn build_wire(&self, _: link::build::BuildWireKind) -> Result<link::build::BuildWire> {
        Err(not_asked())
    }
}

#[async_trait]
impl ImageCalls for Node {
    async fn image_list(&self) -> Result<Vec<Image>> {
        Ok(vec![image("docker.io/library/a:latest")])
    }

    async fn image_show(&self, name: String) -> Result<Image> {
        wanted_error(&name)?;
        assert!(name != "panic", "a node that panics takes the request down and nothing else");
        match name.as_str() {
            "slow" => std::future::pending().await,
            "missing" => Err(Error::not_found("there is no image \"missing\"")),
            name => Ok(image(name)),
        }
    }

    async fn image_pull(&self, request: PullRequest) -> Result<ResultStream<Progress>> {
        wanted_error(&request.name)?;
        let items = stream::iter(progress(&request.name));
        if request.name == "hang" {
            return Ok(self.held(items.take(1).chain(stream::pending())));
        }
        Ok(self.held(items))
    }

    async fn image_push(
        &self,
        name: String,
        login: Option<Login>,
    ) -> Result<ResultStream<Progress>> {
        self.note(format!("push {name} as {:?}", login.map(|login| login.username)));
        Ok(self.held(stream::iter(progress(&name))))
    }

    async fn image_import(
        &self,
        request: ImportRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        if request.name == "early" {
            // Answers while the archive is still coming, as a real import does.
            let (reader, name) = (self.read.clone(), request.name);
            let counted = archive.map(move |part| {
                let part = part?;
                reader.fetch_add(part.len(), Ordering::SeqCst);
                Ok(Progress::Message { text: format!("{}", part.len()) })
            });
            let done = Progress::Done { images: vec![image(&name)], unchanged: false };
            return Ok(self.held(counted.chain(stream::iter([Ok(done)]))));
        }
        let length = self.swallow(archive).await?;
        self.note(format!("import {} {:?} {length}", request.name, request.changes));
        if request.name == "bad" {
            return Err(Error::invalid("the archive is no archive"));
        }
        Ok(self.held(stream::iter(progress(&request.name))))
    }

    async fn image_save(&self, names: Vec<String>) -> Result<ByteStream> {
        Ok(self.held(bytes_of(&names.join("+"))))
    }

    async fn image_export(&self, name: String, format: String) -> Result<ByteStream> {
        self.note(format!("export {name} {format}"));
        Ok(Box::pin(stream::iter([Ok("disk".into())])))
    }

    async fn image_tag(&self, name: String, new: String, plan: bool) -> Result<()> {
        self.note(format!("tag {name} {new}{}", if plan { " plan" } else { "" }));
        Ok(())
    }

    async fn image_remove(&self, name: String, force: bool, _: bool) -> Result<Removed> {
        match force {
            true => Ok(Removed { untagged: vec![name], ..Removed::default() }),
            false => Err(Error::conflict("an instance uses it").next("use force")),
        }
    }

    async fn image_untag(&self, _: String) -> Result<()> {
        Err(not_asked())
    }

    async fn image_prune(&self, request: PruneRequest) -> Result<Removed> {
        Ok(Removed { deleted: vec![format!("all={}", request.all)], ..Removed::default() })
    }

    async fn image_detail(&self, _: String) -> Result<ImageDetail> {
        Err(not_asked())
    }

    async fn image_sizes(&self) -> Result<Vec<SizedImage>> {
        Err(not_asked())
    }

    async fn registry_look_up(&self, _: String, _: Option<Login>) -> Result<Listing> {
        Err(not_asked())
    }

    async fn registry_tags(&self, _: String, _: Option<Login>) -> Result<Vec<String>> {
        Err(not_asked())
    }

    async fn registry_search(&self, _: SearchRequest) -> Result<Vec<SearchHit>> {
        Err(not_asked())
    }

    async fn registry_check(&self, _: Login) -> Result<Login> {
        Err(not_asked())
    }

    async fn registry_login(&self, login: Login) -> Result<()> {
        match login.password.as_str() {
            "right" => Ok(()),
            _ => Err(Error::unauthenticated("the registry does not take this login")),
        }
    }

    async fn registry_logout(&self, registry: String) -> Result<()> {
        self.note(format!("logout {registry}"));
        Ok(())
    }
}

#[async_trait]
impl MachineCalls for Node {
    async fn check(&self) -> Result<Vec<Finding>> {
        Ok(vec![Finding {
            name: "kernel".into(),
            outcome: "pass".into(),
            finding: "6.1".into(),
            remedy: String::new(),
        }])
    }

    async fn disk_usage(&self) -> Result<DiskUsage> {
        Ok(DiskUsage { images: model::Bytes(42), ..DiskUsage::default() })
    }
}

#[async_trait]
impl link::SnapshotCalls for Node {
    async fn snapshots(&self, _: Target) -> Result<Vec<link::snapshot::MachineSnapshot>> {
        Ok(Vec::new())
    }

    async fn take_snapshot(
        &self,
        _: Target,
        request: link::snapshot::SnapshotRequest,
    ) -> Result<link::snapshot::MachineSnapshot> {
        if request.name == "taken" {
            return Err(Error::exists("there is a snapshot \"taken\""));
        }
        Ok(link::snapshot::MachineSnapshot {
            name: request.name,
            created: model::Time::from_unix(1, 0),
            memory: request.memory,
            consistent: false,
            disks: vec!["root".into()],
        })
    }

    async fn restore_snapshot(&self, _: Target, _: String) -> Result<()> {
        Err(Error::unsupported("the node of this test has no machines"))
    }

    async fn remove_snapshot(&self, _: Target, _: String) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl ConsoleCalls for Node {
    /// A screen that repeats what it is sent.
    async fn display(&self, _: Target) -> Result<Display> {
        if self.was_asked("no screen") {
            return Err(Error::invalid("it is a container"));
        }
        let (input, inputs) = tokio::sync::mpsc::channel(4);
        let output = tokio_stream::wrappers::ReceiverStream::new(inputs).map(Ok);
        Ok(Display { input, output: Box::pin(output) })
    }

    async fn screenshot(&self, _: Target) -> Result<Bytes> {
        Ok(Bytes::from_static(b"picture"))
    }
}

/// It has no plugins.
#[async_trait]
impl StorageCalls for Node {
    async fn plugin_names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn plugins(&self) -> Result<Vec<Plugin>> {
        Ok(Vec::new())
    }

    async fn plugin_volumes(&self) -> Result<PluginVolumes> {
        Ok(PluginVolumes::default())
    }

    async fn plugin_volume(&self, storage: &str, _: &str) -> Result<Option<PluginVolume>> {
        Err(Error::not_found(format!("there is no storage plugin {storage:?}")))
    }

    async fn forget_volume(&self, _: &Uid) -> Result<()> {
        Ok(())
    }
}
