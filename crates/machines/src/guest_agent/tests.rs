//! One suite over the fake, over qemu-ga on this machine where it is installed, and over the agent
//! in a real guest when `HULL_GUEST_AGENT` names its socket.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Exec, GuestAgent, Input, Output, Session, fake};

const SOON: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Exec {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    Exec { command, ..Exec::default() }
}

#[derive(Default, Debug, PartialEq)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    code: i32,
}

impl Seen {
    fn text(&self) -> (&str, &str, i32) {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        (text(&self.stdout), text(&self.stderr), self.code)
    }
}

async fn to_the_end(mut output: mpsc::Receiver<Result<Output>>) -> Seen {
    let mut seen = Seen::default();
    let reading = async {
        while let Some(item) = output.recv().await {
            match item.unwrap() {
                Output::Stdout(bytes) => seen.stdout.extend_from_slice(&bytes),
                Output::Stderr(bytes) => seen.stderr.extend_from_slice(&bytes),
                Output::Exit(code) => {
                    seen.code = code;
                    return;
                }
            }
        }
        panic!("no exit code");
    };
    timeout(SOON, reading).await.expect("it ends");
    seen
}

async fn run(agent: &Arc<GuestAgent>, exec: Exec) -> Seen {
    to_the_end(agent.exec(&exec).await.unwrap().output).await
}

/// Reads until `wanted` was printed.
async fn until(session: &mut Session, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            match session.output.recv().await.expect("it goes on").unwrap() {
                Output::Stdout(bytes) | Output::Stderr(bytes) => {
                    text.push_str(&String::from_utf8_lossy(&bytes));
                }
                Output::Exit(code) => panic!("ended with {code} after {text:?}"),
            }
        }
    };
    timeout(SOON, reading).await.expect("it is printed");
    text
}

/// What every agent in a guest with a shell does.
async fn suite(agent: &Arc<GuestAgent>) {
    agent.ping().await.unwrap();
    let info = agent.info().await.unwrap();
    assert!(info.allows("guest-exec") && !info.allows("guest-fly"), "{info:?}");
    let error = agent.call("guest-fly", serde_json::Value::Null).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!agent.host_name().await.unwrap().is_empty());
    assert!(agent.interfaces().await.unwrap().iter().any(|interface| interface.name == "lo"));
    tells_output_and_code(agent).await;
    takes_words_as_they_are(agent).await;
    takes_input(agent).await;
    loses_nothing_of_much(agent).await;
    does_many_at_a_time(agent).await;
    kills(agent).await;
    stays_in_step(agent).await;
}

async fn tells_output_and_code(agent: &Arc<GuestAgent>) {
    let cases = [
        ("echo out; echo err >&2; exit 3", ("out\n", "err\n", 3)),
        ("printf a", ("a", "", 0)),
        ("exit 0", ("", "", 0)),
        ("kill -9 $$", ("", "", 137)),
        ("read x; echo \"$x\"", ("\n", "", 0)),
    ];
    for (script, expected) in cases {
        let seen = run(agent, shell(script)).await;
        assert_eq!(seen.text(), expected, "{script}");
    }
    let missing = Exec { command: vec!["no-such-program".to_owned()], ..Exec::default() };
    let seen = run(agent, missing).await;
    assert_eq!(seen.code, 127);
    assert!(seen.text().1.contains("not found"), "{seen:?}");
    let missing = Exec { workdir: "/no/such".to_owned(), ..shell("pwd") };
    assert_eq!(run(agent, missing).await.code, 126);
}

async fn takes_words_as_they_are(agent: &Arc<GuestAgent>) {
    let exec = Exec {
        command: ["sh", "-c", "printf '%s|' \"$0\" \"$@\" \"$A\" \"$PWD\"", "it's", "a b", "$HOME"]
            .map(str::to_owned)
            .to_vec(),
        env: vec!["A=x'y\nz".to_owned()],
        workdir: "/tmp".to_owned(),
        ..Exec::default()
    };
    let seen = run(agent, exec).await;
    let (text, _, code) = seen.text();
    assert_eq!(code, 0, "{seen:?}");
    assert_eq!(text, "it's|a b|$HOME|x'y\nz|/tmp|");
    let env = vec!["odd.name=1".to_owned()];
    let seen = run(agent, Exec { command: vec!["env".to_owned()], env, ..Exec::default() }).await;
    assert!(seen.text().0.contains("odd.name=1\n"));
    for exec in [Exec::default(), shell("a\0"), Exec { user: "a b".to_owned(), ..shell("id") }] {
        assert_eq!(agent.exec(&exec).await.err().unwrap().kind(), ErrorKind::Invalid);
    }
}

