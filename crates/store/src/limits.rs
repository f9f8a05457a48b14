//! How big things may be, the same in every backend.
//!
//! An etcd that is run for this store needs `--max-txn-ops=1024` and `--max-request-bytes` of at
//! least [`COMMIT_BYTES`] and a little, for its own defaults are 128 and 1.5 MiB
//! (etcd "System limits", <https://etcd.io/docs/v3.6/dev-guide/limit/>).

use crate::{Commit, Error, Result};

/// Longest key, in bytes.
pub const KEY_BYTES: usize = 4096;

/// Biggest value, in bytes.
pub const VALUE_BYTES: usize = 2 << 20;

/// Most writes, and most expectations, of one commit.
pub const COMMIT_WRITES: usize = 1024;

/// Most bytes of keys and values of one commit.
pub const COMMIT_BYTES: usize = 8 << 20;

/// Whether `commit` keeps the limits.
pub(crate) fn check(commit: &Commit) -> Result<()> {
    at_most("writes of one commit", commit.writes.len(), COMMIT_WRITES)?;
    at_most("expectations of one commit", commit.expect.len(), COMMIT_WRITES)?;
    for expect in &commit.expect {
        check_key(&expect.key)?;
    }
    for write in &commit.writes {
        check_key(write.key())?;
        at_most("bytes of one value", write.weight() - write.key().len(), VALUE_BYTES)?;
    }
    let bytes = commit.writes.iter().map(crate::Write::weight).sum();
    at_most("bytes of one commit", bytes, COMMIT_BYTES)
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::Invalid { reason: "a key is empty".into() });
    }
    at_most("bytes of one key", key.len(), KEY_BYTES)
}

fn at_most(what: &str, found: usize, limit: usize) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::Invalid { reason: format!("{found} {what}, at most {limit} are taken") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expect;

    fn refused(commit: &Commit) -> String {
        match commit.validate() {
            Err(Error::Invalid { reason }) => reason,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn the_biggest_of_each_is_taken_and_one_more_is_not() {
        let key = |len: usize| "k".repeat(len);
        Commit::new().put(key(KEY_BYTES), vec![0; VALUE_BYTES]).validate().unwrap();
        let reason = refused(&Commit::new().put(key(KEY_BYTES + 1), ""));
        assert_eq!(reason, "4097 bytes of one key, at most 4096 are taken");
        refused(&Commit::new().put("k", vec![0; VALUE_BYTES + 1]));
        refused(&Commit::new().put("", ""));
        refused(&Commit::new().delete(""));
        refused(&Commit::new().expect(Expect::absent("")));
    }

    #[test]
    fn a_commit_has_a_size() {
        let many =
            |n: usize| (0..n).fold(Commit::new(), |commit, i| commit.put(i.to_string(), "v"));
        many(COMMIT_WRITES).validate().unwrap();
        refused(&many(COMMIT_WRITES + 1));
        let big = (0..4).fold(Commit::new(), |c, i| c.put(i.to_string(), vec![0; VALUE_BYTES]));
        refused(&big);
    }

    #[test]
    fn a_key_is_written_once() {
        let twice = Commit::new().put("a", "1").put("b", "").delete("a");
        assert!(matches!(twice.validate(), Err(Error::DuplicateKey { key }) if key == "a"));
    }
}
