//! `hull catalog`.

mod answer;
mod install;
mod open;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{Draft, DraftMeta, ListQuery};
use client::{Catalogs, Objects};
use model::catalog::{Catalog as Known, CatalogNoun, CatalogSource, CatalogSpec};
use model::{Error, Result, Span, Time, Uid};

use crate::commands::each;
use crate::context::Context;
use crate::objects::{self, Listing, View};
use crate::parse::text::text;
use crate::{complete, out, plan};

const EXAMPLES: &str = "Examples:
  hull catalog search
  hull catalog show elk
  hull catalog install elk --set nodes=3
  hull catalog upgrade elk --set nodes=5
  hull catalog add rancher https://github.com/rancher/community-catalog --every 1d";

/// Catalogs: where apps come from.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Catalog {
    /// Add a catalog: a directory, an archive or a git repository
    Add(Add),
    /// List catalogs
    Ls(Ls),
    /// List templates
    #[command(visible_alias = "templates")]
    Search(show::Search),
    /// Show a template, its questions and its README
    Show(show::Show),
    /// Make an app of a template
    Install(install::Install),
    /// Change an app to another version of its template, or by other answers
    Upgrade(install::Upgrade),
    /// Take an app back to an earlier revision
    Rollback(install::Rollback),
    /// Read the sources of catalogs again
    Refresh(Refresh),
    /// Remove catalogs; apps that were made of them stay
    Rm(Rm),
}

/// Adds a catalog. A directory or an archive is one of the machine that hull runs on.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull catalog add mine /srv/catalog\n  hull catalog add theirs /srv/catalog.tar.gz --only shop\n  hull catalog add rancher https://github.com/rancher/community-catalog --branch master --every 1d\n  hull catalog add ours https://git.example.org/catalog --key ~/.ssh/id_ed25519.pub"
)]
pub struct Add {
    /// The branch of a repository; its own choice when none is given
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Take a repository's commit only when one of these keys signed it: a file with public keys of SSH or a
    /// list of allowed signers, - for standard input
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Read the source again after so long: 1h, 1d
    #[arg(long, value_name = "TIME")]
    every: Option<Span>,
    /// Offer its templates in these projects only
    #[arg(long, value_name = "PROJECT")]
    only: Vec<String>,
    /// For people
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
    /// Show what would be added, and add nothing
    #[arg(long)]
    plan: bool,
    /// Print the name at once
    #[arg(short, long)]
    detach: bool,
    /// Its name
    name: String,
    /// Where it is: a directory, a tar or zip, or the address of a git repository
    location: String,
}

/// Lists catalogs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull catalog ls\n  hull catalog ls -w")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Reads the sources of catalogs again, and waits until that is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull catalog refresh rancher")]
pub struct Refresh {
    /// Print the name at once
    #[arg(short, long)]
    detach: bool,
    /// The catalogs
    #[arg(required = true, add = ArgValueCompleter::new(complete::catalogs))]
    names: Vec<String>,
}

/// Removes catalogs. Apps that were made of their templates stay, and cannot be upgraded any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull catalog rm rancher")]
pub struct Rm {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The catalogs
    #[arg(required = true, add = ArgValueCompleter::new(complete::catalogs))]
    names: Vec<String>,
}

impl Catalog {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let catalogs = context.client.catalogs();
        match self {
            Catalog::Add(args) => args.run(&catalogs).await?,
            Catalog::Ls(args) => args.listing.show(&catalogs, &VIEW).await?,
            Catalog::Search(args) => args.run(context).await?,
            Catalog::Show(args) => args.run(context).await?,
            Catalog::Install(args) => return args.run(context).await,
            Catalog::Upgrade(args) => return args.run(context).await,
            Catalog::Rollback(args) => return args.run(context).await,
            Catalog::Refresh(args) => {
                return each(&args.names, async |name| {
                    let catalog = catalogs.refresh(name).await?;
                    if !args.detach {
                        until_read(&catalogs, &catalog.meta.id, catalog.status.asked).await?;
                    }
                    out::line(name);
                    Ok(())
                })
                .await;
            }
            Catalog::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&catalogs, name, args.plan, true).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    async fn run(self, catalogs: &Catalogs) -> Result<()> {
        let keys = self.key.as_deref().map(|file| text(file, "--key")).transpose()?;
        let source = source(&self.location, self.branch, keys)?;
        let spec = CatalogSpec {
            description: self.description,
            source,
            projects: self.only,
            every: self.every,
        };
        let meta = DraftMeta { name: self.name, ..DraftMeta::default() };
        let draft = Draft { meta, spec };
        let catalog = catalogs.create(&draft, self.plan).await?;
        if self.plan {
            return plan::creation(&catalog);
        }
        if !self.detach {
            let read = until_read(catalogs, &catalog.meta.id, None).await?;
            let (good, broken) = (read.status.templates, read.status.broken);
            out::remark(format!("{good} templates, and {broken} with a problem"));
        }
        out::line(&catalog.meta.name);
        Ok(())
    }
}

