//! Commits and their expectations.

use super::{
    Subject,
    probe::{conflict, delete, next, present, put, watch},
};
use crate::{Commit, Error, Expect, RangeRequest, Record, Result, Revision, limits};

pub(super) async fn an_empty_store_has_a_revision(store: Subject) -> Result<()> {
    assert!(store.current().await? >= Revision::FIRST);
    Ok(())
}

pub(super) async fn puts_create_and_replace(store: Subject) -> Result<()> {
    let first = put(&*store, "k", "one").await?;
    let expected = Record {
        key: "k".into(),
        value: "one".into(),
        created: first,
        modified: first,
        version: 1,
    };
    assert_eq!(present(&*store, "k").await?, expected);
    let second = put(&*store, "k", "two").await?;
    let expected = Record { value: "two".into(), modified: second, version: 2, ..expected };
    assert_eq!(present(&*store, "k").await?, expected);
    Ok(())
}

pub(super) async fn each_commit_has_a_greater_revision(store: Subject) -> Result<()> {
    let mut last = store.current().await?;
    for i in 0..20 {
        let revision = put(&*store, &format!("k{}", i % 3), "v").await?;
        assert!(revision > last);
        assert_eq!(store.current().await?, revision);
        last = revision;
    }
    Ok(())
}

pub(super) async fn deleting_and_creating_again_starts_anew(store: Subject) -> Result<()> {
    put(&*store, "k", "1").await?;
    let old = put(&*store, "k", "2").await?;
    let gone = delete(&*store, "k").await?;
    assert!(gone > old);
    assert_eq!(store.get("k").await?, None);
    let again = put(&*store, "k", "3").await?;
    let record = present(&*store, "k").await?;
    assert_eq!((record.created, record.modified, record.version), (again, again, 1));
    Ok(())
}

pub(super) async fn deleting_what_is_not_there_changes_nothing(store: Subject) -> Result<()> {
    let before = put(&*store, "k", "v").await?;
    assert_eq!(delete(&*store, "other").await?, before);
    assert_eq!(store.current().await?, before);
    let mixed = store.commit(Commit::new().delete("other").put("k", "w")).await?;
    assert!(mixed > before);
    assert_eq!(store.range(RangeRequest::all()).await?.records.len(), 1);
    Ok(())
}

pub(super) async fn an_empty_commit_only_checks(store: Subject) -> Result<()> {
    let before = put(&*store, "k", "v").await?;
    assert_eq!(store.commit(Commit::new()).await?, before);
    assert_eq!(store.commit(Commit::new().expect(Expect::exists("k"))).await?, before);
    let check = Commit::new().expect(Expect::absent("k"));
    assert_eq!(conflict(store.commit(check).await), ("k".into(), Some(before)));
    assert_eq!(store.current().await?, before);
    Ok(())
}

pub(super) async fn the_same_value_again_is_a_change(store: Subject) -> Result<()> {
    let first = put(&*store, "k", "v").await?;
    let second = put(&*store, "k", "v").await?;
    assert!(second > first);
    assert_eq!(present(&*store, "k").await?.version, 2);
    Ok(())
}

pub(super) async fn many_keys_have_one_revision(store: Subject) -> Result<()> {
    put(&*store, "old", "v").await?;
    let all = (0..100).fold(Commit::new(), |commit, i| commit.put(format!("k/{i:03}"), "v"));
    let revision = store.commit(all.delete("old")).await?;
    let records = store.range(RangeRequest::all()).await?.records;
    assert_eq!(records.len(), 100);
    for record in records {
        assert_eq!((record.created, record.modified, record.version), (revision, revision, 1));
    }
    Ok(())
}

pub(super) async fn expectations_hold_or_conflict(store: Subject) -> Result<()> {
    let old = put(&*store, "there", "1").await?;
    let now = put(&*store, "there", "2").await?;
    let holding =
        [Expect::absent("missing"), Expect::exists("there"), Expect::modified_at("there", now)];
    for expect in holding {
        let commit = Commit::new().expect(expect.clone()).put("other", "v");
        store.commit(commit).await.unwrap_or_else(|error| panic!("{expect:?}: {error:?}"));
    }
    let failing = [
        (Expect::absent("there"), Some(now)),
        (Expect::modified_at("there", old), Some(now)),
        (Expect::modified_at("there", now.next()), Some(now)),
        (Expect::modified_at("there", Revision::ZERO), Some(now)),
        (Expect::exists("missing"), None),
        (Expect::modified_at("missing", now), None),
        (Expect::modified_at("missing", Revision::ZERO), None),
    ];
    for (expect, found) in failing {
        let key = expect.key.clone();
        let commit = Commit::new().expect(expect).put("other", "v");
        assert_eq!(conflict(store.commit(commit).await), (key, found));
    }
    Ok(())
}

