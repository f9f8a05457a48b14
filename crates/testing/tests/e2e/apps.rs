//! Apps from Compose files, with real containers and a machine.

use std::path::PathBuf;

use serde_json::{Value, json};
use testing::node::{Node, Outcome, until, within};

use super::process::{able, node};

const LOOP: &str = "trap 'exit 0' TERM; while :; do usleep 50000; done";

/// An app that goes with the test, and the directory its files are in.
struct Installed<'a> {
    node: &'a Node,
    name: &'static str,
    dir: tempfile::TempDir,
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        self.node.hull(&["app", "down", "--volumes", self.name]);
    }
}

fn app<'a>(node: &'a Node, name: &'static str, files: &[(&str, String)]) -> Installed<'a> {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    Installed { node, name, dir }
}

impl Installed<'_> {
    fn up(&self, flags: &[&str]) -> Outcome {
        let dir = self.dir.path().to_str().unwrap();
        self.node.hull(&[&["app", "up", "--name", self.name], flags, &[dir]].concat())
    }

    fn up_well(&self, flags: &[&str]) -> Outcome {
        let done = self.up(flags);
        assert_eq!(done.code, 0, "{}", done.stderr);
        done
    }

    fn show(&self) -> Value {
        serde_json::from_str(&self.node.ok(&["app", "show", "-o", "json", self.name])).unwrap()
    }

    fn id(&self, instance: &str) -> Value {
        self.node.field(instance, "/meta/id")
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Two services, one after the other is healthy, with a volume, a secret and a config.
fn shop(mode: &str) -> String {
    format!(
        r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "{LOOP}"]
    environment: {{MODE: "{mode}"}}
    configs: [{{source: site, target: /etc/site.conf}}]
    depends_on:
      db: {{condition: service_healthy}}
  db:
    image: busybox
    command: ["sh", "-c", "sleep 1; touch /data/ready; {LOOP}"]
    volumes: ["data:/data"]
    secrets: [pw]
    healthcheck:
      test: ["CMD", "test", "-e", "/data/ready"]
      interval: 300ms
      retries: 30
volumes: {{data: {{}}}}
secrets: {{pw: {{file: pw.txt}}}}
configs: {{site: {{content: "listen 80;"}}}}
"#
    )
    .replace("$", "$$")
}

