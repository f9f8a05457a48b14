//! Apps from Rancher's templates, and what their instances read of themselves.

use serde_json::{Value, json};
use testing::node::{Node, until};

use super::process::node;

const COMPOSE: &str = "version: '2'
services:
  Front:
    image: busybox
    command: ['sleep', '600']
    stop_signal: KILL
    labels: {io.rancher.sidekicks: helper}
    links: [store, outside]
  helper:
    image: busybox
    command: ['sleep', '600']
    stop_signal: KILL
  store:
    image: busybox
    command: ['sleep', '600']
    stop_signal: KILL
  outside:
    image: rancher/external-service
  alias:
    image: rancher/dns-service
    links: [store]
";
const RANCHER: &str = "version: '2'
.catalog:
  name: Pair
  version: '1.0'
  questions:
    - {variable: word, type: string, required: true}
services:
  Front:
    scale: 2
    metadata:
      settings: {greeting: \"${word}\", port: 8080, 'a key': true}
  outside:
    external_ips: [192.0.2.10]
";

/// A catalog with one template of Rancher's and an app of it, until dropped.
struct Pair<'a> {
    node: &'a Node,
    name: &'a str,
    _files: tempfile::TempDir,
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        self.node.hull(&["app", "down", self.name]);
        self.node.hull(&["catalog", "rm", self.name]);
    }
}

fn pair<'a>(node: &'a Node, name: &'a str) -> Pair<'a> {
    let files = tempfile::tempdir().unwrap();
    let version = files.path().join("templates/pair/0");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::write(files.path().join("templates/pair/config.yml"), "name: Pair\nversion: '1.0'\n")
        .unwrap();
    std::fs::write(version.join("docker-compose.yml"), COMPOSE).unwrap();
    std::fs::write(version.join("rancher-compose.yml"), RANCHER).unwrap();
    node.ok(&["catalog", "add", name, files.path().to_str().unwrap()]);
    let pair = Pair { node, name, _files: files };
    let template = format!("{name}/pair");
    node.ok(&["catalog", "install", &template, "--name", name, "--set", "word=hello"]);
    pair
}

/// What an instance is answered.
fn asked(node: &Node, instance: &str, words: &str) -> String {
    node.ok(&["exec", instance, "sh", "-c", &format!("wget -q -O - {words}")])
}

#[test]
fn an_instance_reads_its_services_metadata() {
    let Some(node) = node() else { return };
    let _pair = pair(node, "pair");
    let base = "http://rancher-metadata/2015-12-19";
    let tell = |path: &str| asked(node, "pair-Front-1", &format!("{base}/{path}"));
    assert_eq!(tell("self/service/metadata/settings/greeting"), "hello");
    assert_eq!(tell("self/service/metadata/settings"), "a+key\ngreeting\nport");
    assert_eq!(tell("self/service/metadata/settings/a+key"), "true");
    assert_eq!(tell("self/container/name"), "pair-Front-1");
    assert_eq!(asked(node, "pair-Front-2", &format!("{base}/self/container/service_index")), "2");
    let address = node.field("pair-Front-1", "/spec/placement/interfaces/0/ipv4");
    let address = address.as_str().unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(tell("self/container/primary_ip"), address);
    // Those that others wait for come first.
    assert_eq!(tell("self/stack/services"), "0=store\n1=Front\n2=helper");
    assert_eq!(tell("services/Front/containers"), "0=pair-Front-1\n1=pair-Front-2");
    assert_eq!(tell("stacks/pair/services/store/containers/0/name"), "pair-store-1");
    assert_eq!(
        asked(
            node,
            "pair-Front-1",
            "http://rancher-metadata.rancher.internal/latest/self/stack/name"
        ),
        "pair"
    );
    // Where Rancher had it: some images know no name.
    let by_address =
        |path: &str| asked(node, "pair-Front-1", &format!("http://169.254.169.250/{path}"));
    assert_eq!(by_address("2015-12-19/self/container/name"), "pair-Front-1");
    assert_eq!(by_address("").lines().last(), Some("latest"));
    let whole = asked(
        node,
        "pair-Front-1",
        &format!("--header 'Accept: application/json' {base}/self/service"),
    );
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["metadata"]["settings"]["port"], json!(8080));
    assert_eq!(whole["sidekicks"], json!(["helper"]));
    let missing = format!("wget -q -O - {base}/self/nothing; echo $?");
    assert_eq!(node.ok(&["exec", "pair-Front-1", "sh", "-c", &missing]), "1");
    // What does not belong to an app knows nothing of it.
    let stranger = ["run", "--rm", "busybox", "wget", "-q", "-O", "-"];
    let refused = node.hull(&[&stranger[..], &[&format!("{base}/self/service")]].concat());
    assert_ne!(refused.code, 0);
    // External services and aliases are names.
    let known = ["exec", "pair-Front-1", "sh", "-c", "grep outside /etc/hosts; nslookup alias"];
    let known = node.ok(&known);
    assert!(known.contains("192.0.2.10") && known.contains("alias"), "{known}");
}

#[test]
fn who_waits_is_told_when_the_scale_changes() {
    let Some(node) = node() else { return };
    let _pair = pair(node, "waits");
    let path = "http://rancher-metadata/2015-12-19/self/service/scale";
    let waits = format!(
        "echo begun; while :; do s=$(wget -q -O - '{path}?wait=true&value=2&maxWait=15'); \
         if [ \"$s\" = 3 ]; then echo \"told $s\"; exit 0; fi; done"
    );
    let mut waiting = testing::terminal::Terminal::open(
        &node.command(&["exec", "-it", "waits-Front-1", "sh", "-c", &waits]),
        200,
        24,
    )
    .unwrap();
    waiting.expect("begun");
    node.ok(&["app", "scale", "waits", "Front=3"]);
    waiting.expect("told 3");
    assert_eq!(waiting.wait(), 0);
    until("the third one is told itself", || {
        let told = node.hull(&["exec", "waits-Front-3", "wget", "-q", "-O", "-", path]);
        (told.text() == "3").then_some(())
    });
}
