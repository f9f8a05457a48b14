//! One suite over the fake and over the QEMU of this machine, and what only a bad peer does.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model::ErrorKind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::fake::{self, GREETING};
use super::{BlockTraffic, Event, Events, Qmp};

const SOON: Duration = Duration::from_secs(20);

async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let search = async {
        loop {
            let event = events.recv().await.expect("the connection is open");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.expect("the event comes")
}

/// What every QEMU does. The machine has not started, room for a second processor and more memory,
/// a balloon, a screen, a USB controller, and a disk called `disk`.
async fn suite(qmp: Qmp, directory: &Path) {
    let mut events = qmp.events();
    assert!(qmp.version().major >= 6, "{:?}", qmp.version());
    runs_and_pauses(&qmp, &mut events).await;
    refuses_by_kind(&qmp).await;
    plugs_and_unplugs(&qmp).await;
    grows(&qmp).await;
    keeps_disks_and_snapshots(&qmp, directory).await;
    many_at_a_time(&qmp).await;
    let picture = directory.join("screen.ppm");
    qmp.screendump(&picture).await.unwrap();
    assert!(std::fs::read(picture).unwrap().starts_with(b"P6"));
    ends(&qmp, &mut events).await;
}

async fn runs_and_pauses(qmp: &Qmp, events: &mut Events) {
    let status = qmp.query_status().await.unwrap();
    assert_eq!((status.running, status.status.as_str()), (false, "prelaunch"));
    qmp.cont().await.unwrap();
    until(events, |event| *event == Event::Resume).await;
    assert!(qmp.query_status().await.unwrap().running);
    qmp.stop().await.unwrap();
    until(events, |event| *event == Event::Stop).await;
    assert_eq!(qmp.query_status().await.unwrap().status, "paused");
}

async fn refuses_by_kind(qmp: &Qmp) {
    let error = qmp.execute("no-such-command", Value::Null).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.message(),
        "QEMU refuses no-such-command: The command no-such-command has not been found"
    );
    let error = qmp.device_del("nobody", SOON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = qmp.device_add(json!({"driver": "no-such-device", "id": "x"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

async fn plugs_and_unplugs(qmp: &Qmp) {
    let tablet = json!({"driver": "usb-tablet", "id": "tablet"});
    qmp.device_add(tablet.clone()).await.unwrap();
    let error = qmp.device_add(tablet).await.unwrap_err();
    assert!(error.message().contains("Duplicate"), "{error}");
    qmp.device_del("tablet", SOON).await.unwrap();
}

async fn grows(qmp: &Qmp) {
    let slots = qmp.query_hotpluggable_cpus().await.unwrap();
    let used: Vec<bool> = slots.iter().map(|slot| slot.qom_path.is_some()).collect();
    assert_eq!(used, [true, false]);
    assert_eq!(qmp.plug_processors(2).await.unwrap(), 2);
    assert_eq!(qmp.plug_processors(1).await.unwrap(), 2);
    let error = qmp.plug_processors(3).await.unwrap_err();
    assert_eq!(error.message(), "the machine was started with room for 2 processors, not 3");

    let backend = json!({"qom-type": "memory-backend-ram"});
    // A try that was cut short is not in the way of the next.
    let left = json!({"qom-type": "memory-backend-ram", "id": "more-memory", "size": 128 << 20});
    qmp.object_add(left).await.unwrap();
    qmp.add_memory("more", 128 << 20, backend.clone()).await.unwrap();
    let memory = qmp.query_memory().await.unwrap();
    assert_eq!((memory.base_memory, memory.plugged_memory), (128 << 20, 128 << 20));
    assert_eq!(qmp.query_balloon().await.unwrap(), 256 << 20);
    // There is one slot: nothing is left of the second.
    qmp.add_memory("most", 128 << 20, backend).await.unwrap_err();
    qmp.object_del("most-memory").await.unwrap_err();
}

async fn keeps_disks_and_snapshots(qmp: &Qmp, directory: &Path) {
    qmp.block_traffic().await.unwrap();
    qmp.block_resize("disk", 32 << 20).await.unwrap();
    let error = qmp.block_resize("nobody", 32 << 20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let file = directory.join("more.raw");
    std::fs::write(&file, [0; 512]).unwrap();
    let node = json!({"driver": "file", "node-name": "more", "filename": file});
    qmp.blockdev_add(node).await.unwrap();
    qmp.blockdev_del("more").await.unwrap();
    qmp.blockdev_del("more").await.unwrap_err();

    let disks = ["disk".to_owned()];
    qmp.snapshot_save("one", "disk", &disks, SOON).await.unwrap();
    let error = qmp.snapshot_save("one", "disk", &disks, SOON).await.unwrap_err();
    assert!(error.message().contains("exists"), "{error}");
    qmp.snapshot_load("one", "disk", &disks, SOON).await.unwrap();
    qmp.snapshot_delete("one", &disks, SOON).await.unwrap();
    let error = qmp.snapshot_load("one", "disk", &disks, SOON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(qmp.execute("query-jobs", Value::Null).await.unwrap(), json!([]));

    qmp.snapshot_disks("two", &disks).await.unwrap();
    let disks = ["disk".to_owned(), "nobody".to_owned()];
    qmp.snapshot_disks("three", &disks).await.unwrap_err();
}

async fn many_at_a_time(qmp: &Qmp) {
    let asked = (0..40).map(|i| async move {
        match i % 2 {
            0 => qmp.query_status().await.is_ok(),
            _ => qmp.execute("no-such-command", Value::Null).await.is_err(),
        }
    });
    assert!(futures::future::join_all(asked).await.into_iter().all(|right| right));
}

async fn ends(qmp: &Qmp, events: &mut Events) {
    qmp.quit().await.unwrap();
    let event = until(events, |event| matches!(event, Event::Shutdown { .. })).await;
    assert_eq!(event, Event::Shutdown { guest: false, reason: "host-qmp-quit".to_owned() });
    let end = async { while events.recv().await.is_some() {} };
    tokio::time::timeout(SOON, end).await.expect("the events end");
    assert_eq!(qmp.query_status().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(qmp.events().recv().await.is_none());
    qmp.quit().await.unwrap();
}

#[tokio::test]
async fn the_fake_does_what_every_qemu_does() {
    let directory = tempfile::tempdir().unwrap();
    suite(Qmp::over(fake::start()).await.unwrap(), directory.path()).await;
}

#[tokio::test]
async fn the_traffic_of_all_disks_is_added_up() {
    let qmp = Qmp::over(fake::start()).await.unwrap();
    let expected = BlockTraffic { read: 5096, written: 512 };
    assert_eq!(qmp.block_traffic().await.unwrap(), expected);
}

/// A QEMU that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a QEMU that connects to `socket`, where somebody listens.
fn start_qemu(directory: &Path, socket: &Path) -> Running {
    let disk = directory.join("disk.qcow2");
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("16M");
    assert!(make.status().unwrap().success());
    let machine = "-M q35 -accel tcg -S -display none -nodefaults -vga std \
                   -m 128M,slots=1,maxmem=1G -smp 1,maxcpus=2 \
                   -device virtio-balloon-pci -device qemu-xhci";
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(machine.split_whitespace());
    qemu.arg("-blockdev").arg(format!(
        "driver=qcow2,node-name=disk,file.driver=file,file.filename={}",
        disk.display()
    ));
    qemu.arg("-qmp").arg(format!("unix:{}", socket.display()));
    Running(qemu.stdin(Stdio::null()).spawn().unwrap())
}

#[tokio::test]
async fn this_qemu_does_what_every_qemu_does() {
    if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        assert!(std::env::var_os("HULL_E2E").is_none(), "there is no QEMU");
        eprintln!("skipped: there is no QEMU");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("qmp.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let _qemu = start_qemu(directory.path(), &socket);
    let (stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    suite(Qmp::over(stream).await.unwrap(), directory.path()).await;
}

/// A peer that has answered the greeting and then sends `lines` to whatever it is asked.
async fn bad_peer(lines: Vec<u8>) -> Qmp {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    tokio::spawn(async move {
        theirs.write_all(GREETING.as_bytes()).await.unwrap();
        theirs.write_all(b"\n{\"return\": {}, \"id\": 1}\n").await.unwrap();
        let mut asked = Vec::new();
        while !String::from_utf8_lossy(&asked).contains("query-status") {
            theirs.read_buf(&mut asked).await.unwrap();
        }
        let _ = theirs.write_all(&lines).await;
        // Held open: that the connection ends is the reader's doing.
        let _ = theirs.read_to_end(&mut asked).await;
    });
    Qmp::over(ours).await.unwrap()
}

#[tokio::test]
async fn a_bad_peer_is_hung_up_on() {
    let cases: [(&[u8], &str); 3] = [
        (b"hello\n", "it sent what is not its protocol"),
        (b"[1, 2]\n", "it sent what is not its protocol"),
        (&vec![b' '; 5 << 20], "it sent a line without an end"),
    ];
    for (lines, why) in cases {
        let qmp = bad_peer(lines.to_vec()).await;
        let error = qmp.query_status().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.message(), format!("the connection to QEMU is gone: {why}"));
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_passed_over() {
    let lines = b"{\"return\": 1, \"id\": 77}\n{\"return\": 2}\n{\"event\": \"NEW\", \"data\": 3}\n\
                  {\"return\": {\"running\": true, \"status\": \"running\", \"new\": {}}, \"id\": 2}\n";
    let qmp = bad_peer(lines.to_vec()).await;
    assert!(qmp.query_status().await.unwrap().running);
    let event = qmp.events().recv().await.unwrap();
    assert_eq!(event, Event::Other { name: "NEW".to_owned(), data: json!(3) });
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let qmp = bad_peer(Vec::new()).await;
    let bound = Duration::from_millis(10);
    let error = qmp.execute_within("query-status", Value::Null, bound).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "QEMU has not answered query-status for 0 seconds");
}

#[tokio::test]
async fn a_socket_that_is_not_there_or_not_qemus_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("qmp.sock");
    let error = Qmp::connect(&nowhere).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"{\"return\": {}}\n").await.unwrap();
    let error = Qmp::over(ours).await.err().unwrap();
    assert_eq!(error.message(), "the connection to QEMU is gone: what listens there is not QEMU");
}

#[tokio::test(start_paused = true)]
async fn a_qemu_that_does_not_greet_is_not_waited_for() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = Qmp::over(ours).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn events_are_understood() {
    let cases = [
        (
            "SHUTDOWN",
            json!({"guest": true, "reason": "guest-shutdown"}),
            Event::Shutdown { guest: true, reason: "guest-shutdown".to_owned() },
        ),
        (
            "GUEST_PANICKED",
            json!({"action": "pause"}),
            Event::GuestPanicked { action: "pause".to_owned(), info: Value::Null },
        ),
        ("WATCHDOG", json!({"action": "reset"}), Event::Watchdog { action: "reset".to_owned() }),
        (
            "BLOCK_IO_ERROR",
            json!({"device": "", "node-name": "root", "operation": "write", "action": "stop",
                   "nospace": true, "reason": "No space left on device"}),
            Event::BlockIoError {
                device: "root".to_owned(),
                operation: "write".to_owned(),
                action: "stop".to_owned(),
                full: true,
            },
        ),
        ("BALLOON_CHANGE", json!({"actual": 5}), Event::BalloonChange { actual: 5 }),
    ];
    for (name, data, expected) in cases {
        assert_eq!(super::event::parse(name.to_owned(), data), expected);
    }
}
