//! Full disks, wrong requests, two processes.

use std::fs;
use std::path::Path;

use model::{Bytes, ErrorKind};
use volumes::local::LocalDriver;
use volumes::{CreateSnapshot, CreateVolume, Driver, Populate, Source};

use super::disk::{Disk, Kind};
use super::{id, request, shape};

fn left_in(directory: &Path) -> usize {
    ["new", "trash"].iter().map(|part| fs::read_dir(directory.join(part)).unwrap().count()).sum()
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_done() {
    for kind in [Kind::Ext4, Kind::Btrfs, Kind::Xfs] {
        let Some(disk) = Disk::new(kind, Bytes::mib(320)) else { return };
        let driver = LocalDriver::open(&disk.path()).unwrap();
        driver.create(request("plain", &shape(None, &[]))).await.unwrap();
        let path = driver.show(&id("plain")).await.unwrap().path.unwrap();
        fs::write(path.join("third"), vec![1; 110 << 20]).unwrap();
        rustix::fs::syncfs(fs::File::open(&path).unwrap()).unwrap();

        // No room for all its space at once, nor for a copy of that file and another of that.
        let all = shape(Some(Bytes::mib(250)), &[("allocate", "full")]);
        let error = driver.create(request("all", &all)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{kind:?}: {}", error.chain());
        assert!(error.message().contains("\"all\"") && error.next_step().is_some());
        if kind == Kind::Ext4 {
            fs::write(path.join("more"), vec![1; 60 << 20]).unwrap();
            let snapshot = CreateSnapshot { id: id("s"), name: "s".into(), volume: id("plain") };
            let error = driver.create_snapshot(snapshot).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.chain());
            let source = Some(Source::Volume(id("plain")));
            let copy = CreateVolume { source, ..request("copy", &shape(None, &[])) };
            assert_eq!(driver.create(copy).await.unwrap_err().kind(), ErrorKind::Exhausted);

            driver.create(request("fill", &shape(None, &[]))).await.unwrap();
            let source = Populate { root: path.clone(), path: "/".into(), owner: None };
            let error = driver.populate(&id("fill"), source).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Exhausted);
            let fill = driver.show(&id("fill")).await.unwrap().path.unwrap();
            assert_eq!(fs::read_dir(fill).unwrap().count(), 0, "it is empty again");
            driver.delete(&id("fill")).await.unwrap();
        }
        let names: Vec<_> =
            driver.list().await.unwrap().into_iter().map(|info| info.name).collect();
        assert_eq!((names.as_slice(), left_in(&disk.path())), (&["plain".to_owned()][..], 0));
        assert_eq!(driver.list_snapshots().await.unwrap(), []);
        let huge = request("huge", &shape(Some(Bytes::gib(900)), &[]));
        assert_eq!(driver.create(huge).await.unwrap_err().kind(), ErrorKind::Exhausted);
    }
}

#[tokio::test]
async fn wrong_sizes_and_options_name_their_field() {
    let Some(disk) = Disk::new(Kind::Ext4, Bytes::gib(1)) else { return };
    let driver = LocalDriver::open(&disk.path()).unwrap();
    for (size, options, field) in [
        (Some(Bytes::mib(1)), &[][..], "size"),
        (Some(Bytes::mib(64)), &[("filesystem", "xfs")], "size"),
        (None, &[("filesystem", "xfs")], "options.filesystem"),
        (None, &[("allocate", "full")], "options.allocate"),
        (Some(Bytes::mib(64)), &[("mode", "rwx")], "options.mode"),
    ] {
        let error = driver.create(request("v", &shape(size, options))).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some(field)), "{options:?}");
    }
    driver.create(request("big", &shape(Some(Bytes::mib(64)), &[]))).await.unwrap();
    let source = Some(Source::Volume(id("big")));
    let small = shape(Some(Bytes::mib(32)), &[]);
    let error = driver.create(CreateVolume { source, ..request("v", &small) }).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("size")));
    assert_eq!((driver.list().await.unwrap().len(), left_in(&disk.path())), (1, 0));
}

#[tokio::test]
async fn one_process_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = LocalDriver::open(&dir.path().join("volumes")).unwrap();
    let error = LocalDriver::open(&dir.path().join("volumes")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    LocalDriver::open(&dir.path().join("volumes")).unwrap();
}

#[tokio::test]
async fn a_torn_record_is_told_and_costs_the_others_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let driver = LocalDriver::open(dir.path()).unwrap();
    for name in ["good", "torn"] {
        driver.create(request(name, &shape(None, &[]))).await.unwrap();
    }
    fs::write(dir.path().join("volumes/torn/record.json"), "{").unwrap();
    assert_eq!(driver.list().await.unwrap().len(), 1);
    assert_eq!(driver.show(&id("torn")).await.unwrap_err().kind(), ErrorKind::Internal);
}
