//! Where a volume's first contents come from.

use std::fs;

use model::ErrorKind;

use super::{Case, expect, read, write};
use crate::driver::{CreateSnapshot, CreateVolume, Populate, Populated, Publish, Source, attach};

/// Filled once, and only when empty.
pub async fn filled_from_an_image(case: &Case) {
    let driver = &case.driver;
    let source = Populate { root: case.image("image"), path: "/data".into(), owner: None };
    let id = case.create("filled").await;
    let publish = Publish { volume: id.clone(), consumer: "test".to_owned() };
    let attached = attach(&**driver, publish.clone(), Some(source.clone())).await.expect("attach");
    assert!(matches!(attached.populated, Some(Populated::Filled { files: 2, .. })));
    let file = attached.path.join("sub/a");
    assert_eq!(read(&file).as_deref(), Some("from the image"));

    fs::remove_dir_all(attached.path.join("sub")).expect("a volume can be written");
    let again = attach(&**driver, publish, Some(source.clone())).await.expect("attach");
    assert_eq!(again.populated, Some(Populated::InUse), "what was removed does not come back");
    assert!(!file.exists());
    case.remove(&id).await;

    let id = case.create("written").await;
    let path = case.open(&id, "test").await;
    write(&path.join("own"), "mine");
    let done = driver.populate(&id, source).await.expect("populate");
    assert_eq!(done, Populated::InUse, "contents of its own stay as they are");
    assert!(!path.join("sub").exists());
    case.remove(&id).await;

    let id = case.create("nothing").await;
    case.open(&id, "test").await;
    let none = Populate { root: case.image("image"), path: "/none".into(), owner: None };
    assert_eq!(driver.populate(&id, none).await.expect("populate"), Populated::NothingToCopy);
    case.remove(&id).await;
}

/// A snapshot of a volume in use shows what was there, and outlives it.
pub async fn snapshot_and_restore(case: &Case) {
    let driver = &case.driver;
    let id = case.create("origin").await;
    let path = case.open(&id, "test").await;
    write(&path.join("before"), "old");
    let take = |name: &str, volume: &str| CreateSnapshot {
        id: case.id(name),
        name: name.to_owned(),
        volume: case.id(volume),
    };
    let snapshot = driver.create_snapshot(take("snap", "origin")).await.expect("snapshot");
    write(&path.join("before"), "new");
    write(&path.join("after"), "new");
    let again = driver.create_snapshot(take("snap", "origin")).await.expect("snapshot again");
    assert_eq!(again, snapshot, "taken again it is the same");
    assert_eq!(driver.list_snapshots().await.expect("list"), [snapshot]);
    case.create("second").await;
    expect(driver.create_snapshot(take("snap", "second")).await, ErrorKind::Exists, "of another");
    expect(driver.create_snapshot(take("s", "no")).await, ErrorKind::NotFound, "of nothing");
    driver.delete(&case.id("second")).await.expect("delete");
    case.remove(&id).await;

    let source = Some(Source::Snapshot(case.id("snap")));
    let restored = CreateVolume { source, ..case.request("restored") };
    let info = driver.create(restored.clone()).await.expect("restore");
    assert_eq!((info.size, info.method.is_some()), (case.shape.size, true));
    driver.create(restored).await.expect("restore again");
    let path = case.open(&info.id, "test").await;
    assert_eq!(read(&path.join("before")).as_deref(), Some("old"));
    assert!(!path.join("after").exists(), "what came after is not in it");
    driver.delete_snapshot(&case.id("snap")).await.expect("delete snapshot");
    driver.delete_snapshot(&case.id("snap")).await.expect("delete snapshot again");
    assert_eq!(read(&path.join("before")).as_deref(), Some("old"), "the restored one stays");
    case.remove(&info.id).await;

    let source = Some(Source::Snapshot(case.id("snap")));
    let request = CreateVolume { source, ..case.request("late") };
    expect(driver.create(request).await, ErrorKind::NotFound, "restored from nothing");
}

/// A clone is a volume of its own.
pub async fn clone_of_a_volume(case: &Case) {
    let id = case.create("first").await;
    let path = case.open(&id, "test").await;
    write(&path.join("x"), "1");
    let source = Some(Source::Volume(id.clone()));
    let request = CreateVolume { size: None, source, ..case.request("copy") };
    let copy = case.driver.create(request).await.expect("clone");
    assert_eq!(copy.size, case.shape.size, "it has the size of its source");
    let other = case.open(&copy.id, "test").await;
    write(&other.join("x"), "2");
    assert_eq!(read(&path.join("x")).as_deref(), Some("1"), "they share nothing");
    case.remove(&copy.id).await;
    case.remove(&id).await;
}
