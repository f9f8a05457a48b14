//! One commit, inside a transaction.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema;
use crate::{Error, Event, Expect, Record, Revision, Write};

/// A current record, without its value.
#[derive(Clone, Copy, Debug)]
struct Present {
    /// Its row in the history.
    entry: i64,
    created: Revision,
    version: u64,
}

/// The first expectation that does not hold, as the error to give.
pub(super) fn conflict(db: &Connection, expect: &[Expect]) -> rusqlite::Result<Option<Error>> {
    for Expect { key, expected } in expect {
        let found = present(db, key)?.map(|record| schema::revision(record.entry));
        if !expected.holds(found) {
            return Ok(Some(Error::Conflict { key: key.clone(), found }));
        }
    }
    Ok(None)
}

/// Makes the writes with the number `revision`. Returns what changed, in the order of the writes.
pub(super) fn write(
    db: &Connection,
    revision: Revision,
    writes: &[Write],
) -> rusqlite::Result<Vec<Event>> {
    let mut events = Vec::with_capacity(writes.len());
    for write in writes {
        let id = schema::id(revision, events.len());
        match write {
            Write::Put { key, value } => events.push(put(db, id, key, value)?),
            Write::Delete { key } => events.extend(delete(db, id, key)?),
        }
    }
    Ok(events)
}

fn put(db: &Connection, id: i64, key: &str, value: &Bytes) -> rusqlite::Result<Event> {
    let before = present(db, key)?;
    let prev = before.map(|record| record.read(db, key)).transpose()?;
    let modified = schema::revision(id);
    let record = Record {
        key: key.to_owned(),
        value: value.clone(),
        created: before.map_or(modified, |record| record.created),
        modified,
        version: before.map_or(1, |record| record.version + 1),
    };
    insert(db, id, &record, before)?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO live (key, entry, created, version) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![
        key.as_bytes(),
        id,
        record.created.0.cast_signed(),
        record.version.cast_signed()
    ])?;
    Ok(Event::Put { record, prev })
}

fn delete(db: &Connection, id: i64, key: &str) -> rusqlite::Result<Option<Event>> {
    let Some(before) = present(db, key)? else { return Ok(None) };
    let prev = before.read(db, key)?;
    let tombstone = Record {
        key: key.to_owned(),
        value: Bytes::new(),
        created: before.created,
        modified: schema::revision(id),
        version: 0,
    };
    insert(db, id, &tombstone, Some(before))?;
    db.prepare_cached("DELETE FROM live WHERE key = ?")?.execute([key.as_bytes()])?;
    Ok(Some(Event::Delete { key: tombstone.key, prev: Some(prev) }))
}

/// Adds a row to the history; version 0 is a deletion.
fn insert(
    db: &Connection,
    id: i64,
    record: &Record,
    before: Option<Present>,
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO history (id, key, created, version, previous, value)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    insert.execute(params![
        id,
        record.key.as_bytes(),
        record.created.0.cast_signed(),
        record.version.cast_signed(),
        before.map(|record| record.entry),
        record.value.as_ref(),
    ])?;
    Ok(())
}

fn present(db: &Connection, key: &str) -> rusqlite::Result<Option<Present>> {
    db.prepare_cached("SELECT entry, created, version FROM live WHERE key = ?")?
        .query_one([key.as_bytes()], Present::of_row)
        .optional()
}

impl Present {
    fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            entry: row.get(0)?,
            created: Revision(schema::unsigned(row, 1)?),
            version: schema::unsigned(row, 2)?,
        })
    }

    /// The whole record.
    fn read(self, db: &Connection, key: &str) -> rusqlite::Result<Record> {
        let value: Vec<u8> = db
            .prepare_cached("SELECT value FROM history WHERE id = ?")?
            .query_one([self.entry], |row| row.get(0))?;
        Ok(Record {
            key: key.to_owned(),
            value: value.into(),
            created: self.created,
            modified: schema::revision(self.entry),
            version: self.version,
        })
    }
}
