//! The metrics registry: what `/metrics` shows.

use std::sync::{Arc, Mutex};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use prometheus_client::{encoding, metrics, registry};

/// How the OpenMetrics text format ends.
const END: &str = "# EOF\n";

/// Labels of a metric family: names to values.
pub type LabelSet = Vec<(String, String)>;

/// A registry that can be shared. Each room registers its own metrics under `hull_<room>_…`.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// A counter for each set of labels.
    pub fn counters(&self, name: &str, help: &str) -> Family<LabelSet, Counter> {
        let family = Family::<LabelSet, Counter>::default();
        self.register(|registry| registry.register(name, help, family.clone()));
        family
    }

    /// A gauge for each set of labels.
    pub fn gauges(&self, name: &str, help: &str) -> Family<LabelSet, Gauge> {
        let family = Family::<LabelSet, Gauge>::default();
        self.register(|registry| registry.register(name, help, family.clone()));
        family
    }

    /// A histogram of seconds, from half a millisecond to about a minute.
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(0.0005, 2.0, 18));
        self.register(|registry| registry.register(name, help, histogram.clone()));
        histogram
    }

    /// All metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.register(|registry| {
            encode(&mut text, registry).expect("writing to a string cannot fail");
        });
        text
    }

    /// The same, with those of another registry, whose names are others.
    pub fn render_with(&self, other: &Metrics) -> String {
        // OpenMetrics: one end of all.
        let text = self.render();
        format!("{}{}", text.strip_suffix(END).unwrap_or(&text), other.render())
    }

    fn register(&self, change: impl FnOnce(&mut Registry)) {
        change(&mut self.registry.lock().expect("no code panics while it holds the registry"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        let starts = metrics.counters("hull_agent_starts", "Instances started");
        starts.get_or_create(&vec![("project".into(), "default".into())]).inc();
        assert!(metrics.render().contains(r#"hull_agent_starts_total{project="default"} 1"#));
        let other = Metrics::default();
        other.gauges("hull_other", "Another").get_or_create(&Vec::new()).set(3);
        let both = metrics.render_with(&other);
        assert!(both.contains("hull_agent_starts_total{") && both.contains("hull_other"), "{both}");
        assert!(both.ends_with(END));
        assert_eq!(both.matches("# EOF").count(), 1, "{both}");
    }
}
