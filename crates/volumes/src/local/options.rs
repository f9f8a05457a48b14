//! Options of a local volume: the words of `VolumeSpec::options`.

use std::collections::BTreeMap;

use model::{Bytes, Error, Result};
use serde::{Deserialize, Serialize};

/// The file system inside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filesystem {
    /// ext4.
    #[default]
    Ext4,
    /// xfs.
    Xfs,
}

impl Filesystem {
    /// Its name for mount(2).
    pub fn as_str(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
        }
    }

    /// The smallest that its mkfs makes: 8 MiB is the model's own limit; mkfs.xfs(8) refuses less
    /// than 300 MiB since xfsprogs 5.19.
    pub fn smallest(self) -> Bytes {
        match self {
            Filesystem::Ext4 => Bytes::mib(8),
            Filesystem::Xfs => Bytes::mib(300),
        }
    }
}

/// What can be chosen for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Options {
    /// Owner of the volume's root directory; `uid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group of the volume's root directory; `gid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Mode of the volume's root directory, octal; `mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// `filesystem`: `ext4` or `xfs`, where the volume is an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
    /// `allocate`: `full` takes the whole size from the disk now, where the volume is an image;
    /// `thin`, the default, takes what is written.
    pub full: bool,
}

impl Options {
    /// Mode of a volume's root unless chosen, as Docker's local volumes have.
    pub const MODE: u32 = 0o755;

    /// Reads what was written.
    ///
    /// # Errors
    /// `Invalid` with the field, for an option that does not exist or has no such value.
    pub fn parse(words: &BTreeMap<String, String>) -> Result<Self> {
        let mut options = Self::default();
        for (key, value) in words {
            options.put(key, value).map_err(|error| error.at(format!("options.{key}")))?;
        }
        Ok(options)
    }

    fn put(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "uid" => self.uid = Some(id(value)?),
            "gid" => self.gid = Some(id(value)?),
            "mode" => self.mode = Some(mode(value)?),
            "filesystem" => self.filesystem = Some(filesystem(value)?),
            "allocate" => self.full = full(value)?,
            _ => {
                return Err(Error::invalid(format!("local volumes have no option {key:?}"))
                    .next("use uid, gid, mode, filesystem or allocate"));
            }
        }
        Ok(())
    }

    /// Whether owner or mode of the root were chosen: an image's then do not replace them.
    pub fn choose_root(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || self.mode.is_some()
    }
}

fn id(value: &str) -> Result<u32> {
    // The highest is "no change" to chown(2).
    value
        .parse()
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or_else(|| Error::invalid(format!("{value:?} is not a numeric id")))
}

fn mode(value: &str) -> Result<u32> {
    u32::from_str_radix(value.trim_start_matches("0o"), 8)
        .ok()
        .filter(|&mode| mode <= 0o7777)
        .ok_or_else(|| Error::invalid(format!("{value:?} is not a mode")).next("write it as 0750"))
}

fn filesystem(value: &str) -> Result<Filesystem> {
    match value {
        "ext4" => Ok(Filesystem::Ext4),
        "xfs" => Ok(Filesystem::Xfs),
        _ => Err(Error::invalid(format!("{value:?} is not a file system for volumes"))
            .next("use ext4 or xfs")),
    }
}

fn full(value: &str) -> Result<bool> {
    match value {
        "full" => Ok(true),
        "thin" => Ok(false),
        _ => {
            Err(Error::invalid(format!("{value:?} is no way to allocate")).next("use thin or full"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<Options> {
        Options::parse(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn words_become_options() {
        assert_eq!(parse("uid", "70").unwrap().uid, Some(70));
        assert_eq!(parse("mode", "0750").unwrap().mode, Some(0o750));
        assert_eq!(parse("filesystem", "xfs").unwrap().filesystem, Some(Filesystem::Xfs));
        assert!(parse("allocate", "full").unwrap().full);
    }

    #[test]
    fn a_wrong_word_is_refused_with_its_field() {
        for (key, value) in [
            ("uid", "-1"),
            ("uid", "4294967295"),
            ("gid", "root"),
            ("mode", "99"),
            ("mode", "17777"),
            ("filesystem", "ntfs"),
            ("allocate", "some"),
            ("speed", "fast"),
        ] {
            let error = parse(key, value).unwrap_err();
            assert_eq!(error.field(), Some(format!("options.{key}").as_str()));
        }
    }
}
