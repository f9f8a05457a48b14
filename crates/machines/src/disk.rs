//! Disk images: looked at, made, converted, by `qemu-img` in walls of its own.
//!
//! A disk comes from anywhere, or was written by a guest: nothing in it is believed. Its first bytes
//! are read by safe code here ([`look`]), which settles the format for good and refuses what leads to
//! other files. What has to be read further is read by `qemu-img` without privileges, network, or
//! files but those it is given, and within bounds ([`walls`]).
//!
//! | module | holds |
//! |---|---|
//! | [`header`] | the format of a file, and what its header refers to |
//! | [`packed`] | disks that are compressed as files |
//! | [`tool`] | `qemu-img`: the verbs |
//! | [`walls`] | where it runs: `hull disk-tool` |

use std::path::Path;

use model::{Error, Result};

pub mod header;
pub mod packed;
pub mod tool;
pub mod walls;

pub use header::{Header, look};
pub use packed::{unpack_once, unpacked};
pub use tool::{DiskInfo, DiskTool, Snapshot};

use crate::config::Format;

/// Formats that are taken in. What machines run on is qcow2 or raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// QEMU's own.
    Qcow2,
    /// The bare bytes.
    Raw,
    /// VMware's, in one file.
    Vmdk,
    /// Hyper-V's.
    Vhdx,
    /// VirtualBox's.
    Vdi,
}

impl DiskFormat {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Qcow2, Self::Raw, Self::Vmdk, Self::Vhdx, Self::Vdi];

    /// As QEMU calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vmdk => "vmdk",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
        }
    }

    /// The format called so, in any case.
    ///
    /// # Errors
    /// `Unsupported` for another name.
    pub fn parse(name: &str) -> Result<Self> {
        let lower = name.to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|format| format.as_str() == lower);
        known.ok_or_else(|| {
            Error::unsupported(format!("{name:?} is not a format of disks known here"))
                .next("use qcow2, raw, vmdk, vhdx or vdi")
        })
    }

    /// The format that a file's name tells: `.img` is raw.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "img" | "iso" => Some(Self::Raw),
            other => Self::parse(other).ok(),
        }
    }
}

impl From<Format> for DiskFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Qcow2 => Self::Qcow2,
            Format::Raw => Self::Raw,
        }
    }
}
