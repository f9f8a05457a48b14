//! Capabilities of this process.

use crate::proc;

/// Names by number, capabilities(7), as of Linux 6.18.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Effective capabilities, sorted by name.
pub fn effective() -> Vec<String> {
    let status = proc::text("/proc/self/status");
    let mask = proc::field(&status, "CapEff");
    names(mask.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0))
}

fn names(mask: u64) -> Vec<String> {
    let held = NAMES.iter().enumerate().filter(|(number, _)| mask & (1 << number) != 0);
    let mut names: Vec<String> = held.map(|(_, name)| (*name).to_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_names() {
        assert_eq!(
            names(1 | 1 << 21 | 1 << 40),
            ["CAP_CHECKPOINT_RESTORE", "CAP_CHOWN", "CAP_SYS_ADMIN"]
        );
        assert_eq!(names(u64::MAX).len(), NAMES.len());
        assert!(!names(0x1ff_feff_ffff).contains(&"CAP_SYS_RESOURCE".to_owned()));
    }
}
