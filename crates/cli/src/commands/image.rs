//! `hull image`.

pub(super) mod build;
pub(super) mod handed;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::EventsQuery;
use futures::{StreamExt, TryStreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use link::image::{DiskImport, ImportRequest, LayerPhase, Login, Progress, PullRequest, Removed};
use link::{ByteStream, ResultStream};
use model::error::Context as _;
use model::image::{Image as Known, Reference};
use model::instance::{FirmwareKind, PullPolicy};
use model::{Error, ErrorKind, Result};

use tokio_util::io::ReaderStream;

use crate::archive::{Source, pack};
use crate::commands::each;
use crate::complete;
use crate::context::{Context, Output};
use crate::download;
use crate::out::{self, Format};
use crate::password;
use crate::screen::Screen;
use crate::stream::{PUBLIC, to_file, to_stdout};

/// Bytes read of an archive at a time.
const PIECE: usize = 256 * 1024;

/// Images.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Fetch images from their registries
    Pull(Pull),
    /// Send an image to its registry
    Push(Push),
    /// Take images in from an archive, or make one of a root file system
    #[command(visible_alias = "load")]
    Import(Import),
    /// Build an image from a directory with a Dockerfile
    Build(build::Build),
    /// Write images into an archive
    Save(Save),
    /// Write the disk of a machine's image
    Export(Export),
    /// List images
    Ls(Ls),
    /// Show an image
    Show(Show),
    /// Give an image a further name
    Tag(Tag),
    /// Remove images
    Rm(Rm),
    /// Remove images nobody uses
    Prune(Prune),
    /// Show how an image came about
    History(Show),
    /// Check a login with a registry and keep it
    Login(LoginArgs),
    /// Forget a login
    Logout(Logout),
}

/// Fetches images.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull image pull nginx\n  hull image pull --platform linux/arm64 alpine:3"
)]
pub struct Pull {
    /// For another platform: linux/arm64
    #[arg(long, default_value = "", value_name = "PLATFORM")]
    platform: String,
    /// Say only the names
    #[arg(short, long)]
    quiet: bool,
    /// The images
    #[arg(required = true, add = ArgValueCompleter::new(complete::images))]
    names: Vec<String>,
}

/// Sends an image.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image push ghcr.io/me/app:1")]
pub struct Push {
    /// The image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    name: String,
}

/// Takes images in.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull image import app.tar\n  hull image import oci-layout/\n  hull image import --name base rootfs.tar.gz\n  docker save app | hull image import -\n  hull image import --machine --name debian-vm disk.qcow2\n  hull image import --machine --name win --firmware uefi https://example.com/win.vhdx.xz"
)]
pub struct Import {
    /// It is a disk: make an image of a machine
    #[arg(short, long, requires = "name")]
    machine: bool,
    /// What starts before the disk: bios, uefi or secure-boot
    #[arg(long, value_enum, requires = "machine")]
    firmware: Option<Firmware>,
    /// Format of the disk: qcow2, raw, vmdk, vhdx or vdi; found out when not given
    #[arg(long, default_value = "", value_name = "FORMAT", requires = "machine")]
    format: String,
    /// Name for an image that brings none
    #[arg(long, default_value = "", value_name = "NAME")]
    name: String,
    /// Change the configuration: CMD, ENV, EXPOSE … lines
    #[arg(short, long, value_name = "LINE")]
    change: Vec<String>,
    /// The archive, or the directory of an OCI layout or of a root file system; the disk, also where to
    /// fetch it by https; - for standard input
    file: String,
}

/// What starts before a disk.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Firmware {
    Bios,
    Uefi,
    SecureBoot,
}

impl From<Firmware> for FirmwareKind {
    fn from(firmware: Firmware) -> Self {
        match firmware {
            Firmware::Bios => Self::Bios,
            Firmware::Uefi => Self::Uefi,
            Firmware::SecureBoot => Self::SecureBoot,
        }
    }
}

/// Writes a disk.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull image export debian-vm -o disk.qcow2\n  hull image export debian-vm -o disk.vmdk\n  hull image export debian-vm --format raw | dd of=/dev/sdX"
)]
pub struct Export {
    /// The file; standard output when not given
    #[arg(short, long, visible_short_alias = 'f', visible_alias = "file", value_name = "FILE")]
    output: Option<String>,
    /// qcow2, raw, vmdk, vhdx or vdi; told by the file's name when not given, else as it is
    #[arg(long, default_value = "", value_name = "FORMAT")]
    format: String,
    /// The image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    name: String,
}

/// Writes images into an archive.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image save nginx -f nginx.tar")]
pub struct Save {
    /// The archive; standard output when not given
    #[arg(short, long, visible_short_alias = 'o', visible_alias = "output", value_name = "FILE")]
    file: Option<String>,
    /// The images
    #[arg(required = true, add = ArgValueCompleter::new(complete::images))]
    names: Vec<String>,
}

