//! A thousand instances: what a change costs then. The bounds are loose, for machines under load;
//! the figures are printed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::{ListOptions, Mode};
use model::instance::Phase;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_instances() {
    let rig = Arc::new(Rig::new().await);
    let big = model::network::NetworkSpec {
        ipv4: Some("10.40.0.0/16".parse().unwrap()),
        ..Default::default()
    };
    let new = control::New::named("default", big);
    rig.control.networks().create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    let began = Instant::now();
    let makers: Vec<_> = (0..8)
        .map(|worker| {
            let rig = rig.clone();
            tokio::spawn(async move {
                for i in 0..125 {
                    let wish = with_port(spec("nginx"), None, 80);
                    rig.create(&format!("web-{worker}-{i}"), wish).await.unwrap();
                }
            })
        })
        .collect();
    for maker in makers {
        maker.await.unwrap();
    }
    let made = began.elapsed();
    for worker in 0..8 {
        rig.until(&format!("web-{worker}-124"), |it| it.status.phase == Phase::Running).await;
    }
    rig.eventually("all run", || {
        let list = rig.control.instances().list(caller(), None, &ListOptions::default()).unwrap();
        list.items.iter().all(|it| it.status.phase == Phase::Running)
    })
    .await;
    let running = began.elapsed();

    let list = || {
        let began = Instant::now();
        let list = rig.control.instances().list_json(caller(), None, &ListOptions::default());
        assert_eq!(list.unwrap().items.len(), 1000);
        began.elapsed()
    };
    let first = list();
    let lists = median((0..21).map(|_| list()).collect());

    let (mut commits, mut told) = (Vec::new(), Vec::new());
    for i in 0..21 {
        let mut desired = link::ControlPort::desired(&*rig.control, NODE);
        desired.mark_unchanged();
        let began = Instant::now();
        let made = rig.create(&format!("one-{i}"), spec("nginx")).await.unwrap();
        commits.push(began.elapsed());
        desired
            .wait_for(|now| now.instances.iter().any(|it| it.meta.id == made.meta.id))
            .await
            .unwrap();
        told.push(began.elapsed());
        rig.until_running(&format!("one-{i}")).await;
    }
    let (commit, told) = (median(commits), median(told));
    println!("1,000 made by 8 in {made:?}, all running after {running:?}");
    println!("list as JSON: first {first:?}, then {lists:?}");
    for it in rig.control.loops() {
        println!("loop {}: {} passes, the last took {:?}", it.name, it.passes, it.took);
    }
    println!("among 1,000: create {commit:?}, told to the node after {told:?}");
    assert!(lists < Duration::from_millis(50), "{lists:?}");
    assert!(told < Duration::from_millis(500), "{told:?}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_instances() {
    let rig = Rig::new().await;
    let (mut commits, mut told) = (Vec::new(), Vec::new());
    for i in 0..51 {
        let mut desired = link::ControlPort::desired(&*rig.control, NODE);
        let began = Instant::now();
        let made = rig.create(&format!("one-{i}"), spec("nginx")).await.unwrap();
        commits.push(began.elapsed());
        let has =
            |now: &Arc<link::Desired>| now.instances.iter().any(|it| it.meta.id == made.meta.id);
        desired.wait_for(has).await.unwrap();
        told.push(began.elapsed());
        rig.until_running(&format!("one-{i}")).await;
    }
    println!("among few: create {:?}, told to the node after {:?}", median(commits), median(told));
}
