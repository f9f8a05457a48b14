//! Platforms: which machine an image is for (OCI image specification, `image-index.md`; the names
//! and variants are Go's, normalised as containerd's `platforms` package does).

use std::fmt;
use std::str::FromStr;

use model::{Error, Result};
use serde::{Deserialize, Serialize};

/// Operating system, processor and its variant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64` …
    #[serde(default)]
    pub architecture: String,
    /// `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on the processor this program was built for.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// In normal form: `x86_64` becomes `amd64`, `aarch64` becomes `arm64`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = normal(&architecture.to_ascii_lowercase());
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_owned);
        let variant = variant.or(implied.map(str::to_owned));
        let redundant = |v: &String| matches!((&*architecture, &**v), ("arm64", "v8" | "8"));
        let variant = variant.filter(|variant| !redundant(variant));
        Self { os: os.to_ascii_lowercase(), architecture, variant }
    }

    /// How well an image for `other` runs here: 0 is exact, more is worse, `None` not at all.
    /// A processor runs older variants of its own kind: `arm/v7` runs `v6` and `v5`, and `amd64/v3`
    /// runs `v2` and plain `amd64`.
    pub fn distance(&self, other: &Platform) -> Option<u32> {
        let (own, other) = (self.normalised(), other.normalised());
        if own.os != other.os || own.architecture != other.architecture {
            return None;
        }
        own.level().checked_sub(other.level()).filter(|_| own.comparable(&other))
    }

    fn normalised(&self) -> Self {
        Self::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    fn comparable(&self, other: &Self) -> bool {
        self.variant == other.variant || self.has_levels()
    }

    fn has_levels(&self) -> bool {
        matches!(&*self.architecture, "arm" | "amd64" | "arm64")
    }

    /// The variant as a number; what is not said is the oldest in use of its kind.
    fn level(&self) -> u32 {
        let said = self.variant.as_deref().and_then(|variant| {
            let digits = variant.trim_start_matches('v');
            digits.split('.').next().unwrap_or(digits).parse().ok()
        });
        said.unwrap_or(match &*self.architecture {
            "arm" => 7,
            "arm64" => 8,
            _ => 1,
        })
    }
}

fn normal(architecture: &str) -> (String, Option<&'static str>) {
    match architecture {
        "x86_64" | "x86-64" => ("amd64".to_owned(), None),
        "aarch64" => ("arm64".to_owned(), None),
        "armhf" => ("arm".to_owned(), Some("v7")),
        "armel" => ("arm".to_owned(), Some("v6")),
        "i386" | "i686" | "x86" => ("386".to_owned(), None),
        "powerpc64" => ("ppc64le".to_owned(), None),
        other => (other.to_owned(), None),
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `linux/arm64`, `linux/arm/v7`, or `arm64` alone.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::invalid(format!("{text:?} is not a platform"))
                .next("write it like linux/amd64 or linux/arm/v7")
        };
        let parts: Vec<&str> = text.trim().split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(refuse());
        }
        match parts[..] {
            [architecture] => Ok(Self::new("linux", architecture, None)),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(refuse()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_where() {
        for (own, other, expected) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/x86_64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm", "linux/arm/v7", Some(0)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
        ] {
            let (own, other): (Platform, Platform) = (own.parse().unwrap(), other.parse().unwrap());
            assert_eq!(own.distance(&other), expected, "{own} runs {other}");
        }
    }

    #[test]
    fn what_is_no_platform() {
        for text in ["", "/", "linux/", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
