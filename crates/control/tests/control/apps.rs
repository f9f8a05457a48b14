//! Apps: brought about, changed, taken back and taken down.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Deployed, Mode, Wish};
use model::app::{App, AppAction, AppFile, AppFiles, AppPhase};
use model::data::Data;
use model::{ErrorKind, Kind, Result};

use crate::support::*;

const SHOP: &str = "
services:
  web:
    image: nginx:$TAG
    depends_on: [db]
    configs: [{source: site, target: /etc/site.conf}]
  db:
    image: postgres
    secrets: [pw]
    volumes: ['data:/var/lib/postgresql']
volumes:
  data: {}
secrets:
  pw:
    file: pw.txt
configs:
  site:
    content: 'listen 80;'
";

fn files(compose: &str, password: &str, tag: &str) -> AppFiles {
    let file = |path: &str, text: &str| AppFile {
        path: path.to_owned(),
        data: Data::new(text.as_bytes()),
    };
    AppFiles {
        files: vec![file("compose.yaml", compose), file("pw.txt", password)],
        variables: BTreeMap::from([("TAG".to_owned(), tag.to_owned())]),
        ..AppFiles::default()
    }
}

async fn up(rig: &Rig, password: &str, tag: &str, mode: Mode) -> Result<Deployed> {
    let (wish, _) = Wish::read("shop", files(SHOP, password, tag), "up")?;
    rig.control.apps().deploy(caller(), PROJECT, "shop", &wish, mode).await
}

fn shop(rig: &Rig) -> Arc<App> {
    rig.control.apps().get(caller(), PROJECT, "shop").unwrap()
}

async fn until(rig: &Rig, phase: AppPhase) {
    rig.eventually(&format!("the app is {phase:?}"), || {
        let app = shop(rig);
        app.status.phase == phase && app.status.observed_generation == app.meta.generation
    })
    .await;
}

/// Kind and action of each change.
fn told(done: &Deployed) -> Vec<(Kind, AppAction)> {
    done.changes.iter().map(|it| (it.kind, it.action)).collect()
}

#[tokio::test]
async fn it_comes_up_in_order_and_only_what_differs_changes() {
    let rig = Rig::new().await;
    let planned = up(&rig, "one", "1", Mode::Plan).await.unwrap();
    let all =
        [Kind::Network, Kind::Volume, Kind::Secret, Kind::Config, Kind::Service, Kind::Service];
    assert_eq!(told(&planned), all.map(|kind| (kind, AppAction::Create)));
    assert!(rig.control.apps().get(caller(), PROJECT, "shop").is_err(), "a plan makes nothing");

    up(&rig, "one", "1", Mode::Apply).await.unwrap();
    until(&rig, AppPhase::Ready).await;
    let app = shop(&rig);
    let order: Vec<_> = app.status.services.iter().map(|it| it.key.as_str()).collect();
    assert_eq!((order, app.status.ready), (vec!["db", "web"], 2));
    let db = rig.get("shop-db-1").unwrap();
    let secret = &db.spec.containers[0].secrets[0];
    assert_eq!(secret.target, "pw", "its place does not change with its value");
    assert!(secret.source.starts_with("shop_pw-"), "{}", secret.source);
    assert!(app.spec.objects.secrets[0].spec.sealed.is_none(), "nobody is shown it");

    // The same again is nothing; another value is another secret and a rollout of who reads it.
    let again = up(&rig, "one", "1", Mode::Apply).await.unwrap();
    assert_eq!((told(&again), again.app.spec.revision), (vec![], 1));
    let planned = up(&rig, "two", "1", Mode::Plan).await.unwrap();
    let replaced = [(Kind::Secret, AppAction::Replace), (Kind::Service, AppAction::Change)];
    assert_eq!(told(&planned), replaced);
    let web = rig.get("shop-web-1").unwrap();
    up(&rig, "two", "1", Mode::Apply).await.unwrap();
    until(&rig, AppPhase::Ready).await;
    assert_eq!(rig.get("shop-web-1").unwrap().meta.id, web.meta.id, "web is as it was");
    assert_ne!(rig.get("shop-db-1").unwrap().spec.containers[0].secrets[0].source, secret.source);
    let secrets = rig.control.secrets();
    rig.eventually("the old one is gone", || {
        secrets.get(caller(), PROJECT, &secret.source).is_err()
    })
    .await;

    // Back to what it was, the old value with it.
    let apps = rig.control.apps();
    let back = apps.roll_back(caller(), PROJECT, "shop", (None, false), Mode::Apply).await.unwrap();
    assert_eq!(back.app.spec.revision, 3);
    until(&rig, AppPhase::Ready).await;
    assert_eq!(rig.get("shop-db-1").unwrap().spec.containers[0].secrets[0].source, secret.source);
    rig.eventually("the node is told the old value", || {
        rig.desired().handed.iter().any(|it| it.data.bytes() == b"one")
    })
    .await;
    let kept = apps.files(caller(), PROJECT, "shop", None).await.unwrap();
    assert_eq!(kept, files(SHOP, "one", "1"));
    let what: Vec<_> = shop(&rig).status.revisions.iter().map(|it| it.what.clone()).collect();
    assert_eq!(what, ["up", "up", "rollback to 1"]);
}

