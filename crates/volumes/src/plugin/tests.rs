//! The driver beside a plugin that says what a test wants; real ones are in the end-to-end tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::ErrorKind;
use serde_json::{Value, json};

use super::{Places, PluginVolumes};
use crate::driver::{CreateVolume, Driver, Publish, VolumeId, detach};

/// What it says to a call; nothing when it hangs up instead.
type Answer = dyn Fn(&str, &Value) -> Option<Value> + Send + Sync;

/// A plugin called `p`, and what a node remembers of it.
struct Stand {
    root: tempfile::TempDir,
    calls: Arc<Mutex<HashMap<String, usize>>>,
}

impl Stand {
    fn new(answer: impl Fn(&str, &Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        let root = tempfile::tempdir().unwrap();
        let sockets = root.path().join("run/docker/plugins");
        std::fs::create_dir_all(&sockets).unwrap();
        let listener = UnixListener::bind(sockets.join("p.sock")).unwrap();
        let calls: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let (heard, answer): (_, Arc<Answer>) = (calls.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, answer) = (heard.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &heard, &*answer));
            }
        });
        Self { root, calls }
    }

    /// The driver as a process of this boot opens it.
    fn open(&self, boot: &str) -> PluginVolumes {
        let root = self.root.path();
        let places = Places::below(root).barring(&root.join("own"));
        PluginVolumes::open(&root.join("records"), places, boot).unwrap()
    }

    fn dir(&self) -> PathBuf {
        let dir = self.root.path().join("v");
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn calls(&self, method: &str) -> usize {
        self.calls.lock().unwrap().get(method).copied().unwrap_or_default()
    }
}

fn serve(stream: UnixStream, heard: &Mutex<HashMap<String, usize>>, answer: &Answer) {
    let mut reader = BufReader::new(&stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    let method =
        line.split([' ', '/']).nth(2).unwrap().trim_start_matches("VolumeDriver.").to_owned();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    *heard.lock().unwrap().entry(method.clone()).or_default() += 1;
    let Some(said) = answer(&method, &serde_json::from_slice(&body).unwrap_or_default()) else {
        return;
    };
    let said = said.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", said.len());
    let _ = (&stream).write_all((head + &said).as_bytes());
}

/// A plugin that does as it is told, with its volume at `at`.
fn willing(at: &Path) -> impl Fn(&str, &Value) -> Option<Value> + Send + Sync + 'static {
    let at = at.to_owned();
    move |method, _| {
        Some(match method {
            "Plugin.Activate" => json!({ "Implements": ["VolumeDriver"] }),
            "Mount" => json!({ "Mountpoint": at, "Err": "" }),
            "Get" => json!({ "Err": "no such volume" }),
            _ => json!({ "Err": "" }),
        })
    }
}

fn id() -> VolumeId {
    "a".parse().unwrap()
}

fn user(name: &str) -> Publish {
    Publish { volume: id(), consumer: name.to_owned() }
}

fn request() -> CreateVolume {
    CreateVolume { storage: "p".into(), ..CreateVolume::new(id(), "vol") }
}

