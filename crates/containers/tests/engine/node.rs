//! A containerd of a test's own, in a directory of its own, gone with the test.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use containers::{ContainerConfig, Containerd, Engine, Settings, Supervisor};
use model::instance::ContainerSpec;

use crate::image;
use crate::scenarios::{Subject, id};

const PREFIX: &str = "hull-containers-";

pub struct Node {
    pub supervisor: Option<Supervisor>,
    pub engine: Containerd,
    pub chain: String,
    pub directory: PathBuf,
    pub cgroup: String,
}

impl Node {
    /// A node with the busybox image, or why there can be none here.
    pub async fn new() -> Result<Node, String> {
        Self::in_directory("").await
    }

    /// The same, that many levels deep.
    pub async fn in_directory(below: &str) -> Result<Node, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        if !image::is_there() {
            return Err(format!("needs a static busybox at {}", image::BUSYBOX));
        }
        let paths = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&paths).any(|path| path.join("containerd").exists()) {
            return Err("needs containerd".to_owned());
        }
        sweep_once();
        let directory = own_directory();
        let settings = settings(&directory.join(below));
        let begun = std::time::Instant::now();
        let supervisor = match Supervisor::start(settings).await {
            Ok(supervisor) => supervisor,
            Err(error) => {
                destroy(&directory);
                panic!("{}", error.chain());
            }
        };
        if std::env::var_os("SHOW_TIMES").is_some() {
            println!("containerd answers after {:?}", begun.elapsed());
        }
        let engine = supervisor.engine();
        let (layer, archive) = image::busybox();
        let chain = image::unpack(&engine, &layer, &archive).await;
        let cgroup = format!("/{}", directory.file_name().unwrap().to_str().unwrap());
        Ok(Node { supervisor: Some(supervisor), engine, chain, directory, cgroup })
    }

    pub fn settings(&self) -> Settings {
        settings(&self.directory)
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(name)
    }

    /// A container that keeps its output.
    pub fn logged(&self, name: &str, command: &[&str]) -> ContainerConfig {
        let mut config = self.config(name, command);
        config.log = Some(self.log(name));
        config
    }

    /// Runs a container to its end; its exit code and all it printed.
    pub async fn run(&self, config: &ContainerConfig) -> (i32, String) {
        self.engine.create(config).await.unwrap_or_else(|error| panic!("{}", error.chain()));
        let started = self.engine.start(&config.id).await;
        started.unwrap_or_else(|error| panic!("{}", error.chain()));
        let exit = self.engine.wait(&config.id).await.unwrap();
        self.engine.remove(&config.id).await.unwrap();
        let text = crate::output::text(&self.log(config.id.as_str())).await;
        (exit.code, text)
    }

    /// Runs a script in a shell; all it printed.
    pub async fn shell(&self, name: &str, script: &str) -> String {
        self.run(&self.logged(name, &["sh", "-c", script])).await.1
    }
}

impl Subject for Node {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn config(&self, name: &str, command: &[&str]) -> ContainerConfig {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let spec = ContainerSpec { command: Some(command), ..ContainerSpec::default() };
        let mut config = ContainerConfig::new(id(name), self.chain.clone(), spec);
        config.cgroup_parent.clone_from(&self.cgroup);
        config
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let socket = self.supervisor.take().map(|supervisor| supervisor.places().socket.clone());
        destroy(&self.directory);
        // With a long path the socket is in a directory of its own.
        let outside = socket.filter(|socket| !socket.starts_with(&self.directory));
        if let Some(place) = outside.as_deref().and_then(Path::parent) {
            let _ = std::fs::remove_dir_all(place);
        }
    }
}

pub fn settings(directory: &Path) -> Settings {
    let mut settings = Settings::new(directory.join("state"), directory.join("run")).unwrap();
    settings.program = env!("CARGO_BIN_EXE_hull-mode").into();
    // Another version than the distribution's: tests/engines goes through several.
    if let Some(containerd) = std::env::var_os("HULL_CONTAINERD") {
        settings.containerd = containerd.into();
    }
    settings
}

/// A directory that names its owner, so that a later run can tell whether it is left over.
fn own_directory() -> PathBuf {
    let directory = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
        .unwrap();
    let directory = directory.keep();
    // Containers with users of their own must pass through.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(&directory, mode).unwrap();
    directory
}

/// Removes what tests that were killed have left.
fn sweep_once() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                destroy(&entry.path());
            }
        }
    });
}

/// Ends every process that has the directory's name in its command line or is in its cgroups, and
/// removes all files.
pub fn destroy(directory: &Path) {
    let name = directory.file_name().unwrap().to_string_lossy().into_owned();
    for round in 0..2 {
        for pid in processes() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let cgroups =
                std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&line).contains(&name) || cgroups.contains(&name);
            if ours && pid != std::process::id() {
                kill(pid);
            }
        }
        let _ = round;
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|place| Path::new(place).starts_with(directory))
        .collect();
    for place in below.iter().rev() {
        let _ = rustix::mount::unmount(*place, rustix::mount::UnmountFlags::DETACH);
    }
    let _ = std::fs::remove_dir_all(directory);
    for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        remove_cgroup(&controller.path().join(&name));
    }
    remove_cgroup(&Path::new("/sys/fs/cgroup").join(&name));
}

fn remove_cgroup(path: &Path) {
    for child in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if child.path().is_dir() {
            remove_cgroup(&child.path());
        }
    }
    let _ = std::fs::remove_dir(path);
}

fn processes() -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Kills a process and waits until it is gone.
pub fn kill(pid: u32) {
    let Some(pid) = rustix::process::Pid::from_raw(pid as i32) else { return };
    let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
    let mut polled = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    let _ = rustix::event::poll(&mut polled, Some(&patience));
}