/// Lists images.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image ls\n  hull image ls -w\n  hull image ls -o json")]
pub struct Ls {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Go on as they change
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

/// Shows an image.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image show nginx\n  hull image history nginx")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    name: String,
}

/// Gives an image a further name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image tag nginx ghcr.io/me/nginx:1")]
pub struct Tag {
    /// The image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    name: String,
    /// Its further name
    new: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

/// Removes images.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image rm nginx\n  hull image rm $(hull image ls -q)")]
pub struct Rm {
    /// Also if it has several names
    #[arg(short, long)]
    force: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The images
    #[arg(required = true, add = ArgValueCompleter::new(complete::images))]
    names: Vec<String>,
}

/// Removes images nobody uses.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image prune\n  hull image prune --all")]
pub struct Prune {
    /// All that no instance uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
}

/// Keeps a login.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull image login -u me ghcr.io\n  cat token | hull image login -u me --password-stdin ghcr.io"
)]
pub struct LoginArgs {
    /// The user
    #[arg(short, long, value_name = "NAME")]
    username: String,
    /// Read the password from standard input without asking
    #[arg(long)]
    password_stdin: bool,
    /// The registry; Docker Hub when not given
    #[arg(default_value = "")]
    registry: String,
}

/// Forgets a login.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull image logout ghcr.io")]
pub struct Logout {
    /// The registry; Docker Hub when not given
    #[arg(default_value = "")]
    registry: String,
}

impl Image {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let images = context.client.images();
        match self {
            Image::Pull(args) => return args.run(context).await,
            Image::Push(args) => {
                let progress = images.push(&args.name, None).await?;
                show_progress(progress).await?;
                out::line(&args.name);
            }
            Image::Import(args) => args.run(context).await?,
            Image::Build(args) => args.run(context).await?,
            Image::Save(args) => args.run(context).await?,
            Image::Export(args) => args.run(context).await?,
            Image::Ls(args) => args.run(context).await?,
            Image::Show(args) => {
                let image = images.show(&args.name).await?;
                let format = match args.output.output {
                    Format::Table => Format::Yaml,
                    other => other,
                };
                if !out::structured(format, &image)? {
                    out::line(&image.id);
                }
            }
            Image::History(args) => history(&images.show(&args.name).await?, args.output.output)?,
            Image::Tag(args) => {
                images.tag(&args.name, &args.new, args.plan).await?;
                if args.plan {
                    out::line(format!("would tag {} as {}", args.name, args.new));
                }
            }
            Image::Rm(args) => {
                return each(&args.names, async |name| {
                    let gone = images.remove(name, args.force, args.plan).await?;
                    removed(&gone, args.plan);
                    Ok(())
                })
                .await;
            }
            Image::Prune(args) => {
                let gone = images.prune(args.all, args.plan).await?;
                removed(&gone, args.plan);
                let would = if args.plan { "would be " } else { "" };
                out::line(format!("{} {would}given back", gone.freed));
            }
            Image::Login(args) => args.run(context).await?,
            Image::Logout(args) => images.logout(&args.registry).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells what is gone, or with a plan what would go.
fn removed(removed: &Removed, plan: bool) {
    let [untag, delete] =
        if plan { ["would untag", "would delete"] } else { ["untagged", "deleted"] };
    removed.untagged.iter().for_each(|name| out::line(format!("{untag} {name}")));
    removed.deleted.iter().for_each(|id| out::line(format!("{delete} {id}")));
}

impl Pull {
    async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            let request = PullRequest {
                name: name.to_owned(),
                platform: self.platform.clone(),
                policy: PullPolicy::Always,
                login: None,
            };
            let progress = context.client.images().pull(&request).await?;
            let (images, unchanged) =
                if self.quiet { finish(progress).await? } else { show_progress(progress).await? };
            let remark = if unchanged { " (unchanged)" } else { "" };
            for image in images {
                let digest = out::short(&image.digest, 19);
                out::line(format!("{}@{digest}{remark}", familiar(name)));
            }
            Ok(())
        })
        .await
    }
}

fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Fetches an image and shows how far it is.
pub async fn pull_with_progress(context: &Context, name: &str, policy: PullPolicy) -> Result<()> {
    out::remark(format!("Fetching {} …", familiar(name)));
    let request = PullRequest { name: name.to_owned(), policy, ..PullRequest::default() };
    let progress = context.client.images().pull(&request).await?;
    show_progress(progress).await.map(drop)
}

