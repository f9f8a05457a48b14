//! Builds through Docker's door, by the builder that is installed.

use serde_json::{Value, json};
use testing::docker::{Docker, Reply};
use testing::node::{Node, REGISTRY, Setup, until};

use super::process::able;

/// A node of one's own: its builder keeps things.
fn own() -> Option<Node> {
    if !able() {
        return None;
    }
    let there = ["/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|place| std::path::Path::new(place).join("buildah").is_file());
    assert!(there || std::env::var_os("HULL_E2E").is_none(), "buildah is not installed");
    if !there {
        println!("passed over: buildah is not installed");
        return None;
    }
    Some(Node::start().unwrap())
}

/// A context of these files.
pub fn context(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

pub fn build(docker: &Docker<'_>, query: &str, files: &[(&str, &str)]) -> Reply {
    docker.post_tar(&format!("/build?{query}"), &[], &context(files))
}

/// What a build that must succeed printed.
fn text(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.message());
    let told = reply.told("stream").concat();
    assert_eq!(reply.told("error"), Vec::<String>::new(), "{told}");
    told
}

#[test]
fn stages_arguments_labels_and_what_is_kept() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let dockerfile = "ARG BASE=busybox\nFROM $BASE AS first\nARG WORD=none\n\
                      RUN echo said $WORD >/said && echo loud\n\
                      FROM busybox\nCOPY --from=first /said /said\nCOPY file /file\nENV A=b\n\
                      HEALTHCHECK --interval=5s CMD true\nCMD [\"cat\", \"/said\", \"/file\"]\n";
    let files = [("Dockerfile", dockerfile), ("file", "copied\n")];
    let query = "t=built:1&t=built:2&buildargs=%7B%22WORD%22:%22hello%22%7D\
                 &labels=%7B%22k%22:%22v%22%7D";
    let reply = build(&docker, query, &files);
    let told = text(&reply);
    assert!(told.contains("Step 1/") && told.contains(" : FROM busybox"), "{told}");
    assert!(told.contains("loud\n"), "{told}");
    let aux =
        reply.lines().into_iter().find_map(|line| line["aux"]["ID"].as_str().map(str::to_owned));
    let id = aux.unwrap();
    assert!(told.contains(&format!("Successfully built {}\n", &id[7..19])), "{told}");
    assert!(told.ends_with("Successfully tagged built:2\n"), "{told}");
    let image = docker.get("/images/built:1/json").json();
    assert_eq!((&image["Id"], &image["Config"]["Labels"]["k"]), (&json!(id), &json!("v")));
    assert_eq!(image["Config"]["Healthcheck"]["Interval"], 5_000_000_000_u64);
    assert_eq!(node.ok(&["run", "--rm", "built:1"]), "said hello\ncopied");

    let again = text(&build(&docker, query, &files));
    assert!(again.contains(" ---> Using cache\n"), "{again}");
    assert!(!again.contains("\nloud\n"), "{again}");
    let anew = text(&build(&docker, &format!("{query}&nocache=1"), &files));
    assert!(anew.contains("\nloud\n"), "{anew}");
    let quiet = text(&build(&docker, &format!("{query}&q=1"), &files));
    assert!(quiet.starts_with("sha256:") && quiet.lines().count() == 1, "{quiet}");
    let stage = build(&docker, &format!("{query}&target=first"), &files);
    assert!(!text(&stage).contains("COPY"));

    let df = docker.get("/system/df").json();
    assert!(!df["BuildCache"].as_array().unwrap().is_empty());
    let pruned = docker.post("/build/prune?all=1").json();
    assert!(!pruned["CachesDeleted"].as_array().unwrap().is_empty(), "{pruned}");
    assert!(pruned["SpaceReclaimed"].as_u64().unwrap() > 0, "{pruned}");
    assert_eq!(docker.get("/system/df").json()["BuildCache"], Value::Null);
}

