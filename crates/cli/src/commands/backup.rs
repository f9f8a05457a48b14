//! `hull backup`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, Subcommand};
use model::error::Context as _;
use model::{Error, ErrorKind, Result};

use crate::commands::daemon;
use crate::context::Context;
use crate::out;
use crate::stream::{PRIVATE, to_file, to_stdout};

/// Backups of the platform's records; not of images, volumes or logs.
#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Copy the records into a file, while the platform works
    Create(Create),
    /// Put a backup in the place of the stopped platform's records
    Restore(Restore),
}

/// Copies the records into a new file that only its owner can read.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull backup create /srv/hull-2026-01-31.db\n  hull backup create - | gzip > hull.db.gz"
)]
pub struct Create {
    /// Put it in the place of a file that is there
    #[arg(short, long)]
    force: bool,
    /// The file; - for standard output
    file: String,
}

/// Puts a backup in the place of this machine's records. The platform must be stopped. The records
/// that were there are kept beside. Instances made since the backup are ended when it starts again;
/// volumes are left alone. Another machine takes the place of the old one if its node has the same
/// name (hull.toml); it has certificates of its own.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull down && hull backup restore /srv/hull-2026-01-31.db && hull up"
)]
pub struct Restore {
    /// Show what would be done, and do nothing
    #[arg(long)]
    plan: bool,
    /// The backup
    file: PathBuf,
}

impl Backup {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        match self {
            Backup::Create(args) => args.run(context).await,
            Backup::Restore(args) => args.run(context).await,
        }
    }
}

impl Create {
    async fn run(&self, context: &Context) -> Result<ExitCode> {
        if self.file == "-" {
            out::not_for_a_terminal()?;
            to_stdout(context.client.system().backup().await?).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = Path::new(&self.file);
        if path.exists() && !self.force {
            return Err(Error::exists(format!("{} is there already", self.file))
                .next("name another file, or put this one in its place with --force"));
        }
        to_file(context.client.system().backup().await?, path, PRIVATE).await?;
        if out::watched() {
            out::remark(format!("The records are in {}.", self.file));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    async fn run(&self, context: &Context) -> Result<ExitCode> {
        if context.client.host().socket().is_none() {
            return Err(Error::invalid("records are restored on their own machine only")
                .at("--host")
                .next("leave HULL_HOST out, and run this there"));
        }
        let running = context.client.system().healthy().await.is_ok();
        if running || daemon::supervised(&context.root) {
            return Err(Error::conflict("the platform runs, and its records are in use")
                .next("hull down, then try again"));
        }
        let file = self.file.canonicalize();
        let file =
            file.context(ErrorKind::NotFound, || format!("cannot read {}", self.file.display()))?;
        if self.plan {
            let records = context.root.join("var/lib/hull");
            let (file, records) = (file.display(), records.display());
            out::line(format!("would put {file} in the place of the records in {records}"));
            return Ok(ExitCode::SUCCESS);
        }
        let program = std::env::current_exe()
            .context(ErrorKind::Internal, || "cannot tell where hull is".into())?;
        let mut daemon = Command::new(program);
        daemon.arg("daemon").arg("--root").arg(&context.root).arg("--restore").arg(file);
        let cause = daemon.exec();
        Err(Error::internal("the daemon's program cannot be run").caused_by(cause))
    }
}