async fn finish(mut progress: ResultStream<Progress>) -> Result<(Vec<Known>, bool)> {
    let mut done = None;
    while let Some(step) = progress.next().await {
        if let Progress::Done { images, unchanged } = step? {
            done = Some((images, unchanged));
        }
    }
    done.ok_or_else(cut_short)
}

fn cut_short() -> Error {
    Error::unavailable("the connection ended before the work did").next("run it again")
}

/// Shows a bar for each layer where a person watches, and a line for each where nobody does.
async fn show_progress(progress: ResultStream<Progress>) -> Result<(Vec<Known>, bool)> {
    if out::watched() { draw(progress).await } else { tell(progress).await }
}

async fn tell(mut progress: ResultStream<Progress>) -> Result<(Vec<Known>, bool)> {
    let (mut done, mut told) = (None, HashSet::new());
    while let Some(step) = progress.next().await {
        match step? {
            Progress::Layer { digest, phase, done: _, total } => {
                // One of no size was not looked at: the image is here as a whole.
                if is_last(phase) && total > 0 && told.insert(digest.clone()) {
                    let (digest, size) = (short_digest(&digest), model::Bytes(total));
                    out::remark(format!("{digest} {:11} {size}", word(phase)));
                }
            }
            Progress::Message { text } => out::remark(text),
            // The digest is told with the image.
            Progress::Pushed { .. } => {}
            Progress::Done { images, unchanged } => done = Some((images, unchanged)),
        }
    }
    done.ok_or_else(cut_short)
}

async fn draw(mut progress: ResultStream<Progress>) -> Result<(Vec<Known>, bool)> {
    let bars = MultiProgress::new();
    let mut layers: HashMap<String, ProgressBar> = HashMap::new();
    let mut done = None;
    while let Some(step) = progress.next().await {
        match step? {
            Progress::Layer { digest, phase, done, total } => {
                let bar = layers.entry(digest.clone()).or_insert_with(|| bar(&bars, &digest));
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(word(phase));
                if is_last(phase) {
                    bar.finish();
                }
            }
            Progress::Message { text } => drop(bars.println(text)),
            Progress::Pushed { .. } => {}
            Progress::Done { images, unchanged } => done = Some((images, unchanged)),
        }
    }
    drop(bars.clear());
    done.ok_or_else(cut_short)
}

fn is_last(phase: LayerPhase) -> bool {
    matches!(phase, LayerPhase::Done | LayerPhase::Exists)
}

fn bar(bars: &MultiProgress, digest: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} {msg:11} {bar:24} {bytes:>10} of {total_bytes:10} {bytes_per_sec}",
    );
    let bar = bars.add(ProgressBar::new(0));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(short_digest(digest));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn word(phase: LayerPhase) -> &'static str {
    match phase {
        LayerPhase::Waiting => "waiting",
        LayerPhase::Exists => "is here",
        LayerPhase::Downloading => "downloading",
        LayerPhase::Uploading => "uploading",
        LayerPhase::Verifying => "checking",
        LayerPhase::Unpacking => "unpacking",
        LayerPhase::Done => "done",
    }
}

impl Import {
    async fn run(self, context: &Context) -> Result<()> {
        let firmware = self.firmware.map(FirmwareKind::from);
        let disk = self.machine.then_some(DiskImport { firmware, format: self.format });
        let is_url = self.file.starts_with("https://") || self.file.starts_with("http://");
        let source = match disk.is_some() && is_url {
            true => download::open(&self.file).await?,
            false => archive(&self.file).await?,
        };
        let (name, changes) = (self.name, self.change);
        let request = ImportRequest { name, changes, disk, ..ImportRequest::default() };
        let (source, fault) = remembered(source);
        let imported = async {
            let progress = context.client.images().import(&request, source).await?;
            show_progress(progress).await
        };
        // What broke off on its way here tells more than the platform, which was left in the middle.
        let imported = imported.await.map_err(|error| take(&fault).unwrap_or(error));
        let (images, _) = imported?;
        for image in images {
            match image.names.as_slice() {
                [] => out::line(&image.id),
                names => names.iter().for_each(|name| out::line(familiar(name))),
            }
        }
        Ok(())
    }
}

/// The first fault of what is sent, for who sends it.
type Fault = Arc<Mutex<Option<Error>>>;

fn take(fault: &Fault) -> Option<Error> {
    fault.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The same bytes; why they ended too early is kept.
fn remembered(source: ByteStream) -> (ByteStream, Fault) {
    let fault = Fault::default();
    let kept = fault.clone();
    let keep = move |error: Error| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(error);
        Error::unavailable("what is sent broke off")
    };
    (Box::pin(source.map_err(keep)), fault)
}

