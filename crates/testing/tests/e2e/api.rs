//! The API as its users meet it: with curl on the socket and over TLS, and with `hull` on another
//! machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testing::cable::{Cable, Way};
use testing::node::{Node, Outcome, REGISTRY, Setup, until};

use super::process::{Named, able, begin, node};

/// What curl got: the status, and the body as JSON, else as text.
fn curl(arguments: &[&str]) -> (u16, Value) {
    let output = Command::new("curl")
        .args(["-sS", "-m", "30", "-w", "\n%{http_code}"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    (status.parse().unwrap(), body)
}

/// A request on the local socket, with these further words for curl.
fn local(
    node: &Node,
    method: &str,
    path: &str,
    body: Option<&Value>,
    more: &[&str],
) -> (u16, Value) {
    let socket = node.root().join("run/hull/api.sock").display().to_string();
    let (url, body) = (format!("http://hull{path}"), body.map(Value::to_string));
    let mut words = vec!["--unix-socket", &socket, "-X", method, &url];
    if let Some(body) = &body {
        words.extend(["-H", "Content-Type: application/json", "-d", body]);
    }
    curl(&[&words, more].concat())
}

/// Another machine's view of a node: its address, whom to trust, a token; a root with nothing in it.
struct Remote<'a> {
    node: &'a Node,
    address: String,
    authority: String,
    token: String,
    home: tempfile::TempDir,
}

impl<'a> Remote<'a> {
    fn of(node: &'a Node) -> Self {
        let status = node.get("/v1/system/status").unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let token = std::fs::read_to_string(node.root().join("etc/hull/admin.token")).unwrap();
        Self {
            node,
            address: text(&status["addresses"][0]),
            authority: text(&status["authority"]),
            token: token.trim().to_owned(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn hull(&self, arguments: &[&str]) -> Outcome {
        self.hull_as(&self.token, &self.authority, arguments)
    }

    fn hull_as(&self, token: &str, authority: &str, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(self.node.binary());
        command.arg("--root").arg(self.home.path()).args(arguments).stdin(Stdio::null());
        command.env("HULL_HOST", &self.address).env("HULL_CA", authority);
        let output = command.env("HULL_TOKEN", token).output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.hull(arguments);
        assert_eq!(outcome.code, 0, "hull {}: {}", arguments.join(" "), outcome.stderr);
        outcome.text()
    }

    fn curl(&self, path: &str, more: &[&str]) -> (u16, Value) {
        let ca = self.node.root().join("var/lib/hull/pki/ca.crt").display().to_string();
        curl(&[&["--cacert", &ca, &format!("{}{path}", self.address)], more].concat())
    }
}

#[test]
fn a_client_on_another_machine() {
    let Some(node) = node() else { return };
    let remote = Remote::of(node);
    let _it = begin(node, "far", &[], "echo from afar; exec sleep 600");
    assert!(remote.ok(&["ps", "-o", "name"]).lines().any(|name| name == "far"));
    assert_eq!(remote.ok(&["exec", "far", "echo", "hi"]), "hi");
    assert_eq!(remote.ok(&["logs", "far"]), "from afar");
    assert_eq!(remote.ok(&["run", "--rm", "busybox", "echo", "remote"]), "remote");
    let archive = remote.hull(&["image", "save", "busybox"]);
    assert!(archive.code == 0 && archive.stdout.len() > 1 << 19, "{}", archive.stderr);
    // The file of the authority does as well as its digest.
    let ca = node.root().join("var/lib/hull/pki/ca.crt").display().to_string();
    assert_eq!(remote.hull_as(&remote.token, &ca, &["status"]).code, 0);

    let nobody = format!("sha256:{}", "0".repeat(64));
    for (token, authority, code, why) in [
        (remote.token.as_str(), nobody.as_str(), 5, "cannot prove"),
        (remote.token.as_str(), "", 2, "which certificate authority"),
        ("", remote.authority.as_str(), 1, "no token"),
        ("hull_0_0", remote.authority.as_str(), 1, "not known"),
    ] {
        let refused = remote.hull_as(token, authority, &["ps"]);
        assert_eq!(refused.code, code, "{why}: {}", refused.stderr);
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
}

#[test]
fn tokens_are_made_and_lose_their_worth() {
    let Some(node) = node() else { return };
    let remote = Remote::of(node);
    let secret = remote.ok(&["token", "create", "e2e-ci", "-d", "for builds", "-o", "name"]);
    assert!(secret.starts_with("hull_"));
    let works = |secret: &str| remote.hull_as(secret, &remote.authority, &["ps"]).code == 0;
    assert!(works(&secret));
    assert!(remote.ok(&["token", "ls"]).contains("for builds"));
    assert_eq!(remote.hull(&["token", "create", "e2e-ci"]).code, 4);
    let shown = remote.ok(&["token", "show", "e2e-ci"]);
    assert!(!shown.contains(&secret) && !shown.contains("hash"), "{shown}");
    let second = remote.ok(&["token", "renew", "e2e-ci", "-o", "name"]);
    assert!(works(&second) && !works(&secret));
    remote.ok(&["token", "rm", "e2e-ci"]);
    assert!(!works(&second));
    assert_eq!(remote.hull(&["token", "rm", "e2e-ci"]).code, 3);
    let brief = remote.ok(&["token", "create", "--expires", "1s", "-o", "name", "e2e-brief"]);
    until("it expires", || (!works(&brief)).then_some(()));
    remote.ok(&["token", "rm", "e2e-brief"]);

    // What is kept of them is no secret; nor is anything else that others may read.
    let state = node.root().join("var/lib/hull");
    for name in ["state.db", "state.db-wal", "daemon.log"] {
        let bytes = std::fs::read(state.join(name)).unwrap_or_default();
        for secret in [&secret, &second, &remote.token] {
            let tail = secret.rsplit('_').next().unwrap().as_bytes();
            assert!(!bytes.windows(tail.len()).any(|part| part == tail), "a secret is in {name}");
        }
    }
    let mode = |path: &str| node.root().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("etc/hull/admin.token"), 0o600);
    assert_eq!(mode("run/hull/api.sock"), 0o660);
    for name in ["state.db", "pki/ca.key", "pki/node.key"] {
        assert_eq!(mode(&format!("var/lib/hull/{name}")), 0o600, "{name}");
    }
}

/// A file in an archive: its head, and the length of its content in bytes, zeros.
fn head_of(name: &str, length: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn uploads_and_waits_end_with_the_right_to_them() {
    let Some(node) = node() else { return };
    let remote = Remote::of(node);
    let _it = begin(node, "lease", &[], "mkdir -p /srv; echo before > /srv/file; exec sleep 600");
    let before =
        || (node.hull(&["exec", "lease", "cat", "/srv/file"]).text() == "before").then_some(());
    until("the file is there", before);
    node.ok(&["user", "create", "lessee", "--no-password", "--role", "editor"]);
    let secret = node.ok(&["token", "create", "lessee-1", "--user", "lessee", "-o", "name"]);
    let run = |words: &[&str]| {
        let mut command = Command::new(node.binary());
        command.arg("--root").arg(remote.home.path()).args(words).env("HULL_TOKEN", &secret);
        command.env("HULL_HOST", &remote.address).env("HULL_CA", &remote.authority);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for words in [
        &["cp", "-", "lease:/srv"] as &[&str],
        &["image", "import", "--name", "lease-rootfs", "-"],
        &["wait", "lease"],
    ] {
        let mut client = run(words);
        let mut input = client.stdin.take().unwrap();
        // More than lies on the way: what was taken was taken by the node. It ends before the file does.
        let begun = words[0] == "wait" || {
            let sent = input.write_all(&head_of("file", 64 << 20));
            sent.and_then(|()| input.write_all(&vec![0; 32 << 20])).is_ok()
        };
        assert!(begun, "{words:?} ended by itself");
        // A wait shows nowhere: until it has begun there is nothing to end.
        let mut verbs = ["grant", "revoke"].into_iter().cycle();
        until("it ends", || {
            node.ok(&["user", verbs.next().unwrap(), "lessee", "viewer"]);
            client.try_wait().unwrap()
        });
        let output = client.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("has other roles now"), "{words:?}: {told}");
        drop(input);
    }
    assert_eq!(node.ok(&["exec", "lease", "cat", "/srv/file"]), "before");
    assert_ne!(node.hull(&["image", "show", "lease-rootfs"]).code, 0, "there is half an image");
    node.ok(&["user", "rm", "lessee"]);
}

/// The daemon sees a group that the machine need not have; who is in it is told by numbers alone.
#[test]
fn the_socket_is_for_root_and_the_group() {
    if !able() {
        return;
    }
    let node = Setup::new().unwrap().prepare().unwrap();
    let (root, group) = (node.root().display().to_string(), node.root().join("group"));
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o711)).unwrap();
    std::fs::write(&group, "root:x:0:\nhull:x:7777:\n").unwrap();
    let mount = "mount --bind \"$0\" /etc/group && exec \"$@\"";
    let mut up = Command::new("unshare");
    up.args(["--mount", "sh", "-c", mount])
        .arg(group)
        .arg(node.binary())
        .args(["--root", &root, "up"]);
    assert!(up.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let socket = node.root().join("run/hull/api.sock").display().to_string();
    let as_member = |user: &str, group: &str| {
        Command::new("setpriv")
            .args(["--reuid", user, "--regid", group, "--clear-groups", "curl", "-s", "-w"])
            .args(["%{http_code}", "-o", "/dev/null", "--unix-socket", &socket])
            .arg("http://hull/v1/system/status")
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap()
    };
    assert_eq!(as_member("0", "0"), "200");
    assert_eq!(as_member("65534", "7777"), "200");
    // Nobody else reaches it, and the mode alone would not help them.
    assert_eq!(as_member("65534", "65534"), "000");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(as_member("65534", "65534"), "403");
}

#[test]
fn what_is_open_and_what_is_not() {
    let Some(node) = node() else { return };
    let remote = Remote::of(node);
    let bearer = format!("Authorization: Bearer {}", remote.token);
    for path in ["/healthz", "/openapi.json"] {
        assert_eq!(remote.curl(path, &[]).0, 200, "{path}");
    }
    for path in
        ["/metrics", "/readyz", "/v1/nodes", "/v1/events", "/v1/images", "/v1/system/status"]
    {
        let (status, problem) = remote.curl(path, &[]);
        assert_eq!((status, &problem["kind"]), (401, &json!("unauthenticated")), "{path}");
        let known = remote.curl(path, &["-H", &bearer]);
        assert_eq!(known.0, 200, "{path}: {}", known.1);
    }
    let (_, metrics) = remote.curl("/metrics", &["-H", &bearer]);
    assert!(metrics.as_str().unwrap().contains("hull_api_requests_total{"), "{metrics}");
    let (_, document) = remote.curl("/openapi.json", &[]);
    let kept = testing::checkout().join("openapi/hull.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    assert!(document == kept, "what is served is not what is checked in");
    assert_eq!(document["openapi"], "3.1.0");
}

/// Every noun that is kept as an object: made, read, listed, changed, watched, removed.
#[test]
fn every_noun_has_the_same_verbs() {
    let Some(node) = node() else { return };
    let volume = json!({ "storage": "local" });
    let instance =
        json!({ "run": "stopped", "containers": [{ "name": "main", "image": "busybox" }] });
    for (collection, spec) in [
        ("/v1/projects/default/volumes", volume),
        ("/v1/projects/default/networks", json!({})),
        ("/v1/projects/default/instances", instance),
        ("/v1/projects", json!({})),
    ] {
        verbs(node, collection, &spec);
    }
}

fn verbs(node: &Node, collection: &str, spec: &Value) {
    let call =
        |method: &str, path: &str, body: Option<&Value>| local(node, method, path, body, &[]);
    let draft = |name: &str, side: &str| json!({ "meta": { "name": name, "labels": { "e2e": "verbs", "side": side } }, "spec": spec });
    let at = |name: &str| format!("{collection}/{name}");
    let (status, planned) =
        call("POST", &format!("{collection}?plan=true"), Some(&draft("v-a", "left")));
    assert_eq!((status, &planned["meta"]["name"]), (200, &json!("v-a")), "{collection}: {planned}");
    assert_eq!(call("GET", &at("v-a"), None).0, 404, "{collection}: a plan makes nothing");
    for (name, side) in [("v-a", "left"), ("v-b", "right"), ("v-c", "left")] {
        let (status, made) = call("POST", collection, Some(&draft(name, side)));
        assert_eq!(status, 201, "{collection}: {made}");
    }
    assert_eq!(call("POST", collection, Some(&draft("v-a", "left"))).0, 409);

    let names = |query: &str| -> (Vec<String>, Value) {
        let (status, list) = call("GET", &format!("{collection}?labels=e2e%3Dverbs{query}"), None);
        assert_eq!(status, 200, "{query}: {list}");
        let items = list["items"].as_array().unwrap().iter();
        (items.map(|item| item["meta"]["name"].as_str().unwrap().to_owned()).collect(), list)
    };
    assert_eq!(names("").0, ["v-a", "v-b", "v-c"]);
    assert_eq!(names(",side%21%3Dleft").0, ["v-b"]);
    assert_eq!(names("&fields=meta.name%3Dv-c").0, ["v-c"]);
    let (page, list) = names("&limit=2");
    assert_eq!(page, ["v-a", "v-b"]);
    let next = list["continue"].as_str().unwrap();
    assert_eq!(names(&format!("&limit=2&continue={next}")).0, ["v-c"]);
    let from = names("").1["revision"].as_u64().unwrap();

    // Conditional writes: only who has seen the newest revision may write.
    let label = json!({ "meta": { "labels": { "seen": "yes" } } });
    let (_, read) = call("GET", &at("v-a"), None);
    let revision = read["meta"]["revision"].as_u64().unwrap();
    let stale = format!("If-Match: \"{}\"", revision - 1);
    let (status, refused) = local(node, "PATCH", &at("v-a"), Some(&label), &["-H", &stale]);
    assert_eq!((status, &refused["field"]), (412, &json!("meta.revision")), "{refused}");
    let planned = call("PATCH", &format!("{}?plan=true", at("v-a")), Some(&label)).1;
    assert_eq!(planned["meta"]["labels"]["seen"], "yes");
    assert_eq!(call("GET", &at("v-a"), None).1["meta"]["labels"].get("seen"), None);
    let patched = call("PATCH", &at("v-a"), Some(&label));
    assert_eq!(patched.0, 200, "{}", patched.1);
    for name in ["v-a", "v-b", "v-c"] {
        let (status, gone) = call("DELETE", &at(name), None);
        assert!(status == 200 || status == 202, "{collection}: {gone}");
    }
    let changes =
        watch(node, &format!("{collection}?watch=true&revision={from}&labels=e2e%3Dverbs"));
    let mut told = changes.filter(|change| change["object"]["meta"]["name"] == "v-a");
    let first = told.next().unwrap();
    assert_eq!(first["type"], "modified");
    assert!(first["revision"].as_u64().unwrap() > from);
    assert!(told.any(|change| change["type"] == "removed"), "{collection}");
    assert_eq!(call("GET", &at("v-a"), None).0, 404);
}

/// Lines of a stream on the local socket.
fn watch(node: &Node, path: &str) -> impl Iterator<Item = Value> + use<> {
    let mut socket = UnixStream::connect(node.root().join("run/hull/api.sock")).unwrap();
    socket.set_read_timeout(Some(testing::node::PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.0\r\nHost: hull\r\n\r\n").unwrap();
    let mut lines = BufReader::new(socket).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains(" 200 "));
    lines.filter_map(|line| serde_json::from_str(&line).ok())
}

#[test]
fn faults_are_named() {
    let Some(node) = node() else { return };
    let instances = "/v1/projects/default/instances";
    let with = |spec: Value| json!({ "meta": { "name": "faulty" }, "spec": spec });
    let container = |field: &str, value: Value| {
        let mut container = json!({ "name": "main", "image": "busybox" });
        container[field] = value;
        with(json!({ "containers": [container] }))
    };
    for (body, status, field) in [
        (container("nmae", json!("x")), 400, "spec.containers[0].nmae"),
        (container("image", json!(5)), 400, "spec.containers[0].image"),
        (container("image", json!("No Such Name")), 400, "spec.containers[0].image"),
        (container("workdir", json!("relative")), 400, "spec.containers[0].workdir"),
        (with(json!({ "containers": [] })), 400, "spec.containers"),
        (with(json!({ "restart": "sometimes", "containers": [] })), 400, "spec.restart"),
        (json!({ "meta": { "name": "Not A Name" }, "spec": {} }), 400, "meta.name"),
        (json!({ "mate": {} }), 400, "mate"),
    ] {
        let (found, problem) = local(node, "POST", instances, Some(&body), &[]);
        assert_eq!(found, status, "{body}: {problem}");
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert_eq!(problem["type"], "urn:hull:problem:invalid");
        assert!(problem["detail"].is_string() && problem["status"] == found, "{problem}");
    }
    for (query, field) in [
        ("limit=many", "limit"),
        ("labels=tier+in+(a,b)", "labels"),
        ("fields=name%3Dx", "fields"),
        ("lmit=1", "lmit"),
    ] {
        let (status, problem) = local(node, "GET", &format!("{instances}?{query}"), None, &[]);
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    let (status, problem) = local(node, "GET", &format!("{instances}/nobody"), None, &[]);
    assert_eq!((status, &problem["kind"]), (404, &json!("notFound")));
    assert_eq!(local(node, "GET", "/v1/nothing", None, &[]).0, 404);
    assert_eq!(local(node, "PUT", instances, None, &[]).0, 405);
    assert_eq!(local(node, "POST", instances, None, &["-d", "a=b"]).0, 415);
}

#[test]
fn what_is_too_much_is_refused() {
    let Some(node) = node() else { return };
    let instances = "/v1/projects/default/instances";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large.json").display().to_string();
    std::fs::write(&file, format!("{{\"meta\":{{\"name\":\"{}\"}}}}", "x".repeat(3 << 20)))
        .unwrap();
    let body = ["-H", "Content-Type: application/json", "--data-binary", &format!("@{file}")];
    assert_eq!(local(node, "POST", instances, None, &body).0, 413);
    let head = format!("X-Large: {}", "x".repeat(100 << 10));
    assert_eq!(local(node, "GET", instances, None, &["-H", &head]).0, 431);
    // Who connects over TLS and says nothing is sent away.
    let address = Remote::of(node).address;
    let mut silent = std::net::TcpStream::connect(address.trim_start_matches("https://")).unwrap();
    silent.set_read_timeout(Some(testing::node::PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
}

/// Twenty who watch and never read: others are served as before, and nothing piles up.
#[test]
fn who_does_not_read_costs_nobody_else() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let volumes = "/v1/projects/default/volumes";
    let note = "n".repeat(1000);
    let write = |round: usize| {
        let body = json!({ "meta": { "annotations": { "note": format!("{round} {note}") } } });
        node.call("PATCH", &format!("{volumes}/noisy"), Some(&body)).unwrap()
    };
    node.call("POST", volumes, Some(&json!({ "meta": { "name": "noisy" }, "spec": {} }))).unwrap();
    let memory = || {
        let status = format!("/proc/{}/status", node.daemon().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    (0..200).for_each(|round| assert_eq!(write(round).0, 200));
    let before = memory();
    let silent: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut socket = UnixStream::connect(node.root().join("run/hull/api.sock")).unwrap();
            write!(socket, "GET {volumes}?watch=true HTTP/1.1\r\nHost: hull\r\n\r\n").unwrap();
            socket
        })
        .collect();
    let mut reading = watch(&node, &format!("{volumes}?watch=true"));
    (200..1500).for_each(|round| assert_eq!(write(round).0, 200));
    let last = format!("1499 {note}");
    assert!(reading.any(|change| change["object"]["meta"]["annotations"]["note"] == last.as_str()));
    // 20 × 1300 × 1.5 KiB would be 40 MB.
    let grown = memory().saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB more");
    drop(silent);
}

#[test]
fn long_work_tells_how_far_it_is() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let cable = Cable::to(REGISTRY, Way::Back).unwrap();
    cable.hang_after(3 << 20);
    let name = format!("{}/library/nginx", cable.address);
    let mut pull = node.command(&["image", "pull", &name]);
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let operation = until("it is under way", || {
        let list = node.get("/v1/operations").ok()?;
        let item = list["items"].as_array()?.first()?.clone();
        (item["status"]["done"].as_u64()? > 0).then_some(item)
    });
    assert_eq!(operation["spec"]["title"], format!("pull {name}"));
    assert_eq!(operation["status"]["phase"], "running");
    assert!(operation["status"]["total"].as_u64() > operation["status"]["done"].as_u64());
    let id = operation["meta"]["name"].as_str().unwrap().to_owned();
    assert!(node.ok(&["operation", "ls"]).contains("running"));
    // What a daemon that was killed had under way is over, and says so.
    node.kill_daemon().unwrap();
    pull.wait().unwrap();
    node.await_ready();
    let shown = node.ok(&["operation", "show", "-o", "json", &id]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["status"]["phase"], "failed", "{shown}");
    assert!(shown["status"]["reason"]["message"].is_string(), "{shown}");
    cable.mend();
    node.ok(&["image", "pull", &name]);
    assert!(node.ok(&["operation", "ls", "-f", "status.phase=done"]).contains("100%"));
}

#[test]
fn the_lesser_nouns_by_hand() {
    let Some(node) = node() else { return };
    node.ok(&["project", "create", "e2e-shop", "-d", "a shop"]);
    assert!(node.ok(&["project", "ls"]).contains("a shop"));
    let _it = Named(node, "in-no-project");
    assert_eq!(node.ok(&["--project", "e2e-shop", "run", "--rm", "busybox", "echo", "x"]), "x");
    node.ok(&["--project", "e2e-shop", "volume", "create", "held"]);
    let full = node.hull(&["project", "rm", "e2e-shop"]);
    assert_eq!(full.code, 4, "{}", full.stderr);
    node.ok(&["--project", "e2e-shop", "volume", "rm", "held"]);
    node.ok(&["project", "rm", "e2e-shop"]);
    assert_eq!(node.hull(&["project", "show", "e2e-shop"]).code, 3);

    let name = node.ok(&["node", "ls", "-o", "name"]);
    let shown: Value =
        serde_json::from_str(&node.ok(&["node", "show", "-o", "json", &name])).unwrap();
    assert_eq!(shown["status"]["ready"], true);
    let events = node.ok(&["event", "ls", "--filter", "project=e2e-shop", "-o", "json"]);
    let first: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(first["project"], "e2e-shop");
    assert!(first["time"].is_string() && first["action"].is_string(), "{first}");
}

/// The token's secret is written before the token is made, and never after.
#[test]
fn a_first_start_that_dies_leaves_a_token_that_counts() {
    if !super::process::able() || !cfg!(debug_assertions) {
        return;
    }
    for place in ["admin.kept", "admin.made"] {
        let told = |file: &PathBuf| Ok(std::fs::write(file, place)?);
        let node = testing::mortal::Mortal::with(told).unwrap();
        assert!(!node.is_to_die(), "{place}: nobody died");
        Remote::of(&node).ok(&["ps"]);
    }
}
