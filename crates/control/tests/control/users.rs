//! Users: who signs in, and what they may do.

use std::sync::{Arc, Mutex};

use control::{Caller, Clock, Config, Control, Mode, New, Via};
use link::build::{BuildHanded, BuildReach, BuildSecret};
use model::instance::{Mount, MountKind, NetworkMode, Propagation, Sharing};
use model::project::ProjectSpec;
use model::role::Grant;
use model::service::{ServiceNoun, ServiceSpec, Template};
use model::token::TokenSpec;
use model::user::{UserNoun, UserSpec};
use model::volume::{VolumeNoun, VolumeSpec};
use model::{ErrorKind, Time};
use store::sqlite::{Config as StoreConfig, SqliteStore};

use crate::support::*;

const PASSWORD: &str = "correct horse battery";

fn roles(words: &[&str]) -> Vec<Grant> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

/// A user with a password, signed in.
async fn user(control: &Control, name: &str, words: &[&str]) -> Caller {
    let users = control.users();
    let spec = UserSpec { roles: roles(words), ..UserSpec::default() };
    users.create(caller(), "", New::<UserNoun>::named(name, spec), Mode::Apply).await.unwrap();
    users.set_password(caller(), name, None, PASSWORD).await.unwrap();
    control.sign_in(name, PASSWORD, "test").await.unwrap().0
}

async fn project(control: &Control, name: &str) {
    let new = New::named(name, ProjectSpec::default());
    control.projects().create(caller(), "", new, Mode::Apply).await.unwrap();
}

#[tokio::test]
async fn a_password_signs_in_until_it_changes() {
    let rig = Rig::alone().await;
    let control = &rig.control;
    let ann = user(control, "ann", &["viewer"]).await;
    assert_eq!((&*ann.name, &*ann.user, ann.via), ("ann", "ann", Via::Password));
    for (name, password) in
        [("ann", "wrong horse battery"), ("bob", PASSWORD), ("ann", ""), ("", "")]
    {
        let error = control.sign_in(name, password, name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{name}");
        assert_eq!(error.message(), "the name or the password is not right");
    }
    let shown = control.users().get(&ann, "", "ann").unwrap();
    assert!(shown.spec.password.is_empty() && shown.status.has_password);

    let (_, proof) = control.sign_in("ann", PASSWORD, "test").await.unwrap();
    let rig = rig.reopened().await;
    let (control, users) = (&rig.control, rig.control.users());
    assert_eq!(control.accept(&proof).unwrap().name, "ann");
    let own = control.accept(&proof).unwrap();
    for wrong in [None, Some("wrong horse battery")] {
        let error = users.set_password(&own, "ann", wrong, "another password").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
    }
    let short = users.set_password(&own, "ann", Some(PASSWORD), "short").await.unwrap_err();
    assert_eq!(short.field(), Some("password"));
    users.set_password(&own, "ann", Some(PASSWORD), "another password").await.unwrap();
    assert_eq!(control.accept(&proof).unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert!(control.sign_in("ann", PASSWORD, "test").await.is_err());
    let (_, proof) = control.sign_in("ann", "another password", "test").await.unwrap();

    let disable = |disabled| {
        move |(_, _, spec): control::Editable<'_, UserNoun>| {
            spec.disabled = disabled;
            spec.password = "x".into();
            Ok(())
        }
    };
    users.update(caller(), "", "ann", None, disable(true), Mode::Apply).await.unwrap();
    assert!(control.accept(&proof).is_err());
    assert!(control.sign_in("ann", "another password", "test").await.is_err());
    users.update(caller(), "", "ann", None, disable(false), Mode::Apply).await.unwrap();
    assert!(control.accept(&proof).is_ok(), "a hash cannot be written");
    users.delete(caller(), "", "ann", None, Mode::Apply).await.unwrap();
    assert!(control.accept(&proof).is_err());
}

#[tokio::test]
async fn who_guesses_waits_and_nobody_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(Mutex::new(Time::from_unix(1_000_000, 0)));
    let shown = now.clone();
    let store = SqliteStore::open(StoreConfig::new(dir.path().join("state.db"))).await.unwrap();
    let clock = Clock::new(move || *shown.lock().unwrap());
    let control =
        Control::open(Config { clock, ..Config::new(Arc::new(store), NODE) }).await.unwrap();
    user(&control, "ann", &["viewer"]).await;
    let mut refused = 0;
    while control.sign_in("ann", "guess after guess", "there").await.unwrap_err().kind()
        == ErrorKind::Unauthenticated
    {
        refused += 1;
        assert!(refused < 20, "nobody ever waits");
    }
    assert_eq!(refused, 6);
    let waits = control.sign_in("ann", PASSWORD, "there").await.unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::Exhausted, "the right one waits as well");
    assert!(control.sign_in("ann", PASSWORD, "here").await.is_ok());
    *now.lock().unwrap() = Time::from_unix(1_000_002, 0);
    assert!(control.sign_in("ann", PASSWORD, "there").await.is_ok());
    assert!(
        control.sign_in("ann", "guess", "there").await.unwrap_err().kind()
            == ErrorKind::Unauthenticated
    );
}

