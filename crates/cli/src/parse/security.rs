//! What a container may do: `--security-opt`, `--device`.

use model::error::Context;
use model::instance::{ContainerSpec, Device, Seccomp};
use model::{Error, ErrorKind, Result};

/// Applies one `--security-opt`.
pub fn option(container: &mut ContainerSpec, text: &str) -> Result<()> {
    let (key, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
    match (key, value) {
        ("no-new-privileges", "" | "true") => container.no_new_privileges = true,
        ("no-new-privileges", "false") => container.no_new_privileges = false,
        ("seccomp", "unconfined") => container.seccomp = Seccomp::Unconfined,
        ("seccomp", "builtin" | "default") => container.seccomp = Seccomp::Default,
        ("seccomp", path) if !path.is_empty() => {
            let profile = std::fs::read_to_string(path)
                .context(ErrorKind::Invalid, || format!("cannot read the profile {path}"))?;
            container.seccomp = Seccomp::Profile(profile);
        }
        ("apparmor", profile) if !profile.is_empty() => profile.clone_into(&mut container.apparmor),
        _ => {
            return Err(Error::invalid(format!("{text:?} is not a security option"))
                .at("--security-opt")
                .next("use no-new-privileges, seccomp=unconfined|FILE, apparmor=PROFILE"));
        }
    }
    Ok(())
}

/// Reads one `--device`: `/dev/x[:/dev/y][:rwm]`.
pub fn device(text: &str) -> Result<Device> {
    let refuse = || {
        Error::invalid(format!("{text:?} is not a device"))
            .at("--device")
            .next("write /dev/x, /dev/x:/dev/y or /dev/x:/dev/y:rwm")
    };
    let letters = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, second] if letters(second) => (*source, *source, *second),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] if letters(permissions) => (*source, *target, *permissions),
        _ => return Err(refuse()),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(refuse());
    }
    Ok(Device { source: source.into(), target: target.into(), permissions: permissions.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let device = |text| super::device(text).map(|d| (d.source, d.target, d.permissions));
        let made = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(device("/dev/fuse").unwrap(), made("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(device("/dev/a:/dev/b:r").unwrap(), made("/dev/a", "/dev/b", "r"));
        assert_eq!(device("/dev/a:rw").unwrap(), made("/dev/a", "/dev/a", "rw"));
        for text in ["", "a", "/dev/a:/dev/b:x", "/dev/a:b"] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options() {
        let mut container = ContainerSpec::default();
        option(&mut container, "no-new-privileges").unwrap();
        option(&mut container, "seccomp=unconfined").unwrap();
        assert!(container.no_new_privileges);
        assert_eq!(container.seccomp, Seccomp::Unconfined);
        assert!(option(&mut container, "frob").is_err());
        assert!(option(&mut container, "seccomp=/absent").is_err());
    }
}
