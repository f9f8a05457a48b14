//! What is done for services: one reason at a time, and each for itself.

use control::{Mode, New};
use link::Report;
use model::instance::{Attachment, NetworkMode, Reason};
use model::network::{NetworkNoun, NetworkSpec};
use model::node::{NodeStatus, Unpublished};
use model::service::{Access, AccessMode, Service, ServiceMode, ServiceSpec, Template};

use crate::support::{PROJECT, Rig, caller, node_status, spec, stopped, with_port};

fn replicas(count: u32, template: model::instance::InstanceSpec) -> ServiceSpec {
    ServiceSpec {
        template: Template { spec: template, ..Template::default() },
        mode: ServiceMode::Replicated { replicas: count },
        ..ServiceSpec::default()
    }
}

async fn make(rig: &Rig, name: &str, spec: ServiceSpec) -> model::Result<()> {
    let new = New::named(name, spec);
    rig.control.services().create(caller(), PROJECT, new, Mode::Apply).await.map(drop)
}

fn get(rig: &Rig, name: &str) -> std::sync::Arc<Service> {
    rig.control.services().get(caller(), PROJECT, name).unwrap()
}

async fn until_code(rig: &Rig, name: &str, code: Option<&str>) -> Option<Reason> {
    let is = || {
        get(rig, name).status.reason.as_ref().map(|it| it.code.clone()) == code.map(str::to_owned)
    };
    rig.eventually(&format!("{name} says {code:?}"), is).await;
    get(rig, name).status.reason.clone()
}

fn passes(rig: &Rig) -> u64 {
    let loops = rig.control.loops();
    loops.iter().find(|it| it.name == "services").unwrap().passes
}

#[tokio::test]
async fn what_is_refused_changes_nothing_while_nothing_changes() {
    let rig = Rig::new().await;
    rig.create("holder", with_port(spec("x"), Some(80), 80)).await.unwrap();
    rig.until_running("holder").await;
    // All names are somebody else's.
    for number in 1..=60 {
        rig.create(&format!("web-{number}"), stopped("x")).await.unwrap();
    }
    make(&rig, "web", replicas(60, with_port(spec("x"), Some(80), 80))).await.unwrap();
    let reason = until_code(&rig, "web", Some("InstanceRefused")).await.unwrap();
    assert!(reason.message.contains("web-1"), "{reason:?}");
    let (before, first) = (get(&rig, "web").meta.revision, passes(&rig));
    for number in 0..3 {
        let done = passes(&rig);
        rig.create(&format!("other-{number}"), stopped("x")).await.unwrap();
        rig.eventually("a pass", || passes(&rig) > done).await;
    }
    assert_eq!(get(&rig, "web").meta.revision, before);
    // A commit or two of each instance wake it; it does not wake itself.
    assert!(passes(&rig) - first <= 12, "{} passes", passes(&rig) - first);
    // One name is free: that slot is filled, whoever has the first.
    let options = control::RemoveOptions { force: true, volumes: true };
    let instances = rig.control.instances();
    instances.remove(caller(), PROJECT, "web-7", options, Mode::Apply).await.unwrap();
    rig.until("web-7", |it| it.meta.owner.is_some()).await;
    assert_eq!(get(&rig, "web").status.reason.as_ref().unwrap().code, "InstanceRefused");
}

#[tokio::test]
async fn one_that_cannot_be_written_holds_up_no_other() {
    let rig = Rig::new().await;
    let mut big = replicas(1, spec("x"));
    // It fits once, and not a second time as the first revision.
    big.template.annotations.insert("big".into(), "x".repeat(1_200_000));
    make(&rig, "big", big).await.unwrap();
    make(&rig, "small", replicas(1, spec("x"))).await.unwrap();
    rig.until_running("small-1").await;
    let told = rig.control.loops().into_iter().find(|it| it.name == "services").unwrap();
    assert!(told.failures > 0, "{told:?}");
}

async fn network(rig: &Rig, name: &str, internal: bool) {
    let new = New::<NetworkNoun>::named(name, NetworkSpec { internal, ..NetworkSpec::default() });
    rig.control.networks().create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
}

fn on(network: &str, mut spec: model::instance::InstanceSpec) -> model::instance::InstanceSpec {
    let attachment = Attachment { network: network.to_owned(), ..Attachment::default() };
    spec.network = NetworkMode::Networks { attachments: vec![attachment] };
    spec
}

#[tokio::test]
async fn ports_to_which_there_is_no_way() {
    let rig = Rig::new().await;
    network(&rig, "shut", true).await;
    let error = make(&rig, "web", replicas(1, on("shut", with_port(spec("x"), None, 80)))).await;
    assert_eq!(error.unwrap_err().field(), Some("template.spec.ports"));
    // One that becomes so later says so.
    make(&rig, "late", replicas(0, on("lan", with_port(spec("x"), None, 80)))).await.unwrap();
    network(&rig, "lan", true).await;
    let reason = until_code(&rig, "late", Some("NoWayIn")).await.unwrap();
    assert!(reason.message.contains("lan") && reason.next.is_some(), "{reason:?}");
    assert!(get(&rig, "late").status.ports.is_empty());
}

#[tokio::test]
async fn ports_go_to_the_instances_with_the_address() {
    let rig = Rig::new().await;
    make(&rig, "web", replicas(1, with_port(spec("x"), Some(80), 80))).await.unwrap();
    rig.until_running("web-1").await;
    assert!(rig.get("web-1").unwrap().spec.ports.is_empty());
    let services = rig.control.services();
    let edit = |(_, _, spec): control::Editable<'_, model::service::ServiceNoun>| {
        spec.access = Access { mode: AccessMode::EachInstance, ..Access::default() };
        Ok(())
    };
    services.update(caller(), PROJECT, "web", None, edit, Mode::Apply).await.unwrap();
    rig.until("web-1", |it| {
        it.spec
            .placement
            .as_ref()
            .is_some_and(|placed| placed.ports.iter().any(|port| port.host == Some(80)))
    })
    .await;
    assert!(get(&rig, "web").status.ports.is_empty());
    rig.until_running("web-1").await;
    let edit = |(_, _, spec): control::Editable<'_, model::service::ServiceNoun>| {
        spec.mode = ServiceMode::Replicated { replicas: 2 };
        Ok(())
    };
    services.update(caller(), PROJECT, "web", None, edit, Mode::Apply).await.unwrap();
    // A node has the port once: the second one waits for another node, or for the port.
    let reason = until_code(&rig, "web", Some("PortTaken")).await.unwrap();
    assert!(reason.message.contains("web-2") && reason.message.contains("port 80"), "{reason:?}");
}

#[tokio::test]
async fn what_a_node_cannot_publish_is_the_services_reason() {
    let rig = Rig::new().await;
    make(&rig, "web", replicas(1, with_port(spec("x"), Some(80), 80))).await.unwrap();
    rig.until_running("web-1").await;
    until_code(&rig, "web", None).await;
    let service = get(&rig, "web").meta.id.clone();
    let reason = Reason::new("PortTaken", "port 80/tcp of the host is taken");
    let unpublished = vec![Unpublished { service, reason }];
    let status = NodeStatus { unpublished, ..node_status() };
    rig.report(vec![Report::Node(Box::new(status))]).await;
    let reason = until_code(&rig, "web", Some("PortTaken")).await.unwrap();
    assert!(reason.message.contains("node n1: port 80/tcp of the host"), "{reason:?}");
    rig.report(vec![Report::Node(Box::new(node_status()))]).await;
    until_code(&rig, "web", None).await;
}
