//! One container of an instance.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::handed::Handed;
use super::health::HealthCheck;
use super::mount::Mount;
use super::status::ContainerStatus;
use crate::capability::{capability, is_all};
use crate::error::{Error, Result};
use crate::name::check_name;
use crate::quantity::{Bytes, Cpus};
use crate::signal::Signal;

/// What was asked of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSpec {
    /// Unique in the instance.
    pub name: String,
    /// Image reference as people write it: `nginx`, `ghcr.io/a/b:1`, `x@sha256:…`.
    pub image: String,
    /// Id of the image that the name stood for when the instance was made, where it was there: what is
    /// run, wherever the name points later. The platform writes it when it is left empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// Replaces the image's entry point; `Some` of nothing clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Added to the image's environment; `NAME=value` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory; the image's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workdir: String,
    /// `user[:group]`, names or numbers; the image's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Further groups, names or numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep its standard input open for attaching.
    pub stdin: bool,
    /// Close standard input when the first that attached to it leaves.
    pub stdin_once: bool,
    /// Run an init that reaps and forwards signals as process 1.
    pub init: bool,
    /// Signal that asks it to end, by name or number; the image's, else SIGTERM, when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// What is mounted where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Containers of its instance whose volumes it has, too, at the same paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// It is begun once in each run of its instance and not again when it ends, whatever the instance's
    /// restart policy; the first container cannot be so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// Secrets it reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Handed>,
    /// Configs it reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<Handed>,
    /// How its health is told; the image's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Limits and reservations.
    pub resources: Resources,
    /// Resource limits of its processes (getrlimit(2)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<Ulimit>,
    /// Capabilities beyond or below the default set.
    pub capabilities: Capabilities,
    /// System call filter.
    pub seccomp: Seccomp,
    /// AppArmor profile's name; the engine's default when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apparmor: String,
    /// Its processes can never gain privileges (prctl(2), PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// All capabilities, all devices, no filter, nothing masked.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// Devices of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Rules such as `c 1:3 rwm` added to the device cgroup.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_rules: Vec<String>,
    /// Size of `/dev/shm`; 64 MiB when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    /// Badness for the kernel's out-of-memory killer, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// How its output is kept.
    pub log: LogOptions,
}

/// A container of the same instance whose volumes another has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumesFrom {
    /// Its name.
    pub container: String,
    /// They cannot be written through the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PullPolicy {
    /// At each start, if the registry has a newer one.
    Always,
    /// When the node does not have it.
    #[default]
    Missing,
    /// Never: it must be there.
    Never,
}

/// Limits and reservations. Absent means unlimited, or the kernel's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Processor time, as a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Relative weight when processors are short, 2 to 262144; 1024 is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Length of a quota's period in microseconds, 1000 to 1000000; 100000 is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time in each period; instead of `cpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// Processors it may use: `0-2,5`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpuset_cpus: String,
    /// Memory nodes it may use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpuset_mems: String,
    /// Hard limit of memory; 6 MiB at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Memory it is left with when the host is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<Bytes>,
    /// Memory and swap together; -1 for no bound on swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Willingness to swap, 0 to 100 (cgroup v1 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<u64>,
    /// Processes and threads; -1 for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    /// Relative weight of block I/O, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
    /// Bounds of block I/O by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blkio_throttle: Vec<Throttle>,
    /// The out-of-memory killer leaves it alone (cgroup v1 only; needs a memory limit).
    pub oom_kill_disable: bool,
}

impl Resources {
    /// Most processors that it may use, said in either way.
    #[must_use]
    pub fn cpu_limit(&self) -> Option<Cpus> {
        const PERIOD: u64 = 100_000;
        let by_quota = || {
            let quota = u64::try_from(self.cpu_quota?).ok().filter(|quota| *quota > 0)?;
            let period = self.cpu_period.unwrap_or(PERIOD).max(1);
            Some(Cpus::from_milli(quota.saturating_mul(1000).div_ceil(period)))
        };
        self.cpus.or_else(by_quota)
    }
}

/// A bound on the I/O of one device; 0 is no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Throttle {
    /// The device's path.
    pub device: String,
    /// Bytes read in a second.
    pub read_bps: u64,
    /// Bytes written in a second.
    pub write_bps: u64,
    /// Reads in a second.
    pub read_iops: u64,
    /// Writes in a second.
    pub write_iops: u64,
}

