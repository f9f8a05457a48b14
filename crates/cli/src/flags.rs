//! The flags of `run` and `create`, and the instance they describe.

use clap::Args;
use model::instance::{
    Capabilities, ContainerSpec, Dns, HealthCheck, InstanceSpec, NodeRules, PullPolicy, Resources,
    UserMapping,
};
use model::{Bytes, Cpus, Error, Result, Span};

use crate::parse::limit::Bound;
use crate::parse::{env, handed, health, limit, machine, mount, network, port, security};

/// Name of the container in a group of one.
pub const MAIN: &str = "main";

/// What an instance is made of. The words are Docker's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Process")]
pub struct InstanceFlags {
    /// Name of the instance; one is invented when none is given
    #[arg(long)]
    pub name: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Replace the image's entry point; an empty one clears it
    #[arg(long)]
    pub entrypoint: Option<String>,
    /// Set an environment variable: NAME=value, or NAME to pass yours on
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User, and group if wished: name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Join a further group
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Run an init as process 1 that forwards signals and reaps
    #[arg(long)]
    pub init: bool,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds it may take to stop before it is killed
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<Span>,
    /// When it starts again: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Remove it when it has ended
    #[arg(long)]
    pub rm: bool,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// Set an annotation
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// Only on the node of this name
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Only on nodes with such labels: zone=a,disk!=hdd
    #[arg(long, value_name = "SELECTOR")]
    pub node_labels: Option<String>,
    /// When the image is pulled: always, missing, never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub pull: String,
    /// How its log is kept: max-size=16m, max-file=5
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,
    /// Network and names.
    #[command(flatten)]
    pub network: NetworkFlags,
    /// Storage.
    #[command(flatten)]
    pub storage: StorageFlags,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// Security.
    #[command(flatten)]
    pub security: SecurityFlags,
    /// Health.
    #[command(flatten)]
    pub health: HealthFlags,
    /// Machines.
    #[command(flatten)]
    pub machine: MachineFlags,
}

/// Flags about the network.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network and names")]
pub struct NetworkFlags {
    /// Publish a port: [ADDRESS:][HOST:]TARGET[/PROTOCOL]
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// Publish all ports that the image exposes
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// A further port for --publish-all
    #[arg(long, value_name = "PORT")]
    pub expose: Vec<String>,
    /// Join a network: NAME[:alias=A,ip=ADDRESS], host, none, instance:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,
    /// A further name on the first network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// Fixed IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<std::net::Ipv4Addr>,
    /// Fixed IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<std::net::Ipv6Addr>,
    /// Hardware address on the first network
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<String>,
    /// Host name; a short form of its id when none is given
    #[arg(long, short = 'H', value_name = "NAME")]
    pub hostname: Option<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Ask this server for names outside
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<std::net::IpAddr>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
}

/// Flags about storage.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageFlags {
    /// Mount a volume or a path of the host: NAME:/path[:ro], /host:/path, /path
    #[arg(short, long, value_name = "VOLUME")]
    pub volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs,source=…,target=…
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// Let it read a secret: NAME[,target=/path][,uid=N][,gid=N][,mode=0400]
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// Let it read a config: NAME[,target=/path][,uid=N][,gid=N][,mode=0444]
    #[arg(long, value_name = "CONFIG")]
    pub config: Vec<String>,
    /// Mount memory: /path[:size=64m]
    #[arg(long, value_name = "PATH")]
    pub tmpfs: Vec<String>,
    /// The root file system cannot be written
    #[arg(long)]
    pub read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<Bytes>,
    /// Give it a device: /dev/x[:/dev/y][:rwm]
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// Add a rule to the device cgroup
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
}

