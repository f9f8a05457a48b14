//! Waiting: goals, exits, reasons, deadlines.

use std::time::Duration;

use control::{Condition, Exit, Goal, Mode, StopOptions};
use link::Report;
use model::ErrorKind;
use model::instance::{Health, InstanceStatus, Phase, Reason};

use crate::support::*;

#[tokio::test]
async fn the_next_exit_is_waited_for_from_before_the_start() {
    let rig = Rig::new().await;
    let job = rig.create("job", stopped("job")).await.unwrap();
    let instances = rig.control.instances();
    let exit = instances.wait(caller(), PROJECT, "job", Condition::NextExit).unwrap();
    instances.start(caller(), PROJECT, "job", Mode::Apply).await.unwrap();
    rig.until_running("job").await;
    rig.agent.as_ref().unwrap().exit(&job.meta.id, 3);
    assert_eq!(exit.await.unwrap(), Exit { code: 3, ..Exit::default() });
    let now = instances.wait(caller(), PROJECT, "job", Condition::NotRunning).unwrap();
    assert_eq!(now.await.unwrap().code, 3, "it does not run already");
}

#[tokio::test]
async fn one_that_is_about_to_run_counts_as_running() {
    let rig = Rig::silent().await;
    rig.create("job", spec("job")).await.unwrap();
    let instances = rig.control.instances();
    let mut wait = instances.wait(caller(), PROJECT, "job", Condition::NotRunning).unwrap();
    assert!(futures::poll!(&mut wait).is_pending());
    instances.stop(caller(), PROJECT, "job", &StopOptions::default(), Mode::Apply).await.unwrap();
    assert_eq!(wait.await.unwrap(), Exit::default());
}

#[tokio::test]
async fn a_failure_is_told_with_its_reason_and_kind() {
    let rig = Rig::silent().await;
    let web = rig.create("web", spec("nope")).await.unwrap();
    rig.until("web", |it| it.spec.placement.is_some()).await;
    let instances = rig.control.instances();
    let caller = caller();
    let settled = instances.settle(caller, &web.meta.id, Goal::Started, DEADLINE);
    let fail = async {
        let reason = Reason {
            next: Some("check the name".into()),
            ..Reason::new("ImageNotFound", "docker.io has no image \"nope\"")
        };
        let status = InstanceStatus {
            phase: Phase::Failed,
            reason: Some(reason),
            observed_generation: 2,
            ..Default::default()
        };
        rig.report(vec![Report::Instance(web.meta.id.clone(), Box::new(status))]).await;
    };
    let (error, ()) = tokio::join!(settled, fail);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.message(),
        "instance \"web\" could not be started: docker.io has no image \"nope\""
    );
    assert_eq!(error.next_step(), Some("check the name"));
    let exit = instances.wait(caller, PROJECT, "web", Condition::NotRunning).unwrap().await;
    assert_eq!(exit.unwrap().error.as_deref(), Some("docker.io has no image \"nope\""));
}

#[tokio::test]
async fn what_cannot_be_placed_is_told_at_once() {
    let rig = Rig::alone().await;
    let web = rig.create("web", spec("a")).await.unwrap();
    let settled =
        rig.control.instances().settle(caller(), &web.meta.id, Goal::Started, DEADLINE).await;
    let error = settled.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("node n1: not ready"), "{error}");
}

#[tokio::test]
async fn a_deadline_says_how_far_it_is() {
    let rig = Rig::silent().await;
    let web = rig.create("web", spec("a")).await.unwrap();
    let deadline = Duration::from_millis(20);
    let settled =
        rig.control.instances().settle(caller(), &web.meta.id, Goal::Started, deadline).await;
    let error = settled.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("is not running after 20ms; it is pending"), "{error}");
}

#[tokio::test]
async fn health_is_waited_for() {
    let rig = Rig::silent().await;
    let web = rig.create("web", spec("a")).await.unwrap();
    rig.until("web", |it| it.spec.placement.is_some()).await;
    let (instances, caller) = (rig.control.instances(), caller());
    let healthy = instances.settle(caller, &web.meta.id, Goal::Healthy, DEADLINE);
    let become_so = async {
        for health in [Health::Starting, Health::Healthy] {
            let status = InstanceStatus {
                phase: Phase::Running,
                runs: 1,
                health,
                observed_generation: 2,
                ..Default::default()
            };
            rig.report(vec![Report::Instance(web.meta.id.clone(), Box::new(status))]).await;
        }
    };
    let (healthy, ()) = tokio::join!(healthy, become_so);
    assert_eq!(healthy.unwrap().status.health, Health::Healthy);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_keeps_nobody_else_waiting() {
    let rig = Rig::alone().await;
    let small = rig.create("small", spec("a")).await.unwrap();
    // It fits as it is, and not with what placement says of it.
    let room = store::limits::VALUE_BYTES - small.encode().len() - 60;
    let mut big = spec("a");
    big.containers[0].env.push(format!("FILL={}", "x".repeat(room)));
    rig.create("big", big).await.unwrap();
    rig.create("web", spec("a")).await.unwrap();
    rig.until("web", |it| it.status.reason.is_some()).await;
    assert_eq!(rig.get("big").unwrap().status.reason, None);
    // And again, once it is known.
    rig.create("last", spec("a")).await.unwrap();
    rig.until("last", |it| it.status.reason.is_some()).await;
}
