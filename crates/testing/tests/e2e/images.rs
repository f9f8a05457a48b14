//! Images: from registries and to them, in archives and out of them, and what their names mean.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use testing::cable::{Cable, Way};
use testing::node::{Node, Outcome, REGISTRY, Setup, until};
use testing::registry::{PASSWORD, Registry, Request, USER};

use super::process::{Named, able, node};

/// Where containerd keeps what it fetches.
pub fn store(node: &Node) -> PathBuf {
    node.root().join("var/lib/hull/containerd/data/io.containerd.content.v1.content")
}

/// Everything known of an image.
fn show(node: &Node, name: &str) -> Value {
    serde_json::from_str(&node.ok(&["image", "show", "-o", "json", name])).unwrap()
}

/// All names of images here, in full.
fn names(node: &Node) -> BTreeSet<String> {
    let list: Value = serde_json::from_str(&node.ok(&["image", "ls", "-o", "json"])).unwrap();
    let images = list.as_array().unwrap().iter();
    let names = images.flat_map(|image| image["names"].as_array().unwrap().iter());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Puts a starter image into a registry under another name, which stays here too.
fn publish(node: &Node, registry: &Registry, image: &str, name: &str) -> String {
    let name = registry.name(name);
    node.ok(&["image", "pull", "-q", image]);
    node.ok(&["image", "tag", image, &name]);
    node.ok(&["image", "push", &name]);
    name
}

fn login(node: &Node, registry: &str, password: &str) -> Outcome {
    let words = ["image", "login", "-u", USER, "--password-stdin", registry];
    node.hull_with(&words, Some(format!("{password}\n").as_bytes()))
}

#[test]
fn a_registry_that_asks_who_is_there() {
    let Some(node) = node() else { return };
    let registry = Registry::guarded().unwrap();
    let (address, name) = (registry.address.to_string(), registry.name("lab/app:1"));
    node.ok(&["image", "pull", "-q", "hull-test/busybox:layers"]);
    node.ok(&["image", "tag", "hull-test/busybox:layers", &name]);
    let push = node.hull(&["image", "push", &name]);
    assert_eq!(push.code, 1, "{}", push.stderr);
    assert!(push.stderr.contains(&format!("hull image login {address}")), "{}", push.stderr);
    let wrong = login(node, &address, "guess");
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert_eq!(login(node, &address, PASSWORD).code, 0);

    // As docker's, and for root alone.
    let path = node.root().join("var/lib/hull/registry/config.json");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(kept["auths"][&address]["auth"], "YW5uOnMzY3JldC13b3Jk");
    assert!(!node.log().contains(PASSWORD));

    node.ok(&["image", "push", &name]);
    let pushed = registry.manifest("lab/app", "1");
    assert_eq!(pushed["digest"], show(node, &name)["digest"]);
    node.ok(&["image", "rm", &name]);
    node.ok(&["image", "pull", &name]);
    assert_eq!(pushed["digest"], show(node, &name)["digest"]);
    assert_eq!(node.ok(&["run", "--rm", &name, "cat", "/stack/replaced"]), "upper");

    node.ok(&["image", "logout", &address]);
    node.ok(&["image", "rm", &name]);
    let pull = node.hull(&["image", "pull", &name]);
    assert_eq!(pull.code, 3, "{}", pull.stderr);
    assert!(pull.stderr.contains("log in first"), "{}", pull.stderr);
    assert_eq!(node.hull(&["image", "logout", &address]).code, 3);
}

/// Five packings of one image: each name means the manifest that the registry has under it, though
/// all lead to one configuration.
#[test]
fn each_name_means_its_own_manifest() {
    let Some(node) = node() else { return };
    let registry = Registry::open().unwrap();
    let mut digests = BTreeMap::new();
    for variant in ["zstd", "plain", "docker", "multi", "zstd"] {
        let name = format!("hull-test/busybox:{variant}");
        let pulled = node.ok(&["image", "pull", &name]);
        let digest = show(node, &name)["digest"].as_str().unwrap().to_owned();
        assert!(pulled.contains(&digest[..18]), "{pulled}, not {digest}");
        assert_eq!(node.ok(&["run", "--rm", &name, "echo", variant]), variant);
        digests.insert(variant, digest);
    }
    let different: BTreeSet<_> = digests.values().collect();
    assert_eq!(different.len(), 4, "{digests:?}");
    assert!(node.ok(&["image", "pull", "hull-test/busybox:multi"]).contains("(unchanged)"));
    let layer = |tag: &str| {
        let name =
            publish(node, &registry, &format!("hull-test/busybox:{tag}"), &format!("b:{tag}"));
        node.ok(&["image", "rm", &name]);
        let manifest = registry.manifest("b", tag);
        assert_eq!(manifest["digest"], digests[tag].as_str());
        manifest["manifest"]["layers"][0]["mediaType"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(layer("zstd"), "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(layer("plain"), "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(layer("docker"), "application/vnd.docker.image.rootfs.diff.tar.gzip");
    // By digest too, from where the name is known.
    let by_digest = format!("hull-test/busybox@{}", digests["plain"]);
    node.ok(&["image", "pull", &by_digest]);
    assert_eq!(show(node, &by_digest)["digest"], digests["plain"].as_str());
    assert_eq!(node.ok(&["run", "--rm", &by_digest, "echo", "by digest"]), "by digest");
}

#[test]
fn ten_pulls_make_one_download() {
    let Some(node) = node() else { return };
    let registry = Registry::open().unwrap();
    let name = publish(node, &registry, "hull-test/busybox:layers", "ten/app:1");
    let before = registry.downloads().len();
    for image in [&name, "hull-test/busybox:layers"] {
        node.ok(&["image", "rm", image]);
    }
    std::thread::scope(|scope| {
        let pulls: Vec<_> =
            (0..10).map(|_| scope.spawn(|| node.hull(&["image", "pull", &name]))).collect();
        for pull in pulls {
            let pull = pull.join().unwrap();
            assert_eq!(pull.code, 0, "{}", pull.stderr);
            assert!(pull.text().starts_with(&name), "{}", pull.text());
        }
    });
    let downloads = registry.downloads().split_off(before);
    let blobs: BTreeSet<_> = downloads.iter().map(|request| &request.path).collect();
    // Two small layers and the configuration; the large one is here under other names.
    assert!(blobs.len() >= 3 && blobs.len() == downloads.len(), "{downloads:?}");
    node.ok(&["image", "rm", &name]);
}

/// What was sent of the largest blob.
fn of_largest(downloads: &[Request]) -> Vec<Request> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for request in downloads {
        *sums.entry(&request.path).or_default() += request.bytes;
    }
    let largest = sums.iter().max_by_key(|(_, bytes)| **bytes).map(|(path, _)| (*path).to_owned());
    let largest = largest.unwrap();
    downloads.iter().filter(|request| request.path == largest).cloned().collect()
}

/// An image of one layer of so many bytes that do not compress, pushed and gone again; its id.
fn publish_noise(node: &Node, name: &str, bytes: usize) -> Value {
    // xorshift64.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let noise: Vec<u8> = (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect();
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "noise", noise.as_slice()).unwrap();
    let rootfs = builder.into_inner().unwrap();
    let import = node.hull_with(&["image", "import", "--name", name, "-"], Some(&rootfs));
    assert_eq!(import.code, 0, "{}", import.stderr);
    let id = show(node, name)["id"].clone();
    node.ok(&["image", "push", name]);
    node.ok(&["image", "prune", "-a"]);
    id
}

#[test]
fn a_download_that_breaks_is_gone_on_with() {
    const SIZE: u64 = 8 << 20;
    if !able() {
        return;
    }
    let (node, registry) = (Node::start().unwrap(), Registry::open().unwrap());
    let cable = Cable::to(registry.address, Way::Back).unwrap();
    let id = publish_noise(&node, &registry.name("big:1"), SIZE as usize);
    let name = format!("{}/big:1", cable.address);

    cable.break_after(3 << 20);
    node.ok(&["image", "pull", &name]);
    assert_eq!(show(&node, &name)["id"], id);
    let parts = of_largest(&registry.downloads());
    assert!(parts.len() > 2 && parts[1..].iter().all(|part| part.status == 206), "{parts:?}");
    node.ok(&["image", "prune", "-a"]);

    // Now caller and daemon die in the middle.
    let before = registry.downloads().len();
    cable.hang_after(5 << 20);
    let mut pull = node.command(&["image", "pull", &name]);
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let most = until("a part has arrived", || {
        let ingests = std::fs::read_dir(store(&node).join("ingest")).ok()?.flatten();
        let sizes = ingests.filter_map(|ingest| ingest.path().join("data").metadata().ok());
        sizes.map(|data| data.len()).max().filter(|most| *most >= 1 << 20)
    });
    pull.kill().unwrap();
    pull.wait().unwrap();
    node.kill_daemon().unwrap();
    node.await_ready();
    assert!(!names(&node).contains(&name), "half an image is seen");
    cable.mend();
    node.ok(&["image", "pull", &name]);
    assert_eq!(show(&node, &name)["id"], id);
    let last = of_largest(&registry.downloads().split_off(before)).pop().unwrap();
    assert_eq!(last.status, 206);
    assert!(last.bytes <= SIZE + 4096 - most, "{} bytes came again", last.bytes);
}

#[test]
fn an_interrupted_push_is_cheap_to_repeat() {
    let Some(node) = node() else { return };
    let registry = Registry::open().unwrap();
    let cable = Cable::to(registry.address, Way::There).unwrap();
    node.ok(&["image", "pull", "-q", "nginx"]);
    let name = format!("{}/push/app:1", cable.address);
    node.ok(&["image", "tag", "nginx", &name]);
    // The small layers get through, the large one does not; then the caller gives up.
    cable.hang_after(8 << 20);
    let mut push = node.command(&["image", "push", &name]);
    let mut push = push.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let sent = |requests: &[Request]| {
        let done = requests.iter().filter(|r| r.method == "PUT" && r.status == 201);
        done.filter(|request| request.path.contains("/blobs/uploads/")).count()
    };
    until("some of it is there", || (sent(&registry.requests()) > 0).then_some(()));
    push.kill().unwrap();
    push.wait().unwrap();
    // The daemon hears that its caller is gone.
    until("the push is given up", || {
        let operations = node.get("/v1/operations?fields=status.phase%3Drunning").ok()?;
        let title = format!("push {name}");
        let items = operations["items"].as_array()?;
        items.iter().all(|item| item["spec"]["title"] != title.as_str()).then_some(())
    });
    let first = registry.requests();
    cable.mend();
    node.ok(&["image", "push", &name]);
    let second = &registry.requests()[first.len()..];
    let layers = show(node, "nginx")["layers"].as_array().unwrap().len();
    assert_eq!(sent(&first) + sent(second), layers + 1, "{second:?}");
    // In another repository of the registry nothing is sent at all.
    let third = registry.requests().len();
    let other = format!("{}/push/other:1", cable.address);
    node.ok(&["image", "tag", "nginx", &other]);
    node.ok(&["image", "push", &other]);
    assert_eq!(sent(&registry.requests()[third..]), 0);
    assert_eq!(registry.manifest("push/app", "1"), registry.manifest("push/other", "1"));
    node.ok(&["image", "rm", &name]);
    node.ok(&["image", "rm", &other]);
}

#[test]
fn when_the_registry_is_asked() {
    let Some(node) = node() else { return };
    let registry = Registry::open().unwrap();
    let name = publish(node, &registry, "busybox", "policy:1");
    node.ok(&["image", "rm", &name]);
    let asked = || registry.requests().len();
    let stack = ["ls", "/stack/kept"];
    let run =
        |policy: &str| node.hull(&[&["run", "--rm", "--pull", policy, &name], &stack[..]].concat());

    let before = asked();
    let never = run("never");
    assert_eq!(never.code, 3, "{}", never.stderr);
    assert_eq!(asked(), before);
    assert_eq!(run("missing").code, 1, "busybox has no /stack");
    // The name moves on.
    publish(node, &registry, "hull-test/busybox:layers", "policy:2");
    node.ok(&["image", "rm", &registry.name("policy:2")]);
    let moved = registry.name("policy:1");
    let old = show(node, &moved)["id"].clone();
    let elsewhere = Node::start().unwrap();
    publish(&elsewhere, &registry, "hull-test/busybox:layers", "policy:1");
    let before = asked();
    assert_eq!(run("missing").code, 1);
    assert_eq!(run("never").code, 1);
    assert_eq!(asked(), before, "what is here is used");
    assert_eq!(show(node, &moved)["id"], old);
    assert_eq!(run("always").code, 0);
    assert!(asked() > before);
    node.ok(&["image", "rm", &name]);
}

#[test]
fn mirrors_that_fail_are_passed_over() {
    if !able() {
        return;
    }
    let (lame, full) = (Registry::open().unwrap(), Registry::open().unwrap());
    let settings = format!(
        "[registries.\"mirrored.invalid\"]\nmirrors = [\"http://127.0.0.1:1\", \"http://{}\", \
         \"http://{}\"]\n",
        lame.address, full.address
    );
    let node = Setup::new().unwrap().settings(&settings).start().unwrap();
    publish(&node, &full, "hull-test/busybox:layers", "team/app:1");
    node.ok(&["image", "prune", "-a"]);
    let run = ["run", "--rm", "mirrored.invalid/team/app:1", "cat", "/stack/kept"];
    assert_eq!(node.ok(&run), "lower");
    assert!(lame.requests().iter().any(|request| request.status == 404));
    assert!(names(&node).contains("mirrored.invalid/team/app:1"));
    let gone = node.hull(&["image", "pull", "mirrored.invalid/team/none:1"]);
    assert_eq!(gone.code, 5, "{}", gone.stderr);
    assert!(gone.stderr.contains("mirrors were asked in vain"), "{}", gone.stderr);
}

#[test]
fn a_layer_is_a_bar_for_people_and_a_line_for_programs() {
    let Some(node) = node() else { return };
    let registry = Registry::open().unwrap();
    let name = publish(node, &registry, "hull-test/busybox:layers", "shown/app:1");
    node.ok(&["image", "rm", &name]);
    node.ok(&["image", "rm", "hull-test/busybox:layers"]);
    let pull = node.hull(&["image", "pull", &name]);
    assert_eq!(pull.code, 0, "{}", pull.stderr);
    let told: Vec<&str> = pull.stderr.lines().collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|line| line.contains(" done ") || line.contains(" is here ")));
    node.ok(&["image", "rm", &name]);
    assert_eq!(node.hull(&["image", "pull", "-q", &name]).stderr, "");
    node.ok(&["image", "rm", &name]);
    let words =
        format!("{} --root {} image pull {name}", node.binary().display(), node.root().display());
    let terminal = std::process::Command::new("script")
        .args(["-qec", &words, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let drawn = String::from_utf8_lossy(&terminal.stdout).into_owned();
    assert!(terminal.status.success(), "{drawn}");
    assert!(drawn.contains('█') && drawn.contains("unpacking"), "{drawn}");
    node.ok(&["image", "rm", &name]);
}

/// Writes a file of a test; gives its path.
fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).display().to_string()
}

