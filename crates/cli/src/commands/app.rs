//! `hull app`.

mod adopt;
mod builds;
mod files;
pub(super) mod progress;
mod repository;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::Objects;
use client::wire::{AppRollBackRequest, ListQuery, UpRequest, UpgradeRequest};
use link::instance::LogsRequest;
use model::app::{APP, App as Known, AppFiles, AppNoun};
use model::error::Context as _;
use model::instance::Instance;
use model::{Error, ErrorKind, Result};

use self::files::Reading;
use self::progress::{Ending, conclude, show, until_gone};
use crate::commands::each;
use crate::context::{Context, Output};
use crate::follow::Followed;
use crate::objects::{self, Listing, View};
use crate::out::{self, Format};
use crate::{complete, parse};

const EXAMPLES: &str = "Examples:
  hull app up
  hull app up -f compose.yaml --plan
  hull app ps shop
  hull app rollback shop
  hull app down --volumes shop";

/// Apps.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum App {
    /// Install an app from Compose files, or change it to what they say
    Up(Up),
    /// Make an app of what a Docker client's Compose runs here
    Adopt(adopt::Adopt),
    /// List apps
    Ls(Ls),
    /// Show apps
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// List the instances of apps
    Ps(Ps),
    /// Show what the instances of an app printed
    Logs(Logs),
    /// Change how many instances services of an app have
    Scale(Scale),
    /// Read the files of an app again with other variables
    Upgrade(Upgrade),
    /// Take an earlier revision of an app again
    Rollback(Rollback),
    /// List the revisions of an app
    History(History),
    /// Remove apps and all they made, but for their volumes
    #[command(visible_alias = "rm")]
    Down(Down),
    /// Write the files that an app was made from
    Export(Export),
}

/// Installs an app, or changes it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull app up\n  hull app up -f compose.yaml -f production.yaml --name shop\n  hull app up --plan shop/\n  hull app up --build shop/\n  hull app up --rollback --set TAG=1.27 shop.tar.gz\n  hull app up --name shop -f -\n  hull app up https://example.org/shop.git#main:deploy"
)]
pub struct Up {
    /// A Compose file, merged onto those before it; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: Vec<String>,
    /// Its name; what the file says, or the directory's
    #[arg(short = 'n', long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    building: builds::Building,
    /// Take the last revision that worked again if this one fails
    #[arg(long)]
    rollback: bool,
    /// Copy its volumes first, to go back with them
    #[arg(long)]
    snapshot: bool,
    #[command(flatten)]
    ending: Ending,
    /// A directory, a Compose file, a tar archive or a git repository; the present directory when not given
    #[arg(conflicts_with = "file")]
    path: Option<String>,
}

/// Lists apps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app ls\n  hull app ls -w")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows apps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app show shop")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The apps
    #[arg(required = true, add = ArgValueCompleter::new(complete::apps))]
    names: Vec<String>,
}

/// Lists the instances of apps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app ps shop")]
pub struct Ps {
    #[command(flatten)]
    output: Output,
    /// The apps
    #[arg(required = true, add = ArgValueCompleter::new(complete::apps))]
    names: Vec<String>,
}

/// Shows what instances printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app logs shop\n  hull app logs -f --tail 10 shop web")]
pub struct Logs {
    /// Go on, also with instances that come later, until the app is gone
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines of each
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    name: String,
    /// Services, by what the files call them; all when none is named
    services: Vec<String>,
}

/// Changes how many instances services have.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app scale shop web=3 worker=0")]
pub struct Scale {
    #[command(flatten)]
    ending: Ending,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    name: String,
    /// Services, by what the files call them, and how many instances each is to have
    #[arg(required = true, value_name = "SERVICE=N")]
    wanted: Vec<String>,
}

/// Reads the files again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app upgrade --set TAG=1.28 --rollback shop")]
pub struct Upgrade {
    /// Give a variable of the files another value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Take the last revision that worked again if this one fails
    #[arg(long)]
    rollback: bool,
    /// Copy its volumes first, to go back with them
    #[arg(long)]
    snapshot: bool,
    #[command(flatten)]
    ending: Ending,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    name: String,
}

/// Takes an earlier revision again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull app rollback shop\n  hull app rollback --to 3 --plan shop\n  hull app rollback --volumes shop"
)]
pub struct Rollback {
    /// Number of the revision; the last before the present one that did not fail when not given
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Its volumes, too, as they were copied when it was left; the present ones stay beside them
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    ending: Ending,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    name: String,
}

/// Lists revisions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app history shop")]
pub struct History {
    #[command(flatten)]
    output: Output,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    name: String,
}

/// Removes apps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull app down shop\n  hull app down --volumes --plan shop")]
pub struct Down {
    /// Their volumes, too, and what is in them
    #[arg(short, long)]
    volumes: bool,
    /// Print the names at once
    #[arg(short, long)]
    detach: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The apps
    #[arg(required = true, add = ArgValueCompleter::new(complete::apps))]
    names: Vec<String>,
}

