//! The reference registry, as Debian ships it (package `docker-registry`).

use std::path::PathBuf;
use std::process::Stdio;

use images::{Credentials, PushOptions, Pusher, Settings};
use model::ErrorKind;
use model::image::Reference;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::archives::oci_archive;
use crate::sample::{Packing, Sample, SampleLayer, noise, tar_of};
use crate::store::{Fixture, always, settings};

const PROGRAM: &str = "docker-registry";
/// bcrypt of `s3cret-word` for user `ann`.
const HTPASSWD: &str = "ann:$2y$04$abcdefghijklmnopqrstuuzQDw2v3CQSMowG.sq3X.nH1lfmlmQMW\n";

pub struct Registry {
    pub address: String,
    _child: Child,
    _storage: TempDir,
}

impl Registry {
    /// `None` where the program is not installed.
    pub async fn start(guarded: bool) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: {PROGRAM} is neither installed nor unpacked by `make images`");
            return None;
        };
        let storage = tempfile::tempdir().unwrap();
        let config = storage.path().join("config.yml");
        let htpasswd = storage.path().join("htpasswd");
        std::fs::write(&htpasswd, HTPASSWD).unwrap();
        let auth = format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}", htpasswd.display());
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: \"127.0.0.1:0\" }}\n{}\n",
            storage.path().join("data").display(),
            if guarded { &*auth } else { "" }
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("the registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',', ' ']).next().unwrap().to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { address, _child: child, _storage: storage })
    }
}

/// The installed program, else the one that `make images` unpacked.
fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let unpacked = cache.map(|cache| cache.join("monohull/registry/package/usr/bin"));
    let mut places = std::env::split_paths(&paths).chain(unpacked);
    places.find_map(|place| Some(place.join(PROGRAM)).filter(|program| program.is_file()))
}

/// A store with `sample` in it under `name`.
async fn holding(sample: &Sample, name: &str, settings: Settings) -> (Fixture, Pusher) {
    let fixture = Fixture::with(settings.clone());
    let archive = oci_archive(sample, Some(name));
    fixture.images.import(&archive[..], Default::default()).await.unwrap();
    let pusher = Pusher::new(fixture.store.clone(), settings).unwrap();
    (fixture, pusher)
}

fn sample() -> Sample {
    let tar = tar_of(&[("etc/motd", b"hello"), ("data", &noise(7, 3_000_000))]);
    let zstd = SampleLayer::of_tar(tar_of(&[("z", b"z")]), Packing::Zstd);
    Sample::new(vec![SampleLayer::of_tar(tar, Packing::Gzip), zstd])
}

#[tokio::test]
async fn pushed_and_pulled() {
    let Some(registry) = Registry::start(false).await else { return };
    let sample = sample();
    let name = format!("{}/team/app:1.0", registry.address);
    let reference = Reference::parse(&name).unwrap();
    let (_source, pusher) = holding(&sample, &name, settings()).await;
    let (pushed, _) = pusher.push(&name, &reference, PushOptions::default()).await.unwrap();
    assert_eq!(pushed, sample.digest());
    let (again, _) = pusher.push(&name, &reference, PushOptions::default()).await.unwrap();
    assert_eq!(again, pushed);
    let other = Reference::parse(&format!("{}/other/app:2", registry.address)).unwrap();
    pusher.push(&name, &other, PushOptions::default()).await.unwrap();
    let fixture = Fixture::new();
    for name in [&reference, &other] {
        let image = fixture.puller.pull(name, always()).await.unwrap();
        assert_eq!((&*image.id, &*image.digest), (sample.id().as_str(), pushed.as_str()));
    }
    let missing = format!("{}/team/app:2", registry.address);
    assert_eq!(fixture.pull(&missing).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn with_a_password() {
    let Some(registry) = Registry::start(true).await else { return };
    let home = tempfile::tempdir().unwrap();
    let credentials = Some(home.path().join("config.json"));
    let settings = Settings { credentials, ..settings() };
    let sample = sample();
    let name = format!("{}/app:1", registry.address);
    let reference = Reference::parse(&name).unwrap();
    let (fixture, pusher) = holding(&sample, &name, settings.clone()).await;
    let error = pusher.push(&name, &reference, PushOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{}", error.chain());
    let ann = |password: &str| Credentials::Basic { user: "ann".into(), password: password.into() };
    let error = fixture.puller.login(&registry.address, ann("wrong")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{}", error.chain());
    fixture.puller.login(&registry.address, ann("s3cret-word")).await.unwrap();
    pusher.push(&name, &reference, PushOptions::default()).await.unwrap();
    let other = Fixture::with(settings);
    assert_eq!(other.pull(&name).await.unwrap().id, sample.id().as_str());
    let stranger = Fixture::new();
    let error = stranger.pull(&name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.chain());
    assert!(error.next_step().unwrap().contains("login"));
}
