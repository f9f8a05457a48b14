//! Device nodes, and the rules of the device cgroup.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use model::error::Context;
use model::instance::{ContainerSpec, Device};
use model::{Error, ErrorKind, Result};

use super::oci;

/// Nodes to make and rules to set. The nodes and rules every container has (null, zero, full,
/// random, urandom, tty, terminals) are the runtime's own.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub(super) nodes: Vec<oci::Device>,
    pub(super) rules: Vec<oci::DeviceRule>,
}

pub(super) fn devices(spec: &ContainerSpec) -> Result<Devices> {
    if spec.privileged {
        return all_of_host(&spec.devices);
    }
    let mut devices = Devices { nodes: Vec::new(), rules: vec![rule(false, None, "rwm")] };
    for device in &spec.devices {
        add(&mut devices, device)?;
    }
    for text in &spec.device_rules {
        devices.rules.push(parse_rule(text)?);
    }
    Ok(devices)
}

fn rule(allow: bool, node: Option<&oci::Device>, access: &str) -> oci::DeviceRule {
    oci::DeviceRule {
        allow,
        kind: node.map(|node| node.kind.clone()),
        major: node.map(|node| node.major),
        minor: node.map(|node| node.minor),
        access: access.to_owned(),
    }
}

/// All of the host's, and by another name too what was asked for so.
fn all_of_host(asked: &[Device]) -> Result<Devices> {
    let mut devices = Devices { nodes: Vec::new(), rules: vec![rule(true, None, "rwm")] };
    let everything = Device {
        source: "/dev".to_owned(),
        target: "/dev".to_owned(),
        permissions: "rwm".to_owned(),
    };
    collect(Path::new("/dev"), &everything, &mut |node| devices.nodes.push(node))?;
    // The container has its own of these.
    devices.nodes.retain(|node| node.path != "/dev/console" && node.path != "/dev/ptmx");
    for device in asked.iter().filter(|device| device.source != device.target) {
        let mut named = Vec::new();
        collect(Path::new(&device.source), device, &mut |node| named.push(node))?;
        devices.nodes.retain(|node| named.iter().all(|it| it.path != node.path));
        devices.nodes.append(&mut named);
    }
    devices.nodes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(devices)
}

fn add(devices: &mut Devices, device: &Device) -> Result<()> {
    let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
    let before = devices.nodes.len();
    collect(Path::new(&device.source), device, &mut |node| devices.nodes.push(node))?;
    devices.nodes[before..].sort_by(|a, b| a.path.cmp(&b.path));
    if devices.nodes.len() == before {
        return Err(Error::invalid(format!("{} is not a device", device.source)).at("devices"));
    }
    let rules: Vec<_> =
        devices.nodes[before..].iter().map(|node| rule(true, Some(node), access)).collect();
    devices.rules.extend(rules);
    Ok(())
}

/// Calls `found` with each device at or below `path`, named as it is to be inside.
fn collect(path: &Path, device: &Device, found: &mut impl FnMut(oci::Device)) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(|error| {
        Error::invalid(format!("device {} cannot be used", path.display()))
            .at("devices")
            .caused_by(error)
    })?;
    if meta.is_dir() {
        return collect_directory(path, device, found);
    }
    let kind = match meta.file_type() {
        kind if kind.is_block_device() => "b",
        kind if kind.is_char_device() => "c",
        _ => return Ok(()),
    };
    let below = path.strip_prefix(&device.source).unwrap_or(Path::new(""));
    let target = match below.as_os_str().is_empty() {
        true => device.target.clone(),
        false => Path::new(&device.target).join(below).to_string_lossy().into_owned(),
    };
    found(oci::Device {
        path: target,
        kind: kind.to_owned(),
        major: i64::from(rustix::fs::major(meta.rdev())),
        minor: i64::from(rustix::fs::minor(meta.rdev())),
        file_mode: Some(meta.mode() & 0o7777),
        uid: Some(meta.uid()),
        gid: Some(meta.gid()),
    });
    Ok(())
}

