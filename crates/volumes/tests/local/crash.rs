//! kill -9 between any two steps of a verb. A child process runs the verb and kills itself at the n-th
//! step; then the verb is repeated here and must end as if nothing had happened. Then n + 1, until the
//! child comes through.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use model::{Bytes, Result};
use volumes::local::{LocalDriver, Steps};
use volumes::{CreateSnapshot, CreateVolume, Driver, Populate, Publish, Source};

use super::disk::{Disk, Kind};
use super::{id, request, shape};

const TASK: &str = "HULL_VOLUMES_TEST_CRASH";
const SIGKILL: i32 = 9;
/// More steps than any verb here has: a child that always dies is a fault of the test.
const MOST: u32 = 60;

/// A verb and how the volume was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Populate,
    Expand,
    Snapshot,
    Restore,
    Clone,
    Stage,
    Delete,
}

const VERBS: [Verb; 8] = [
    Verb::Create,
    Verb::Populate,
    Verb::Expand,
    Verb::Snapshot,
    Verb::Restore,
    Verb::Clone,
    Verb::Stage,
    Verb::Delete,
];

/// One kind of volume on one disk.
struct Ground {
    dir: PathBuf,
    image: PathBuf,
    size: Option<Bytes>,
}

impl Ground {
    fn request(&self, name: &str) -> CreateVolume {
        request(name, &shape(self.size, &[]))
    }

    fn larger(&self) -> Option<Bytes> {
        self.size.map(|size| Bytes(size.0 + (32 << 20)))
    }

    async fn run(&self, driver: &LocalDriver, verb: Verb) -> Result<()> {
        let volume = id("v");
        match verb {
            Verb::Create => driver.create(self.request("v")).await.map(drop),
            Verb::Populate => {
                driver.node_stage(&volume).await?;
                let source = Populate { root: self.image.clone(), path: "/".into(), owner: None };
                driver.populate(&volume, source).await.map(drop)
            }
            Verb::Expand => match self.larger() {
                Some(size) => driver.expand(&volume, size).await.map(drop),
                None => Ok(()),
            },
            Verb::Snapshot => {
                let request = CreateSnapshot { id: id("s"), name: "s".into(), volume };
                driver.create_snapshot(request).await.map(drop)
            }
            Verb::Restore => {
                let source = Some(Source::Snapshot(id("s")));
                driver.create(CreateVolume { source, ..self.request("r") }).await.map(drop)
            }
            Verb::Clone => {
                let source = Some(Source::Volume(volume));
                driver.create(CreateVolume { source, ..self.request("r") }).await.map(drop)
            }
            Verb::Stage => driver.node_stage(&volume).await,
            Verb::Delete => driver.delete(&volume).await,
        }
    }

    /// What must be before the verb.
    async fn prepare(&self, driver: &LocalDriver, verb: Verb) {
        for name in ["v", "r"] {
            driver.node_unpublish(&id(name), "test").await.unwrap();
            driver.delete(&id(name)).await.unwrap();
        }
        driver.delete_snapshot(&id("s")).await.unwrap();
        if verb == Verb::Create {
            return;
        }
        driver.create(self.request("v")).await.unwrap();
        if verb == Verb::Populate {
            return;
        }
        driver.node_stage(&id("v")).await.unwrap();
        let path = driver.show(&id("v")).await.unwrap().path.unwrap();
        fs::write(path.join("kept"), "value").unwrap();
        rustix::fs::syncfs(fs::File::open(path).unwrap()).unwrap();
        match verb {
            Verb::Restore => self.run(driver, Verb::Snapshot).await.unwrap(),
            Verb::Stage => driver.node_unstage(&id("v")).await.unwrap(),
            _ => {}
        }
    }

    /// What must hold after the verb, and after the next start.
    async fn verify(&self, driver: &LocalDriver, verb: Verb) {
        let at = |name: &str| Publish { volume: id(name), consumer: "test".into() };
        let open = async |name: &str| {
            driver.node_stage(&id(name)).await.unwrap();
            driver.node_publish(at(name)).await.unwrap()
        };
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        match verb {
            Verb::Create => assert_eq!(fs::read_dir(open("v").await).unwrap().count(), 0),
            Verb::Populate => {
                let path = open("v").await;
                for number in 0..FILES {
                    let name = number.to_string();
                    assert_eq!(read(&path.join(&name)), read(&self.image.join(&name)));
                }
            }
            Verb::Restore | Verb::Clone => {
                assert_eq!(read(&open("r").await.join("kept")), "value");
                assert_eq!(read(&open("v").await.join("kept")), "value");
            }
            Verb::Snapshot | Verb::Stage => {
                assert_eq!(read(&open("v").await.join("kept")), "value");
            }
            Verb::Expand => {
                assert_eq!(read(&open("v").await.join("kept")), "value");
                assert_eq!(driver.show(&id("v")).await.unwrap().size, self.larger());
                if let Some(size) = self.larger() {
                    let total = driver.stats(&id("v")).await.unwrap().total;
                    assert!(total.0 > size.0 * 3 / 4, "{total} of {size}");
                }
            }
            Verb::Delete => assert_eq!(driver.list().await.unwrap(), []),
        }
        for part in ["new", "trash"] {
            assert_eq!(fs::read_dir(self.dir.join(part)).unwrap().count(), 0, "left in {part}");
        }
    }
}

