//! Catalogs: where apps come from, what is asked, and what becomes of it.

use std::path::Path;

use serde_json::{Value, json};
use testing::node::{Node, until};

use super::process::node;

/// An app that goes with the test, and its volumes with it.
pub struct Installed<'a>(pub &'a Node, pub &'a str);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        self.0.hull(&["app", "down", "--volumes", self.1]);
    }
}

/// A catalog that goes with the test.
struct Added<'a>(&'a Node, &'a str);

impl Drop for Added<'_> {
    fn drop(&mut self) {
        self.0.hull(&["catalog", "rm", self.1]);
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn install<'a>(node: &'a Node, template: &str, name: &'a str, answers: &[&str]) -> Installed<'a> {
    let mut words = vec!["catalog", "install", template, "--name", name];
    answers.iter().for_each(|answer| words.extend(["--set", answer]));
    let app = Installed(node, name);
    node.ok(&words);
    app
}

/// What is known of an app.
pub fn app(node: &Node, name: &str) -> Value {
    json(&node.ok(&["app", "show", name, "-o", "json"]))
}

/// Writes files of a catalog.
fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn what_comes_with_the_program_is_there() {
    let Some(node) = node() else { return };
    until("the built-in catalog is read", || {
        let all = json(&node.ok(&["catalog", "ls", "-o", "json"]));
        let built_in = all.as_array()?.iter().find(|it| it["meta"]["name"] == "builtin")?.clone();
        (built_in["status"]["templates"].as_u64()? >= 9).then_some(())
    });
    let names = node.ok(&["catalog", "search", "-o", "name"]);
    for name in ["elk", "gitea", "monitoring", "nats", "nginx", "postgres", "redis", "wordpress"] {
        assert!(names.lines().any(|line| line == format!("builtin/{name}")), "{name}: {names}");
    }
    let shown = node.ok(&["catalog", "show", "elk"]);
    assert!(shown.contains("nodes") && shown.contains("stand-ins"), "{shown}");
    assert!(node.ok(&["catalog", "search", "blog"]).contains("wordpress"));
    let refused = node.hull(&["catalog", "rm", "builtin"]);
    assert!(refused.code != 0 && refused.stderr.contains("comes with"), "{}", refused.stderr);
    let missing = node.hull(&["catalog", "show", "no-such"]);
    assert_eq!(missing.code, 3, "{}", missing.stderr);
}

#[test]
fn a_directory_and_an_archive_with_broken_templates() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            (
                "web/template.yaml",
                "title: Web\nsummary: A test\nquestions: [{variable: word, required: true}]\n",
            ),
            (
                "web/1/compose.yaml",
                "services: {web: {image: busybox, command: [sleep, \"${word}\"]}}\n",
            ),
            ("odd/template.yaml", "titel: Odd\n"),
            ("odd/1/compose.yaml", "services: {}\n"),
        ],
    );
    let _dir = Added(node, "mine");
    node.ok(&["catalog", "add", "mine", dir.path().to_str().unwrap()]);
    let listed = node.ok(&["catalog", "search", "--catalog", "mine"]);
    assert!(listed.contains("A test") && listed.contains("cannot be used"), "{listed}");
    let archive = dir.path().join("cat.tar.gz");
    let packed = std::process::Command::new("tar")
        .args(["-czf", archive.to_str().unwrap(), "-C", dir.path().to_str().unwrap(), "web"])
        .status()
        .unwrap();
    assert!(packed.success());
    let _archive = Added(node, "packed");
    node.ok(&["catalog", "add", "packed", archive.to_str().unwrap()]);
    let several = node.hull(&["catalog", "install", "web", "--set", "word=9"]);
    assert!(several.code != 0 && several.stderr.contains("packed/web"), "{}", several.stderr);
    let unasked = node.hull(&["catalog", "install", "mine/web", "--set", "wrod=9"]);
    assert!(
        unasked.code != 0 && unasked.stderr.contains("wrod is not asked"),
        "{}",
        unasked.stderr
    );
    assert!(unasked.stderr.contains("word is needed"), "{}", unasked.stderr);
    let broken = node.hull(&["catalog", "install", "mine/odd"]);
    assert!(broken.code != 0 && broken.stderr.contains("titel"), "{}", broken.stderr);
    // What was read stays when the source is gone.
    std::fs::remove_file(&archive).unwrap();
    let gone = node.hull(&["catalog", "refresh", "packed"]);
    assert!(gone.code != 0 && gone.stderr.contains("cat.tar.gz"), "{}", gone.stderr);
    assert!(node.ok(&["catalog", "search", "--catalog", "packed"]).contains("web"));
    let nowhere = node.hull(&["catalog", "add", "nowhere", "/no/such/dir"]);
    let _nowhere = Added(node, "nowhere");
    assert!(nowhere.code != 0 && nowhere.stderr.contains("/no/such/dir"), "{}", nowhere.stderr);
}

