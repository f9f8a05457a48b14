//! The life of BuildKit behind Docker's door, with a stand-in for it that builds nothing: whether the platform
//! starts it, ends it, and knows what it keeps.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::docker::Docker;
use testing::node::{Node, Setup, until};

use super::docker_build::{build, commands, context, made};
use super::process::able;

const STAND_IN: &str = env!("CARGO_BIN_EXE_stand-in-buildkitd");
const FILES: &[(&str, &str)] = &[("Dockerfile", "FROM scratch\n")];
/// Bytes of each of its records.
const SIZE: u64 = 1000;

/// A node whose BuildKit is the stand-in.
struct Kit {
    node: Node,
    programs: PathBuf,
}

impl Kit {
    /// It ends after so long without a client.
    fn start(idle: &str) -> Option<Self> {
        if !able() {
            return None;
        }
        let setup = Setup::new().unwrap();
        let programs = setup.base().join("programs");
        put_programs(&programs);
        let daemon = programs.join("buildkitd");
        let settings = format!(
            "[build]\nbuildkitd = {daemon:?}\nbuildkit-image = \"\"\nbuildkit-idle = \"{idle}\""
        );
        Some(Self { node: setup.settings(&settings).start().unwrap(), programs })
    }

    fn docker(&self) -> Docker<'_> {
        Docker::of(&self.node)
    }

    /// How it is to behave from its next start on.
    fn behave(&self, how: &str) {
        std::fs::write(self.programs.join("behaviour"), how).unwrap();
    }

    fn room(&self) -> PathBuf {
        self.node.root().join("var/lib/hull/build/kit")
    }

    /// How often it was started.
    fn starts(&self) -> usize {
        let starts = std::fs::read_to_string(self.room().join("root/starts"));
        starts.unwrap_or_default().lines().count()
    }

    /// Whether anything of it runs.
    fn runs(&self) -> bool {
        let settings = self.room().join("buildkitd.toml").display().to_string();
        commands().iter().any(|words| words.contains(&settings))
    }

    /// Bytes that `docker system df` says it keeps.
    fn kept(&self) -> u64 {
        let df = self.docker().get("/system/df?type=build-cache").json();
        let records = df["BuildCache"].as_array().cloned().unwrap_or_default();
        records.iter().filter_map(|record| record["Size"].as_u64()).sum()
    }

    fn build(&self) -> String {
        made(&build(&self.docker(), "version=2", FILES))
    }

    /// A build that goes on until its client leaves.
    fn held(&self) -> UnixStream {
        let socket = self.node.root().join("run/hull/docker.sock");
        let mut socket = UnixStream::connect(socket).unwrap();
        let (files, args) = (context(FILES), "buildargs=%7B%22hold%22:%221%22%7D");
        let length = files.len();
        write!(
            socket,
            "POST /build?version=2&{args} HTTP/1.0\r\nHost: d\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        socket.write_all(&files).unwrap();
        // Its progress is told: it goes on.
        let mut byte = [0; 256];
        assert!(socket.read(&mut byte).unwrap() > 0);
        socket
    }

    /// Process id of the daemon itself.
    fn process(&self) -> i32 {
        let daemon = self.programs.join("buildkitd").display().to_string();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let is = |entry: &std::fs::DirEntry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|it| {
                String::from_utf8_lossy(&it).starts_with(&format!("{daemon}\x00--config\x00"))
            })
        };
        let found = all.filter(is).find_map(|it| it.file_name().to_string_lossy().parse().ok());
        found.unwrap()
    }
}

fn put_programs(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    std::fs::copy(STAND_IN, directory.join("buildkitd")).unwrap();
    // It runs no steps.
    let runc = directory.join("buildkit-runc");
    std::fs::write(&runc, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(runc, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_first_client_starts_it_and_only_once() {
    let Some(kit) = Kit::start("5m") else { return };
    let ping = kit.docker().get("/_ping").head.to_ascii_lowercase();
    assert!(ping.contains("builder-version: 2\r\n"), "{ping}");
    assert_eq!(kit.kept(), 0);
    assert!(!kit.runs(), "nobody has built");
    kit.behave("slow");
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| kit.build()), scope.spawn(|| kit.build())];
        let _ids = both.map(|build| build.join().unwrap());
    });
    kit.build();
    assert_eq!((kit.starts(), kit.kept()), (1, 3 * SIZE));
}