#[test]
fn what_goes_wrong_is_told() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let failed = |dockerfile: &str| build(&docker, "t=x", &[("Dockerfile", dockerfile)]);
    let run = failed("FROM busybox\nRUN echo before; exit 7\n");
    assert_eq!(
        run.told("error"),
        ["The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"]
    );
    assert_eq!(run.lines().last().unwrap()["errorDetail"]["code"], 7);
    let absent = failed("FROM busybox\nCOPY nothing /x\n").told("error");
    assert!(absent[0].contains("nothing"), "{absent:?}");
    let image = failed(&format!("FROM {REGISTRY}/library/nosuch\n")).told("error");
    assert!(image[0].contains("nosuch"), "{image:?}");
    assert_eq!(docker.get("/images/x/json").status, 404);
    for (query, files, status, words) in [
        ("dockerfile=other", &[("Dockerfile", "FROM scratch")][..], 500, "Cannot locate specified"),
        ("platform=linux/s390x", &[("Dockerfile", "FROM scratch")], 501, "this node builds for"),
        (
            "platform=linux/amd64,linux/arm64",
            &[("Dockerfile", "FROM busybox")],
            501,
            "one platform",
        ),
        ("t=UP", &[("Dockerfile", "FROM scratch")], 400, "must be lowercase"),
    ] {
        let reply = build(&docker, query, files);
        assert_eq!(reply.status, status, "{query}: {}", reply.message());
        assert!(reply.message().contains(words), "{query}: {}", reply.message());
    }
    let garbage = docker.post_tar("/build", &[], &[7; 2000]);
    assert_eq!(garbage.status, 400, "{}", garbage.message());
}

#[test]
fn images_that_are_only_here() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    text(&build(&docker, "t=base:1", &[("Dockerfile", "FROM busybox\nRUN echo base >/who\n")]));
    // By its name, and by its id.
    let id = docker.get("/images/base:1/json").json()["Id"].as_str().unwrap().to_owned();
    for base in ["base:1", &id[7..19]] {
        // What is the same would come from the cache, and say nothing.
        let dockerfile = format!("FROM {base}\nRUN cat /who && echo by {base}\n");
        let told = text(&build(&docker, "t=above", &[("Dockerfile", &dockerfile)]));
        assert!(told.contains("base\n"), "{told}");
    }
    let layers = docker.get("/images/above/json").json()["RootFS"]["Layers"].clone();
    let below = docker.get("/images/base:1/json").json()["RootFS"]["Layers"].clone();
    assert_eq!(layers[0], below[0]);
}

#[test]
fn nothing_of_a_build_leaves_its_walls() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    // A link out of the context leads nowhere.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "Dockerfile", "/etc/hostname").unwrap();
    let reply = docker.post_tar("/build", &[], &archive.into_inner().unwrap());
    assert_eq!(reply.status, 500, "{}", reply.message());
    assert!(
        reply.message().starts_with("Cannot locate specified Dockerfile"),
        "{}",
        reply.message()
    );
    let told = text(&build(
        &docker,
        "networkmode=none&nocache=1",
        &[("Dockerfile", "FROM busybox\nRUN ip -o link; ls /proc | grep -c '^[0-9]'\n")],
    ));
    assert!(told.contains(" lo: ") && told.matches("link/").count() == 1, "{told}");
    let many = told.lines().find_map(|line| line.parse::<u32>().ok()).unwrap();
    assert!(many < 20, "it sees {many} processes");
}

/// The words of all processes.
pub fn commands() -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let words = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    words.map(|words| String::from_utf8_lossy(&words).into_owned()).collect()
}

#[test]
fn steps_reach_the_world_and_not_the_hosts_loopback() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let port = REGISTRY.port();
    let script = format!(
        "ip -o -4 address show eth0; cat /etc/resolv.conf; nc -w 3 127.0.0.1 {port} </dev/null && echo reached || \
         echo walled"
    );
    let dockerfile = format!("FROM busybox\nRUN {script}\n");
    let files = [("Dockerfile", dockerfile.as_str())];
    let told = text(&build(&docker, "nocache=1", &files));
    assert!(told.contains("\nwalled\n"), "{told}");
    assert!(told.contains("inet 169.254.101."), "{told}");
    assert!(told.contains("nameserver 169.254.101.1\n"), "{told}");
    let told = text(&build(&docker, "nocache=1&networkmode=host", &files));
    assert!(told.contains("\nreached\n"), "{told}");
    until("its namespace is gone", || (node.namespaces() == 0).then_some(()));
    let secret =
        [("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=x cat /run/secrets/x\n")];
    let refused = build(&docker, "", &secret);
    assert_eq!(refused.status, 501, "{}", refused.message());
    assert!(refused.message().contains("needs BuildKit"), "{}", refused.message());
}

