//! One download for all who ask.

use std::sync::Arc;

use futures::future::join_all;
use images::{Phase, Progress, PullOptions};
use model::image::Reference;
use tokio::sync::Semaphore;

use crate::mock::{Answer, Mock};
use crate::sample::{Sample, SampleLayer};
use crate::store::{Fixture, always, eventually};

/// A registry that holds the large layer back after `first` bytes until the gate is opened.
async fn gated(sample: &Sample, first: usize) -> (Mock, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let (inner, big) = (gate.clone(), sample.layers[1].digest().to_string());
    let mock = Mock::start(move |seen| match seen.path.ends_with(&big) && seen.method == "GET" {
        true => Answer::Gate(first, inner.clone()),
        false => Answer::Serve,
    })
    .await;
    mock.put("1", sample);
    (mock, gate)
}

#[tokio::test]
async fn ten_callers_share_one_download() {
    let sample = Sample::of_size(300, 300_000);
    let (mock, gate) = gated(&sample, 1000).await;
    let fixture = Fixture::new();
    let name = Reference::parse(&mock.name("app:1")).unwrap();
    let mut states = Vec::new();
    let pulls: Vec<_> = (0..10)
        .map(|_| {
            let (progress, state) = Progress::channel();
            states.push(state);
            let (puller, name) = (fixture.puller.clone(), name.clone());
            tokio::spawn(
                async move { puller.pull(&name, PullOptions { progress, ..always() }).await },
            )
        })
        .collect();
    eventually("everybody sees the first bytes", async || {
        states.iter().all(|state| state.borrow().layers.get(1).is_some_and(|layer| layer.done > 0))
    })
    .await;
    gate.add_permits(10);
    for pull in join_all(pulls).await {
        assert_eq!(pull.unwrap().unwrap().id, sample.id().as_str());
    }
    assert_eq!(mock.gets(), (3, 1), "each part is fetched once");
    for state in states {
        assert!(state.borrow().layers.iter().all(|layer| layer.phase == Phase::Done));
    }
}

#[tokio::test]
async fn one_who_leaves_does_not_stop_the_others() {
    let sample = Sample::of_size(310, 300_000);
    let (mock, gate) = gated(&sample, 1000).await;
    let fixture = Fixture::new();
    let name = Reference::parse(&mock.name("app:1")).unwrap();
    let pulls: Vec<_> = (0..10)
        .map(|_| {
            let (puller, name) = (fixture.puller.clone(), name.clone());
            tokio::spawn(async move { puller.pull(&name, always()).await })
        })
        .collect();
    eventually("the download began", async || mock.gets().0 == 3).await;
    for pull in &pulls[..9] {
        pull.abort();
    }
    gate.add_permits(10);
    let outcomes = join_all(pulls).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes[9].as_ref().unwrap().as_ref().unwrap().id, sample.id().as_str());
    assert_eq!(mock.gets(), (3, 1));
}

#[tokio::test]
async fn when_all_leave_it_stops_and_can_be_continued() {
    let sample = Sample::of_size(320, 300_000);
    let (mock, gate) = gated(&sample, 50_000).await;
    let fixture = Fixture::new();
    let name = Reference::parse(&mock.name("app:1")).unwrap();
    let (progress, state) = Progress::channel();
    let (puller, asked) = (fixture.puller.clone(), name.clone());
    let pull =
        tokio::spawn(
            async move { puller.pull(&asked, PullOptions { progress, ..always() }).await },
        );
    eventually("the first bytes", async || {
        state.borrow().layers.get(1).is_some_and(|layer| layer.done == 50_000)
    })
    .await;
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    assert!(fixture.store.images().await.unwrap().is_empty());
    gate.add_permits(10);
    fixture.puller.pull(&name, always()).await.unwrap();
    let big = sample.layers[1].digest();
    let asked: Vec<_> =
        mock.seen().into_iter().filter(|seen| seen.path.ends_with(big.as_str())).collect();
    assert_eq!(asked[1].header("range"), Some("bytes=50000-"));
    assert!(fixture.store.ingests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_is_told_to_all() {
    let gate = Arc::new(Semaphore::new(0));
    let inner = gate.clone();
    let mock = Mock::start(move |seen| match seen.path.contains("/manifests/") {
        true => Answer::Gate(1, inner.clone()),
        false => Answer::Serve,
    })
    .await;
    mock.put_manifest("1", images::media::MANIFEST, b"{\"no\": \"manifest\"}");
    let fixture = Fixture::new();
    let name = mock.name("app:1");
    let all = join_all((0..5).map(|_| fixture.pull(&name)));
    let open = async {
        eventually("it was asked", async || mock.gets().1 == 1).await;
        gate.add_permits(10);
    };
    let (outcomes, ()) = tokio::join!(all, open);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.message().contains("neither"), "{}", error.chain());
    }
    assert_eq!(mock.gets().1, 1);
}

#[tokio::test]
async fn images_with_a_common_layer_fetch_it_once() {
    let common = SampleLayer::noisy(330, 300_000);
    let samples =
        [1, 2, 3, 4].map(|seed| Sample::new(vec![SampleLayer::noisy(seed, 100), common.clone()]));
    let (mock, gate) = gated(&samples[0], 1000).await;
    for (index, sample) in samples.iter().enumerate() {
        mock.put(&index.to_string(), sample);
    }
    let fixture = Fixture::new();
    let names: Vec<String> = (0..4).map(|index| mock.name(&format!("app:{index}"))).collect();
    let all = join_all(names.iter().map(|name| fixture.pull(name)));
    let open = async {
        eventually("all have begun", async || mock.gets().1 == 4).await;
        gate.add_permits(10);
    };
    let (outcomes, ()) = tokio::join!(all, open);
    assert!(outcomes.iter().all(Result::is_ok));
    let common = common.digest();
    let fetched = mock.seen().iter().filter(|seen| seen.path.ends_with(common.as_str())).count();
    assert_eq!(fetched, 1);
}

#[tokio::test]
async fn names_of_one_image_do_not_get_in_each_others_way() {
    let sample = Sample::of_size(340, 100_000);
    let mock = Mock::good().await;
    for tag in ["1", "2", "3", "4", "5"] {
        mock.put(tag, &sample);
    }
    let fixture = Fixture::new();
    let names: Vec<String> = (1..=5).map(|tag| mock.name(&format!("app:{tag}"))).collect();
    for outcome in join_all(names.iter().map(|name| fixture.pull(name))).await {
        outcome.unwrap();
    }
    assert_eq!(fixture.images.list().await.unwrap()[0].names, names);
}
