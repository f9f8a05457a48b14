//! Volumes of Docker's plugins: a plugin that works, that fails, that is slow, that lies, and a platform
//! that dies while it speaks to one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::docker::Docker;
use testing::mortal::Mortal;
use testing::node::{Node, until};
use testing::plugin::Plugin;

use super::process::{Named, mortal, node};

fn ready(plugin: &str) -> Option<(&'static Node, Plugin)> {
    let node = node()?;
    node.ok(&["image", "pull", "-q", "busybox"]);
    let plugin = Plugin::start(node.root(), plugin).unwrap();
    Some((node, plugin))
}

/// A container that Docker's words make and start.
fn run(docker: &Docker<'_>, name: &str, host: Value, script: &str) -> (u16, String) {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host });
    let made = docker.post_json(&format!("/containers/create?name={name}"), &body);
    if made.status != 201 {
        return (made.status, made.message());
    }
    let started = docker.post(&format!("/containers/{name}/start"));
    (started.status, started.message())
}

fn no_users(plugin: &Plugin, volume: &str) {
    until(&format!("nobody mounts {volume}"), || plugin.users(volume).is_empty().then_some(()));
}

fn volume(docker: &Docker<'_>, name: &str) -> Value {
    docker.get(&format!("/volumes/{name}")).json()
}

#[test]
fn a_plugins_volume_from_making_to_removing() {
    let Some((node, plugin)) = ready("vp-life") else { return };
    let docker = Docker::of(node);
    let info = docker.get("/info").json();
    let drivers = info["Plugins"]["Volume"].as_array().unwrap();
    assert!(drivers.contains(&json!("local")) && drivers.contains(&json!("vp-life")), "{info}");
    assert_eq!(docker.get("/plugins").json(), json!([]), "none that Engine would manage");

    let asked = json!({
        "Name": "vp-a", "Driver": "vp-life", "DriverOpts": {"size": "3"}, "Labels": {"a": "b"}
    });
    let made = docker.post_json("/volumes/create", &asked);
    assert_eq!(made.status, 201, "{}", made.message());
    assert_eq!(made.json()["Driver"], "vp-life");
    assert_eq!(docker.post_json("/volumes/create", &asked).status, 201, "a second time");
    assert_eq!(plugin.done("Create", "vp-a"), 1);
    let shown = volume(&docker, "vp-a");
    let path = plugin.volume("vp-a").display().to_string();
    assert_eq!(shown["Options"], json!({"size": "3"}));
    assert_eq!(shown["Scope"], "global");
    assert_eq!(shown["Status"], json!({"kind": "directory", "users": 0}));
    assert_eq!(shown["Mountpoint"], path);
    let other = json!({ "Name": "vp-a", "Driver": "local" });
    let refused = docker.post_json("/volumes/create", &other);
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.message(),
        "create vp-a: driver 'vp-life' already has volume 'vp-a': volume name must be unique"
    );

    // Two users, each of whom the plugin hears once.
    let (_one, _two) = (Named(node, "vp-one"), Named(node, "vp-two"));
    let host = json!({ "Binds": ["vp-a:/d"] });
    let first = run(&docker, "vp-one", host.clone(), "echo first >/d/f; exec sleep 600");
    assert_eq!(first, (204, String::new()));
    let second = run(&docker, "vp-two", host, "cat /d/f; exec sleep 600");
    assert_eq!(second, (204, String::new()));
    until("the second reads what the first wrote", || {
        node.ok(&["logs", "vp-two"]).contains("first").then_some(())
    });
    assert_eq!(plugin.users("vp-a").len(), 2);
    let point = || docker.get("/containers/vp-two/json").json()["Mounts"][0].clone();
    assert_eq!(point()["Driver"], "vp-life");
    until("the mount is told", || (point()["Source"] == path).then_some(()));
    assert_eq!(docker.delete("/volumes/vp-a").status, 409, "it is in use");
    node.ok(&["rm", "-f", "vp-one"]);
    assert_eq!(plugin.users("vp-a").len(), 1, "the other still has it");
    node.ok(&["stop", "-t", "0", "vp-two"]);
    no_users(&plugin, "vp-a");
    node.ok(&["start", "vp-two"]);
    assert_eq!(plugin.users("vp-a").len(), 1);
    node.ok(&["rm", "-f", "vp-two"]);
    no_users(&plugin, "vp-a");
    let counts = || (plugin.done("Mount", "vp-a"), plugin.done("Unmount", "vp-a"));
    // It writes a call down after it did what was asked.
    until("as many unmounts as mounts", || {
        let (up, down) = counts();
        (up == down).then_some(())
    });

    // Others may use what a plugin has: only who names it removes it. Not all are pruned here, as other
    // tests have volumes on this node.
    let all = "%7B%22all%22%3A%5B%22true%22%5D%2C%22label%22%3A%5B%22a%3Db%22%5D%7D";
    assert_eq!(docker.post(&format!("/volumes/prune?filters={all}")).status, 200);
    assert!(!node.ok(&["volume", "prune", "--all", "--plan"]).contains("vp-a"));
    assert!(plugin.volume("vp-a").join("f").is_file());
    assert_eq!(docker.delete("/volumes/vp-a").status, 204);
    assert!(!plugin.volume("vp-a").exists());
    assert_eq!(docker.delete("/volumes/vp-a").status, 404);
}

