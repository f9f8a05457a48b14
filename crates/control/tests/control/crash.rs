//! Killed in the middle of things: what was acknowledged is there, and nothing is half done.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::sqlite::{Config as StoreConfig, SqliteStore};
use store::{RangeRequest, Store};

use crate::support::*;

#[test]
fn nothing_is_half_done_when_control_dies_in_the_middle() {
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let acknowledged = run_and_kill(dir.path(), 5 + round * 4);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            check_records(dir.path()).await;
            let control = open(dir.path()).await;
            for name in &acknowledged {
                let found = control.instances().get(caller(), PROJECT, name);
                assert!(found.is_ok(), "{name} was acknowledged and is lost");
            }
            // It goes on where it was: everything is placed in the end.
            let rig = Rig { control, dir, agent: None };
            rig.report(vec![link::Report::Node(Box::new(node_status()))]).await;
            for name in &acknowledged {
                rig.until(name, |it| it.spec.placement.is_some()).await;
            }
        });
    }
}

/// Makes instances until `enough` are acknowledged, and kills everything then.
fn run_and_kill(dir: &std::path::Path, enough: usize) -> BTreeSet<String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let acknowledged = runtime.block_on(async {
        let control = open(dir).await;
        let rig = Arc::new(Rig { control, dir: tempfile::tempdir().unwrap(), agent: None });
        rig.report(vec![link::Report::Node(Box::new(node_status()))]).await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        for i in 0..64 {
            let (rig, told) = (rig.clone(), told.clone());
            tokio::spawn(async move {
                let name = format!("i{i}");
                let wish = with_volume(with_port(spec("a"), None, 80), &format!("v{i}"), "/d");
                if rig.create(&name, wish).await.is_ok() {
                    let _ = told.send(name);
                }
            });
        }
        let mut acknowledged = BTreeSet::new();
        while acknowledged.len() < enough {
            acknowledged.extend(heard.recv().await);
        }
        acknowledged
    });
    runtime.shutdown_background();
    acknowledged
}

/// Every object has its name, every name its object, and every instance its volume.
async fn check_records(dir: &std::path::Path) {
    let opening = async {
        loop {
            if let Ok(store) = SqliteStore::open(StoreConfig::new(dir.join("state.db"))).await {
                return store;
            }
            tokio::task::yield_now().await;
        }
    };
    let store = tokio::time::timeout(DEADLINE, opening).await.expect("the store is not let go");
    let records = store.range(RangeRequest::all()).await.unwrap().records;
    let keys: BTreeSet<_> = records.iter().map(|it| it.key.as_str()).collect();
    let names = records.iter().filter(|it| it.key.starts_with("/name/"));
    let mut named = BTreeSet::new();
    for name in names {
        let kind = name.key.split('/').nth(2).unwrap();
        let object = format!("/{kind}/{}", String::from_utf8_lossy(&name.value));
        assert!(keys.contains(object.as_str()), "{} leads nowhere", name.key);
        named.insert(object);
    }
    for kind in ["instance", "volume", "network", "project", "token", "node"] {
        let prefix = format!("/{kind}/");
        for key in keys.iter().filter(|key| key.starts_with(&prefix)) {
            assert!(named.contains(*key), "{key} has no name");
        }
    }
    for instance in keys.iter().filter(|key| key.starts_with("/name/instance/")) {
        let volume = instance.replace("/name/instance/default/i", "/name/volume/default/v");
        assert!(keys.contains(volume.as_str()), "{instance} has no volume");
    }
}