#[tokio::test]
async fn a_role_in_a_project_ends_at_its_walls() {
    let rig = Rig::alone().await;
    let control = &rig.control;
    project(control, "shop").await;
    project(control, "bank").await;
    let ann = user(control, "ann", &["editor@shop"]).await;
    let instances = control.instances();
    let create = |project: &'static str, name: &'static str| {
        let (instances, ann) = (instances.clone(), ann.clone());
        async move { instances.create(&ann, project, named(name, spec("a")), Mode::Apply).await }
    };
    create("shop", "web").await.unwrap();
    assert_eq!(create("bank", "web").await.unwrap_err().kind(), ErrorKind::Forbidden);
    instances.create(caller(), "bank", named("vault", spec("a")), Mode::Apply).await.unwrap();
    let secret = instances.get(&ann, "bank", "vault").unwrap_err();
    let absent = instances.get(&ann, "bank", "nothing").unwrap_err();
    assert_eq!(
        secret.message(),
        absent.message().replace("nothing", "vault"),
        "it is not told what there is"
    );
    let listed = |project| {
        let list = instances.list(&ann, project, &Default::default());
        list.map(|list| list.items.iter().map(|it| it.meta.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(listed(None).unwrap(), ["web"]);
    assert_eq!(listed(Some("bank")).unwrap_err().kind(), ErrorKind::Forbidden);
    let json = instances.list_json(&ann, None, &Default::default()).unwrap();
    assert_eq!(json.items.len(), 1);
    let projects = control.projects().list(&ann, None, &Default::default()).unwrap();
    assert_eq!(projects.items.iter().map(|it| &*it.meta.name).collect::<Vec<_>>(), ["shop"]);
    let events = control.events().list(&ann, None, None, &Default::default()).unwrap();
    assert!(events.iter().any(|event| event.name == "web"));
    assert!(
        events.iter().all(|event| event.project != "bank" && event.name != "bank"),
        "{events:?}"
    );
    assert!(events.iter().all(|event| event.kind != model::Kind::User));
    let nodes = control.nodes();
    assert!(nodes.get(&ann, "", NODE).is_ok());
    let edit = |_: control::Editable<'_, model::node::NodeNoun>| Ok(());
    let refused = nodes.update(&ann, "", NODE, None, edit, Mode::Apply).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert_eq!(refused.message(), "user \"ann\" may not update nodes");
}

#[tokio::test]
async fn what_reaches_the_host_is_an_admins() {
    let rig = Rig::alone().await;
    let control = &rig.control;
    let (ann, root) = (user(control, "ann", &["editor"]).await, caller());
    let kind = MountKind::Bind {
        source: "/".into(),
        create: false,
        propagation: Propagation::default(),
        non_recursive: false,
    };
    let mut reaching = spec("a");
    reaching.containers[0].mounts.push(Mount {
        kind,
        target: "/host".into(),
        read_only: false,
        disk: None,
    });
    let instances = control.instances();
    let by =
        |caller| instances.create(caller, PROJECT, named("rooted", reaching.clone()), Mode::Apply);
    let error = by(&ann).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ErrorKind::Forbidden, Some("spec.containers.0.mounts"))
    );
    by(root).await.unwrap();
    // What an admin made may be started and stopped by others, and entered by none of them.
    let entered = instances.export(&ann, PROJECT, "rooted", "").await.err().unwrap();
    assert_eq!(entered.kind(), ErrorKind::Forbidden);

    // A directory in a volume stays in it.
    let mut inside = spec("a");
    inside.containers[0].mounts.push(Mount {
        kind: MountKind::Volume { name: "data".into(), subpath: "part".into(), no_copy: false },
        target: "/part".into(),
        read_only: false,
        disk: None,
    });
    instances.create(&ann, PROJECT, named("inside", inside), Mode::Plan).await.unwrap();

    let template = Template { spec: reaching.clone(), ..Template::default() };
    let service = ServiceSpec { template, ..ServiceSpec::default() };
    let new = || New::<ServiceNoun>::named("kept", service.clone());
    let services = control.services();
    let error = services.create(&ann, PROJECT, new(), Mode::Apply).await.unwrap_err();
    assert_eq!(error.field(), Some("spec.template.spec.containers.0.mounts"));
    services.create(root, PROJECT, new(), Mode::Apply).await.unwrap();
    let image = |(_, _, spec): control::Editable<'_, ServiceNoun>| {
        spec.template.spec.containers[0].image = "mine".into();
        Ok(())
    };
    let error = services.update(&ann, PROJECT, "kept", None, image, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "another image would have the host");

    let mut new = New::<VolumeNoun>::named("etc", VolumeSpec::default());
    let bind = r#"{"type":"none","o":"bind","device":"/etc"}"#;
    new.annotations.insert("io.monohull.docker.options".into(), bind.into());
    let error = control.volumes().create(&ann, PROJECT, new, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);

    let hosts = model::instance::InstanceSpec {
        network: NetworkMode::Host,
        pid: Sharing::Host,
        ..spec("a")
    };
    instances.create(root, PROJECT, named("hosts", hosts), Mode::Apply).await.unwrap();
    let name = || "hosts".to_owned();
    let network = model::instance::InstanceSpec {
        network: NetworkMode::Instance { name: name() },
        ..spec("a")
    };
    let pid = model::instance::InstanceSpec { pid: Sharing::Instance(name()), ..spec("a") };
    for (field, sharing) in [("spec.network", network), ("spec.pid", pid)] {
        let new = || named("sharer", sharing.clone());
        let error = instances.create(&ann, PROJECT, new(), Mode::Apply).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Forbidden, Some(field)));
        instances.create(root, PROJECT, new(), Mode::Plan).await.unwrap();
    }

    let named = |project: &str| BuildHanded {
        project: project.to_owned(),
        secrets: [("pw".to_owned(), BuildSecret::Named("pw".to_owned()))].into(),
    };
    project(control, "shop").await;
    let bob = user(control, "bob", &["editor@shop"]).await;
    for (caller, kind) in [(&ann, ErrorKind::NotFound), (&bob, ErrorKind::Forbidden)] {
        let request = link::build::BuildRequest { plain: true, ..Default::default() };
        let nothing: link::ByteStream = Box::pin(futures::stream::empty());
        let handed = named(PROJECT);
        let built = control.images().build_handed(caller, "", request, handed, nothing).await;
        let error = built.err().unwrap();
        assert_eq!((error.kind(), error.field()), (kind, Some("secrets")), "{}", error.message());
    }
    let request = link::build::BuildRequest { reach: BuildReach::Host, ..Default::default() };
    let nothing: link::ByteStream = Box::pin(futures::stream::empty());
    let error = control.images().build(&ann, "", request, nothing).await.err().unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Forbidden, Some("network")));
}

