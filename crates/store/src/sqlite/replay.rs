//! Reading past changes from the file, for watches that the window no longer serves.

use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use super::{
    bounds::Bounds,
    query,
    schema::{self, Meta},
};
use crate::{Error, Event, Record, Revision, WatchBatch};

/// Bytes after which one reading stops, at the end of a revision.
const ENOUGH_BYTES: usize = 1 << 20;

/// Changes of a span of revisions.
#[derive(Debug)]
pub(super) struct Replay {
    /// What changed; may be empty.
    pub batches: Vec<WatchBatch>,
    /// There is nothing else up to this revision.
    pub through: Revision,
}

/// Reads the changes of keys with `prefix` after `after`; the inner error is that they are gone.
pub(super) fn replay(
    db: &Connection,
    prefix: &str,
    after: Revision,
) -> rusqlite::Result<Result<Replay, Error>> {
    let snapshot = db.unchecked_transaction()?;
    let meta = Meta::load(&snapshot)?;
    if let Err(error) = meta.readable(after) {
        return Ok(Err(error));
    }
    // Without the index, so that rows come in the order of ids without sorting them all first.
    let mut select = snapshot.prepare_cached(
        "SELECT now.id, now.key, now.created, now.version, now.value,
                before.id, before.created, before.version, before.value
         FROM history AS now NOT INDEXED LEFT JOIN history AS before ON before.id = now.previous
         WHERE now.id > ? AND now.key >= ? AND now.key < ? ORDER BY now.id",
    )?;
    let Bounds { from, to } = Bounds::prefix(prefix);
    let mut rows = select.query(params![schema::last_id(after), from, to])?;
    let mut batches: Vec<WatchBatch> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let revision = schema::revision(row.get(0)?);
        let same = batches.last().is_some_and(|batch| batch.revision == revision);
        if !same && bytes >= ENOUGH_BYTES {
            return Ok(Ok(Replay { batches, through: revision.previous() }));
        }
        let event = event(row)?;
        bytes += event.weight();
        match batches.last_mut().filter(|_| same) {
            Some(batch) => batch.events.push(event),
            None => batches.push(WatchBatch { revision, events: vec![event] }),
        }
    }
    Ok(Ok(Replay { batches, through: meta.revision }))
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let key = query::key(row, 1)?;
    let prev = record(row, &key, [5, 6, 7, 8])?;
    let now = record(row, &key, [0, 2, 3, 4])?;
    Ok(match now.filter(|record| record.version > 0) {
        Some(record) => Event::Put { record, prev },
        None => Event::Delete { key, prev },
    })
}

/// The record in the columns id, created, version and value; `None` when there is none.
fn record(row: &Row<'_>, key: &str, columns: [usize; 4]) -> rusqlite::Result<Option<Record>> {
    let [id, created, version, value] = columns;
    let Some(id) = row.get::<_, Option<i64>>(id)? else { return Ok(None) };
    let value: Vec<u8> = row.get(value)?;
    Ok(Some(Record {
        key: key.to_owned(),
        value: Bytes::from(value),
        created: Revision(schema::unsigned(row, created)?),
        modified: schema::revision(id),
        version: schema::unsigned(row, version)?,
    }))
}
