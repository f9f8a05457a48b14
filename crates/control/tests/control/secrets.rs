//! Secrets and configs: who sees them, who may take them away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Mode, New};
use model::config::ConfigSpec;
use model::data::Data;
use model::instance::{Handed, InstanceSpec};
use model::secret::{SecretNoun, SecretSpec};
use model::service::{ServiceSpec, Template};
use model::{ErrorKind, Kind};

use crate::support::*;

const VALUE: &[u8] = b"correct horse battery staple";

async fn make(rig: &Rig, name: &str, value: &[u8]) {
    let new = New::<SecretNoun>::named(name, SecretSpec::new(value));
    let made = rig.control.secrets().create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    assert_eq!(made.spec, SecretSpec { size: value.len() as u64, ..SecretSpec::default() });
}

fn reading(secret: &str) -> InstanceSpec {
    let mut spec = spec("busybox");
    spec.containers[0].secrets = vec![Handed::named(secret)];
    spec
}

#[tokio::test]
async fn a_value_is_sealed_in_the_store_and_told_to_the_node_of_who_reads_it() {
    let rig = Rig::new().await;
    make(&rig, "pw", VALUE).await;
    make(&rig, "other", b"nobody reads this").await;
    let secrets = rig.control.secrets();
    let shown = secrets.get(caller(), PROJECT, "pw").unwrap();
    assert_eq!((shown.spec.sealed.clone(), shown.spec.data.clone()), (None, Data::default()));
    let listed = secrets.list_json(caller(), Some(PROJECT), &Default::default()).unwrap();
    assert!(listed.items.iter().all(|item| !String::from_utf8_lossy(item).contains("sealed")));
    assert!(rig.desired().handed.is_empty());

    rig.create("reader", reading("pw")).await.unwrap();
    rig.until_running("reader").await;
    rig.eventually("the node is told", || rig.desired().handed.len() == 1).await;
    drop(secrets);
    let rig = rig.reopened().await;
    rig.eventually("it is told again after a restart", || rig.desired().handed.len() == 1).await;
    let told = rig.desired().handed[0].clone();
    assert_eq!((told.kind, told.name.as_str(), told.data.bytes()), (Kind::Secret, "pw", VALUE));

    let entries = std::fs::read_dir(rig.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in entries.filter(|path| path.is_file()) {
        let bytes = std::fs::read(&path).unwrap();
        let encoded = STANDARD.encode(VALUE);
        // As data stands in JSON, but for its end, which depends on what follows.
        for trace in [VALUE, &encoded.as_bytes()[..VALUE.len() / 3 * 4]] {
            assert!(
                !bytes.windows(trace.len()).any(|window| window == trace),
                "{}",
                path.display()
            );
        }
    }
}

#[tokio::test]
async fn what_is_read_stays_and_who_reads_it_is_told() {
    let rig = Rig::new().await;
    make(&rig, "pw", VALUE).await;
    rig.create("reader", reading("pw")).await.unwrap();
    let spec = ServiceSpec {
        template: Template { spec: reading("pw"), ..Template::default() },
        ..ServiceSpec::default()
    };
    let services = rig.control.services();
    services.create(caller(), PROJECT, New::named("web", spec), Mode::Apply).await.unwrap();
    let secrets = rig.control.secrets();
    let delete = async || secrets.delete(caller(), PROJECT, "pw", None, Mode::Apply).await;
    let error = delete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error
            .message()
            .starts_with("secret \"pw\" is read by service \"web\", instance \"reader\""),
        "{}",
        error.message()
    );
    rig.eventually("it is written down", || {
        let secret = secrets.get(caller(), PROJECT, "pw").unwrap();
        secret.status.used_by == ["reader", "web"]
    })
    .await;
    services.delete(caller(), PROJECT, "web", None, Mode::Apply).await.unwrap();
    let options = control::RemoveOptions { force: true, volumes: true };
    rig.control
        .instances()
        .remove(caller(), PROJECT, "reader", options, Mode::Apply)
        .await
        .unwrap();
    rig.eventually("nobody reads it", || rig.get("reader").is_err() && rig.get("web-1").is_err())
        .await;
    rig.eventually("the service is gone", || services.get(caller(), PROJECT, "web").is_err()).await;
    delete().await.unwrap();
    assert_eq!(secrets.get(caller(), PROJECT, "pw").unwrap_err().kind(), ErrorKind::NotFound);
}