#[tokio::test]
async fn tokens_of_users_are_their_own_and_no_more() {
    let rig = Rig::alone().await;
    let control = &rig.control;
    project(control, "shop").await;
    let ann = user(control, "ann", &["editor@shop"]).await;
    let bob = user(control, "bob", &["viewer"]).await;
    let tokens = control.tokens();
    let new = |name: &str, spec: TokenSpec| New::named(name, spec);
    let issued =
        tokens.issue(&ann, new("laptop", TokenSpec::default()), Mode::Apply).await.unwrap();
    assert_eq!(issued.token.spec.user, "ann");
    let laptop = control.authenticate(&issued.secret).unwrap();
    assert_eq!((&*laptop.name, &*laptop.user), ("ann/laptop", "ann"));
    assert!(!laptop.is_admin());
    for other in ["bob", "admin"] {
        let spec = TokenSpec { user: other.into(), ..TokenSpec::default() };
        let error = tokens.issue(&ann, new("theirs", spec), Mode::Apply).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
    }
    let less = TokenSpec { roles: roles(&["viewer@shop"]), ..TokenSpec::default() };
    let less = tokens.issue(&ann, new("reader", less), Mode::Apply).await.unwrap();
    let reader = control.authenticate(&less.secret).unwrap();
    let made =
        control.instances().create(&reader, "shop", named("a", spec("a")), Mode::Apply).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Forbidden);
    let error =
        tokens.issue(&reader, new("more", TokenSpec::default()), Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "it would be worth more than what made it");

    let names = |caller: &Caller| {
        let list = tokens.list(caller, None, &Default::default()).unwrap();
        list.items.iter().map(|it| it.meta.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ann), ["laptop", "reader"]);
    assert!(names(&bob).is_empty());
    let hidden = tokens.get(&bob, "", "laptop").unwrap_err();
    assert_eq!(hidden.kind(), ErrorKind::Forbidden);
    let error = tokens.delete(&bob, "", "laptop", None, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(tokens.renew(&bob, "laptop").await.is_err());
    assert!(tokens.renew(&reader, "laptop").await.is_err(), "its holder would have all she may");
    assert!(tokens.get(&reader, "", "laptop").is_ok());
    tokens.renew(&ann, "reader").await.unwrap();
    tokens.delete(&ann, "", "reader", None, Mode::Apply).await.unwrap();
    assert_eq!(control.users().list(&bob, None, &Default::default()).unwrap().items.len(), 1);

    control.users().delete(caller(), "", "ann", None, Mode::Apply).await.unwrap();
    assert!(control.authenticate(&issued.secret).is_err());
    assert!(tokens.get(caller(), "", "laptop").is_err(), "the next ann has nothing of hers");
}

