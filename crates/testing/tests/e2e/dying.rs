//! The platform killed in the middle of each step: the next start goes on from there, and what is
//! removed then leaves nothing.

use serde_json::json;
use testing::inventory::Inventory;
use testing::mortal::Mortal;
use testing::node::{Node, until};

use super::network::free_port;
use super::process::mortal;

/// A node on which an instance is started and removed again, while its daemon dies.
struct Scene {
    node: Mortal,
    port: u16,
    /// What it has when no instance is there.
    empty: Inventory,
}

impl Scene {
    fn start() -> Option<Self> {
        let node = mortal()?;
        let port = free_port();
        // What lasts (image, network, named volume) is made by the first.
        node.ok(&["image", "pull", "busybox"]);
        node.ok(&[RUN, &[&publish(port)], WHAT].concat());
        node.ok(&["rm", "-fv", "one"]);
        // The volume that its image asked for goes after it.
        until("only the named volume is left", || {
            (node.ok(&["volume", "ls", "-o", "name"]) == "named").then_some(())
        });
        let empty = Inventory::at_rest(&node);
        Some(Self { node, port, empty })
    }

    fn dies_at(&self, place: &str, during: &[&str]) {
        self.node.dies_unanswered_at(place, during);
    }

    fn works(&self, place: &str) {
        self.node.await_phase("one", "running");
        let script = "cat /sys/class/net/lo/flags; ls -d /data /n; hostname";
        let inside = self.node.hull(&["exec", "one", "sh", "-c", script]);
        assert_eq!(inside.code, 0, "{place}: {}", inside.stderr);
        let text = inside.text();
        assert!(text.starts_with("0x9\n"), "{place}: loopback is not up: {text}");
        let port = self.port.to_string();
        until(&format!("{place}: its port answers"), || {
            std::net::TcpStream::connect(format!("127.0.0.1:{port}")).ok()
        });
        assert_eq!(self.node.field("one", "/status/containers/0/restarts"), json!(0), "{place}");
    }

    fn leaves_nothing(&self, place: &str) {
        let removed = self.node.hull(&["rm", "-fv", "one"]);
        assert!([0, 3].contains(&removed.code), "{place}: {}", removed.stderr);
        self.empty.await_again(&self.node, place);
    }
}

const RUN: &[&str] = &["run", "-d", "--name", "one", "-v", "named:/n", "--ipc", "shareable"];
/// An image with a volume of its own.
const WHAT: &[&str] = &["redis"];

fn publish(port: u16) -> String {
    format!("--publish={port}:6379")
}

fn starting(places: &[&str]) {
    let Some(it) = Scene::start() else { return };
    let publish = publish(it.port);
    let run = [RUN, &[&publish], WHAT].concat();
    for place in places {
        it.dies_at(place, &run);
        it.works(place);
        it.leaves_nothing(place);
    }
}

#[test]
fn while_it_prepares() {
    starting(&[
        "start",
        "start.image",
        "volume.made",
        "volume.staged",
        "start.volume",
        "network.namespace",
        "network.pair",
        "network.links",
    ]);
}

#[test]
fn while_it_starts() {
    starting(&[
        "start.network",
        "start.files",
        "start.handed",
        "create.layer",
        "volume.filled",
        "start.container",
        "start.prepared",
        "run.shim",
        "run.marked",
        "run.begun",
        "start.run",
        // The node knows that it runs, and has told nobody.
        "saved.running",
    ]);
}

#[test]
fn while_it_stops() {
    let Some(it) = Scene::start() else { return };
    let publish = publish(it.port);
    for place in [
        "stop.signalled",
        "stop.ended",
        "clear.task",
        "release.task",
        "network.withdrawn",
        "network.retired",
        "release.network",
        "release.volume",
    ] {
        it.node.ok(&[RUN, &[&publish], WHAT].concat());
        it.works(place);
        it.dies_at(place, &["stop", "one"]);
        it.node.await_phase("one", "exited");
        assert_eq!(it.node.field("one", "/status/containers/0/exitCode"), json!(0), "{place}");
        it.node.ok(&["start", "one"]);
        it.works(place);
        it.leaves_nothing(place);
    }
}

