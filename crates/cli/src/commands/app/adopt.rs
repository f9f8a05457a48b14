//! `hull app adopt`: what a Docker client's Compose made becomes an app.
//!
//! Compose's containers become instances of services, which they are not: they are ended and removed, and
//! the app makes its own. Volumes, and what is in them, are taken over under their names. Volumes that
//! nobody gave a name belong to one container and end with it wherever apps change: they are left, and told.

use std::process::ExitCode;

use clap::Args;
use client::Objects;
use client::wire::{DeleteQuery, Goal, ListQuery, SettleQuery, StopRequest, UpRequest};
use futures::StreamExt;
use model::app::{APP, AppNoun, KEY};
use model::instance::{Instance, MountKind};
use model::{Error, ErrorKind, Noun, Object, Result, Span};
use serde_json::json;

use super::builds::{self, Building};
use super::files::{self, Reading};
use super::progress::{Ending, conclude};
use crate::context::Context;
use crate::{objects, out};

/// The label of a Docker client's Compose with its project.
const PROJECT: &str = "com.docker.compose.project";
/// Its files, as paths of the client's machine with commas between them.
const FILES: &str = "com.docker.compose.project.config_files";
/// What its files call a volume.
const VOLUME: &str = "com.docker.compose.volume";
/// How long an instance that was told to end is waited for.
const ENDING: u64 = 600;
/// How many end at one time.
const SIDE_BY_SIDE: usize = 16;

/// Makes an app of a project that a Docker client's Compose runs here. Its containers are ended and
/// replaced by those of the app; its volumes become the app's, with what is in them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull app adopt --plan shop\n  hull app adopt shop\n  hull app adopt -f compose.yaml shop"
)]
pub struct Adopt {
    /// A Compose file, merged onto those before it; those that Compose was started with when not given
    #[arg(short, long, value_name = "FILE")]
    file: Vec<String>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    ending: Ending,
    /// The project's name, which is the app's then
    name: String,
}

impl Adopt {
    pub(super) async fn run(self, context: &Context, apps: &Objects<AppNoun>) -> Result<ExitCode> {
        let query =
            ListQuery { labels: format!("{PROJECT}={}", self.name), ..ListQuery::default() };
        let instances = context.instances().list_all(&query).await?;
        let volumes = context.client.volumes(&context.project);
        let networks = context.client.networks(&context.project);
        let kept = volumes.list_all(&query).await?;
        let joined = networks.list_all(&query).await?;
        if instances.is_empty() && kept.is_empty() && joined.is_empty() {
            return Err(Error::not_found(format!(
                "no Docker client's Compose has made a project {:?} here",
                self.name
            ))
            .next("docker compose ls tells their names"));
        }
        let files = if self.file.is_empty() { known(&instances)? } else { self.file };
        let wanted = self.reading.wanted(files, None, Some(self.name.clone()))?;
        let packed = files::pack(&wanted, |name| std::env::var(name).ok())?;
        if self.ending.plan {
            told("remove", &instances);
            told("remove", &joined);
            told("take", &kept);
            let stay = left(context, &instances).await?;
            stay.iter().for_each(|it| out::line(format!("leave    volume   {it}")));
            out::line(format!("create   app      {}", self.name));
            return Ok(ExitCode::SUCCESS);
        }
        refuse_another(apps, &self.name).await?;
        let request = UpRequest { files: packed.files, ..UpRequest::default() };
        try_out(apps, &self.name, &request).await?;
        let stay = left(context, &instances).await?;
        for it in &stay {
            out::remark(format!("volume {it}"));
        }
        if !stay.is_empty() {
            out::remark(
                "to have one in the app, give it a name in the file (volumes: {data: {name: …, external: \
                 true}}); else hull volume rm",
            );
        }
        // What is not here is built while all goes on.
        let due = builds::due(context, &packed.builds, Building::default()).await?;
        builds::build(context, due).await?;
        end_all(context, &instances).await?;
        for network in &joined {
            let gone = networks.delete(&network.meta.name, DeleteQuery::default()).await?;
            objects::until_gone(&networks, &gone.meta.id).await?;
        }
        for volume in &kept {
            let key = volume.meta.labels.get(VOLUME).unwrap_or(&volume.meta.name);
            let labels = json!({ "meta": { "labels": { APP: self.name, KEY: key } } });
            volumes.patch(&volume.meta.name, &labels, None, false).await?;
        }
        let done = apps.up(&self.name, &request, false).await?;
        conclude(apps, done, self.ending).await
    }
}