#[test]
fn volumes_that_only_the_plugin_knows() {
    let Some((node, plugin)) = ready("vp-far") else { return };
    let docker = Docker::of(node);
    for name in ["far-a", "far-b"] {
        std::fs::create_dir(plugin.volume(name)).unwrap();
        std::fs::write(plugin.volume(name).join("f"), "from afar").unwrap();
    }
    let listed = docker.get("/volumes?filters=%7B%22driver%22%3A%5B%22vp-far%22%5D%7D").json();
    let names: Vec<_> =
        listed["Volumes"].as_array().unwrap().iter().map(|it| &it["Name"]).collect();
    assert_eq!(names, ["far-a", "far-b"], "{listed}");
    assert_eq!(volume(&docker, "far-a")["Driver"], "vp-far");
    // A container that names one gets that one, and not a new one.
    let _it = Named(node, "far-one");
    let host = json!({ "Binds": ["far-a:/d"] });
    assert_eq!(run(&docker, "far-one", host, "cat /d/f").0, 204);
    until("it is read", || node.ok(&["logs", "far-one"]).contains("from afar").then_some(()));
    node.ok(&["rm", "-f", "far-one"]);
    for name in ["far-a", "far-b"] {
        assert_eq!(docker.delete(&format!("/volumes/{name}")).status, 204);
        assert!(!plugin.volume(name).exists());
    }
}

