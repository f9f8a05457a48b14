//! Amounts of things: bytes, processors, lengths of time. Each reads what people type and what
//! Docker's clients send, and writes one canonical form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// An amount of memory or storage in bytes. Reads `64m`, `1.5GiB`, `512kb`, plain digits; suffixes
/// are binary (1 k = 1024), as Docker's are. Written as a number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = u64)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` gibibytes.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
}

impl FromStr for Bytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::invalid(format!("{text:?} is not a size"))
                .next("write a number with a suffix: 512k, 64m, 1.5g")
        };
        let trimmed = text.trim().to_ascii_lowercase();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = trimmed.split_at(digits.unwrap_or(trimmed.len()));
        let shift = match suffix.trim() {
            "" | "b" => 0,
            "k" | "kb" | "ki" | "kib" => 10,
            "m" | "mb" | "mi" | "mib" => 20,
            "g" | "gb" | "gi" | "gib" => 30,
            "t" | "tb" | "ti" | "tib" => 40,
            "p" | "pb" | "pi" | "pib" => 50,
            _ => return Err(refuse()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Self).ok_or_else(refuse);
        }
        let value = number.parse::<f64>().map_err(|_| refuse())? * (1_u64 << shift) as f64;
        if value.is_finite() && (0.0..=u64::MAX as f64).contains(&value) {
            Ok(Self(value as u64))
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = if unit == 0 || value >= 100.0 || value.fract() == 0.0 { 0 } else { 1 };
        write!(f, "{value:.digits$} {}", UNITS[unit])
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer, |n| Ok(Self(n)))
    }
}

/// An amount of processor time in thousandths of a processor. Reads `1.5`, `250m`; written as text
/// in processors (`"0.25"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, utoipa::ToSchema)]
#[schema(value_type = String, example = "0.5")]
pub struct Cpus(u64);

impl Cpus {
    /// From thousandths of a processor.
    pub const fn from_milli(milli: u64) -> Self {
        Self(milli)
    }

    /// Thousandths of a processor.
    pub const fn milli(self) -> u64 {
        self.0
    }
}

impl FromStr for Cpus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::invalid(format!("{text:?} is not a number of processors"))
                .next("write processors (1.5) or thousandths (1500m)")
        };
        if let Some(milli) = text.trim().strip_suffix('m') {
            return milli.parse().map(Self::from_milli).map_err(|_| refuse());
        }
        let value: f64 = text.trim().parse().map_err(|_| refuse())?;
        if value.is_finite() && (0.0..1e9).contains(&value) {
            Ok(Self::from_milli((value * 1000.0).round() as u64))
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1000.0)
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer, |n| {
            n.checked_mul(1000).map(Self::from_milli).ok_or_else(|| Error::invalid("too many"))
        })
    }
}

/// A length of time. Reads `1m30s`, `500ms`, `2h`, and plain digits as seconds; written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, utoipa::ToSchema)]
#[schema(value_type = String, example = "1m30s")]
pub struct Span(pub Duration);

impl Span {
    /// `n` seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

const SPAN_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::invalid(format!("{text:?} is not a length of time"))
                .next("write it like 30s, 1m30s or 500ms")
        };
        let trimmed = text.trim();
        if let Ok(seconds) = trimmed.parse::<u64>() {
            return Ok(Self::seconds(seconds));
        }
        let mut rest = trimmed;
        let mut total = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
            let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit = rest[..letters].replace('µ', "u");
            let (_, scale) =
                SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
            total += number * *scale as f64;
            rest = &rest[letters..];
        }
        if trimmed.is_empty() || !total.is_finite() || total > u64::MAX as f64 {
            return Err(refuse());
        }
        Ok(Self(Duration::from_nanos(total.round() as u64)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, scale) in SPAN_UNITS {
            if rest >= scale {
                write!(f, "{}{name}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer, |n| Ok(Self::seconds(n)))
    }
}

/// Reads a whole number through `from_number`, or text through [`FromStr`].
fn number_or_text<'de, D, T>(
    deserializer: D,
    from_number: impl FnOnce(u64) -> Result<T>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = Error>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Whole(u64),
        Real(f64),
        Text(String),
    }
    match Raw::deserialize(deserializer)? {
        Raw::Whole(n) => from_number(n),
        Raw::Real(x) => x.to_string().parse(),
        Raw::Text(text) => text.parse(),
    }
    .map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("512KB", 512 << 10),
            ("7 GiB", 7 << 30),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "99999999999p", "1..2g"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert_eq!(Bytes::mib(1536).to_string(), "1.5 GiB");
    }

    #[test]
    fn processors() {
        for (text, milli) in [("1", 1000), ("0.25", 250), ("1500m", 1500)] {
            assert_eq!(text.parse::<Cpus>().unwrap().milli(), milli, "{text}");
        }
        assert!("-1".parse::<Cpus>().is_err());
    }

    #[test]
    fn spans_round_trip() {
        for text in ["0s", "30s", "1m30s", "500ms", "1d2h", "1s5us"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("90".parse::<Span>().unwrap(), Span::seconds(90));
        assert_eq!("1.5s".parse::<Span>().unwrap(), Span::millis(1500));
        for text in ["", "s", "5x", "-1s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