#[tokio::test]
async fn each_user_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(willing(dir.path()));
    let driver = stand.open("boot");
    driver.create(request()).await.unwrap();
    driver.create(request()).await.unwrap();
    assert_eq!(stand.calls("Create"), 1);
    let other = CreateVolume { options: [("a".into(), "b".into())].into(), ..request() };
    assert_eq!(driver.create(other).await.unwrap_err().kind(), ErrorKind::Exists);
    for name in ["x", "y", "x"] {
        driver.node_claim(&user(name)).await.unwrap();
        driver.node_publish(user(name)).await.unwrap();
    }
    assert_eq!(stand.calls("Mount"), 2);
    assert_eq!(driver.delete(&id()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(driver.forget(&id()).await.unwrap_err().kind(), ErrorKind::Conflict);
    // A process that begins knows them.
    let driver = stand.open("boot");
    assert_eq!(driver.show(&id()).await.unwrap().published, ["x", "y"]);
    driver.node_claim(&user("x")).await.unwrap();
    assert_eq!(stand.calls("Mount"), 2);
    for name in ["x", "x", "y"] {
        detach(&driver, &id(), name).await.unwrap();
    }
    assert_eq!(stand.calls("Unmount"), 2);
    driver.delete(&id()).await.unwrap();
    driver.delete(&id()).await.unwrap();
    assert_eq!(stand.calls("Remove"), 1);
    assert!(driver.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_mount_of_another_boot_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(willing(dir.path()));
    let driver = stand.open("one");
    driver.create(request()).await.unwrap();
    driver.node_claim(&user("x")).await.unwrap();
    let driver = stand.open("two");
    assert_eq!(driver.show(&id()).await.unwrap().path, None);
    driver.node_claim(&user("x")).await.unwrap();
    assert_eq!((stand.calls("Mount"), stand.calls("Unmount")), (2, 1));
}

#[tokio::test]
async fn what_was_not_answered_is_taken_back() {
    let stand = Stand::new(move |method, body| match method {
        "Mount" => None,
        _ => willing(Path::new("/nowhere"))(method, body),
    });
    let driver = stand.open("boot");
    driver.create(request()).await.unwrap();
    for _ in 0..2 {
        let error = driver.node_claim(&user("x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.chain().contains("\"p\""), "{}", error.chain());
    }
    // Before the second try, and with the user.
    assert_eq!(stand.calls("Unmount"), 1);
    driver.node_unpublish(&id(), "x").await.unwrap();
    assert_eq!(stand.calls("Unmount"), 2);
    assert!(driver.settle().await);
}

#[tokio::test]
async fn what_is_not_taken_back_is_tried_again_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_owned();
    let stand = Stand::new(move |method, body| match method {
        "Unmount" => Some(json!({ "Err": "busy" })),
        _ => willing(&at)(method, body),
    });
    let driver = stand.open("boot");
    driver.create(request()).await.unwrap();
    driver.node_claim(&user("x")).await.unwrap();
    driver.node_unpublish(&id(), "x").await.unwrap();
    assert!(driver.show(&id()).await.unwrap().published.is_empty(), "its user is gone at once");
    driver.unsettled().await;
    assert!(!driver.settle().await);
    assert!(stand.open("boot").settle().await, "the third no is the last");
    assert_eq!(stand.calls("Unmount"), 3);
}

#[tokio::test]
async fn a_volume_that_was_not_made_leaves_nothing() {
    let stand = Stand::new(move |method, body| match method {
        "Create" if body["Opts"]["hang"].is_string() => None,
        "Create" => Some(json!({ "Err": "no" })),
        _ => willing(Path::new("/nowhere"))(method, body),
    });
    let driver = stand.open("boot");
    let refused = driver.create(request()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Conflict, "no"));
    assert!(!driver.has(&id()));
    // Whether it was made is not known: it can be made, and removed, again.
    let hangs = CreateVolume { options: [("hang".into(), "1".into())].into(), ..request() };
    assert_eq!(driver.create(hangs).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let driver = stand.open("boot");
    assert!(driver.has(&id()));
    assert_eq!(driver.show(&id()).await.unwrap_err().kind(), ErrorKind::NotFound);
    driver.delete(&id()).await.unwrap();
    assert!(!driver.has(&id()));
}

#[tokio::test]
async fn what_is_not_removed_is_gone_only_if_the_plugin_says_so() {
    let down = json!({ "Err": "cannot reach etcd" });
    let cases = [
        (json!({ "Volumes": null, "Err": "" }), true),
        (json!({ "Volumes": [null, { "Name": "other" }] }), true),
        (json!({ "Volumes": [{ "Name": "vol" }] }), false),
        (down.clone(), false),
    ];
    for (list, gone) in cases {
        let (listed, down) = (list.clone(), down.clone());
        let stand = Stand::new(move |method, body| match method {
            "Remove" | "Get" => Some(down.clone()),
            "List" => Some(listed.clone()),
            _ => willing(Path::new("/nowhere"))(method, body),
        });
        let driver = stand.open("boot");
        driver.create(request()).await.unwrap();
        let deleted = driver.delete(&id()).await;
        assert_eq!((deleted.is_ok(), driver.has(&id())), (gone, !gone), "{list}: {deleted:?}");
    }
}

#[tokio::test]
async fn directories_that_are_no_plugins_to_give() {
    let place = Arc::new(Mutex::new(PathBuf::new()));
    let told = place.clone();
    let stand = Stand::new(move |method, body| willing(&told.lock().unwrap())(method, body));
    let driver = stand.open("boot");
    driver.create(request()).await.unwrap();
    let root = stand.root.path();
    std::fs::create_dir_all(root.join("own/deep")).unwrap();
    std::os::unix::fs::symlink(root.join("own"), root.join("link")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let bad = ["own", "own/deep", "link", "link/deep", "file", "absent", ""];
    for path in bad.map(|path| root.join(path)) {
        place.lock().unwrap().clone_from(&path);
        let error = driver.node_claim(&user("x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{path:?}: {}", error.chain());
        assert!(driver.show(&id()).await.unwrap().published.is_empty(), "{path:?}");
    }
    place.lock().unwrap().clone_from(&stand.dir());
    driver.node_claim(&user("x")).await.unwrap();
}

#[tokio::test]
async fn what_plugins_do_not_have_is_said() {
    let stand = Stand::new(|_, _| Some(json!({ "Implements": ["NetworkDriver"] })));
    let driver = stand.open("boot");
    type Change = fn(&mut CreateVolume);
    let cases: [(Change, ErrorKind); 4] = [
        (|it| it.size = Some(model::Bytes::mib(16)), ErrorKind::Unsupported),
        (|it| it.storage = "absent".into(), ErrorKind::NotFound),
        (|it| it.storage = "../p".into(), ErrorKind::NotFound),
        (|_| {}, ErrorKind::Unsupported),
    ];
    for (change, kind) in cases {
        let mut request = request();
        change(&mut request);
        let error = driver.create(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(error.next_step().is_some(), "{}", error.chain());
    }
    assert!(driver.list().await.unwrap().is_empty());
}
