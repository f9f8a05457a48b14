//! Health checks in Docker's words.

use bollard_stubs::models::HealthConfig;
use model::Span;
use model::instance::{HealthCheck, Probe};

use crate::failure::{Failure, Reply};

/// How a container's health is told, in our words.
///
/// # Errors
/// `400` for a check of no kind, or times that no check has.
pub(crate) fn read(config: Option<&HealthConfig>) -> Reply<Option<HealthCheck>> {
    let Some(config) = config else { return Ok(None) };
    let words = config.test.clone().unwrap_or_default();
    let probe = match words.split_first() {
        None => return Ok(None),
        Some((kind, _)) if kind == "NONE" => Probe::None,
        Some((kind, rest)) if kind == "CMD" => Probe::Exec { command: rest.to_vec() },
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
            Probe::Exec { command: shell.into_iter().chain(rest.iter().cloned()).collect() }
        }
        Some((kind, _)) => {
            return Err(Failure::bad(format!("Unknown healthcheck type {kind}")));
        }
    };
    let mut check = HealthCheck::new(probe);
    let spans = [
        (config.interval, "Interval", &mut check.interval),
        (config.timeout, "Timeout", &mut check.timeout),
        (config.start_period, "StartPeriod", &mut check.start_period),
        (config.start_interval, "StartInterval", &mut check.start_interval),
    ];
    for (asked, field, span) in spans {
        let asked = asked.unwrap_or_default();
        if asked != 0 && asked < 1_000_000 {
            return Err(Failure::bad(format!("{field} in Healthcheck cannot be less than 1ms")));
        }
        if let Some(asked) = u64::try_from(asked).ok().filter(|asked| *asked > 0) {
            *span = Span(std::time::Duration::from_nanos(asked));
        }
    }
    let retries = config.retries.unwrap_or_default();
    if retries < 0 {
        return Err(Failure::bad("Retries in Healthcheck cannot be negative"));
    }
    if let Some(retries) = u32::try_from(retries).ok().filter(|retries| *retries > 0) {
        check.retries = retries;
    }
    Ok(Some(check))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_checks() {
        let of = |words: &[&str]| {
            let test = words.iter().map(|word| (*word).to_owned()).collect();
            let config = HealthConfig { test: Some(test), ..HealthConfig::default() };
            read(Some(&config)).map(|check| check.map(|check| check.probe))
        };
        let exec = |words: &[&str]| Probe::Exec {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["NONE"]).unwrap(), Some(Probe::None));
        assert_eq!(of(&["CMD", "a", "b"]).unwrap(), Some(exec(&["a", "b"])));
        assert_eq!(of(&["CMD-SHELL", "a"]).unwrap(), Some(exec(&["/bin/sh", "-c", "a"])));
        assert_eq!(of(&["HTTP", "/"]).unwrap_err().message, "Unknown healthcheck type HTTP");
    }
}