#[test]
fn it_ends_when_nobody_speaks_to_it_and_what_it_keeps_is_known() {
    let idle = Duration::from_secs(2);
    let Some(kit) = Kit::start("2s") else { return };
    kit.build();
    assert!(kit.runs(), "it stays for the next build");
    let held = kit.held();
    let begun = Instant::now();
    while begun.elapsed() < idle + Duration::from_secs(1) {
        assert!(kit.runs(), "it is spoken to");
    }
    drop(held);
    until("it ends, however often it is asked what it keeps", || {
        assert_eq!(kit.kept(), SIZE);
        (!kit.runs()).then_some(())
    });
    assert_eq!((kit.kept(), kit.starts()), (SIZE, 1), "asking starts nothing");
    kit.build();
    assert_eq!((kit.kept(), kit.starts()), (2 * SIZE, 2));
    let pruned = kit.docker().post("/build/prune?all=1").json();
    assert_eq!(pruned["SpaceReclaimed"], 2 * SIZE, "{pruned}");
    until("it ends again", || (!kit.runs()).then_some(()));
    let df = kit.docker().get("/system/df").json();
    assert_eq!((&df["BuildCache"], kit.starts()), (&Value::Null, 2));
}

#[test]
fn it_ends_with_the_daemon_and_what_it_keeps_is_known_still() {
    let Some(kit) = Kit::start("5m") else { return };
    kit.build();
    until("it is written down", || kit.room().join("kept.json").exists().then_some(()));
    let held = kit.held();
    kit.node.kill_daemon().unwrap();
    until("it ends with the daemon", || (!kit.runs()).then_some(()));
    drop(held);
    assert_eq!(kit.node.up().code, 0);
    assert_eq!((kit.kept(), kit.starts()), (SIZE, 1));
    kit.build();
    assert_eq!((kit.kept(), kit.starts()), (2 * SIZE, 2));
    kit.node.ok(&["down"]);
    until("it ends with the platform", || (!kit.runs()).then_some(()));
}

#[test]
fn one_that_was_killed_is_started_again() {
    let Some(kit) = Kit::start("5m") else { return };
    kit.build();
    // More than once: the next one's cgroup has the same name.
    for round in 2..6 {
        let mut held = kit.held();
        let process = rustix::process::Pid::from_raw(kit.process()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        let mut told = String::new();
        held.read_to_string(&mut told).unwrap();
        assert!(told.contains("\"error\"") && told.contains("BuildKit"), "{told}");
        kit.build();
        assert_eq!(kit.starts(), round);
    }
    let log = kit.node.log();
    assert!(!log.contains("cgroup stays"), "{log}");
}

#[test]
fn one_that_does_not_start_is_told_of() {
    let Some(kit) = Kit::start("5m") else { return };
    kit.behave("refuse");
    let refused = build(&kit.docker(), "version=2", FILES);
    assert_eq!(refused.status, 503, "{}", refused.message());
    let told = refused.message();
    assert!(told.contains("ended at its start") && told.contains("told to refuse"), "{told}");
    assert!(told.contains("build/kit/log"), "{told}");
    until("nothing of it stays", || (!kit.runs()).then_some(()));
    kit.behave("");
    kit.build();
}

#[test]
fn it_is_taken_out_of_its_image() {
    if !able() {
        return;
    }
    let settings = "[build]\nbuildkitd = \"nosuch-buildkitd\"\nbuildkit-image = \"kit:1\"";
    let node = Setup::new().unwrap().settings(settings).start().unwrap();
    let docker = Docker::of(&node);
    let ping = || docker.get("/_ping").head.to_ascii_lowercase();
    assert!(ping().contains("builder-version: 1\r\n"));
    let programs = node.root().join("programs");
    put_programs(&programs);
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["buildkitd", "buildkit-runc"] {
        archive.append_path_with_name(programs.join(name), format!("usr/bin/{name}")).unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let imported = docker.post_tar("/images/create?fromSrc=-&repo=kit&tag=1", &[], &archive);
    assert_eq!(imported.status, 200, "{}", imported.message());
    assert!(ping().contains("builder-version: 2\r\n"));
    made(&build(&docker, "version=2", FILES));
    // Its programs stay where its image does not.
    assert_eq!(docker.delete("/images/kit:1").status, 200);
    assert!(ping().contains("builder-version: 2\r\n"));
    made(&build(&docker, "version=2", FILES));
}
