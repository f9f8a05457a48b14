//! Flags for how instances of a service are changed.

use clap::{Args, ValueEnum};
use model::Span;
use model::service::{OnFailure, UpdateOrder, UpdatePolicy};

/// How instances are changed.
#[derive(Debug, Clone, Default, Args)]
pub struct Policy {
    /// So many at a time; 0 is all at once
    #[arg(long, value_name = "N")]
    parallelism: Option<u32>,
    /// Time between one that is changed and the next
    #[arg(long, value_name = "TIME")]
    delay: Option<Span>,
    /// Which comes first
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// What fails so soon after its start has failed [default: 5s]
    #[arg(long, value_name = "TIME")]
    monitor: Option<Span>,
    /// So many of a hundred may fail [default: 0]
    #[arg(long, value_name = "PERCENT")]
    max_failure: Option<u8>,
    /// What is done when more do [default: pause]
    #[arg(long, value_enum)]
    on_failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// The old one goes, then the new one is made
    StopFirst,
    /// The old one goes when the new one is ready
    StartFirst,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Failure {
    /// Nothing more is changed
    Pause,
    /// Go on all the same
    Continue,
    /// Take the template before
    Rollback,
}

impl Policy {
    /// The policy with what was given laid over it.
    pub fn over(&self, policy: &UpdatePolicy) -> UpdatePolicy {
        UpdatePolicy {
            parallelism: self.parallelism.unwrap_or(policy.parallelism),
            delay: self.delay.or(policy.delay),
            order: match self.order {
                Some(Order::StopFirst) => UpdateOrder::StopFirst,
                Some(Order::StartFirst) => UpdateOrder::StartFirst,
                None => policy.order,
            },
            monitor: self.monitor.or(policy.monitor),
            max_failure_percent: self.max_failure.unwrap_or(policy.max_failure_percent),
            on_failure: match self.on_failure {
                Some(Failure::Pause) => OnFailure::Pause,
                Some(Failure::Continue) => OnFailure::Continue,
                Some(Failure::Rollback) => OnFailure::RollBack,
                None => policy.on_failure,
            },
        }
    }
}