#[test]
fn a_web_server_is_installed_changed_and_taken_back() {
    let Some(node) = node() else { return };
    let plan = ["catalog", "install", "nginx", "--name", "site", "--plan", "--set", "image=nginx"];
    assert!(node.ok(&plan).contains("web"));
    assert_ne!(node.hull(&["app", "show", "site"]).code, 0, "a plan changes nothing");
    let _site = install(node, "nginx", "site", &["image=nginx", "port=18090"]);
    let first = app(node, "site");
    assert_eq!(first["status"]["phase"], "ready");
    assert_eq!(first["spec"]["origin"]["answers"]["port"], "18090");
    node.ok(&["catalog", "upgrade", "site", "--set", "replicas=2"]);
    let second = app(node, "site");
    assert_eq!(second["spec"]["origin"]["answers"]["replicas"], "2");
    assert_eq!(second["spec"]["origin"]["answers"]["image"], "nginx", "others stay");
    node.ok(&["catalog", "rollback", "site"]);
    assert_eq!(app(node, "site")["spec"]["origin"]["answers"]["replicas"], "1");
    let wrong = node.hull(&["catalog", "upgrade", "site", "--set", "replicas=many"]);
    assert!(wrong.code != 0 && wrong.stderr.contains("whole number"), "{}", wrong.stderr);
}

#[test]
fn a_database_keeps_its_password_to_itself() {
    let Some(node) = node() else { return };
    let _db = install(node, "postgres", "sales", &["image=postgres", "port=15499"]);
    let shown = node.ok(&["app", "show", "sales", "-o", "json"]);
    let origin = &json(&shown)["spec"]["origin"];
    assert_eq!(origin["secretAnswers"], json!(["password"]));
    assert!(origin["answers"].get("password").is_none(), "{origin}");
    let services = node.ok(&["app", "ps", "sales", "-o", "name"]);
    let name = services.lines().next().unwrap().to_owned();
    let asked = node.ok(&[
        "exec",
        &name,
        "psql",
        "-h",
        "127.0.0.1",
        "-U",
        "app",
        "-c",
        "select 6*7",
        "app",
    ]);
    assert!(asked.contains("42"), "{asked}");
}

#[test]
fn a_store_of_keys_is_reached_with_its_password() {
    let Some(node) = node() else { return };
    let _cache =
        install(node, "redis", "cache", &["image=redis", "port=16399", "password=long-enough"]);
    let name = node.ok(&["app", "ps", "cache", "-o", "name"]);
    let name = name.lines().next().unwrap().to_owned();
    let known = "REDISCLI_AUTH=$(cat /run/secrets/password) redis-cli set a 1";
    assert_eq!(node.ok(&["exec", &name, "sh", "-c", known]), "OK");
    let refused = node.hull(&["exec", &name, "redis-cli", "get", "a"]);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("NOAUTH"), "{refused:?}");
    let files = node.ok(&["app", "show", "cache", "-o", "json"]);
    assert!(!files.contains("long-enough"), "the password is in no answer");
}

/// Images that stand in for those of Elastic: they answer the health checks, and say what they are.
fn stand_ins(node: &Node) {
    for (name, port, path) in [
        ("elasticsearch", 9200, "_cluster/health"),
        ("logstash", 9600, "index.html"),
        ("kibana", 5601, "api/status"),
    ] {
        let script = format!(
            "mkdir -p /www/{path} && rmdir /www/{path} && \
             echo '{{\"name\":\"{name}\",\"tagline\":\"a stand-in, not the real program\"}}' > /www/{path} && \
             printf '#!/bin/sh\\nfor url; do :; done\\nexec wget -q -O - \"${{url%%%%\\?*}}\"\\n' > /bin/curl && \
             chmod +x /bin/curl"
        );
        let made = format!("make-{name}");
        node.ok(&["run", "--name", &made, "busybox", "sh", "-c", &script]);
        let serve = format!("CMD [\"httpd\", \"-f\", \"-p\", \"{port}\", \"-h\", \"/www\"]");
        node.ok(&["commit", "--change", &serve, &made, &format!("stand-in-{name}")]);
        node.ok(&["rm", "-f", &made]);
    }
}

#[test]
fn elk_with_stand_ins() {
    let Some(node) = node() else { return };
    stand_ins(node);
    let _elk = install(
        node,
        "elk",
        "elk",
        &[
            "nodes=2",
            "elasticsearchImage=stand-in-elasticsearch",
            "logstashImage=stand-in-logstash",
            "kibanaImage=stand-in-kibana",
            "port=15601",
            "elasticsearchPort=19200",
            "beatsPort=15044",
        ],
    );
    let first = app(node, "elk");
    assert_eq!(first["status"]["phase"], "ready");
    assert_eq!(first["status"]["services"].as_array().unwrap().len(), 4, "two nodes, and two more");
    let told = node.ok(&[
        "run",
        "--rm",
        "--network",
        "elk_default",
        "busybox",
        "wget",
        "-q",
        "-O",
        "-",
        "http://elasticsearch:9200/_cluster/health",
    ]);
    assert!(told.contains("stand-in"), "{told}");
    node.ok(&["catalog", "upgrade", "elk", "--set", "nodes=1"]);
    let fewer = json(&node.ok(&["app", "show", "elk", "-o", "json"]));
    assert_eq!(fewer["status"]["services"].as_array().unwrap().len(), 3);
    // One that never gets healthy is taken back by itself.
    let failed = node.hull(&["catalog", "upgrade", "elk", "--set", "kibanaImage=no-such-image"]);
    assert_ne!(failed.code, 0, "{}", failed.stderr);
    until("it is taken back", || {
        let status = app(node, "elk")["status"].clone();
        (status["phase"] == "rolledBack").then_some(())
    });
}
