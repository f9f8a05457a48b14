//! Is this machine fit? The work behind `hull check`.
//!
//! A check is a small function in the table [`CHECKS`], by area a file. All run at the same time, each on
//! a thread of its own, so that one which hangs costs nothing but its own answer. [`Outcome::Fail`] is
//! said only of what the platform cannot run without.

mod clock;
mod kernel;
mod machines;
mod network;
mod privileges;
mod programs;
mod resources;
mod storage;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// What to check against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where state is kept, e.g. `/var/lib/hull`; need not exist.
    pub state_dir: PathBuf,
    /// Ports that must be free.
    pub ports: Vec<Port>,
    /// Longest a check may take; one that takes longer is told as such.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/hull".into(),
            ports: vec![Port {
                number: 7443,
                protocol: Protocol::Tcp,
                address: None,
                purpose: "API and console".to_owned(),
            }],
            deadline: Duration::from_millis(1500),
        }
    }
}

/// A port that must be free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The address it will be bound to; every address when absent.
    pub address: Option<IpAddr>,
    /// What will listen there.
    pub purpose: String,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What part of the machine a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Area {
    /// Kernel and its features.
    Kernel,
    /// Control groups and limits.
    Resources,
    /// Virtual machines.
    Machines,
    /// Network.
    Network,
    /// Disks.
    Storage,
    /// Clock.
    Time,
    /// Programs.
    Programs,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Good.
    Pass,
    /// The platform runs, with something missing or slow.
    Warn,
    /// The platform cannot run.
    Fail,
}

/// One check's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was checked, e.g. `overlayfs`.
    pub name: String,
    /// What part of the machine it is about.
    pub area: Area,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, one sentence.
    pub finding: String,
    /// What to do about it, when something should be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Milliseconds it took.
    pub millis: u64,
}

/// All answers, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The worst outcome.
    pub outcome: Outcome,
    /// One for each check.
    pub checks: Vec<Check>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    outcome: Outcome,
    text: String,
    remedy: Option<String>,
}

impl Finding {
    fn new(outcome: Outcome, text: impl Into<String>, remedy: Option<String>) -> Self {
        Self { outcome, text: text.into(), remedy }
    }

    fn pass(text: impl Into<String>) -> Self {
        Self::new(Outcome::Pass, text, None)
    }

    fn warn(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Outcome::Warn, text, Some(remedy.into()))
    }

    fn fail(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Outcome::Fail, text, Some(remedy.into()))
    }
}

/// A check: its name, its area, and how it is done.
type Entry = (&'static str, Area, fn(&Settings) -> Finding);

/// All checks but those of [`programs`], in the order in which they are told.
const CHECKS: [Entry; 34] = [
    ("privileges", Area::Kernel, privileges::root),
    ("capabilities", Area::Kernel, privileges::capabilities),
    ("kernel", Area::Kernel, kernel::version),
    ("namespaces", Area::Kernel, kernel::namespaces),
    ("overlayfs", Area::Kernel, kernel::overlayfs),
    ("seccomp", Area::Kernel, kernel::seccomp),
    ("fuse", Area::Kernel, kernel::fuse),
    ("loop devices", Area::Kernel, kernel::loop_devices),
    ("cgroups", Area::Resources, resources::cgroups),
    ("controllers", Area::Resources, resources::controllers),
    ("swap accounting", Area::Resources, resources::swap_accounting),
    ("memory", Area::Resources, resources::memory),
    ("open files", Area::Resources, resources::open_files),
    ("processes", Area::Resources, resources::pid_max),
    ("kvm", Area::Machines, machines::kvm),
    ("uefi", Area::Machines, machines::uefi),
    ("shared directories", Area::Machines, machines::shares),
    ("huge pages", Area::Machines, machines::huge_pages),
    ("passthrough", Area::Machines, machines::passthrough),
    ("bridge", Area::Network, network::bridge),
    ("veth", Area::Network, network::veth),
    ("vxlan", Area::Network, network::vxlan),
    ("wireguard", Area::Network, network::wireguard),
    ("nftables", Area::Network, network::nftables),
    ("firewall", Area::Network, network::firewall),
    ("forwarding", Area::Network, network::forwarding),
    ("ports", Area::Network, network::ports),
    ("file system", Area::Storage, storage::file_system),
    ("disk space", Area::Storage, storage::space),
    ("disk latency", Area::Storage, storage::latency),
    ("volume sizes", Area::Storage, storage::volume_sizes),
    ("time sync", Area::Time, clock::synchronised),
    ("clock", Area::Time, clock::sane),
    ("clock source", Area::Time, clock::source),
];

/// Runs all checks at the same time; none can hold the others up longer than the deadline.
pub async fn run(settings: &Settings) -> Report {
    let settings = Arc::new(settings.clone());
    let asked = tokio::spawn(programs::all());
    let running: Vec<_> = CHECKS.iter().map(|entry| start(entry, Arc::clone(&settings))).collect();
    let mut checks = Vec::new();
    for check in running {
        checks.push(check.answer(settings.deadline).await);
    }
    checks.extend(asked.await.unwrap_or_default());
    let outcome = checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::Pass);
    Report { outcome, checks }
}