#[test]
fn a_driver_is_named_where_docker_names_it() {
    let Some((node, plugin)) = ready("vp-ways") else { return };
    let docker = Docker::of(node);
    let driver = json!({ "Name": "vp-ways", "Options": {"o": "1"} });
    let ways = [
        json!({ "Binds": ["ways-a:/d"], "VolumeDriver": "vp-ways" }),
        json!({ "Mounts": [{
            "Type": "volume", "Source": "ways-b", "Target": "/d",
            "VolumeOptions": { "DriverConfig": driver, "NoCopy": true }
        }] }),
    ];
    for (name, host) in ["ways-a", "ways-b"].into_iter().zip(ways) {
        let _it = Named(node, "ways-one");
        assert_eq!(run(&docker, "ways-one", host, "echo x >/d/f"), (204, String::new()));
        until("it is written", || plugin.volume(name).join("f").is_file().then_some(()));
        assert_eq!(docker.delete("/containers/ways-one?force=1").status, 204);
        no_users(&plugin, name);
        assert_eq!(docker.delete(&format!("/volumes/{name}")).status, 204);
    }
    // The same by the platform's own words.
    node.ok(&["volume", "create", "--driver", "vp-ways", "--opt", "x=y", "ways-c"]);
    let shown: Value =
        serde_json::from_str(&node.ok(&["volume", "show", "-o", "json", "ways-c"])).unwrap();
    assert_eq!(shown["spec"]["storage"], "vp-ways");
    assert_eq!(shown["status"]["format"], "plugin");
    node.ok(&["run", "--rm", "-v", "ways-c:/d", "busybox", "touch", "/d/f"]);
    assert!(plugin.volume("ways-c").join("f").is_file());
    no_users(&plugin, "ways-c");
    for refused in [
        &["volume", "create", "--driver", "vp-ways", "--size", "16m", "ways-d"][..],
        &["volume", "create", "--driver", "vp-absent", "ways-d"],
        &["volume", "snapshot", "ways-c", "ways-s"],
        &["volume", "clone", "ways-c", "ways-d"],
        &["volume", "rename", "ways-c", "ways-d"],
    ] {
        let outcome = node.hull(refused);
        assert_ne!(outcome.code, 0, "{refused:?}");
        assert!(outcome.stderr.contains("vp-"), "{refused:?}: {}", outcome.stderr);
    }
    node.ok(&["volume", "rm", "ways-c"]);
    assert!(!plugin.volume("ways-c").exists());
    // What is not served is said so.
    for (path, body, status) in [
        ("/volumes/create", json!({ "Name": "x1", "Driver": "vp-absent" }), 404),
        ("/networks/create", json!({ "Name": "x1", "Driver": "vp-ways" }), 501),
        ("/networks/create", json!({ "Name": "x1", "IPAM": { "Driver": "vp-ways" } }), 501),
        ("/networks/create", json!({ "Name": "x1", "Driver": "vp-absent" }), 404),
        (
            "/containers/create",
            json!({ "Image": "busybox", "Volumes": {"/d": {}}, "HostConfig": { "VolumeDriver": "vp-ways" } }),
            501,
        ),
        (
            "/containers/create",
            json!({ "Image": "busybox", "HostConfig": { "VolumeDriver": "vp-absent" } }),
            404,
        ),
    ] {
        let reply = docker.post_json(path, &body);
        assert_eq!(reply.status, status, "{body}: {}", reply.message());
        assert!(reply.message().contains("plugin") || status == 501, "{}", reply.message());
    }
}

#[test]
fn a_plugin_that_says_no() {
    let Some((node, plugin)) = ready("vp-no") else { return };
    let docker = Docker::of(node);
    let create = |name: &str, options: Value| {
        let body = json!({ "Name": name, "Driver": "vp-no", "DriverOpts": options });
        docker.post_json("/volumes/create", &body)
    };
    let refused = create("no-a", json!({ "fail": "you" }));
    assert_eq!(refused.status, 500);
    assert!(
        refused.message().starts_with("create no-a: no volume for you"),
        "{}",
        refused.message()
    );
    until("nothing is left of it", || (docker.get("/volumes/no-a").status == 404).then_some(()));

    assert_eq!(create("no-b", json!({})).status, 201);
    plugin.behave(&json!({ "VolumeDriver.Mount": { "error": "no disk" } })).unwrap();
    let _it = Named(node, "no-one");
    let host = json!({ "Binds": ["no-b:/d"] });
    let (status, message) = run(&docker, "no-one", host, "true");
    assert!(status >= 400 && message.contains("no disk"), "{status} {message}");
    assert!(message.contains("vp-no"), "it names the plugin: {message}");
    docker.delete("/containers/no-one?force=1");
    assert_eq!(plugin.users("no-b"), [""; 0]);

    plugin.behave(&json!({ "VolumeDriver.Remove": { "error": "I want it" } })).unwrap();
    let stays = docker.delete("/volumes/no-b");
    assert_eq!(stays.status, 500);
    assert!(
        stays.message().starts_with("remove no-b: VolumeDriver.Remove: I want it"),
        "{}",
        stays.message()
    );
    assert_eq!(volume(&docker, "no-b")["Name"], "no-b", "it stays, and can be used");
    let native = node.hull(&["volume", "rm", "no-b"]);
    assert!(native.code != 0 && native.stderr.contains("I want it"), "{}", native.stderr);
    // By force it is forgotten.
    assert_eq!(docker.delete("/volumes/no-b?force=1").status, 204);
    assert_eq!(node.hull(&["volume", "show", "no-b"]).code, 3);
    assert!(plugin.volume("no-b").is_dir());
}

