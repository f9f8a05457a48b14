//! Programs in instances: output, input, exit codes, and the node they all run on.

use std::sync::OnceLock;

use testing::mortal::Mortal;
use testing::node::{Node, missing};

/// Whether tests can run here. Says why not.
pub fn able() -> bool {
    let Some(why) = missing() else { return true };
    assert!(std::env::var_os("HULL_E2E").is_none(), "cannot run end to end: {why}");
    println!("passed over: {why}");
    false
}

/// The node all tests share; none where tests cannot run.
pub fn node() -> Option<&'static Node> {
    static NODE: OnceLock<Node> = OnceLock::new();
    able().then(|| NODE.get_or_init(|| Node::shared().unwrap()))
}

/// A node of the test's own whose daemon dies where it is told to; none where tests cannot run or daemons
/// do not die on demand.
pub fn mortal() -> Option<Mortal> {
    if !cfg!(debug_assertions) {
        println!("passed over: only debug builds die on demand");
        return None;
    }
    able().then(|| Mortal::start().unwrap())
}

/// Runs `sh -c` in a busybox with these flags; what it printed.
pub fn sh(node: &Node, flags: &[&str], script: &str) -> String {
    node.ok(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

/// Removes an instance at the end of a test, also when it fails.
pub struct Named<'a>(pub &'a Node, pub &'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        self.0.hull(&["rm", "-fv", self.1]);
    }
}

/// Leaves a busybox running that does this.
pub fn begin<'a>(node: &'a Node, name: &'a str, flags: &[&str], script: &str) -> Named<'a> {
    let named = Named(node, name);
    let head = ["run", "-d", "--name", name];
    node.ok(&[&head, flags, &["busybox", "sh", "-c", script]].concat());
    named
}

#[test]
fn output_is_passed_on() {
    let Some(node) = node() else { return };
    let run = node.hull(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((run.code, run.stdout.as_slice()), (0, b"out\n".as_slice()));
    assert!(run.stderr.ends_with("err\n"), "{}", run.stderr);
}

#[test]
fn what_follows_the_image_is_the_commands() {
    let Some(node) = node() else { return };
    let run = ["run", "--rm", "--entrypoint", "sh", "busybox", "-c", "echo $0", "--name"];
    assert_eq!(node.ok(&run).trim(), "--name");
}

#[test]
fn exit_codes_are_passed_on() {
    let Some(node) = node() else { return };
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("sh -c 'kill -9 $$'", 137)] {
        let run = node.hull(&["run", "--rm", "busybox", "sh", "-c", &format!("{script}; exit $?")]);
        assert_eq!(run.code, code, "{script}: {}", run.stderr);
    }
}

#[test]
fn a_killed_process_is_told_by_its_signal() {
    let Some(node) = node() else { return };
    let _it = begin(node, "killed", &[], "exec sleep 600");
    node.ok(&["kill", "killed"]);
    assert_eq!(node.ok(&["wait", "killed"]), "137");
}

#[test]
fn a_megabyte_passes_through_unchanged() {
    let Some(node) = node() else { return };
    // xorshift64: every byte value, no pattern.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect();
    let run = node.hull_with(&["run", "--rm", "-i", "busybox", "cat"], Some(&bytes));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout == bytes, "{} bytes came back changed", run.stdout.len());
}

#[test]
fn environment_directory_user_and_host_name() {
    let Some(node) = node() else { return };
    let flags = ["-e", "A=b c", "-w", "/var", "-u", "1234:567", "-H", "ship"];
    let printed = sh(node, &flags, "echo \"$A\"; pwd; id -u; id -g; hostname");
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["b c", "/var", "1234", "567", "ship"]);
}

#[test]
fn an_entry_point_is_replaced() {
    let Some(node) = node() else { return };
    let printed = node.ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "one", "two"]);
    assert_eq!(printed, "one two");
}

#[test]
fn a_program_that_is_not_there() {
    let Some(node) = node() else { return };
    let run = node.hull(&["run", "--rm", "busybox", "no-such-program"]);
    assert_eq!(run.code, 127, "{}", run.stderr);
    assert!(run.stderr.contains("no-such-program"), "{}", run.stderr);
}

/// That no kernel runs it is found out when the container has started: it tells why on its standard error and ends
/// with the code of runc's own first process, 255 since runc 1.2 and 1 before (`libcontainer.Init`). Docker Engine
/// passes that on as well: its 126 and 127 are for what runc finds before the start (`daemon/errors.go`).
#[test]
fn a_program_for_another_machine() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    // The head of a program for AArch64 (System V ABI, ELF header), and a script that does not say what reads it.
    let mut elf = [0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (elf[16], elf[18], elf[20]) = (2, 183, 1);
    for (name, content) in [("elf", elf.as_slice()), ("script", b"echo hi\n")] {
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, executable).unwrap();
        let volume = format!("{}:/foreign", dir.path().display());
        let run =
            node.hull(&["run", "--rm", "-v", &volume, "busybox", &format!("/foreign/{name}")]);
        assert!(run.code == 255 || run.code == 1, "{name}: {} {}", run.code, run.stderr);
        assert!(run.stderr.contains("exec format error"), "{name}: {}", run.stderr);
    }
}

#[test]
fn a_further_program_and_its_exit_code() {
    let Some(node) = node() else { return };
    let _it = begin(node, "exec", &["-e", "A=1"], "exec sleep 600");
    assert_eq!(node.ok(&["exec", "-e", "B=2", "exec", "sh", "-c", "echo $A$B"]), "12");
    assert_eq!(node.hull(&["exec", "exec", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(node.hull(&["exec", "exec", "no-such-program"]).code, 127);
    let cat = node.hull_with(&["exec", "-i", "exec", "cat"], Some(b"\0\xff\n"));
    assert_eq!(cat.stdout, b"\0\xff\n");
}