fn files(mode: &str) -> [(&'static str, String); 2] {
    [("compose.yaml", shop(mode)), ("pw.txt", "correct-horse".to_owned())]
}

#[test]
fn from_nothing_to_changed_back_and_gone() {
    let Some(node) = node() else { return };
    let it = app(node, "shop", &files("one"));
    let planned = it.up_well(&["--plan"]);
    assert_eq!(planned.text().matches("create").count(), 6, "{}", planned.text());
    let done = it.up_well(&[]);
    assert!(done.stderr.contains("2 of 2 services ready"), "{}", done.stderr);
    let read = "cat /run/secrets/pw; test -e /data/ready";
    assert_eq!(node.ok(&["exec", "shop-db-1", "sh", "-c", read]), "correct-horse");
    assert_eq!(node.ok(&["exec", "shop-web-1", "cat", "/etc/site.conf"]), "listen 80;");
    assert!(node.ok(&["exec", "shop-web-1", "nslookup", "db"]).contains("db"));
    assert_eq!(node.ok(&["app", "ps", "-o", "name", "shop"]), "shop-db-1\nshop-web-1");

    // One field: that service alone is changed, and back again.
    let (db, web) = (it.id("shop-db-1"), it.id("shop-web-1"));
    it.write("compose.yaml", &shop("two"));
    let planned = it.up_well(&["--plan"]).text();
    assert!(planned.starts_with("change   service  shop-web\n"), "{planned}");
    assert!(planned.contains("MODE=one → MODE=two"), "{planned}");
    it.up_well(&[]);
    assert_eq!(it.id("shop-db-1"), db);
    assert_ne!(it.id("shop-web-1"), web);
    assert_eq!(node.ok(&["exec", "shop-web-1", "sh", "-c", "echo $MODE"]), "two");
    node.ok(&["app", "rollback", "shop"]);
    assert_eq!(node.ok(&["exec", "shop-web-1", "sh", "-c", "echo $MODE"]), "one");
    assert_eq!(it.show()["status"]["revisions"].as_array().unwrap().len(), 3);
    node.ok(&["app", "scale", "shop", "web=2"]);
    assert_eq!(node.ok(&["app", "ps", "-o", "name", "shop"]).lines().count(), 3);
    let copy = it.dir.path().join("copy");
    node.ok(&["app", "export", "--revision", "2", "shop", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(copy.join("compose.yaml")).unwrap(), shop("two"));

    // Another password is another secret; nothing shows it.
    it.write("pw.txt", "battery-staple");
    let planned = it.up_well(&["--plan", "-o", "json"]);
    assert!(!planned.text().contains("battery-staple"), "{}", planned.text());
    it.up_well(&[]);
    assert_eq!(node.ok(&["exec", "shop-db-1", "cat", "/run/secrets/pw"]), "battery-staple");
    assert!(!it.show().to_string().contains("staple"));

    node.ok(&["app", "down", "shop"]);
    assert_eq!(node.hull(&["app", "show", "shop"]).code, 3);
    assert_eq!(node.hull(&["inspect", "shop-web-1"]).code, 3);
    assert_eq!(node.hull(&["volume", "show", "shop_data"]).code, 0, "volumes stay");
    it.up_well(&[]);
    node.ok(&["app", "down", "--volumes", "shop"]);
    until("the volume is gone", || {
        (node.hull(&["volume", "show", "shop_data"]).code == 3).then_some(())
    });
}

/// A project of Compose's, made by Docker's own client where there is one.
struct Composed<'a> {
    it: Installed<'a>,
    client: Option<PathBuf>,
}

impl Drop for Composed<'_> {
    fn drop(&mut self) {
        if self.client.is_some() {
            self.run(&["down", "--volumes", "--timeout", "0"]);
        }
        self.it.node.hull(&["rm", "-f", "taken-db-1"]);
    }
}

impl Composed<'_> {
    fn file(&self) -> String {
        self.it.dir.path().join("compose.yaml").to_str().unwrap().to_owned()
    }

    fn run(&self, words: &[&str]) -> bool {
        let Some(client) = &self.client else { return false };
        let socket = self.it.node.root().join("run/hull/docker.sock");
        let done = std::process::Command::new(client)
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .args(["-p", "taken", "-f", &self.file()])
            .args(words)
            .output()
            .unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        true
    }

    /// Where there is no client: what it leaves, labels on all it made.
    fn pretend(&self) {
        let node = self.it.node;
        let label = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
        let project = label("project", "taken");
        let files = label("project.config_files", &self.file());
        let network = label("network", "default");
        let volume = label("volume", "data");
        node.ok(&["network", "create", "--label", &project, "--label", &network, "taken_default"]);
        node.ok(&["volume", "create", "--label", &project, "--label", &volume, "taken_data"]);
        let flags = ["--stop-signal", "KILL", "--network", "taken_default"];
        let mounts = ["-v", "taken_data:/data", "-v", "/cache"];
        let head = ["run", "-d", "--name", "taken-db-1", "--label", &project, "--label", &files];
        let program = ["busybox", "sh", "-c", PROGRAM];
        node.ok(&[&head[..], &flags[..], &mounts[..], &program[..]].concat());
    }
}

const PROGRAM: &str = "[ -e /data/log ] || echo precious > /data/log; exec sleep 600";