async fn takes_input(agent: &Arc<GuestAgent>) {
    let exec = Exec { stdin: true, ..shell("while read -r x; do echo \"<$x>\"; done; echo end") };
    let mut session = agent.exec(&exec).await.unwrap();
    for word in ["one", "two"] {
        session.input.send(Input::Stdin(format!("{word}\n").into())).await.unwrap();
        until(&mut session, &format!("<{word}>\n")).await;
    }
    session.input.send(Input::StdinEnd).await.unwrap();
    assert_eq!(to_the_end(session.output).await.text(), ("end\n", "", 0));
    // One that reads nothing is not waited for.
    let exec = Exec { stdin: true, ..shell("exit 4") };
    assert_eq!(run(agent, exec).await.code, 4);
}

fn noise(length: usize) -> Bytes {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// More than all files on the way hold, in both directions.
async fn loses_nothing_of_much(agent: &Arc<GuestAgent>) {
    let much = noise(6_000_001);
    let Session { input, output } = agent
        .exec(&Exec { stdin: true, command: vec!["cat".to_owned()], ..Exec::default() })
        .await
        .unwrap();
    let sent = much.clone();
    tokio::spawn(async move {
        for piece in sent.chunks(100_000) {
            input.send(Input::Stdin(Bytes::copy_from_slice(piece))).await.unwrap();
        }
        input.send(Input::StdinEnd).await.unwrap();
        input.closed().await;
    });
    let seen = to_the_end(output).await;
    assert_eq!((seen.stdout.len(), seen.code), (much.len(), 0));
    assert!(seen.stdout == much, "what came back is not what was sent");
    // Many small writes begin many files.
    let script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done";
    let seen = run(agent, shell(script)).await;
    let expected: String = (0..3000).map(|i| format!("{i}\n")).collect();
    assert!(seen.text() == (expected.as_str(), "", 0), "lines are missing");
}

async fn does_many_at_a_time(agent: &Arc<GuestAgent>) {
    let runs = (0..6).map(|i| async move {
        let seen = run(agent, shell(&format!("echo {i}; exit {i}"))).await;
        assert_eq!(seen.text(), (format!("{i}\n").as_str(), "", i));
    });
    futures::future::join_all(runs).await;
}

async fn kills(agent: &Arc<GuestAgent>) {
    let mut session = agent.exec(&shell("echo on; exec sleep 1000")).await.unwrap();
    until(&mut session, "on").await;
    session.input.send(Input::Signal("SIGTERM".to_owned())).await.unwrap();
    assert_eq!(to_the_end(session.output).await.code, 143);
    let mut session = agent.exec(&shell("echo on; exec sleep 1000")).await.unwrap();
    until(&mut session, "on").await;
    session.input.send(Input::Signal("2".to_owned())).await.unwrap();
    assert_eq!(to_the_end(session.output).await.code, 130);
}

/// One who does not wait for an answer does not spoil the next one's.
async fn stays_in_step(agent: &Arc<GuestAgent>) {
    for _ in 0..5 {
        let asking = agent.info();
        let _ = timeout(Duration::ZERO, asking).await;
        agent.ping().await.unwrap();
        assert!(agent.call("guest-ping", serde_json::Value::Null).await.unwrap().is_object());
    }
}

async fn has_terminals(agent: &Arc<GuestAgent>) {
    if run(agent, shell("command -v script >/dev/null")).await.code != 0 {
        let exec = Exec { terminal: Some(None), ..shell("tty") };
        let error = agent.exec(&exec).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.next_step().unwrap().contains("install bsdutils"));
        return;
    }
    let exec = Exec {
        terminal: Some(Some((91, 33))),
        stdin: true,
        ..shell("tty; stty size; cat; exit 5")
    };
    let mut session = agent.exec(&exec).await.unwrap();
    until(&mut session, "33 91").await;
    session.input.send(Input::Stdin("hello\n".into())).await.unwrap();
    until(&mut session, "hello\r\nhello\r\n").await;
    session.input.send(Input::Stdin("\x04".into())).await.unwrap();
    assert_eq!(to_the_end(session.output).await.code, 5);

    let exec = Exec { terminal: Some(None), stdin: true, ..shell("echo on; sleep 1000; echo off") };
    let mut session = agent.exec(&exec).await.unwrap();
    until(&mut session, "on").await;
    session.input.send(Input::Stdin("\x03".into())).await.unwrap();
    assert_eq!(to_the_end(session.output).await.code, 130);

    let script = "trap 'stty size; exit 6' WINCH; echo on; while :; do sleep 0.1; done";
    let exec = Exec { terminal: Some(None), ..shell(script) };
    let mut session = agent.exec(&exec).await.unwrap();
    until(&mut session, "on").await;
    session.input.send(Input::Resize { width: 44, height: 22 }).await.unwrap();
    until(&mut session, "22 44").await;
    assert_eq!(to_the_end(session.output).await.code, 6);
}

