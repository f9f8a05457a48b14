//! What a container does: its state, and the sentence that lists show.

use std::time::Duration;

use model::Time;
use model::error::Code;
use model::instance::{ContainerStatus, Health, Instance, Phase};
use serde_json::{Value, json};

use crate::words;

/// The time of what never happened, as Go writes it.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// The container's own status.
pub(crate) fn main_status(instance: &Instance) -> Option<&ContainerStatus> {
    instance.status.container(&instance.spec.main()?.name)
}

/// `created`, `running`, `paused`, `restarting`, `removing` or `exited`.
pub(crate) fn word(instance: &Instance) -> &'static str {
    let ran = main_status(instance).is_some_and(|main| main.started.is_some());
    let over = instance.status.phase == Phase::Exited;
    match instance.status.phase {
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Restarting => "restarting",
        Phase::Removing => "removing",
        Phase::Pending | Phase::Creating | Phase::Exited | Phase::Failed if ran || over => "exited",
        Phase::Pending | Phase::Creating | Phase::Exited | Phase::Failed => "created",
    }
}

/// Exit code of the last run.
pub(crate) fn exit_code(instance: &Instance) -> i64 {
    let code = main_status(instance).and_then(|main| main.exit_code);
    match (code, instance.status.phase) {
        (_, Phase::Running | Phase::Paused) => 0,
        (Some(code), _) => i64::from(code),
        (None, Phase::Failed) => words::exit_code(fault(instance)),
        (None, _) => 0,
    }
}

/// Why it could not be started.
pub(crate) fn failure(instance: &Instance) -> String {
    let reason = instance.status.reason.as_ref();
    let reason = reason.filter(|_| instance.status.phase == Phase::Failed);
    let told = reason.map(|reason| words::of_start(Code::named(&reason.code), &reason.message));
    told.unwrap_or_default()
}

/// What exactly kept it from being started.
pub(crate) fn fault(instance: &Instance) -> Option<Code> {
    let reason = instance.status.reason.as_ref()?;
    Code::named(&reason.code)
}

/// `State` of an inspected container.
pub(crate) fn state(instance: &Instance) -> Value {
    let main = main_status(instance);
    let word = word(instance);
    let time = |time: Option<Time>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    let mut state = json!({
        "Status": word,
        "Running": matches!(word, "running" | "paused" | "restarting"),
        "Paused": word == "paused",
        "Restarting": word == "restarting",
        "OOMKilled": main.is_some_and(|main| main.oom_killed),
        "Dead": false,
        "Pid": main.and_then(|main| main.pid).filter(|_| instance.status.phase.is_live()).unwrap_or(0),
        "ExitCode": exit_code(instance),
        "Error": failure(instance),
        "StartedAt": time(main.and_then(|main| main.started)),
        "FinishedAt": time(main.and_then(|main| main.finished)),
    });
    if let Some(main) = main
        && main.health != Health::Unchecked
    {
        state["Health"] = health(main);
    }
    state
}

/// The word for a health.
pub(crate) fn health_word(health: Health) -> &'static str {
    match health {
        Health::Unchecked => "none",
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

fn health(main: &ContainerStatus) -> Value {
    let log: Vec<_> = main
        .health_log
        .iter()
        .map(|it| {
            json!({
                "Start": it.started.to_string(),
                "End": it.finished.to_string(),
                "ExitCode": it.exit_code,
                "Output": it.output,
            })
        })
        .collect();
    json!({ "Status": health_word(main.health), "FailingStreak": main.failing, "Log": log })
}

/// The sentence of lists: `Up 5 minutes (healthy)`, `Exited (0) 3 hours ago`.
pub(crate) fn sentence(instance: &Instance, now: Time) -> String {
    let main = main_status(instance);
    let ago = |time: Option<Time>| time.map_or_else(String::new, |time| human(now.since(time)));
    let code = exit_code(instance);
    match word(instance) {
        "running" => {
            let up = format!("Up {}", ago(main.and_then(|main| main.started)));
            match main.map_or(Health::Unchecked, |main| main.health) {
                Health::Unchecked => up,
                Health::Starting => format!("{up} (health: starting)"),
                health @ (Health::Healthy | Health::Unhealthy) => {
                    format!("{up} ({})", health_word(health))
                }
            }
        }
        "paused" => format!("Up {} (Paused)", ago(main.and_then(|main| main.started))),
        "restarting" => {
            format!("Restarting ({code}) {} ago", ago(main.and_then(|main| main.finished)))
        }
        "removing" => "Removal In Progress".to_owned(),
        "exited" => format!("Exited ({code}) {} ago", ago(main.and_then(|main| main.finished))),
        _ => "Created".to_owned(),
    }
}

/// A span as people say it, in the words that Docker uses.
pub(crate) fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (48 * 3600, "2 days"),
            (15 * 86400, "2 weeks"),
            (61 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }
}
