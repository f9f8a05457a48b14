//! Reading ranges, now and in the past.

use super::{
    Subject,
    probe::{delete, in_the_future, keys, put, state},
};
use crate::{Commit, RangeReply, RangeRequest, Result, Store};

/// Puts keys, each with its own name as the value.
async fn put_all(store: &dyn Store, keys: &[&str]) -> Result<()> {
    let commit = keys.iter().fold(Commit::new(), |all, key| all.put(*key, (*key).to_owned()));
    store.commit(commit).await.map(drop)
}

pub(super) async fn an_empty_store_has_no_records(store: Subject) -> Result<()> {
    let revision = store.current().await?;
    let expected = RangeReply { records: vec![], more: false, revision, count: Some(0) };
    assert_eq!(store.range(RangeRequest::all().count()).await?, expected);
    assert_eq!(store.get("k").await?, None);
    Ok(())
}

pub(super) async fn records_are_ordered_by_bytes(store: Subject) -> Result<()> {
    put_all(&*store, &["b", "a", "B", "a/2", "a/10", "é", "z", "a0", "日"]).await?;
    let expected = ["B", "a", "a/10", "a/2", "a0", "b", "z", "é", "日"];
    assert_eq!(keys(&*store, RangeRequest::all()).await?, expected);
    Ok(())
}

pub(super) async fn prefix_start_and_end_bound_together(store: Subject) -> Result<()> {
    put_all(&*store, &["a", "a/", "a/1", "a/2", "a/3", "a0", "b/1"]).await?;
    let cases: [(&str, &str, Option<&str>, &[&str]); 9] = [
        ("a/", "", None, &["a/", "a/1", "a/2", "a/3"]),
        ("a/", "a/2", None, &["a/2", "a/3"]),
        ("a/", "", Some("a/2"), &["a/", "a/1"]),
        ("a/", "a/1", Some("a/3"), &["a/1", "a/2"]),
        ("a/", "a/2", Some("a/2"), &[]),
        ("a/", "z", None, &[]),
        ("", "a/3", None, &["a/3", "a0", "b/1"]),
        ("", "", Some("a/1"), &["a", "a/"]),
        ("c", "", None, &[]),
    ];
    let now = store.current().await?;
    put_all(&*store, &["z"]).await?;
    for (prefix, start, end, expected) in cases {
        let request = RangeRequest {
            prefix: prefix.into(),
            start: start.into(),
            end: Some(end.unwrap_or("y").into()),
            ..RangeRequest::default()
        };
        assert_eq!(keys(&*store, request.clone()).await?, expected, "{request:?}");
        assert_eq!(keys(&*store, request.clone().at(now)).await?, expected, "{request:?} at {now}");
    }
    Ok(())
}

pub(super) async fn one_key_is_not_its_extensions(store: Subject) -> Result<()> {
    put_all(&*store, &["k", "k\0", "k\0\0", "k/", "ka"]).await?;
    assert_eq!(keys(&*store, RangeRequest::key("k")).await?, ["k"]);
    assert_eq!(keys(&*store, RangeRequest::key("k\0")).await?, ["k\0"]);
    assert_eq!(store.get("k0").await?, None);
    Ok(())
}

pub(super) async fn limits_tell_of_more(store: Subject) -> Result<()> {
    put_all(&*store, &["a", "b", "c"]).await?;
    let before = store.current().await?;
    delete(&*store, "c").await?;
    put_all(&*store, &["c"]).await?;
    for at in [None, Some(before)] {
        for (limit, expected, more) in
            [(0, 0, true), (1, 1, true), (2, 2, true), (3, 3, false), (9, 3, false)]
        {
            let request = RangeRequest { at, ..RangeRequest::all().limit(limit) };
            let reply = store.range(request).await?;
            assert_eq!((reply.records.len(), reply.more), (expected, more), "{limit} at {at:?}");
            assert_eq!(reply.count, None);
        }
    }
    Ok(())
}

