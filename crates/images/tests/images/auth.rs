//! Who is shown what.

use axum::http::{HeaderMap, Method};
use images::{CredentialFile, Credentials, PullOptions, PushOptions, Pusher, Settings};
use model::ErrorKind;
use model::image::Reference;

use crate::archives::oci_archive;
use crate::mock::{Answer, Mock, Seen};
use crate::sample::Sample;
use crate::store::{Fixture, always, settings};

const PASSWORD: &str = "s3cret-word";
const TOKEN: &str = "t0ken-of-the-realm";
const IDENTITY: &str = "id3ntity";

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.into(), password: password.into() }
}

/// `ann:s3cret-word` in base64.
const ANN: &str = "Basic YW5uOnMzY3JldC13b3Jk";

/// A registry with a realm of its own; the image may be pulled by ann alone.
fn guarded(seen: &Seen) -> Answer {
    let host = seen.header("host").unwrap().to_owned();
    match &*seen.path {
        "/token" if seen.method == "POST" => {
            match seen.body.contains(&format!("refresh_token={IDENTITY}")) {
                true => granted("access_token", false),
                false => Answer::Say(401, Vec::new(), "no".into()),
            }
        }
        "/token" => match seen.header("authorization") {
            Some(ANN) => granted("token", seen.query.contains("offline_token=true")),
            Some(_) => Answer::Say(401, Vec::new(), "no".into()),
            None => Answer::Say(200, Vec::new(), r#"{"token":"anonymous"}"#.into()),
        },
        _ if seen.header("authorization") == Some(&format!("Bearer {TOKEN}")) => Answer::Serve,
        _ => {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"guarded\"");
            Answer::Say(401, vec![("www-authenticate", challenge)], String::new())
        }
    }
}

fn granted(key: &str, offline: bool) -> Answer {
    let refresh =
        if offline { format!(",\"refresh_token\":\"{IDENTITY}\"") } else { String::new() };
    Answer::Say(200, Vec::new(), format!("{{\"{key}\":\"{TOKEN}\",\"expires_in\":300{refresh}}}"))
}

