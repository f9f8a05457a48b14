//! Killed in the middle.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use images::{ContentStore, DirStore, Puller};
use model::image::Reference;
use tokio::sync::Semaphore;

use crate::mock::{Answer, Mock};
use crate::sample::Sample;
use crate::store::{always, eventually, settings};

const STORE: &str = "IMAGES_TEST_STORE";
const NAME: &str = "IMAGES_TEST_NAME";

/// Not a test: what the child runs.
#[tokio::test]
#[ignore = "run by the tests of this file as a process of its own"]
async fn child() {
    let (Ok(store), Ok(name)) = (std::env::var(STORE), std::env::var(NAME)) else { return };
    let store = Arc::new(DirStore::open(store).unwrap());
    let puller = Puller::new(store, settings()).unwrap();
    match puller.pull(&Reference::parse(&name).unwrap(), always()).await {
        Ok(image) => println!("pulled {}", image.id),
        Err(error) => println!("failed {} {}", error.kind(), error.chain()),
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "kill::child", "--nocapture"]);
    command
}

#[tokio::test]
async fn a_killed_pull_leaves_nothing_visible_and_is_continued() {
    let sample = Sample::of_size(500, 600_000);
    let big = sample.layers[1].digest();
    let gate = Arc::new(Semaphore::new(0));
    let (inner, path) = (gate.clone(), big.to_string());
    let mock = Mock::start(move |seen| match seen.path.ends_with(&path) {
        true => Answer::Gate(200_000, inner.clone()),
        false => Answer::Serve,
    })
    .await;
    mock.put("1", &sample);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let mut child = command(&std::env::current_exe().unwrap())
        .env(STORE, &root)
        .env(NAME, mock.name("app:1"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ingest = root.join("ingest").join(format!("hull-{}", big.hex()));
    let small = root.join("blobs/sha256").join(sample.layers[0].digest().hex());
    eventually("the child has written one layer and a part of the other", async || {
        small.exists() && std::fs::metadata(&ingest).is_ok_and(|file| file.len() >= 200_000)
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Arc::new(DirStore::open(&root).unwrap());
    assert!(store.images().await.unwrap().is_empty(), "a name is visible");
    assert_eq!(store.info(&big).await.unwrap(), None, "half a blob is visible");
    store.collect().await.unwrap();
    assert_eq!(store.ingests().await.unwrap()[0].offset, 200_000);
    gate.add_permits(10);
    let before = mock.seen().len();
    let puller = Puller::new(store.clone(), settings()).unwrap();
    let image =
        puller.pull(&Reference::parse(&mock.name("app:1")).unwrap(), always()).await.unwrap();
    assert_eq!(image.id, sample.id().as_str());
    let asked = mock.seen().split_off(before);
    let blobs: Vec<_> = asked.iter().filter(|seen| seen.is_blob()).collect();
    // The small layer was committed before: it is not fetched again.
    assert_eq!(blobs.len(), 2, "{blobs:?}");
    assert!(blobs.iter().any(|seen| seen.header("range") == Some("bytes=200000-")));
    store.collect().await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 4);
}

#[tokio::test]
async fn killed_at_every_request_it_still_comes_to_an_end() {
    let sample = Sample::of_size(520, 200_000);
    let mock = Mock::good().await;
    mock.put("1", &sample);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let name = mock.name("app:1");
    // HEAD or GET of the manifest, the configuration, two layers.
    for requests in 1..=4 {
        let before = mock.seen().len();
        let mut child = command(&std::env::current_exe().unwrap())
            .env(STORE, &root)
            .env(NAME, &name)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the request, or the end", async || {
            mock.seen().len() - before >= requests || child.try_wait().unwrap().is_some()
        })
        .await;
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
        let store = Arc::new(DirStore::open(&root).unwrap());
        store.collect().await.unwrap();
        for record in store.images().await.unwrap() {
            let images = images::Images::new(store.clone(), Default::default());
            assert_eq!(images.show(&record.name).await.unwrap().id, sample.id().as_str());
        }
    }
    let store = Arc::new(DirStore::open(&root).unwrap());
    let puller = Puller::new(store.clone(), settings()).unwrap();
    puller.pull(&Reference::parse(&name).unwrap(), always()).await.unwrap();
    store.collect().await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 4);
    assert!(store.ingests().await.unwrap().is_empty());
}

/// On a small disk of its own, where this machine lets us have one.
#[tokio::test]
async fn a_full_disk_is_said() {
    let sample = Sample::of_size(510, 3_000_000);
    let mock = Mock::good().await;
    mock.put("1", &sample);
    let directory = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
    let inner = command(&std::env::current_exe().unwrap());
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "sh", "-c", mount, "sh"]).arg(directory.path());
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.env(STORE, directory.path().join("store")).env(NAME, mock.name("app:1"));
    let output = tokio::task::spawn_blocking(move || outer.output()).await.unwrap();
    let Ok(output) = output else { return eprintln!("skipped: no unshare") };
    if !output.status.success() {
        return eprintln!("skipped: no mount of its own");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("failed exhausted") && text.contains("full"), "{text}");
}