/// Has the platform read the files, as an app of a name that nobody has: what is wrong with them is known
/// before anything ends. That things of theirs are there already is no fault: they are taken over.
async fn try_out(apps: &Objects<AppNoun>, name: &str, request: &UpRequest) -> Result<()> {
    let start: String = name.chars().take(40).collect();
    match apps.up(&format!("{start}-tried"), request, true).await {
        Err(error) if matches!(error.kind(), ErrorKind::Exists | ErrorKind::Conflict) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// The volumes of instances that nobody gave a name, and where they were: new instances do not have them.
async fn left(context: &Context, instances: &[Instance]) -> Result<Vec<String>> {
    let volumes = context.client.volumes(&context.project).list_all(&ListQuery::default()).await?;
    let unnamed = |name: &str| volumes.iter().any(|it| it.spec.anonymous && it.meta.name == name);
    let mut found = Vec::new();
    for instance in instances {
        let asked = instance.spec.all_containers().flat_map(|it| &it.mounts);
        let asked = asked.filter_map(|mount| match &mount.kind {
            MountKind::Volume { name, .. } => Some((name.as_str(), &mount.target)),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        });
        // Those that the image wants.
        let made = instance.status.containers.iter().flat_map(|it| &it.volumes);
        let made = made.map(|volume| (volume.name(), &volume.target));
        let owner = &instance.meta.name;
        found.extend(asked.chain(made).filter(|(name, _)| unnamed(name)).map(|(name, target)| {
            format!(
                "{name}: it has no name of its own, was at {target} of {owner}, and is unused then"
            )
        }));
    }
    Ok(found)
}

/// The files that Compose was started with, where they are on this machine.
fn known(instances: &[Instance]) -> Result<Vec<String>> {
    let written = instances.iter().find_map(|instance| instance.meta.labels.get(FILES));
    let files: Vec<String> = written
        .iter()
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    let there = |path: &String| std::path::Path::new(path).is_file();
    match !files.is_empty() && files.iter().all(there) {
        true => Ok(files),
        false => Err(Error::invalid("the files that Compose was started with are not here")
            .at("--file")
            .next("name them: hull app adopt -f compose.yaml NAME")),
    }
}

async fn refuse_another(apps: &Objects<AppNoun>, name: &str) -> Result<()> {
    match apps.get(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(app) => Err(Error::exists(format!("{} is there already", app.title()))
            .next(format!("hull app up --name {name}"))),
    }
}

/// Ends instances side by side, each in its own time. When one fails, the others have ended.
async fn end_all(context: &Context, instances: &[Instance]) -> Result<()> {
    let ends = instances.iter().map(|instance| end(context, instance));
    let ends = futures::stream::iter(ends).buffer_unordered(SIDE_BY_SIDE);
    let ended: Vec<Result<()>> = ends.collect().await;
    ended.into_iter().collect()
}

/// Ends an instance in its own time, and removes it.
async fn end(context: &Context, instance: &Instance) -> Result<()> {
    let instances = context.instances();
    let id = instance.meta.id.as_str();
    out::remark(format!("{}: ends", instance.meta.name));
    let settle = |goal| SettleQuery { goal, timeout: Some(Span::seconds(ENDING)) };
    match instances.stop(id, &StopRequest::default(), false).await {
        // One that does not run is as good.
        Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
        Err(_) => {}
        Ok(_) => drop(instances.settle(id, &settle(Goal::Stopped)).await?),
    }
    instances.delete(id, DeleteQuery { force: true, ..DeleteQuery::default() }).await?;
    match instances.settle(id, &settle(Goal::Removed)).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn told<N: Noun>(action: &str, all: &[Object<N>]) {
    for object in all {
        out::line(format!("{action:<8} {:<8} {}", N::KIND.as_str(), object.meta.name));
    }
}
