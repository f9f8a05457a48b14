//! The OCI runtime specification's configuration (v1.0.2, `config.md` and `config-linux.md`), as
//! far as we write it.
//!
//! Our own types rather than a crate's: every list keeps its order, so the same container always
//! gives the same bytes, and absent means absent (a `noNewPrivileges: false` is not the same to
//! every runtime as none).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(missing_docs, reason = "the specification's own fields")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )*};
}

objects! {
    /// The whole document.
    Spec {
        oci_version: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<Process>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<Root>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hostname: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        domainname: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mounts: Vec<Mount>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        linux: Option<Linux>,
    }

    /// The root file system.
    Root {
        path: String,
        #[serde(default, skip_serializing_if = "is_false")]
        readonly: bool,
    }

    /// A process to run.
    Process {
        #[serde(default, skip_serializing_if = "is_false")]
        terminal: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        console_size: Option<ConsoleSize>,
        user: User,
        args: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
        cwd: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capabilities: Option<Capabilities>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rlimits: Vec<Rlimit>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no_new_privileges: Option<bool>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        apparmor_profile: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oom_score_adj: Option<i32>,
    }

    /// Size of a terminal in characters.
    ConsoleSize { height: u16, width: u16 }

    /// Who a process runs as.
    User {
        uid: u32,
        gid: u32,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        additional_gids: Vec<u32>,
    }

    /// Capability sets (capabilities(7)).
    Capabilities {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bounding: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        effective: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        permitted: Vec<String>,
    }

    /// A limit (getrlimit(2)).
    Rlimit {
        #[serde(rename = "type")]
        kind: String,
        hard: u64,
        soft: u64,
    }

    /// A mount (mount(8)).
    Mount {
        destination: String,
        #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
        kind: String,
        #[serde(default)]
        source: PathBuf,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    }

    /// What is Linux's own.
    Linux {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid_mappings: Option<Vec<IdMapping>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gid_mappings: Option<Vec<IdMapping>>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        sysctl: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resources: Option<Resources>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cgroups_path: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        namespaces: Vec<Namespace>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        devices: Vec<Device>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seccomp: Option<Seccomp>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        rootfs_propagation: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        masked_paths: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        readonly_paths: Vec<String>,
    }

    /// A range of ids (user_namespaces(7)).
    IdMapping {
        #[serde(rename = "containerID")]
        container_id: u32,
        #[serde(rename = "hostID")]
        host_id: u32,
        size: u32,
    }

    /// A namespace, new unless it has a path.
    Namespace {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
    }

    /// A device node.
    Device {
        path: String,
        #[serde(rename = "type")]
        kind: String,
        major: i64,
        minor: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_mode: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gid: Option<u32>,
    }

    /// Limits.
    Resources {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        devices: Vec<DeviceRule>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<Memory>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cpu: Option<Cpu>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pids: Option<Pids>,
        #[serde(rename = "blockIO", default, skip_serializing_if = "Option::is_none")]
        block_io: Option<BlockIo>,
    }

    /// A rule of the device cgroup.
    DeviceRule {
        allow: bool,
        #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        major: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minor: Option<i64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        access: String,
    }

    /// Limits of memory in bytes.
    Memory {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reservation: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        swap: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller", default, skip_serializing_if = "Option::is_none")]
        disable_oom_killer: Option<bool>,
    }

    /// Limits of processor time.
    Cpu {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shares: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        period: Option<u64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cpus: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        mems: String,
    }

    /// Limit of processes.
    Pids { limit: i64 }

    /// Limits of block I/O.
    BlockIo {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u16>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        throttle_read_bps_device: Vec<Throttle>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        throttle_write_bps_device: Vec<Throttle>,
        #[serde(rename = "throttleReadIOPSDevice", default, skip_serializing_if = "Vec::is_empty")]
        throttle_read_iops_device: Vec<Throttle>,
        #[serde(rename = "throttleWriteIOPSDevice", default, skip_serializing_if = "Vec::is_empty")]
        throttle_write_iops_device: Vec<Throttle>,
    }

    /// A bound on one device.
    Throttle { major: i64, minor: i64, rate: u64 }

    /// A system call filter (seccomp(2)).
    Seccomp {
        default_action: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default_errno_ret: Option<u32>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        architectures: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flags: Vec<String>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        listener_path: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        listener_metadata: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        syscalls: Vec<Syscall>,
    }

    /// What happens on some calls.
    Syscall {
        names: Vec<String>,
        action: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno_ret: Option<u32>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<SyscallArg>,
    }

    /// A comparison of one argument.
    SyscallArg {
        index: u32,
        value: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_two: Option<u64>,
        op: String,
    }
}

impl IdMapping {
    /// Ids from 0 inside are those from `first` outside.
    pub fn new(first: u32, size: u32) -> Self {
        Self { container_id: 0, host_id: first, size }
    }
}
