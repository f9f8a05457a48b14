//! Capabilities (capabilities(7)).

use model::Result;
use model::capability::{CAPABILITIES, capability, is_all};
use model::instance::ContainerSpec;

use super::oci;
use crate::host::HostFacts;

/// What a container has when nothing is asked: Docker's set.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The sets of a process that runs as `uid`. As after an execve(2), only root has them in force.
pub(super) fn capabilities(
    spec: &ContainerSpec,
    uid: u32,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<oci::Capabilities> {
    let wanted = if spec.privileged { CAPABILITIES.to_vec() } else { wanted(spec)? };
    let (had, lacking): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|name| host.capabilities.contains(*name));
    // One the kernel is too old for is no loss; one that this daemon lacks is.
    if !lacking.is_empty() {
        warnings.push(format!(
            "left out {}: the daemon does not have it on this machine",
            lacking.join(", ")
        ));
    }
    Ok(of_user(had.into_iter().map(str::to_owned).collect(), uid))
}

/// All capabilities the daemon has.
pub(super) fn all(uid: u32, host: &HostFacts) -> oci::Capabilities {
    let names = CAPABILITIES.iter().filter(|name| host.capabilities.contains(**name));
    of_user(names.map(|name| (*name).to_owned()).collect(), uid)
}

/// The same bounding set, in force only for root.
pub(super) fn of_user(bounding: Vec<String>, uid: u32) -> oci::Capabilities {
    let in_force = if uid == 0 { bounding.clone() } else { Vec::new() };
    oci::Capabilities { bounding, effective: in_force.clone(), permitted: in_force }
}

fn wanted(spec: &ContainerSpec) -> Result<Vec<&'static str>> {
    let add = names(&spec.capabilities.add)?;
    let drop = names(&spec.capabilities.drop)?;
    let from_start = |name: &&str| match (&add, &drop) {
        (Asked::All, _) => true,
        (Asked::Some(_), Asked::All) => false,
        (Asked::Some(_), Asked::Some(_)) => DEFAULT.contains(name),
    };
    let keep = |name: &&str| {
        let added = matches!(&add, Asked::Some(list) if list.contains(name));
        let dropped = matches!(&drop, Asked::Some(list) if list.contains(name));
        added || (from_start(name) && !dropped)
    };
    Ok(CAPABILITIES.iter().copied().filter(keep).collect())
}

enum Asked {
    All,
    Some(Vec<&'static str>),
}

fn names(list: &[String]) -> Result<Asked> {
    if list.iter().any(|text| is_all(text)) {
        return Ok(Asked::All);
    }
    let found = list.iter().map(|text| capability(text)).collect::<Result<_>>();
    found.map(Asked::Some).map_err(|error| error.at("capabilities"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::instance::Capabilities;

    fn set(add: &[&str], drop: &[&str]) -> Option<Vec<String>> {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let spec = ContainerSpec {
            capabilities: Capabilities { add: words(add), drop: words(drop) },
            ..ContainerSpec::default()
        };
        let caps = capabilities(&spec, 0, &HostFacts::able(), &mut Vec::new()).ok()?;
        Some(caps.bounding)
    }

    #[test]
    fn added_and_dropped() {
        assert_eq!(set(&[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(set(&["ALL"], &[]).unwrap().len(), CAPABILITIES.len());
        assert_eq!(set(&[], &["all"]).unwrap(), Vec::<String>::new());
        assert_eq!(set(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(set(&["ALL"], &["CAP_SYS_ADMIN"]).unwrap().len(), CAPABILITIES.len() - 1);
        assert!(!set(&[], &["NET_RAW"]).unwrap().contains(&"CAP_NET_RAW".to_owned()));
        assert_eq!(set(&["FLY"], &[]), None);
    }

    #[test]
    fn what_the_daemon_lacks_is_left_out_and_said() {
        let mut host = HostFacts::able();
        host.capabilities.remove("CAP_SYS_RESOURCE");
        let spec = ContainerSpec { privileged: true, ..ContainerSpec::default() };
        let mut warnings = Vec::new();
        let caps = capabilities(&spec, 0, &host, &mut warnings).unwrap();
        assert!(!caps.bounding.contains(&"CAP_SYS_RESOURCE".to_owned()));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn only_root_has_them_in_force() {
        let host = HostFacts::able();
        let caps = capabilities(&ContainerSpec::default(), 1000, &host, &mut Vec::new()).unwrap();
        assert!(caps.effective.is_empty() && caps.permitted.is_empty());
        assert_eq!(caps.bounding.len(), DEFAULT.len());
    }
}
