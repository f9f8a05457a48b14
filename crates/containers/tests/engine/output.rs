//! What containers print is kept.

use std::path::Path;
use std::time::{Duration, Instant};

use containers::logs::{ReadOptions, Reader, Stream};
use containers::{Engine, WindowSize};
use futures::StreamExt;
use model::Bytes;
use model::instance::LogOptions;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use crate::a_node;
use crate::scenarios::{Subject, within};

/// All that was kept, put back together.
pub async fn text(directory: &Path) -> String {
    let records: Vec<_> = Reader::open(directory, ReadOptions::default())
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record.write_to(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn both_streams_and_pieces_of_lines() {
    let node = a_node!();
    let script = "echo out; sleep 0.05; echo err >&2; sleep 0.05; echo -n prompt";
    let config = node.logged("streams", &["sh", "-c", script]);
    let (code, _) = within(node.run(&config)).await;
    assert_eq!(code, 0);
    let log = node.log("streams");
    let records: Vec<_> =
        Reader::open(&log, ReadOptions::default()).unwrap().map(Result::unwrap).collect().await;
    let shown: Vec<_> = records
        .iter()
        .map(|r| (r.stream, r.partial, String::from_utf8_lossy(&r.bytes).into_owned()))
        .collect();
    assert_eq!(
        shown,
        [
            (Stream::Stdout, false, "out".to_owned()),
            (Stream::Stderr, false, "err".to_owned()),
            (Stream::Stdout, true, "prompt".to_owned()),
        ]
    );
}

#[tokio::test]
async fn followed_live_to_the_very_end() {
    let node = a_node!();
    let config = node.logged("live", &["sh", "-c", "seq 1 200000"]);
    node.engine.create(&config).await.unwrap();
    let (ended, follow) = watch::channel(false);
    let options = ReadOptions { follow: Some(follow), ..ReadOptions::default() };
    let reader = Reader::open(node.log("live"), options).unwrap();
    let counted = tokio::spawn(async move {
        let mut expected = 1;
        let mut line = Vec::new();
        let mut reader = reader;
        while let Some(record) = reader.next().await {
            let record = record.unwrap();
            line.extend_from_slice(&record.bytes);
            if !record.partial {
                assert_eq!(line, format!("{expected}").as_bytes());
                expected += 1;
                line.clear();
            }
        }
        expected - 1
    });
    node.engine.start(&config.id).await.unwrap();
    within(node.engine.wait(&config.id)).await.unwrap();
    ended.send_replace(true);
    within(node.engine.delete_task(&config.id)).await.unwrap();
    assert_eq!(within(counted).await.unwrap(), 200_000);
}

#[tokio::test]
async fn a_flood_is_bounded_and_ends() {
    let node = a_node!();
    let mut config = node.logged("flood", &["sh", "-c", "yes 0123456789 | head -c 200000000"]);
    config.spec.log = LogOptions { max_size: Bytes(4 << 20), max_files: 3, off: false };
    let begun = Instant::now();
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    within(node.engine.wait(&config.id)).await.unwrap();
    let took = begun.elapsed();
    let largest = driver_memory(&node.log("flood"));
    node.engine.remove(&config.id).await.unwrap();
    assert!(containers::logs::files::size(&node.log("flood")) <= 3 * (4 << 20));
    eprintln!("200 MB of 11-byte lines in {took:?}; driver holds {largest:?} kB at most");
    assert!(largest.is_some_and(|kilobytes| kilobytes < 8192));
}

/// The most memory the driver of a log ever held, in kB.
fn driver_memory(directory: &Path) -> Option<u64> {
    let name = directory.to_string_lossy().into_owned();
    let mut all = std::fs::read_dir("/proc").unwrap().flatten();
    all.find_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        if !line.contains("log-driver") || !line.contains(&name) {
            return None;
        }
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim();
        most.strip_suffix("kB")?.trim().parse().ok()
    })
}