#[test]
fn clients_of_buildkit_are_told_where_none_can_be_had() {
    if !able() {
        return;
    }
    let settings = "[build]\nbuildkitd = \"nosuch-buildkitd\"\nbuildkit-image = \"\"";
    let node = Setup::new().unwrap().settings(settings).start().unwrap();
    let docker = Docker::of(&node);
    let builder = docker.get("/_ping").head.to_ascii_lowercase();
    assert!(builder.contains("builder-version: 1\r\n"), "{builder}");
    let second = build(&docker, "version=2", &[("Dockerfile", "FROM scratch")]);
    assert_eq!(second.status, 501, "{}", second.message());
    assert!(second.message().contains("no BuildKit"), "{}", second.message());
    for path in ["/grpc", "/session"] {
        let upgrade = ["Connection: Upgrade", "Upgrade: h2c"];
        let refused = docker.call("POST", path, &upgrade, b"").unwrap();
        assert_eq!(refused.status, 501, "{path}: {}", refused.message());
        let told = refused.message();
        assert!(told.contains("no BuildKit") && told.contains("DOCKER_BUILDKIT=0"), "{told}");
        let plain = docker.post(path);
        assert_eq!(plain.status, 400, "{path}: {}", plain.message());
    }
}

/// A node of one's own on a machine that has BuildKit.
fn with_kit() -> Option<Node> {
    if !able() {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|place| place.join("buildkitd").is_file()) {
        println!("passed over: there is no buildkitd in PATH");
        return None;
    }
    Some(Node::start().unwrap())
}

/// The id of what a build of BuildKit's made.
pub fn made(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.message());
    assert_eq!(reply.told("error"), Vec::<String>::new());
    let lines = reply.lines();
    assert!(lines.iter().any(|line| line["id"] == "moby.buildkit.trace"), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!(last["id"], "moby.image.id", "{lines:?}");
    last["aux"]["ID"].as_str().unwrap().to_owned()
}

/// Process ids of the commands that are exactly these words.
fn running(words: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let is = |entry: &std::fs::DirEntry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == words.as_bytes())
    };
    all.filter(is).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn buildkit_builds_from_and_into_the_platforms_images() {
    let Some(node) = with_kit() else { return };
    let docker = Docker::of(&node);
    assert!(docker.get("/_ping").head.to_ascii_lowercase().contains("builder-version: 2\r\n"));
    let dockerfile = "FROM busybox AS first\nARG WORD=none\n\
                      RUN --mount=type=cache,target=/c echo said $WORD >/said\n\
                      FROM busybox\nCOPY --from=first /said /said\nCOPY file /file\n\
                      CMD [\"cat\", \"/said\", \"/file\"]\n";
    let files = [
        ("Dockerfile", dockerfile),
        ("file", "copied\n"),
        ("hidden", ""),
        (".dockerignore", "hid*"),
    ];
    let query = "version=2&t=kit:1&t=kit:2&buildargs=%7B%22WORD%22:%22hello%22%7D\
                 &labels=%7B%22k%22:%22v%22%7D";
    let id = made(&build(&docker, query, &files));
    for name in ["kit:1", "kit:2"] {
        let image = docker.get(&format!("/images/{name}/json")).json();
        assert_eq!((&image["Id"], &image["Config"]["Labels"]["k"]), (&json!(id), &json!("v")));
    }
    assert_eq!(node.ok(&["run", "--rm", "kit:1"]), "said hello\ncopied");
    // From what is only here; nameless, and found by its id.
    let above = [("Dockerfile", "FROM kit:1\nRUN cat /said >/again\nCMD cat /again\n")];
    let id = made(&build(&docker, "version=2", &above));
    assert_eq!(node.ok(&["run", "--rm", &id]), "said hello");
    let stage = made(&build(&docker, "version=2&t=stage&target=first", &files));
    assert_eq!(node.ok(&["run", "--rm", "stage", "cat", "/said"]), "said none", "{stage}");

    let failed = build(&docker, "version=2", &[("Dockerfile", "FROM busybox\nRUN exit 7\n")]);
    let told = failed.told("error");
    assert!(told[0].contains("exit code: 7"), "{told:?}");
    let many = build(&docker, "version=2&platform=linux/amd64,linux/arm64", &above).told("error");
    assert!(many[0].contains("one platform at a time"), "{many:?}");

    let df = docker.get("/system/df").json();
    assert!(!df["BuildCache"].as_array().unwrap().is_empty());
    let pruned = docker.post("/build/prune?all=1").json();
    assert!(!pruned["CachesDeleted"].as_array().unwrap().is_empty(), "{pruned}");
    let jobs = node.root().join("var/lib/hull/build/jobs");
    assert_eq!(std::fs::read_dir(jobs).map_or(0, |all| all.flatten().count()), 0);
}

