//! An image's configuration in Docker's words and in ours.

use bollard_stubs::models::ContainerConfig;
use model::image::ImageConfig;

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
///
/// # Errors
/// `400` for a health check of no kind.
pub(crate) fn from_docker(config: &ContainerConfig) -> Reply<ImageConfig> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let list = |field: &Option<Vec<String>>| field.clone().unwrap_or_default();
    // One empty word stands for none: `--entrypoint ""`.
    let words = |field: &Option<Vec<String>>| match list(field) {
        empty if empty == [""] => Vec::new(),
        words => words,
    };
    Ok(ImageConfig {
        user: text(&config.user),
        env: list(&config.env),
        entrypoint: words(&config.entrypoint),
        command: list(&config.cmd),
        workdir: text(&config.working_dir),
        volumes: list(&config.volumes),
        exposed_ports: list(&config.exposed_ports),
        labels: config.labels.clone().unwrap_or_default().into_iter().collect(),
        stop_signal: text(&config.stop_signal),
        on_build: list(&config.on_build),
        health: crate::health::read(config.healthcheck.as_ref())?,
    })
}
