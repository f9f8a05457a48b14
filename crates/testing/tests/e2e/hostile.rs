//! Images that mean ill, through the command line: each is refused in words that name the fault, and
//! containerd's store is afterwards what it was before.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use serde_json::json;
use tar::EntryType;
use testing::cable::{Cable, Way};
use testing::node::{Node, Setup, until};
use testing::registry::Registry;

use super::images::store;
use super::process::able;

/// A member of a tar, whatever its name: the library would not write some of these.
fn member(
    builder: &mut tar::Builder<Vec<u8>>,
    name: &str,
    kind: EntryType,
    link: &str,
    data: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    for (field, text) in [(0, name), (157, link)] {
        header.as_mut_bytes()[field..field + text.len()].copy_from_slice(text.as_bytes());
    }
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(data.len() as u64);
    header.set_cksum();
    builder.append(&header, data).unwrap();
}

fn tar_of(members: &[(&str, EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, data) in members {
        member(&mut builder, name, *kind, link, data);
    }
    builder.into_inner().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(data, flate2::Compression::best())
        .read_to_end(&mut packed)
        .unwrap();
    packed
}

/// As `docker save` of old wrote it: the diff id is a claim that the layer has to keep.
fn docker_archive(layer: &[u8], more: &[(&str, EntryType, &str, &[u8])]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))] },
    });
    let manifest =
        json!([{ "Config": "c.json", "RepoTags": ["evil:1"], "Layers": ["l/layer.tar"] }]);
    let (config, manifest) = (config.to_string(), manifest.to_string());
    let file = EntryType::Regular;
    let members = [
        ("manifest.json", file, "", manifest.as_bytes()),
        ("c.json", file, "", config.as_bytes()),
        ("l/layer.tar", file, "", layer),
    ];
    tar_of(&[&members[..], more].concat())
}

/// Names of everything in containerd's store: blobs, half-written ones, unpacked layers.
fn kept(node: &Node) -> BTreeSet<String> {
    let data = node.root().join("var/lib/hull/containerd/data");
    let names = |place: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect()
    };
    let snapshots = data.join("io.containerd.snapshotter.v1.overlayfs/snapshots");
    let places = [store(node).join("blobs/sha256"), store(node).join("ingest"), snapshots];
    places.iter().flat_map(|place| names(place)).collect()
}