/// Flags about limits.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Processors it may use: 1.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<Cpus>,
    /// Weight when processors are short
    #[arg(short = 'c', long, value_name = "N")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in a period
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Length of a period in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,
    /// Processors it may use: 0-2,5
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Most memory: 256m
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// Memory it is left with when the host is short
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<Bytes>,
    /// Memory and swap together; -1 for no bound on swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Willingness to swap, 0 to 100
    #[arg(long, value_name = "N")]
    pub memory_swappiness: Option<u64>,
    /// Most processes and threads; -1 for no bound
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u16>,
    /// Bytes read from a device in a second: /dev/sda:1m
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_read_bps: Vec<String>,
    /// Bytes written to a device in a second
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_write_bps: Vec<String>,
    /// Reads from a device in a second
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_read_iops: Vec<String>,
    /// Writes to a device in a second
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_write_iops: Vec<String>,
    /// The out-of-memory killer leaves it alone
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// Badness for the out-of-memory killer, -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Limit of its processes: nofile=1024:2048
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
}

/// Flags about security and namespaces.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Security")]
pub struct SecurityFlags {
    /// Add a capability; ALL for every one
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Take a capability away; ALL for every one
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=unconfined|FILE, apparmor=PROFILE
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// All capabilities, all devices, no filter
    #[arg(long)]
    pub privileged: bool,
    /// Kernel parameter of its namespaces: net.core.somaxconn=1024
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl: Vec<String>,
    /// Whose processes it sees: private, host, instance:NAME
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// Whose shared memory it uses: private, host, shareable, instance:NAME
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,
    /// Whose host name it has: private, host
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,
    /// Map its users to unprivileged ones: FIRST_ID[:SIZE], or host
    #[arg(long, value_name = "MAP")]
    pub userns: Option<String>,
    /// Whose cgroup tree it sees: private, host
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,
}

/// Flags about health.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthFlags {
    /// Healthy when this command ends with 0
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Healthy when GET answers 200 to 399
    #[arg(long, value_name = "PORT[/PATH]")]
    pub health_http: Option<String>,
    /// Healthy when a connection is accepted
    #[arg(long, value_name = "PORT")]
    pub health_tcp: Option<u16>,
    /// Healthy when gRPC's health service says so
    #[arg(long, value_name = "PORT[/SERVICE]")]
    pub health_grpc: Option<String>,
    /// Time between checks
    #[arg(long, value_name = "TIME")]
    pub health_interval: Option<Span>,
    /// A check that takes longer has failed
    #[arg(long, value_name = "TIME")]
    pub health_timeout: Option<Span>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "N")]
    pub health_retries: Option<u32>,
    /// Failures in this time after the start don't count
    #[arg(long, value_name = "TIME")]
    pub health_start_period: Option<Span>,
    /// Time between checks during the start period
    #[arg(long, value_name = "TIME")]
    pub health_start_interval: Option<Span>,
    /// No check, not even the image's
    #[arg(long)]
    pub no_healthcheck: bool,
}

/// Flags that only an image with a disk takes: a virtual machine's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Machines (images that carry a disk)")]
pub struct MachineFlags {
    /// Size of its root disk; the image's when not given
    #[arg(long, value_name = "SIZE")]
    pub root_size: Option<Bytes>,
    /// Most operations of its root disk in a second
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub root_iops: u64,
    /// Most bytes of its root disk in a second
    #[arg(long, value_name = "SIZE")]
    pub root_bps: Option<Bytes>,
    /// Give it a volume as a disk: NAME[,size=10g][,bus=virtio|scsi|sata][,iops=N][,bps=SIZE][,cache=none|writeback][,ro]
    #[arg(long, value_name = "DISK")]
    pub disk: Vec<String>,
    /// First-boot data: a file of #cloud-config, a script …; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub cloud_init: Option<String>,
    /// First-boot network configuration instead of the platform's own
    #[arg(long, value_name = "FILE")]
    pub cloud_init_network: Option<String>,
    /// How first-boot data is laid out: nocloud, or config-drive as OpenStack's images look for
    #[arg(long, value_name = "NAME")]
    pub datasource: Option<String>,
    /// Let this public key log in: the key, or a file of keys
    #[arg(long, value_name = "KEY")]
    pub ssh_key: Vec<String>,
    /// What starts before the guest: bios, uefi, secure-boot
    #[arg(long, value_name = "FIRMWARE")]
    pub firmware: Option<String>,
    /// Give it a TPM 2.0
    #[arg(long)]
    pub tpm: bool,
    /// Settings for a family of systems: generic, windows
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Let the guest run guests
    #[arg(long)]
    pub nested: bool,
    /// Take its memory from huge pages
    #[arg(long)]
    pub hugepages: bool,
    /// Reset it when it hangs
    #[arg(long)]
    pub watchdog: bool,
    /// Give it a PCI device of the node: 0000:01:00.0
    #[arg(long, value_name = "ADDRESS")]
    pub pci: Vec<String>,
    /// Put an image's disk in as a CD; "" for a drive that is empty at first
    #[arg(long, value_name = "IMAGE")]
    pub cdrom: Vec<String>,
    /// What it boots from first: disk, cdrom
    #[arg(long, value_name = "WHAT")]
    pub boot: Option<String>,
    /// Processors it may come to have while it runs
    #[arg(long, value_name = "N")]
    pub max_cpus: Option<u32>,
    /// Memory it may come to have while it runs
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<Bytes>,
}