#[tokio::test]
async fn roles_go_where_their_project_goes() {
    let rig = Rig::alone().await;
    let control = &rig.control;
    let unknown = UserSpec { roles: roles(&["editor@shop"]), ..UserSpec::default() };
    let new = New::<UserNoun>::named("ann", unknown);
    let error = control.users().create(caller(), "", new, Mode::Apply).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::NotFound, Some("spec.roles.0.project")));
    project(control, "shop").await;
    user(control, "ann", &["editor@shop", "viewer"]).await;
    let only = TokenSpec { roles: roles(&["viewer@shop"]), ..TokenSpec::default() };
    let tokens = control.tokens();
    let token = tokens.issue(caller(), New::named("only", only), Mode::Apply).await.unwrap();
    control.projects().rename(caller(), "", "shop", "store", Mode::Apply).await.unwrap();
    let of = |name: &str| control.users().get(caller(), "", name).unwrap().spec.roles.clone();
    assert_eq!(of("ann"), roles(&["editor@store", "viewer"]));
    assert!(control.authenticate(&token.secret).unwrap().may(
        control::Verb::Get,
        model::Kind::Instance,
        "store"
    ));
    control.projects().delete(caller(), "", "store", None, Mode::Apply).await.unwrap();
    assert_eq!(of("ann"), roles(&["viewer"]));
    assert!(
        control.authenticate(&token.secret).is_err(),
        "without a role it would be worth everything"
    );
}
