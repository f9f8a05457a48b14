//! Logs and metrics of the platform's own.
//!
//! [`init`] is called once, first thing in `main`. Messages are constant and in lower case, the rest
//! are fields; whoever handles an error logs it, once.

pub mod metrics;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people at a terminal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Starts logging to standard error. `filter` follows tracing's directives (`info`,
/// `info,agent=debug`); a filter that cannot be read is replaced by `info` and said so.
pub fn init(format: Format, filter: &str) {
    let parsed = EnvFilter::try_new(filter);
    let refused = parsed.is_err();
    let filter_layer = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter_layer)
        .with_timer(UtcTime::rfc_3339())
        // It would say so on standard error, and panic where that is the full disk it complains of.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let outcome = match format {
        Format::Text => builder.with_ansi(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
    if outcome.is_ok() && refused {
        tracing::warn!(filter, "log filter cannot be read, using info");
    }
}