#[test]
fn archives_of_every_form() {
    if !able() {
        return;
    }
    let (node, dir) = (Node::start().unwrap(), tempfile::tempdir().unwrap());
    let images = ["busybox", "hull-test/busybox:layers"];
    node.ok(&[&["image", "pull", "-q"], &images[..]].concat());
    let saved = path(&dir, "both.tar");
    node.ok(&[&["image", "save", "-f", &saved], &images[..]].concat());
    let unpacked = path(&dir, "layout");
    std::fs::create_dir(&unpacked).unwrap();
    tar::Archive::new(std::fs::File::open(&saved).unwrap()).unpack(&unpacked).unwrap();
    // What Docker reads alone, and what OCI's tools read alone.
    let (docker, oci) = (path(&dir, "docker.tar"), path(&dir, "oci.tar"));
    for (archive, left_out) in
        [(&docker, ["index.json", "oci-layout"]), (&oci, ["manifest.json", ""])]
    {
        let mut builder = tar::Builder::new(std::fs::File::create(archive).unwrap());
        let blobs = PathBuf::from(&unpacked).join("blobs");
        builder.append_dir_all("blobs", blobs).unwrap();
        for document in ["index.json", "manifest.json", "oci-layout"] {
            if !left_out.contains(&document) {
                builder.append_path_with_name(format!("{unpacked}/{document}"), document).unwrap();
            }
        }
        builder.finish().unwrap();
    }
    let known = images.map(|name| (name, show(&node, name)["id"].clone()));
    for archive in [&saved, &docker, &oci, &unpacked] {
        node.ok(&["image", "prune", "-a"]);
        assert_eq!(names(&node).len(), 0);
        let imported = node.ok(&["image", "import", archive]);
        let told: BTreeSet<&str> = imported.lines().collect();
        assert_eq!(
            told,
            BTreeSet::from(["busybox:latest", "hull-test/busybox:layers"]),
            "{archive}"
        );
        for (name, id) in &known {
            assert_eq!(show(&node, name)["id"], *id, "{archive}: {name}");
        }
        let ran =
            node.ok(&["run", "--rm", "--pull", "never", images[1], "cat", "/stack/hidden/new"]);
        assert_eq!(ran, "upper", "{archive}");
    }
    let piped = node.hull_with(&["image", "import", "-"], Some(&std::fs::read(&saved).unwrap()));
    assert_eq!(piped.code, 0, "{}", piped.stderr);
    let again = node.hull(&["image", "save", "busybox"]).stdout;
    assert_eq!(
        again,
        node.hull(&["image", "save", "busybox"]).stdout,
        "saved twice, the same bytes"
    );
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    let _it = Named(node, "rooted");
    node.ok(&["run", "--name", "rooted", "busybox", "sh", "-c", "echo mine > /mine"]);
    let plain = path(&dir, "root.tar");
    node.ok(&["export", "rooted", "-f", &plain]);
    let (gzip, zstd) = (path(&dir, "root.tar.gz"), path(&dir, "root.tar.zst"));
    for (program, to) in [("gzip", &gzip), ("zstd", &zstd)] {
        let packed = std::process::Command::new(program).args(["-qc", &plain]).output().unwrap();
        std::fs::write(to, packed.stdout).unwrap();
    }
    for (archive, name) in
        [(&plain, "rootfs/plain"), (&gzip, "rootfs/gzip"), (&zstd, "rootfs/zstd:2")]
    {
        let changes = ["-c", "ENV A=b", "-c", "CMD [\"sh\", \"-c\", \"cat /mine; echo $A\"]"];
        node.ok(&[&["image", "import", "--name", name], &changes[..], &[archive.as_str()]].concat());
        assert_eq!(node.ok(&["run", "--rm", "--pull", "never", name]), "mine\nb", "{name}");
        let history = node.ok(&["image", "history", name]);
        assert!(history.contains("imported"), "{history}");
        node.ok(&["image", "rm", name]);
        assert_eq!(node.hull(&["image", "show", name]).code, 3);
    }
}

