//! The verbs for images that are here.

use images::{Images, PruneOptions, RemoveOptions};
use model::image::{Image, Reference};
use model::{Error, ErrorKind};

use crate::mock::Mock;
use crate::sample::{Packing, Sample, SampleLayer, tar_of};
use crate::store::Fixture;

fn nobody(_: &Image) -> Option<String> {
    None
}

fn someone(_: &Image) -> Option<String> {
    Some("instance web-1".into())
}

fn gentle() -> RemoveOptions<'static> {
    RemoveOptions { force: false, plan: false, in_use: &nobody }
}

fn forced() -> RemoveOptions<'static> {
    RemoveOptions { force: true, ..gentle() }
}

fn prune(all: bool) -> PruneOptions<'static> {
    let (labels, unlabelled) = Default::default();
    PruneOptions { all, plan: false, until: None, labels, unlabelled, in_use: &nobody }
}

async fn tag(images: &Images, source: &str, target: &str) -> Result<(), Error> {
    images.tag(source, &Reference::parse(target).unwrap(), false).await
}

/// Two images with a common layer.
async fn two() -> (Fixture, Mock, [Sample; 2]) {
    let common = SampleLayer::noisy(800, 5000);
    let samples =
        [801, 802].map(|seed| Sample::new(vec![common.clone(), SampleLayer::noisy(seed, 1000)]));
    let mock = Mock::good().await;
    mock.put("1", &samples[0]);
    mock.put("2", &samples[1]);
    let fixture = Fixture::new();
    for tag in ["app:1", "app:2"] {
        fixture.pull(&mock.name(tag)).await.unwrap();
    }
    (fixture, mock, samples)
}

#[tokio::test]
async fn found_by_name_id_and_its_beginning() {
    let (fixture, mock, [one, two]) = two().await;
    let images = &fixture.images;
    tag(images, &mock.name("app:1"), "short:1").await.unwrap();
    let id = one.id();
    let by_digest = format!("{}@{}", mock.name("app"), one.digest());
    for name in [
        &mock.name("app:1"),
        "short:1",
        "docker.io/library/short:1",
        id.as_str(),
        id.hex(),
        &id.hex()[..6],
        &format!("sha256:{}", &id.hex()[..10]),
        &by_digest,
    ] {
        assert_eq!(images.show(name).await.unwrap().id, id.as_str(), "{name}");
    }
    for name in ["short:2", "short", "nothing", "", "zz", &"0".repeat(64)] {
        assert_eq!(images.find(name).await.unwrap(), None, "{name}");
        assert_eq!(images.show(name).await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
    }
    assert_eq!(images.list().await.unwrap().len(), 2);
    assert_ne!(one.id(), two.id());
    let history = images.history("short:1").await.unwrap();
    assert_eq!(history[0].size.0, one.layers[1].blob.len() as u64);
}

#[tokio::test]
async fn names_come_and_go_and_the_image_with_the_last() {
    let (fixture, mock, [one, _]) = two().await;
    let (images, name) = (&fixture.images, mock.name("app:1"));
    tag(images, &name, "other:1").await.unwrap();
    let error = images.remove(one.id().as_str(), gentle()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("other:1"), "{}", error.message());
    let removed = images.remove(&name, gentle()).await.unwrap();
    assert_eq!((removed.untagged, removed.deleted.len()), (vec![name], 0));
    let in_use = RemoveOptions { in_use: &someone, ..forced() };
    let error = images.remove("other:1", in_use).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("instance web-1"), "{}", error.message());
    let removed = images.remove("other:1", gentle()).await.unwrap();
    assert_eq!(removed.deleted, [one.id().to_string()]);
    let freed = one.layers[1].blob.len() + one.config.len() + one.manifest.len();
    assert_eq!(removed.reclaimed.0, freed as u64, "what another image shares stays");
    assert_eq!(images.remove("other:1", gentle()).await.unwrap_err().kind(), ErrorKind::NotFound);
    fixture.images.show(&mock.name("app:2")).await.unwrap();
}

#[tokio::test]
async fn by_force_all_names_go() {
    let (fixture, mock, [one, two]) = two().await;
    tag(&fixture.images, &mock.name("app:1"), "other:1").await.unwrap();
    let force = forced();
    let removed = fixture.images.remove(&one.id().hex()[..12], force).await.unwrap();
    assert_eq!(removed.untagged.len(), 3);
    // A digest goes alone while a tag is there.
    let by_digest = format!("{}@{}", mock.name("app"), two.digest());
    let removed = fixture.images.remove(&by_digest, gentle()).await.unwrap();
    assert_eq!((removed.untagged, removed.deleted.len()), (vec![by_digest], 0));
    fixture.images.remove(&mock.name("app:2"), gentle()).await.unwrap();
    fixture.assert_empty("all removed").await;
}