#[test]
fn while_it_is_removed() {
    let Some(it) = Scene::start() else { return };
    let publish = publish(it.port);
    for place in [
        "clear.task",
        "remove.container",
        "network.withdrawn",
        "network.retired",
        "remove.network",
        "remove.volume",
        "remove.image-volume",
        "forget",
        "remove.forgotten",
    ] {
        it.node.ok(&[RUN, &[&publish], WHAT].concat());
        it.dies_at(place, &["rm", "-fv", "one"]);
        until(&format!("{place}: it is gone"), || it.node.inspect("one").is_none().then_some(()));
        it.leaves_nothing(place);
    }
}

#[test]
fn while_it_has_a_part_of_a_volume() {
    let Some(it) = Scene::start() else { return };
    let mount = "--mount=type=volume,source=named,target=/p,volume-subpath=part";
    let run = ["run", "-d", "--name", "one", mount, "busybox", "sleep", "600"];
    let goes = ["rm", "-fv", "one"];
    for place in ["subpath.place", "subpath.mounted", "volume.part"] {
        it.dies_at(place, &run);
        it.node.await_phase("one", "running");
        assert_eq!(it.node.ok(&["exec", "one", "sh", "-c", "echo in >/p/f; cat /p/f"]), "in");
        it.leaves_nothing(place);
    }
    for place in ["subpath.unmounted", "volume.parts-gone"] {
        it.node.ok(&run);
        it.dies_at(place, &goes);
        it.leaves_nothing(place);
    }
    let read = ["run", "--rm", "-v", "named:/n", "busybox", "cat", "/n/part/f"];
    assert_eq!(it.node.ok(&read), "in", "nothing was removed through a mount");
}

#[test]
fn while_it_pulls() {
    let Some(it) = Scene::start() else { return };
    for place in ["image.layer", "image.bound", "image.named"] {
        it.node.ok(&["image", "rm", "busybox"]);
        let without = Inventory::at_rest(&it.node);
        it.dies_at(place, &["run", "--name", "one", "busybox", "true"]);
        assert!(it.node.inspect("one").is_none(), "{place}: nothing was made yet");
        it.node.ok(&["run", "--rm", "--name", "one", "busybox", "true"]);
        it.node.ok(&["image", "rm", "busybox"]);
        without.await_again(&it.node, place);
        it.node.ok(&["image", "pull", "busybox"]);
        it.leaves_nothing(place);
    }
}

#[test]
fn while_it_starts_again() {
    let Some(it) = Scene::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let bind = format!("{}:/d", dir.path().display());
    let flags = ["run", "-d", "--name", "one", "--restart", "on-failure:1", "-v", &bind];
    let script = "echo run >>/d/runs; until [ -e /d/end ]; do usleep 10000; done; exit 7";
    for place in
        ["again.cleared", "again.counted", "create.layer", "run.shim", "run.marked", "run.begun"]
    {
        for file in ["runs", "end"] {
            let _ = std::fs::remove_file(dir.path().join(file));
        }
        it.node.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
        it.node.dies_while(place, || std::fs::write(dir.path().join("end"), "").unwrap());
        it.node.await_phase("one", "exited");
        assert_eq!(it.node.field("one", "/status/restarts"), json!(1), "{place}");
        assert_eq!(it.node.field("one", "/status/containers/0/exitCode"), json!(7), "{place}");
        let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap();
        assert_eq!(runs, "run\nrun\n", "{place}");
        it.leaves_nothing(place);
    }
}