#[test]
fn a_plugin_that_is_gone() {
    let Some((node, mut plugin)) = ready("vp-gone") else { return };
    let docker = Docker::of(node);
    let create = |name: &str| {
        docker.post_json("/volumes/create", &json!({ "Name": name, "Driver": "vp-gone" }))
    };
    assert_eq!(create("gone-a").status, 201);
    let _it = Named(node, "gone-one");
    let host = json!({ "Binds": ["gone-a:/d"] });
    assert_eq!(run(&docker, "gone-one", host.clone(), "exec sleep 600").0, 204);
    plugin.kill();

    // Who uses its volume goes on, and can be stopped; the plugin is told when it is there again.
    assert_eq!(node.ok(&["exec", "gone-one", "ls", "-d", "/d"]), "/d");
    let begun = Instant::now();
    assert_eq!(docker.delete("/containers/gone-one?force=1").status, 204);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let failed = create("gone-b");
    assert_eq!(failed.status, 500);
    assert!(
        failed.message().contains("plugin \"vp-gone\" does not listen"),
        "{}",
        failed.message()
    );
    assert!(failed.message().contains("start the plugin"), "{}", failed.message());
    let _other = Named(node, "gone-two");
    let (status, message) = run(&docker, "gone-two", host.clone(), "true");
    assert!(status >= 500 && message.contains("does not listen"), "{status} {message}");
    docker.delete("/containers/gone-two?force=1");
    let stays = docker.delete("/volumes/gone-a");
    assert!(stays.status == 500 && stays.message().contains("does not listen"), "{stays:?}");
    let listed = docker.get("/volumes").json();
    assert!(listed["Warnings"].to_string().contains("vp-gone"), "{listed}");
    assert!(listed["Volumes"].to_string().contains("gone-a"), "{listed}");
    // Nobody else notices.
    assert_eq!(docker.post_json("/volumes/create", &json!({ "Name": "gone-c" })).status, 201);
    assert_eq!(docker.delete("/volumes/gone-c").status, 204);

    plugin.begin().unwrap();
    no_users(&plugin, "gone-a");
    let counts = || (plugin.done("Mount", "gone-a"), plugin.done("Unmount", "gone-a"));
    // It writes a call down after it did what was asked.
    until("as many unmounts as mounts", || {
        let (up, down) = counts();
        (up == down).then_some(())
    });
    assert_eq!(run(&docker, "gone-three", host, "true").0, 204);
    node.ok(&["rm", "-f", "gone-three"]);
    no_users(&plugin, "gone-a");
    assert_eq!(docker.delete("/volumes/gone-a").status, 204);
    // One that will never be there again is forgotten by force.
    assert_eq!(create("gone-d").status, 201);
    plugin.vanish();
    assert_eq!(docker.delete("/volumes/gone-d").status, 500);
    assert_eq!(docker.delete("/volumes/gone-d?force=1").status, 204);
    plugin.begin().unwrap();
    assert_eq!(create("gone-e").status, 201);
    plugin.vanish();
    assert_ne!(node.hull(&["volume", "rm", "gone-e"]).code, 0);
    node.ok(&["volume", "rm", "--forget", "gone-e"]);
    assert_eq!(node.hull(&["volume", "show", "gone-e"]).code, 3);
}

