//! Pulls that go well, and those that cannot.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use images::{
    Descriptor, Digest, Images, ImportOptions, LABEL_UNCOMPRESSED, Limits, Phase, Progress,
    PullOptions, PullPolicy, Settings, media,
};
use model::ErrorKind;
use model::image::Reference;
use serde_json::{Value, json};

use crate::mock::{Answer, Mock};
use crate::sample::{Packing, Sample, SampleLayer, config_of, index_of, noise, tar_of};
use crate::store::{Fixture, always, mirrored, settings};

fn reference(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

#[tokio::test]
async fn an_image_with_all_that_belongs_to_it() {
    let mock = Mock::good().await;
    let sample = Sample::of_size(10, 500_000);
    mock.put("1.0", &sample);
    let fixture = Fixture::new();
    let (progress, seen) = Progress::channel();
    let options = PullOptions { progress, ..always() };
    let name = mock.name("team/app:1.0");
    let image = fixture.puller.pull(&reference(&name), options).await.unwrap();
    assert_eq!(image.id, sample.id().as_str());
    assert_eq!(image.digest, sample.digest().as_str());
    assert_eq!(image.names, std::slice::from_ref(&name));
    assert_eq!(image.digests, [format!("{}@{}", mock.name("team/app"), sample.digest())]);
    assert_eq!(image.config.command, ["/bin/true"]);
    assert_eq!(image.layers.len(), 2);
    let sizes: Vec<u64> = image.history.iter().map(|entry| entry.size.0).collect();
    let blobs: Vec<u64> = sample.layers.iter().map(|layer| layer.blob.len() as u64).collect();
    assert_eq!(sizes, blobs);
    let state = seen.borrow().clone();
    assert_eq!(state.target, Some(sample.digest()));
    for (layer, size) in state.layers.iter().zip(blobs) {
        assert_eq!((layer.phase, layer.done, layer.total), (Phase::Done, size, size));
    }
    for layer in &sample.layers {
        let info = fixture.store.info(&layer.digest()).await.unwrap().unwrap();
        assert_eq!(info.labels[LABEL_UNCOMPRESSED], Digest::of(&layer.tar).as_str());
    }
    fixture.store.collect().await.unwrap();
    assert_eq!(fixture.store.list().await.unwrap().len(), 4, "all is kept by the names");
    assert!(fixture.store.ingests().await.unwrap().is_empty());
    let raw = fixture.images.raw_config(&name).await.unwrap();
    assert_eq!(raw["x-unknown"]["kept"], true);
}

#[tokio::test]
async fn layers_of_every_kind_in_both_worlds_types() {
    let mock = Mock::good().await;
    for (tag, packing) in [("p", Packing::Plain), ("g", Packing::Gzip), ("z", Packing::Zstd)] {
        let layer = SampleLayer::of_tar(tar_of(&[(tag, b"content")]), packing);
        mock.put(tag, &Sample::new(vec![layer]));
    }
    let docker = Sample::of_size(20, 1000).docker();
    mock.put("d", &docker);
    mock.put("none", &Sample::new(Vec::new()));
    let twice = SampleLayer::noisy(5, 100);
    mock.put("twice", &Sample::new(vec![twice.clone(), twice]));
    let fixture = Fixture::new();
    for tag in ["p", "g", "z", "d", "none", "twice"] {
        fixture.pull(&mock.name(&format!("kinds:{tag}"))).await.unwrap();
    }
    assert_eq!(fixture.images.list().await.unwrap().len(), 6);
}

#[tokio::test]
async fn by_digest() {
    let mock = Mock::good().await;
    let sample = Sample::of_size(30, 1000);
    mock.put("1", &sample);
    let fixture = Fixture::new();
    let name = format!("{}@{}", mock.name("app"), sample.digest());
    let image = fixture.pull(&name).await.unwrap();
    assert_eq!((image.names.len(), image.digests), (0, vec![name.clone()]));
    let found = fixture.images.show(&name).await.unwrap();
    assert_eq!(found.id, sample.id().as_str());
    let other = format!("{}@{}", mock.name("app"), Digest::of(b"another"));
    assert_eq!(fixture.pull(&other).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_index_gives_the_platform_asked_for() {
    let mock = Mock::good().await;
    let ours = Sample::of_size(40, 1000);
    let arm = Sample::for_platform("linux/arm/v6", vec![SampleLayer::noisy(41, 10)]);
    let host = images::Platform::host().to_string();
    for sample in [&ours, &arm] {
        mock.put("part", sample);
    }
    let index = index_of(&[("linux/arm/v6", &arm), (&host, &ours)]);
    mock.put_manifest("1", media::INDEX, &index);
    let fixture = Fixture::new();
    let name = mock.name("multi:1");
    let image = fixture.pull(&name).await.unwrap();
    assert_eq!((&*image.id, &*image.digest), (ours.id().as_str(), Digest::of(&index).as_str()));
    let platform = Some("linux/arm/v7".parse().unwrap());
    let options = PullOptions { platform, ..always() };
    let image = fixture.puller.pull(&reference(&name), options).await.unwrap();
    assert_eq!((&*image.id, &*image.architecture), (arm.id().as_str(), "arm"));
    let options = PullOptions { platform: Some("linux/s390x".parse().unwrap()), ..always() };
    let error = fixture.puller.pull(&reference(&name), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let there = format!("there is: {host}, linux/arm/v6");
    assert!(error.message().contains(&there), "{}", error.message());
    mock.put("alien", &Sample::for_platform("linux/s390x", Vec::new()));
    let error = fixture.pull(&mock.name("multi:alien")).await.unwrap_err();
    assert!(error.message().contains("made for linux/s390x"), "{}", error.message());
}

#[tokio::test]
async fn policies() {
    let mock = Mock::good().await;
    let sample = Sample::of_size(50, 1000);
    mock.put("1", &sample);
    let fixture = Fixture::new();
    let name = reference(&mock.name("app:1"));
    let with = |policy| PullOptions { policy, ..PullOptions::default() };
    let error = fixture.puller.pull(&name, with(PullPolicy::Never)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(mock.seen().is_empty());
    fixture.puller.pull(&name, with(PullPolicy::Missing)).await.unwrap();
    let before = mock.seen().len();
    fixture.puller.pull(&name, with(PullPolicy::Missing)).await.unwrap();
    fixture.puller.pull(&name, with(PullPolicy::Never)).await.unwrap();
    assert_eq!(mock.seen().len(), before, "the registry was asked for what is here");
    fixture.puller.pull(&name, with(PullPolicy::Always)).await.unwrap();
    let asked: Vec<_> = mock.seen().split_off(before).into_iter().map(|seen| seen.method).collect();
    assert_eq!(asked, ["HEAD"]);
    // The tag moves on: the old image stays by its digest, without a name.
    let next = Sample::of_size(52, 1000);
    mock.put("1", &next);
    fixture.puller.pull(&name, with(PullPolicy::Always)).await.unwrap();
    let old = fixture.images.show(sample.id().as_str()).await.unwrap();
    assert_eq!((old.names.len(), old.digests.len()), (0, 1));
    assert_eq!(fixture.images.show(&name.to_string()).await.unwrap().id, next.id().as_str());
    // A lost layer is fetched again, whatever the name says.
    fixture.store.delete(&next.layers[1].digest()).await.unwrap();
    fixture.puller.pull(&name, with(PullPolicy::Missing)).await.unwrap();
    assert!(fixture.store.info(&next.layers[1].digest()).await.unwrap().is_some());
}

#[tokio::test]
async fn mirrors_are_tried_in_order_and_then_the_registry() {
    let (empty, full, upstream) = (Mock::good().await, Mock::good().await, Mock::good().await);
    let (one, two) = (Sample::of_size(60, 1000), Sample::of_size(62, 1000));
    full.put("1", &one);
    upstream.put("1", &two);
    upstream.put("2", &two);
    let dead = "http://127.0.0.1:9".to_owned();
    let registries = mirrored(&upstream.address, &[dead, empty.url(), full.url()]);
    let fixture = Fixture::with(Settings { registries: registries.into(), ..settings() });
    let image = fixture.pull(&upstream.name("library/app:1")).await.unwrap();
    assert_eq!(image.id, one.id().as_str());
    assert_eq!(image.names, [upstream.name("library/app:1")]);
    assert!(!empty.seen().is_empty() && upstream.seen().is_empty());
    let image = fixture.pull(&upstream.name("library/app:2")).await.unwrap();
    assert_eq!(image.id, two.id().as_str());
    let error = fixture.pull(&upstream.name("library/app:3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains(&empty.url()), "{}", error.message());
    // Docker Hub by way of a mirror, as the starter images are had.
    let registries = mirrored("docker.io", &[full.url()]);
    let fixture = Fixture::with(Settings { registries: registries.into(), ..settings() });
    let image = fixture.pull("app:1").await.unwrap();
    assert_eq!(image.names, ["docker.io/library/app:1"]);
    assert!(full.seen().iter().any(|seen| seen.path == "/v2/library/app/manifests/1"));
}

#[tokio::test]
async fn unknown_and_unreachable() {
    let mock = Mock::good().await;
    let fixture = Fixture::new();
    let error = fixture.pull(&mock.name("nothing:1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("nothing:1"), "{}", error.message());
    assert!(error.next_step().unwrap().contains("hull image login"));
    let error = fixture.pull("127.0.0.1:9/app:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("127.0.0.1:9 cannot be reached"), "{}", error.message());
    fixture.assert_empty("after failures").await;
}

#[tokio::test]
async fn images_that_are_refused_leave_nothing() {
    let mock = Mock::good().await;
    let layer = SampleLayer::noisy(70, 5000);
    let escape = {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../../etc");
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, std::io::empty()).unwrap();
        SampleLayer::of_tar(builder.into_inner().unwrap(), Packing::Gzip)
    };
    mock.put("escape", &Sample::new(vec![layer.clone(), escape]));
    let host = images::Platform::host();
    let lie = config_of(&host, &[Digest::of(b"other")]);
    mock.put("lie", &Sample::with_config(vec![layer.clone()], lie));
    mock.put("few", &Sample::with_config(vec![layer.clone()], config_of(&host, &[])));
    let mut json_layer = layer.clone();
    json_layer.blob = br#"{"not":"a layer"}"#.repeat(100);
    mock.put("json", &Sample::new(vec![json_layer]));
    mock.put_manifest(
        "schema1",
        media::DOCKER_SCHEMA1_SIGNED,
        br#"{"schemaVersion":1,"fsLayers":[]}"#,
    );
    let both = json!({ "manifests": [], "config": {}, "layers": [] }).to_string();
    mock.put_manifest("both", media::INDEX, both.as_bytes());
    let chart = json!({ "config": {
        "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of(b""), "size": 0 } });
    mock.put_manifest("chart", media::MANIFEST, chart.to_string().as_bytes());
    mock.put_manifest("junk", media::MANIFEST, b"not json");
    for (tag, kind, why) in [
        ("escape", ErrorKind::Invalid, "'..'"),
        ("lie", ErrorKind::Invalid, "configuration says"),
        ("few", ErrorKind::Invalid, "knows 0 layers"),
        ("json", ErrorKind::Invalid, "not a sound tar"),
        ("schema1", ErrorKind::Unsupported, "schema 1"),
        ("both", ErrorKind::Invalid, "cannot be read"),
        ("chart", ErrorKind::Unsupported, "helm"),
        ("junk", ErrorKind::Invalid, "cannot be read"),
    ] {
        let fixture = Fixture::new();
        let error = fixture.pull(&mock.name(&format!("bad:{tag}"))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{tag}: {}", error.chain());
        assert!(error.message().contains(why), "{tag}: {}", error.chain());
        assert!(error.message().contains(&format!("bad:{tag}")), "{tag}: {}", error.chain());
        fixture.assert_empty(tag).await;
    }
}

#[tokio::test]
async fn a_manifest_that_has_another_digest() {
    let sample = Sample::of_size(80, 100);
    let lie = Digest::of(b"a lie").to_string();
    let manifest = String::from_utf8(sample.manifest.clone()).unwrap();
    let mock = Mock::start(move |seen| match seen.path.contains("/manifests/") {
        true => Answer::Say(
            200,
            vec![("content-type", media::MANIFEST.into()), ("docker-content-digest", lie.clone())],
            manifest.clone(),
        ),
        false => Answer::Serve,
    })
    .await;
    mock.put("1", &sample);
    let fixture = Fixture::new();
    let error = fixture.pull(&mock.name("app:1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("digest"), "{}", error.message());
    fixture.assert_empty("a lying registry").await;
}

/// Not a check but a figure: `cargo test --release -p images -- --ignored --nocapture throughput`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn throughput() {
    let words =
        crate::sample::noise(1, 128 << 20).iter().map(|byte| b'a' + byte % 16).collect::<Vec<u8>>();
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let layer = SampleLayer::of_tar(tar_of(&[("file", &words)]), packing);
        let size = layer.blob.len();
        let mock = Mock::good().await;
        mock.put("1", &Sample::new(vec![layer]));
        let fixture = Fixture::new();
        let start = std::time::Instant::now();
        fixture.pull(&mock.name("app:1")).await.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{packing:?}: {} MB in {seconds:.2} s, {:.0} MB/s",
            size / 1_000_000,
            size as f64 / 1e6 / seconds
        );
    }
}

#[tokio::test]
async fn machines_are_told_from_containers() {
    let mock = Mock::good().await;
    let fixture = Fixture::new();
    let layer = |path: &str, data: &[u8], packing| {
        SampleLayer::of_tar(tar_of(&[("etc", b""), (path, data)]), packing)
    };
    let disk = || layer("disk/disk.qcow2", b"QFI\xfb...", Packing::Gzip);
    let gone = layer("disk/.wh.disk.qcow2", b"", Packing::Plain);
    let mut firmware = serde_json::from_slice::<Value>(&Sample::new(vec![disk()]).config).unwrap();
    firmware["config"]["Labels"] = json!({ "io.monohull.machine.firmware": "uefi" });
    for (tag, sample, expected) in [
        ("container", Sample::new(vec![layer("file", b"x", Packing::Zstd)]), None),
        ("machine", Sample::new(vec![layer("file", b"y", Packing::Zstd), disk()]), Some("Bios")),
        ("uefi", Sample::with_config(vec![disk()], firmware), Some("Uefi")),
        ("gone", Sample::new(vec![disk(), gone]), None),
    ] {
        mock.put(tag, &sample);
        let name = mock.name(&format!("team/app:{tag}"));
        let pulled = fixture.puller.pull(&reference(&name), always()).await.unwrap();
        let machine = pulled.machine.as_ref().map(|machine| {
            assert_eq!(machine.disk, "/disk/disk.qcow2");
            format!("{:?}", machine.firmware)
        });
        assert_eq!(machine.as_deref(), expected, "{tag}");
        let anew = Images::new(Arc::clone(&fixture.store), Limits::default());
        assert_eq!(anew.show(&name).await.unwrap().machine, pulled.machine, "{tag}");
        let archive = fixture.images.save(std::slice::from_ref(&name), None).await.unwrap();
        let archive: Vec<Bytes> = archive.try_collect().await.unwrap();
        let other = Fixture::new();
        let imported = other.images.import(&archive.concat()[..], ImportOptions::default()).await;
        assert_eq!(imported.unwrap()[0].machine, pulled.machine, "{tag}");
    }
    let mut bad: Value = serde_json::from_slice(&Sample::new(vec![disk()]).config).unwrap();
    bad["config"]["Labels"] = json!({ "io.monohull.machine.kernel": "../../boot/vmlinuz" });
    mock.put("bad", &Sample::with_config(vec![disk()], bad));
    let pulled = fixture.puller.pull(&reference(&mock.name("team/app:bad")), always()).await;
    assert!(pulled.unwrap_err().message().contains("io.monohull.machine.kernel"));
}

#[tokio::test]
async fn an_artifact_that_is_a_disk_becomes_a_machine() {
    let mock = Mock::good().await;
    let fixture = Fixture::new();
    let disk = [&b"QFI\xfb"[..], &noise(3, 5000)].concat();
    let layer = Descriptor::of("application/octet-stream", &disk)
        .annotate("org.opencontainers.image.title", "debian-12.qcow2");
    let manifest = |layer: &Descriptor, firmware: &str| {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "artifactType": "application/vnd.acme.disk",
            "config": Descriptor::of("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [layer],
            "annotations": { "io.monohull.machine.firmware": firmware },
        });
        manifest.to_string().into_bytes()
    };
    let good = manifest(&layer, "uefi");
    mock.put_blob(disk.clone());
    mock.put_manifest("disk", media::MANIFEST, &good);
    let name = mock.name("team/vm:disk");
    let image = fixture.puller.pull(&reference(&name), always()).await.unwrap();
    let machine = image.machine.clone().unwrap();
    assert_eq!(machine.disk, "/disk/disk.qcow2");
    assert_eq!(machine.firmware, model::instance::FirmwareKind::Uefi);
    let (_, bytes) = fixture.images.disk(&name).await.unwrap();
    let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
    assert!(bytes.concat() == disk);
    // Nothing is fetched again, by tag or by the artifact's digest.
    let (blobs, _) = mock.gets();
    let again = fixture.puller.pull(&reference(&name), always()).await.unwrap();
    assert_eq!(again.digest, image.digest);
    let by_digest = format!("{}@{}", mock.name("team/vm"), Digest::of(&good));
    let same = fixture.puller.pull(&reference(&by_digest), always()).await.unwrap();
    assert_eq!(same.id, image.id);
    assert_eq!(mock.gets().0, blobs);
    // Another node makes the same image of it.
    let other = Fixture::new().pull(&name).await.unwrap();
    assert_eq!(other.digest, image.digest);

    let fixture = Fixture::new();
    let mut wrong = layer.clone();
    wrong.digest = Digest::of(b"something else");
    mock.put_manifest("wrong", media::MANIFEST, &manifest(&wrong, "uefi"));
    mock.put_manifest("odd", media::MANIFEST, &manifest(&layer, "openfirmware"));
    for tag in ["wrong", "odd"] {
        assert!(fixture.pull(&mock.name(&format!("team/vm:{tag}"))).await.is_err(), "{tag}");
        assert!(fixture.store.ingests().await.unwrap().is_empty(), "{tag}");
        assert!(fixture.store.images().await.unwrap().is_empty(), "{tag}");
    }
}