fn collect_directory(
    path: &Path,
    device: &Device,
    found: &mut impl FnMut(oci::Device),
) -> Result<()> {
    // Terminals, shared memory and the like are file systems of each container's own.
    const OWN: [&str; 6] = ["pts", "shm", "mqueue", "fd", ".lxc", ".udev"];
    let entries = std::fs::read_dir(path)
        .context(ErrorKind::Invalid, || format!("devices in {} cannot be read", path.display()))?;
    for entry in entries.flatten() {
        let own = OWN.iter().any(|name| entry.file_name() == *name);
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if !own && !link {
            collect(&entry.path(), device, found)?;
        }
    }
    Ok(())
}

/// Reads a rule as `cgroup/devices.allow` takes it: `c 1:3 rwm`, `b 8:* r`, `a *:* rwm`.
fn parse_rule(text: &str) -> Result<oci::DeviceRule> {
    let refuse = || {
        Error::invalid(format!("{text:?} is not a device rule"))
            .at("deviceRules")
            .next("write for example 'c 189:* rwm'")
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = words.as_slice() else {
        return Err(refuse());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(refuse)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse::<u32>().map(|n| Some(i64::from(n))).map_err(|_| refuse()),
    };
    if access.is_empty() || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(refuse());
    }
    Ok(oci::DeviceRule {
        allow: true,
        kind: Some((*kind).to_owned()),
        major: number(major)?,
        minor: number(minor)?,
        access: (*access).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rule = parse_rule("c 1:* rw").unwrap();
        assert_eq!((rule.major, rule.minor, rule.access.as_str()), (Some(1), None, "rw"));
        for bad in ["", "c 1:3", "x 1:3 r", "c 1 r", "c a:b r", "c 1:3 q", "c 1:3 r w"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_and_its_rule() {
        let spec = ContainerSpec {
            devices: vec![Device {
                source: "/dev/null".to_owned(),
                target: "/dev/hole".to_owned(),
                permissions: "r".to_owned(),
            }],
            ..ContainerSpec::default()
        };
        let found = devices(&spec).unwrap();
        assert_eq!(found.nodes.len(), 1);
        assert_eq!((found.nodes[0].path.as_str(), found.nodes[0].major), ("/dev/hole", 1));
        assert_eq!(found.rules[1].access, "r");
        for bad in ["/nowhere", "/etc/passwd"] {
            let device = Device {
                source: bad.to_owned(),
                target: "/dev/x".to_owned(),
                permissions: "rwm".to_owned(),
            };
            let spec = ContainerSpec { devices: vec![device], ..ContainerSpec::default() };
            assert!(devices(&spec).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_privileged_one_has_a_device_by_another_name_too() {
        let device = |source: &str, target: &str| Device {
            source: source.to_owned(),
            target: target.to_owned(),
            permissions: "rwm".to_owned(),
        };
        let devices_of = |asked| {
            let spec =
                ContainerSpec { privileged: true, devices: asked, ..ContainerSpec::default() };
            devices(&spec)
        };
        let found =
            devices_of(vec![device("/dev/null", "/dev/hole"), device("/dev/zero", "/dev/full")]);
        let nodes = found.unwrap().nodes;
        let minor = |path: &str| {
            let mut named = nodes.iter().filter(|node| node.path == path);
            let first = named.next().map(|node| node.minor);
            assert!(named.next().is_none(), "{path} is there twice");
            first
        };
        assert_eq!(
            (minor("/dev/hole"), minor("/dev/full"), minor("/dev/null")),
            (Some(3), Some(5), Some(3))
        );
        assert!(devices_of(vec![device("/nowhere", "/dev/x")]).is_err());
    }

    #[test]
    fn a_directory_gives_all_devices_in_it() {
        let spec = ContainerSpec {
            devices: vec![Device {
                source: "/dev".to_owned(),
                target: "/host".to_owned(),
                permissions: String::new(),
            }],
            ..ContainerSpec::default()
        };
        let found = devices(&spec).unwrap();
        assert!(found.nodes.iter().any(|node| node.path == "/host/zero"));
        assert!(found.nodes.iter().all(|node| !node.path.starts_with("/host/pts")));
    }
}
