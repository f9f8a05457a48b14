//! What a pass did, for operators.

use std::time::Duration;

use model::Time;

/// How the last pass of a loop went, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The loop's name.
    pub name: &'static str,
    /// Passes that have ended.
    pub passes: u64,
    /// Of which failed.
    pub failures: u64,
    /// When the last one began.
    pub began: Option<Time>,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// None has ended yet.
    Never,
    /// It did what this says; empty when there was nothing to do.
    Done(String),
    /// It failed for this reason and will be run again.
    Failed(String),
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            passes: 0,
            failures: 0,
            began: None,
            took: Duration::ZERO,
            outcome: Outcome::Never,
        }
    }

    pub(crate) fn ended(&mut self, began: Time, took: Duration, result: Result<String, String>) {
        self.passes += 1;
        self.began = Some(began);
        self.took = took;
        self.outcome = match result {
            Ok(done) => Outcome::Done(done),
            Err(reason) => {
                self.failures += 1;
                Outcome::Failed(reason)
            }
        };
    }
}