#[test]
fn a_project_of_composes_becomes_an_app() {
    let Some(node) = node() else { return };
    let text = format!(
        "services:\n  db:\n    image: busybox\n    stop_signal: KILL\n    \
         command: [sh, -c, '{PROGRAM}']\n    volumes: ['data:/data', '/cache']\nvolumes: {{data: {{}}}}\n"
    );
    let it = app(node, "taken", &[("compose.yaml", text)]);
    let composed = Composed { it, client: testing::docker::compose() };
    if !composed.run(&["up", "-d"]) {
        composed.pretend();
    }
    let it = &composed.it;
    let log = || node.hull(&["exec", "taken-db-1", "cat", "/data/log"]).text();
    until("it has written", || (log() == "precious").then_some(()));
    let old = it.id("taken-db-1");
    let refused = it.up(&[]);
    assert!(refused.code != 0 && refused.stderr.contains("not of this app"), "{}", refused.stderr);
    let planned = node.ok(&["app", "adopt", "--plan", "taken"]);
    for line in [
        "remove   instance taken-db-1",
        "remove   network  taken_default",
        "take     volume   taken_data",
        "was at /cache of taken-db-1",
    ] {
        assert!(planned.contains(line), "{line}: {planned}");
    }
    assert_eq!(it.id("taken-db-1"), old);
    let done = node.hull(&["app", "adopt", "taken"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    // The volume without a name stays, and it is said which one it is.
    let left = done.stderr.lines().find(|line| line.contains("was at /cache")).unwrap();
    let left = left.split([' ', ':']).nth(1).unwrap().to_owned();
    assert_eq!(node.hull(&["volume", "rm", &left]).code, 0, "{}", done.stderr);
    assert_ne!(it.id("taken-db-1"), old);
    until("it has its data", || (log() == "precious").then_some(()));
    assert_eq!(it.show()["status"]["phase"], json!("ready"));
    let again = node.hull(&["app", "adopt", "nothing-like-it"]);
    assert_eq!(again.code, 3, "{}", again.stderr);
}

/// Each takes its time to end, and none waits for another's.
#[test]
fn what_is_adopted_ends_side_by_side() {
    let Some(node) = node() else { return };
    let names = ["slow-a-1", "slow-b-1", "slow-c-1", "slow-d-1"];
    let text = "services: {a: {image: busybox, stop_signal: KILL, command: [sleep, '600']}}\n";
    let it = app(node, "slow", &[("compose.yaml", text.to_owned())]);
    let file = it.dir.path().join("compose.yaml");
    let label = "com.docker.compose.project=slow";
    let deaf = "trap '' TERM; while :; do sleep 600; done";
    for name in names {
        let head = ["run", "-d", "--name", name, "--label", label, "--stop-timeout", "5"];
        node.ok(&[&head[..], &["busybox", "sh", "-c", deaf]].concat());
    }
    let begun = std::time::Instant::now();
    let done = node.hull(&["app", "adopt", "-f", file.to_str().unwrap(), "slow"]);
    let took = begun.elapsed();
    names.iter().skip(1).for_each(|name| drop(node.hull(&["rm", "-f", name])));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(took.as_secs() < 15, "four that take 5 s each took {took:?}");
}

/// What of a network can change where it is does; for the rest the services on it are made anew.
#[test]
fn a_network_in_use_is_made_anew() {
    let Some(node) = node() else { return };
    let text = |network: &str| {
        format!(
            "services:\n  web:\n    image: busybox\n    stop_signal: KILL\n    command: [sleep, '600']\n    \
             networks: [back]\n  aside:\n    image: busybox\n    stop_signal: KILL\n    \
             command: [sleep, '600']\nnetworks: {{back: {network}}}\n"
        )
    };
    let it = app(node, "nets", &[("compose.yaml", text("{}"))]);
    it.up_well(&[]);
    let (web, aside) = (it.id("nets-web-1"), it.id("nets-aside-1"));
    let network = || -> Value {
        let text = node.ok(&["network", "show", "-o", "json", "nets_back"]);
        serde_json::from_str(&text).unwrap()
    };
    it.write("compose.yaml", &text("{labels: {tier: front}}"));
    let planned = it.up_well(&["--plan"]).text();
    assert!(planned.contains("labels.tier: - → front"), "{planned}");
    it.up_well(&[]);
    assert_eq!(network()["meta"]["labels"]["tier"], "front");
    assert_eq!(it.id("nets-web-1"), web, "nothing was ended for a label");

    it.write("compose.yaml", &text("{internal: true}"));
    let planned = it.up_well(&["--plan"]).text();
    for line in
        ["replace  network  nets_back", "internal: false → true", "replace  service  nets-web"]
    {
        assert!(planned.contains(line), "{line}: {planned}");
    }
    it.up_well(&[]);
    assert_eq!(network()["spec"]["internal"], true);
    assert_ne!(it.id("nets-web-1"), web);
    assert_eq!(it.id("nets-aside-1"), aside, "what is not on it stays");

    // An instance that is not the app's is not ended for it.
    node.ok(&[
        "run",
        "-d",
        "--name",
        "nets-guest",
        "--stop-signal",
        "KILL",
        "--network",
        "nets_back",
        "busybox",
        "sleep",
        "600",
    ]);
    it.write("compose.yaml", &text("{}"));
    let refused = it.up(&[]);
    node.ok(&["rm", "-f", "nets-guest"]);
    assert!(refused.code == 4 && refused.stderr.contains("nets-guest"), "{}", refused.stderr);
}

/// Who follows an app or a service hears those that come later.
#[test]
fn followers_hear_those_that_come_later() {
    let Some(node) = node() else { return };
    let text = "services:\n  web:\n    image: busybox\n    stop_signal: KILL\n    \
                command: [sh, -c, 'echo hello of $$HOSTNAME; exec sleep 600']\n";
    let it = app(node, "heard", &[("compose.yaml", text.to_owned())]);
    it.up_well(&[]);
    let mut followers = Vec::new();
    for words in [&["app", "logs", "-f", "heard"][..], &["logs", "-f", "heard-web"]] {
        let mut child = node.command(words).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok)
            {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        followers.push((child, told));
    }
    let hear = |wanted: &[&str]| {
        for (_, told) in &followers {
            let mut missing = wanted.to_vec();
            while !missing.is_empty() {
                let line = told.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
                missing.retain(|name| !line.starts_with(&format!("{name} | hello of")));
            }
        }
    };
    hear(&["heard-web-1"]);
    node.ok(&["app", "scale", "heard", "web=2"]);
    hear(&["heard-web-2"]);
    // One that takes another's place, too.
    it.write("compose.yaml", &text.replace("hello of", "hello of another"));
    it.up_well(&[]);
    hear(&["heard-web-1"]);
    // They end when what they follow is gone, and who removed it is known.
    node.ok(&["app", "down", "heard"]);
    for (mut child, _) in followers {
        within(std::time::Duration::from_secs(60), "the follower ends", || {
            child.try_wait().unwrap().map(|status| assert!(status.success(), "{status}"))
        });
    }
    let events =
        node.ok(&["events", "-o", "json", "--filter", "kind=app", "--filter", "object=heard"]);
    let by = |action: &str| {
        let all = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut own = all.filter(|it| it["kind"] == "app" && it["action"] == action);
        own.next().map(|it| it["by"].as_str().unwrap_or_default().to_owned())
    };
    assert!(by("create").is_some_and(|it| !it.is_empty()), "{events}");
    assert_eq!((by("removing"), by("destroy")), (by("create"), by("create")), "{events}");
}

/// An upgrade with a copy of the volume, and the way back with what was in it.
#[test]
fn volumes_go_back_with_their_app() {
    let Some(node) = node() else { return };
    let text = |word: &str| {
        format!(
            "services:\n  db:\n    image: busybox\n    stop_signal: KILL\n    environment: {{WORD: {word}}}\n    \
             command: [sh, -c, 'echo $$WORD >> /data/log; exec sleep 600']\n    volumes: ['data:/data']\n\
             volumes: {{data: {{}}}}\n"
        )
    };
    let it = app(node, "kept", &[("compose.yaml", text("one"))]);
    it.up_well(&["--snapshot"]);
    let log = || node.ok(&["exec", "kept-db-1", "cat", "/data/log"]);
    assert_eq!(log(), "one");
    it.write("compose.yaml", &text("two"));
    it.up_well(&["--snapshot"]);
    assert_eq!(log(), "one\ntwo");
    let history = node.ok(&["app", "history", "kept"]);
    assert_eq!(history.matches("1 volume copied before").count(), 1, "{history}");
    assert!(node.ok(&["volume", "snapshots"]).contains("kept_data-before-2"));

    // Without its volumes, what was written stays.
    node.ok(&["app", "rollback", "kept"]);
    assert_eq!(log(), "one\ntwo\none");
    let planned = node.ok(&["app", "rollback", "--to", "1", "--volumes", "--plan", "kept"]);
    assert!(planned.contains("create   volume   kept_data-r4"), "{planned}");
    node.ok(&["app", "rollback", "--to", "1", "--volumes", "kept"]);
    assert_eq!(log(), "one\none");
    // From now on that is its volume, and what it had before is beside it.
    it.write("compose.yaml", &text("three"));
    it.up_well(&[]);
    assert_eq!(log(), "one\none\nthree");
    assert_eq!(node.hull(&["volume", "show", "kept_data"]).code, 0);
    let none = node.hull(&["app", "rollback", "--to", "4", "--volumes", "kept"]);
    assert!(none.code == 4 && none.stderr.contains("no copies"), "{}", none.stderr);
    node.ok(&["app", "down", "--volumes", "kept"]);
    until("its copies are gone, too", || {
        (!node.ok(&["volume", "snapshots"]).contains("kept_data-before")).then_some(())
    });
    node.hull(&["volume", "rm", "kept_data"]);
}

/// Writes each number to one volume, then to another.
fn pair(word: &str) -> String {
    format!(
        "services:\n  db:\n    image: busybox\n    stop_signal: KILL\n    environment: {{WORD: {word}}}\n    \
         command: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo $$i >> /a/log; echo $$i >> /b/log; usleep 200; done']\n    \
         volumes: ['a:/a', 'b:/b']\nvolumes: {{a: {{}}, b: {{}}}}\n"
    )
}

/// The last number in the copy of each volume that was taken before the second revision.
fn last_numbers(node: &Node, app: &str) -> [u64; 2] {
    ["a", "b"].map(|key| {
        let (copy, name) = (format!("{app}_{key}-before-2"), format!("{app}-{key}-then"));
        node.ok(&["volume", "restore", &copy, &name]);
        let mount = format!("{name}:/v");
        let told = node.ok(&["run", "--rm", "-v", &mount, "busybox", "tail", "-n", "1", "/v/log"]);
        node.ok(&["volume", "rm", &name]);
        told.parse().unwrap()
    })
}

fn is_one_moment(node: &Node, app: &str) {
    let history = node.ok(&["app", "history", app]);
    assert!(history.contains("2 volumes copied before, at one moment"), "{history}");
    let [first, second] = last_numbers(node, app);
    assert!(first == second || first == second + 1, "{first} and {second}");
}

#[test]
fn copies_of_several_volumes_show_one_moment() {
    let Some(node) = node() else { return };
    let it = app(node, "moment", &[("compose.yaml", pair("one"))]);
    it.up_well(&[]);
    let wrote = |name: &str| {
        let told = node.hull(&["exec", name, "tail", "-n", "1", "/b/log"]).text();
        told.parse::<u64>().ok()
    };
    until("it writes", || wrote("moment-db-1").filter(|number| *number > 100));
    it.write("compose.yaml", &pair("two"));
    it.up_well(&["--snapshot"]);
    is_one_moment(node, "moment");
    until("it goes on", || wrote("moment-db-1").filter(|number| *number > 10));
}

/// Who is held still goes on when the platform dies, and the copies are taken anew.
#[test]
fn a_death_in_the_middle_of_copies_holds_nobody() {
    let Some(node) = super::process::mortal() else { return };
    let it = app(&node, "held", &[("compose.yaml", pair("one"))]);
    it.up_well(&[]);
    it.write("compose.yaml", &pair("two"));
    let directory = it.dir.path().to_str().unwrap();
    let words = ["app", "up", "--name", "held", "--snapshot", "--detach", directory];
    node.dies_unanswered_at("storage.taken", &words);
    within(std::time::Duration::from_secs(120), "it is ready", || {
        let now = it.show();
        let ready = now["status"]["phase"] == json!("ready") && now["spec"]["revision"] == json!(2);
        ready.then_some(())
    });
    is_one_moment(&node, "held");
    let wrote = || node.hull(&["exec", "held-db-1", "wc", "-l", "/b/log"]).text();
    let before = wrote();
    until("it goes on", || (wrote() != before).then_some(()));
}

#[test]
fn a_revision_that_fails_says_why_and_is_taken_back() {
    let Some(node) = node() else { return };
    let good =
        format!("services:\n  web:\n    image: busybox\n    command: ['sh', '-c', \"{LOOP}\"]\n");
    let it = app(node, "frail", &[("compose.yaml", good.clone())]);
    it.up_well(&[]);
    let bad = good.replace(
        "image: busybox",
        "image: busybox\n    healthcheck: {test: [CMD, 'false'], interval: 200ms, retries: 2}",
    );
    it.write("compose.yaml", &bad);
    let failed = it.up(&["--rollback"]);
    assert_eq!(failed.code, 4, "{}", failed.stderr);
    assert!(failed.stderr.contains("revision 2 failed"), "{}", failed.stderr);
    let now = it.show();
    assert_eq!(now["status"]["phase"], json!("rolledBack"), "{now}");
    assert_eq!(now["spec"]["revision"], json!(3));
    let failed = it.up(&[]);
    assert!(failed.code == 4 && failed.stderr.contains("service \"web\""), "{}", failed.stderr);
}

#[test]
fn killed_in_the_middle_it_goes_on() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let it = app(&node, "shop", &files("one"));
    for round in 0..2 {
        it.write("compose.yaml", &shop(&format!("round{round}")));
        it.up_well(&["--detach"]);
        node.kill_daemon().unwrap();
        node.await_ready();
        within(std::time::Duration::from_secs(90), "it is ready", || {
            (it.show()["status"]["phase"] == json!("ready")).then_some(())
        });
        let mode = node.ok(&["exec", "shop-web-1", "sh", "-c", "echo $MODE"]);
        assert_eq!(mode, format!("round{round}"));
    }
    node.ok(&["app", "down", "--volumes", "--detach", "shop"]);
    node.kill_daemon().unwrap();
    node.await_ready();
    until("it is gone", || (node.hull(&["app", "show", "shop"]).code == 3).then_some(()));
}

#[test]
fn a_machine_in_the_same_file() {
    let Some(node) = node() else { return };
    let text = format!(
        "services:\n  web:\n    image: busybox\n    command: ['sh', '-c', \"{LOOP}\"]\n  \
         vm:\n    image: hull-tiny\n    mem_limit: 96m\n"
    );
    let it = app(node, "mixed", &[("compose.yaml", text)]);
    let done = it.up_well(&[]);
    assert!(done.stderr.contains("2 of 2 services ready"), "{}", done.stderr);
    assert!(node.field("mixed-vm-1", "/status/machine").is_object());
    within(std::time::Duration::from_secs(120), "its guest answers", || {
        (node.hull(&["exec", "mixed-vm-1", "uname"]).text() == "Linux").then_some(())
    });
}

#[test]
fn files_that_cannot_be_are_refused_with_their_line() {
    let Some(node) = node() else { return };
    let it = app(node, "broken", &[("compose.yaml", "services:\n  web:\n    ports: [x]\n".into())]);
    let refused = it.up(&[]);
    assert!(refused.code == 2 && refused.stderr.contains("compose.yaml:"), "{}", refused.stderr);
    assert_eq!(node.hull(&["app", "show", "broken"]).code, 3);
    assert_eq!(node.hull(&["app", "up", "-f", "/nowhere/compose.yaml"]).code, 2);
}
