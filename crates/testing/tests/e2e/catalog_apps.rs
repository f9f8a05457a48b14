//! Apps of the built-in catalog, of the real programs that the starter images hold, used as their users do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testing::node::{Node, within, within_or};

use super::catalogs::{Installed, app};
use super::process::{Named, begin, node};

/// How long a program may take until it does what it was told.
const A_WHILE: Duration = Duration::from_secs(180);

/// Installs a template with these answers, and waits until it is ready.
fn install<'a>(node: &'a Node, template: &str, name: &'a str, answers: &[&str]) -> Installed<'a> {
    let mut words = vec!["catalog", "install", "--detach", template, "--name", name];
    answers.iter().for_each(|answer| words.extend(["--set", answer]));
    let installed = Installed(node, name);
    node.ok(&words);
    await_good(node, name);
    installed
}

/// Changes an answer, and waits until the app is ready with it.
fn upgrade(node: &Node, name: &str, answer: &str) {
    let before = app(node, name)["spec"]["revision"].clone();
    node.ok(&["catalog", "upgrade", "--detach", name, "--set", answer]);
    within(A_WHILE, "there is a new revision", || {
        (app(node, name)["spec"]["revision"] != before).then_some(())
    });
    await_good(node, name);
}

/// Waits until an app's revision is ready. One command waits for less time than a busy machine may need.
fn await_good(node: &Node, name: &str) {
    within(A_WHILE, &format!("{name} is ready"), || {
        let app = app(node, name);
        let (spec, status) = (&app["spec"], &app["status"]);
        assert!(status["phase"] != "failed" && status["phase"] != "rolledBack", "{status}");
        (status["phase"] == "ready" && status["good"] == spec["revision"]).then_some(())
    });
}

