//! What the API counts.

use std::sync::Arc;
use std::time::Duration;

use model::service::Service;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;
use telemetry::metrics::{LabelSet, Metrics};

/// The API's own metrics.
pub(crate) struct Meters {
    metrics: Metrics,
    requests: Family<LabelSet, Counter>,
    seconds: Histogram,
    open: Family<LabelSet, Gauge>,
    tasks: Family<LabelSet, Gauge>,
}

/// Something that is open, counted until it is dropped.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meters {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            requests: metrics.counters("hull_api_requests", "Requests answered"),
            seconds: metrics.seconds("hull_api_seconds", "Time to the head of an answer"),
            open: metrics.gauges("hull_api_open", "Connections, streams and sessions open"),
            tasks: metrics.gauges("hull_runtime_tasks", "Tasks of the daemon that have not ended"),
            metrics,
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, method: &str, path: &str, status: u16, time: Duration) {
        let labels = vec![
            ("method".to_owned(), method.to_owned()),
            ("path".to_owned(), path.to_owned()),
            ("status".to_owned(), status.to_string()),
        ];
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    /// Counts something as open until it is dropped.
    pub(crate) fn open(&self, what: &'static str) -> Open {
        let gauge = self.open.get_or_create(&vec![("what".into(), what.into())]).clone();
        gauge.inc();
        Open(gauge)
    }

    /// All metrics as text, with how these services are.
    pub(crate) fn render(&self, services: &[Arc<Service>]) -> String {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let tasks = i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX);
            self.tasks.get_or_create(&Vec::new()).set(tasks);
        }
        self.metrics.render_with(&of_services(services))
    }
}

/// How services are, for one who asked: others are told of other ones.
fn of_services(all: &[Arc<Service>]) -> Metrics {
    let metrics = Metrics::default();
    let instances = metrics.gauges(
        "hull_service_instances",
        "Instances of services that are wanted, run, are ready, or leave",
    );
    let revisions = metrics.gauges(
        "hull_service_revision",
        "How often the template of a service was another one: rollouts begun",
    );
    for service in all {
        let status = &service.status;
        let labels: LabelSet = vec![
            ("project".to_owned(), service.meta.project.clone()),
            ("service".to_owned(), service.meta.name.clone()),
        ];
        let leaving = u32::try_from(status.leaving.len()).unwrap_or(u32::MAX);
        for (state, count) in [
            ("wanted", status.wanted),
            ("running", status.running),
            ("ready", status.ready),
            ("leaving", leaving),
        ] {
            let labels = [&labels[..], &[("state".to_owned(), state.to_owned())]].concat();
            instances.get_or_create(&labels).set(i64::from(count));
        }
        let revision = i64::try_from(status.revision).unwrap_or(i64::MAX);
        revisions.get_or_create(&labels).set(revision);
    }
    metrics
}