#[test]
fn a_plugin_that_is_slow() {
    let Some((node, plugin)) = ready("vp-slow") else { return };
    let docker = Docker::of(node);
    let body = json!({ "Name": "slow-a", "Driver": "vp-slow" });
    assert_eq!(docker.post_json("/volumes/create", &body).status, 201);
    let _it = Named(node, "slow-one");
    let host = json!({ "Binds": ["slow-a:/d"] });
    assert_eq!(run(&docker, "slow-one", host, "exec sleep 600").0, 204);
    let hang = json!({ "delay": 30 });
    plugin.behave(&json!({ "*": hang })).unwrap();
    let begun = Instant::now();
    let took = || begun.elapsed() < Duration::from_secs(15);
    let listed = docker.get("/volumes").json();
    assert!(listed["Warnings"].to_string().contains("did not answer"), "{listed}");
    assert_eq!(docker.get("/info").status, 200);
    assert_eq!(docker.get("/volumes/slow-a").status, 500);
    assert!(took(), "who looks waits little: {:?}", begun.elapsed());
    // A parting user does not wait for ever, and others start and end as ever.
    let removing = std::thread::scope(|scope| {
        let begun = Instant::now();
        let removing = scope.spawn(|| docker_remove(node, "slow-one"));
        let outcome = node.ok(&["run", "--rm", "-v", "slow-x:/d", "busybox", "echo", "fine"]);
        assert_eq!(outcome, "fine");
        node.ok(&["volume", "rm", "slow-x"]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        removing.join().unwrap()
    });
    assert!(removing < Duration::from_secs(25), "{removing:?}");
    plugin.behave(&json!({})).unwrap();
    no_users(&plugin, "slow-a");
    assert_eq!(docker.delete("/volumes/slow-a").status, 204);
}

fn docker_remove(node: &Node, name: &str) -> Duration {
    let begun = Instant::now();
    assert_eq!(Docker::of(node).delete(&format!("/containers/{name}?force=1")).status, 204);
    begun.elapsed()
}

#[test]
fn a_plugin_that_lies() {
    let Some((node, plugin)) = ready("vp-liar") else { return };
    let docker = Docker::of(node);
    let body = json!({ "Name": "liar-a", "Driver": "vp-liar" });
    assert_eq!(docker.post_json("/volumes/create", &body).status, 201);
    let state = node.root().join("var/lib/hull");
    let (own, above) = (state.join("logs"), node.root().to_owned());
    let link = node.root().join("plugin/vp-liar/link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    let at = |path: &Path| json!({ "answer": { "Mountpoint": path, "Err": "" } });
    for (lie, word) in [
        (at(Path::new("relative")), "make no sense"),
        (at(Path::new("")), "make no sense"),
        (at(Path::new("/")), "make no sense"),
        (at(Path::new("/tmp/../etc")), "make no sense"),
        (at(&link), "platform's own"),
        (at(&own), "platform's own"),
        (at(&above), "platform's own"),
        (at(Path::new("/etc/hostname")), "no directory"),
        (at(Path::new("/no/such/place")), "cannot be reached"),
        (json!({ "answer": { "Mountpoint": ["/tmp"] } }), "make no sense"),
        (json!({ "raw": "<html>" }), "make no sense"),
        (json!({ "raw": "" }), "make no sense"),
        (json!({ "huge": 32 << 20 }), "no whole answer"),
        (
            json!({ "answer": {}, "status": 404, "raw": "404 page not found\u{7}" }),
            "404 page not found",
        ),
        (json!({ "die": true }), "no whole answer"),
    ] {
        let mut plugin_again = None;
        plugin.behave(&json!({ "VolumeDriver.Mount": lie })).unwrap();
        let host = json!({ "Binds": ["liar-a:/d"] });
        let (status, message) = run(&docker, "liar-one", host, "true");
        assert!(status >= 400 && message.contains(word), "{lie}: {status} {message}");
        assert!(!message.contains('\u{7}'), "{message:?}");
        plugin.behave(&json!({})).unwrap();
        if lie.get("die").is_some() {
            plugin_again = Some(Plugin::start(node.root(), "vp-liar").unwrap());
        }
        docker.delete("/containers/liar-one?force=1");
        no_users(plugin_again.as_ref().unwrap_or(&plugin), "liar-a");
    }
}

/// A platform that dies at each place while it speaks to a plugin.
struct Scene {
    node: Mortal,
    plugin: Plugin,
}

impl Scene {
    fn start() -> Option<Self> {
        let node = mortal()?;
        node.ok(&["image", "pull", "-q", "busybox"]);
        let plugin = Plugin::start(node.root(), "mortal").unwrap();
        Some(Self { node, plugin })
    }

    fn dies_at(&self, place: &str, during: &[&str]) {
        self.node.dies_unanswered_at(place, during);
    }

    fn balanced(&self, place: &str) {
        no_users(&self.plugin, "v");
        let (mounts, unmounts) = (self.plugin.done("Mount", "v"), self.plugin.done("Unmount", "v"));
        assert_eq!(mounts, unmounts, "{place}: each mount is taken back once");
    }
}

#[test]
fn killed_while_a_plugin_makes_and_removes() {
    let Some(it) = Scene::start() else { return };
    let state = || {
        let outcome = it.node.hull(&["volume", "show", "-o", "json", "v"]);
        let shown: Value = serde_json::from_slice(&outcome.stdout).unwrap_or_default();
        shown["status"]["phase"].as_str().map(str::to_owned)
    };
    for place in ["plugin.making", "plugin.made"] {
        it.dies_at(place, &["volume", "create", "--driver", "mortal", "v"]);
        until(&format!("{place}: it is ready"), || (state()? == "ready").then_some(()));
        assert!(it.plugin.volume("v").is_dir(), "{place}");
        it.node.ok(&["volume", "rm", "v"]);
        assert!(!it.plugin.volume("v").exists(), "{place}");
    }
    for place in ["plugin.removed", "storage.removed"] {
        it.node.ok(&["volume", "create", "--driver", "mortal", "v"]);
        it.dies_at(place, &["volume", "rm", "v"]);
        until(&format!("{place}: it is gone"), || state().is_none().then_some(()));
        assert!(!it.plugin.volume("v").exists(), "{place}");
    }
    let records = it.node.root().join("var/lib/hull/plugin-volumes");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0, "nothing is remembered");
}

#[test]
fn killed_while_a_plugin_mounts_and_unmounts() {
    let Some(it) = Scene::start() else { return };
    it.node.ok(&["volume", "create", "--driver", "mortal", "v"]);
    let run = ["run", "-d", "--name", "one", "-v", "v:/d", "busybox", "sh", "-c", "exec sleep 600"];
    for place in ["plugin.mounting", "plugin.mounted", "volume.claimed", "start.volume"] {
        it.dies_at(place, &run);
        it.node.await_phase("one", "running");
        until(&format!("{place}: its volume can be written"), || {
            (it.node.hull(&["exec", "one", "touch", "/d/f"]).code == 0).then_some(())
        });
        assert_eq!(it.plugin.users("v").len(), 1, "{place}");
        it.node.ok(&["rm", "-f", "one"]);
        it.balanced(place);
    }
    for place in ["plugin.leaving", "plugin.left", "release.volume"] {
        it.node.ok(&run);
        it.dies_at(place, &["stop", "-t", "0", "one"]);
        it.node.await_phase("one", "exited");
        no_users(&it.plugin, "v");
        it.node.ok(&["start", "one"]);
        assert_eq!(it.plugin.users("v").len(), 1, "{place}");
        it.node.ok(&["rm", "-f", "one"]);
        it.balanced(place);
    }
    it.node.ok(&["volume", "rm", "v"]);
    assert!(!it.plugin.volume("v").exists());
}