/// A check on its way.
struct Running {
    name: &'static str,
    area: Area,
    started: Instant,
    answer: oneshot::Receiver<(Finding, Duration)>,
}

fn start(entry: &'static Entry, settings: Arc<Settings>) -> Running {
    let (name, area, work) = *entry;
    let (tell, answer) = oneshot::channel();
    let started = Instant::now();
    // A thread of its own, not the runtime's: one that hangs must not keep the process from ending.
    let thread = std::thread::Builder::new().name(format!("check {name}"));
    let spawned = thread.spawn(move || {
        let started = Instant::now();
        let finding = work(&settings);
        let _ = tell.send((finding, started.elapsed()));
    });
    if let Err(error) = spawned {
        tracing::warn!(name, %error, "check cannot be started");
    }
    Running { name, area, started, answer }
}

impl Running {
    async fn answer(self, deadline: Duration) -> Check {
        let left = deadline.saturating_sub(self.started.elapsed());
        let (finding, took) = match tokio::time::timeout(left, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => (unfinished("it broke off"), self.started.elapsed()),
            Err(_) => {
                let text = format!("it did not end in {} ms", deadline.as_millis());
                (unfinished(text), deadline)
            }
        };
        check(self.name, self.area, finding, took)
    }
}

fn unfinished(text: impl Into<String>) -> Finding {
    Finding::warn(
        text,
        "run hull check again when the machine is less busy; then see the kernel's log",
    )
}

fn check(name: &str, area: Area, finding: Finding, took: Duration) -> Check {
    let Finding { outcome, text, remedy } = finding;
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Check { name: name.to_owned(), area, outcome, finding: text, remedy, millis }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_check_answers_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            state_dir: dir.path().join("hull"),
            ports: Vec::new(),
            ..Settings::default()
        };
        let started = Instant::now();
        let report = run(&settings).await;
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        assert_eq!(report.checks.len(), CHECKS.len() + crate::programs::PROGRAMS.len());
        for check in &report.checks {
            assert!(!check.finding.is_empty(), "{}", check.name);
            let told = check.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty());
            assert_eq!(told, check.outcome != Outcome::Pass, "{check:?}");
            println!(
                "{:?} {} ({} ms): {} [{}]",
                check.outcome,
                check.name,
                check.millis,
                check.finding,
                check.remedy.as_deref().unwrap_or_default()
            );
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "a check left something behind");
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_told_and_holds_nobody_up() {
        static HANG: Entry = ("hang", Area::Kernel, |_| {
            loop {
                std::thread::park();
            }
        });
        static BREAK: Entry = ("break", Area::Kernel, |_| panic!("as asked"));
        let settings = Arc::new(Settings::default());
        let deadline = Duration::from_millis(20);
        let hung = start(&HANG, Arc::clone(&settings)).answer(deadline).await;
        assert_eq!(hung.outcome, Outcome::Warn);
        assert!(hung.finding.contains("20 ms"), "{}", hung.finding);
        let broken = start(&BREAK, settings).answer(Duration::from_secs(5)).await;
        assert_eq!(broken.outcome, Outcome::Warn);
    }
}
