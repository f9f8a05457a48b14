//! `hull cp`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use futures::{StreamExt, TryStreamExt};
use link::instance::PathStat;
use model::error::Context as _;
use model::{Bytes, Error, ErrorKind, Result};

use crate::archive::{self, Place, Source};
use crate::context::Context;
use crate::stream::to_stdout;
use crate::{complete, out};

const EXAMPLES: &str = "Examples:
  hull cp app.conf web:/etc/app.conf
  hull cp web:/var/log ./logs
  hull cp web:/srv/. /backup/srv     contents only
  hull cp web:/srv - > srv.tar       as an archive
  hull cp - web:/srv < srv.tar";

/// Longest chain of symbolic links that is followed inside (as path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Copies files into and out of an instance, whether it runs or not. One of the two is INSTANCE:PATH.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Cp {
    /// Keep users, groups and special permission bits
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symbolic link leads to, not the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// Show what would be copied where, and copy nothing
    #[arg(long)]
    plan: bool,
    /// What is copied: INSTANCE:PATH, PATH, or - for an archive from standard input
    #[arg(add = ArgValueCompleter::new(complete::instance_paths))]
    source: String,
    /// Where to: INSTANCE:PATH, PATH, or - for an archive to standard output
    #[arg(add = ArgValueCompleter::new(complete::instance_paths))]
    target: String,
}

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// A standard stream.
    Stream,
    /// A path of this machine.
    Here(String),
    /// A path in an instance.
    There(String, String),
}

/// Reads one end. What begins with `/` or `.` is a path here, even with a colon in it.
fn end(text: &str) -> End {
    if text == "-" {
        return End::Stream;
    }
    match text.split_once(':') {
        Some((name, path)) if !text.starts_with(['/', '.']) && !name.contains('/') => {
            End::There(name.to_owned(), path.to_owned())
        }
        _ => End::Here(text.to_owned()),
    }
}

/// Where something goes: a directory that exists, and the name it gets there; no name for the
/// contents of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Landing {
    directory: PathBuf,
    name: OsString,
}

/// What is at the place something is copied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    File,
    Directory,
}

/// What is copied.
#[derive(Debug, Clone, Copy)]
struct From<'a> {
    path: &'a str,
    is_directory: bool,
}

/// Docker's rules for where a copy ends up.
fn land(from: From<'_>, target: &str, there: There) -> Result<Landing> {
    let path = Path::new(target);
    let beside = || match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let directory = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(Landing { directory: directory.into(), name: name.into() })
        }
        _ => Err(Error::invalid(format!("{target:?} is not the name of a file"))),
    };
    match there {
        There::Directory => {
            let contents = from.is_directory && is_contents(from.path);
            let base = Path::new(from.path).file_name().unwrap_or_default();
            let name = if contents { OsString::new() } else { base.to_owned() };
            Ok(Landing { directory: path.into(), name })
        }
        There::File if from.is_directory => {
            Err(Error::conflict(format!("{target} is a file; a directory cannot take its place")))
        }
        There::File if target.ends_with('/') => {
            Err(Error::conflict(format!("{target} is not a directory")))
        }
        There::Nothing if !from.is_directory && (target.ends_with('/') || is_contents(target)) => {
            Err(Error::not_found(format!("there is no directory {target}"))
                .next("make it, or leave the last / out"))
        }
        There::Nothing | There::File => beside(),
    }
}

/// Whether a path means the contents of a directory: `dir/.`.
fn is_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.") || path.is_empty() || path == "/"
}

