//! A machine's guest: its programs, its files, its consoles.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::json;
use testing::node::{Node, until};

use super::machines::qemu;
use super::process::{Named, begin, node};

/// Leaves a machine running whose agent answers.
fn machine<'a>(node: &'a Node, name: &'a str, flags: &[&str]) -> Named<'a> {
    let named = Named(node, name);
    node.ok(&[&["run", "-d", "--name", name], flags, &["hull-tiny"]].concat());
    until("the agent answers", || (node.hull(&["exec", name, "true"]).code == 0).then_some(()));
    named
}

#[test]
fn a_guest_is_asked_as_a_container_is() {
    let Some(node) = node() else { return };
    let check = ["--health-cmd", "test -e /root/well", "--health-interval", "1s"];
    let _it = machine(node, "guest", &check);
    let run = node.hull(&["exec", "guest", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((run.code, run.stdout.as_slice()), (3, b"out\n".as_slice()));
    assert!(run.stderr.ends_with("err\n"), "{}", run.stderr);
    assert_eq!(node.hull(&["exec", "guest", "no-such-program"]).code, 127);
    let input = b"a line\n".repeat(20_000);
    let run = node.hull_with(&["exec", "-i", "guest", "wc", "-l"], Some(&input));
    assert_eq!((run.code, run.text().as_str()), (0, "20000"), "{}", run.stderr);
    let command = ["exec", "-e", "A=it's", "-w", "/etc", "guest", "sh", "-c", "echo $A $PWD"];
    assert_eq!(node.ok(&command), "it's /etc");
    let table = node.ok(&["top", "guest"]);
    assert!(table.starts_with("PID") && table.contains("qemu-ga"), "{table}");

    let files = tempfile::tempdir().unwrap();
    let (there, back) = (files.path().join("there"), files.path().join("back"));
    std::fs::write(&there, &input).unwrap();
    node.ok(&["cp", there.to_str().unwrap(), "guest:/root/file"]);
    node.ok(&["cp", "guest:/root/file", back.to_str().unwrap()]);
    assert!(std::fs::read(&back).unwrap() == input, "what came back is not what was sent");
    let missing = node.hull(&["cp", "guest:/no/such", back.to_str().unwrap()]);
    assert!(missing.stderr.contains("there is no /no/such in the guest"), "{}", missing.stderr);

    node.ok(&["exec", "guest", "touch", "/root/well"]);
    node.await_field("guest", "/status/health", &json!("healthy"));
}

#[test]
fn what_runs_in_a_guest_ends_with_it() {
    let Some(node) = node() else { return };
    let _it = machine(node, "mayfly", &[]);
    let ends = |end: &dyn Fn(), how: &str| {
        let mut running = node.command(&["exec", "mayfly", "sh", "-c", "echo begun; sleep 900"]);
        let running = running.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = running.spawn().unwrap();
        let mut begun = String::new();
        BufReader::new(running.stdout.take().unwrap()).read_line(&mut begun).unwrap();
        assert_eq!(begun, "begun\n");
        end();
        let told = until("it ends", || running.try_wait().unwrap());
        let mut words = String::new();
        running.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        assert!(!told.success() && words.contains(how), "{told}: {words}");
    };
    let again = || {
        node.await_phase("mayfly", "exited");
        node.ok(&["start", "mayfly"]);
        until("it answers", || (node.hull(&["exec", "mayfly", "true"]).code == 0).then_some(()));
    };
    let asks = |word: &str| drop(node.hull(&["exec", "-d", "mayfly", word]));
    ends(&|| asks("poweroff"), "machine \"mayfly\" shut down meanwhile");
    again();
    let kill = || testing::node::kill(qemu(node, "mayfly")).unwrap();
    ends(&kill, "as QEMU did, meanwhile");
    again();
    ends(&|| asks("reboot"), "was restarted meanwhile");
}

#[test]
fn a_machine_has_a_serial_line_and_a_screen() {
    let Some(node) = node() else { return };
    let _it = machine(node, "seen", &[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("screen.png");
    node.ok(&["console", "seen", "--screenshot", file.to_str().unwrap()]);
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));

    let mut viewing =
        node.command(&["console", "seen", "--vnc"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(viewing.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let mut viewer = TcpStream::connect(address.trim()).unwrap();
    // RFC 6143, section 7.1: the version, as both sides know it.
    let mut version = [0; 12];
    viewer.read_exact(&mut version).unwrap();
    assert_eq!(&version, b"RFB 003.008\n");
    viewer.write_all(&version).unwrap();
    viewer.read_exact(&mut [0; 2]).unwrap();
    drop(viewer);
    assert!(viewing.wait().unwrap().success());

    let typed = node.hull_with(&["console", "seen"], Some(b"echo $((40 + 2))-typed; poweroff\n"));
    assert_eq!(typed.code, 0, "{}", typed.stderr);
    let text = String::from_utf8_lossy(&typed.stdout);
    assert!(text.contains("42-typed"), "{text}");
    node.await_phase("seen", "exited");
    for words in
        [&["console", "seen"][..], &["console", "seen", "--vnc"], &["exec", "seen", "true"]]
    {
        let refused = node.hull(words);
        assert!(refused.code != 0 && refused.stderr.contains("not running"), "{}", refused.stderr);
    }
}

#[test]
fn a_container_has_no_console() {
    let Some(node) = node() else { return };
    let _it = begin(node, "unseen", &[], "sleep 1000");
    for words in [&["console", "unseen"][..], &["console", "unseen", "--vnc"]] {
        let refused = node.hull(words);
        assert!(refused.stderr.contains("is a container: it has no console"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hull attach unseen"), "{}", refused.stderr);
    }
}