pub(super) async fn pages_of_one_revision_are_of_one_state(store: Subject) -> Result<()> {
    let names: Vec<String> = (0..25).map(|i| format!("p/{i:02}")).collect();
    put_all(&*store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut request = RangeRequest::prefix("p/").limit(10);
    let mut seen = Vec::new();
    loop {
        let reply = store.range(request.clone()).await?;
        let last = reply.records.last().map(|record| record.key.clone()).unwrap_or_default();
        seen.extend(reply.records.into_iter().map(|record| record.key));
        if !reply.more {
            break;
        }
        request = request.after(&last).at(reply.revision);
        // What happens between the pages does not show in them.
        delete(&*store, "p/24").await?;
        put(&*store, &format!("p/19-{last}"), "new").await?;
    }
    assert_eq!(seen, names);
    Ok(())
}

pub(super) async fn counts_ignore_the_limit(store: Subject) -> Result<()> {
    put_all(&*store, &["a/1", "a/2", "a/3", "b"]).await?;
    let before = store.current().await?;
    delete(&*store, "a/3").await?;
    let count = async |request: RangeRequest| Ok(store.range(request.count()).await?.count);
    assert_eq!(count(RangeRequest::prefix("a/")).await?, Some(2));
    assert_eq!(count(RangeRequest::prefix("a/").limit(1)).await?, Some(2));
    assert_eq!(count(RangeRequest::prefix("a/").limit(0)).await?, Some(2));
    assert_eq!(count(RangeRequest::prefix("a/").limit(1).at(before)).await?, Some(3));
    assert_eq!(count(RangeRequest::all().at(before)).await?, Some(4));
    assert_eq!(count(RangeRequest::prefix("c")).await?, Some(0));
    Ok(())
}

pub(super) async fn keys_can_come_without_values(store: Subject) -> Result<()> {
    put(&*store, "k", "old").await?;
    let before = put(&*store, "k", "value").await?;
    for request in [RangeRequest::all(), RangeRequest::all().at(before)] {
        let full = store.range(request.clone()).await?.records.remove(0);
        let bare = store.range(request.keys_only()).await?.records.remove(0);
        assert_eq!(full.value, "value");
        assert!(bare.value.is_empty());
        assert_eq!((bare.key, bare.created), (full.key, full.created));
        assert_eq!((bare.modified, bare.version), (full.modified, full.version));
        put(&*store, "other", "").await?;
    }
    Ok(())
}

pub(super) async fn each_past_state_can_be_read(store: Subject) -> Result<()> {
    let mut states = vec![(store.current().await?, Vec::new())];
    for i in 0..40_u32 {
        let key = format!("k{}", i % 4);
        let revision = match i % 7 {
            3 => delete(&*store, &key).await?,
            _ => put(&*store, &key, &i.to_string()).await?,
        };
        states.push((revision, state(&*store, revision).await?));
    }
    for (revision, expected) in states {
        assert_eq!(state(&*store, revision).await?, expected, "at {revision}");
    }
    Ok(())
}

pub(super) async fn the_future_cannot_be_read(store: Subject) -> Result<()> {
    let now = put(&*store, "k", "v").await?;
    in_the_future(store.range(RangeRequest::all().at(now.next())).await);
    in_the_future(store.range(RangeRequest::all().at(crate::Revision(u64::MAX >> 1))).await);
    assert_eq!(state(&*store, now).await?, ["k=v"]);
    Ok(())
}

pub(super) async fn reads_see_what_was_acknowledged(store: Subject) -> Result<()> {
    for i in 0..100 {
        let value = i.to_string();
        let revision = put(&*store, "k", &value).await?;
        let reply = store.range(RangeRequest::key("k")).await?;
        assert_eq!(reply.revision, revision);
        assert_eq!(reply.records[0].value, value);
    }
    Ok(())
}
