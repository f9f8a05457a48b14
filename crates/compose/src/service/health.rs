//! How a service's health is told.

use model::instance::{HealthCheck, Probe};

use super::{Draft, duration};
use crate::field::Field;
use crate::yaml::Value;

pub(super) fn read(service: &Field<'_>, draft: &mut Draft) {
    let Some(field) = service.get("healthcheck") else { return };
    let disabled = field.get("disable").and_then(|it| it.flag()).unwrap_or_default();
    let probe = match field.get("test") {
        _ if disabled => Probe::None,
        // Times alone change nothing: whose program they are for is known to the image only.
        None => {
            if !field.entries().is_empty() {
                field.ignore("times without a test are not known: write the image's test, too");
            }
            return;
        }
        Some(test) => match probe(&test) {
            Some(probe) => probe,
            None => return,
        },
    };
    let mut check = HealthCheck::new(probe);
    let time = |key: &str| field.get(key).and_then(|it| duration(&it));
    check.interval = time("interval").unwrap_or(check.interval);
    check.timeout = time("timeout").unwrap_or(check.timeout);
    check.start_period = time("start_period").unwrap_or(check.start_period);
    check.start_interval = time("start_interval").unwrap_or(check.start_interval);
    if let Some(retries) = field.get("retries").and_then(|it| it.integer()) {
        check.retries = retries;
    }
    draft.container.health = Some(check);
}

fn probe(test: &Field<'_>) -> Option<Probe> {
    let shell = |line: String| Probe::Exec { command: vec!["/bin/sh".into(), "-c".into(), line] };
    if let Value::Text(line) = &test.node.value {
        return Some(if line == "NONE" { Probe::None } else { shell(line.clone()) });
    }
    let mut words = test.texts().into_iter();
    match words.next().as_deref() {
        Some("NONE") => Some(Probe::None),
        Some("CMD") => {
            let command: Vec<_> = words.collect();
            if command.is_empty() {
                test.refuse("no program stands behind CMD");
                return None;
            }
            Some(Probe::Exec { command })
        }
        Some("CMD-SHELL") => Some(shell(words.collect::<Vec<_>>().join(" "))),
        Some(_) | None => {
            test.refuse("a list begins with CMD, CMD-SHELL or NONE");
            None
        }
    }
}
