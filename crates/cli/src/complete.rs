//! Names of objects for the shell's completion. A cluster that does not answer at once has none.

use std::ffi::OsStr;
use std::future::Future;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use client::Objects;
use client::wire::ListQuery;
use model::{Noun, Result};

use crate::context::{Context, Global};

/// Longest wait for names; who presses a key waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Names of catalogs.
pub fn catalogs(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.catalogs()).await)
}

/// Names of templates.
pub fn templates(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| {
        let query = client::wire::TemplatesQuery::default();
        let list = context.client.templates(&context.project).list(&query).await?;
        Ok(list.items.into_iter().map(|template| template.name).collect())
    })
}

/// Names of instances.
pub fn instances(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.instances()).await)
}

/// Names of what prints: instances and services.
pub fn printing(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| {
        let mut all = names(&context.instances()).await?;
        all.extend(names(&context.client.services(&context.project)).await?);
        Ok(all)
    })
}

/// `NAME:` of instances; paths of this machine are left to the shell.
pub fn instance_paths(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| {
        let names = names(&context.instances()).await?;
        Ok(names.into_iter().map(|name| format!("{name}:")).collect())
    })
}

/// Names of networks.
pub fn networks(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.networks(&context.project)).await)
}

/// Names of services.
pub fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.services(&context.project)).await)
}

/// Names of apps.
pub fn apps(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.apps(&context.project)).await)
}

/// Names of secrets.
pub fn secrets(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.secrets(&context.project)).await)
}

/// Names of configs.
pub fn configs(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.configs(&context.project)).await)
}

/// Names of what can be explained.
pub fn explained(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| {
        let services = names(&context.client.services(&context.project)).await?;
        let mut all = services;
        let query = ListQuery { limit: Some(500), ..ListQuery::default() };
        let instances = context.instances().list_all(&query).await?;
        all.extend(instances.into_iter().map(|instance| instance.meta.name));
        all.extend(names(&context.client.volumes(&context.project)).await?);
        all.sort_unstable();
        all.dedup();
        Ok(all)
    })
}

/// Names of volumes.
pub fn volumes(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.volumes(&context.project)).await)
}

/// Names of snapshots.
pub fn snapshots(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.snapshots(&context.project)).await)
}

/// Names of nodes.
pub fn nodes(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.nodes()).await)
}

/// Names of projects.
pub fn projects(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.projects()).await)
}

/// Names of users.
pub fn users(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.users()).await)
}

/// Names of tokens.
pub fn tokens(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| names(&context.client.tokens()).await)
}

/// Names of images.
pub fn images(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, async |context: &Context| {
        let images = context.client.images().list().await?;
        let names = images.into_iter().flat_map(|image| image.names);
        Ok(names.map(|name| familiar(&name)).collect())
    })
}

fn familiar(name: &str) -> String {
    model::image::Reference::parse(name).map_or_else(|_| name.to_owned(), |name| name.familiar())
}

async fn names<N: Noun>(objects: &Objects<N>) -> Result<Vec<String>> {
    let page = objects.list(&ListQuery { limit: Some(500), ..ListQuery::default() }).await?;
    Ok(page.items.into_iter().map(|object| object.meta.name).collect())
}

/// Those of the names that begin with what was typed.
fn begun<F>(typed: &OsStr, ask: F) -> Vec<CompletionCandidate>
where
    F: AsyncFnOnce(&Context) -> Result<Vec<String>>,
{
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let names = ask_in_time(ask).unwrap_or_default();
    let fitting = names.into_iter().filter(|name| name.starts_with(typed));
    fitting.map(CompletionCandidate::new).collect()
}

fn ask_in_time<F>(ask: F) -> Option<Vec<String>>
where
    F: AsyncFnOnce(&Context) -> Result<Vec<String>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let asked = runtime.block_on(in_time(async {
        let context = Context::new(&Global::of_words(std::env::args())).ok()?;
        ask(&context).await.ok()
    }));
    runtime.shutdown_background();
    asked
}

async fn in_time<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, work).await.ok().flatten()
}
