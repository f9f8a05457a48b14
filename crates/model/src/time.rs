//! Points in time. The clock is read by the rooms that act, never here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time, written as RFC 3339 in UTC with up to nanoseconds.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = String, format = DateTime)]
pub struct Time(pub jiff::Timestamp);

impl Time {
    /// The present, by the machine's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// From seconds and nanoseconds since 1970; out of range is clamped.
    pub fn from_unix(seconds: i64, nanoseconds: i32) -> Self {
        Self(jiff::Timestamp::new(seconds, nanoseconds).unwrap_or(jiff::Timestamp::MAX))
    }

    /// How long ago `earlier` was; zero if it lies ahead (the clock may have jumped).
    pub fn since(self, earlier: Time) -> std::time::Duration {
        std::time::Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Time {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, crate::Error> {
        text.parse().map(Self).map_err(|error: jiff::Error| {
            crate::Error::invalid(format!("{text:?} is not an RFC 3339 time")).caused_by(error)
        })
    }
}
