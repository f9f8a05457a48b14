//! Archives that are taken, and what is written.

use bytes::Bytes;
use futures::TryStreamExt;
use images::{Digest, ImportKind, ImportOptions, Platform, PullOptions, PullPolicy, Puller, media};
use model::image::{ImageConfig, Reference};
use serde_json::{Value, json};

use crate::mock::Mock;
use crate::sample::{Packing, Sample, SampleLayer, gzip, index_of, tar_of, zstd};
use crate::store::{Fixture, settings};

pub const FULL_NAME: &str = "io.containerd.image.name";
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

pub fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// All files of an OCI layout of one image.
pub fn oci_files(sample: &Sample, name: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let mut entry = sample.descriptor();
    if let Some(name) = name {
        entry = entry.annotate(FULL_NAME, name);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": [entry] });
    layout_files(&[sample], &index)
}

pub fn layout_files(samples: &[&Sample], index: &Value) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ];
    for sample in samples {
        for blob in sample.blobs().into_iter().chain([sample.manifest.clone()]) {
            let name = path(&Digest::of(&blob));
            if !files.iter().any(|(known, _)| *known == name) {
                files.push((name, blob));
            }
        }
    }
    files
}

pub fn tar_files(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, data)| (&**name, &**data)).collect();
    tar_of(&files)
}

pub fn oci_archive(sample: &Sample, name: Option<&str>) -> Vec<u8> {
    tar_files(&oci_files(sample, name))
}

/// As Docker before 25 saved images.
pub fn docker_files(sample: &Sample, tags: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut layers = Vec::new();
    for (index, layer) in sample.layers.iter().enumerate() {
        let directory = Digest::of(format!("layer {index}").as_bytes()).hex().to_owned();
        files.push((format!("{directory}/VERSION"), b"1.0".to_vec()));
        files.push((format!("{directory}/json"), b"{}".to_vec()));
        files.push((format!("{directory}/layer.tar"), layer.tar.clone()));
        layers.push(format!("{directory}/layer.tar"));
    }
    let config = format!("{}.json", sample.id().hex());
    files.push((config.clone(), sample.config.clone()));
    let manifest = json!([{ "Config": config, "RepoTags": tags, "Layers": layers }]);
    files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    files.push(("repositories".to_owned(), b"{}".to_vec()));
    files
}

async fn import(fixture: &Fixture, data: &[u8]) -> Vec<model::image::Image> {
    fixture.images.import(data, ImportOptions::default()).await.unwrap()
}