impl InstanceFlags {
    /// The instance of this image and command. It does not run yet: `run` and `runs` are the
    /// caller's.
    pub fn spec(&self, image: &str, command: &[String]) -> Result<InstanceSpec> {
        let net = &self.network;
        let security = &self.security;
        let share = |flag: &str, text: &Option<String>| {
            network::sharing(flag, text.as_deref().unwrap_or_default())
        };
        let publish = net.publish.iter().map(|text| port::port(text));
        Ok(InstanceSpec {
            containers: vec![self.container(image, command)?],
            nodes: NodeRules {
                name: self.node.clone().unwrap_or_default(),
                labels: self.node_labels.clone().unwrap_or_default(),
            },
            hostname: net.hostname.clone().unwrap_or_default(),
            domainname: net.domainname.clone().unwrap_or_default(),
            network: network::mode(&net.network, self.first_network())?,
            ports: publish.collect::<Result<_>>()?,
            dns: Dns {
                servers: net.dns.clone(),
                search: net.dns_search.clone(),
                options: net.dns_option.clone(),
            },
            extra_hosts: net
                .add_host
                .iter()
                .map(|h| network::extra_host(h))
                .collect::<Result<_>>()?,
            restart: limit::restart(self.restart.as_deref().unwrap_or_default())?,
            auto_remove: self.rm,
            stop_timeout: self.stop_timeout,
            pid: share("--pid", &security.pid)?,
            ipc: share("--ipc", &security.ipc)?,
            uts: share("--uts", &security.uts)?,
            cgroup: share("--cgroupns", &security.cgroupns)?,
            user: security.userns.as_deref().map(user_mapping).transpose()?.flatten(),
            sysctls: env::labels(&[], &security.sysctl)?,
            machine: machine::machine(&self.machine)?,
            ..InstanceSpec::default()
        })
    }

    fn first_network(&self) -> network::First {
        let net = &self.network;
        network::First {
            aliases: net.network_alias.clone(),
            ipv4: net.ip,
            ipv6: net.ip6,
            mac: net.mac_address.clone(),
        }
    }

    fn container(&self, image: &str, command: &[String]) -> Result<ContainerSpec> {
        let own = |name: &str| std::env::var(name).ok();
        let mut container = ContainerSpec {
            name: MAIN.into(),
            image: image.to_owned(),
            pull: pull(&self.pull)?,
            entrypoint: self.entrypoint.as_ref().map(|text| match text.as_str() {
                "" => Vec::new(),
                word => vec![word.to_owned()],
            }),
            command: (!command.is_empty()).then(|| command.to_vec()),
            env: env::variables(&self.env_file, &self.env, own)?,
            workdir: self.workdir.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            groups: self.group_add.clone(),
            tty: self.tty,
            stdin: self.interactive,
            stdin_once: false,
            init: self.init,
            stop_signal: self.stop_signal.clone().unwrap_or_default(),
            mounts: self.mounts()?,
            secrets: handed::all("--secret", &self.storage.secret)?,
            configs: handed::all("--config", &self.storage.config)?,
            health: self.health()?,
            resources: self.resources()?,
            ulimits: self.limits.ulimit.iter().map(|l| limit::ulimit(l)).collect::<Result<_>>()?,
            capabilities: Capabilities {
                add: self.security.cap_add.clone(),
                drop: self.security.cap_drop.clone(),
            },
            privileged: self.security.privileged,
            read_only: self.storage.read_only,
            devices: self
                .storage
                .device
                .iter()
                .map(|d| security::device(d))
                .collect::<Result<_>>()?,
            device_rules: self.storage.device_cgroup_rule.clone(),
            shm_size: self.storage.shm_size,
            oom_score_adj: self.limits.oom_score_adj,
            log: limit::log(&self.log_opt)?,
            ..ContainerSpec::default()
        };
        for option in &self.security.security_opt {
            security::option(&mut container, option)?;
        }
        Ok(container)
    }