#[tokio::test]
async fn an_input_without_a_terminal_is_logged_too() {
    let node = a_node!();
    let mut config = node.logged("echoes", &["cat"]);
    config.spec.stdin = true;
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    let mut input = node.engine.open_stdin(&config.id).await.unwrap();
    input.write_all(b"one\ntwo").await.unwrap();
    drop(input);
    node.engine.close_stdin(&config.id).await.unwrap();
    assert_eq!(within(node.engine.wait(&config.id)).await.unwrap().code, 0);
    within(node.engine.remove(&config.id)).await.unwrap();
    let (ended, follow) = watch::channel(true);
    let options = ReadOptions { follow: Some(follow), ..ReadOptions::default() };
    let records: Vec<_> =
        within(Reader::open(node.log("echoes"), options).unwrap().map(Result::unwrap).collect())
            .await;
    let bytes: Vec<_> = records.iter().map(|record| record.bytes.as_ref()).collect();
    assert_eq!(bytes, [&b"one"[..], b"two"]);
    drop(ended);
}

#[tokio::test]
async fn a_terminal() {
    let node = a_node!();
    let script = "read go; stty size; tty; echo err >&2; exit 4";
    let mut config = node.logged("terminal", &["sh", "-c", script]);
    config.spec.tty = true;
    config.spec.stdin = true;
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    node.engine.resize(&config.id, WindowSize { width: 101, height: 33 }).await.unwrap();
    let mut input = node.engine.open_stdin(&config.id).await.unwrap();
    input.write_all(b"go\n").await.unwrap();
    assert_eq!(within(node.engine.wait(&config.id)).await.unwrap().code, 4);
    drop(input);
    within(node.engine.remove(&config.id)).await.unwrap();
    let text = text(&node.log("terminal")).await;
    assert!(text.contains("33 101"), "{text:?}");
    assert!(text.contains("/dev/pts/0") || text.contains("/dev/console"), "{text:?}");
    assert!(text.contains("err"), "{text:?}");
}

#[tokio::test]
async fn nobody_keeps_it() {
    let node = a_node!();
    for tty in [false, true] {
        let mut config = node.config("unkept", &["sh", "-c", "yes | head -c 3000000; exit 5"]);
        config.spec.tty = tty;
        node.engine.create(&config).await.unwrap();
        node.engine.start(&config.id).await.unwrap();
        assert_eq!(within(node.engine.wait(&config.id)).await.unwrap().code, 5, "tty: {tty}");
        node.engine.remove(&config.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_again_goes_on_in_the_same_log() {
    let node = a_node!();
    let config = node.logged("again", &["echo", "hello"]);
    node.engine.create(&config).await.unwrap();
    for _ in 0..3 {
        node.engine.start(&config.id).await.unwrap();
        within(node.engine.wait(&config.id)).await.unwrap();
        node.engine.delete_task(&config.id).await.unwrap();
    }
    node.engine.remove(&config.id).await.unwrap();
    assert_eq!(text(&node.log("again")).await, "hello\n".repeat(3));
    let _ = Duration::ZERO;
}

/// A start that was cut short leaves a driver whose pipes its shim never closes.
#[tokio::test]
async fn a_driver_that_does_not_end_makes_way() {
    let node = a_node!();
    let config = node.logged("way", &["echo", "hello"]);
    let log = node.log("way");
    let mut left = std::process::Command::new("sh")
        .args(["-c", "exec \"$0\" log-driver \"$1\" 3<&0 4<&0 5>/dev/null"])
        .arg(env!("CARGO_BIN_EXE_hull-mode"))
        .arg(format!("1048576:2:p:{}", log.display()))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    within(async {
        while std::fs::read(log.join("lock")).unwrap_or_default().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.engine.create(&config).await.unwrap();
    within(node.engine.start(&config.id)).await.unwrap();
    within(node.engine.wait(&config.id)).await.unwrap();
    assert!(left.wait().unwrap().success());
    node.engine.remove(&config.id).await.unwrap();
    assert_eq!(text(&log).await, "hello\n");
}