#[test]
fn names_come_and_go() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    node.ok(&["image", "pull", "-q", "busybox"]);
    let id = show(&node, "busybox")["id"].as_str().unwrap().to_owned();
    let plan = node.ok(&["image", "tag", "--plan", "busybox", "mine:1"]);
    assert_eq!(plan, "would tag busybox as mine:1");
    assert_eq!(node.hull(&["image", "show", "mine:1"]).code, 3);
    node.ok(&["image", "tag", "busybox", "mine:1"]);
    node.ok(&["image", "tag", &id[7..15], "mine:2"]);
    assert_eq!(node.hull(&["image", "tag", "busybox", "Mine:1"]).code, 2);
    assert_eq!(node.hull(&["image", "tag", "nothing", "mine:3"]).code, 3);
    let listed = node.ok(&["image", "ls"]);
    for name in ["busybox:latest", "mine:1", "mine:2"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(node.ok(&["image", "history", "mine:1"]).contains("images/busybox"));
    // Several names: by its id it stays, unless forced.
    let rm = node.hull(&["image", "rm", &id]);
    assert_eq!(rm.code, 4, "{}", rm.stderr);
    node.ok(&["image", "rm", "busybox", "mine:2"]);
    // What an instance runs stays, even if it is known by another name now.
    let _it = super::process::Named(&node, "holder");
    node.ok(&["run", "-d", "--name", "holder", "--pull", "never", "mine:1", "sleep", "600"]);
    let rm = node.hull(&["image", "rm", "-f", "mine:1"]);
    assert_eq!(rm.code, 4, "{}", rm.stderr);
    assert!(rm.stderr.contains("holder"), "{}", rm.stderr);
    node.ok(&["image", "prune", "-a"]);
    assert_eq!(names(&node).len(), 1);
    node.ok(&["rm", "-f", "holder"]);
    for words in [&["image", "prune", "-a", "--plan"][..], &["image", "rm", &id, "--plan"]] {
        let planned = node.ok(words);
        assert!(planned.contains(&id) && planned.contains("mine:1"), "{planned}");
        assert_eq!(names(&node).len(), 1);
    }
    let pruned = node.ok(&["image", "prune", "-a"]);
    assert!(pruned.contains(&format!("deleted {id}")), "{pruned}");
    until("nothing is left on the disk", || {
        let blobs = std::fs::read_dir(store(&node).join("blobs/sha256")).ok()?;
        (blobs.count() == 0).then_some(())
    });
}

