//! The way of a volume through its verbs.

use std::sync::Arc;

use model::{Bytes, ErrorKind};

use super::{Case, expect, read, write};
use crate::driver::{CreateVolume, Populate, Publish, attach, detach};

/// Every verb, twice, in order and out of order.
pub async fn life_of_a_volume(case: &Case) {
    let driver = &case.driver;
    let id = case.create("life").await;
    let made = driver.show(&id).await.expect("show");
    assert_eq!(made.size, case.shape.size);
    let again = driver.create(case.request("life")).await.expect("create again");
    assert_eq!(again.created, made.created, "created again it is the same");
    let other = CreateVolume { size: Some(Bytes::mib(900)), ..case.request("life") };
    expect(driver.create(other).await, ErrorKind::Exists, "created with another size");

    let path = case.open(&id, "test").await;
    assert_eq!(path, case.open(&id, "test").await, "published again it is the same");
    write(&path.join("kept"), "value");
    let info = driver.show(&id).await.expect("show");
    assert_eq!(
        (info.published.as_slice(), info.path.as_ref()),
        (&["test".to_owned()][..], Some(&path))
    );
    expect(driver.delete(&id).await, ErrorKind::Conflict, "deleted while published");
    expect(driver.node_unstage(&id).await, ErrorKind::Conflict, "unstaged while published");
    assert!(driver.stats(&id).await.expect("stats").total > Bytes(0));
    driver.trim(&id).await.expect("trim");

    case.close(&id, "test").await;
    case.close(&id, "test").await;
    assert_eq!(driver.list().await.expect("list").len(), 1);
    let path = case.open(&id, "test").await;
    assert_eq!(read(&path.join("kept")).as_deref(), Some("value"));
    case.remove(&id).await;
    case.remove(&id).await;
    expect(driver.show(&id).await, ErrorKind::NotFound, "shown when deleted");
    assert!(!path.join("kept").exists(), "its contents are gone");
}

/// Taking away what is not there succeeds; using it does not.
pub async fn things_that_are_not_there(case: &Case) {
    let driver = &case.driver;
    let id = case.id("absent");
    driver.delete(&id).await.expect("delete");
    driver.delete_snapshot(&id).await.expect("delete snapshot");
    driver.node_unpublish(&id, "test").await.expect("unpublish");
    driver.node_unstage(&id).await.expect("unstage");
    let publish = Publish { volume: id.clone(), consumer: "test".to_owned() };
    expect(driver.show(&id).await, ErrorKind::NotFound, "show");
    expect(driver.node_stage(&id).await, ErrorKind::NotFound, "stage");
    expect(driver.node_publish(publish).await, ErrorKind::NotFound, "publish");
    expect(driver.node_expand(&id).await, ErrorKind::NotFound, "node expand");
    expect(driver.expand(&id, Bytes::gib(1)).await, ErrorKind::NotFound, "expand");
    expect(driver.stats(&id).await, ErrorKind::NotFound, "stats");
    expect(driver.trim(&id).await, ErrorKind::NotFound, "trim");
    let populate = Populate { root: case.image("image"), path: "/data".into(), owner: None };
    expect(driver.populate(&id, populate).await, ErrorKind::NotFound, "populate");
}

/// A volume stays while one of two uses it.
pub async fn two_consumers(case: &Case) {
    let id = case.create("shared").await;
    let use_it = |consumer: &str| Publish { volume: id.clone(), consumer: consumer.to_owned() };
    let one = attach(&*case.driver, use_it("one"), None).await.expect("attach");
    let two = attach(&*case.driver, use_it("two"), None).await.expect("attach");
    assert_eq!(one.path, two.path);
    write(&one.path.join("x"), "y");
    detach(&*case.driver, &id, "one").await.expect("detach");
    assert_eq!(read(&two.path.join("x")).as_deref(), Some("y"), "the other still has it");
    detach(&*case.driver, &id, "two").await.expect("detach");
    detach(&*case.driver, &id, "two").await.expect("detach again");
    case.driver.delete(&id).await.expect("delete");
    detach(&*case.driver, &id, "two").await.expect("detach when it is gone");
}

/// Eight at the same time end as one after the other would.
pub async fn many_at_once(case: &Case) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (driver, request) = (Arc::clone(&case.driver), case.request("busy"));
        tasks.spawn(async move {
            let consumer = format!("user-{number}");
            let id = driver.create(request).await.expect("create").id;
            let publish = Publish { volume: id.clone(), consumer: consumer.clone() };
            let attached = attach(&*driver, publish, None).await.expect("attach");
            write(&attached.path.join(&consumer), "here");
            detach(&*driver, &id, &consumer).await.expect("detach");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task panics");
    }
    let id = case.id("busy");
    let path = case.open(&id, "test").await;
    for number in 0..8 {
        assert!(path.join(format!("user-{number}")).exists(), "what user {number} wrote is there");
    }
    case.remove(&id).await;
}

/// A word that means nothing is refused with its field.
pub async fn wrong_options(case: &Case) {
    let mut request = case.request("wrong");
    request.options.insert("colour".to_owned(), "blue".to_owned());
    let error = case.driver.create(request).await.expect_err("an unknown option is refused");
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("options.colour")));
}
