//! The life of instances: verbs, goals, conflicts, removal.

use std::sync::Arc;

use control::{Goal, Mode, RemoveOptions, StopOptions};
use model::instance::{Phase, PullPolicy, RestartPolicy, RunState, Sharing};
use model::{ErrorKind, Span};

use crate::support::*;

#[tokio::test]
async fn a_run_is_placed_told_to_the_node_and_seen_running() {
    let rig = Rig::new().await;
    let made = rig.create("web", with_port(spec("nginx"), Some(8080), 80)).await.unwrap();
    assert_eq!((made.spec.runs, made.spec.run), (1, RunState::Running));
    let settled = rig
        .control
        .instances()
        .settle(caller(), &made.meta.id, Goal::Started, DEADLINE)
        .await
        .unwrap();
    let placed = settled.spec.placement.as_ref().unwrap();
    assert_eq!(placed.node, NODE);
    assert_eq!(placed.ports[0].host, Some(8080));
    assert_eq!(placed.interfaces[0].network, "default");
    assert_eq!(placed.interfaces[0].ipv4.unwrap().to_string(), "10.128.0.2/24");
    assert_eq!(placed.interfaces[0].mac, "02:42:0a:80:00:02");
    assert_eq!(settled.status.phase, Phase::Running);
    let desired = rig.desired();
    assert_eq!(desired.networks.len(), 1);
    assert_eq!(desired.names[0].name, "web");
    assert_eq!(desired.names[0].aliases, [settled.meta.id.short()]);
}

#[tokio::test]
async fn each_verb_does_its_work_once() {
    let rig = Rig::new().await;
    let instances = rig.control.instances();
    rig.create("web", stopped("nginx")).await.unwrap();
    let start = || instances.start(caller(), PROJECT, "web", Mode::Apply);
    assert!(start().await.unwrap().changed);
    rig.until_running("web").await;
    assert!(!start().await.unwrap().changed, "it runs already");

    assert!(instances.pause(caller(), PROJECT, "web", Mode::Apply).await.unwrap().changed);
    assert!(!instances.pause(caller(), PROJECT, "web", Mode::Apply).await.unwrap().changed);
    let error = start().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::Conflict, Some("`hull unpause web`"))
    );
    rig.until("web", |it| it.status.phase == Phase::Paused).await;
    assert!(instances.unpause(caller(), PROJECT, "web", Mode::Apply).await.unwrap().changed);
    assert!(instances.unpause(caller(), PROJECT, "web", Mode::Apply).await.is_err());
    rig.until_running("web").await;

    let save = StopOptions { save: true, ..StopOptions::default() };
    let error = instances.restart(caller(), PROJECT, "web", &save, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "a container has no memory of its own");
    let options = StopOptions { timeout: Some(Span::default()), ..StopOptions::default() };
    let restart = instances.restart(caller(), PROJECT, "web", &options, Mode::Apply);
    assert_eq!(restart.await.unwrap().instance.spec.runs, 2);
    rig.until("web", |it| it.status.runs == 2 && it.status.phase == Phase::Running).await;

    let stop = || instances.stop(caller(), PROJECT, "web", &options, Mode::Apply);
    let stopped = stop().await.unwrap();
    assert!(stopped.changed);
    assert_eq!(stopped.instance.spec.stop.as_ref().unwrap().timeout, None, "SIGKILL at once");
    rig.until("web", |it| it.status.phase == Phase::Exited).await;
    assert!(!stop().await.unwrap().changed);
    let error = instances.pause(caller(), PROJECT, "web", Mode::Apply).await.unwrap_err();
    assert_eq!(error.message(), "instance \"web\" cannot be paused: it is exited");
}

#[tokio::test]
async fn a_stop_with_its_own_signal_keeps_the_time_of_the_instance() {
    let rig = Rig::new().await;
    let mut slow = spec("db");
    slow.stop_timeout = Some("33s".parse().unwrap());
    rig.create("db", slow).await.unwrap();
    let options = StopOptions { signal: "SIGINT".into(), ..StopOptions::default() };
    let verbed =
        rig.control.instances().stop(caller(), PROJECT, "db", &options, Mode::Apply).await.unwrap();
    let stop = verbed.instance.spec.stop.clone().unwrap();
    assert_eq!((stop.timeout, &*stop.signal), (Some("33s".parse().unwrap()), "SIGINT"));
}