/// A resource limit of processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ulimit {
    /// `nofile`, `nproc`, `core` … as ulimit(1p) and Docker name them.
    pub name: String,
    /// The limit in force; -1 for none.
    pub soft: i64,
    /// What the soft one may be raised to; -1 for none.
    pub hard: i64,
}

/// Changes to the default set of capabilities (capabilities(7)); `ALL` is every one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Added, with or without `CAP_`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
}

/// System call filter (seccomp(2)).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Seccomp {
    /// The platform's default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in the OCI runtime's or Docker's JSON.
    Profile(String),
}

/// A device of the host, inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Path on the host; a directory gives all devices in it.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

/// How output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogOptions {
    /// A file of the log is full at this size.
    pub max_size: Bytes,
    /// So many files are kept.
    pub max_files: u32,
    /// Nothing is kept: output goes to who is attached, and nobody reads it later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { max_size: Bytes::mib(16), max_files: 5, off: false }
    }
}

/// Limits of processes (getrlimit(2)), as people name them.
pub const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Most secrets, and most configs, of one container.
const MOST_HANDED: usize = 128;

/// Smallest memory limit runc can start a container in.
const LEAST_MEMORY: Bytes = Bytes::mib(6);

impl ContainerSpec {
    /// Digest or id of the image that the container was made from, if that is known; `seen` is what
    /// became of the container.
    pub fn made_from<'a>(&'a self, seen: Option<&'a ContainerStatus>) -> Option<&'a str> {
        let seen = seen.map_or("", |seen| seen.image_digest.as_str());
        [seen, self.image_id.as_str()].into_iter().find(|pinned| !pinned.is_empty())
    }

    pub(super) fn validate(&self) -> Result<()> {
        check_name(&self.name).map_err(|error| error.at("name"))?;
        if self.image.trim().is_empty() {
            return Err(Error::invalid("no image is named").at("image"));
        }
        crate::image::Reference::parse(&self.image).map_err(|error| error.at("image"))?;
        if !self.image_id.is_empty() && !crate::image::is_digest(&self.image_id) {
            return Err(Error::invalid(format!("{:?} is not an image's id", self.image_id))
                .at("imageId")
                .next("leave it out: it is written when the instance is made"));
        }
        for entry in &self.env {
            let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
            if name.is_empty() || entry.contains('\0') {
                return Err(Error::invalid(format!("{entry:?} is not NAME=value")).at("env"));
            }
        }
        if !self.workdir.is_empty() && !self.workdir.starts_with('/') {
            return Err(
                Error::invalid(format!("{:?} is not an absolute path", self.workdir)).at("workdir")
            );
        }
        self.validate_mounts()?;
        if let Some(health) = &self.health {
            health.validate().map_err(|error| error.under("health"))?;
        }
        self.resources.validate().map_err(|error| error.under("resources"))?;
        self.validate_words()?;
        self.validate_limits()
    }

    /// What is mounted is each at a place of its own.
    fn validate_mounts(&self) -> Result<()> {
        let mut targets = BTreeSet::new();
        let mut take = |place: String, target: String| {
            let error = || Error::invalid(format!("two mounts at {target:?}"));
            match targets.insert(target.trim_end_matches('/').to_owned()) {
                true => Ok(()),
                false => Err(error().at(format!("{place}.target"))),
            }
        };
        for (i, mount) in self.mounts.iter().enumerate() {
            let place = format!("mounts[{i}]");
            mount.validate().map_err(|error| error.under(&place))?;
            take(place, mount.target.clone())?;
        }
        type PathOf = fn(&Handed) -> String;
        let lists: [(&str, &[Handed], PathOf); 2] = [
            ("secrets", &self.secrets, Handed::secret_path),
            ("configs", &self.configs, Handed::config_path),
        ];
        for (list, handed, path) in lists {
            if handed.len() > MOST_HANDED {
                return Err(Error::invalid(format!("more than {MOST_HANDED} {list}")).at(list));
            }
            for (i, handed) in handed.iter().enumerate() {
                let place = format!("{list}[{i}]");
                handed.validate().map_err(|error| error.under(&place))?;
                take(place, path(handed))?;
            }
        }
        Ok(())
    }

    /// Names that only Linux knows.
    fn validate_words(&self) -> Result<()> {
        Signal::or_term(&self.stop_signal).map_err(|error| error.at("stopSignal"))?;
        let Capabilities { add, drop } = &self.capabilities;
        for (field, list) in [("add", add), ("drop", drop)] {
            for name in list.iter().filter(|name| !is_all(name)) {
                capability(name).map_err(|error| error.at(format!("capabilities.{field}")))?;
            }
        }
        Ok(())
    }

