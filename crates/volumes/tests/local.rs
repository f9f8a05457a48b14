//! The local driver on real disks: ext4, btrfs and xfs, each a file system in a file of its own.
//!
//! Needs root for mounts and loop devices; without it the tests say so and pass. What a killed run left
//! mounted is swept by the next.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "local/crash.rs"]
mod crash;
#[path = "local/disk.rs"]
mod disk;
#[path = "local/faults.rs"]
mod faults;
#[path = "local/image.rs"]
mod image;
#[path = "local/parts.rs"]
mod parts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use disk::{Disk, Kind};
use model::Bytes;
use volumes::conformance::{self, Shape};
use volumes::local::LocalDriver;
use volumes::{CreateSnapshot, CreateVolume, Driver, Format, Method, Source, VolumeId};

fn id(text: &str) -> VolumeId {
    text.parse().unwrap()
}

fn shape(size: Option<Bytes>, options: &[(&str, &str)]) -> Shape {
    let words = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Shape { size, options: words.collect::<BTreeMap<_, _>>() }
}

fn request(name: &str, shape: &Shape) -> CreateVolume {
    let options = shape.options.clone();
    CreateVolume { size: shape.size, options, ..CreateVolume::new(id(name), name) }
}

async fn conforms(kind: Kind, shape: Shape) {
    let Some(disk) = Disk::new(kind, Bytes::gib(4)) else { return };
    let driver = Arc::new(LocalDriver::open(&disk.path().join("volumes")).unwrap());
    conformance::all(driver, shape, &disk.path().join("scratch")).await;
}

#[tokio::test]
async fn directories_conform() {
    conforms(Kind::Ext4, shape(None, &[("mode", "0700")])).await;
}

#[tokio::test]
async fn directories_with_reflinks_conform() {
    conforms(Kind::Xfs, shape(None, &[])).await;
}

#[tokio::test]
async fn subvolumes_conform() {
    conforms(Kind::Btrfs, shape(None, &[])).await;
}

#[tokio::test]
async fn subvolumes_with_quota_conform() {
    conforms(Kind::Btrfs, shape(Some(Bytes::mib(96)), &[])).await;
}

#[tokio::test]
async fn images_of_ext4_conform() {
    conforms(Kind::Ext4, shape(Some(Bytes::mib(48)), &[("filesystem", "ext4")])).await;
}

#[tokio::test]
async fn images_of_xfs_conform() {
    conforms(Kind::Ext4, shape(Some(Bytes::mib(320)), &[("filesystem", "xfs")])).await;
}

#[tokio::test]
async fn images_on_a_disk_with_reflinks_conform() {
    conforms(Kind::Xfs, shape(Some(Bytes::mib(48)), &[("filesystem", "ext4")])).await;
}

#[tokio::test]
async fn images_that_take_all_their_space_conform() {
    conforms(Kind::Ext4, shape(Some(Bytes::mib(48)), &[("allocate", "full")])).await;
}

/// Format and method are what the disk can do.
#[tokio::test]
async fn format_and_method_are_told() {
    let sized = Some(Bytes::mib(64));
    for (kind, size, format, method) in [
        (Kind::Ext4, None, Format::None, Method::Copy),
        (Kind::Ext4, sized, Format::Image, Method::Copy),
        (Kind::Xfs, None, Format::None, Method::Reflink),
        (Kind::Xfs, sized, Format::Image, Method::Reflink),
        (Kind::Btrfs, None, Format::None, Method::Btrfs),
        (Kind::Btrfs, sized, Format::Btrfs, Method::Btrfs),
    ] {
        let Some(disk) = Disk::new(kind, Bytes::gib(1)) else { return };
        let driver = LocalDriver::open(&disk.path()).unwrap();
        let made = driver.create(request("v", &shape(size, &[]))).await.unwrap();
        assert_eq!(made.format, format, "{kind:?} {size:?}");
        driver.node_stage(&id("v")).await.unwrap();
        let path = driver.show(&id("v")).await.unwrap().path.unwrap();
        std::fs::write(path.join("x"), vec![1; 100_000]).unwrap();
        let snapshot = CreateSnapshot { id: id("s"), name: "s".to_owned(), volume: id("v") };
        let taken = driver.create_snapshot(snapshot).await.unwrap();
        assert_eq!((taken.method, taken.consistent), (method, true), "{kind:?} {size:?}");
        let source = Some(Source::Volume(id("v")));
        let copy = CreateVolume { source, ..request("c", &shape(size, &[])) };
        assert_eq!(driver.create(copy).await.unwrap().method, Some(method), "{kind:?} {size:?}");
        driver.node_unstage(&id("v")).await.unwrap();
    }
}

/// Files of a volume without a size go into one with a size, and owner and mode are as asked.
#[tokio::test]
async fn a_directory_is_cloned_into_an_image() {
    use std::os::unix::fs::MetadataExt;
    let Some(disk) = Disk::new(Kind::Ext4, Bytes::gib(1)) else { return };
    let driver = LocalDriver::open(&disk.path()).unwrap();
    let options = [("uid", "70"), ("gid", "71"), ("mode", "0750")];
    driver.create(request("plain", &shape(None, &options))).await.unwrap();
    let path = driver.show(&id("plain")).await.unwrap().path.unwrap();
    std::fs::write(path.join("x"), "y").unwrap();
    let owner = |path: &Path| {
        let found = path.metadata().unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    assert_eq!(owner(&path), (70, 71, 0o750));

    let source = Some(Source::Volume(id("plain")));
    let sized = shape(Some(Bytes::mib(32)), &[("mode", "0711")]);
    let made = driver.create(CreateVolume { source, ..request("sized", &sized) }).await.unwrap();
    assert_eq!(made.format, Format::Image);
    driver.node_stage(&id("sized")).await.unwrap();
    let path = driver.show(&id("sized")).await.unwrap().path.unwrap();
    assert_eq!(std::fs::read_to_string(path.join("x")).unwrap(), "y");
    assert_eq!(owner(&path), (70, 71, 0o711));
    driver.node_unstage(&id("sized")).await.unwrap();
}
