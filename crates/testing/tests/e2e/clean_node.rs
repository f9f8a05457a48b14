//! `make clean-node`: everything of one node goes, and nothing of anybody else's.

use std::path::Path;
use std::process::Command;

use testing::node::{CLEAN_NODE, Node, finish, kill};

use super::process::{able, begin};

fn own() -> Option<Node> {
    able().then(|| Node::start().unwrap())
}

/// Something of every kind that a node leaves on its machine.
fn furnish(node: &Node) {
    node.ok(&["network", "create", "--ipv6", "back"]);
    node.ok(&["volume", "create", "--size", "64m", "small"]);
    let flags = ["--network", "back", "-p", "8080", "-v", "small:/d", "--restart", "always"];
    // It outlives this value: what takes it down is what is tested.
    std::mem::forget(begin(node, "furniture", &flags, "trap '' TERM; while :; do sleep 1; done"));
}

fn clean(node: &Node, hull: &Path) -> String {
    let mut command = Command::new(CLEAN_NODE);
    command.arg(node.root()).env("FORCE", "1").env("HULL", hull);
    let outcome = finish(command, None).unwrap();
    assert_eq!(outcome.code, 0, "{}{}", outcome.text(), outcome.stderr);
    outcome.text()
}

fn lines_with(text: &str, words: &[&str]) -> Vec<String> {
    let has = |line: &&str| words.iter().any(|word| line.contains(word));
    text.lines().filter(has).map(str::to_owned).collect()
}

fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is on the machine that names a node's root or tag.
fn traces(root: &Path, tag: &str) -> Vec<String> {
    let root = root.to_str().unwrap();
    let (bridge, link, group) = (format!("hb{tag}"), format!("hv{tag}"), format!("hull-{tag}"));
    let mut found = lines_with(&printed("ip", &["-o", "link"]), &[&bridge, &link]);
    found.extend(lines_with(&printed("nft", &["list", "tables"]), &[&group]));
    found.extend(lines_with(&printed("losetup", &["-l", "-n", "-O", "BACK-FILE"]), &[root]));
    found.extend(lines_with(&std::fs::read_to_string("/proc/mounts").unwrap(), &[root]));
    found.extend(lines_with(
        &printed("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-type", "d"]),
        &[&group],
    ));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        // The sweeper has the root in an argument, and waits.
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains(&format!("{root}/")) {
            found.push(line.replace('\0', " "));
        }
    }
    for place in ["var/lib/hull", "run/hull", "etc/hull"] {
        let path = Path::new(root).join(place);
        found.extend(path.exists().then(|| path.display().to_string()));
    }
    found
}

#[test]
fn one_node_goes_and_its_neighbour_stays() {
    let (Some(goes), Some(stays)) = (own(), own()) else { return };
    furnish(&goes);
    furnish(&stays);
    let pid = stays.field("furniture", "/status/containers/0/pid");
    let tag = goes.tag();
    assert!(traces(goes.root(), &tag).len() > 10, "the test looks where nothing is");
    let before = traces(stays.root(), &stays.tag());

    clean(&goes, goes.binary());
    assert_eq!(traces(goes.root(), &tag), Vec::<String>::new());
    assert_eq!(traces(stays.root(), &stays.tag()).len(), before.len());
    assert_eq!(stays.field("furniture", "/status/containers/0/pid"), pid);
    assert!(clean(&goes, goes.binary()).contains("nothing of Monohull"), "twice is fine");
}

#[test]
fn a_node_that_cannot_be_asked_goes_as_well() {
    let Some(node) = own() else { return };
    furnish(&node);
    let (root, tag) = (node.root(), node.tag());
    let supervisor = std::fs::read_to_string(root.join("run/hull/supervisor.pid")).unwrap();
    let (daemon, containerd) = (node.daemon().unwrap(), node.containerd().unwrap());
    kill(supervisor.trim().parse().unwrap()).unwrap();
    kill(daemon).unwrap();
    kill(containerd).unwrap();

    clean(&node, Path::new("/nonexistent/hull"));
    assert_eq!(traces(root, &tag), Vec::<String>::new());
}
