//! Deleting compacted rows, a little at a time.
//!
//! Each row names the row it replaced. So the rows between two compactions are gone through once,
//! in order: what each replaced is deleted, and the row itself too when it is a deletion. The work
//! is that of the changes, not that of the store.

use rusqlite::{Connection, Row, params};

use super::schema::{self, Meta};

/// A row that is gone through.
struct Old {
    id: i64,
    is_deletion: bool,
    previous: Option<i64>,
}

/// Goes through up to `most` rows and notes in `meta` how far it came.
pub(super) fn sweep(db: &Connection, meta: &mut Meta, most: usize) -> rusqlite::Result<()> {
    let last = schema::last_id(meta.compacted);
    let rows = old_rows(db, meta.swept, last, most)?;
    let mut delete = db.prepare_cached("DELETE FROM history WHERE id = ?")?;
    for row in &rows {
        if let Some(previous) = row.previous {
            delete.execute([previous])?;
        }
        if row.is_deletion {
            delete.execute([row.id])?;
        }
    }
    meta.swept = match rows.last() {
        Some(row) if rows.len() == most => row.id,
        _ => last,
    };
    Ok(())
}

fn old_rows(db: &Connection, after: i64, last: i64, most: usize) -> rusqlite::Result<Vec<Old>> {
    let mut select = db.prepare_cached(
        "SELECT id, version, previous FROM history WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
    )?;
    let old = |row: &Row<'_>| {
        Ok(Old { id: row.get(0)?, is_deletion: row.get::<_, i64>(1)? == 0, previous: row.get(2)? })
    };
    select.query_map(params![after, last, i64::try_from(most).unwrap_or(i64::MAX)], old)?.collect()
}