#[test]
fn the_list_goes_on_as_images_change() {
    let Some(node) = node() else { return };
    node.ok(&["image", "pull", "-q", "busybox"]);
    let mut watch = node.command(&["image", "ls", "-w", "-o", "name"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|name| name == "busybox:latest"));
    node.ok(&["image", "tag", "busybox", "e2e-watched:1"]);
    assert!(lines.any(|name| name == "e2e-watched:1"));
    node.ok(&["image", "rm", "e2e-watched:1"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// What an instance was made from is what it is started from again, wherever the name points.
#[test]
fn an_instance_keeps_its_image() {
    if !able() {
        return;
    }
    let (node, registry) = (Node::start().unwrap(), Registry::open().unwrap());
    // An index: what is pinned is its digest, what is run one of its manifests.
    let name = publish(&node, &registry, "hull-test/busybox:multi", "kept:1");
    let _it = super::process::Named(&node, "keeper");
    node.ok(&["run", "-d", "--name", "keeper", &name, "sh", "-c", "echo on > /written; sleep 600"]);
    let digest = node.field("keeper", "/status/containers/0/imageDigest");
    assert_eq!(digest, show(&node, "hull-test/busybox:multi")["digest"]);
    publish(&node, &registry, "hull-test/busybox:layers", "kept:1");
    assert_ne!(show(&node, &name)["digest"], digest);
    node.kill_daemon().unwrap();
    node.await_ready();
    node.ok(&["restart", "-t", "0", "keeper"]);
    node.await_phase("keeper", "running");
    assert_eq!(node.field("keeper", "/status/containers/0/imageDigest"), digest);
    assert_eq!(node.ok(&["exec", "keeper", "cat", "/written"]), "on");
    assert_ne!(node.hull(&["exec", "keeper", "ls", "/stack"]).code, 0);

    // And an image can be made of it, with a name or without.
    let id = node.ok(&["commit", "keeper"]);
    node.ok(&["commit", "--change", "CMD [\"cat\", \"/written\"]", "keeper", "made:1"]);
    assert_eq!(node.ok(&["run", "--rm", "made:1"]), "on");
    assert_eq!(node.ok(&["run", "--rm", &id, "cat", "/written"]), "on");
    assert_eq!(show(&node, &id)["names"], json!([]));
    let pruned = node.ok(&["image", "prune"]);
    assert!(pruned.contains(&id), "{pruned}");
}

#[test]
fn a_registry_that_is_not_there() {
    let Some(node) = node() else { return };
    for (name, code) in [("127.0.0.1:1/a/b", 5), ("nowhere.invalid/a/b", 5), ("Not An Image", 2)] {
        let pull = node.hull(&["image", "pull", name]);
        assert_eq!(pull.code, code, "{name}: {}", pull.stderr);
        assert!(pull.stderr.contains("try:"), "{name}: {}", pull.stderr);
    }
    let other = node.hull(&["image", "pull", "--platform", "linux/riscv64", "busybox"]);
    assert_eq!(other.code, 1, "{}", other.stderr);
    assert!(other.stderr.contains("linux/riscv64"), "{}", other.stderr);
    let missing = node.hull(&["image", "pull", &format!("{REGISTRY}/library/busybox:no-such-tag")]);
    assert_eq!(missing.code, 3, "{}", missing.stderr);
}
