//! Volumes that are images: what only they can get wrong.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::{Bytes, ErrorKind};
use volumes::local::LocalDriver;
use volumes::{CreateSnapshot, Driver, Publish};

use super::disk::{Disk, Kind, run};
use super::{id, request, shape};

const SIZE: Option<Bytes> = Some(Bytes::mib(48));

fn use_by(consumer: &str) -> Publish {
    Publish { volume: id("v"), consumer: consumer.to_owned() }
}

/// A disk with a driver on it and one staged image volume; where its contents are.
async fn staged() -> Option<(Disk, LocalDriver, PathBuf)> {
    let disk = Disk::new(Kind::Ext4, Bytes::gib(1))?;
    let driver = LocalDriver::open(&disk.path()).unwrap();
    driver.create(request("v", &shape(SIZE, &[]))).await.unwrap();
    driver.node_stage(&id("v")).await.unwrap();
    let path = driver.node_publish(use_by("test")).await.unwrap();
    Some((disk, driver, path))
}

/// Loop devices that have a file under `directory`.
fn loops(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").unwrap() {
        let device = entry.unwrap().path();
        if let Ok(text) = fs::read_to_string(device.join("loop/backing_file"))
            && Path::new(text.trim()).starts_with(directory)
        {
            found.push(device);
        }
    }
    found
}

#[tokio::test]
async fn an_unmounted_volume_is_never_an_empty_one() {
    let Some((_disk, driver, path)) = staged().await else { return };
    fs::write(path.join("x"), "y").unwrap();
    driver.node_unpublish(&id("v"), "test").await.unwrap();
    driver.node_unstage(&id("v")).await.unwrap();
    assert!(!path.exists(), "the path of its contents is not there");
    let mount = path.parent().unwrap();
    for attempt in [fs::create_dir(&path), fs::write(mount.join("x"), "lost")] {
        let error = attempt.expect_err("the mount point took a write");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "not even from root");
    }
    let error = driver.node_publish(use_by("test")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(driver.show(&id("v")).await.unwrap().path, None);
}

#[tokio::test]
async fn a_new_process_recognises_what_is_mounted() {
    let Some((disk, driver, path)) = staged().await else { return };
    fs::write(path.join("x"), "y").unwrap();
    let open = File::open(path.join("x")).unwrap();
    let mounts = disk.mounts();
    drop(driver);

    let driver = LocalDriver::open(&disk.path()).unwrap();
    let info = driver.show(&id("v")).await.unwrap();
    assert_eq!((info.path.as_ref(), info.published), (Some(&path), vec!["test".to_owned()]));
    driver.node_stage(&id("v")).await.unwrap();
    assert_eq!(disk.mounts(), mounts, "it is not mounted twice");
    assert_eq!(loops(&disk.path()).len(), 1);
    assert_eq!(open.metadata().unwrap().ino(), path.join("x").metadata().unwrap().ino());
    driver.node_unpublish(&id("v"), "test").await.unwrap();

    let busy = driver.node_unstage(&id("v")).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Conflict, "a process has a file open");
    drop(open);
    driver.node_unstage(&id("v")).await.unwrap();
    assert_eq!(disk.mounts().len(), 1);
}

/// After a reboot nothing is mounted, but the consumers are still known.
#[tokio::test]
async fn after_a_reboot_it_is_staged_again() {
    let Some((disk, driver, path)) = staged().await else { return };
    fs::write(path.join("x"), "y").unwrap();
    drop(driver);
    run(Command::new("umount").arg(path.parent().unwrap()));
    let driver = LocalDriver::open(&disk.path()).unwrap();
    let info = driver.show(&id("v")).await.unwrap();
    assert_eq!((info.staged(), info.published.len()), (false, 1));
    driver.node_stage(&id("v")).await.unwrap();
    assert_eq!(driver.node_publish(use_by("test")).await.unwrap(), path);
    assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "y");
}