#[tokio::test]
async fn it_goes_on_after_the_platform_died_and_goes_with_all_it_made() {
    let rig = Rig::new().await;
    up(&rig, "one", "1", Mode::Apply).await.unwrap();
    let rig = rig.reopened().await;
    let agent = Agent::start(rig.control.clone(), Arc::default()).await;
    until(&rig, AppPhase::Ready).await;
    let apps = rig.control.apps();
    let three = BTreeMap::from([("web".to_owned(), 3)]);
    let scaled = apps.scale(caller(), PROJECT, "shop", &three, Mode::Apply).await.unwrap();
    assert_eq!(scaled.changes[0].reasons, ["mode.replicated.replicas: 1 → 3"]);
    until(&rig, AppPhase::Ready).await;
    assert!(rig.get("shop-web-3").is_ok());
    let planned = apps.down(caller(), PROJECT, "shop", false, Mode::Plan).await.unwrap();
    assert_eq!(planned.changes.len(), 5, "all but the volume: {:?}", planned.changes);
    apps.down(caller(), PROJECT, "shop", false, Mode::Apply).await.unwrap();
    rig.eventually("it is gone", || apps.get(caller(), PROJECT, "shop").is_err()).await;
    assert!(rig.get("shop-db-1").is_err());
    assert!(rig.control.networks().get(caller(), PROJECT, "shop_default").is_err());
    assert!(rig.control.volumes().get(caller(), PROJECT, "shop_data").is_ok(), "volumes stay");
    // The next app of the name takes its volume up again, and may take it along.
    up(&rig, "one", "1", Mode::Apply).await.unwrap();
    until(&rig, AppPhase::Ready).await;
    apps.down(caller(), PROJECT, "shop", true, Mode::Apply).await.unwrap();
    rig.eventually("all is gone", || {
        apps.get(caller(), PROJECT, "shop").is_err()
            && rig.control.volumes().get(caller(), PROJECT, "shop_data").is_err()
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn what_was_changed_by_hand_is_brought_back() {
    let rig = Rig::new().await;
    up(&rig, "one", "1", Mode::Apply).await.unwrap();
    until(&rig, AppPhase::Ready).await;
    let services = rig.control.services();
    let edit = |(_, _, spec): control::Editable<'_, model::service::ServiceNoun>| {
        spec.template.spec.containers[0].image = "nginx:9".into();
        Ok(())
    };
    services.update(caller(), PROJECT, "shop-web", None, edit, Mode::Apply).await.unwrap();
    let done = up(&rig, "one", "1", Mode::Apply).await.unwrap();
    assert_eq!(told(&done), [(Kind::Service, AppAction::Change)]);
    assert!(done.changes[0].reasons[0].contains("by hand"), "{:?}", done.changes);
    rig.eventually("it is as it was", || {
        let web = services.get(caller(), PROJECT, "shop-web").unwrap();
        web.spec.template.spec.containers[0].image == "nginx:1"
    })
    .await;
}

/// What is refused only when it is brought about has the revision fail, and the last one that worked comes
/// back.
#[tokio::test]
async fn one_that_is_refused_for_good_is_taken_back() {
    let rig = Rig::new().await;
    let lan = control::New::named("lan", model::network::NetworkSpec::default());
    rig.control.networks().create(caller(), PROJECT, lan, Mode::Apply).await.unwrap();
    let text = |more: &str| {
        format!(
            "services: {{web: {{image: nginx, volumes: ['data:/data']{more}}}}}\n\
             volumes: {{data: {{}}}}\nnetworks: {{lan: {{external: true}}}}\n"
        )
    };
    let wish = |more: &str| {
        let (wish, _) = Wish::read("shop", files(&text(more), "", "1"), "up").unwrap();
        Wish { roll_back_on_failure: true, copy_volumes: true, ..wish }
    };
    let first = wish("");
    rig.control.apps().deploy(caller(), PROJECT, "shop", &first, Mode::Apply).await.unwrap();
    until(&rig, AppPhase::Ready).await;

    // While no node copies the volume, nothing of the next revision is brought about.
    let rig = rig.reopened().await;
    let apps = rig.control.apps();
    let published = wish(", networks: [lan], ports: ['8080:80']");
    apps.deploy(caller(), PROJECT, "shop", &published, Mode::Apply).await.unwrap();
    let shut = |(_, _, spec): control::Editable<'_, model::network::NetworkNoun>| {
        spec.internal = true;
        Ok(())
    };
    let networks = rig.control.networks();
    networks.update(caller(), PROJECT, "lan", None, shut, Mode::Apply).await.unwrap();
    let agent = Agent::start(rig.control.clone(), Arc::default()).await;
    until(&rig, AppPhase::RolledBack).await;
    let app = shop(&rig);
    assert_eq!((app.spec.revision, app.status.rolled_back_from), (3, Some(2)));
    let failed: Vec<bool> = app.status.revisions.iter().map(|it| it.failed).collect();
    assert_eq!(failed, [false, true, false]);
    let web = rig.control.services().get(caller(), PROJECT, "shop-web").unwrap();
    assert!(web.spec.template.spec.ports.is_empty(), "it is as it was");
    agent.stop().await;
}

#[tokio::test]
async fn a_network_is_made_anew_only_where_its_new_subnet_is_free() {
    let rig = Rig::new().await;
    let on = |ipam: &str| {
        let text = format!(
            "services: {{web: {{image: nginx, networks: [front]}}}}\n\
             networks: {{front: {{ipam: {{config: [{{{ipam}}}]}}}}}}"
        );
        Wish::read("shop", files(&text, "", "1"), "up").unwrap().0
    };
    let apps = &rig.control.apps();
    let deploy = |wish: Wish| async move {
        apps.deploy(caller(), PROJECT, "shop", &wish, Mode::Apply).await
    };
    deploy(on("subnet: 10.9.0.0/24, gateway: 10.9.0.254")).await.unwrap();
    until(&rig, AppPhase::Ready).await;
    let spec = model::network::NetworkSpec {
        ipv4: Some("10.8.0.0/16".parse().unwrap()),
        ..Default::default()
    };
    let new = control::New::named("other", spec);
    rig.control.networks().create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    let before = shop(&rig);

    // Nothing goes for what cannot be had.
    let error = deploy(on("subnet: 10.8.7.0/24")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.message().contains("\"other\""), "{error}");
    assert_eq!(shop(&rig).spec, before.spec);

    // The gateway of the old subnet is none of the new one.
    deploy(on("subnet: 10.7.0.0/24")).await.unwrap();
    rig.eventually("it has moved", || {
        let network = rig.control.networks().get(caller(), PROJECT, "shop_front").unwrap();
        network.spec.ipv4 == "10.7.0.0/24".parse().ok()
            && shop(&rig).status.phase == AppPhase::Ready
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_is_made() {
    let rig = Rig::silent().await;
    let error = Wish::read("shop", files("services: {web: {image: 7, ports: [x]}}", "", "1"), "up");
    assert!(error.unwrap_err().message().contains("compose.yaml:1:"));
    let outside =
        "services: {web: {image: nginx, networks: [lan]}}\nnetworks: {lan: {external: true}}";
    let (wish, _) = Wish::read("shop", files(outside, "", "1"), "up").unwrap();
    let apps = rig.control.apps();
    let error = apps.deploy(caller(), PROJECT, "shop", &wish, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let new = control::New::named("shop_data", model::volume::VolumeSpec::default());
    rig.control.volumes().create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    let error = up(&rig, "one", "1", Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    assert!(apps.get(caller(), PROJECT, "shop").is_err());
    let mut hostile = files(SHOP, "one", "1");
    hostile.files[1].path = "../pw.txt".into();
    assert!(Wish::read("shop", hostile, "up").is_err());
    let error =
        apps.roll_back(caller(), PROJECT, "shop", (None, false), Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