async fn becomes_users(agent: &Arc<GuestAgent>) {
    let cases =
        [("daemon", "1 1"), ("1:2", "1 2"), ("1", "1 1"), ("root", "0 0"), ("4321", "4321 0")];
    for (user, expected) in cases {
        let exec = Exec { user: user.to_owned(), ..shell("echo $(id -u) $(id -g)") };
        let seen = run(agent, exec).await;
        assert_eq!(seen.text(), (format!("{expected}\n").as_str(), "", 0), "{user}");
    }
    let exec = Exec { user: "nobody-of-that-name".to_owned(), ..shell("id") };
    assert_ne!(run(agent, exec).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_does_what_every_agent_does() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    fake::start(&socket);
    let agent = Arc::new(GuestAgent::new("fake", socket));
    suite(&agent).await;
    has_terminals(&agent).await;
    if rustix::process::geteuid().is_root() {
        becomes_users(&agent).await;
    }
    tidied(&agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_plugged_in_is_put_to_use() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    fake::start(&socket);
    let agent = GuestAgent::new("fake", socket);
    let processors = agent.use_processors().await.unwrap();
    assert_eq!((processors.online, processors.offline), (2, 0));
    let block = 128 << 20;
    for _ in 0..2 {
        let memory = agent.use_memory().await.unwrap();
        assert_eq!((memory.online, memory.offline), (2 * block, block));
    }
}

/// A qemu-ga that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_agent_does_what_every_agent_does() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let program = std::env::var("QEMU_GA").unwrap_or_else(|_| "qemu-ga".to_owned());
    let mut command = Command::new(program);
    command.args(["-m", "unix-listen", "-p"]).arg(&socket);
    command.arg("-t").arg(directory.path()).arg("-f").arg(directory.path().join("pid"));
    let Ok(child) = command.stdin(Stdio::null()).spawn() else {
        eprintln!("skipped: qemu-ga is not installed");
        return;
    };
    let _running = Running(child);
    wait_for(&socket).await;
    let agent = Arc::new(GuestAgent::new("here", socket));
    suite(&agent).await;
    has_terminals(&agent).await;
    tidied(&agent).await;
}

/// Waits until what programs left in the guest, which is this machine, is removed.
async fn tidied(agent: &Arc<GuestAgent>) {
    let alone = async {
        while Arc::strong_count(agent) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, alone).await.expect("nothing is left behind");
}

async fn wait_for(socket: &Path) {
    let connected = async {
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, connected).await.expect("the agent listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_does_what_every_agent_does() {
    let Some(socket) = std::env::var_os("HULL_GUEST_AGENT") else {
        eprintln!("skipped: HULL_GUEST_AGENT names no socket of a guest");
        return;
    };
    let agent = Arc::new(GuestAgent::new("guest", socket));
    suite(&agent).await;
    has_terminals(&agent).await;
    tidied(&agent).await;
}

#[tokio::test(start_paused = true)]
async fn without_an_agent_it_is_said_what_to_install() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let agent = GuestAgent::new("old", &socket);
    agent.is_called("db");
    let error = agent.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), "machine \"db\" does not run");
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = agent.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "the guest agent in machine \"db\" does not answer");
    assert!(error.next_step().unwrap().starts_with("install qemu-guest-agent in the guest"));
}

/// A guest that answers whatever it is asked with `bytes`.
async fn bad_guest(bytes: Vec<u8>) -> (tempfile::TempDir, GuestAgent) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            while stream.read(&mut asked).await.is_ok_and(|length| length > 0) {
                if stream.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        }
    });
    (directory, GuestAgent::new("bad", socket))
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_lies_is_not_believed() {
    let cases: [Vec<u8>; 4] = [
        b"\xff{\"return\": 7}\n".repeat(400_000),
        vec![b' '; 8 << 20],
        [b"\xff".to_vec(), vec![b'{'; 2 << 20]].concat().repeat(3),
        b"\xff".repeat(5 << 20),
    ];
    for bytes in cases {
        let (_directory, agent) = bad_guest(bytes).await;
        let error = timeout(SOON, agent.ping()).await.expect("it ends").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