    fn mounts(&self) -> Result<Vec<model::instance::Mount>> {
        let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let mut mounts = Vec::new();
        for text in &self.storage.volume {
            mounts.push(mount::volume(text, &here)?);
        }
        for text in &self.storage.mount {
            mounts.push(mount::mount(text, &here)?);
        }
        for text in &self.storage.tmpfs {
            mounts.push(mount::tmpfs(text)?);
        }
        for text in &self.machine.disk {
            mounts.push(machine::disk(text)?);
        }
        Ok(mounts)
    }

    fn health(&self) -> Result<Option<HealthCheck>> {
        let flags = &self.health;
        health::check(&health::Flags {
            none: flags.no_healthcheck,
            command: flags.health_cmd.as_deref(),
            http: flags.health_http.as_deref(),
            tcp: flags.health_tcp,
            grpc: flags.health_grpc.as_deref(),
            interval: flags.health_interval,
            timeout: flags.health_timeout,
            retries: flags.health_retries,
            start_period: flags.health_start_period,
            start_interval: flags.health_start_interval,
        })
    }

    fn resources(&self) -> Result<Resources> {
        let limits = &self.limits;
        let mut resources = Resources {
            cpus: limits.cpus,
            cpu_shares: limits.cpu_shares,
            cpu_period: limits.cpu_period,
            cpu_quota: limits.cpu_quota,
            cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
            memory: limits.memory,
            memory_reservation: limits.memory_reservation,
            memory_swap: limits.memory_swap.as_deref().map(swap).transpose()?,
            memory_swappiness: limits.memory_swappiness,
            pids: limits.pids_limit,
            blkio_weight: limits.blkio_weight,
            blkio_throttle: Vec::new(),
            oom_kill_disable: limits.oom_kill_disable,
        };
        for (bound, texts) in [
            (Bound::ReadBps, &limits.device_read_bps),
            (Bound::WriteBps, &limits.device_write_bps),
            (Bound::ReadIops, &limits.device_read_iops),
            (Bound::WriteIops, &limits.device_write_iops),
        ] {
            for text in texts {
                limit::throttle(&mut resources.blkio_throttle, bound, text)?;
            }
        }
        Ok(resources)
    }
}

/// Reads `--memory-swap`: a size, or -1.
pub fn swap(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let bytes = text.parse::<Bytes>()?.0;
    i64::try_from(bytes).map_err(|_| Error::invalid("too much").at("--memory-swap"))
}

fn pull(text: &str) -> Result<PullPolicy> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => {
            Err(Error::invalid(format!("{text:?} is none of always, missing, never")).at("--pull"))
        }
    }
}

/// `host`, `FIRST` or `FIRST:SIZE`.
fn user_mapping(text: &str) -> Result<Option<UserMapping>> {
    if text == "host" {
        return Ok(None);
    }
    let refuse = || {
        Error::invalid(format!("{text:?} is not a mapping of users"))
            .at("--userns")
            .next("write FIRST_ID[:SIZE], e.g. 100000:65536, or host")
    };
    let (first, size) = text.split_once(':').unwrap_or((text, "65536"));
    let first: u32 = first.parse().map_err(|_| refuse())?;
    let size = size.parse().map_err(|_| refuse())?;
    Ok(Some(UserMapping { first_uid: first, first_gid: first, size }))
}