#[tokio::test]
async fn oci_and_docker_archives_in_any_compression() {
    let sample = Sample::of_size(600, 100_000);
    let oci = oci_archive(&sample, Some("example.org/app:1"));
    let docker = tar_files(&docker_files(&sample, &["app:1", "example.org/app:2"]));
    for (archive, names) in [
        (oci, vec!["example.org/app:1"]),
        (docker, vec!["docker.io/library/app:1", "example.org/app:2"]),
    ] {
        for data in [archive.clone(), gzip(&archive), zstd(&archive)] {
            let fixture = Fixture::new();
            let images = import(&fixture, &data).await;
            assert_eq!(images.len(), 1);
            assert_eq!(
                (&images[0].id, &images[0].names),
                (&sample.id().to_string(), &names.iter().map(|n| (*n).to_owned()).collect())
            );
            fixture.store.collect().await.unwrap();
            assert_eq!(fixture.store.list().await.unwrap().len(), 4, "what is unused was removed");
            assert!(fixture.store.ingests().await.unwrap().is_empty());
            // Again: nothing changes.
            import(&fixture, &data).await;
            assert_eq!(fixture.images.list().await.unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn an_archive_of_many_tools() {
    let sample = Sample::new(vec![SampleLayer::noisy(610, 1000)]);
    let layer = &sample.layers[0];
    let (config, blob) =
        (format!("sha256:{}", sample.id().hex()), format!("{}.tar.gz", layer.digest().hex()));
    let manifest = json!([{ "Config": config, "RepoTags": ["app:crane"], "Layers": [blob] }]);
    let crane = [
        (config.clone(), sample.config.clone()),
        (blob, layer.blob.clone()),
        ("manifest.json".into(), manifest.to_string().into_bytes()),
    ];
    let fixture = Fixture::new();
    assert_eq!(import(&fixture, &tar_files(&crane)).await[0].id, sample.id().as_str());
    // A layout packed with `tar -C layout -cf - .`, with only a tag for a name.
    let index =
        json!({ "schemaVersion": 2, "manifests": [sample.descriptor().annotate(REF_NAME, "9")] });
    let files = layout_files(&[&sample], &index);
    let dotted: Vec<_> =
        files.iter().map(|(name, data)| (format!("./{name}"), data.clone())).collect();
    let name = Some(Reference::parse("example.org/named").unwrap());
    let options = ImportOptions { name, ..ImportOptions::default() };
    let images = fixture.images.import(&tar_files(&dotted)[..], options).await.unwrap();
    assert!(images[0].names.contains(&"example.org/named:9".to_owned()), "{:?}", images[0].names);
    // No name at all: found by its id, and kept.
    let fixture = Fixture::new();
    let images = import(&fixture, &oci_archive(&sample, None)).await;
    assert!(images[0].names.is_empty());
    fixture.store.collect().await.unwrap();
    assert_eq!(fixture.images.show(&sample.id().hex()[..12]).await.unwrap().id, images[0].id);
}

#[tokio::test]
async fn an_index_in_an_archive() {
    let host = Platform::host().to_string();
    let ours = Sample::of_size(620, 1000);
    let arm = Sample::for_platform("linux/arm/v6", vec![SampleLayer::noisy(622, 10)]);
    let index = index_of(&[("linux/arm/v6", &arm), (&host, &ours)]);
    let at =
        images::Descriptor::of(media::INDEX, &index).annotate(FULL_NAME, "example.org/multi:1");
    let top = json!({ "schemaVersion": 2, "manifests": [at] });
    for (samples, count) in [(vec![&ours, &arm], 8), (vec![&ours], 5)] {
        let mut files = layout_files(&samples, &top);
        files.push((path(&Digest::of(&index)), index.clone()));
        let fixture = Fixture::new();
        let images = import(&fixture, &tar_files(&files)).await;
        assert_eq!(
            (&*images[0].id, &*images[0].digest),
            (ours.id().as_str(), Digest::of(&index).as_str())
        );
        fixture.store.collect().await.unwrap();
        assert_eq!(fixture.store.list().await.unwrap().len(), count);
        // What is saved of it comes back, whole or in part.
        let saved = save(&fixture, &["example.org/multi:1"]).await;
        let other = Fixture::new();
        assert_eq!(import(&other, &saved).await[0].id, ours.id().as_str());
    }
}

async fn save(fixture: &Fixture, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let stream = fixture.images.save(&names, None).await.unwrap();
    stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

#[tokio::test]
async fn what_is_saved_is_a_layout_and_a_docker_archive() {
    let (one, two) = (Sample::of_size(630, 50_000), Sample::of_size(632, 1000));
    let mock = Mock::good().await;
    mock.put("1", &one);
    mock.put("2", &two);
    let fixture = Fixture::new();
    let names = [mock.name("a:1"), mock.name("b:2")];
    for name in &names {
        fixture.pull(name).await.unwrap();
    }
    fixture.images.tag(&names[0], &Reference::parse("again:3").unwrap(), false).await.unwrap();
    let saved = save(&fixture, &[&names[0], &names[1], "again:3"]).await;
    assert_eq!(saved, save(&fixture, &[&names[0], &names[1], "again:3"]).await);
    let mut archive = tar::Archive::new(&saved[..]);
    let mut files = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut data).unwrap();
        files.insert(entry.path().unwrap().to_string_lossy().into_owned(), data);
    }
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let first = manifest
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["RepoTags"].as_array().unwrap().len() == 2);
    assert_eq!(first.unwrap()["RepoTags"], json!([names[0], "again:3"]));
    for entry in manifest.as_array().unwrap() {
        assert!(files.contains_key(entry["Config"].as_str().unwrap()));
    }
    // Each half alone is enough.
    for half in ["index.json", "manifest.json"] {
        let kept = files.iter().filter(|(name, _)| !name.ends_with('/') && *name != half);
        let kept: Vec<_> = kept.map(|(name, data)| (name.clone(), data.clone())).collect();
        let other = Fixture::new();
        let images = import(&other, &tar_files(&kept)).await;
        assert_eq!(images.len(), 2, "without {half}");
        let found = other.images.show("again:3").await.unwrap();
        assert_eq!(found.id, one.id().as_str());
    }
    // Docker tells an id without names by a null.
    let by_id = save(&fixture, &[two.id().as_str()]).await;
    let other = Fixture::new();
    assert!(import(&other, &by_id).await[0].names.is_empty());
}

#[tokio::test]
async fn a_layout_in_a_directory() {
    let sample = Sample::of_size(640, 1000);
    let directory = tempfile::tempdir().unwrap();
    for (name, data) in oci_files(&sample, Some("example.org/dir:1")) {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }
    let fixture = Fixture::new();
    let import = |path| fixture.images.import_directory(path, ImportOptions::default());
    assert_eq!(import(directory.path()).await.unwrap()[0].id, sample.id().as_str());
    let blob = directory.path().join(path(&sample.layers[1].digest()));
    std::fs::rename(&blob, directory.path().join("aside")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("aside"), &blob).unwrap();
    let fixture = Fixture::new();
    let import = |path| fixture.images.import_directory(path, ImportOptions::default());
    let error = import(directory.path()).await.unwrap_err();
    assert!(error.message().contains("not a plain file"), "{}", error.chain());
    fixture.assert_empty("a link in a layout").await;
    let error = import(&directory.path().join("nothing")).await.unwrap_err();
    assert!(error.message().contains("index.json"), "{}", error.chain());
}

#[tokio::test]
async fn a_root_file_system() {
    let tar = tar_of(&[("bin/sh", b"#!"), ("etc/passwd", b"root")]);
    for (data, media_type) in [
        (tar.clone(), media::LAYER),
        (gzip(&tar), media::LAYER_GZIP),
        (zstd(&tar), media::LAYER_ZSTD),
    ] {
        let fixture = Fixture::new();
        let config = ImageConfig { command: vec!["/bin/sh".into()], ..ImageConfig::default() };
        let name = Some(Reference::parse("mine:1").unwrap());
        let options =
            ImportOptions { name, config, comment: "from a disk".into(), ..Default::default() };
        let images = fixture.images.import(&data[..], options).await.unwrap();
        let image = &images[0];
        assert_eq!(image.names, ["docker.io/library/mine:1"]);
        assert_eq!(image.layers, [Digest::of(&tar).to_string()]);
        assert_eq!(image.config.command, ["/bin/sh"]);
        assert_eq!(image.history[0].comment, "from a disk");
        let layers = fixture.images.layers("mine:1").await.unwrap();
        assert_eq!(layers[0].descriptor.media_type, media_type);
        assert_eq!(image.architecture, Platform::host().architecture);
    }
    // Said to be one, whatever its members are called.
    let odd = tar_of(&[("index.json", b"not an index")]);
    let fixture = Fixture::new();
    let options = ImportOptions { kind: ImportKind::RootFs, ..Default::default() };
    fixture.images.import(&odd[..], options).await.unwrap();
}

#[tokio::test]
async fn layers_kept_plain_or_packed_come_through() {
    let layers = [Packing::Plain, Packing::Gzip, Packing::Zstd].map(|packing| {
        SampleLayer::of_tar(tar_of(&[("f", format!("{packing:?}").as_bytes())]), packing)
    });
    let sample = Sample::new(layers.to_vec());
    let fixture = Fixture::new();
    let images = import(&fixture, &oci_archive(&sample, Some("a:1"))).await;
    assert_eq!(images[0].digest, sample.digest().as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_imported_image_is_unpacked_for_all_who_start_from_it() {
    for seed in 0..20 {
        let fixture = Fixture::new();
        let layers = (0..4).map(|layer| SampleLayer::noisy(900 + seed * 10 + layer, 500));
        let sample = Sample::new(layers.collect());
        let name = import(&fixture, &oci_archive(&sample, Some("a:1"))).await[0].id.clone();
        let puller = Puller::of(fixture.images.clone(), settings()).unwrap();
        let users = (0..8).map(|i| {
            let (images, name) = (fixture.images.clone(), name.clone());
            let puller = puller.clone();
            tokio::spawn(async move {
                if i % 2 == 0 {
                    return images.unpack(&name).await;
                }
                let options = PullOptions { policy: PullPolicy::Never, ..PullOptions::default() };
                puller.pull(&Reference::parse("a:1").unwrap(), options).await.map(drop)
            })
        });
        for user in users.collect::<Vec<_>>() {
            user.await.unwrap().unwrap();
        }
    }
}