/// Writes the files of an app.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull app export shop shop-files\n  hull app export --revision 3 shop -"
)]
pub struct Export {
    /// Those of this revision; the present one's when not given
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// The app
    #[arg(add = ArgValueCompleter::new(complete::apps))]
    name: String,
    /// A directory that is made; - writes a tar archive to standard output
    directory: String,
}

impl App {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let apps = context.client.apps(&context.project);
        match self {
            App::Up(args) => return args.run(context, &apps).await,
            App::Adopt(args) => return args.run(context, &apps).await,
            App::Ls(args) => args.listing.show(&apps, &VIEW).await?,
            App::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&apps.get(name).await?, args.output.output)
                })
                .await;
            }
            App::Ps(args) => args.run(context, &apps).await?,
            App::Logs(args) => args.run(context, &apps).await?,
            App::Scale(args) => return args.run(&apps).await,
            App::Upgrade(args) => return args.run(&apps).await,
            App::Rollback(args) => return args.run(&apps).await,
            App::History(args) => args.run(&apps).await?,
            App::Down(args) => return args.run(&apps).await,
            App::Export(args) => args.run(&apps).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

const VIEW: View<AppNoun> = View {
    titles: &["NAME", "REVISION", "READY", "STATE", "AGE"],
    right: &[],
    row: |app: &Known| {
        let status = &app.status;
        let state = match &status.reason {
            Some(reason) => {
                format!("{}: {}", status.phase.as_str(), out::short(&reason.message, 60))
            }
            None => status.phase.as_str().to_owned(),
        };
        vec![
            app.meta.name.clone(),
            app.spec.revision.to_string(),
            format!("{}/{}", status.ready, app.spec.objects.services.len()),
            state,
            out::age(app.meta.created),
        ]
    },
};

impl Up {
    async fn run(self, context: &Context, apps: &Objects<AppNoun>) -> Result<ExitCode> {
        let wanted = self.reading.wanted(self.file, self.path, self.name)?;
        let packed = files::pack(&wanted, |name| std::env::var(name).ok())?;
        let request = UpRequest {
            files: packed.files,
            roll_back_on_failure: self.rollback,
            copy_volumes: self.snapshot,
        };
        let due = builds::due(context, &packed.builds, self.building).await?;
        if self.ending.plan {
            self.ending.tell(|tell| builds::show(&due, tell));
        } else if !due.is_empty() {
            // What is refused is refused before anything is built.
            apps.up(&packed.name, &request, true).await?;
            builds::build(context, due).await?;
        }
        let done = apps.up(&packed.name, &request, self.ending.plan).await?;
        conclude(apps, done, self.ending).await
    }
}

/// Selects the instances of an app.
fn of_app(name: &str) -> ListQuery {
    ListQuery { labels: format!("{APP}={name}"), ..ListQuery::default() }
}

/// The instances of an app, in the order of their names.
async fn instances(context: &Context, name: &str) -> Result<Vec<Instance>> {
    let mut found = context.instances().list_all(&of_app(name)).await?;
    found.sort_by(|one, two| one.meta.name.cmp(&two.meta.name));
    Ok(found)
}

impl Ps {
    async fn run(&self, context: &Context, apps: &Objects<AppNoun>) -> Result<()> {
        let mut all = Vec::new();
        for name in &self.names {
            let app = apps.get(name).await?;
            all.extend(instances(context, &app.meta.name).await?);
        }
        if out::structured(self.output.output, &all)? {
            return Ok(());
        }
        if self.output.output == Format::Name {
            all.iter().for_each(|instance| out::line(&instance.meta.name));
            return Ok(());
        }
        let rows = all.iter().map(|instance| {
            let phase = instance.status.phase.as_str();
            let state = match &instance.status.reason {
                Some(reason) => format!("{phase}: {}", out::short(&reason.message, 60)),
                None => phase.to_owned(),
            };
            let label = |key: &str| instance.meta.labels.get(key).cloned().unwrap_or_default();
            vec![
                instance.meta.name.clone(),
                label(model::app::KEY),
                instance.spec.main().map_or_else(String::new, |main| main.image.clone()),
                state,
                out::age(instance.meta.created),
            ]
        });
        out::table(&["NAME", "SERVICE", "IMAGE", "STATE", "AGE"], rows.collect(), &[]);
        Ok(())
    }
}

impl Logs {
    async fn run(&self, context: &Context, apps: &Objects<AppNoun>) -> Result<()> {
        let app = apps.get(&self.name).await?;
        let meant = |instance: &Instance| {
            let key = instance.meta.labels.get(model::app::KEY);
            self.services.is_empty() || key.is_some_and(|key| self.services.contains(key))
        };
        let followed = Followed {
            query: of_app(&app.meta.name),
            meant: &meant,
            container: "",
            request: LogsRequest {
                follow: self.follow,
                since: None,
                until: None,
                tail: self.tail,
                stdout: true,
                stderr: true,
            },
            timestamps: false,
        };
        match self.follow {
            true => followed.follow(context, apps, &app.meta.id).await,
            false => followed.show(context).await,
        }
    }
}