#[tokio::test]
async fn stale_loop_devices_are_detached_and_used_ones_used_again() {
    let Some((disk, driver, path)) = staged().await else { return };
    driver.node_unpublish(&id("v"), "test").await.unwrap();
    driver.node_unstage(&id("v")).await.unwrap();
    let image = path.parent().unwrap().parent().unwrap().join("image");
    run(Command::new("losetup").arg("--find").arg(&image));
    assert_eq!(loops(&disk.path()).len(), 1);

    driver.node_stage(&id("v")).await.unwrap();
    assert_eq!(loops(&disk.path()).len(), 1, "one file never has two devices");
    driver.node_unstage(&id("v")).await.unwrap();
    assert_eq!(loops(&disk.path()).len(), 1, "that device does not go away by itself");

    drop(driver);
    let _driver = LocalDriver::open(&disk.path()).unwrap();
    assert_eq!(loops(&disk.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn freed_space_comes_back() {
    let Some((_disk, driver, path)) = staged().await else { return };
    let device = loops(&_disk.path());
    let direct = fs::read_to_string(device[0].join("loop/dio")).unwrap();
    assert_eq!(direct.trim(), "1", "the page cache is passed by");
    let allocated = async || driver.stats(&id("v")).await.unwrap().allocated;
    let sync = || rustix::fs::syncfs(File::open(&path).unwrap()).unwrap();
    let before = allocated().await;
    fs::write(path.join("big"), vec![1; 20 << 20]).unwrap();
    sync();
    assert!(allocated().await.0 >= before.0 + (20 << 20));
    fs::remove_file(path.join("big")).unwrap();
    sync();
    driver.trim(&id("v")).await.unwrap();
    let after = allocated().await;
    assert!(after.0 < before.0 + (4 << 20), "{before} became {after}");
}

#[tokio::test]
async fn a_frozen_volume_is_thawed_by_the_next_process() {
    let Some((disk, driver, path)) = staged().await else { return };
    drop(driver);
    run(Command::new("fsfreeze").arg("--freeze").arg(path.parent().unwrap()));
    let _driver = LocalDriver::open(&disk.path()).unwrap();
    fs::write(path.join("x"), "it would wait for ever here").unwrap();
}

/// Appends numbered lines to two files until it is dropped: each number goes to `one` before `two`, so
/// no moment has more in `two`.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let files = ["one", "two"].map(|name| File::create(path.join(name)).unwrap());
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                for mut file in &files {
                    writeln!(file, "{number}").unwrap();
                    file.sync_data().unwrap();
                }
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    async fn wait_for_more(&self) {
        let goal = self.written.load(Ordering::Relaxed) + 6;
        while self.written.load(Ordering::Relaxed) < goal {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// While a writer appends numbered lines, snapshots show a beginning of them, and mount cleanly.
#[tokio::test]
async fn a_snapshot_under_load_shows_one_moment() {
    let Some((_disk, driver, path)) = staged().await else { return };
    let writer = Writer::start(&path);
    for round in 0..5 {
        writer.wait_for_more().await;
        let name = format!("s{round}");
        let request = CreateSnapshot { id: id(&name), name, volume: id("v") };
        driver.create_snapshot(request).await.unwrap();
    }
    drop(writer);
    let mut before = 0;
    for round in 0..5 {
        let name = format!("r{round}");
        let source = Some(volumes::Source::Snapshot(id(&format!("s{round}"))));
        let request = volumes::CreateVolume { source, ..request(&name, &shape(SIZE, &[])) };
        driver.create(request).await.unwrap();
        driver.node_stage(&id(&name)).await.unwrap();
        let contents = driver.show(&id(&name)).await.unwrap().path.unwrap();
        let lines = |file: &str| fs::read_to_string(contents.join(file)).unwrap().lines().count();
        let (one, two) = (lines("one"), lines("two"));
        assert!(one >= two && one - two <= 1, "{one} in the first, {two} in the second");
        assert!(one >= before + 5, "each snapshot shows more than the one before");
        before = one;
        driver.node_unstage(&id(&name)).await.unwrap();
    }
}

/// A process with a copy of all mounts, as a container has while it is being started.
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It has its own mounts once it answers.
        child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

#[tokio::test]
async fn an_image_that_lives_on_elsewhere_is_waited_for() {
    let Some((_disk, driver, path)) = staged().await else { return };
    fs::write(path.join("kept"), "value").unwrap();
    let mut holder = Holder::start();
    driver.node_unpublish(&id("v"), "test").await.unwrap();
    driver.node_unstage(&id("v")).await.unwrap();
    let driver = Arc::new(driver);
    let taker = Arc::clone(&driver);
    let request = CreateSnapshot { id: id("s"), name: "s".to_owned(), volume: id("v") };
    let mut taken = tokio::spawn(async move { taker.create_snapshot(request).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut taken).await;
    assert!(early.is_err(), "it was copied while a file system lived in it: {early:?}");
    holder.end();
    taken.await.unwrap().unwrap();
    let source = Some(volumes::Source::Snapshot(id("s")));
    let copy = volumes::CreateVolume { source, ..super::request("r", &shape(SIZE, &[])) };
    driver.create(copy).await.unwrap();
    driver.node_stage(&id("r")).await.unwrap();
    let contents = driver.show(&id("r")).await.unwrap().path.unwrap();
    assert_eq!(fs::read_to_string(contents.join("kept")).unwrap(), "value");
}

#[tokio::test]
async fn another_mount_in_its_place_is_told() {
    let Some((_disk, driver, path)) = staged().await else { return };
    driver.node_unpublish(&id("v"), "test").await.unwrap();
    driver.node_unstage(&id("v")).await.unwrap();
    let mount = path.parent().unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(mount));
    let error = driver.node_stage(&id("v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.next_step().unwrap().contains("umount"), "{error}");
    run(Command::new("umount").arg(mount));
    driver.node_stage(&id("v")).await.unwrap();
}
