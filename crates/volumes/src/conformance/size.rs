//! Sizes: raised, and enforced.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use model::{Bytes, ErrorKind};

use super::{Case, expect, read, write};
use crate::driver::{Capability, Populate};

/// A size goes up while the volume is in use, and never down.
pub async fn growing(case: &Case) {
    let driver = &case.driver;
    let id = case.create("grown").await;
    let path = case.open(&id, "test").await;
    write(&path.join("x"), "kept");
    let Some(size) = case.shape.size else {
        expect(driver.expand(&id, Bytes::gib(1)).await, ErrorKind::Invalid, "there is no size");
        return case.remove(&id).await;
    };
    let before = driver.stats(&id).await.expect("stats").total;
    let more = Bytes(size.0 + (64 << 20));
    match driver.expand(&id, more).await {
        // A driver may be unable to do it while the volume is used; it must then say so.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            assert!(error.next_step().is_some());
            case.close(&id, "test").await;
            driver.expand(&id, more).await.expect("expand when nobody uses it");
        }
        other => assert_eq!(other.expect("expand").size, more),
    }
    case.open(&id, "test").await;
    driver.node_expand(&id).await.expect("node expand");
    let after = driver.stats(&id).await.expect("stats").total;
    assert!(after.0 >= before.0 + (56 << 20), "{before} became only {after}");
    assert_eq!(driver.expand(&id, more).await.expect("expand again").size, more);
    assert_eq!(driver.show(&id).await.expect("show").size, Some(more));
    expect(driver.expand(&id, size).await, ErrorKind::Invalid, "made smaller");
    assert_eq!(driver.show(&id).await.expect("show").size, Some(more));
    assert_eq!(read(&path.join("x")).as_deref(), Some("kept"));
    case.remove(&id).await;
}

/// No more fits than was asked for, and what does not fit leaves nothing half done.
pub async fn a_size_is_enforced(case: &Case) {
    let driver = &case.driver;
    let Some(size) = case.shape.size else { return };
    if !driver.info().can(Capability::EnforcedSize) {
        return;
    }
    let image = case.image("large");
    write_until_full(&image.join("data/zz"), size.0 + (16 << 20)).expect("scratch has room");
    let id = case.create("full").await;
    driver.node_stage(&id).await.expect("stage");
    let source = Populate { root: image, path: "/data".into(), owner: None };
    expect(driver.populate(&id, source.clone()).await, ErrorKind::Exhausted, "too much to copy");
    let path = case.open(&id, "test").await;
    assert_eq!(path.read_dir().expect("its root can be read").count(), 0, "it is empty again");

    let written = write_until_full(&path.join("big"), size.0 * 2);
    let error = written.expect_err("more was written than fits");
    let full = [Some(libc::ENOSPC), Some(libc::EDQUOT)];
    assert!(full.contains(&error.raw_os_error()), "{error}");
    std::fs::remove_file(path.join("big")).expect("a full volume can be emptied");
    rustix::fs::syncfs(File::open(&path).expect("open")).expect("sync");
    write(&path.join("small"), "fits again");
    case.remove(&id).await;
}

fn write_until_full(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let piece = vec![7_u8; 1 << 20];
    for _ in 0..bytes / (1 << 20) {
        file.write_all(&piece)?;
    }
    file.sync_all()
}
