//! The tables.
//!
//! `history` has a row for each put and each deletion, `live` points to the rows that are the
//! current state. A row's id is made of its revision and its position in the commit, so the order
//! of ids is the order of events and the revision needs no column or index of its own.

use rusqlite::{Connection, Row, named_params};

use crate::{Error, Result, Revision, limits};

/// "HULL": tells our files from other SQLite databases.
pub(super) const APPLICATION_ID: u32 = 0x4855_4C4C;

/// What makes each format of the file from the one before; the first makes it from nothing.
pub(super) const MIGRATIONS: &[&str] = &[FIRST, "ALTER TABLE meta ADD COLUMN boot TEXT"];

const FIRST: &str = "
    CREATE TABLE meta (
        one       INTEGER PRIMARY KEY CHECK (one = 1),
        revision  INTEGER NOT NULL, -- the current one
        compacted INTEGER NOT NULL, -- the oldest one whose state can be read
        swept     INTEGER NOT NULL, -- id up to which the compacted rows are deleted
        written   INTEGER NOT NULL  -- bytes of keys and values ever written
    ) STRICT;
    INSERT INTO meta VALUES (1, 1, 1, 0, 0);

    CREATE TABLE history (
        id       INTEGER PRIMARY KEY, -- revision * 1024 + position in the commit
        key      BLOB NOT NULL,
        created  INTEGER NOT NULL,    -- revision that made the key
        version  INTEGER NOT NULL,    -- puts since then; 0: this row is a deletion
        previous INTEGER,             -- id of the row this one replaced
        value    BLOB NOT NULL
    ) STRICT;
    CREATE INDEX history_key ON history (key);

    CREATE TABLE live (
        key     BLOB PRIMARY KEY,
        entry   INTEGER NOT NULL, -- id in history
        created INTEGER NOT NULL,
        version INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Where the store was at some times, to know how old a revision is.
    CREATE TABLE mark (
        revision INTEGER PRIMARY KEY,
        seconds  INTEGER NOT NULL, -- since 1970
        written  INTEGER NOT NULL  -- meta.written then
    ) STRICT;
";

/// The newest format of the file.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("there are few formats")
}

/// Revisions left out when some that were given out may be lost.
const LEFT_OUT: u64 = 1_000_000_000;

/// Bits of a row's id that are the position in the commit.
const POSITION_BITS: u32 = 10;
const _: () = assert!(limits::COMMIT_WRITES <= 1 << POSITION_BITS);

/// The id of the row for the write at `position` of the commit that made `revision`.
pub(super) fn id(revision: Revision, position: usize) -> i64 {
    (revision.0 << POSITION_BITS | position as u64).cast_signed()
}

/// The greatest id that a row of `revision` can have.
pub(super) fn last_id(revision: Revision) -> i64 {
    id(revision.next(), 0) - 1
}

/// The revision that made the row `id`.
pub(super) fn revision(id: i64) -> Revision {
    Revision(id.cast_unsigned() >> POSITION_BITS)
}

/// Where the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// The current revision.
    pub revision: Revision,
    /// The oldest revision whose state can be read.
    pub compacted: Revision,
    /// The id up to which compacted rows are deleted.
    pub swept: i64,
    /// Bytes of keys and values ever written.
    pub written: u64,
}

impl Meta {
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut select =
            db.prepare_cached("SELECT revision, compacted, swept, written FROM meta")?;
        select.query_one([], |row| {
            Ok(Self {
                revision: Revision(unsigned(row, 0)?),
                compacted: Revision(unsigned(row, 1)?),
                swept: row.get(2)?,
                written: unsigned(row, 3)?,
            })
        })
    }

    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        let Self { revision, compacted, swept, written } = *self;
        let mut update = db.prepare_cached(
            "UPDATE meta SET revision = :revision, compacted = :compacted, swept = :swept,
                 written = :written",
        )?;
        update.execute(named_params! {
            ":revision": revision.0.cast_signed(),
            ":compacted": compacted.0.cast_signed(),
            ":swept": swept,
            ":written": written.cast_signed(),
        })?;
        Ok(())
    }

    /// Goes on with a revision that no lost commit can have had, and compacts everything before it, so
    /// that whoever still holds a lost one starts anew. (`etcdutl snapshot restore --bump-revision`
    /// does the same, and its documentation advises the same number.)
    pub(super) fn leave_revisions_out(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.revision = Revision(self.revision.0 + LEFT_OUT);
        self.compacted = self.revision;
        self.save(db)?;
        db.execute("DELETE FROM mark", []).map(drop)
    }

    /// Whether the state at `revision` can be read, and everything after it.
    pub(super) fn readable(&self, revision: Revision) -> Result<()> {
        if revision > self.revision {
            return Err(Error::FutureRevision { asked: revision, current: self.revision });
        }
        // The state at 0 is that of the first revision: nothing was there.
        if revision.max(Revision::FIRST) < self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        Ok(())
    }

    /// Whether there are compacted rows to delete.
    pub(super) fn sweep_is_due(&self) -> bool {
        self.swept < last_id(self.compacted)
    }
}

/// A column that is never negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_revision_then_position() {
        assert!(id(Revision(7), 1023) < id(Revision(8), 0));
        assert_eq!(last_id(Revision(7)), id(Revision(7), 1023));
        assert_eq!(revision(id(Revision(7), 1023)), Revision(7));
        let far = Revision((1 << 53) - 1);
        assert_eq!(revision(id(far, 5)), far);
    }
}
