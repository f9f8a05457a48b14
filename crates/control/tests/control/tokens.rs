//! Who somebody is.

use std::sync::{Arc, Mutex};

use control::{Clock, Config, Control, Mode, New, Via};
use model::token::TokenSpec;
use model::{ErrorKind, Time};
use store::sqlite::{Config as StoreConfig, SqliteStore};

use crate::support::*;

#[tokio::test]
async fn the_first_start_makes_an_admin_whose_secret_is_given_once() {
    let rig = Rig::alone().await;
    let secret = rig.control.take_admin_secret().unwrap();
    assert_eq!(rig.control.take_admin_secret(), None);
    let admin = rig.control.authenticate(&secret).unwrap();
    assert_eq!((&*admin.name, admin.via), ("admin", Via::Token));
    let rig = rig.reopened().await;
    assert_eq!(rig.control.take_admin_secret(), None, "only the first start makes one");
    assert!(rig.control.authenticate(&secret).is_ok());
    for wrong in
        ["", "hull__", "hull_0_0", &secret[..secret.len() - 1], &secret.replace("hull", "bull")]
    {
        let error = rig.control.authenticate(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{wrong}");
    }
    let renewed = rig.control.tokens().renew(caller(), "admin").await.unwrap();
    assert!(rig.control.authenticate(&secret).is_err());
    assert!(rig.control.authenticate(&renewed.secret).is_ok());
}

#[tokio::test]
async fn hashes_are_kept_to_ourselves() {
    let rig = Rig::alone().await;
    let tokens = rig.control.tokens();
    let new = New::named("ci", TokenSpec::default());
    let issued = tokens.issue(caller(), new.clone(), Mode::Apply).await.unwrap();
    assert!(issued.token.spec.hash.is_empty());
    let list = tokens.list_json(caller(), None, &Default::default()).unwrap();
    assert_eq!(list.items.len(), 2);
    let text: String =
        list.items.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    assert!(!text.contains("hash"), "{text}");
    let edit = |(_, _, spec): control::Editable<'_, model::token::TokenNoun>| {
        spec.description = "for the builds".into();
        spec.hash = "0".repeat(64);
        Ok(())
    };
    tokens.update(caller(), "", "ci", None, edit, Mode::Apply).await.unwrap();
    assert!(rig.control.authenticate(&issued.secret).is_ok(), "a hash cannot be written");
    assert_eq!(
        tokens.create(caller(), "", new, Mode::Apply).await.unwrap_err().kind(),
        ErrorKind::Exists
    );
    let bare = New::named("own", TokenSpec::default());
    let error = tokens.create(caller(), "", bare, Mode::Apply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    tokens.delete(caller(), "", "ci", None, Mode::Apply).await.unwrap();
    assert!(rig.control.authenticate(&issued.secret).is_err());
}

#[tokio::test]
async fn a_token_is_worth_nothing_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(Mutex::new(Time::from_unix(1_000_000, 0)));
    let shown = now.clone();
    let store = SqliteStore::open(StoreConfig::new(dir.path().join("state.db"))).await.unwrap();
    let clock = Clock::new(move || *shown.lock().unwrap());
    let config = Config { clock, ..Config::new(Arc::new(store), NODE) };
    let control = Control::open(config).await.unwrap();
    let spec = TokenSpec { expires: Some(Time::from_unix(1_000_060, 0)), ..TokenSpec::default() };
    let issued =
        control.tokens().issue(caller(), New::named("short", spec), Mode::Apply).await.unwrap();
    assert!(control.authenticate(&issued.secret).is_ok());
    *now.lock().unwrap() = Time::from_unix(1_000_060, 0);
    let error = control.authenticate(&issued.secret).unwrap_err();
    assert_eq!(error.message(), "token \"short\" has expired");
}

#[tokio::test]
async fn nobody_in_particular_may_do_nothing() {
    let rig = Rig::alone().await;
    let nobody = control::Caller::socket("");
    let error = rig.control.instances().list(&nobody, None, &Default::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let new = named("a", spec("a"));
    let made = rig.control.instances().create(&nobody, PROJECT, new, Mode::Apply).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Unauthenticated);
}
