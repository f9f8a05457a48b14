//! Reading: get, list, watch.

use control::{ChangeKind, ListOptions, Mode};
use futures::StreamExt;
use model::ErrorKind;
use model::selector::Selector;

use crate::support::*;

fn select(labels: &str, fields: &str) -> ListOptions {
    ListOptions {
        labels: Selector::parse(labels).unwrap(),
        fields: Selector::parse(fields).unwrap(),
        ..ListOptions::default()
    }
}

async fn labelled(rig: &Rig, name: &str, tier: &str) {
    let mut new = named(name, stopped("a"));
    new.labels.insert("tier".into(), tier.into());
    rig.control.instances().create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
}

fn names(rig: &Rig, options: &ListOptions) -> Vec<String> {
    let list = rig.control.instances().list(caller(), Some(PROJECT), options).unwrap();
    list.items.iter().map(|it| it.meta.name.clone()).collect()
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let rig = Rig::silent().await;
    for (name, tier) in [("c", "front"), ("a", "front"), ("b", "back"), ("d", "front")] {
        labelled(&rig, name, tier).await;
    }
    assert_eq!(names(&rig, &ListOptions::default()), ["a", "b", "c", "d"]);
    assert_eq!(names(&rig, &select("tier=front", "")), ["a", "c", "d"]);
    assert_eq!(names(&rig, &select("tier!=front", "")), ["b"]);
    assert_eq!(names(&rig, &select("", "meta.name=c")), ["c"]);
    assert_eq!(names(&rig, &select("tier", "status.phase=pending,spec.run=stopped")).len(), 4);
    assert_eq!(names(&rig, &select("", "spec.containers.0.image!=a")), [""; 0]);

    let instances = rig.control.instances();
    let mut options = ListOptions { limit: Some(2), ..select("tier=front", "") };
    let page = instances.list(caller(), Some(PROJECT), &options).unwrap();
    assert_eq!(page.items.len(), 2);
    options.after = page.next;
    let page = instances.list_json(caller(), None, &options).unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
    let object: serde_json::Value = serde_json::from_slice(&page.items[0]).unwrap();
    assert_eq!(object["meta"]["name"], "d");
    assert!(object["meta"]["revision"].as_u64().unwrap() > 1);
    options.after = Some("elsewhere/x".into());
    assert!(instances.list(caller(), Some(PROJECT), &options).is_err());
}

#[tokio::test]
async fn objects_are_found_by_name_id_and_beginning_of_an_id() {
    let rig = Rig::silent().await;
    let made = rig.create("web", stopped("a")).await.unwrap();
    let id = made.meta.id.as_str();
    for name in ["web", id, &id[..12], &id[..20]] {
        assert_eq!(rig.get(name).unwrap().meta.id, made.meta.id);
    }
    // A name goes before the beginning of an id.
    let other = rig.create(&id[..6], stopped("a")).await.unwrap();
    assert_eq!(rig.get(&id[..6]).unwrap().meta.id, other.meta.id);
    let error = rig.get("nobody").unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::NotFound, Some("`hull ps -a` lists them"))
    );
    let mut first = std::collections::HashMap::new();
    for i in 0..17 {
        let made = rig.create(&format!("i{i}"), stopped("a")).await.unwrap();
        *first.entry(made.meta.id.as_str()[..1].to_owned()).or_insert(0) += 1;
    }
    let (twice, _) = first.iter().find(|(_, count)| **count > 1).unwrap();
    assert_eq!(rig.get(twice).unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_watch_goes_on_from_a_list_without_a_gap_and_through_its_selectors() {
    let rig = Rig::silent().await;
    let instances = rig.control.instances();
    labelled(&rig, "a", "front").await;
    let list = instances.list(caller(), Some(PROJECT), &ListOptions::default()).unwrap();
    labelled(&rig, "b", "front").await;
    let tier = Selector::parse("tier=front").unwrap();
    let mut changes = instances
        .watch(caller(), Some(PROJECT), tier, Selector::default(), Some(list.revision))
        .unwrap();
    let mut seen = async |kind, name: &str| {
        loop {
            let change = changes.next().await.unwrap().unwrap();
            if change.kind == ChangeKind::Modified && kind != ChangeKind::Modified {
                continue; // a placement
            }
            assert_eq!((change.kind, change.object.meta.name.as_str()), (kind, name));
            return change.revision;
        }
    };
    let first = seen(ChangeKind::Added, "b").await;
    assert!(first > list.revision);
    let set = async |name: &str, tier: &str| {
        let edit = |(labels, _, _): control::Editable<'_, model::instance::InstanceNoun>| {
            labels.insert("tier".into(), tier.into());
            Ok(())
        };
        instances.update(caller(), PROJECT, name, None, edit, Mode::Apply).await.unwrap();
    };
    set("a", "back").await;
    seen(ChangeKind::Removed, "a").await;
    set("a", "front").await;
    seen(ChangeKind::Added, "a").await;
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_told_to_list_again_and_delays_nobody() {
    let rig = Rig::silent().await;
    rig.create("web", stopped("a")).await.unwrap();
    let watch = |after| {
        let none = Selector::default();
        rig.control.instances().watch(caller(), None, none.clone(), none, after)
    };
    let (mut slow, start) =
        (watch(None).unwrap(), rig.control.store_stats().await.unwrap().revision);
    // 5,000 changes: more than are kept.
    let web = rig.until("web", |it| it.spec.placement.is_some()).await;
    let reports = |n: u32| {
        let status = model::instance::InstanceStatus {
            observed_generation: 2,
            restarts: n,
            ..Default::default()
        };
        vec![link::Report::Instance(web.meta.id.clone(), Box::new(status))]
    };
    for n in 1..=5000 {
        rig.report(reports(n)).await;
    }
    let error = slow.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.next_step().unwrap().starts_with("list again"));
    assert!(slow.next().await.is_none(), "it ends after the error");
    assert_eq!(watch(Some(start.0)).err().unwrap().kind(), ErrorKind::Conflict);
    assert_eq!(watch(Some(u64::MAX)).err().unwrap().kind(), ErrorKind::Conflict);
}