/// A service may go back to what it was, so what it read then stays.
#[tokio::test]
async fn what_an_earlier_revision_reads_stays() {
    let rig = Rig::new().await;
    make(&rig, "pw", VALUE).await;
    make(&rig, "new", b"another").await;
    let spec = ServiceSpec {
        template: Template { spec: reading("pw"), ..Template::default() },
        ..ServiceSpec::default()
    };
    let services = rig.control.services();
    services.create(caller(), PROJECT, New::named("web", spec), Mode::Apply).await.unwrap();
    rig.until_running("web-1").await;
    let edit = |(_, _, spec): control::Editable<'_, model::service::ServiceNoun>| {
        spec.template.spec = reading("new");
        Ok(())
    };
    services.update(caller(), PROJECT, "web", None, edit, Mode::Apply).await.unwrap();
    rig.eventually("the instance reads the new one", || {
        let now = rig.get("web-1").ok();
        now.is_some_and(|it| it.spec.containers[0].secrets[0].source == "new")
    })
    .await;
    let secrets = rig.control.secrets();
    let delete = async || secrets.delete(caller(), PROJECT, "pw", None, Mode::Apply).await;
    let error = delete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let told = "secret \"pw\" is read by service \"web\" (revision 1)";
    assert_eq!(error.message(), told);
    assert!(error.next_step().unwrap().contains("go back to its revisions"), "{error:?}");
    services.delete(caller(), PROJECT, "web", None, Mode::Apply).await.unwrap();
    rig.eventually("the service is gone", || services.get(caller(), PROJECT, "web").is_err()).await;
    delete().await.unwrap();
}

#[tokio::test]
async fn nothing_changes_but_labels() {
    let rig = Rig::silent().await;
    make(&rig, "pw", VALUE).await;
    let secrets = rig.control.secrets();
    let label = |(labels, _, _): control::Editable<'_, SecretNoun>| {
        labels.insert("of".into(), "shop".into());
        Ok(())
    };
    let labelled = secrets.update(caller(), PROJECT, "pw", None, label, Mode::Apply).await.unwrap();
    assert_eq!(labelled.meta.labels["of"], "shop");
    assert_eq!(labelled.spec.sealed, None);
    let another = |(_, _, spec): control::Editable<'_, SecretNoun>| {
        spec.data = Data::new(*b"another");
        Ok(())
    };
    let error = secrets.update(caller(), PROJECT, "pw", None, another, Mode::Apply).await;
    assert_eq!(error.unwrap_err().field(), Some("spec.data"));
    let configs = rig.control.configs();
    let new = New::named("site", ConfigSpec::new(*b"listen 80;"));
    let made = configs.create(caller(), PROJECT, new, Mode::Apply).await.unwrap();
    assert_eq!(made.spec.data.bytes(), b"listen 80;");
    let another = |(_, _, spec): control::Editable<'_, model::config::ConfigNoun>| {
        spec.data = Data::default();
        Ok(())
    };
    let error = configs.update(caller(), PROJECT, "site", None, another, Mode::Apply).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_its_field() {
    let rig = Rig::silent().await;
    let error = rig.create("reader", reading("absent")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.field(), Some("spec.containers[0].secrets[0].source"));
    assert_eq!(error.next_step(), Some("`hull secret create absent FILE`"));
    let mut site = spec("nginx");
    site.containers[0].configs = vec![Handed::named("absent")];
    let error = rig.create("site", site).await.unwrap_err();
    assert_eq!(error.field(), Some("spec.containers[0].configs[0].source"));
}