/// A value of a volume, by JSON pointer.
fn of_volume(node: &Node, name: &str, pointer: &str) -> serde_json::Value {
    let shown = node.hull(&["volume", "show", "-o", "json", name]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    shown.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn while_it_keeps_volumes() {
    let Some(it) = Scene::start() else { return };
    let ready = |name: &str| {
        let phase = || (of_volume(&it.node, name, "/status/phase") == "ready").then_some(());
        until(&format!("{name} is ready"), phase);
    };
    it.dies_at("storage.made", &["volume", "create", "--size", "32m", "kept"]);
    ready("kept");
    let write = ["run", "--rm", "-v", "kept:/d", "busybox", "sh", "-c", "echo kept >/d/f"];
    it.node.ok(&write);
    it.dies_at("storage.grown", &["volume", "grow", "kept", "64m"]);
    until("it has grown", || {
        (of_volume(&it.node, "kept", "/status/size") == json!(64 << 20)).then_some(())
    });
    it.dies_at("storage.taken", &["volume", "snapshot", "kept", "then"]);
    until("it is taken", || it.node.ok(&["volume", "snapshots"]).contains("ready").then_some(()));
    it.dies_at("storage.made", &["volume", "restore", "then", "back"]);
    ready("back");
    it.dies_at("storage.made", &["volume", "clone", "kept", "twin"]);
    ready("twin");
    for name in ["kept", "back", "twin"] {
        let read = ["run", "--rm", "-v", &format!("{name}:/d"), "busybox", "cat", "/d/f"];
        assert_eq!(it.node.ok(&read), "kept", "{name}");
        it.dies_at("storage.removed", &["volume", "rm", name]);
        let gone = || (it.node.hull(&["volume", "show", name]).code == 3).then_some(());
        until(&format!("{name} is gone"), gone);
    }
    it.dies_at("storage.dropped", &["volume", "rm-snapshot", "then"]);
    until("it is dropped", || {
        it.node.ok(&["volume", "snapshots", "-o", "name"]).is_empty().then_some(())
    });
    it.empty.await_again(&it.node, "volumes and snapshots");
}

#[test]
fn while_it_makes_networks() {
    let Some(it) = Scene::start() else { return };
    let places = [
        ("networks.bridge", true),
        ("network.bridge", true),
        ("networks.applied", true),
        ("networks.closed", false),
        ("networks.removed", false),
    ];
    for (place, comes) in places {
        it.node.ok(&["network", "create", "--ipv6", "short"]);
        let run = ["run", "-d", "--name", "one", "--network", "short", "busybox", "sleep", "600"];
        let goes = ["network", "rm", "short"];
        if comes {
            it.dies_at(place, &run);
            it.node.await_phase("one", "running");
            let found = ["exec", "one", "nslookup", "-type=aaaa", "one"];
            let named = || (it.node.hull(&found).code == 0).then_some(());
            until(&format!("{place}: its name is answered"), named);
            it.node.ok(&["rm", "-f", "one"]);
            it.node.ok(&goes);
        } else {
            it.node.ok(&run);
            it.node.ok(&["rm", "-f", "one"]);
            it.dies_at(place, &goes);
        }
        let gone = || (it.node.hull(&["network", "show", "short"]).code == 3).then_some(());
        until(&format!("{place}: the network is gone"), gone);
        it.leaves_nothing(place);
    }
}

#[test]
fn while_it_joins_networks() {
    let Some(it) = Scene::start() else { return };
    let create = ["network", "create", "--subnet", "198.18.78.0/24", "second"];
    it.node.ok(&create);
    for place in ["networks.bridge", "network.pair", "network.links", "rejoin.attached"] {
        it.node.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "600"]);
        let pid = it.node.field("one", "/status/containers/0/pid");
        it.dies_at(place, &["network", "connect", "--ip", "198.18.78.9", "second", "one"]);
        let seen = || it.node.hull(&["exec", "one", "ip", "-o", "-4", "addr"]).text();
        until(&format!("{place}: it is joined"), || seen().contains("eth1").then_some(()));
        it.node.ok(&["network", "disconnect", "second", "one"]);
        assert!(!seen().contains("eth1"), "{place}");
        assert_eq!(it.node.field("one", "/status/containers/0/pid"), pid, "{place}");
        it.node.ok(&["rm", "-f", "one"]);
        // Its bridge goes with the network, so that the next one makes it anew.
        it.node.ok(&["network", "rm", "second"]);
        it.node.ok(&create);
    }
    it.node.ok(&["network", "rm", "second"]);
    it.leaves_nothing("networks joined");
}

#[test]
fn while_it_runs_what_comes_first() {
    let Some(it) = Scene::start() else { return };
    let spec = "
init:
  - {name: prepare, image: busybox, command: [sh, -c, 'echo prepared >/n/f'], mounts: [
      {type: volume, name: named, target: /n}]}
containers:
  - {name: main, image: busybox, command: [sleep, '600'], mounts: [
      {type: volume, name: named, target: /n}]}
";
    let file = it.node.root().join("init.yaml");
    std::fs::write(&file, spec).unwrap();
    it.dies_at("start.init", &["run", "-d", "--name", "one", "-f", file.to_str().unwrap()]);
    it.node.await_phase("one", "running");
    assert_eq!(it.node.ok(&["exec", "one", "cat", "/n/f"]), "prepared");
    assert_eq!(it.node.field("one", "/status/restarts"), json!(0));
    it.leaves_nothing("start.init");
}