/// What somebody means by a location.
fn source(location: &str, branch: Option<String>, keys: Option<String>) -> Result<CatalogSource> {
    if location.contains("://") {
        return Ok(CatalogSource::Git { url: location.to_owned(), branch, keys });
    }
    if branch.is_some() {
        return Err(Error::invalid("only a git repository has branches").at("--branch"));
    }
    if keys.is_some() {
        return Err(Error::invalid("only a git repository has signed commits").at("--key"));
    }
    let path = std::path::absolute(PathBuf::from(location)).ok();
    let path = path.and_then(|path| path.to_str().map(str::to_owned));
    let path = path.ok_or_else(|| Error::invalid(format!("{location:?} is not a path")))?;
    let lower = path.to_ascii_lowercase();
    let packed = [".tar", ".tar.gz", ".tgz", ".zip"].iter().any(|end| lower.ends_with(end));
    Ok(if packed { CatalogSource::Archive { path } } else { CatalogSource::Directory { path } })
}

/// Waits until a catalog's source was read: after this moment, where one is given.
async fn until_read(
    catalogs: &Objects<CatalogNoun>,
    id: &Uid,
    after: Option<Time>,
) -> Result<std::sync::Arc<Known>> {
    objects::until(catalogs, id, |catalog| {
        let status = &catalog.status;
        let tried = status.tried?;
        if after.is_some_and(|after| tried < after) {
            return None;
        }
        Some(match &status.reason {
            None => Ok(()),
            Some(reason) => {
                let error = Error::unavailable(format!("{}: {}", catalog.title(), reason.message));
                Err(match &reason.next {
                    Some(next) => error.next(next),
                    None => error,
                })
            }
        })
    })
    .await
}

const VIEW: View<CatalogNoun> = View {
    titles: &["NAME", "SOURCE", "TEMPLATES", "BROKEN", "READ", "STATE"],
    right: &[2, 3],
    row: |catalog: &Known| {
        let status = &catalog.status;
        vec![
            catalog.meta.name.clone(),
            out::short(&catalog.spec.source.title(), 60),
            status.templates.to_string(),
            status.broken.to_string(),
            status.read.map(out::age).unwrap_or_default(),
            match (&status.reason, status.tried) {
                (Some(reason), _) => out::short(&reason.message, 60),
                (None, Some(_)) => "ready".to_owned(),
                (None, None) => "is read".to_owned(),
            },
        ]
    },
};

/// All catalogs' names, for other commands.
pub(super) async fn names(context: &Context) -> Result<Vec<String>> {
    let all = context.client.catalogs().list_all(&ListQuery::default()).await?;
    Ok(all.into_iter().map(|it| it.meta.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let title = |location: &str| source(location, None, None).unwrap();
        assert!(matches!(title("/srv/x.TGZ"), CatalogSource::Archive { .. }));
        assert!(matches!(title("/srv/x"), CatalogSource::Directory { .. }));
        assert!(matches!(title("https://example.org/x"), CatalogSource::Git { .. }));
        let CatalogSource::Directory { path } = title("here") else { panic!("a directory") };
        assert!(path.starts_with('/') && path.ends_with("/here"));
        let field = |branch: Option<&str>, keys: Option<&str>| {
            let error = source("/srv/x", branch.map(Into::into), keys.map(Into::into)).unwrap_err();
            error.field().map(str::to_owned)
        };
        assert_eq!(field(Some("b"), None).as_deref(), Some("--branch"));
        assert_eq!(field(None, Some("k")).as_deref(), Some("--key"));
    }
}