/// The bytes of an archive: of a file, of standard input, or of a directory that is packed as it is
/// read.
async fn archive(path: &str) -> Result<ByteStream> {
    let reader: Box<dyn tokio::io::AsyncRead + Send + Unpin> = match path {
        "-" => Box::new(tokio::io::stdin()),
        path if Path::new(path).is_dir() => {
            let (path, name) = (path.into(), Default::default());
            return Ok(pack(Source { path, name, follow: true, owners: true }));
        }
        path => {
            let file = tokio::fs::File::open(path).await;
            Box::new(file.context(ErrorKind::NotFound, || format!("cannot read {path}"))?)
        }
    };
    let pieces = ReaderStream::with_capacity(reader, PIECE);
    let failed = |error| Error::unavailable("the archive cannot be read").caused_by(error);
    Ok(Box::pin(pieces.map_err(failed)))
}

impl Save {
    async fn run(self, context: &Context) -> Result<()> {
        let stream = context.client.images().save(&self.names).await?;
        match &self.file {
            Some(file) => to_file(stream, Path::new(file), PUBLIC).await,
            None => {
                out::not_for_a_terminal()?;
                to_stdout(stream).await
            }
        }
    }
}

impl Export {
    async fn run(self, context: &Context) -> Result<()> {
        let named = self.output.as_deref().and_then(|file| Path::new(file).extension());
        let named = named.and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let format = match (self.format.as_str(), named) {
            ("", "img" | "iso") => "raw",
            ("", "qcow2" | "raw" | "vmdk" | "vhdx" | "vdi") => named,
            (format, _) => format,
        };
        let stream = context.client.images().export(&self.name, format).await?;
        match &self.output {
            Some(file) => to_file(stream, Path::new(file), PUBLIC).await,
            None => {
                out::not_for_a_terminal()?;
                to_stdout(stream).await
            }
        }
    }
}

const TITLES: [&str; 5] = ["NAME", "ID", "TYPE", "AGE", "SIZE"];
/// The column of numbers.
const RIGHT: [usize; 1] = [4];

impl Ls {
    async fn run(self, context: &Context) -> Result<()> {
        if !self.watch {
            return self.print(&context.client.images().list().await?);
        }
        // Events are asked for first: what happens between is told again, not missed.
        let query = EventsQuery { watch: true, kinds: "image".into(), ..EventsQuery::default() };
        let query = EventsQuery { since: Some(model::Time::now()), ..query };
        let mut events = context.client.events().read(&query).await?.ready_chunks(256);
        let mut screen =
            Screen::new().filter(|_| self.output.output == Format::Table && !self.quiet);
        loop {
            let images = context.client.images().list().await?;
            match &mut screen {
                Some(screen) => screen.table(&TITLES, rows(&images), &RIGHT),
                None => self.print(&images)?,
            }
            match events.next().await {
                Some(news) => drop(news.into_iter().collect::<Result<Vec<_>>>()?),
                None => return Err(cut_short()),
            }
        }
    }

    fn print(&self, images: &[Known]) -> Result<()> {
        if out::structured(self.output.output, images)? {
            return Ok(());
        }
        match (self.quiet, self.output.output) {
            (true, _) => images.iter().for_each(|image| out::line(short_id(image))),
            (false, Format::Name) => rows(images).iter().for_each(|row| out::line(&row[0])),
            (false, _) => out::table(&TITLES, rows(images), &RIGHT),
        }
        Ok(())
    }
}

/// A row for each name; one for an image that has none.
fn rows(images: &[Known]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for image in images {
        let none = ["<none>".to_owned()];
        let names = if image.names.is_empty() { none.as_slice() } else { &image.names };
        for name in names {
            rows.push(vec![
                familiar(name),
                short_id(image),
                if image.machine.is_some() { "machine" } else { "container" }.to_owned(),
                image.created.map(out::age).unwrap_or_default(),
                image.size.to_string(),
            ]);
        }
    }
    rows
}

fn short_id(image: &Known) -> String {
    short_digest(&image.id)
}

fn short_digest(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

fn history(image: &Known, format: Format) -> Result<()> {
    if out::structured(format, &image.history)? {
        return Ok(());
    }
    let rows = image.history.iter().rev().map(|step| {
        vec![
            step.created.map(out::age).unwrap_or_default(),
            out::short(&step.created_by, 70),
            step.size.to_string(),
            step.comment.clone(),
        ]
    });
    out::table(&["AGE", "CREATED BY", "SIZE", "REMARK"], rows.collect(), &[2]);
    Ok(())
}

impl LoginArgs {
    async fn run(self, context: &Context) -> Result<()> {
        let login = Login {
            registry: self.registry,
            username: self.username,
            password: password::read(self.password_stdin, "Password:")?,
            identity_token: String::new(),
        };
        context.client.images().login(&login).await?;
        out::line("The login is kept.");
        Ok(())
    }
}
