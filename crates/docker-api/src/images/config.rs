//! An image's configuration in Docker's words and in ours.

use bollard_stubs::models::{ContainerConfig, HealthConfig};
use model::image::ImageConfig;
use model::instance::{HealthCheck, Probe};

use crate::failure::{Failure, Reply};

/// Refuses, in Engine's words, lines that change nothing of an image.
pub(crate) fn check_change(line: &str) -> Reply<()> {
    let word = line.split_whitespace().next().unwrap_or_default();
    if word.is_empty() {
        return Ok(());
    }
    ImageConfig::default().change(line).map_err(|error| {
        match error.message().ends_with("is no change of an image") {
            true => {
                Failure::bad(format!("{} is not a valid change command", word.to_ascii_uppercase()))
            }
            false => error.into(),
        }
    })
}

/// From Docker's words; what an image has no part of is left out.
pub(crate) fn from_docker(config: &ContainerConfig) -> ImageConfig {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let list = |field: &Option<Vec<String>>| field.clone().unwrap_or_default();
    ImageConfig {
        user: text(&config.user),
        env: list(&config.env),
        entrypoint: list(&config.entrypoint),
        command: list(&config.cmd),
        workdir: text(&config.working_dir),
        volumes: list(&config.volumes),
        exposed_ports: list(&config.exposed_ports),
        labels: config.labels.clone().unwrap_or_default().into_iter().collect(),
        stop_signal: text(&config.stop_signal),
        health: config.healthcheck.as_ref().and_then(health),
        on_build: list(&config.on_build),
    }
}

fn health(config: &HealthConfig) -> Option<HealthCheck> {
    let words = config.test.as_ref()?;
    let probe = match words.split_first()? {
        (kind, _) if kind == "NONE" => Probe::None,
        (kind, rest) if kind == "CMD" => Probe::Exec { command: rest.to_vec() },
        (_, rest) => {
            let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
            Probe::Exec { command: shell.into_iter().chain(rest.iter().cloned()).collect() }
        }
    };
    let mut check = HealthCheck::new(probe);
    let span = |nanos: Option<i64>| {
        let nanos = u64::try_from(nanos?).ok().filter(|nanos| *nanos > 0)?;
        Some(model::Span(std::time::Duration::from_nanos(nanos)))
    };
    check.interval = span(config.interval).unwrap_or(check.interval);
    check.timeout = span(config.timeout).unwrap_or(check.timeout);
    check.start_period = span(config.start_period).unwrap_or(check.start_period);
    check.start_interval = span(config.start_interval).unwrap_or(check.start_interval);
    check.retries = config
        .retries
        .and_then(|it| u32::try_from(it).ok())
        .filter(|it| *it > 0)
        .unwrap_or(check.retries);
    Some(check)
}

/// The fields of `over` that aren't empty in place of the others.
pub(crate) fn lay_over(base: &mut ImageConfig, over: &ImageConfig) {
    let text = |field: &mut String, new: &String| {
        if !new.is_empty() {
            field.clone_from(new);
        }
    };
    let list = |field: &mut Vec<String>, new: &Vec<String>| {
        if !new.is_empty() {
            field.clone_from(new);
        }
    };
    text(&mut base.user, &over.user);
    text(&mut base.workdir, &over.workdir);
    text(&mut base.stop_signal, &over.stop_signal);
    list(&mut base.entrypoint, &over.entrypoint);
    list(&mut base.command, &over.command);
    list(&mut base.volumes, &over.volumes);
    list(&mut base.exposed_ports, &over.exposed_ports);
    list(&mut base.on_build, &over.on_build);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in &over.env {
        base.env.retain(|old| name(old) != name(entry));
        base.env.push(entry.clone());
    }
    base.labels.extend(over.labels.clone());
    if over.health.is_some() {
        base.health.clone_from(&over.health);
    }
}
