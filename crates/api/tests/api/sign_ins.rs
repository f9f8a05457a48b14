//! Browsers that are signed in, and what another site's page can do with their cookies.

use client::wire::SignedIn;

use crate::raw::{self, Answer};
use crate::world::{World, until};

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// A browser: its cookie, and what its page was told.
struct Browser {
    cookie: String,
    told: SignedIn,
    csrf: String,
}

async fn sign_in(world: &World, secret: &str) -> Browser {
    let token = format!("Bearer {secret}");
    let headers = [("authorization", token.as_str())];
    let answer = raw::request(world, "POST", "/v1/session", &headers, b"").await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let line = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    for word in ["__Host-hull-", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(line.contains(word), "{line}");
    }
    let cookie = line.split(';').next().unwrap().to_owned();
    assert!(!answer.says(cookie.split_once('=').unwrap().1), "the cookie is in the body");
    let mut told: SignedIn = serde_json::from_slice(&answer.body).unwrap();
    let csrf = told.csrf.take().unwrap();
    Browser { cookie, told, csrf }
}

impl Browser {
    async fn ask(
        &self,
        world: &World,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let headers = [&[("cookie", self.cookie.as_str())], headers].concat();
        raw::request(world, method, path, &headers, b"").await
    }

    /// What a read of the console's own page is answered with.
    async fn read(&self, world: &World, path: &str) -> Answer {
        self.ask(world, "GET", path, &[("hull-csrf", &self.csrf)]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_out() {
    let world = World::start().await;
    let browser = sign_in(&world, &world.secret).await;
    assert_eq!(browser.told.name, "admin");
    let told = browser.read(&world, "/v1/session").await;
    assert_eq!(serde_json::from_slice::<SignedIn>(&told.body).unwrap(), browser.told);
    let nodes = browser.read(&world, "/v1/nodes").await;
    assert_eq!(nodes.status, 200);
    assert!(nodes.head.contains("x-content-type-options: nosniff"), "{}", nodes.head);
    let csrf = [("hull-csrf", browser.csrf.as_str())];
    let ended = browser.ask(&world, "DELETE", "/v1/session", &csrf).await;
    assert_eq!(ended.status, 204);
    assert!(ended.head.contains("Max-Age=0"), "{}", ended.head);
    assert_eq!(browser.read(&world, "/v1/nodes").await.status, 401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_can_do_nothing_with_the_cookie() {
    let world = World::start().await;
    let browser = sign_in(&world, &world.secret).await;
    let csrf = browser.csrf.as_str();
    let path = "/v1/projects/default/volumes/none";
    let cases: [(&str, Headers<'_>, u16); 11] = [
        ("DELETE", &[], 403),
        ("DELETE", &[("hull-csrf", "")], 403),
        ("DELETE", &[("hull-csrf", "0")], 403),
        ("DELETE", &[("hull-csrf", csrf), ("origin", "https://evil")], 403),
        ("DELETE", &[("hull-csrf", csrf), ("sec-fetch-site", "cross-site")], 403),
        ("DELETE", &[("hull-csrf", csrf), ("origin", "https://x")], 404),
        ("DELETE", &[("hull-csrf", csrf)], 404),
        ("GET", &[("hull-csrf", csrf), ("sec-fetch-site", "cross-site")], 403),
        ("GET", &[("hull-csrf", csrf)], 404),
        // A server on another port of this host has the cookie, too, and can send what headers it likes.
        ("GET", &[], 403),
        ("GET", &[("origin", "https://x"), ("sec-fetch-site", "same-origin")], 403),
    ];
    for (method, headers, status) in cases {
        let answer = browser.ask(&world, method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {headers:?}: {}", answer.head);
    }
    let upgrade =
        [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    let exec = "/v1/projects/default/instances/none/exec";
    // It has no key: one that is let in is refused for that.
    let ours = format!("v1.channel.hull, v1.csrf.hull.{csrf}");
    for (origin, protocols, status) in [
        (None, ours.as_str(), 403),
        (Some("https://evil"), ours.as_str(), 403),
        (Some("http://x"), ours.as_str(), 403),
        (Some("https://x"), "v1.channel.hull", 403),
        (Some("https://x"), ours.as_str(), 426),
    ] {
        let mut headers = upgrade.to_vec();
        headers.push(("sec-websocket-protocol", protocols));
        headers.extend(origin.map(|origin| ("origin", origin)));
        let answer = browser.ask(&world, "GET", exec, &headers).await;
        assert_eq!(answer.status, status, "{origin:?} {protocols}");
        assert!(!answer.head.contains(csrf), "{}", answer.head);
    }
    let told = browser.ask(&world, "GET", "/v1/session", &[]).await;
    assert_eq!(told.status, 403, "the cookie alone is told the secret");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_worth_as_much_as_its_token() {
    let world = World::start().await;
    let tokens = world.local().tokens();
    let draft = client::wire::TokenDraft { name: "ann".into(), ..Default::default() };
    let issued = tokens.issue(&draft, false).await.unwrap();
    let browser = sign_in(&world, &issued.secret).await;
    let renewed = tokens.renew("ann").await.unwrap();
    assert_eq!(browser.read(&world, "/v1/nodes").await.status, 401);
    let browser = sign_in(&world, &renewed.secret).await;
    assert_eq!(browser.read(&world, "/v1/nodes").await.status, 200);
    tokens.delete("ann", Default::default()).await.unwrap();
    assert_eq!(browser.read(&world, "/v1/nodes").await.status, 401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_opened_ends_when_it_signs_out() {
    let world = World::start().await;
    world.run("web").await;
    let (one, other) = (sign_in(&world, &world.secret).await, sign_in(&world, &world.secret).await);
    let path = "/v1/projects/default/instances/web/logs?follow=true";
    let leaving = async {
        until(async || world.open() == 1).await;
        // What another does is nothing to this one.
        for browser in [&other, &one] {
            assert_eq!(world.open(), 1);
            let csrf = [("hull-csrf", browser.csrf.as_str())];
            assert_eq!(browser.ask(&world, "DELETE", "/v1/session", &csrf).await.status, 204);
        }
    };
    let (followed, ()) = tokio::join!(one.read(&world, path), leaving);
    assert!(followed.says("who asked may no longer"), "{}", followed.head);
    until(async || world.open() == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_for_everybody_and_has_its_headers() {
    let world = World::start().await;
    let answer = raw::get(&world, "/").await;
    assert_eq!(answer.status, 303);
    assert!(answer.head.contains("location: /console/"), "{}", answer.head);
    for path in ["/console/", "/console/instances/default/web", "/console/index.html"] {
        let answer = raw::get(&world, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.says("<!doctype html>"), "{path}");
        for word in ["default-src 'none'", "frame-ancestors 'none'", "nosniff", "no-store"] {
            assert!(answer.head.contains(word), "{path}: {}", answer.head);
        }
        assert!(!answer.head.contains("unsafe"), "{path}: {}", answer.head);
    }
    for path in ["/console/assets/none.js", "/console/assets/../../etc/passwd"] {
        assert_eq!(raw::get(&world, path).await.status, 404, "{path}");
    }
    world.stop().await;
}

/// A user with this role and password.
async fn make_user(world: &World, name: &str, role: &str, password: &str) {
    let users = world.local().users();
    let roles = vec![role.parse().unwrap()];
    let spec = model::user::UserSpec { roles, ..Default::default() };
    users.create(&client::wire::Draft::new(name, spec), false).await.unwrap();
    let request = client::wire::PasswordRequest { password: password.into(), present: None };
    let user = users.set_password(name, &request).await.unwrap();
    assert!(user.spec.password.is_empty() && user.status.has_password);
}

async fn try_password(world: &World, headers: Headers<'_>, name: &str, password: &str) -> Answer {
    let body = serde_json::json!({ "name": name, "password": password }).to_string();
    let headers = [headers, &[("content-type", "application/json")]].concat();
    raw::request(world, "POST", "/v1/session/password", &headers, body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_with_a_password_and_may_what_their_role_says() {
    let world = World::start().await;
    make_user(&world, "ann", "viewer", "correct horse").await;
    let elsewhere = [("origin", "https://evil")];
    assert_eq!(try_password(&world, &elsewhere, "ann", "correct horse").await.status, 403);
    let wrong = try_password(&world, &[], "ann", "wrong horses").await;
    assert_eq!((wrong.status, wrong.problem().kind.as_str()), (401, "unauthenticated"));
    let unknown = try_password(&world, &[], "eve", "correct horse").await;
    assert_eq!(unknown.problem().detail, wrong.problem().detail, "who there is, is not told");
    let answer = try_password(&world, &[], "ann", "correct horse").await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let line = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = line.split(';').next().unwrap().to_owned();
    let mut told: SignedIn = serde_json::from_slice(&answer.body).unwrap();
    let csrf = told.csrf.take().unwrap();
    assert_eq!(
        (&*told.user, told.admin, told.roles[0][0].to_string()),
        ("ann", false, "viewer".into())
    );
    let ann = Browser { cookie, told, csrf };
    assert_eq!(ann.read(&world, "/v1/nodes").await.status, 200);
    assert_eq!(ann.read(&world, "/v1/audit").await.status, 403);
    assert_eq!(ann.read(&world, "/v1/users/ann").await.status, 200);
    // What is open ends when the user may no longer.
    let watching = ann.read(&world, "/v1/nodes?watch=true");
    let changing = async {
        // Until it has begun, there is nothing to end.
        for role in ["operator", "viewer"].into_iter().cycle() {
            let patch = serde_json::json!({ "spec": { "roles": [{ "role": role }] } });
            world.local().users().patch("ann", &patch, None, false).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let watched = tokio::select! {
        watched = watching => watched,
        () = changing => unreachable!(),
        () = tokio::time::sleep(std::time::Duration::from_secs(20)) => {
            panic!("a watch goes on after its user's role has changed")
        }
    };
    assert!(watched.says("has other roles now"), "{}", watched.head);
    let patch = serde_json::json!({ "spec": { "roles": [{ "role": "viewer" }] } });
    world.local().users().patch("ann", &patch, None, false).await.unwrap();

    let csrf = [("hull-csrf", ann.csrf.as_str())];
    let backup = ann.ask(&world, "POST", "/v1/system/backup", &csrf).await;
    assert_eq!(backup.status, 403, "there is everything in it");
    let refused = ann.ask(&world, "DELETE", "/v1/projects/default", &csrf).await;
    assert_eq!(refused.status, 403);

    let mut log = Vec::new();
    let query = client::wire::AuditQuery::default();
    let mut entries = world.local().users().audit(&query).await.unwrap();
    while let Some(entry) = futures::StreamExt::next(&mut entries).await {
        log.push(entry.unwrap());
    }
    let seen = |by: &str, path: &str, status: u16| {
        log.iter().any(|it| (&*it.by, &*it.path, it.status) == (by, path, status))
    };
    assert!(seen("ann", "/v1/session/password", 200), "{log:?}");
    assert!(seen("eve", "/v1/session/password", 401));
    assert!(seen("ann", "/v1/projects/default", 403));
    assert!(!format!("{log:?}").contains("horse"), "a password is in the log");
    world.stop().await;
}
