//! Images that are built for apps, and by hand, by each builder of this machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testing::node::{Node, Outcome, Setup, finish, missing, until};

use super::catalog_sources::server;

/// A node of one's own, whose builder keeps things, with these settings.
fn own(settings: &str) -> Option<Node> {
    if let Some(why) = missing() {
        assert!(std::env::var_os("HULL_E2E").is_none(), "cannot run end to end: {why}");
        println!("passed over: {why}");
        return None;
    }
    Some(Setup::new().unwrap().settings(settings).start().unwrap())
}

/// Whether BuildKit has built on a node.
fn has_kit(node: &Node) -> bool {
    node.root().join("var/lib/hull/build/kit/root").exists()
}

fn with_buildah(test: impl FnOnce(&Node)) {
    let there =
        ["/usr/bin", "/usr/local/bin"].iter().any(|it| Path::new(it).join("buildah").is_file());
    assert!(there || std::env::var_os("HULL_E2E").is_none(), "buildah is not installed");
    if !there {
        println!("passed over: buildah is not installed");
        return;
    }
    let no_kit = "[build]\nbuildkitd = \"nosuch-buildkitd\"\nbuildkit-image = \"\"";
    let Some(node) = own(no_kit) else { return };
    test(&node);
    assert!(!has_kit(&node));
}

fn with_buildkit(test: impl FnOnce(&Node)) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|place| place.join("buildkitd").is_file()) {
        println!("passed over: there is no buildkitd in PATH");
        return;
    }
    let Some(node) = own("") else { return };
    test(&node);
    let anything = !node.ok(&["image", "ls", "-o", "name"]).is_empty();
    assert_eq!(has_kit(&node), anything);
}

