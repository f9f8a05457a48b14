//! The store of images.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use containers::containerd::Target;
use futures::StreamExt;
use model::ErrorKind;

use crate::a_node;
use crate::image::{digest, layer};
use crate::scenarios::within;

#[tokio::test]
async fn a_blob_is_gone_on_with_where_it_stopped() {
    let node = a_node!();
    let engine = &node.engine;
    let lease = engine.lease(Duration::from_secs(600)).await.unwrap();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| i as u8).collect();
    let name = digest(&bytes);
    let total = bytes.len() as u64;
    let mut writer = engine.write_blob("pull-1", total, &name, Some(&lease)).await.unwrap();
    assert_eq!(writer.offset(), 0);
    writer.write(&bytes[..3_000_000]).await.unwrap();
    writer.flush().await.unwrap();
    let busy = engine.write_blob("pull-1", total, &name, Some(&lease)).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Unavailable, "{}", busy.chain());
    drop(writer);
    let ingests = engine.ingests().await.unwrap();
    assert_eq!((ingests[0].name.as_str(), ingests[0].offset), ("pull-1", 3_000_000));
    let resumed = async {
        loop {
            match engine.write_blob("pull-1", total, &name, Some(&lease)).await {
                Ok(writer) => return writer,
                // containerd lets go of the name when it sees that its writer left.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
    };
    let mut writer = within(resumed).await;
    assert_eq!(writer.offset(), 3_000_000);
    writer.write(&bytes[3_000_000..]).await.unwrap();
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    writer.commit(total, &name, labels.clone()).await.unwrap();
    let blob = engine.blob(&name).await.unwrap().unwrap();
    assert_eq!(blob.size, total);
    assert_eq!(blob.labels.get("a").map(String::as_str), Some("b"));
    assert_eq!(engine.read_whole_blob(&name, total).await.unwrap(), bytes);
    let mut part = engine.read_blob(&name, 1_000_000, 10).await.unwrap();
    assert_eq!(part.next().await.unwrap().unwrap(), bytes[1_000_000..1_000_010]);
    assert_eq!(engine.read_whole_blob(&name, 10).await.unwrap_err().kind(), ErrorKind::Exhausted);
    let again = engine.write_blob("pull-2", total, &name, Some(&lease)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists);
    engine.label_blob(&name, [("c".to_owned(), "d".to_owned())]).await.unwrap();
    assert!(engine.blobs().await.unwrap().iter().any(|blob| blob.digest == name));
    for _ in 0..2 {
        engine.delete_blob(&name).await.unwrap();
    }
    assert_eq!(engine.blob(&name).await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_that_is_another_is_refused() {
    let node = a_node!();
    let name = digest(b"right");
    let mut writer = node.engine.write_blob("x", 0, "", None).await.unwrap();
    writer.write(b"wrong").await.unwrap();
    let error = writer.commit(5, &name, BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
    assert_eq!(node.engine.blob(&name).await.unwrap(), None);
    node.engine.abort_ingest("x").await.unwrap();
    node.engine.abort_ingest("x").await.unwrap();
    assert!(node.engine.ingests().await.unwrap().is_empty());
}

#[tokio::test]
async fn layers_are_unpacked_once_however_many_ask() {
    let node = a_node!();
    let engine = &node.engine;
    let lease = engine.lease(Duration::from_secs(600)).await.unwrap();
    let mut layers = Vec::new();
    for i in 0..4 {
        let text = format!("{i}");
        let (layer, archive) = layer(&[("file", text.as_bytes(), 0o644)], &[]);
        engine.put_blob(&layer.digest, &archive, [].into(), Some(&lease)).await.unwrap();
        layers.push(layer);
    }
    let config = digest(b"{}");
    engine.put_blob(&config, b"{}", [].into(), Some(&lease)).await.unwrap();
    let steps = AtomicUsize::new(0);
    let ask = || {
        engine.unpack(&layers, &config, |progress| {
            assert_eq!(progress.of, 4);
            steps.fetch_max(progress.done, Ordering::Relaxed);
        })
    };
    let chains = within(futures::future::join_all((0..10).map(|_| ask()))).await;
    let chain = chains[0].as_ref().unwrap().clone();
    for other in &chains {
        assert_eq!(other.as_ref().map_err(model::Error::chain), Ok(&chain));
    }
    assert_eq!(steps.load(Ordering::Relaxed), 4);
    assert!(engine.has_snapshot(&chain).await.unwrap());
    assert!(engine.snapshot_usage(&chain).await.unwrap().size.0 > 0);
    let mut config = node.logged("top", &["cat", "/file"]);
    config.chain = chain;
    // Without a program in it, it can be created all the same.
    containers::Engine::create(engine, &config).await.unwrap();
    let rootfs = containers::Engine::rootfs(engine, &config.id).await.unwrap();
    assert_eq!(rootfs.read_text("/file", 10).unwrap(), "3");
    drop(rootfs);
    containers::Engine::remove(engine, &config.id).await.unwrap();
}

#[tokio::test]
async fn layers_that_are_not_what_they_say() {
    let node = a_node!();
    let engine = &node.engine;
    let lease = engine.lease(Duration::from_secs(600)).await.unwrap();
    let (good, archive) = layer(&[("file", b"x", 0o644)], &[]);
    engine.put_blob(&good.digest, &archive, [].into(), Some(&lease)).await.unwrap();
    let mut lying = good.clone();
    lying.diff_id = digest(b"other");
    let mut torn = good.clone();
    let half = &archive[..archive.len() / 2 + 100];
    torn.digest = digest(half);
    torn.media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
    engine.put_blob(&torn.digest, half, [].into(), Some(&lease)).await.unwrap();
    let mut absent = good.clone();
    absent.digest = digest(b"absent");
    for (bad, kind) in
        [(lying, ErrorKind::Invalid), (torn, ErrorKind::Invalid), (absent, ErrorKind::NotFound)]
    {
        let error = engine.unpack(std::slice::from_ref(&bad), "", |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(!engine.has_snapshot(&bad.diff_id).await.unwrap());
    }
    engine.unpack(&[good], "", |_| {}).await.unwrap();
}

#[tokio::test]
async fn names_keep_what_they_name() {
    let node = a_node!();
    let engine = &node.engine;
    let lease = engine.lease(Duration::from_secs(600)).await.unwrap();
    let bytes = b"{}";
    let name = digest(bytes);
    engine.put_blob(&name, bytes, [].into(), Some(&lease)).await.unwrap();
    let target = Target {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: name.clone(),
        size: 2,
    };
    let labels = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
    for _ in 0..2 {
        engine.put_image("example/a:1", &target, labels.clone(), Some(&lease)).await.unwrap();
    }
    engine.release(&lease).await.unwrap();
    let record = engine.image("example/a:1").await.unwrap().unwrap();
    assert_eq!((record.target, record.labels), (target, labels));
    assert_eq!(engine.images().await.unwrap().len(), 1);
    for _ in 0..2 {
        engine.delete_image("example/a:1", true).await.unwrap();
    }
    assert_eq!(engine.image("example/a:1").await.unwrap(), None);
    assert_eq!(engine.blob(&name).await.unwrap(), None);
}