#[tokio::test]
async fn pruned_is_what_nobody_needs() {
    let (fixture, mock, [one, _]) = two().await;
    assert_eq!(fixture.images.prune(prune(false)).await.unwrap().deleted.len(), 0);
    // The tag moves: what it meant is left without a name.
    tag(&fixture.images, &mock.name("app:2"), &mock.name("app:1")).await.unwrap();
    let labels = [("kind".to_owned(), "other".to_owned())].into();
    let picky = PruneOptions { labels, ..prune(false) };
    assert_eq!(fixture.images.prune(picky).await.unwrap().deleted.len(), 0);
    let until = Some("2020-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(
        fixture.images.prune(PruneOptions { until, ..prune(true) }).await.unwrap().deleted.len(),
        0
    );
    let used = PruneOptions { in_use: &someone, ..prune(true) };
    assert_eq!(fixture.images.prune(used).await.unwrap().deleted.len(), 0);
    // A plan says what would go, and how much that gives back, and touches nothing.
    let planned = fixture.images.prune(PruneOptions { plan: true, ..prune(false) }).await.unwrap();
    let plan = RemoveOptions { plan: true, ..gentle() };
    let removal = fixture.images.remove(one.id().as_str(), plan).await.unwrap();
    assert_eq!(removal, planned);
    assert_eq!(fixture.images.prune(prune(false)).await.unwrap(), planned);
    assert_eq!(planned.deleted, [one.id().to_string()]);
    assert_eq!(fixture.images.prune(prune(true)).await.unwrap().deleted.len(), 1);
    fixture.assert_empty("all pruned").await;
}

#[tokio::test]
async fn what_images_take() {
    let (fixture, mock, [one, two]) = two().await;
    let used = |image: &Image| (image.id == one.id().as_str()).then(|| "x".to_owned());
    let usage = fixture.images.usage(&used).await.unwrap();
    let on_disk: u64 = fixture.store.list().await.unwrap().iter().map(|blob| blob.size).sum();
    assert_eq!(usage.total.0, on_disk);
    let own = two.layers[1].blob.len() + two.config.len() + two.manifest.len();
    assert_eq!(usage.reclaimable.0, own as u64);
    for row in &usage.images {
        assert_eq!(row.shared.0, one.layers[0].blob.len() as u64);
        assert_eq!(row.in_use, row.id == one.id().as_str());
    }
    assert!(usage.images.iter().any(|row| row.names == [mock.name("app:1")]));
}

/// The same layers in two packings: one image, for it has one configuration, of two manifests.
#[tokio::test]
async fn a_name_means_the_manifest_it_points_at() {
    let tar = tar_of(&[("f", b"x")]);
    let [gzip, zstd] = [Packing::Gzip, Packing::Zstd]
        .map(|packing| Sample::new(vec![SampleLayer::of_tar(tar.clone(), packing)]));
    assert_eq!(gzip.id(), zstd.id());
    let mock = Mock::good().await;
    mock.put("gzip", &gzip);
    mock.put("zstd", &zstd);
    let fixture = Fixture::new();
    let images = &fixture.images;
    for (tag, sample) in [("app:gzip", &gzip), ("app:zstd", &zstd), ("app:gzip", &gzip)] {
        let image = fixture.pull(&mock.name(tag)).await.unwrap();
        assert_eq!(image.digest, sample.digest().as_str(), "{tag}");
    }
    tag(images, &mock.name("app:zstd"), "other:1").await.unwrap();
    for (name, sample) in [
        (mock.name("app:gzip"), &gzip),
        (mock.name("app:zstd"), &zstd),
        ("other:1".to_owned(), &zstd),
        (zstd.digest().to_string(), &zstd),
        (gzip.digest().to_string(), &gzip),
    ] {
        let image = images.show(&name).await.unwrap();
        assert_eq!(image.digest, sample.digest().as_str(), "{name}");
        assert_eq!(images.manifest_digest(&name).await.unwrap(), sample.digest(), "{name}");
        assert_eq!(image.size.0, sample.layers[0].blob.len() as u64, "{name}");
    }
    // Who runs it by one of its manifests holds the image.
    for sample in [&gzip, &zstd] {
        let digest = sample.digest().to_string();
        let user = |image: &Image| (image.digest == digest).then(|| "instance web-1".to_owned());
        let force = RemoveOptions { in_use: &user, ..forced() };
        let error = images.remove(gzip.id().as_str(), force).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let used = PruneOptions { in_use: &user, ..prune(true) };
        assert_eq!(images.prune(used).await.unwrap().deleted.len(), 0);
    }
    images.prune(prune(true)).await.unwrap();
    fixture.assert_empty("all pruned").await;
}

#[tokio::test]
async fn tags_that_are_none() {
    let (fixture, mock, [one, _]) = two().await;
    let digest = format!("a@{}", one.digest());
    assert_eq!(
        tag(&fixture.images, &mock.name("app:1"), &digest).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        tag(&fixture.images, "nothing", "a:1").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_damaged_record_does_not_hide_the_others() {
    let (fixture, mock, [one, two]) = two().await;
    fixture.store.delete(&one.id()).await.unwrap();
    let images = fixture.images.list().await.unwrap();
    assert_eq!(images.iter().map(|image| &*image.id).collect::<Vec<_>>(), [two.id().as_str()]);
    fixture.pull(&mock.name("app:1")).await.unwrap();
    assert_eq!(fixture.images.list().await.unwrap().len(), 2);
}
