//! `hull image build`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use client::wire::BuildQuery;
use futures::StreamExt;
use link::ByteStream;
use link::image::Progress;
use model::error::Context as _;
use model::image::Image;
use model::{Error, ErrorKind, Result};

use super::handed::Handed;
use super::{archive, cut_short, familiar, remembered, take};
use crate::archive::context::{self, Dockerfile, Ground, Sent};
use crate::context::Context;
use crate::{out, parse};

/// Builds an image.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull image build -t shop .\n  hull image build -t shop -f docker/Dockerfile --target release .\n  hull image build -t shop --build-arg VERSION=1.2 --no-cache .\n  hull image build -t shop --secret id=npm,src=$HOME/.npmrc --secret id=key,secret=deploy-key .\n  hull image build -t shop https://example.org/shop.git#main:web\n  tar -c . | hull image build -t shop -"
)]
pub struct Build {
    /// A name it gets; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// The Dockerfile; Dockerfile in the context when not given, - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// A value for an ARG of the Dockerfile; that of the environment when none is given
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Build up to this stage
    #[arg(long, default_value = "", value_name = "STAGE")]
    target: String,
    /// What steps are handed that ask for it (RUN --mount=type=secret,id=ID), in memory: a file, a variable of
    /// the environment, or one of the project's secrets; the variable ID, or the file ID, when only that is given
    #[arg(long = "secret", value_name = "id=ID[,src=FILE|,env=NAME|,secret=NAME]")]
    secrets: Vec<String>,
    /// A label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Take no step from the cache
    #[arg(long)]
    no_cache: bool,
    /// Ask registries for newer base images
    #[arg(long)]
    pull: bool,
    /// For another platform, where the node can: linux/arm64
    #[arg(long, default_value = "", value_name = "PLATFORM")]
    platform: String,
    /// What its steps reach: host, none, or what instances do when not given
    #[arg(long, default_value = "", value_name = "NETWORK")]
    network: String,
    /// Say only the image's id, and what the builder said when it fails
    #[arg(short, long)]
    quiet: bool,
    /// The directory with what is built, a git repository's or an archive's address, or - for a tar archive
    path: String,
}

impl Build {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<()> {
        let mut query = BuildQuery {
            names: self.tags.join(","),
            target: self.target.clone(),
            arguments: object(&arguments(&self.build_arg)?)?,
            labels: object(&parse::env::labels(&[], &self.label)?)?,
            platform: self.platform.clone(),
            no_cache: self.no_cache,
            pull: self.pull,
            network: self.network.clone(),
            ..BuildQuery::default()
        };
        let handed = Handed::read(&self.secrets)?;
        let archive = handed.before(self.archive(&mut query).await?, &mut query, context)?;
        let image = build(context, &query, archive, self.quiet).await?;
        match image.names.as_slice() {
            names if !names.is_empty() && !self.quiet => {
                self.tags.iter().for_each(|name| out::line(familiar(name)));
            }
            _ => out::line(&image.id),
        }
        Ok(())
    }

    /// What is sent.
    async fn archive(&self, query: &mut BuildQuery) -> Result<ByteStream> {
        let path = self.path.as_str();
        if path == "-" || path.contains("://") {
            query.dockerfile = self.file.clone().unwrap_or_default();
            if query.dockerfile == "-" {
                return Err(Error::invalid("a Dockerfile of one's own needs a directory")
                    .at("--file")
                    .next("name a file of the context"));
            }
            if path == "-" {
                return archive(path).await;
            }
            path.clone_into(&mut query.remote);
            return Ok(empty());
        }
        let root = PathBuf::from(path);
        if !root.is_dir() {
            return Err(Error::not_found(format!("{path} is no directory"))
                .next("name the directory that the Dockerfile copies from"));
        }
        let dockerfile = dockerfile(&root, self.file.as_deref())?;
        let sent = Ground::Disk(root).send(&dockerfile)?;
        query.dockerfile.clone_from(&sent.dockerfile);
        Ok(Sent::archive(sent))
    }
}

/// The Dockerfile that is named: a file of the context, or one from elsewhere that is sent with it.
fn dockerfile(root: &Path, named: Option<&str>) -> Result<Dockerfile> {
    let Some(named) = named else { return Ok(Dockerfile::Inside(String::new())) };
    if named == "-" {
        let text = std::io::read_to_string(std::io::stdin());
        let text = text.context(ErrorKind::Invalid, || "standard input cannot be read".into())?;
        return Ok(Dockerfile::Text(text));
    }
    let plain = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let file = Path::new(named);
    if let Ok(inside) = plain(file).strip_prefix(plain(root))
        && let Some(inside) = inside.to_str()
    {
        return Ok(Dockerfile::Inside(inside.to_owned()));
    }
    let absent = || Error::not_found(format!("there is no file {named:?}")).at("--file");
    context::text(file)?.map(Dockerfile::Text).ok_or_else(absent)
}

/// Values; one without `=` is the environment's, and left out where there is none.
fn arguments(words: &[String]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), std::env::var(word).ok()),
        };
        if name.is_empty() {
            return Err(Error::invalid(format!("{word:?} names no argument"))
                .at("--build-arg")
                .next("write it like VERSION=1.2"));
        }
        found.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(found)
}

/// Texts as the API wants them; nothing for none.
///
/// # Errors
/// None in practice.
pub fn object(texts: &BTreeMap<String, String>) -> Result<String> {
    if texts.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(texts)
        .map_err(|error| Error::internal("values that cannot be written").caused_by(error))
}

/// An archive with nothing in it.
pub fn empty() -> ByteStream {
    futures::stream::once(async { Ok(bytes::Bytes::from_static(&[0; 1024])) }).boxed()
}

/// Builds, and tells what the builder says; when that is not wanted, only of a build that fails.
///
/// # Errors
/// Why it failed; what is wrong with what is sent before what came of it.
pub async fn build(
    context: &Context,
    query: &BuildQuery,
    archive: ByteStream,
    quiet: bool,
) -> Result<Image> {
    let (archive, fault) = remembered(archive);
    let built = async {
        let mut progress = context.client.images().build(query, archive).await?;
        let mut held = Vec::new();
        while let Some(step) = progress.next().await {
            match step {
                Ok(Progress::Message { text }) if quiet => held.push(text),
                Ok(Progress::Message { text }) => out::remark(text),
                Ok(Progress::Done { images, .. }) => {
                    return images.into_iter().next().ok_or_else(cut_short);
                }
                Ok(Progress::Layer { .. } | Progress::Pushed { .. }) => {}
                Err(error) => {
                    held.iter().for_each(out::remark);
                    return Err(error);
                }
            }
        }
        Err(cut_short())
    };
    built.await.map_err(|error| take(&fault).unwrap_or(error))
}
