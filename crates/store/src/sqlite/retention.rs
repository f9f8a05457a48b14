//! Which history is old.
//!
//! Now and then a mark is set: what revision it was at what time, after how many bytes. When a new
//! mark is due, everything up to the newest mark beyond one of the bounds is old. There is no
//! timer: without commits there is no new history.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Clock, History, schema, schema::Meta};
use crate::Revision;

/// Marks within each bound; history is kept up to one part longer than asked.
const PARTS: u64 = 8;

/// Decides which history is old.
#[derive(Debug)]
pub(super) struct Retention {
    history: History,
    clock: Clock,
    last: Option<Mark>,
}

/// Where the store was at some time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    revision: Revision,
    /// Since 1970.
    seconds: i64,
    /// Bytes ever written.
    written: u64,
}

impl Retention {
    pub(super) fn load(history: History, clock: Clock, db: &Connection) -> rusqlite::Result<Self> {
        let newest = "SELECT revision, seconds, written FROM mark ORDER BY revision DESC LIMIT 1";
        let mark = db.query_one(newest, [], |row| {
            Ok(Mark {
                revision: Revision(schema::unsigned(row, 0)?),
                seconds: row.get(1)?,
                written: schema::unsigned(row, 2)?,
            })
        });
        Ok(Self { history, clock, last: mark.optional()? })
    }

    /// Inside a transaction that began at `before`: sets a mark there when one is due, and moves
    /// `meta.compacted` up to what is old. If the transaction fails the next mark comes a little
    /// late, which harms nothing.
    pub(super) fn apply(
        &mut self,
        db: &Connection,
        before: Meta,
        meta: &mut Meta,
    ) -> rusqlite::Result<()> {
        let Meta { revision, written, .. } = before;
        let now = Mark { revision, seconds: self.clock.seconds(), written };
        if !self.mark_is_due(now) {
            return Ok(());
        }
        self.last = Some(now);
        if let Some(old) = self.newest_old(db, now)? {
            meta.compacted = meta.compacted.max(old);
            db.execute("DELETE FROM mark WHERE revision <= ?", [old.0.cast_signed()])?;
        }
        set(db, now)
    }

    fn mark_is_due(&self, now: Mark) -> bool {
        let Some(last) = self.last else { return true };
        let History { keep_for, keep_revisions, keep_bytes } = &self.history;
        let part = i64::try_from(keep_for.as_secs() / PARTS).unwrap_or(i64::MAX);
        now.seconds < last.seconds
            || now.seconds - last.seconds >= part.max(1)
            || now.revision.0 - last.revision.0 >= (keep_revisions / PARTS).max(1)
            || now.written - last.written >= (keep_bytes / PARTS).max(1)
    }

    /// The newest mark beyond one of the bounds.
    fn newest_old(&self, db: &Connection, now: Mark) -> rusqlite::Result<Option<Revision>> {
        let History { keep_for, keep_revisions, keep_bytes } = &self.history;
        let keep_for = i64::try_from(keep_for.as_secs()).unwrap_or(i64::MAX);
        let beyond = params![
            now.seconds.saturating_sub(keep_for),
            now.revision.0.saturating_sub(*keep_revisions).cast_signed(),
            // A bound that nothing can be beyond must not match the marks at 0 bytes.
            i64::try_from(now.written).unwrap_or(i64::MAX)
                - i64::try_from(*keep_bytes).unwrap_or(i64::MAX),
        ];
        db.prepare_cached(
            "SELECT max(revision) FROM mark WHERE seconds <= ? OR revision <= ? OR written <= ?",
        )?
        .query_one(beyond, |row| row.get::<_, Option<i64>>(0))
        .map(|found| found.map(|revision| Revision(revision.cast_unsigned())))
    }
}

/// Writes a mark. A clock that was set back makes older marks as young as this one.
fn set(db: &Connection, mark: Mark) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE mark SET seconds = ?1 WHERE seconds > ?1")?
        .execute([mark.seconds])?;
    db.prepare_cached("INSERT OR REPLACE INTO mark (revision, seconds, written) VALUES (?, ?, ?)")?
        .execute(params![
            mark.revision.0.cast_signed(),
            mark.seconds,
            mark.written.cast_signed()
        ])?;
    Ok(())
}