#[tokio::test]
async fn sigkill_is_a_stop_and_other_signals_go_to_the_node() {
    let rig = Rig::new().await;
    let mut always = spec("nginx");
    always.restart = RestartPolicy::Always;
    rig.create("web", always).await.unwrap();
    let web = rig.until_running("web").await;
    let instances = rig.control.instances();
    instances.kill(caller(), PROJECT, "web", "", "SIGHUP").await.unwrap();
    let signals = rig.agent.as_ref().unwrap().calls.signals.lock().unwrap().clone();
    assert_eq!(signals, [(web.meta.id.clone(), "SIGHUP".to_owned())]);
    instances.kill(caller(), PROJECT, "web", "", "kill").await.unwrap();
    let dead = rig.until("web", |it| it.status.phase == Phase::Exited).await;
    assert_eq!(dead.spec.run, RunState::Stopped, "the policy does not start it again");
    assert_eq!(dead.status.containers[0].exit_code, Some(137));
    let error = instances.kill(caller(), PROJECT, "web", "", "KILL").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = instances.kill(caller(), PROJECT, "web", "sidecar", "KILL").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_run_that_was_signalled_to_end_is_not_followed_by_another() {
    let rig = Rig::new().await;
    let mut always = spec("nginx");
    always.restart = RestartPolicy::Always;
    rig.create("web", always).await.unwrap();
    let web = rig.until_running("web").await;
    let instances = rig.control.instances();
    instances.make_last(caller(), PROJECT, "web").await.unwrap();
    rig.agent.as_ref().unwrap().exit(&web.meta.id, 143);
    let over = rig.until("web", |it| it.status.phase == Phase::Exited).await;
    assert_eq!((over.spec.final_run, over.spec.policy()), (1, RestartPolicy::No));
    let again = instances.start(caller(), PROJECT, "web", Mode::Apply).await.unwrap();
    assert!(again.changed);
    assert_eq!(again.instance.spec.policy(), RestartPolicy::Always, "the next run is as asked");
}

#[tokio::test]
async fn what_is_to_run_always_runs_when_the_daemon_comes_back() {
    let rig = Rig::new().await;
    let instances = rig.control.instances();
    for (name, policy) in [
        ("always", RestartPolicy::Always),
        ("signalled", RestartPolicy::Always),
        ("unless", RestartPolicy::UnlessStopped),
    ] {
        let mut wanted = spec("nginx");
        wanted.restart = policy;
        rig.create(name, wanted).await.unwrap();
        let running = rig.until_running(name).await;
        if name == "signalled" {
            instances.make_last(caller(), PROJECT, name).await.unwrap();
            rig.agent.as_ref().unwrap().exit(&running.meta.id, 143);
        } else {
            let options = StopOptions::default();
            instances.stop(caller(), PROJECT, name, &options, Mode::Apply).await.unwrap();
        }
        rig.until(name, |it| it.status.phase == Phase::Exited).await;
    }
    let mut never = stopped("nginx");
    never.restart = RestartPolicy::Always;
    rig.create("never", never).await.unwrap();
    drop(instances);
    let rig = rig.reopened().await;
    for (name, run, runs) in [
        ("always", RunState::Running, 2),
        ("signalled", RunState::Running, 2),
        ("unless", RunState::Stopped, 1),
        ("never", RunState::Stopped, 0),
    ] {
        let spec = &rig.get(name).unwrap().spec;
        assert_eq!((spec.run, spec.runs), (run, runs), "{name}");
    }
}

#[tokio::test]
async fn a_stop_goes_on_when_the_daemon_comes_back() {
    let rig = Rig::silent().await;
    let mut wanted = spec("nginx");
    wanted.restart = RestartPolicy::Always;
    let made = rig.create("web", wanted).await.unwrap();
    let report = |phase, generation| {
        let status = model::instance::InstanceStatus {
            phase,
            runs: 1,
            observed_generation: generation,
            ..Default::default()
        };
        vec![link::Report::Instance(made.meta.id.clone(), Box::new(status))]
    };
    rig.report(report(Phase::Running, made.meta.generation)).await;
    let options = StopOptions::default();
    let instances = rig.control.instances();
    let stopped = instances.stop(caller(), PROJECT, "web", &options, Mode::Apply).await.unwrap();
    drop(instances);
    let rig = rig.reopened().await;
    let spec = rig.get("web").unwrap().spec.clone();
    assert_eq!((spec.run, spec.runs), (RunState::Stopped, 1), "its processes still end");
    rig.report(report(Phase::Exited, stopped.instance.meta.generation)).await;
    let rig = rig.reopened().await;
    let spec = rig.get("web").unwrap().spec.clone();
    assert_eq!((spec.run, spec.runs), (RunState::Running, 2));
}

#[tokio::test]
async fn the_image_that_a_name_stands_for_is_kept() {
    let rig = Rig::new().await;
    let images = &rig.agent.as_ref().unwrap().calls.images;
    let id = |digit: &str| format!("sha256:{}", digit.repeat(64));
    images.lock().unwrap().insert("app".into(), id("1"));
    let made = rig.create("first", stopped("app")).await.unwrap();
    assert_eq!(made.spec.containers[0].image_id, id("1"));
    let mut newest = stopped("app");
    newest.containers[0].pull = PullPolicy::Always;
    let newest = rig.create("newest", newest).await.unwrap();
    assert_eq!(newest.spec.containers[0].image_id, "", "each start looks anew");
    let absent = rig.create("absent", stopped("other")).await.unwrap();
    assert_eq!(absent.spec.containers[0].image_id, "", "it is pulled by its name");
    let mut wrong = stopped("app");
    wrong.containers[0].image_id = "app".into();
    let error = rig.create("wrong", wrong).await.unwrap_err();
    assert_eq!(error.message(), "\"app\" is not an image's id");
}

#[tokio::test]
async fn a_running_instance_is_removed_only_by_force() {
    let rig = Rig::new().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let web = rig.until_running("web").await;
    let instances = rig.control.instances();
    let remove = |force, mode| {
        let options = RemoveOptions { force, volumes: false };
        instances.remove(caller(), PROJECT, "web", options, mode)
    };
    let error = remove(false, Mode::Apply).await.unwrap_err();
    assert_eq!(error.message(), "instance \"web\" is running");
    assert_eq!(error.next_step(), Some("`hull stop web` first, or `hull rm --force web`"));
    remove(true, Mode::Plan).await.unwrap();
    assert!(rig.get("web").unwrap().meta.deleted.is_none(), "a plan changes nothing");
    let gone = instances.wait(caller(), PROJECT, "web", control::Condition::Removed).unwrap();
    remove(true, Mode::Apply).await.unwrap();
    assert_eq!(gone.await.unwrap().code, 0);
    assert_eq!(rig.get("web").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(instances.get_by_id(caller(), &web.meta.id).is_err());
    rig.eventually("the node is told", || rig.desired().instances.is_empty()).await;
}

#[tokio::test]
async fn an_instance_no_node_has_goes_at_once() {
    let rig = Rig::alone().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let waiting = rig.until("web", |it| it.status.reason.is_some()).await;
    let reason = waiting.status.reason.clone().unwrap();
    assert_eq!(reason.code, "NoNode");
    assert_eq!(reason.message, "no node can take instance \"web\": node n1: not ready");
    let instances = rig.control.instances();
    let removed = instances.delete(caller(), PROJECT, "web", None, Mode::Apply);
    removed.await.unwrap();
    assert_eq!(rig.get("web").unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_waits_is_placed_when_the_world_changes() {
    let rig = Rig::alone().await;
    rig.create("web", spec("nginx")).await.unwrap();
    rig.until("web", |it| it.status.reason.is_some()).await;
    rig.report(vec![link::Report::Node(Box::new(node_status()))]).await;
    let placed = rig.until("web", |it| it.spec.placement.is_some()).await;
    assert_eq!(placed.status.reason, None);
}

#[tokio::test]
async fn auto_remove_takes_instance_and_anonymous_volumes() {
    let rig = Rig::new().await;
    let mut once = with_volume(with_volume(spec("job"), "", "/scratch"), "kept", "/kept");
    once.auto_remove = true;
    let made = rig.create("job", once).await.unwrap();
    rig.until_running("job").await;
    let volumes = rig.control.volumes();
    assert_eq!(volumes.list(caller(), Some(PROJECT), &Default::default()).unwrap().items.len(), 2);
    let gone = rig
        .control
        .instances()
        .wait(caller(), PROJECT, "job", control::Condition::Removed)
        .unwrap();
    rig.agent.as_ref().unwrap().exit(&made.meta.id, 7);
    assert_eq!(gone.await.unwrap().code, 7);
    rig.eventually("only the named volume is left", || {
        let left = volumes.list(caller(), Some(PROJECT), &Default::default()).unwrap();
        left.items.iter().map(|it| it.meta.name.as_str()).eq(["kept"])
    })
    .await;
}

#[tokio::test]
async fn a_hundred_creations_of_one_name_make_one_instance() {
    let rig = Arc::new(Rig::silent().await);
    let attempts = (0..100).map(|_| {
        let rig = rig.clone();
        tokio::spawn(async move { rig.create("web", with_volume(spec("a"), "data", "/d")).await })
    });
    let mut made = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Exists, "{error}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn a_hundred_at_once_get_addresses_and_ports_of_their_own() {
    let rig = Arc::new(Rig::silent().await);
    let attempts: Vec<_> = (0..100)
        .map(|i| {
            let rig = rig.clone();
            let wish = with_port(spec("a"), None, 80);
            tokio::spawn(async move { rig.create(&format!("web-{i}"), wish).await.unwrap() })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap();
    }
    let (mut addresses, mut ports) = (vec![], vec![]);
    for i in 0..100 {
        let web = rig.until(&format!("web-{i}"), |it| it.spec.placement.is_some()).await;
        addresses.push(address(&web));
        ports.push(web.spec.placement.as_ref().unwrap().ports[0].host.unwrap());
    }
    for list in [
        addresses.iter().map(|it| it.to_string()).collect::<Vec<_>>(),
        ports.iter().map(u16::to_string).collect(),
    ] {
        let different: std::collections::BTreeSet<_> = list.iter().collect();
        assert_eq!(different.len(), 100);
    }
    let networks = rig.control.networks().list(caller(), None, &Default::default()).unwrap();
    assert_eq!(networks.items.len(), 1, "one default network");
}

#[tokio::test]
async fn a_port_is_refused_naming_its_holder_and_is_free_when_that_one_stops() {
    let rig = Rig::new().await;
    rig.create("web", with_port(spec("nginx"), Some(8080), 80)).await.unwrap();
    rig.until_running("web").await;
    let error = rig.create("other", with_port(spec("nginx"), Some(8080), 80)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        error.message(),
        "no node can take instance \"other\": node n1: port 8080/tcp is taken by instance \"web\""
    );
    assert_eq!(error.next_step(), Some("publish another port, or `hull stop web`"));
    assert!(rig.get("other").is_err(), "nothing is left of it");

    // As with Docker, one that does not run may want the same port.
    rig.create("other", with_port(stopped("nginx"), Some(8080), 80)).await.unwrap();
    rig.until("other", |it| it.spec.placement.is_some()).await;
    let instances = rig.control.instances();
    let error = instances.start(caller(), PROJECT, "other", Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    instances.stop(caller(), PROJECT, "web", &StopOptions::default(), Mode::Apply).await.unwrap();
    rig.until("web", |it| it.status.phase == Phase::Exited).await;
    instances.start(caller(), PROJECT, "other", Mode::Apply).await.unwrap();
    let other = rig.until_running("other").await;
    assert_eq!(other.spec.placement.as_ref().unwrap().ports[0].host, Some(8080));
    let error = instances.start(caller(), PROJECT, "web", Mode::Apply).await.unwrap_err();
    assert!(error.message().contains("taken by instance \"other\""), "{error}");
}

#[tokio::test]
async fn a_fixed_address_is_honoured_or_refused_naming_its_holder() {
    let rig = Rig::new().await;
    let fixed = |address: &str| {
        let mut spec = spec("a");
        spec.network = model::instance::NetworkMode::Networks {
            attachments: vec![model::instance::Attachment {
                network: "default".into(),
                ipv4: Some(address.parse().unwrap()),
                ..Default::default()
            }],
        };
        spec
    };
    rig.create("first", spec("a")).await.unwrap();
    let first = rig.until_running("first").await;
    rig.create("fixed", fixed("10.128.0.77")).await.unwrap();
    assert_eq!(address(&*rig.until_running("fixed").await).to_string(), "10.128.0.77");
    let error = rig.create("thief", fixed("10.128.0.77")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("instance \"fixed\" has it"), "{error}");
    let error = rig.create("stranger", fixed("10.9.0.1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // Addresses rest: the one that was given back is not given to the next.
    let options = RemoveOptions { force: true, volumes: false };
    let instances = rig.control.instances();
    instances.remove(caller(), PROJECT, "first", options, Mode::Apply).await.unwrap();
    rig.eventually("it is gone", || rig.get("first").is_err()).await;
    rig.create("next", spec("a")).await.unwrap();
    assert_ne!(address(&*rig.until_running("next").await), address(&first));
}

#[tokio::test]
async fn namespaces_are_shared_by_name_and_a_rename_is_followed() {
    let rig = Rig::new().await;
    let web = rig.create("web", spec("nginx")).await.unwrap();
    let mut side = spec("side");
    side.pid = Sharing::Instance(web.meta.id.short().to_owned());
    rig.create("side", side.clone()).await.unwrap();
    let placed = rig.until_running("side").await;
    assert_eq!(placed.spec.pid, Sharing::Instance("web".into()));
    side.pid = Sharing::Instance("nobody".into());
    let error = rig.create("lost", side).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::NotFound, Some("spec.pid")));
    let instances = rig.control.instances();
    instances.rename(caller(), PROJECT, "web", "front", Mode::Apply).await.unwrap();
    assert_eq!(rig.get("side").unwrap().spec.pid, Sharing::Instance("front".into()));
    assert!(rig.get("web").is_err());
    let error =
        instances.rename(caller(), PROJECT, "front", "side", Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn what_was_stopped_but_is_to_run_always_runs_after_a_boot() {
    let rig = Rig::new().await;
    for (name, restart) in
        [("always", RestartPolicy::Always), ("unless", RestartPolicy::UnlessStopped)]
    {
        let mut spec = spec("a");
        spec.restart = restart;
        rig.create(name, spec).await.unwrap();
        rig.until_running(name).await;
        let instances = rig.control.instances();
        instances
            .stop(caller(), PROJECT, name, &StopOptions::default(), Mode::Apply)
            .await
            .unwrap();
        rig.until(name, |it| it.status.phase == Phase::Exited).await;
    }
    let mut booted = node_status();
    booted.boot_id = "boot-2".into();
    rig.report(vec![link::Report::Node(Box::new(booted))]).await;
    rig.until_running("always").await;
    assert_eq!(rig.get("unless").unwrap().spec.run, RunState::Stopped);
}

#[tokio::test]
async fn a_request_that_is_wrong_changes_nothing() {
    let rig = Rig::silent().await;
    let before = rig.control.store_stats().await.unwrap().revision;
    let mut paused = spec("a");
    paused.run = RunState::Paused;
    let mut lost = spec("a");
    lost.network = model::instance::NetworkMode::Networks {
        attachments: vec![model::instance::Attachment {
            network: "nope".into(),
            ..Default::default()
        }],
    };
    for (name, spec, kind, field) in [
        ("bad name", spec("a"), ErrorKind::Invalid, "meta.name"),
        ("a", model::instance::InstanceSpec::default(), ErrorKind::Invalid, "spec.containers"),
        ("a", spec(""), ErrorKind::Invalid, "spec.containers[0].image"),
        ("a", paused, ErrorKind::Invalid, "spec.run"),
        (
            "a",
            with_volume(lost, "data", "/d"),
            ErrorKind::NotFound,
            "spec.network.attachments[0].network",
        ),
    ] {
        let error = rig.create(name, spec).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (kind, Some(field)));
    }
    let new = named("a", spec("a"));
    let error = rig.control.instances().create(caller(), "nowhere", new, Mode::Apply).await;
    assert_eq!(error.unwrap_err().message(), "there is no project \"nowhere\"");
    assert_eq!(rig.control.store_stats().await.unwrap().revision, before);
}

#[tokio::test]
async fn a_plan_shows_everything_and_changes_nothing() {
    let rig = Rig::silent().await;
    let before = rig.control.store_stats().await.unwrap().revision;
    let new = named("web", with_volume(spec("nginx"), "", "/data"));
    let planned = rig.control.instances().create(caller(), PROJECT, new, Mode::Plan).await.unwrap();
    assert!(control_named_its_volume(&planned));
    assert!(rig.get("web").is_err());
    assert_eq!(rig.control.store_stats().await.unwrap().revision, before);
}

fn control_named_its_volume(instance: &model::instance::Instance) -> bool {
    match &instance.spec.containers[0].mounts[0].kind {
        model::instance::MountKind::Volume { name, .. } => name.len() == 32,
        _ => false,
    }
}

#[tokio::test]
async fn reports_that_are_stale_or_about_others_are_dropped() {
    let rig = Rig::silent().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let web = rig.until("web", |it| it.spec.placement.is_some()).await;
    let status = |generation, runs, phase| model::instance::InstanceStatus {
        observed_generation: generation,
        runs,
        phase,
        ..Default::default()
    };
    let report = |status| vec![link::Report::Instance(web.meta.id.clone(), Box::new(status))];
    rig.report(report(status(2, 1, Phase::Running))).await;
    assert_eq!(rig.get("web").unwrap().status.phase, Phase::Running);
    let revision = rig.get("web").unwrap().meta.revision;
    rig.report(report(status(1, 1, Phase::Creating))).await;
    rig.report(report(status(2, 0, Phase::Creating))).await;
    rig.report(report(status(2, 1, Phase::Running))).await;
    use link::ControlPort;
    let elsewhere = report(status(3, 1, Phase::Failed));
    rig.control.report("n2", elsewhere).await.unwrap();
    assert_eq!(rig.get("web").unwrap().meta.revision, revision);
}

#[tokio::test]
async fn streams_are_asked_of_the_node_that_has_it() {
    let rig = Rig::new().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let web = rig.until_running("web").await;
    let instances = rig.control.instances();
    let logs = instances.logs(caller(), PROJECT, web.meta.id.short(), "", Default::default());
    let line = futures::StreamExt::next(&mut logs.await.unwrap()).await.unwrap().unwrap();
    assert_eq!(line.bytes, format!("log of {}\n", web.meta.id.short()));
    rig.control.disconnect_node(NODE);
    let error = instances.top(caller(), PROJECT, "web", "", "").await.unwrap_err();
    assert_eq!(error.message(), "node \"n1\" is not connected");
}

/// Reports that the instance could not be started.
async fn fail(rig: &Rig, name: &str) {
    let placed = rig.until(name, |it| it.spec.placement.is_some()).await;
    let status = model::instance::InstanceStatus {
        phase: Phase::Failed,
        runs: placed.spec.runs,
        observed_generation: placed.meta.generation,
        reason: Some(model::instance::Reason::new("NotFound", "no such image")),
        ..Default::default()
    };
    rig.report(vec![link::Report::Instance(placed.meta.id.clone(), Box::new(status))]).await;
}

#[tokio::test]
async fn a_failed_start_can_be_tried_again_by_hand_and_be_removed() {
    let rig = Rig::silent().await;
    for (name, restart) in [("once", RestartPolicy::No), ("always", RestartPolicy::Always)] {
        let mut wish = with_port(spec("nope"), None, 80);
        wish.restart = restart;
        rig.create(name, wish).await.unwrap();
        fail(&rig, name).await;
        let instances = rig.control.instances();
        let again = instances.start(caller(), PROJECT, name, Mode::Apply).await.unwrap();
        assert_eq!((again.changed, again.instance.spec.runs), (true, 2), "{name}");
        fail(&rig, name).await;
        let removed = instances.delete(caller(), PROJECT, name, None, Mode::Apply).await.unwrap();
        assert!(removed.meta.deleted.is_some());
    }
}

#[tokio::test]
async fn a_failed_start_that_was_to_be_removed_at_its_end_goes() {
    let rig = Rig::new().await;
    let mut once = spec("nope");
    once.auto_remove = true;
    let silent = rig.create("once", once).await.unwrap();
    rig.until_running("once").await;
    let gone = rig.control.instances().wait(caller(), PROJECT, "once", control::Condition::Removed);
    rig.agent.as_ref().unwrap().exit(&silent.meta.id, 127);
    assert_eq!(gone.unwrap().await.unwrap().code, 127);
}

#[tokio::test]
async fn a_report_that_is_lost_in_a_restart_is_made_again() {
    let rig = Rig::new().await;
    rig.create("web", spec("nginx")).await.unwrap();
    let before = rig.until_running("web").await;
    let mut rig = rig.reopened().await;
    let after = rig.get("web").unwrap();
    assert_eq!(*after, *before, "nothing changes by a restart");
    assert_eq!(rig.desired().instances.len(), 1, "the set is whole from the first moment");
    rig.agent = Some(Agent::start(rig.control.clone(), Arc::default()).await);
    rig.until_running("web").await;
}
