//! What each revision of an app was made of, in records of its own: too much to be written again with
//! each change of the app's status, and read only when somebody goes back to it.

use bytes::Bytes;
use model::app::{App, AppObjects, Origin};
use model::data::Sealed;
use model::{Error, Result, Uid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::RangeRequest;

use crate::batch::Batch;
use crate::core::Core;
use crate::{failure, keys};

/// What is kept of a revision. Values of secrets and the files that were sent are sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    pub(crate) objects: AppObjects,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
    pub(crate) print: String,
    #[serde(skip, default = "nothing")]
    pub(crate) files: Sealed,
}

fn nothing() -> Sealed {
    Sealed { key: String::new(), text: model::data::Data::default() }
}

/// The place that the files of an app are sealed for.
pub(crate) fn files_of(app: &Uid) -> String {
    format!("app/{app}/files")
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data always encodes")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::internal("what was kept of an app cannot be read").caused_by(error))
}

/// Writes what the newest revision of an app is made of, and forgets the oldest ones. Returns the app
/// with those that are left.
pub(crate) fn put(app: &App, kept: Kept, batch: &mut Batch) -> App {
    let mut app = app.clone();
    let (id, number) = (app.meta.id.clone(), app.spec.revision);
    let (objects, files) = keys::app_revision(&id, number);
    let commit = std::mem::take(&mut batch.commit);
    batch.commit = commit
        .put(objects, Bytes::from(encode(&kept)))
        .put(files, Bytes::from(encode(&kept.files)));
    let mut spare = app.status.revisions.len().saturating_sub(app.spec.kept() + 1);
    let good = app.status.good;
    let mut dropped = Vec::new();
    app.status.revisions.retain(|revision| {
        let goes = spare > 0 && revision.number != number && Some(revision.number) != good;
        spare -= usize::from(goes);
        if goes {
            dropped.push(revision.number);
        }
        !goes
    });
    dropped.into_iter().for_each(|number| forget(&id, number, batch));
    app
}

/// Forgets what a revision was made of.
pub(crate) fn forget(app: &Uid, number: u64, batch: &mut Batch) {
    let (objects, files) = keys::app_revision(app, number);
    batch.commit = std::mem::take(&mut batch.commit).delete(objects).delete(files);
}

/// What a revision was made of.
///
/// # Errors
/// `NotFound` for one that is not kept.
pub(crate) async fn read(core: &Core, app: &App, number: u64) -> Result<Kept> {
    let missing = || {
        Error::not_found(format!("{} has no revision {number}", app.title()))
            .next(format!("hull app history {}", app.meta.name))
    };
    if !app.status.revisions.iter().any(|it| it.number == number) {
        return Err(missing());
    }
    let (objects, files) = keys::app_revision(&app.meta.id, number);
    let mut kept: Kept = decode(&record(core, objects).await?.ok_or_else(missing)?)?;
    kept.files = decode(&record(core, files).await?.ok_or_else(missing)?)?;
    Ok(kept)
}

async fn record(core: &Core, key: String) -> Result<Option<Bytes>> {
    let reply = core.store.range(RangeRequest::key(key)).await.map_err(failure::of_store)?;
    Ok(reply.records.into_iter().next().map(|record| record.value))
}
