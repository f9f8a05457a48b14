//! How a container's health is told.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::quantity::Span;

/// A check made again and again while the container runs. It is *starting* until the first success
/// or the end of `start_period`, *unhealthy* after `retries` failures in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// Time between the end of one try and the next; 30 s unless given.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// A try that takes longer has failed; 30 s unless given.
    #[serde(default = "default_interval")]
    pub timeout: Span,
    /// Failures in a row that make it unhealthy; 3 unless given.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Failures in this time after the start don't count.
    #[serde(default)]
    pub start_period: Span,
    /// Time between tries during `start_period`; 5 s unless given.
    #[serde(default = "default_start_interval")]
    pub start_interval: Span,
}

/// What a health check tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// No check, not even the image's.
    None,
    /// A program inside the container ends with 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// `GET` answers with 200 to 399.
    Http {
        /// Port inside the instance.
        port: u16,
        /// Path, `/` unless given.
        #[serde(default)]
        path: String,
        /// Speak TLS, without checking the certificate.
        #[serde(default)]
        tls: bool,
    },
    /// A connection is accepted.
    Tcp {
        /// Port inside the instance.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        /// Port inside the instance.
        port: u16,
        /// Service name asked for; empty is the whole server.
        #[serde(default)]
        service: String,
    },
}

fn default_interval() -> Span {
    Span::seconds(30)
}

fn default_start_interval() -> Span {
    Span::seconds(5)
}

fn default_retries() -> u32 {
    3
}

impl HealthCheck {
    /// A check with the usual times.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: default_interval(),
            timeout: default_interval(),
            retries: default_retries(),
            start_period: Span::default(),
            start_interval: default_start_interval(),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let least = Span::millis(1);
        if self.interval < least || self.timeout < least || self.retries == 0 {
            return Err(Error::invalid(
                "a health check needs an interval and a timeout of 1 ms and 1 retry at least",
            ));
        }
        match &self.probe {
            Probe::Exec { command } if command.is_empty() => {
                Err(Error::invalid("no program is named").at("probe.exec.command"))
            }
            Probe::Http { port: 0, .. } | Probe::Tcp { port: 0 } | Probe::Grpc { port: 0, .. } => {
                Err(Error::invalid("port 0").at("probe"))
            }
            Probe::None
            | Probe::Exec { .. }
            | Probe::Http { .. }
            | Probe::Tcp { .. }
            | Probe::Grpc { .. } => Ok(()),
        }
    }
}