/// A page of this machine, and what came of it: status and text. Redirects are followed.
fn page(port: u16, path: &str, form: &[&str]) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sL", "--max-time", "60", "-w", "\n%{http_code}"]);
    form.iter().for_each(|field| {
        curl.args(["--data-urlencode", field]);
    });
    let output = curl.arg(format!("http://127.0.0.1:{port}{path}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or_default(), body.to_owned())
}

/// Waits until a page has this in it; gives the page.
fn shows(port: u16, path: &str, text: &str) -> String {
    let last = std::cell::RefCell::new((0, String::new()));
    within_or(
        A_WHILE,
        &format!("{path} at {port} has {text:?}"),
        || {
            *last.borrow_mut() = page(port, path, &[]);
            let (status, body) = &*last.borrow();
            (*status == 200 && body.contains(text)).then(|| body.clone())
        },
        || format!("it has {:?}", last.borrow()),
    )
}

#[test]
fn a_blog_is_written_and_outlives_its_instances() {
    let Some(node) = node() else { return };
    let _diary = install(
        node,
        "wordpress",
        "diary",
        &["image=wordpress:6-apache", "databaseImage=mariadb", "port=18111"],
    );
    shows(18111, "/", "install.php");
    let form = [
        "weblog_title=A diary of containers",
        "user_name=writer",
        "admin_password=long-and-known",
        "admin_password2=long-and-known",
        "pw_weak=on",
        "admin_email=writer@example.org",
        "language=",
    ];
    let (status, told) = page(18111, "/wp-admin/install.php?step=2", &form);
    assert!(status == 200 && told.contains("wp-login.php"), "{status}: {told}");
    shows(18111, "/", "<title>A diary of containers");

    // Both are made anew, and both have volumes.
    upgrade(node, "diary", "image=wordpress:apache");
    node.ok(&["restart", "diary-db-1"]);
    shows(18111, "/", "<title>A diary of containers");
}

#[test]
fn a_proxy_is_pointed_from_one_app_to_another() {
    let Some(node) = node() else { return };
    let _pages = install(node, "nginx", "pages", &["image=nginx", "port=18121"]);
    let _door = install(
        node,
        "caddy",
        "frontdoor",
        &["port=18122", "tlsPort=18123", "network=pages_default", "upstream=web:80"],
    );
    shows(18122, "/", "nginx");
    let _other = begin(
        node,
        "other-page",
        &["--network", "pages_default"],
        "mkdir /www; echo quite another >/www/index.html; exec httpd -f -p 8080 -h /www",
    );
    upgrade(node, "frontdoor", "upstream=other-page:8080");
    shows(18122, "/", "quite another");
    node.ok(&["catalog", "rollback", "frontdoor"]);
    shows(18122, "/", "nginx");
}

/// A connection to NATS by a client that shows this token.
struct Nats(BufReader<TcpStream>);

impl Nats {
    fn connect(port: u16, token: &str) -> Self {
        let stream = within(A_WHILE, "NATS takes a connection", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        stream.set_read_timeout(Some(A_WHILE)).unwrap();
        let mut client = Self(BufReader::new(stream));
        assert!(client.line().starts_with("INFO "));
        let greeting = json!({"verbose": false, "auth_token": token});
        client.say(&format!("CONNECT {greeting}\r\nPING\r\n"));
        client
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn publish(&mut self, subject: &str, reply: &str, text: &str) {
        self.say(&format!("PUB {subject} {reply} {}\r\n{text}\r\n", text.len()));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The text of the message that comes next.
    fn message(&mut self) -> String {
        loop {
            let line = self.line();
            match line.split(' ').next() {
                Some("MSG") => return self.line(),
                Some("PING") => self.say("PONG\r\n"),
                Some("PONG") => {}
                _ => panic!("NATS says {line:?}"),
            }
        }
    }

    /// Asks JetStream, of which the answer comes to a subject of our own.
    fn ask(&mut self, subject: &str, question: &Value) -> Value {
        let text = if question.is_null() { String::new() } else { question.to_string() };
        self.publish(subject, "answers.here", &text);
        serde_json::from_str(&self.message()).unwrap()
    }
}

#[test]
fn messages_are_passed_on_and_kept() {
    let Some(node) = node() else { return };
    let answers = ["port=18131", "monitorPort=18132", "token=shown-by-clients"];
    let _bus = install(node, "nats", "bus", &answers);
    let mut stranger = Nats::connect(18131, "guessed");
    assert!(stranger.line().contains("Authorization Violation"));

    let mut reader = Nats::connect(18131, "shown-by-clients");
    assert_eq!(reader.line(), "PONG");
    reader.say("SUB greetings.* 1\r\nPING\r\n");
    assert_eq!(reader.line(), "PONG", "it listens");
    let mut writer = Nats::connect(18131, "shown-by-clients");
    writer.publish("greetings.morning", "", "hello");
    assert_eq!(reader.message(), "hello");

    writer.say("SUB answers.here 1\r\n");
    let stream = json!({"name": "orders", "subjects": ["orders.*"], "storage": "file"});
    let made = writer.ask("$JS.API.STREAM.CREATE.orders", &stream);
    assert_eq!(made["config"]["name"], "orders", "{made}");
    assert_eq!(writer.ask("orders.new", &json!("three wheels"))["seq"], 1);

    // A token that is changed is asked for at once, and what was kept is still there.
    upgrade(node, "bus", "token=another-that-is-shown");
    let mut writer = Nats::connect(18131, "another-that-is-shown");
    writer.say("SUB answers.here 1\r\n");
    let kept = writer.ask("$JS.API.STREAM.INFO.orders", &Value::Null);
    assert_eq!(kept["state"]["messages"], 1, "{kept}");
    let first = writer.ask("$JS.API.STREAM.MSG.GET.orders", &json!({"seq": 1}));
    assert_eq!(first["message"]["subject"], "orders.new", "{first}");
    shows(18132, "/jsz?streams=1", "\"name\": \"orders\"");
}

/// An image that stands in for Grafana's, and says so. As that does, it runs as a user without rights who has
/// to read the password and write to the volume; it asks the data source that it was given.
fn grafana_stand_in(node: &Node) {
    let check = "test -s /run/secrets/password && test -r /run/secrets/password && \
                 touch /var/lib/grafana/grafana.db && \
                 exec httpd -f -p 3000 -h /usr/share/grafana";
    let query = "url=$(sed -n 's/^ *url: //p' /etc/grafana/provisioning/datasources/prometheus.yaml)\n\
                 printf 'Content-Type: application/json\\r\\n\\r\\n'\n\
                 exec wget -q -O - \"$url/api/v1/query?$QUERY_STRING\"";
    let script = format!(
        "cd /usr && mkdir -p share/grafana/api share/grafana/cgi-bin /var/lib/grafana \
           /etc/grafana/provisioning/datasources && \
         echo '{{\"database\":\"ok\",\"tagline\":\"a stand-in, not the real program\"}}' >share/grafana/api/health && \
         printf '%s\\n' '#!/bin/sh' '{check}' >/run.sh && \
         cat >share/grafana/cgi-bin/query <<'END'\n#!/bin/sh\n{query}\nEND\n\
         chmod +x /run.sh share/grafana/cgi-bin/query && chown 472:0 /var/lib/grafana"
    );
    let made = "make-grafana";
    let _made = Named(node, made);
    node.ok(&["run", "--name", made, "busybox", "sh", "-c", &script]);
    let changes = ["--change", "USER 472", "--change", "ENTRYPOINT [\"/run.sh\"]"];
    node.ok(&[&["commit"], &changes[..], &[made, "stand-in-grafana"]].concat());
}

#[test]
fn figures_are_gathered_and_asked_for() {
    let Some(node) = node() else { return };
    grafana_stand_in(node);
    let _pages = install(node, "nginx", "measured", &["image=nginx", "port=18141"]);
    let _figures = begin(
        node,
        "figures",
        &["--network", "measured_default"],
        "mkdir /www; echo 'wheels_total 42' >/www/metrics; exec httpd -f -p 9100 -h /www",
    );
    let _watch = install(
        node,
        "monitoring",
        "watchtower",
        &[
            "prometheusImage=prom/prometheus",
            "grafanaImage=stand-in-grafana",
            "network=measured_default",
            "targets=figures:9100,localhost:9090",
            "port=18142",
            "prometheusPort=18143",
        ],
    );
    shows(18142, "/api/health", "stand-in");
    // Through the data source that Grafana is given.
    let told = shows(18142, "/cgi-bin/query?query=wheels_total", "figures:9100");
    let value = serde_json::from_str::<Value>(&told).unwrap();
    assert_eq!(value["data"]["result"][0]["value"][1], "42", "{told}");
    shows(18143, "/api/v1/query?query=up%7Binstance%3D%22localhost:9090%22%7D", "\"1\"");

    // The past outlives a new Prometheus.
    upgrade(node, "watchtower", "targets=localhost:9090");
    let past = "/api/v1/query?query=last_over_time(wheels_total%5B1h%5D)";
    shows(18143, past, "figures:9100");
}

/// Runs git in a directory, as somebody of no settings.
fn git(dir: &Path, words: &[&str]) {
    let who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"];
    let mut git = Command::new("git");
    git.current_dir(dir).args(who).args(words).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = git.env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_repository_is_pushed_and_cloned() {
    let Some(node) = node() else { return };
    // No registry has a binary of Gitea's; this has its user, directories and git's own server.
    let _forge = install(
        node,
        "gitea",
        "forge",
        &["image=hull-test/gitea-stand-in", "title=Our forge", "port=18151", "sshPort=18152"],
    );
    shows(18151, "/", "stand-in, not the real program");
    let settings = node.ok(&["exec", "forge-gitea-1", "cat", "/etc/gitea/app.ini"]);
    assert!(settings.contains("__APP_NAME=Our forge"), "{settings}");
    assert!(settings.contains("server__ROOT_URL=http://localhost:18151/"), "{settings}");

    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = "http://127.0.0.1:18151/cgi-bin/git/wheels.git";
    git(here.path(), &["init", "-q", "--initial-branch=main"]);
    std::fs::write(here.path().join("wheel"), "round\n".repeat(50_000)).unwrap();
    git(here.path(), &["add", "."]);
    git(here.path(), &["commit", "-q", "-m", "A wheel"]);
    git(here.path(), &["push", "-q", address, "main"]);

    upgrade(node, "forge", "title=Their forge");
    shows(18151, "/api/healthz", "pass");
    git(there.path(), &["clone", "-q", address, "copy"]);
    let copy = std::fs::read_to_string(there.path().join("copy/wheel")).unwrap();
    assert_eq!(copy.lines().count(), 50_000);
}

/// What a machine of a template prints, when its guest is up.
fn in_guest(node: &Node, name: &str, command: &[&str]) -> String {
    within(A_WHILE, &format!("the guest of {name} does {command:?}"), || {
        let run = node.hull(&[&["exec", name], command].concat());
        (run.code == 0).then(|| run.text())
    })
}

#[test]
fn a_machine_of_the_catalog_has_what_was_answered() {
    let Some(node) = node() else { return };
    let answers = ["image=hull-tiny", "memory=192m", "disk=1g", "sshPort=18161"];
    let _box = install(node, "debian", "quietbox", &answers);
    assert!(node.field("quietbox-machine-1", "/spec/machine").is_object(), "it is a machine");
    assert!(in_guest(node, "quietbox-machine-1", &["uname", "-a"]).contains("Linux"));
    let size = in_guest(node, "quietbox-machine-1", &["cat", "/sys/block/vda/size"]);
    assert_eq!(size, (1_u64 << 30).div_euclid(512).to_string(), "sectors of its disk");
}

#[test]
fn a_machine_stands_behind_web_servers_of_one_app() {
    let Some(node) = node() else { return };
    let _shop = install(
        node,
        "shop",
        "stall",
        &["webImage=nginx", "databaseImage=hull-tiny", "memory=192m", "disk=1g", "port=18171"],
    );
    shows(18171, "/", "nginx");
    in_guest(node, "stall-database-1", &["true"]);
    // This machine of the test has a web server where the real one has PostgreSQL; its name is the same.
    let ask = "exec 3<>/dev/tcp/database/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3; \
               test -s /run/secrets/password";
    let answer = within(A_WHILE, "a web server reaches the machine by its name", || {
        let run = node.hull(&["exec", "stall-web-1", "bash", "-c", ask]);
        (run.code == 0).then(|| run.text())
    });
    assert!(answer.contains("200"), "{answer}");
    let began = |name: &str| node.field(name, "/status/containers/0/started");
    let before = began("stall-database-1");
    upgrade(node, "stall", "replicas=1");
    within(A_WHILE, "a web server goes", || node.inspect("stall-web-2").is_none().then_some(()));
    assert_eq!(began("stall-database-1"), before, "what did not change goes on");
}