    fn validate_limits(&self) -> Result<()> {
        for limit in &self.ulimits {
            limit.kind()?;
            let ordered = limit.hard == -1 || (limit.soft != -1 && limit.soft <= limit.hard);
            if !ordered || limit.soft < -1 || limit.hard < -1 {
                return Err(Error::invalid(format!(
                    "ulimit {} has a soft limit of {} over its hard limit of {}",
                    limit.name, limit.soft, limit.hard
                ))
                .at("ulimits"));
            }
        }
        if self.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
            return Err(Error::invalid("must lie between -1000 and 1000").at("oomScoreAdj"));
        }
        for device in &self.devices {
            let letters = device.permissions.chars().all(|c| "rwm".contains(c));
            if !device.source.starts_with('/') || !device.target.starts_with('/') || !letters {
                return Err(Error::invalid(format!(
                    "device {}:{}:{} needs two absolute paths and some of 'rwm'",
                    device.source, device.target, device.permissions
                ))
                .at("devices"));
            }
        }
        if self.log.max_size < Bytes(4096) || self.log.max_files == 0 {
            return Err(Error::invalid("a log needs one file of 4 KiB at least").at("log"));
        }
        Ok(())
    }
}

impl Ulimit {
    /// Its name as [`ULIMITS`] has it.
    ///
    /// # Errors
    /// `Invalid` for a limit that processes don't have.
    pub fn kind(&self) -> Result<&'static str> {
        let known = ULIMITS.into_iter().find(|kind| kind.eq_ignore_ascii_case(&self.name));
        known.ok_or_else(|| {
            Error::invalid(format!("{:?} is not a limit of processes", self.name))
                .at("ulimits")
                .next(format!("use one of {}", ULIMITS.join(", ")))
        })
    }
}

impl Resources {
    fn validate(&self) -> Result<()> {
        if self.cpus.is_some() && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            return Err(Error::invalid("give either cpus or cpuQuota and cpuPeriod").at("cpus"));
        }
        if self.cpus.is_some_and(|cpus| cpus.milli() < 10) {
            return Err(Error::invalid("less than a hundredth of a processor").at("cpus"));
        }
        if self.cpu_period.is_some_and(|us| !(1_000..=1_000_000).contains(&us)) {
            return Err(Error::invalid("must lie between 1000 and 1000000").at("cpuPeriod"));
        }
        if self.cpu_quota.is_some_and(|us| us > 0 && us < 1_000) {
            return Err(Error::invalid("must be 1000 at least").at("cpuQuota"));
        }
        if self.memory.is_some_and(|memory| memory < LEAST_MEMORY) {
            return Err(Error::invalid(format!("less than {LEAST_MEMORY}, the least that starts"))
                .at("memory"));
        }
        if let (Some(reservation), Some(memory)) = (self.memory_reservation, self.memory)
            && reservation > memory
        {
            return Err(Error::invalid("larger than the limit").at("memoryReservation"));
        }
        if let Some(swap) = self.memory_swap.filter(|swap| *swap > 0) {
            match self.memory {
                None => {
                    return Err(
                        Error::invalid("a limit of swap needs one of memory").at("memorySwap")
                    );
                }
                Some(memory) if (swap as u64) < memory.0 => {
                    return Err(
                        Error::invalid("smaller than memory, which it includes").at("memorySwap")
                    );
                }
                Some(_) => {}
            }
        }
        if self.blkio_weight.is_some_and(|weight| !(10..=1000).contains(&weight)) {
            return Err(Error::invalid("must lie between 10 and 1000").at("blkioWeight"));
        }
        if self.memory_swappiness.is_some_and(|share| share > 100) {
            return Err(Error::invalid("must lie between 0 and 100").at("memorySwappiness"));
        }
        if self.pids.is_some_and(|most| most < -1) {
            return Err(Error::invalid("must be -1 for no bound, or 0 at least").at("pids"));
        }
        for (field, list) in [("cpusetCpus", &self.cpuset_cpus), ("cpusetMems", &self.cpuset_mems)]
        {
            if !list.is_empty() && !is_list(list) {
                return Err(Error::invalid(format!("{list:?} is not a list of numbers"))
                    .at(field)
                    .next("write 0-2,5"));
            }
        }
        Ok(())
    }
}

/// Whether this is a list of numbers and ranges as cpuset(7) has them.
fn is_list(text: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    text.split(',').all(|part| match part.split_once('-') {
        None => number(part).is_some(),
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
    })
}
