//! Names of objects that a shell completes, as bash does it when somebody presses the key.

use std::process::Command;

use testing::node::Node;

use super::process::{begin, node};

/// What bash offers after these words, the last of which is being written.
fn offered(node: &Node, words: &[&str]) -> Vec<String> {
    let bin = tempfile::tempdir().unwrap();
    let hull = node.command(&[]).get_program().to_owned();
    std::os::unix::fs::symlink(hull, bin.path().join("hull")).unwrap();
    let root = node.root().to_str().unwrap();
    let script = "source <(hull completion bash)\n\
                  words=$(complete -p hull) && words=${words#*-F } && complete=${words%% *}\n\
                  COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9 COMP_LINE=\"$*\" COMP_POINT=${#COMP_LINE}\n\
                  $complete hull \"${@: -1}\" \"${@: -2:1}\"\n\
                  printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let done = Command::new("bash")
        .args(["--norc", "-c", script, "bash", "hull", "--root", root])
        .args(words)
        .env("PATH", path)
        .env_remove("HULL_HOST")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The shell waits half a second for names at most: on a busy machine one more try is none too many.
fn until_offered(node: &Node, words: &[&str], name: &str) -> Vec<String> {
    testing::node::until("the name is offered", || {
        let all = offered(node, words);
        all.iter().any(|it| it == name).then_some(all)
    })
}

#[test]
fn bash_completes_names_of_objects() {
    let Some(node) = node() else { return };
    let _one = begin(node, "tab-one", &[], "exec sleep 600");
    let _two = begin(node, "tab-two", &[], "exec sleep 600");
    node.ok(&["network", "create", "tab-net"]);
    let both = until_offered(node, &["inspect", "tab-"], "tab-one");
    assert_eq!(both, ["tab-one", "tab-two"]);
    assert_eq!(until_offered(node, &["logs", "-f", "tab-t"], "tab-two"), ["tab-two"]);
    let all = until_offered(node, &["inspect", ""], "tab-two");
    assert!(all.iter().any(|it| it == "tab-one"), "{all:?}");
    let networks = until_offered(node, &["network", "rm", "tab"], "tab-net");
    assert_eq!(networks, ["tab-net"], "an instance is none");
    // Words of hull's own, and nothing for a name that nobody has.
    assert!(offered(node, &["insp"]).contains(&"inspect".to_owned()));
    assert_eq!(offered(node, &["inspect", "nobody-"]), [""; 0]);
    node.ok(&["network", "rm", "tab-net"]);
}
