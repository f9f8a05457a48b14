//! What a container sees where.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::check_name;
use crate::quantity::Bytes;

/// Something mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What.
    #[serde(flatten)]
    pub kind: MountKind,
    /// Absolute path inside.
    pub target: String,
    /// It cannot be written through this mount.
    #[serde(default)]
    pub read_only: bool,
    /// The volume is given to a machine as a disk instead of a directory; `target` is the device that
    /// a Linux guest finds it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<super::DiskOptions>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum MountKind {
    /// A volume of the project.
    #[serde(rename_all = "camelCase")]
    Volume {
        /// Its name. Empty: a new one that lives as long as the instance (an anonymous volume);
        /// control fills in the name it gave.
        #[serde(default)]
        name: String,
        /// A directory in it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        subpath: String,
        /// Do not copy what the image has at the target into an empty volume.
        #[serde(default)]
        no_copy: bool,
    },
    /// A file or directory of the host.
    #[serde(rename_all = "camelCase")]
    Bind {
        /// Absolute path on the host.
        source: String,
        /// Make a directory there if nothing is.
        #[serde(default)]
        create: bool,
        /// Whether mounts made later are seen on the other side.
        #[serde(default)]
        propagation: Propagation,
        /// Without the mounts below it.
        #[serde(default)]
        non_recursive: bool,
    },
    /// Memory.
    #[serde(rename_all = "camelCase")]
    Tmpfs {
        /// Most it holds; half of the host's memory when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<Bytes>,
        /// Permission bits of its root, 0o1777 unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// Further options of tmpfs(5), and `exec`, `suid`, `dev`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
}

/// mount_namespaces(7), propagation types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the kernel's own words")]
pub enum Propagation {
    #[default]
    Rprivate,
    Private,
    Rshared,
    Shared,
    Rslave,
    Slave,
}

impl Propagation {
    /// The word mount options use.
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::Rprivate => "rprivate",
            Propagation::Private => "private",
            Propagation::Rshared => "rshared",
            Propagation::Shared => "shared",
            Propagation::Rslave => "rslave",
            Propagation::Slave => "slave",
        }
    }
}

impl Mount {
    /// The volume's name, if it is one.
    pub fn volume(&self) -> Option<&str> {
        match &self.kind {
            MountKind::Volume { name, .. } => Some(name),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let target = self.target.trim_end_matches('/');
        if !self.target.starts_with('/') || target.is_empty() || climbs(target) {
            return Err(Error::invalid(format!(
                "{:?} is not an absolute path below the root without '..'",
                self.target
            ))
            .at("target"));
        }
        if self.disk.is_some() && !matches!(self.kind, MountKind::Volume { .. }) {
            return Err(Error::invalid("only a volume can be a disk").at("disk"));
        }
        if let Some(options) = &self.disk {
            options.validate().map_err(|error| error.under("disk"))?;
        }
        match &self.kind {
            MountKind::Volume { name, .. } if self.disk.is_some() && !is_disk_name(name) => {
                Err(Error::invalid(format!("{name:?} cannot name a disk"))
                    .at("name")
                    .next("give the volume another name than root, seed, commit and cd0"))
            }
            MountKind::Volume { name, subpath, no_copy: _ } => {
                if !name.is_empty() {
                    check_name(name).map_err(|error| error.at("name"))?;
                }
                if subpath.starts_with('/') || climbs(subpath) {
                    return Err(
                        Error::invalid(format!("{subpath:?} leaves the volume")).at("subpath")
                    );
                }
                Ok(())
            }
            MountKind::Bind { source, .. } if !source.starts_with('/') => {
                Err(Error::invalid(format!("{source:?} is not an absolute path on the host"))
                    .at("source"))
            }
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => Ok(()),
        }
    }
}

/// A machine's own disks have names, too.
fn is_disk_name(name: &str) -> bool {
    let cd = name.strip_prefix("cd").is_some_and(|number| number.parse::<u8>().is_ok());
    !cd && !matches!(name, "root" | "seed" | "commit")
}

fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