impl Scale {
    async fn run(self, apps: &Objects<AppNoun>) -> Result<ExitCode> {
        let counts = self.wanted.iter().map(|text| {
            let refuse = || {
                Error::invalid(format!("{text:?} does not say how many of what"))
                    .next("write it like web=3")
            };
            let (name, count) = text.split_once('=').ok_or_else(refuse)?;
            Ok((name.to_owned(), count.parse().map_err(|_| refuse())?))
        });
        let counts: BTreeMap<String, u32> = counts.collect::<Result<_>>()?;
        let done = apps.scale(&self.name, counts, self.ending.plan).await?;
        conclude(apps, done, self.ending).await
    }
}

impl Upgrade {
    async fn run(self, apps: &Objects<AppNoun>) -> Result<ExitCode> {
        let set = parse::env::labels(&[], &self.set)?;
        let request = UpgradeRequest {
            set,
            roll_back_on_failure: self.rollback,
            copy_volumes: self.snapshot,
        };
        let done = apps.upgrade(&self.name, &request, self.ending.plan).await?;
        conclude(apps, done, self.ending).await
    }
}

impl Rollback {
    async fn run(self, apps: &Objects<AppNoun>) -> Result<ExitCode> {
        let request = AppRollBackRequest { revision: self.to, volumes: self.volumes };
        let done = apps.take_back(&self.name, request, self.ending.plan).await?;
        conclude(apps, done, self.ending).await
    }
}

impl History {
    async fn run(&self, apps: &Objects<AppNoun>) -> Result<()> {
        let app = apps.get(&self.name).await?;
        let revisions = &app.status.revisions;
        if out::structured(self.output.output, revisions)? {
            return Ok(());
        }
        let rows = revisions.iter().rev().map(|revision| {
            let mut words = Vec::new();
            if revision.number == app.spec.revision {
                words.push("present");
            }
            if revision.failed {
                words.push("failed");
            }
            let copied = match revision.copies.len() {
                0 => String::new(),
                1 => "1 volume copied before".to_owned(),
                more => format!("{more} volumes copied before"),
            };
            let together = revision.copies.iter().all(|copy| copy.together);
            let copied = match together && !copied.is_empty() {
                true => format!("{copied}, at one moment"),
                false => copied,
            };
            words.extend(Some(copied.as_str()).filter(|it| !it.is_empty()));
            vec![
                revision.number.to_string(),
                revision.what.clone(),
                revision.version.clone(),
                revision.by.clone(),
                words.join(", "),
                revision.made.map_or_else(String::new, out::age),
            ]
        });
        out::table(&["REVISION", "WHAT", "VERSION", "BY", "STATE", "AGE"], rows.collect(), &[]);
        Ok(())
    }
}

impl Down {
    async fn run(&self, apps: &Objects<AppNoun>) -> Result<ExitCode> {
        each(&self.names, async |name| {
            let done = apps.down(name, self.volumes, self.plan).await?;
            if self.plan {
                show(&done.changes);
                return Ok(());
            }
            if !self.detach {
                until_gone(apps, &done.app).await?;
            }
            out::line(name);
            Ok(())
        })
        .await
    }
}

impl Export {
    async fn run(&self, apps: &Objects<AppNoun>) -> Result<()> {
        let files = apps.files(&self.name, self.revision).await?;
        // They come from elsewhere: no path of theirs leads out of the directory.
        files.validate()?;
        match self.directory.as_str() {
            "-" => archive(&files),
            directory => write_all(&files, &PathBuf::from(directory)),
        }
    }
}

fn archive(files: &AppFiles) -> Result<()> {
    let mut builder = tar::Builder::new(Vec::new());
    let failed = || "the archive cannot be written".to_owned();
    for file in &files.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.data.len() as u64);
        header.set_mode(0o600);
        builder
            .append_data(&mut header, &file.path, file.data.bytes())
            .context(ErrorKind::Invalid, failed)?;
    }
    out::bytes(&builder.into_inner().context(ErrorKind::Invalid, failed)?);
    Ok(())
}

fn write_all(files: &AppFiles, directory: &std::path::Path) -> Result<()> {
    std::fs::create_dir(directory)
        .context(ErrorKind::Invalid, || format!("cannot make {}", directory.display()))?;
    for file in &files.files {
        let path = directory.join(&file.path);
        let failed = || format!("cannot write {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context(ErrorKind::Invalid, failed)?;
        }
        std::fs::write(&path, file.data.bytes()).context(ErrorKind::Invalid, failed)?;
    }
    out::line(directory.to_string_lossy());
    Ok(())
}