pub(super) async fn the_first_conflict_is_told(store: Subject) -> Result<()> {
    let at = put(&*store, "a", "v").await?;
    let commit = Commit::new()
        .expect(Expect::exists("a"))
        .expect(Expect::modified_at("a", at))
        .expect(Expect::exists("b"))
        .expect(Expect::absent("a"))
        .put("a", "w");
    assert_eq!(conflict(store.commit(commit).await), ("b".into(), None));
    Ok(())
}

pub(super) async fn a_failed_commit_changes_nothing(store: Subject) -> Result<()> {
    put(&*store, "a", "1").await?;
    let before = put(&*store, "b", "1").await?;
    let mut changes = watch(&*store, "", before).await?;
    let commit = Commit::new().put("a", "2").delete("b").put("c", "2").expect(Expect::exists("d"));
    conflict(store.commit(commit).await);
    assert_eq!(store.current().await?, before);
    let reply = store.range(RangeRequest::all()).await?;
    assert_eq!(reply.revision, before);
    assert_eq!(reply.records.len(), 2);
    assert!(reply.records.iter().all(|record| record.value == "1"));
    let after = put(&*store, "e", "v").await?;
    assert_eq!(next(&mut changes).await?.revision, after);
    Ok(())
}

pub(super) async fn a_deleted_key_is_absent_to_expectations(store: Subject) -> Result<()> {
    let there = put(&*store, "k", "v").await?;
    let gone = delete(&*store, "k").await?;
    for revision in [there, gone] {
        let commit = Commit::new().expect(Expect::modified_at("k", revision)).put("k", "w");
        assert_eq!(conflict(store.commit(commit).await), ("k".into(), None));
    }
    store.commit(Commit::new().expect(Expect::absent("k")).put("k", "w")).await?;
    Ok(())
}

pub(super) async fn keys_are_written_once_in_a_commit(store: Subject) -> Result<()> {
    let before = store.current().await?;
    let put_twice = Commit::new().put("k", "1").put("l", "").put("k", "2");
    let put_and_delete = Commit::new().put("k", "1").delete("k");
    let delete_twice = Commit::new().delete("k").delete("k");
    for commit in [put_twice, put_and_delete, delete_twice] {
        match store.commit(commit).await {
            Err(Error::DuplicateKey { key }) => assert_eq!(key, "k"),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
    assert_eq!(store.current().await?, before);
    Ok(())
}

pub(super) async fn what_is_too_big_is_refused(store: Subject) -> Result<()> {
    let many = |count: usize| {
        (0..count).fold(Commit::new(), |commit, i| commit.put(format!("k{i:04}"), ""))
    };
    let refused = [
        Commit::new().put("", "v"),
        Commit::new().put("k".repeat(limits::KEY_BYTES + 1), "v"),
        Commit::new().put("k", vec![0; limits::VALUE_BYTES + 1]),
        many(limits::COMMIT_WRITES + 1),
    ];
    for commit in refused {
        let result = store.commit(commit).await;
        assert!(matches!(result, Err(Error::Invalid { .. })), "got {result:?}");
    }
    store.commit(many(limits::COMMIT_WRITES)).await?;
    assert_eq!(store.range(RangeRequest::all()).await?.records.len(), limits::COMMIT_WRITES);
    Ok(())
}

pub(super) async fn deferred_commits_are_as_others(store: Subject) -> Result<()> {
    let first = put(&*store, "k", "one").await?;
    let deferred = || Commit::new().expect(Expect::modified_at("k", first)).deferred();
    let second = store.commit(deferred().put("k", "two")).await?;
    assert!(second > first);
    assert_eq!(present(&*store, "k").await?.value, "two");
    assert_eq!(conflict(store.commit(deferred().delete("k")).await), ("k".into(), Some(second)));
    let third = store.commit(Commit::new().delete("k").deferred()).await?;
    let mut changes = watch(&*store, "", first).await?;
    assert_eq!(next(&mut changes).await?.revision, second);
    assert_eq!(next(&mut changes).await?.revision, third);
    Ok(())
}