#[tokio::test]
async fn a_token_is_got_once_and_shown() {
    let mock = Mock::start(guarded).await;
    mock.put("1", &Sample::of_size(200, 1000));
    let fixture = Fixture::new();
    let name = Reference::parse(&mock.name("app:1")).unwrap();
    let error = fixture.puller.pull(&name, always()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.next_step().unwrap().contains("hull image login"));
    let with = |credentials| PullOptions { credentials: Some(credentials), ..always() };
    let error = fixture.puller.pull(&name, with(basic("ann", "wrong"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!error.chain().contains("wrong"), "{}", error.chain());
    fixture.puller.pull(&name, with(basic("ann", PASSWORD))).await.unwrap();
    let tokens = mock.seen().into_iter().filter(|seen| seen.header("authorization") == Some(ANN));
    let tokens: Vec<Seen> = tokens.collect();
    assert_eq!(tokens.len(), 1, "one token for all parts");
    assert_eq!(tokens[0].query, "service=guarded&scope=repository%3Aapp%3Apull&account=ann");
}

#[tokio::test]
async fn login_keeps_what_works_and_only_that() {
    let mock = Mock::start(guarded).await;
    mock.put("1", &Sample::of_size(210, 1000));
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.json");
    let fixture = Fixture::with(Settings { credentials: Some(path.clone()), ..settings() });
    let error = fixture.puller.login(&mock.address, basic("ann", "wrong")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!path.exists(), "what does not work is kept");
    fixture.puller.login(&mock.address, basic("ann", PASSWORD)).await.unwrap();
    let kept = CredentialFile::new(&path).get(&mock.address).unwrap();
    assert_eq!(kept, Some(Credentials::Identity { token: IDENTITY.into() }));
    assert!(!std::fs::read_to_string(&path).unwrap().contains(PASSWORD));
    fixture.pull(&mock.name("app:1")).await.unwrap();
    assert!(fixture.puller.logout(&mock.address).await.unwrap());
    assert!(!fixture.puller.logout(&mock.address).await.unwrap());
    assert_eq!(fixture.pull(&mock.name("app:1")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn basic_and_bearer_credentials() {
    for (credentials, shown) in [
        (basic("ann", PASSWORD), ANN.to_owned()),
        (Credentials::Bearer { token: TOKEN.into() }, format!("Bearer {TOKEN}")),
    ] {
        let expected = shown.clone();
        let mock = Mock::start(move |seen| match seen.header("authorization") {
            Some(shown) if shown == expected => Answer::Serve,
            _ => {
                Answer::Say(401, vec![("www-authenticate", "Basic realm=x".into())], String::new())
            }
        })
        .await;
        mock.put("1", &Sample::of_size(220, 1000));
        let fixture = Fixture::new();
        let name = Reference::parse(&mock.name("app:1")).unwrap();
        let options = PullOptions { credentials: Some(credentials), ..always() };
        fixture.puller.pull(&name, options).await.unwrap();
    }
}

#[tokio::test]
async fn credentials_go_to_nobody_else() {
    let sample = Sample::of_size(230, 1000);
    // A redirect to a store of blobs, as large registries have it.
    let storage = Mock::good().await;
    storage.put("1", &sample);
    let target = storage.url();
    let mock = Mock::start(move |seen| match seen.header("authorization") {
        None => Answer::Say(401, vec![("www-authenticate", "Basic realm=x".into())], String::new()),
        Some(_) if seen.is_blob() => {
            Answer::Say(302, vec![("location", format!("{target}{}", seen.path))], String::new())
        }
        Some(_) => Answer::Serve,
    })
    .await;
    mock.put("1", &sample);
    // A mirror is not the registry: credentials given for one are not shown to the other.
    let mirror = Mock::start(|_| {
        Answer::Say(401, vec![("www-authenticate", "Basic realm=x".into())], String::new())
    })
    .await;
    let registries = crate::store::mirrored(&mock.address, &[mirror.url()]);
    let fixture = Fixture::with(Settings { registries: registries.into(), ..settings() });
    let name = Reference::parse(&mock.name("app:1")).unwrap();
    let options = PullOptions { credentials: Some(basic("ann", PASSWORD)), ..always() };
    fixture.puller.pull(&name, options).await.unwrap();
    for other in [&storage, &mirror] {
        assert!(!other.seen().is_empty());
        let shown = other.seen().into_iter().any(|seen| seen.header("authorization").is_some());
        assert!(!shown, "credentials were shown to another host");
    }
}

#[tokio::test]
async fn a_token_that_expires_in_a_push_is_got_again() {
    let sample = Sample::of_size(240, 1000);
    let mock = Mock::start(|seen| match (&seen.method, seen.nth) {
        // The registry has the blobs; sending them took so long that the token is too old.
        (&Method::PUT, 0) => guarded(&Seen { headers: host_only(seen), ..seen.clone() }),
        (&Method::PUT, _) => match guarded(seen) {
            Answer::Serve => Answer::Say(201, Vec::new(), String::new()),
            refusal => refusal,
        },
        _ => guarded(seen),
    })
    .await;
    mock.put("other", &sample);
    let fixture = Fixture::new();
    let name = mock.name("app:1");
    fixture
        .images
        .import(&oci_archive(&sample, Some(&name))[..], Default::default())
        .await
        .unwrap();
    let pusher = Pusher::new(fixture.store.clone(), settings()).unwrap();
    let reference = Reference::parse(&name).unwrap();
    let credentials = Some(basic("ann", PASSWORD));
    let options = PushOptions { credentials, ..PushOptions::default() };
    pusher.push(&name, &reference, options).await.unwrap();
    let puts = mock.seen().into_iter().filter(|seen| seen.method == Method::PUT);
    assert_eq!(puts.count(), 2);
}

fn host_only(seen: &Seen) -> HeaderMap {
    seen.headers
        .iter()
        .filter(|(name, _)| *name == "host")
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

#[tokio::test]
async fn tokens_that_are_none() {
    for body in ["", "{}", "null", r#"{"token":""}"#, r#"{"token":"line\nbreak"}"#] {
        let mock = Mock::start(move |seen| match &*seen.path {
            "/token" => Answer::Say(200, Vec::new(), body.into()),
            _ => {
                let host = seen.header("host").unwrap();
                let challenge = format!("Bearer realm=\"http://{host}/token\"");
                Answer::Say(401, vec![("www-authenticate", challenge)], String::new())
            }
        })
        .await;
        let error = Fixture::new().pull(&mock.name("app:1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{body}: {}", error.chain());
    }
    let mock = Mock::start(|_| {
        let challenge = "Bearer realm=\"file:///etc/passwd\"";
        Answer::Say(401, vec![("www-authenticate", challenge.into())], String::new())
    })
    .await;
    let error = Fixture::new().pull(&mock.name("app:1")).await.unwrap_err();
    assert!(error.message().contains("not allowed"), "{}", error.chain());
}
