//! Reading a range.

use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use super::{
    bounds::Bounds,
    schema::{self, Meta},
};
use crate::{Error, RangeReply, RangeRequest, Record, Revision};

/// Reads a range of one state; the inner error is the caller's fault.
pub(super) fn range(
    db: &Connection,
    request: &RangeRequest,
) -> rusqlite::Result<Result<RangeReply, Error>> {
    let snapshot = db.unchecked_transaction()?;
    let meta = Meta::load(&snapshot)?;
    let revision = request.at.unwrap_or(meta.revision);
    if let Err(error) = meta.readable(revision) {
        return Ok(Err(error));
    }
    let mut page = Page::new(request);
    let bounds = Bounds::of(request);
    let (records, count) = if revision == meta.revision {
        current(&snapshot, &bounds, &mut page)?;
        (page.records, request.count.then(|| count_current(&snapshot, &bounds)).transpose()?)
    } else {
        let count = past(&snapshot, &bounds, revision, &mut page, request.count)?;
        (page.records, request.count.then_some(count))
    };
    Ok(Ok(RangeReply { records, more: page.more, revision, count }))
}

/// Records up to the limit.
struct Page {
    records: Vec<Record>,
    limit: usize,
    keys_only: bool,
    /// Whether there was one too many.
    more: bool,
}

impl Page {
    fn new(request: &RangeRequest) -> Self {
        let limit = request.limit.unwrap_or(usize::MAX);
        Self { records: Vec::new(), limit, keys_only: request.keys_only, more: false }
    }

    /// Takes the next record, or notes that it was left out.
    fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        if self.records.len() == self.limit {
            self.more = true;
        } else {
            self.records.push(record(row)?);
        }
        Ok(())
    }
}

/// A record of the columns key, id, created, version and, if not left out, value.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let value: Option<Vec<u8>> = row.get(4)?;
    Ok(Record {
        key: key(row, 0)?,
        modified: schema::revision(row.get(1)?),
        created: Revision(schema::unsigned(row, 2)?),
        version: schema::unsigned(row, 3)?,
        value: value.map_or_else(Bytes::new, Bytes::from),
    })
}

/// A column that holds a key.
pub(super) fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    String::from_utf8(row.get(column)?).map_err(|error| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
    })
}

/// Reads the current state, until the page is full.
fn current(db: &Connection, bounds: &Bounds, page: &mut Page) -> rusqlite::Result<()> {
    let mut select = db.prepare_cached(if page.keys_only {
        "SELECT key, entry, created, version, NULL FROM live
         WHERE key >= ? AND key < ? ORDER BY key"
    } else {
        "SELECT live.key, entry, live.created, live.version, value
         FROM live JOIN history ON history.id = live.entry
         WHERE live.key >= ? AND live.key < ? ORDER BY live.key"
    })?;
    let mut rows = select.query([&bounds.from, &bounds.to])?;
    while !page.more {
        let Some(row) = rows.next()? else { break };
        page.take(row)?;
    }
    Ok(())
}

fn count_current(db: &Connection, bounds: &Bounds) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM live WHERE key >= ? AND key < ?")?
        .query_one([&bounds.from, &bounds.to], |row| schema::unsigned(row, 0))
}

/// Reads the state at `revision`, until the page is full, or to the end when `count` is asked for.
/// Returns how many records were seen.
fn past(
    db: &Connection,
    bounds: &Bounds,
    revision: Revision,
    page: &mut Page,
    count: bool,
) -> rusqlite::Result<u64> {
    // The index holds key and id in this order, so this reads nothing but the index.
    let mut newest = db.prepare_cached(
        "SELECT max(id) FROM history INDEXED BY history_key
         WHERE key >= ? AND key < ? AND id <= ? GROUP BY key ORDER BY key",
    )?;
    let mut entry = db.prepare_cached(if page.keys_only {
        "SELECT key, id, created, version, NULL FROM history WHERE id = ?"
    } else {
        "SELECT key, id, created, version, value FROM history WHERE id = ?"
    })?;
    let mut ids = newest.query(params![bounds.from, bounds.to, schema::last_id(revision)])?;
    let mut seen = 0;
    while count || !page.more {
        let Some(row) = ids.next()? else { break };
        let mut rows = entry.query([row.get::<_, i64>(0)?])?;
        let found = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        if schema::unsigned(found, 3)? > 0 {
            page.take(found)?;
            seen += 1;
        }
    }
    Ok(seen)
}