/// Each of these with each builder.
macro_rules! with_both {
    ($($test:ident),* $(,)?) => {
        mod by_buildah {
            $(#[test] fn $test() { super::with_buildah(super::$test); })*
        }
        mod by_buildkit {
            $(#[test] fn $test() { super::with_buildkit(super::$test); })*
        }
    };
}

with_both! {
    an_app_is_built_changed_and_taken_back,
    what_cannot_be_built_is_refused_first,
    contexts_come_with_archives_and_repositories,
    an_image_is_built_by_hand,
    steps_are_handed_secrets,
    secrets_end_with_the_daemon,
}

const LOOP: &str = "trap 'exit 0' TERM; while :; do usleep 50000; done";

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// An app of two services, of which one is built, and not of all that lies beside its Dockerfile.
fn shop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let compose = format!(
        r#"
services:
  web:
    build:
      context: web
      args: {{WORD: "${{WORD:-plain}}"}}
      labels: {{kind: shop}}
      target: release
    command: ["sh", "-c", "{LOOP}"]
  db:
    image: busybox
    command: ["sh", "-c", "{LOOP}"]
"#
    );
    write(dir.path(), "compose.yaml", &compose);
    write(
        dir.path(),
        "web/Dockerfile",
        "FROM busybox AS release\nARG WORD\nRUN echo $WORD >/word && echo said by a step\n\
         COPY . /srv/\nFROM release\nRUN exit 9\n",
    );
    write(dir.path(), "web/page", "one");
    write(dir.path(), "web/run.sh", "#!/bin/sh\ncat /srv/page\n");
    write(dir.path(), "web/.dockerignore", "*.key\n!public.key\n.dockerignore\nDockerfile\n");
    write(dir.path(), "web/private.key", "x");
    write(dir.path(), "web/public.key", "x");
    make_program(&dir.path().join("web/run.sh"));
    dir
}

fn make_program(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn up(node: &Node, dir: &Path, flags: &[&str]) -> Outcome {
    node.hull(&[&["app", "up", "--name", "shop"], flags, &[dir.to_str().unwrap()]].concat())
}

fn up_well(node: &Node, dir: &Path, flags: &[&str]) -> Outcome {
    let done = up(node, dir, flags);
    assert_eq!(done.code, 0, "{}", done.stderr);
    done
}

fn id(node: &Node, instance: &str) -> serde_json::Value {
    node.field(instance, "/meta/id")
}

fn an_app_is_built_changed_and_taken_back(node: &Node) {
    let dir = shop();
    let planned = up_well(node, dir.path(), &["--plan"]).text();
    assert!(planned.starts_with("build    image    shop-web\n"), "{planned}");
    assert!(planned.contains("of web for web: it is not here"), "{planned}");
    assert_eq!(node.hull(&["image", "show", "shop-web"]).code, 3, "a plan builds nothing");
    let refused = up(node, dir.path(), &["--no-build"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("is not built yet"), "{}", refused.stderr);
    assert_eq!(node.hull(&["app", "show", "shop"]).code, 3);

    let done = up_well(node, dir.path(), &[]);
    assert!(done.stderr.contains("said by a step"), "{}", done.stderr);
    let inside = |script: &str| node.ok(&["exec", "shop-web-1", "sh", "-c", script]);
    assert_eq!(
        inside("cat /word; ls -A /srv; /srv/run.sh"),
        "plain\npage\npublic.key\nrun.sh\none"
    );
    let image = node.ok(&["image", "show", "-o", "json", "shop-web"]);
    assert!(image.contains("\"kind\": \"shop\""), "{image}");

    // What is here is not built again, and nothing changes.
    let (web, db) = (id(node, "shop-web-1"), id(node, "shop-db-1"));
    write(dir.path(), "web/page", "two");
    let again = up_well(node, dir.path(), &[]);
    assert!(!again.stderr.contains("Building"), "{}", again.stderr);
    assert_eq!(id(node, "shop-web-1"), web);

    // Built anew it is another image, and a change of that service alone.
    let planned = up_well(node, dir.path(), &["--plan", "--build"]).text();
    assert!(planned.contains("it is asked for"), "{planned}");
    up_well(node, dir.path(), &["--build"]);
    assert_ne!(id(node, "shop-web-1"), web);
    assert_eq!(id(node, "shop-db-1"), db);
    assert_eq!(inside("/srv/run.sh"), "two");
    node.ok(&["app", "rollback", "shop"]);
    assert_eq!(inside("/srv/run.sh"), "one", "the image of that revision");
    up_well(node, dir.path(), &[]);
    assert_eq!(inside("/srv/run.sh"), "two");

    // One that fails changes nothing, and says why.
    let (web, revision) = (id(node, "shop-web-1"), node.ok(&["app", "history", "shop"]));
    write(
        dir.path(),
        "web/Dockerfile",
        "FROM busybox AS release\nRUN echo words of mine; exit 7\n",
    );
    let failed = up(node, dir.path(), &["--build"]);
    assert_ne!(failed.code, 0);
    assert!(failed.stderr.contains("words of mine"), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("the build failed") && failed.stderr.contains("code: 7"),
        "{}",
        failed.stderr
    );
    assert_eq!(id(node, "shop-web-1"), web);
    assert_eq!(node.ok(&["app", "history", "shop"]).lines().count(), revision.lines().count());
    node.ok(&["app", "down", "shop"]);
}

fn what_cannot_be_built_is_refused_first(node: &Node) {
    let file = |build: &str| format!("services:\n  web:\n    build: {build}\n");
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "Dockerfile", "FROM busybox\n");
    for (build, why) in [
        ("{context: ., ssh: [default]}", "services.web.build.ssh: a build is handed no keys"),
        (
            "{context: ., secrets: [x]}",
            "compose.yaml:3:35: services.web.build.secrets[0]: secrets has no \"x\"",
        ),
        ("{context: ., platforms: [linux/amd64, linux/arm64]}", "for one platform at a time"),
        ("{context: ., platforms: [linux/s390x]}", "this node builds for"),
        ("gone", "there is no"),
        ("linked", "is not below"),
        ("{context: ., dockerfile: linked/../../x}", "there is no"),
        ("{context: ., dockerfile: other}", "there is no other in"),
        ("git@example.org:a/b.git", "cannot be fetched over SSH"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "Dockerfile", "FROM busybox\n");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("linked")).unwrap();
        write(dir.path(), "compose.yaml", &file(build));
        let refused = up(node, dir.path(), &[]);
        assert_ne!(refused.code, 0, "{build}");
        assert!(refused.stderr.contains(why), "{build}: {}", refused.stderr);
    }
    assert_eq!(node.hull(&["app", "show", "shop"]).code, 3);
}

fn contexts_come_with_archives_and_repositories(node: &Node) {
    let dir = shop();
    let base = tempfile::tempdir().unwrap();
    let archive = base.path().join("shop.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    builder.follow_symlinks(false);
    std::os::unix::fs::symlink("page", dir.path().join("web/link")).unwrap();
    builder.append_dir_all("shop-1.0", dir.path()).unwrap();
    builder.finish().unwrap();
    // Nothing but the archive says what the app is called.
    let done = node.hull(&["app", "up", archive.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let list = ["exec", "shop-web-1", "sh", "-c", "readlink /srv/link; /srv/run.sh"];
    assert_eq!(node.ok(&list), "page\none");
    node.ok(&["app", "down", "shop"]);

    node.ok(&["image", "rm", "shop-web"]);
    if !server::able() {
        return;
    }
    server::git(dir.path(), &["init", "-q", "--initial-branch=main"]);
    server::git(dir.path(), &["add", "."]);
    server::git(dir.path(), &["commit", "-q", "-m", "A shop"]);
    let url = format!("{}/.git", server::serve(dir.path()));
    up_well(node, Path::new(&url), &[]);
    assert_eq!(node.ok(&list), "page\none");
    node.ok(&["app", "down", "shop"]);
}

fn an_image_is_built_by_hand(node: &Node) {
    let dir = shop();
    let web = dir.path().join("web");
    let web = web.to_str().unwrap();
    let build = |words: &[&str]| node.hull(&[&["image", "build"], words].concat());
    let done = build(&[
        "-t",
        "mine:1",
        "-t",
        "mine:2",
        "--build-arg",
        "WORD=arg",
        "--target",
        "release",
        web,
    ]);
    assert_eq!((done.code, done.text().as_str()), (0, "mine:1\nmine:2"), "{}", done.stderr);
    assert!(done.stderr.contains("said by a step"), "{}", done.stderr);
    assert_eq!(node.ok(&["run", "--rm", "mine:2", "cat", "/word"]), "arg");
    let quiet =
        build(&["-q", "-t", "mine:1", "--build-arg", "WORD=arg", "--target", "release", web]);
    assert!(quiet.text().starts_with("sha256:") && quiet.stderr.is_empty(), "{}", quiet.stderr);
    let other = dir.path().join("Other");
    write(dir.path(), "Other", "FROM busybox\nCOPY . /all/\nCOPY page /page\n");
    let other = build(&["-t", "mine:3", "-f", other.to_str().unwrap(), "--label", "a=b", web]);
    assert_eq!(other.code, 0, "{}", other.stderr);
    let list = ["run", "--rm", "mine:3", "sh", "-c", "cat /page; echo; ls -A /all"];
    assert_eq!(node.ok(&list), "one\npage\npublic.key\nrun.sh", "and no Dockerfile of elsewhere");
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("", web).unwrap();
    let archive = archive.into_inner().unwrap();
    let target = ["image", "build", "-q", "-t", "mine:5", "--target", "release", "-"];
    let done = node.hull_with(&target, Some(&archive));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let list = node.ok(&["run", "--rm", "mine:5", "ls", "-A", "/srv"]);
    assert_eq!(
        list, "page\npublic.key\nrun.sh",
        "what .dockerignore says counts for archives, too"
    );
    let failed = build(&["-q", "-t", "mine:4", web]);
    assert!(failed.code != 0 && failed.stderr.contains("said by a step"), "{}", failed.stderr);
    assert_eq!(node.hull(&["image", "show", "mine:4"]).code, 3);
    for (words, why) in [
        (&["-t", "A B", web][..], "is not an image name"),
        (&["/nowhere"], "is no directory"),
        (&["-t", "x", "--network", "mine", web], "a build cannot be in the network"),
        (&["-t", "x", "--platform", "linux/s390x", web], "this node builds for"),
        (&["-t", "x", "--platform", "linux/amd64,linux/386", web], "for one platform at a time"),
        (&["-t", "x", "ssh://git@example.org/a/b"], "cannot be fetched over SSH"),
    ] {
        let refused = build(words);
        assert!(refused.code != 0 && refused.stderr.contains(why), "{}", refused.stderr);
    }
}

const TOKEN: &str = "t0ken-of-the-build-and-nobody-else";
const CERTIFICATE: &str = "c3rtificate-of-the-build-and-nobody-else";
const OURS: &str = "0urs-of-the-platform-and-nobody-else";

/// Files of a node that hold a secret.
fn leaks(node: &Node) -> String {
    let mut all = Vec::new();
    for value in [TOKEN, CERTIFICATE, OURS] {
        let mut encoded = STANDARD.encode(value);
        encoded.truncate(value.len() / 3 * 4);
        all.extend(["-e".to_owned(), value.to_owned(), "-e".to_owned(), encoded]);
    }
    let places = ["var/lib/hull", "run/hull", "etc/hull"].map(|it| node.root().join(it));
    let found = Command::new("grep").arg("-rlaF").args(all).args(places).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

fn md5sum(text: &str) -> String {
    finish(Command::new("md5sum"), Some(text.as_bytes())).unwrap().text()
}

fn secrets_end_with_the_daemon(node: &Node) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", TOKEN);
    write(dir.path(), ".dockerignore", "token\n");
    write(
        dir.path(),
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=secret,id=npm cat /run/secrets/npm | md5sum && sleep 600\n",
    );
    let file = format!("id=npm,src={}", dir.path().join("token").display());
    let words = ["image", "build", "-t", "mine", "--secret", &file, dir.path().to_str().unwrap()];
    let mut build = node.command(&words);
    let mut build = build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(build.stderr.take().unwrap());
    let expected = md5sum(TOKEN);
    said.lines().map_while(Result::ok).find(|line| line.contains(&expected)).unwrap();
    node.kill_daemon().unwrap();
    node.await_ready();
    assert!(!build.wait().unwrap().success());
    until("nothing of it is left", || leaks(node).is_empty().then_some(()));
}

fn steps_are_handed_secrets(node: &Node) {
    let made = node.hull_with(&["secret", "create", "pw", "-"], Some(OURS.as_bytes()));
    assert_eq!(made.code, 0, "{}", made.stderr);
    let dir = tempfile::tempdir().unwrap();
    let compose = |more: &str| {
        format!(
            "services:\n  web:\n    build:\n      context: web\n      secrets:\n        - npm\n        - \
             {{source: cert, target: server.crt}}\n        - ours\n    command: [sh, -c, \"{LOOP}\"]\n\
             secrets:\n  npm: {{environment: BUILD_TOKEN}}\n  cert: {{file: {more}}}\n  ours: {{external: \
             true, name: pw}}\n"
        )
    };
    write(dir.path(), "compose.yaml", &compose("tls/server.crt"));
    write(dir.path(), "tls/server.crt", CERTIFICATE);
    write(
        dir.path(),
        "web/Dockerfile",
        "FROM busybox\n\
         RUN --mount=type=secret,id=npm --mount=type=secret,id=server.crt --mount=type=secret,id=ours \\\n\
           cd /run/secrets && cat npm server.crt ours | md5sum >/sum && stat -c %a npm >/mode\n\
         RUN --mount=type=secret,id=absent ls -A /run/secrets >/left 2>/dev/null || true\n",
    );
    let up = |flags: &[&str], token: Option<&str>| {
        let words = [&["app", "up", "--name", "shop"], flags, &[dir.path().to_str().unwrap()]];
        let mut command = node.command(&words.concat());
        command.envs(token.map(|token| ("BUILD_TOKEN", token)));
        finish(command, None).unwrap()
    };
    let done = up(&[], Some(TOKEN));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let expected = md5sum(&[TOKEN, CERTIFICATE, OURS].concat());
    let read = ["exec", "shop-web-1", "sh", "-c", "cat /sum /mode /left"];
    assert_eq!(node.ok(&read), format!("{expected}\n400"));
    assert_eq!(leaks(node), "", "it is kept nowhere");
    assert_eq!(node.ok(&["secret", "ls", "-o", "name"]), "pw", "the app makes none of it");
    let again = up(&[], None);
    assert_eq!(again.code, 0, "it needs none to stay as it is: {}", again.stderr);

    let refused = up(&["--build"], None);
    let why = "compose.yaml:6:11: services.web.build.secrets[0]: variable BUILD_TOKEN is not set";
    assert!(refused.code != 0 && refused.stderr.contains(why), "{}", refused.stderr);
    write(dir.path(), "compose.yaml", &compose("tls/gone"));
    let refused = up(&["--build"], Some(TOKEN));
    let why = "compose.yaml:7:11: services.web.build.secrets[1]: there is no ";
    assert!(refused.code != 0 && refused.stderr.contains(why), "{}", refused.stderr);

    let context = dir.path().join("web");
    let cert = format!("id=server.crt,src={}", dir.path().join("tls/server.crt").display());
    let build = |ours: &str| {
        let words = ["image", "build", "--no-cache", "-q", "-t", "mine"];
        let handed = ["--secret", "id=npm,env=BUILD_TOKEN", "--secret", &cert, "--secret", ours];
        let mut command =
            node.command(&[&words[..], &handed, &[context.to_str().unwrap()]].concat());
        command.env("BUILD_TOKEN", TOKEN);
        finish(command, None).unwrap()
    };
    let done = build("id=ours,secret=pw");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(node.ok(&["run", "--rm", "mine", "cat", "/sum"]), expected);
    let refused = build("id=ours,secret=nosuch");
    assert!(
        refused.code != 0 && refused.stderr.contains("there is no secret"),
        "{}",
        refused.stderr
    );
    write(
        dir.path(),
        "web/Dockerfile",
        "FROM busybox\nRUN --mount=type=secret,id=x,required=true true\n",
    );
    let refused = build("id=ours,secret=pw");
    assert!(refused.code != 0 && refused.stderr.contains("the build failed"), "{}", refused.stderr);
    assert_eq!(leaks(node), "", "it is kept nowhere");
    let left = node.root().join("run/hull/build/secrets");
    assert_eq!(std::fs::read_dir(left).map_or(0, Iterator::count), 0);
    node.ok(&["app", "down", "shop"]);
}
