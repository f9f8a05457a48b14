//! Health checks: one task for each container that has one, while it runs.
//!
//! The task tries and sends what came of it; [`Checker::take_over`] turns tries into a verdict on the
//! instance's own task, so that one writer has the status.
//!
//! ```text
//!             success                       failure × retries
//! Starting ────────────> Healthy <────────> Unhealthy
//!     └── failure × retries, after the start period ──^
//! ```

mod probe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use containers::ContainerId;
use model::Time;
use model::instance::status::HealthTry;
use model::instance::{ContainerStatus, Health, HealthCheck, Instance};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::context::Context;

/// Tries that are kept.
const KEPT: usize = 5;

/// A running health check.
pub struct Checker {
    /// When the run that it watches began.
    pub started: Time,
    check: HealthCheck,
    /// Each with the age that the container had.
    tries: mpsc::UnboundedReceiver<(HealthTry, Duration)>,
    task: JoinHandle<()>,
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checker {
    /// Starts to watch a run of a container. `poke` is told after each try.
    pub fn start(
        context: Arc<Context>,
        wanted: &Instance,
        id: ContainerId,
        check: HealthCheck,
        started: Time,
        seen: &ContainerStatus,
        poke: Arc<Notify>,
    ) -> Self {
        let (sender, tries) = mpsc::unbounded_channel();
        let target = probe::Target::of(&context, wanted, id);
        let settled = seen.health != Health::Starting;
        let task =
            tokio::spawn(watch(context, target, check.clone(), started, settled, sender, poke));
        Self { started, check, tries, task }
    }

    /// Takes the tries made since the last call into the status.
    pub fn take_over(&mut self, status: &mut ContainerStatus) {
        while let Ok(tried) = self.tries.try_recv() {
            let (tried, age) = tried;
            judge(status, &self.check, age, &tried);
            status.health_log.push(tried);
            let surplus = status.health_log.len().saturating_sub(KEPT);
            status.health_log.drain(..surplus);
        }
    }
}

/// What one more try means, of a container of this age.
fn judge(status: &mut ContainerStatus, check: &HealthCheck, age: Duration, tried: &HealthTry) {
    if tried.exit_code == 0 {
        status.failing = 0;
        status.health = Health::Healthy;
        return;
    }
    let starting = status.health == Health::Starting && age < check.start_period.0;
    if starting {
        return;
    }
    status.failing = status.failing.saturating_add(1);
    if status.failing >= check.retries {
        status.health = Health::Unhealthy;
    }
}

async fn watch(
    context: Arc<Context>,
    target: probe::Target,
    check: HealthCheck,
    started: Time,
    mut settled: bool,
    tries: mpsc::UnboundedSender<(HealthTry, Duration)>,
    poke: Arc<Notify>,
) {
    // The time of day may jump; from here on it does not count.
    let (before, here) = (Time::now().since(started), Instant::now());
    let age = || before.saturating_add(here.elapsed());
    loop {
        tokio::time::sleep(pause(&check, age(), settled)).await;
        let began = Time::now();
        let outcome = tokio::time::timeout(check.timeout.0, target.tries(&context, &check.probe));
        let (exit_code, output) = match outcome.await {
            Ok(Ok(())) => (0, String::new()),
            Ok(Err(failure)) => (failure.code, failure.output),
            Err(_) => (-1, format!("no answer within {}", check.timeout)),
        };
        settled |= exit_code == 0;
        let tried = HealthTry { started: began, finished: Time::now(), exit_code, output };
        if tries.send((tried, age())).is_err() {
            return;
        }
        poke.notify_one();
    }
}

/// Time to the next try: shorter while the container starts.
fn pause(check: &HealthCheck, age: Duration, settled: bool) -> Duration {
    let starting = !settled && age < check.start_period.0;
    if starting { check.start_interval.0.min(check.interval.0) } else { check.interval.0 }
}

#[cfg(test)]
mod tests {
    use model::Span;
    use model::instance::Probe;

    use super::*;

    fn tried(second: i64, exit_code: i32) -> HealthTry {
        let at = Time::from_unix(second, 0);
        HealthTry { started: at, finished: at, exit_code, output: String::new() }
    }

    #[test]
    fn a_verdict_needs_as_many_failures_as_were_asked_for() {
        let mut check = HealthCheck::new(Probe::Tcp { port: 1 });
        check.retries = 2;
        check.start_period = Span::seconds(10);
        let mut status = ContainerStatus { health: Health::Starting, ..Default::default() };
        for (second, code, expected) in [
            (101_i64, 1, Health::Starting),
            (102, 1, Health::Starting),
            (103, 1, Health::Starting),
            (111, 1, Health::Starting),
            (112, 1, Health::Unhealthy),
            (113, 0, Health::Healthy),
            (114, 1, Health::Healthy),
            (115, 1, Health::Unhealthy),
        ] {
            let age = Duration::from_secs(second.unsigned_abs() - 100);
            judge(&mut status, &check, age, &tried(second, code));
            assert_eq!(status.health, expected, "at {second}");
        }
    }
}