#[test]
fn what_means_ill_is_refused_and_leaves_nothing() {
    if !able() {
        return;
    }
    let limits = "[images]\nratio-floor = \"1MiB\"\nunpacked = \"64MiB\"\n";
    let node = Setup::new().unwrap().settings(limits).start().unwrap();
    node.ok(&["run", "--rm", "busybox", "true"]);
    let before = until("what ran has gone", || {
        let kept = kept(&node);
        let unpacked = kept.iter().filter(|path| path.contains("/snapshots/")).count();
        (unpacked == 1).then_some(kept)
    });
    let images = node.ok(&["image", "ls", "-o", "json"]);

    use EntryType as T;
    let good = tar_of(&[("file", T::Regular, "", b"x")]);
    let layer = |members: &[(&str, EntryType, &str, &[u8])]| docker_archive(&tar_of(members), &[]);
    let whole = docker_archive(&good, &[]);
    let bomb = gzip(&tar_of(&[("zeros", T::Regular, "", &vec![0; 8 << 20])]));
    let wrong_name = format!("blobs/sha256/{}", "a".repeat(64));
    let shadow = "../../etc/shadow";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a member above",
            docker_archive(&good, &[("../evil", T::Regular, "", b"x")]),
            "leads elsewhere",
        ),
        (
            "an absolute member",
            docker_archive(&good, &[("/etc/x", T::Regular, "", b"x")]),
            "leads elsewhere",
        ),
        (
            "a link out",
            docker_archive(&good, &[("x", T::Symlink, "/etc/passwd", b"")]),
            "is a link",
        ),
        ("a device", docker_archive(&good, &[("x", T::Block, "", b"")]), "not a file"),
        ("a layer that climbs", layer(&[("../../etc/cron.d/x", T::Regular, "", b"x")]), "'..'"),
        (
            "a hard link out",
            layer(&[("x", T::Link, shadow, b"")]),
            "hard link to something outside",
        ),
        (
            "a whiteout of all",
            layer(&[("a/.wh...", T::Regular, "", b"")]),
            "removes something outside",
        ),
        ("another layer than said", whole.clone(), "configuration says"),
        (
            "another blob than said",
            docker_archive(&good, &[(&wrong_name, T::Regular, "", b"x")]),
            "digest",
        ),
        ("a bomb in a layer", docker_archive(&bomb, &[]), "times its size"),
        ("a bomb", gzip(&docker_archive(&vec![0; 8 << 20], &[])), "times its size"),
        ("a giant", docker_archive(&vec![0; 65 << 20], &[]), "over 64 MiB"),
        ("half of it", whole[..2000].to_vec(), "cut off"),
        ("half of it, packed", gzip(&whole)[..200].to_vec(), "damaged or cut off"),
        ("junk", b"this is no archive ".repeat(1000), "not a sound tar"),
        ("nothing", Vec::new(), "empty"),
    ];
    for (what, archive, why) in &cases {
        let import = node.hull_with(&["image", "import", "-"], Some(archive));
        assert_eq!(import.code, 2, "{what}: {}", import.stderr);
        assert!(import.stderr.contains(why), "{what}: {}", import.stderr);
        assert!(import.stdout.is_empty(), "{what}: {}", import.text());
        until(&format!("nothing is left of {what}"), || (kept(&node) == before).then_some(()));
    }
    assert_eq!(node.ok(&["image", "ls", "-o", "json"]), images);
    assert!(!Path::new("/etc/cron.d/x").exists());
    assert_eq!(node.ok(&["run", "--rm", "busybox", "echo", "still here"]), "still here");
}

/// A registry whose image is refused while another of its layers is half here.
#[test]
fn a_refused_pull_leaves_nothing() {
    if !able() {
        return;
    }
    let (node, registry) = (Node::start().unwrap(), Registry::open().unwrap());
    let cable = Cable::to(registry.address, Way::Back).unwrap();
    // The layers trade places: each is sound, and neither is what the configuration says.
    let archive = |data: &[u8]| tar_of(&[("file", EntryType::Regular, "", data)]);
    let (large, small) = (archive(&vec![7; 6 << 20]), archive(b"x"));
    let (image, before) = (registry.name("evil:1"), kept(&node));
    registry.put_image("evil", "1", &[&large, &small], &[&small, &large]).unwrap();
    cable.hang_after(3 << 20);
    let pull = node.hull(&["image", "pull", &format!("{}/evil:1", cable.address)]);
    assert_eq!(pull.code, 2, "{}", pull.stderr);
    assert!(pull.stderr.contains("configuration says"), "{}", pull.stderr);
    until("nothing is left of it", || (kept(&node) == before).then_some(()));
    let pull = node.hull(&["image", "pull", &image]);
    assert_eq!(pull.code, 2, "{}", pull.stderr);
    until("nothing is left of it", || (kept(&node) == before).then_some(()));
}

/// A caller who leaves in the middle of an import leaves nothing either.
#[test]
fn an_import_that_is_given_up_leaves_nothing() {
    use std::io::Write;
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let before = kept(&node);
    let archive = docker_archive(&vec![7; 12 << 20], &[]);
    let mut import = node.command(&["image", "import", "-"]);
    let mut import = import.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(&archive[..10 << 20]).unwrap();
    until("a part is written", || (kept(&node) != before).then_some(()));
    import.kill().unwrap();
    import.wait().unwrap();
    drop(input);
    until("it is cleared away", || (kept(&node) == before).then_some(()));
}