impl Cp {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if self.plan {
            out::line(format!("would copy {} to {}", self.source, self.target));
            return Ok(ExitCode::SUCCESS);
        }
        match (end(&self.source), end(&self.target)) {
            (End::There(name, path), End::Stream) => {
                let (_, path) = self.source_stat(context, &name, &path).await?;
                let found = context.instances().read_archive(&name, &self.container, &path).await?;
                out::not_for_a_terminal()?;
                to_stdout(found.archive).await?;
            }
            (End::There(name, path), End::Here(target)) => {
                self.fetch(context, &name, &path, &target).await?;
            }
            (End::Stream, End::There(name, path)) => {
                let stdin =
                    tokio_util::io::ReaderStream::with_capacity(tokio::io::stdin(), 1 << 18);
                let archive = stdin.map_err(|error| {
                    Error::unavailable("the archive cannot be read").caused_by(error)
                });
                self.put(context, &name, &path, archive.boxed()).await?;
            }
            (End::Here(source), End::There(name, path)) => {
                self.send(context, &source, &name, &path).await?;
            }
            _ => {
                return Err(Error::invalid("one of the two must be in an instance, not both")
                    .next("write INSTANCE:PATH for it, e.g. hull cp web:/etc/hosts ."));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// From an instance to this machine.
    async fn fetch(&self, context: &Context, name: &str, path: &str, target: &str) -> Result<()> {
        let (stat, path) = self.source_stat(context, name, path).await?;
        let from = From { path: &path, is_directory: is_directory(&stat) };
        let (target, there) = here(target)?;
        let landing = land(from, &target, there)?;
        if !landing.directory.is_dir() {
            return Err(Error::not_found(format!(
                "there is no directory {}",
                landing.directory.display()
            )));
        }
        let found = context.instances().read_archive(name, &self.container, &path).await?;
        let place =
            Place { directory: landing.directory, name: landing.name, owners: self.archive };
        let done = archive::unpack(found.archive, place).await?;
        if done.left_out > 0 {
            out::remark(format!("{} devices and the like were left out", done.left_out));
        }
        self.told(Bytes(done.bytes), &target);
        Ok(())
    }

    /// What is copied out of an instance, and its path; past links with `-L`.
    async fn source_stat(
        &self,
        context: &Context,
        name: &str,
        path: &str,
    ) -> Result<(PathStat, String)> {
        let rooted = rooted(path);
        if self.follow_link || path.ends_with('/') || is_contents(path) {
            let (stat, real) = self.resolved(context, name, &rooted).await?;
            let suffix = if is_contents(path) && !real.ends_with('/') { "/." } else { "" };
            return Ok((stat, format!("{real}{suffix}")));
        }
        let stat = context.instances().stat_path(name, &self.container, &rooted).await?;
        Ok((stat, rooted))
    }

    /// What is at a path inside, and its path, past symbolic links.
    async fn resolved(
        &self,
        context: &Context,
        name: &str,
        path: &str,
    ) -> Result<(PathStat, String)> {
        let mut path = match path.trim_end_matches("/.").trim_end_matches('/') {
            "" => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        };
        for _ in 0..MOST_LINKS {
            let stat = context.instances().stat_path(name, &self.container, &path).await?;
            if stat.link_target.is_empty() {
                return Ok((stat, path));
            }
            path = beyond(&path, &stat.link_target);
        }
        Err(Error::conflict(format!("{path}: too many symbolic links")))
    }

    /// From this machine to an instance.
    async fn send(&self, context: &Context, source: &str, name: &str, path: &str) -> Result<()> {
        let follow = self.follow_link || source.ends_with('/') || is_contents(source);
        let at = Path::new(source);
        let meta = if follow { at.metadata() } else { at.symlink_metadata() };
        let meta = meta.context(ErrorKind::NotFound, || format!("cannot read {source}"))?;
        if source.ends_with('/') && !meta.is_dir() {
            return Err(Error::invalid(format!("{source} is not a directory")));
        }
        let full = std::path::absolute(at)
            .context(ErrorKind::Invalid, || format!("{source:?} is not a path"))?;
        let mut named = full.display().to_string();
        if is_contents(source) && !named.ends_with("/.") {
            named.push_str("/.");
        }
        let (target, there) = self.target(context, name, path).await?;
        let landing = land(From { path: &named, is_directory: meta.is_dir() }, &target, there)?;
        let size = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = size.clone();
        let source = Source { path: full, name: landing.name, follow, owners: self.archive };
        let archive = archive::pack(source).inspect_ok(move |bytes| {
            let length = u64::try_from(bytes.len()).unwrap_or(0);
            counted.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
        });
        let directory = landing.directory.display().to_string();
        self.put(context, name, &directory, archive.boxed()).await?;
        let size = size.load(std::sync::atomic::Ordering::Relaxed);
        self.told(Bytes(size), &format!("{name}:{path}"));
        Ok(())
    }

    /// What is at the place in an instance that something is copied to, and the place's path.
    async fn target(&self, context: &Context, name: &str, path: &str) -> Result<(String, There)> {
        let rooted = rooted(path);
        match self.resolved(context, name, &rooted).await {
            Ok((stat, real)) if is_directory(&stat) => Ok((real, There::Directory)),
            Ok((_, real)) if rooted.ends_with('/') => Ok((format!("{real}/"), There::File)),
            Ok((_, real)) => Ok((real, There::File)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // It is the instance that may be missing, too.
                context.instances().get(name).await?;
                Ok((rooted, There::Nothing))
            }
            Err(error) => Err(error),
        }
    }

    async fn put(
        &self,
        context: &Context,
        name: &str,
        directory: &str,
        archive: link::ByteStream,
    ) -> Result<()> {
        let instances = context.instances();
        instances.write_archive(name, &self.container, &rooted(directory), true, archive).await
    }

    fn told(&self, size: Bytes, target: &str) {
        if !self.quiet && out::watched() {
            out::remark(format!("{size} copied to {target}"));
        }
    }
}

/// What is at the place of this machine that something is copied to, and the place's path past
/// symbolic links.
fn here(target: &str) -> Result<(String, There)> {
    let path = Path::new(target);
    let Ok(meta) = path.metadata() else { return Ok((target.to_owned(), There::Nothing)) };
    let real = path
        .canonicalize()
        .context(ErrorKind::Unavailable, || format!("cannot read {target}"))?
        .display()
        .to_string();
    if meta.is_dir() {
        return Ok((real, There::Directory));
    }
    if !meta.is_file() {
        return Err(Error::conflict(format!("{target} is a device or the like"))
            .next("copy to a file or a directory"));
    }
    let slash = if target.ends_with('/') { "/" } else { "" };
    Ok((format!("{real}{slash}"), There::File))
}

/// Whether it is a directory (inode(7)).
fn is_directory(stat: &PathStat) -> bool {
    stat.mode & 0o170_000 == 0o040_000
}

/// A path inside, from the root.
fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Where the link at `path` leads.
fn beyond(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{parent}/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let there = |name: &str, path: &str| End::There(name.into(), path.into());
        for (text, expected) in [
            ("-", End::Stream),
            ("a", End::Here("a".into())),
            ("web:/etc", there("web", "/etc")),
            ("web:", there("web", "")),
            ("./a:b", End::Here("./a:b".into())),
            ("/a:b", End::Here("/a:b".into())),
            ("a/b:c", End::Here("a/b:c".into())),
        ] {
            assert_eq!(end(text), expected, "{text}");
        }
    }

    #[test]
    fn a_copy_lands_where_dockers_does() {
        let dir = |path| From { path, is_directory: true };
        let file = |path| From { path, is_directory: false };
        let ok = |directory: &str, name: &str| {
            Some(Landing { directory: directory.into(), name: name.into() })
        };
        for (from, target, there, expected) in [
            (file("/a/f"), "/t", There::Nothing, ok("/", "t")),
            (file("/a/f"), "t", There::Nothing, ok(".", "t")),
            (file("/a/f"), "/t/", There::Nothing, None),
            (file("/a/f"), "/t", There::File, ok("/", "t")),
            (file("/a/f"), "/t/", There::File, None),
            (file("/a/f"), "/t", There::Directory, ok("/t", "f")),
            (dir("/a/d"), "/t", There::Nothing, ok("/", "t")),
            (dir("/a/d"), "/t/", There::Nothing, ok("/", "t")),
            (dir("/a/d/."), "/t", There::Nothing, ok("/", "t")),
            (dir("/a/d"), "/t", There::File, None),
            (dir("/a/d"), "/t", There::Directory, ok("/t", "d")),
            (dir("/a/d/"), "/t", There::Directory, ok("/t", "d")),
            (dir("/a/d/."), "/t", There::Directory, ok("/t", "")),
        ] {
            assert_eq!(land(from, target, there).ok(), expected, "{from:?} to {target}");
        }
    }

    #[test]
    fn links_lead_on() {
        assert_eq!(beyond("/a/b", "c"), "/a/c");
        assert_eq!(beyond("/a", "../c"), "/../c");
        assert_eq!(beyond("/a/b", "/c"), "/c");
    }
}
