//! What every driver must do, as scenarios that run on any of them.
//!
//! A scenario panics with what it expected. Each uses ids of its own and removes what it made, so all
//! can run on one driver, also several times.

mod contents;
mod lifecycle;
mod size;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Bytes, ErrorKind, Result};

use crate::driver::{CreateVolume, Driver, Publish, VolumeId};

/// What the volumes of a run are to be like.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// Their size.
    pub size: Option<Bytes>,
    /// Their options.
    pub options: BTreeMap<String, String>,
}

/// One run: a driver, the shape of the volumes, and a directory to keep sources in.
#[derive(Clone)]
pub struct Case {
    driver: Arc<dyn Driver>,
    shape: Shape,
    scratch: PathBuf,
}

/// Runs every scenario on `driver` with volumes of this shape. `scratch` is an empty directory.
///
/// # Panics
/// When the driver does not do what it must.
pub async fn all(driver: Arc<dyn Driver>, shape: Shape, scratch: &Path) {
    let case = Case { driver, shape, scratch: scratch.to_owned() };
    lifecycle::life_of_a_volume(&case).await;
    lifecycle::things_that_are_not_there(&case).await;
    lifecycle::two_consumers(&case).await;
    lifecycle::many_at_once(&case).await;
    lifecycle::wrong_options(&case).await;
    contents::filled_from_an_image(&case).await;
    contents::snapshot_and_restore(&case).await;
    contents::clone_of_a_volume(&case).await;
    size::growing(&case).await;
    size::a_size_is_enforced(&case).await;
    assert_eq!(case.driver.list().await.expect("list"), [], "a scenario left a volume");
    assert_eq!(case.driver.list_snapshots().await.expect("list"), [], "one left a snapshot");
}

impl Case {
    fn id(&self, name: &str) -> VolumeId {
        name.parse().expect("a scenario's ids are ids")
    }

    fn request(&self, name: &str) -> CreateVolume {
        CreateVolume {
            size: self.shape.size,
            options: self.shape.options.clone(),
            ..CreateVolume::new(self.id(name), name)
        }
    }

    async fn create(&self, name: &str) -> VolumeId {
        self.driver.create(self.request(name)).await.expect("create").id
    }

    /// Stages and publishes; where the contents are.
    async fn open(&self, id: &VolumeId, consumer: &str) -> PathBuf {
        self.driver.node_stage(id).await.expect("stage");
        let request = Publish { volume: id.clone(), consumer: consumer.to_owned() };
        self.driver.node_publish(request).await.expect("publish")
    }

    /// Unpublishes and unstages.
    async fn close(&self, id: &VolumeId, consumer: &str) {
        self.driver.node_unpublish(id, consumer).await.expect("unpublish");
        self.driver.node_unstage(id).await.expect("unstage");
    }

    /// Removes a volume that `test` uses.
    async fn remove(&self, id: &VolumeId) {
        self.close(id, "test").await;
        self.driver.delete(id).await.expect("delete");
    }

    /// A directory with a file `a` in `sub`, as an image might have.
    fn image(&self, name: &str) -> PathBuf {
        let root = self.scratch.join(name);
        fs::create_dir_all(root.join("data/sub")).expect("scratch can be written");
        fs::write(root.join("data/sub/a"), "from the image").expect("scratch can be written");
        root
    }
}

fn expect<T>(result: Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Ok(_) => panic!("{what}: done, but {kind} was expected"),
        Err(error) => assert_eq!(error.kind(), kind, "{what}: {}", error.chain()),
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a volume can be written");
}
