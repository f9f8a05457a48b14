//! What this process may do.

use super::{Finding, Settings};
use crate::facts::capabilities;

/// Capabilities without which no container starts.
const NEEDED: [&str; 6] =
    ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_MKNOD", "CAP_SYS_CHROOT"];

/// Others the platform uses, with what is lost without them.
const WANTED: [(&str, &str); 5] = [
    ("CAP_SYS_RESOURCE", "limits cannot be raised, nor ext4 volumes grown while in use"),
    ("CAP_LINUX_IMMUTABLE", "mount points of volumes are not protected"),
    ("CAP_SYS_PTRACE", "processes of other users cannot be looked into"),
    ("CAP_SYS_MODULE", "kernel modules must be loaded beforehand"),
    ("CAP_BPF", "device rules on cgroup v2 need CAP_SYS_ADMIN instead"),
];

/// Root.
pub fn root(_: &Settings) -> Finding {
    if rustix::process::geteuid().is_root() {
        Finding::pass("running as root")
    } else {
        Finding::fail("not running as root", "run it with sudo")
    }
}

/// Capabilities.
pub fn capabilities(_: &Settings) -> Finding {
    judge(&capabilities::effective())
}

fn judge(held: &[String]) -> Finding {
    let lacks = |name: &str| !held.iter().any(|have| have == name);
    let needed: Vec<&str> = NEEDED.into_iter().filter(|name| lacks(name)).collect();
    if !needed.is_empty() {
        return Finding::fail(
            format!("lacks {}", needed.join(", ")),
            "run it as root, outside a container, or grant these capabilities",
        );
    }
    let lost: Vec<String> = WANTED
        .into_iter()
        .filter(|(name, _)| lacks(name))
        .map(|(name, loss)| format!("{name}: {loss}"))
        .collect();
    if lost.is_empty() {
        return Finding::pass("has all capabilities it uses");
    }
    Finding::warn(
        format!("lacks {}", lost.join("; ")),
        "where that matters, start it with them (in a container: --cap-add)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn what_is_needed_fails_and_what_is_wanted_warns() {
        let mut held: Vec<String> = NEEDED.map(str::to_owned).to_vec();
        assert_eq!(judge(&[]).outcome, Outcome::Fail);
        assert_eq!(judge(&held).outcome, Outcome::Warn);
        assert!(judge(&held).text.contains("CAP_SYS_RESOURCE"));
        held.extend(WANTED.map(|(name, _)| name.to_owned()));
        assert_eq!(judge(&held).outcome, Outcome::Pass);
    }
}
