//! Networks: subnets, use, removal.

use control::{Mode, New, RemoveOptions};
use model::ErrorKind;
use model::instance::{Attachment, NetworkMode, RunState};
use model::network::NetworkSpec;

use crate::support::*;

async fn make(
    rig: &Rig,
    name: &str,
    spec: NetworkSpec,
) -> model::Result<std::sync::Arc<model::network::Network>> {
    rig.control.networks().create(caller(), PROJECT, New::named(name, spec), Mode::Apply).await
}

fn joined(network: &str) -> model::instance::InstanceSpec {
    let attachment =
        Attachment { network: network.into(), aliases: vec!["db".into()], ..Default::default() };
    let mut spec = spec("a");
    spec.network = NetworkMode::Networks { attachments: vec![attachment] };
    spec
}

#[tokio::test]
async fn subnets_are_chosen_clear_of_the_host_and_of_each_other() {
    let rig = Rig::silent().await;
    let mut status = node_status();
    status.host_subnets = vec!["10.128.0.0/16".into(), "10.129.0.0/24".into()];
    rig.report(vec![link::Report::Node(Box::new(status))]).await;
    let both = NetworkSpec { enable_ipv6: true, ..NetworkSpec::default() };
    let (a, b) = tokio::join!(make(&rig, "a", both.clone()), make(&rig, "b", both));
    let mut subnets: Vec<_> = [a.unwrap(), b.unwrap()].iter().map(|it| it.spec.clone()).collect();
    subnets.sort_by_key(|it| it.ipv4);
    assert_eq!(subnets[0].ipv4.unwrap().to_string(), "10.129.1.0/24");
    assert_eq!(subnets[1].ipv4.unwrap().to_string(), "10.129.2.0/24");
    assert_ne!(subnets[0].ipv6, subnets[1].ipv6);
    assert!(subnets[0].ipv6.unwrap().to_string().starts_with("fd"));
}

#[tokio::test]
async fn an_overlap_is_refused_naming_the_other() {
    let rig = Rig::silent().await;
    let spec = |net: &str| NetworkSpec { ipv4: Some(net.parse().unwrap()), ..Default::default() };
    make(&rig, "a", spec("10.7.0.0/16")).await.unwrap();
    let error = make(&rig, "b", spec("10.7.3.0/24")).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("spec.ipv4")));
    assert_eq!(
        error.message(),
        "subnet 10.7.3.0/24 overlaps 10.7.0.0/16 of network \"a\" of project \"default\""
    );
    let error = make(&rig, "b", spec("192.168.0.128/25")).await.unwrap_err();
    assert!(error.message().ends_with("192.168.0.0/24 of node \"n1\" itself"), "{error}");
}

#[tokio::test]
async fn a_network_in_use_stays_and_goes_when_its_node_has_cleaned_up() {
    let rig = Rig::new().await;
    make(&rig, "back", NetworkSpec::default()).await.unwrap();
    rig.create("web", joined("back")).await.unwrap();
    rig.until_running("web").await;
    assert_eq!(rig.desired().names[0].aliases[0], "db");
    let networks = rig.control.networks();
    let delete = || networks.delete(caller(), PROJECT, "back", None, Mode::Apply);
    let error = delete().await.unwrap_err();
    assert_eq!(error.message(), "network \"back\" is used by \"web\"");
    let rename = networks.rename(caller(), PROJECT, "back", "front", Mode::Apply).await;
    assert_eq!(rename.unwrap_err().field(), Some("meta.name"));
    let edit = |(_, _, spec): control::Editable<'_, model::network::NetworkNoun>| {
        spec.internal = true;
        Ok(())
    };
    let error =
        networks.update(caller(), PROJECT, "back", None, edit, Mode::Apply).await.unwrap_err();
    assert_eq!(error.field(), Some("spec.internal"));
    let options = RemoveOptions { force: true, volumes: false };
    rig.control.instances().remove(caller(), PROJECT, "web", options, Mode::Apply).await.unwrap();
    rig.eventually("the instance is gone", || rig.get("web").is_err()).await;
    let leaving = delete().await.unwrap();
    assert!(leaving.meta.deleted.is_some());
    rig.eventually("the network is gone", || networks.get(caller(), PROJECT, "back").is_err())
        .await;
}

#[tokio::test]
async fn a_network_of_what_is_stopped_can_go_and_come_back() {
    let rig = Rig::new().await;
    make(&rig, "back", NetworkSpec::default()).await.unwrap();
    let mut wanted = with_port(joined("back"), Some(8080), 80);
    wanted.run = RunState::Stopped;
    rig.create("web", wanted).await.unwrap();
    rig.until("web", |it| it.spec.placement.is_some()).await;
    let networks = rig.control.networks();
    networks.delete(caller(), PROJECT, "back", None, Mode::Apply).await.unwrap();
    rig.eventually("the network is gone", || networks.get(caller(), PROJECT, "back").is_err())
        .await;
    let instances = rig.control.instances();
    let start = || instances.start(caller(), PROJECT, "web", Mode::Apply);
    let error = start().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::NotFound, "there is no network \"back\"")
    );
    assert_eq!(rig.get("web").unwrap().spec.run, RunState::Stopped);
    let made = make(&rig, "back", NetworkSpec::default()).await.unwrap();
    start().await.unwrap();
    let web = rig.until_running("web").await;
    let placed = web.spec.placement.as_ref().unwrap();
    assert_eq!(placed.interfaces[0].network_id, made.meta.id);
    assert_eq!(placed.ports[0].host, Some(8080));
    let error = networks.delete(caller(), PROJECT, "back", None, Mode::Apply).await.unwrap_err();
    assert_eq!(error.message(), "network \"back\" is used by \"web\"");
}