const FILES: u32 = 5;

/// Kills a child at every step of every verb; how many times.
async fn killed_everywhere(kind: Kind, size: Option<Bytes>) -> u32 {
    let Some(disk) = Disk::new(kind, Bytes::gib(2)) else { return 0 };
    let image = disk.beside().join("image");
    fs::create_dir(&image).unwrap();
    for number in 0..FILES {
        fs::write(image.join(number.to_string()), vec![b'x'; 10_000]).unwrap();
    }
    let ground = Ground { dir: disk.path().join("volumes"), image, size };
    let mut kills = 0;
    for (index, verb) in VERBS.into_iter().enumerate() {
        for step in 1.. {
            assert!(step < MOST, "{verb:?} has no end");
            let driver = LocalDriver::open(&ground.dir).unwrap();
            ground.prepare(&driver, verb).await;
            drop(driver);
            let died = child(&ground, index, step);
            let driver = LocalDriver::open(&ground.dir).unwrap();
            ground.run(&driver, verb).await.unwrap_or_else(|error| {
                panic!("{verb:?} repeated after step {step}: {}", error.chain())
            });
            ground.verify(&driver, verb).await;
            if !died {
                break;
            }
            kills += 1;
        }
    }
    kills
}

/// Runs a verb in a child that kills itself at `step`; whether it did.
fn child(ground: &Ground, verb: usize, step: u32) -> bool {
    let size = ground.size.unwrap_or_default().0;
    let task = format!("{verb} {step} {size} {} {}", ground.dir.display(), ground.image.display());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_child", "--nocapture"])
        .env(TASK, task)
        .output()
        .unwrap();
    match output.status.signal() {
        Some(SIGKILL) => true,
        None if output.status.success() => false,
        _ => panic!("the child failed: {output:?}"),
    }
}

/// What the child does. Run as a test it does nothing.
#[tokio::test]
async fn the_child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [verb, step, size, dir, image] = words[..] else { panic!("{task}") };
    let step: u32 = step.parse().unwrap();
    let size = Some(Bytes(size.parse().unwrap())).filter(|size| size.0 > 0);
    let ground = Ground { dir: dir.into(), image: image.into(), size };
    let count = AtomicU32::new(0);
    let steps = Steps::watched(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) + 1 == step {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        }
    });
    let driver = LocalDriver::open_watched(&ground.dir, steps).unwrap();
    ground.run(&driver, VERBS[verb.parse::<usize>().unwrap()]).await.unwrap();
}

fn report(what: &str, kills: u32) {
    println!("{what}: killed {kills} times");
    assert!(kills > 15 || !rustix::process::geteuid().is_root(), "{kills}");
}

#[tokio::test]
async fn directories_survive_a_kill_at_every_step() {
    report("directories", killed_everywhere(Kind::Ext4, None).await);
}

#[tokio::test]
async fn images_survive_a_kill_at_every_step() {
    report("images", killed_everywhere(Kind::Ext4, Some(Bytes::mib(48))).await);
}

#[tokio::test]
async fn images_with_reflinks_survive_a_kill_at_every_step() {
    report("images with reflinks", killed_everywhere(Kind::Xfs, Some(Bytes::mib(320))).await);
}

#[tokio::test]
async fn subvolumes_survive_a_kill_at_every_step() {
    report("subvolumes", killed_everywhere(Kind::Btrfs, Some(Bytes::mib(48))).await);
}

/// The guard, not the next start, lets go of a volume whose snapshot's process died.
#[tokio::test]
async fn a_dead_process_leaves_nothing_frozen() {
    const FROZEN: u32 = 3;
    let Some(disk) = Disk::new(Kind::Ext4, Bytes::gib(1)) else { return };
    let dir = disk.path().join("volumes");
    let ground = Ground { dir, image: disk.path(), size: Some(Bytes::mib(48)) };
    let driver = LocalDriver::open(&ground.dir).unwrap();
    ground.prepare(&driver, Verb::Snapshot).await;
    let path = driver.show(&id("v")).await.unwrap().path.unwrap();
    drop(driver);
    let snapshot = VERBS.iter().position(|verb| *verb == Verb::Snapshot).unwrap();
    assert!(child(&ground, snapshot, FROZEN));
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        fs::write(path.join("after"), "it would wait for ever here").unwrap();
        done.send(()).unwrap();
    });
    wait.recv_timeout(std::time::Duration::from_secs(5)).expect("the volume stayed frozen");
}
