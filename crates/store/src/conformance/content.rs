//! What keys and values may be.

use super::{
    Subject,
    probe::{keys, next, present, watch},
};
use crate::{Commit, RangeRequest, Result, Revision, Store, limits};

pub(super) async fn any_bytes_are_a_value(store: Subject) -> Result<()> {
    let all: Vec<u8> = (0..=255).collect();
    for value in [vec![], vec![0], b"\0\0".to_vec(), vec![0xff; 3], all] {
        store.commit(Commit::new().put("k", value.clone())).await?;
        assert_eq!(present(&*store, "k").await?.value, value);
    }
    Ok(())
}

pub(super) async fn big_values_come_back(store: Subject) -> Result<()> {
    let pattern = |seed: usize, len: usize| -> Vec<u8> {
        (0..len).map(|i| ((i * 31 + seed) % 251) as u8).collect()
    };
    let start = store.current().await?;
    let mut changes = watch(&*store, "", start).await?;
    let each = limits::COMMIT_BYTES / 4 - 16;
    let full = (0..4).fold(Commit::new(), |all, i| all.put(i.to_string(), pattern(i, each)));
    store.commit(full).await?;
    store.commit(Commit::new().put("0", pattern(9, limits::VALUE_BYTES))).await?;
    assert!(present(&*store, "0").await?.value == pattern(9, limits::VALUE_BYTES));
    for i in 1..4 {
        assert!(present(&*store, &i.to_string()).await?.value == pattern(i, each));
    }
    assert_eq!(next(&mut changes).await?.events.len(), 4);
    assert_eq!(next(&mut changes).await?.events.len(), 1);
    Ok(())
}

/// Keys that have tripped others up.
const ODD: &[&str] = &[
    " ",
    "\0",
    "\0\0",
    "\n",
    "\t",
    "'",
    "\"",
    "%",
    "_",
    "*",
    "?",
    "[a-z]",
    "\\",
    "/",
    "//",
    "../..",
    ".",
    "-",
    "NULL",
    "0",
    "00",
    "1e3",
    "\u{7f}",
    "\u{80}",
    "é",
    "e\u{301}",
    "ß",
    "SS",
    "I",
    "ı",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "😀",
    "\u{10ffff}",
    "\u{10ffff}\u{10ffff}",
];

pub(super) async fn any_text_is_a_key(store: Subject) -> Result<()> {
    let longest = "€".repeat(limits::KEY_BYTES / 3);
    let mut all: Vec<&str> = ODD.to_vec();
    all.push(&longest);
    for key in &all {
        store.commit(Commit::new().put(*key, (*key).to_owned())).await?;
    }
    for key in &all {
        let record = present(&*store, key).await?;
        assert_eq!((record.key.as_str(), record.version), (*key, 1));
        assert_eq!(record.value, *key);
    }
    all.sort_unstable();
    assert_eq!(keys(&*store, RangeRequest::all()).await?, all);
    for (i, key) in all.iter().enumerate() {
        assert_eq!(keys(&*store, RangeRequest::all().after(key)).await?, all[i + 1..]);
    }
    Ok(())
}

pub(super) async fn keys_that_look_alike_are_apart(store: Subject) -> Result<()> {
    let alike = ["é", "e\u{301}", "É", "a", "A", "a ", "a\0"];
    for (i, key) in alike.iter().enumerate() {
        store.commit(Commit::new().put(*key, i.to_string())).await?;
    }
    for (i, key) in alike.iter().enumerate() {
        assert_eq!(present(&*store, key).await?.value, i.to_string());
    }
    Ok(())
}

pub(super) async fn prefixes_end_at_character_bounds(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let groups = [
        ("a", vec!["a", "ab", "a\u{10ffff}"]),
        ("\u{7f}", vec!["\u{7f}", "\u{7f}x"]),
        ("\u{7ff}", vec!["\u{7ff}", "\u{7ff}z"]),
        ("\u{10ffff}", vec!["\u{10ffff}", "\u{10ffff}\u{10ffff}"]),
    ];
    for key in groups.iter().flat_map(|(_, keys)| keys) {
        store.commit(Commit::new().put(*key, "v")).await?;
    }
    for neighbour in ["b", "\u{80}", "\u{800}", "\u{10fffe}"] {
        store.commit(Commit::new().put(neighbour, "v")).await?;
    }
    for (prefix, expected) in groups {
        assert_eq!(keys(&*store, RangeRequest::prefix(prefix)).await?, *expected);
        let (watched, revisions) = watched(&*store, prefix, start, expected.len()).await?;
        assert_eq!(watched, expected);
        assert!(revisions.is_sorted());
    }
    Ok(())
}

/// The first keys that a watch of `prefix` delivers, and their revisions.
async fn watched(
    store: &dyn Store,
    prefix: &str,
    after: Revision,
    count: usize,
) -> Result<(Vec<String>, Vec<Revision>)> {
    let mut changes = watch(store, prefix, after).await?;
    let (mut keys, mut revisions) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let batch = next(&mut changes).await?;
        revisions.push(batch.revision);
        keys.extend(batch.events.iter().map(|event| event.key().to_owned()));
    }
    Ok((keys, revisions))
}
