//! Registries that break, stall, lie and refuse.

use std::time::{Duration, Instant};

use http::Method;
use images::{Limits, PushOptions, Pusher, Settings};
use model::image::Reference;
use model::{Bytes, ErrorKind};

use crate::archives::oci_archive;
use crate::mock::{Answer, Mock, Seen};
use crate::sample::Sample;
use crate::store::{Fixture, mirrored, settings};

const SIZE: usize = 400_000;

fn is_big(seen: &Seen, sample: &Sample) -> bool {
    seen.path.ends_with(sample.layers[1].digest().as_str())
}

/// A registry that answers for the large layer of `sample` as `rule` says.
async fn registry(sample: &Sample, rule: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Mock {
    let known = sample.clone();
    let mock = Mock::start(move |seen| match is_big(seen, &known) {
        true => rule(seen),
        false => Answer::Serve,
    })
    .await;
    mock.put("1", sample);
    mock
}

fn ranges(mock: &Mock, sample: &Sample) -> Vec<Option<String>> {
    let seen = mock.seen().into_iter().filter(|seen| is_big(seen, sample));
    seen.map(|seen| seen.header("range").map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_broken_download_is_continued() {
    let sample = Sample::of_size(100, SIZE);
    let mock = registry(&sample, |seen| match seen.nth {
        0 => Answer::Cut(100_000),
        1 => Answer::Cut(50_000),
        2 => Answer::Cut(0),
        _ => Answer::Serve,
    })
    .await;
    let fixture = Fixture::new();
    fixture.pull(&mock.name("app:1")).await.unwrap();
    let ranges = ranges(&mock, &sample);
    let starts: Vec<u64> = ranges
        .iter()
        .map(|range| {
            let range = range.as_deref().unwrap_or("bytes=0-");
            range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
        })
        .collect();
    assert_eq!(starts.len(), 4);
    // How much of what was sent arrives before the break is up to the connection.
    assert!(starts.is_sorted() && starts[3] <= 150_000, "{starts:?}");
    assert!(starts[3] > 0, "nothing was continued: {starts:?}");
}

#[tokio::test]
async fn a_registry_that_cannot_continue_begins_anew() {
    let sample = Sample::of_size(110, SIZE);
    let mock = registry(&sample, |seen| match seen.nth {
        0 => Answer::Cut(200_000),
        _ => Answer::NoRange,
    })
    .await;
    Fixture::new().pull(&mock.name("app:1")).await.unwrap();
}

#[tokio::test]
async fn a_stalled_download_is_continued() {
    let sample = Sample::of_size(120, SIZE);
    let mock = registry(&sample, |seen| match seen.nth {
        0 => Answer::Stall(100_000),
        _ => Answer::Serve,
    })
    .await;
    Fixture::new().pull(&mock.name("app:1")).await.unwrap();
    assert_eq!(ranges(&mock, &sample)[1].as_deref(), Some("bytes=100000-"));
}

#[tokio::test]
async fn one_that_breaks_for_ever_is_given_up_and_later_continued() {
    let sample = Sample::of_size(130, SIZE);
    let mock = registry(&sample, |seen| match seen.nth {
        0 => Answer::Stall(100_000),
        1..6 => Answer::Cut(0),
        _ => Answer::Serve,
    })
    .await;
    let fixture = Fixture::new();
    let error = fixture.pull(&mock.name("app:1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(fixture.store.images().await.unwrap().is_empty());
    fixture.store.collect().await.unwrap();
    let ingests = fixture.store.ingests().await.unwrap();
    assert_eq!(ingests.len(), 1);
    assert_eq!(ingests[0].offset, 100_000);
    fixture.pull(&mock.name("app:1")).await.unwrap();
    assert_eq!(ranges(&mock, &sample).last().unwrap().as_deref(), Some("bytes=100000-"));
    // What came in two parts was checked all the same.
    let info = fixture.store.info(&sample.layers[1].digest()).await.unwrap().unwrap();
    assert!(info.labels.contains_key(images::LABEL_UNCOMPRESSED));
}

#[tokio::test]
async fn what_was_left_wrong_is_fetched_anew() {
    use images::{Ingest, WriteRequest};
    let sample = Sample::of_size(140, SIZE);
    let mock = registry(&sample, |_| Answer::Serve).await;
    let fixture = Fixture::new();
    let layer = &sample.layers[1];
    for left in [vec![1; 1000], vec![1; layer.blob.len()], vec![1; layer.blob.len() + 10]] {
        let digest = layer.digest();
        let reference = format!("hull-{}", digest.hex());
        let request = WriteRequest { reference, size: None, digest: Some(digest.clone()) };
        let Ingest::Open(mut writer) = fixture.store.writer(&request).await.unwrap() else {
            panic!("it is there already");
        };
        writer.append(left.into()).await.unwrap();
        drop(writer);
        fixture.pull(&mock.name("app:1")).await.unwrap();
        fixture.store.delete(&digest).await.unwrap();
    }
}

#[tokio::test]
async fn errors_that_pass() {
    for (status, wait) in [(500, None), (502, None), (503, Some("0")), (429, Some("1"))] {
        let sample = Sample::of_size(150, 1000);
        let mock = Mock::start(move |seen| {
            let headers = wait.map(|wait| ("retry-after", wait.to_owned()));
            match seen.nth {
                0 if seen.path != "/v2/" => {
                    Answer::Say(status, headers.into_iter().collect(), "busy".into())
                }
                _ => Answer::Serve,
            }
        })
        .await;
        mock.put("1", &sample);
        let start = Instant::now();
        Fixture::new().pull(&mock.name("app:1")).await.unwrap();
        if wait == Some("1") {
            assert!(start.elapsed() >= Duration::from_secs(2), "Retry-After was not waited for");
        }
    }
}

#[tokio::test]
async fn errors_that_stay() {
    for (status, wait, kind, why) in [
        (500, "0", ErrorKind::Unavailable, "answers 500"),
        (429, "3600", ErrorKind::Exhausted, "TOOMANYREQUESTS (slow down)"),
        (400, "0", ErrorKind::Invalid, "answers 400"),
        (403, "0", ErrorKind::NotFound, "may not be seen"),
        (404, "0", ErrorKind::NotFound, "does not exist"),
    ] {
        let mock = Mock::start(move |_| {
            let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow \u001b[31mdown"}]}"#;
            let body = body.replace("\\u001b[31m", "");
            Answer::Say(status, vec![("retry-after", wait.into())], body)
        })
        .await;
        let fixture = Fixture::new();
        let error = fixture.pull(&mock.name("app:1")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {}", error.chain());
        assert!(error.message().contains(why), "{status}: {}", error.chain());
        fixture.assert_empty("a registry that refuses").await;
    }
}

#[tokio::test]
async fn bytes_that_are_not_those() {
    type Make = fn() -> Answer;
    let cases: [(&str, Make, &str); 4] = [
        ("flipped", || Answer::Flipped, "not those"),
        ("longer", || Answer::Instead(vec![7; SIZE * 2]), "sends more"),
        ("shorter", || Answer::Instead(vec![7; 10]), "broke off"),
        ("a short length", || Answer::Short(10), "broke off"),
    ];
    for (what, answer, why) in cases {
        let sample = Sample::of_size(160, SIZE);
        let mock = registry(&sample, move |seen| match seen.header("range") {
            // A length that lies each time would still bring it on.
            Some(_) if what.contains("short") => Answer::Cut(0),
            _ => answer(),
        })
        .await;
        let fixture = Fixture::new();
        let error = fixture.pull(&mock.name("app:1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {}", error.chain());
        assert!(
            error.message().contains(why) || what.contains("short"),
            "{what}: {}",
            error.chain()
        );
        assert!(fixture.store.images().await.unwrap().is_empty());
        assert_eq!(fixture.store.info(&sample.layers[1].digest()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn wrong_bytes_of_a_mirror_are_made_good_by_the_registry() {
    let sample = Sample::of_size(170, SIZE);
    let bad = registry(&sample, |_| Answer::Flipped).await;
    let good = registry(&sample, |_| Answer::Serve).await;
    let registries = mirrored(&good.address, &[bad.url()]);
    let fixture = Fixture::with(Settings { registries: registries.into(), ..settings() });
    fixture.pull(&good.name("app:1")).await.unwrap();
    assert_eq!(good.gets(), (1, 0), "only what the mirror had wrong");
}

#[tokio::test]
async fn documents_that_are_huge() {
    let mock = Mock::start(|seen| match seen.path.contains("/manifests/") {
        true => Answer::Say(200, Vec::new(), format!("{{\"x\":\"{}\"}}", "y".repeat(200_000))),
        false => Answer::Serve,
    })
    .await;
    let limits = Limits { manifest: Bytes(100_000), ..Limits::default() };
    let fixture = Fixture::with_limits(limits);
    let error = fixture.pull(&mock.name("app:1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("over 100000 bytes"), "{}", error.message());
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let sample = Sample::of_size(180, 1000);
    let storage = Mock::good().await;
    storage.put("1", &sample);
    let target = storage.url();
    let mock = Mock::start(move |seen| match seen.is_blob() {
        true => {
            Answer::Say(307, vec![("location", format!("{target}{}", seen.path))], String::new())
        }
        false => Answer::Serve,
    })
    .await;
    mock.put("1", &sample);
    Fixture::new().pull(&mock.name("app:1")).await.unwrap();
    assert_eq!(storage.gets().0, 3);
    for location in ["", "file:///etc/passwd", "/v2/", "http://127.0.0.1:9/"] {
        let mock = Mock::start(move |_| {
            Answer::Say(302, vec![("location", location.into())], String::new())
        })
        .await;
        let error = Fixture::new().pull(&mock.name("app:1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{location}: {}", error.chain());
    }
}

#[tokio::test]
async fn what_was_pushed_is_pushed_though_it_cannot_be_named_by_its_digest() {
    let sample = Sample::of_size(260, 1000);
    let fixture = Fixture::new();
    let names = fixture.directory.path().join("store/index.json");
    let mock = Mock::start(move |seen| match seen.method {
        Method::PUT => {
            // From here on no name can be written.
            std::fs::write(&names, "{").unwrap();
            Answer::Say(201, Vec::new(), String::new())
        }
        _ => Answer::Serve,
    })
    .await;
    mock.put("other", &sample);
    let name = mock.name("app:1");
    let archive = oci_archive(&sample, Some(&name));
    fixture.images.import(&archive[..], Default::default()).await.unwrap();
    let pusher = Pusher::new(fixture.store.clone(), settings()).unwrap();
    let reference = Reference::parse(&name).unwrap();
    pusher.push(&name, &reference, PushOptions::default()).await.unwrap();
    assert!(fixture.store.images().await.is_err());
}