#[test]
fn buildkit_ends_with_the_daemon_and_its_builds_with_their_clients() {
    use std::io::Write;
    let Some(node) = with_kit() else { return };
    let docker = Docker::of(&node);
    let port = REGISTRY.port();
    let script = format!("nc -w 3 127.0.0.1 {port} </dev/null && echo reached || echo walled");
    let walled = format!("FROM busybox\nRUN test \"$({script})\" = walled\n");
    made(&build(&docker, "version=2", &[("Dockerfile", &walled)]));
    // A number that no other test's command has.
    let seconds = format!("{}", 70_000_000 + u64::from(std::process::id()));
    let sleep = format!("sleep\x00{seconds}\x00");
    let files = context(&[("Dockerfile", &format!("FROM busybox\nRUN sleep {seconds}\n"))]);
    let begin = || {
        let socket = node.root().join("run/hull/docker.sock");
        let mut socket = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let length = files.len();
        write!(
            socket,
            "POST /build?version=2 HTTP/1.0\r\nHost: d\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        socket.write_all(&files).unwrap();
        until("the step runs", || (!running(&sleep).is_empty()).then_some(()));
        socket
    };
    drop(begin());
    until("it ends with its client", || running(&sleep).is_empty().then_some(()));
    let settings = node.root().join("var/lib/hull/build/kit/buildkitd.toml");
    let kit = || commands().iter().any(|words| words.contains(&*settings.to_string_lossy()));
    assert!(kit(), "it stays for the next build");
    let _open = begin();
    node.kill_daemon().unwrap();
    until("all of it ends with the daemon", || {
        (running(&sleep).is_empty() && !kit()).then_some(())
    });
}

#[test]
fn a_context_that_breaks_off_leaves_nothing() {
    use std::io::Write;
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    for (remote, status) in [("/etc", 400), ("git@e.org:a/b", 501)] {
        let reply = docker.post(&format!("/build?remote={remote}"));
        assert_eq!(reply.status, status, "{}", reply.message());
    }
    let jobs = node.root().join("var/lib/hull/build/jobs");
    let left = || std::fs::read_dir(&jobs).map_or(0, |all| all.flatten().count());
    let socket = node.root().join("run/hull/docker.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(socket).unwrap();
    write!(socket, "POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 99999999\r\n\r\n").unwrap();
    let large = "x".repeat(4 << 20);
    socket.write_all(&context(&[("large", &large)])[..3 << 20]).unwrap();
    until("the context comes", || (left() == 1).then_some(()));
    drop(socket);
    until("it is gone", || (left() == 0).then_some(()));
    let log = node.log();
    assert!(!log.contains("cannot be removed"), "{log}");
}

#[test]
fn a_build_ends_with_its_client() {
    let Some(node) = own() else { return };
    let dockerfile = "FROM busybox\nARG TOKEN\nRUN echo begun ${#TOKEN}; sleep 4321\n";
    let files = context(&[("Dockerfile", dockerfile)]);
    let mut socket =
        std::os::unix::net::UnixStream::connect(node.root().join("run/hull/docker.sock")).unwrap();
    use std::io::{Read, Write};
    let path = "/build?buildargs=%7B%22TOKEN%22:%22s3cret-4321%22%7D";
    write!(socket, "POST {path} HTTP/1.0\r\nHost: d\r\nContent-Length: {}\r\n\r\n", files.len())
        .unwrap();
    socket.write_all(&files).unwrap();
    let (mut told, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&told).contains("begun 11\\n") {
        let read = socket.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&told));
        told.extend_from_slice(&buffer[..read]);
    }
    let asleep = || commands().iter().any(|words| words == "sleep\x004321\x00");
    until("the build's command to run", || asleep().then_some(()));
    let open: Vec<String> =
        commands().into_iter().filter(|words| words.contains("s3cret-4321")).collect();
    assert_eq!(open, Vec::<String>::new(), "everybody can read that");
    let pruned = Docker::of(&node).post("/build/prune");
    assert_eq!(pruned.status, 409, "{}", pruned.message());
    drop(socket);
    until("the build's processes to end", || (!asleep()).then_some(()));
    let tag = node.tag();
    until("its cgroups to go", || {
        let places = ["", "memory/", "cpu/", "pids/"];
        let any = places.iter().any(|place| {
            let builds = format!("/sys/fs/cgroup/{place}hull-{tag}/builds");
            std::fs::read_dir(builds)
                .is_ok_and(|all| all.flatten().any(|entry| entry.path().is_dir()))
        });
        (!any).then_some(())
    });
}
