//! How images are fetched and sent.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits::Limits;
use crate::registries::RegistriesSource;

/// What [`crate::Puller`] and [`crate::Pusher`] are built with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Mirrors, certificates, plain HTTP.
    pub registries: RegistriesSource,
    /// Docker's `config.json`; without it only credentials given with a call are used.
    pub credentials: Option<PathBuf>,
    /// Bounds on what is taken in.
    pub limits: Limits,
    /// Times and numbers of transfers.
    pub transfer: Transfer,
}

/// Times and numbers of transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Layers fetched at the same time, over all pulls.
    pub parallel: usize,
    /// A connection takes longer than this: unreachable.
    pub connect_timeout: Duration,
    /// No byte for this long: broken.
    pub stall_timeout: Duration,
    /// Tries in a row that bring no byte before a transfer is given up.
    pub attempts: u32,
    /// Wait after the first failure; doubled after each further one.
    pub first_wait: Duration,
    /// No wait is longer, not even one the registry asks for.
    pub longest_wait: Duration,
}

impl Default for Transfer {
    fn default() -> Self {
        Self {
            parallel: 4,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
        }
    }
}
