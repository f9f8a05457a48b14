//! Running passes.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use model::Result;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{Clock, Report, Wake};

/// One kind of work that brings the world nearer to what was asked.
pub trait Pass: Send + 'static {
    /// The loop's name in reports and logs.
    const NAME: &'static str;

    /// Looks at the world and does what is to be done; says in a few words what that was, or
    /// nothing. Must be safe to repeat, and safe to drop when the loop is stopped.
    fn pass(&mut self) -> impl Future<Output = Result<String>> + Send;
}

/// When a pass is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// At the latest so long after the last one.
    pub every: Duration,
    /// So long after it was asked for, so that more of what comes in a burst is done in one pass.
    pub linger: Duration,
}

impl Timing {
    /// At once when asked for, else every so often.
    #[must_use]
    pub const fn every(every: Duration) -> Self {
        Self { every, linger: Duration::ZERO }
    }

    /// Waits a little when asked for.
    #[must_use]
    pub const fn linger(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }
}

/// The wait after a first failure; it doubles with each further one, up to [`Timing::every`].
const FIRST_RETRY: Duration = Duration::from_millis(250);

type Kept = Arc<Mutex<Report>>;

/// The loops of a part of the house. Dropping it ends them without waiting for that.
#[derive(Debug)]
pub struct Tasks {
    clock: Clock,
    stop: CancellationToken,
    running: TaskTracker,
    /// Tasks that are no passes end after the passes: a pass may wait for what they bring.
    plain_stop: CancellationToken,
    plain: TaskTracker,
    reports: Mutex<Vec<Kept>>,
    _stop_when_dropped: [DropGuard; 2],
}

impl Tasks {
    /// No loops yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let (stop, plain_stop) = (CancellationToken::new(), CancellationToken::new());
        Self {
            clock,
            running: TaskTracker::new(),
            plain: TaskTracker::new(),
            reports: Mutex::default(),
            _stop_when_dropped: [stop.clone().drop_guard(), plain_stop.clone().drop_guard()],
            stop,
            plain_stop,
        }
    }

    /// Starts a loop; its first pass is run at once. `wake` asks for more.
    pub fn spawn<P: Pass>(&self, pass: P, timing: Timing, wake: Wake) {
        let report = Arc::new(Mutex::new(Report::new(P::NAME)));
        lock(&self.reports).push(report.clone());
        let run = Loop { pass, timing, wake, report, clock: self.clock.clone() };
        self.running.spawn(run.until(self.stop.clone()));
    }

    /// Starts a task that is no pass, e.g. one that follows a stream; it is dropped when the loops
    /// have stopped.
    pub fn spawn_plain(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.plain_stop.clone();
        self.plain.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// What each loop did last, in the order they were started.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.reports).iter().map(|report| lock(report).clone()).collect()
    }

    /// Ends all loops, each after the pass it is in, and waits for that.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
        self.plain_stop.cancel();
        self.plain.close();
        self.plain.wait().await;
    }
}

struct Loop<P> {
    pass: P,
    timing: Timing,
    wake: Wake,
    report: Kept,
    clock: Clock,
}

impl<P: Pass> Loop<P> {
    async fn until(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            failures = if self.once().await { 0 } else { failures + 1 };
            let wait = self.wait(failures);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = asked(&self.wake, self.timing.linger) => {}
            }
        }
    }

    fn wait(&self, failures: u32) -> Duration {
        match failures {
            0 => self.timing.every,
            n => FIRST_RETRY.saturating_mul(1 << (n - 1).min(16)).min(self.timing.every),
        }
    }

    /// Runs one pass; whether it succeeded. A panic is a failure like another: the loop goes on.
    async fn once(&mut self) -> bool {
        let (began, start) = (self.clock.now(), Instant::now());
        let result = match AssertUnwindSafe(self.pass.pass()).catch_unwind().await {
            Ok(result) => result.map_err(|error| error.chain()),
            Err(_) => Err("the pass panicked".to_owned()),
        };
        if let Err(reason) = &result {
            tracing::warn!(name = P::NAME, %reason, "a reconcile pass failed");
        }
        let good = result.is_ok();
        lock(&self.report).ended(began, start.elapsed(), result);
        good
    }
}

async fn asked(wake: &Wake, linger: Duration) {
    wake.asked().await;
    if !linger.is_zero() {
        tokio::time::sleep(linger).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use model::Error;
    use tokio::sync::mpsc;

    use super::*;
    use crate::Outcome;

    /// Tells of each pass, and ends it as it is told to.
    struct Scripted {
        began: mpsc::UnboundedSender<()>,
        results: mpsc::UnboundedReceiver<Result<String>>,
    }

    impl Pass for Scripted {
        const NAME: &'static str = "scripted";

        async fn pass(&mut self) -> Result<String> {
            self.began.send(()).unwrap();
            self.results.recv().await.unwrap_or_else(|| panic!("no more results"))
        }
    }

    struct Rig {
        tasks: Tasks,
        wake: Wake,
        began: mpsc::UnboundedReceiver<()>,
        results: mpsc::UnboundedSender<Result<String>>,
    }

    fn rig(timing: Timing) -> Rig {
        let (told, began) = mpsc::unbounded_channel();
        let (results, script) = mpsc::unbounded_channel();
        let (tasks, wake) = (Tasks::new(Clock::default()), Wake::new());
        tasks.spawn(Scripted { began: told, results: script }, timing, wake.clone());
        Rig { tasks, wake, began, results }
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_before_a_pass_are_one_and_a_wake_within_it_is_another() {
        let mut rig = rig(Timing::every(Duration::from_secs(3600)));
        rig.began.recv().await.unwrap();
        rig.wake.wake();
        rig.wake.wake();
        rig.results.send(Ok("first".into())).unwrap();
        rig.began.recv().await.unwrap();
        rig.results.send(Ok(String::new())).unwrap();
        // Nobody asked for a third: only the timer brings it.
        let before = Instant::now();
        rig.began.recv().await.unwrap();
        assert!(before.elapsed() >= Duration::from_secs(3600));
        rig.results.send(Ok("third".into())).unwrap();
        rig.tasks.stop().await;
        let report = rig.tasks.reports().remove(0);
        assert_eq!((report.passes, report.outcome), (3, Outcome::Done("third".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_kept_and_tried_again_sooner_and_a_panic_is_a_failure() {
        let mut rig = rig(Timing::every(Duration::from_secs(3600)));
        let began = Instant::now();
        rig.began.recv().await.unwrap();
        rig.results.send(Err(Error::unavailable("no store"))).unwrap();
        rig.began.recv().await.unwrap();
        assert_eq!(began.elapsed(), FIRST_RETRY);
        drop(rig.results);
        rig.began.recv().await.unwrap();
        rig.tasks.stop().await;
        let report = rig.tasks.reports().remove(0);
        assert!(report.failures >= 2, "{report:?}");
        assert_eq!(report.outcome, Outcome::Failed("the pass panicked".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_waits_for_the_pass_under_way() {
        let mut rig = rig(Timing::every(Duration::from_secs(1)));
        rig.began.recv().await.unwrap();
        let stopped = tokio::spawn({
            let results = rig.results.clone();
            async move {
                tokio::task::yield_now().await;
                results.send(Ok("the last".into())).unwrap();
            }
        });
        rig.tasks.stop().await;
        stopped.await.unwrap();
        assert_eq!(rig.tasks.reports()[0].outcome, Outcome::Done("the last".into()));
    }
}
