//! The configuration of an image (OCI image specification, `config.md`, and Docker's extensions of
//! it): read into the model's words, and written for an image made here.

use std::collections::BTreeMap;
use std::time::Duration;

use model::error::Context;
use model::image::{ImageConfig, ImageHistory, MachineImage};
use model::instance::{HealthCheck, Probe};
use model::{Error, ErrorKind, Result, Span, Time};
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::machine::machine_of;
use crate::platform::Platform;

/// The part of a configuration that is read; the stored blob keeps the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(deserialize_with = "or_default")]
    pub os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub config: RunConfig,
    #[serde(deserialize_with = "or_default")]
    pub rootfs: RootFs,
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<HistoryEntry>,
}

/// The layers, unpacked, lowest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

/// How the image is run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct RunConfig {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<DockerHealth>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    shell: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    on_build: Vec<String>,
}

/// Docker's `Healthcheck`; times in nanoseconds, 0 for the default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DockerHealth {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    retries: i64,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of words, or one word alone as very old images have it.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) if !word.is_empty() => vec![word],
        Some(Words::One(_)) | None => Vec::new(),
    })
}

impl ConfigFile {
    /// Reads a configuration blob.
    pub fn parse(data: &[u8]) -> Result<Self> {
        let config: Self = serde_json::from_slice(data).context(ErrorKind::Invalid, || {
            "the image's configuration cannot be read".to_owned()
        })?;
        machine_of(String::new(), &config.config.labels)?;
        Ok(config)
    }

    /// The machine that an image with `disk` is of.
    pub fn machine(&self, disk: Option<&String>) -> Option<MachineImage> {
        machine_of(disk?.clone(), &self.config.labels).ok()
    }

    /// For which machine, by its own account; `None` if it does not say.
    pub fn platform(&self) -> Option<Platform> {
        let said = !self.architecture.is_empty() && !self.os.is_empty();
        said.then(|| Platform::new(&self.os, &self.architecture, self.variant.as_deref()))
    }

    /// The diff ids, if there is one for each of `layers` layers.
    pub fn diff_ids(&self, layers: usize) -> Result<&[Digest]> {
        let diff_ids = &self.rootfs.diff_ids;
        if diff_ids.len() == layers {
            return Ok(diff_ids);
        }
        Err(Error::invalid(format!(
            "the image's configuration knows {} layers, its manifest has {layers}",
            diff_ids.len()
        )))
    }

    /// When it was made, by its own account.
    pub fn created(&self) -> Option<Time> {
        time(self.created.as_deref())
    }

    /// The history, lowest first, without sizes.
    pub fn history(&self) -> Vec<ImageHistory> {
        let entry = |entry: &HistoryEntry| ImageHistory {
            created: time(entry.created.as_deref()),
            created_by: entry.created_by.clone(),
            comment: entry.comment.clone(),
            empty_layer: entry.empty_layer,
            size: Default::default(),
        };
        self.history.iter().map(entry).collect()
    }
}

fn time(text: Option<&str>) -> Option<Time> {
    text?.parse().ok()
}

impl RunConfig {
    /// In the model's words.
    pub fn to_model(&self) -> ImageConfig {
        let RunConfig {
            user,
            env,
            entrypoint,
            cmd,
            working_dir,
            volumes,
            exposed_ports,
            labels,
            stop_signal,
            healthcheck,
            shell,
            on_build,
        } = self.clone();
        ImageConfig {
            user,
            env,
            entrypoint,
            command: cmd,
            workdir: working_dir,
            volumes: volumes.into_keys().collect(),
            exposed_ports: exposed_ports.into_keys().collect(),
            labels,
            stop_signal,
            health: healthcheck.and_then(|health| health.to_model(&shell)),
            on_build,
        }
    }

    /// From the model's words.
    pub fn from_model(config: &ImageConfig) -> Self {
        let set =
            |keys: &[String]| keys.iter().map(|key| (key.clone(), serde_json::json!({}))).collect();
        Self {
            user: config.user.clone(),
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.command.clone(),
            working_dir: config.workdir.clone(),
            volumes: set(&config.volumes),
            exposed_ports: set(&config.exposed_ports),
            labels: config.labels.clone(),
            stop_signal: config.stop_signal.clone(),
            healthcheck: config.health.as_ref().and_then(DockerHealth::from_model),
            shell: Vec::new(),
            on_build: config.on_build.clone(),
        }
    }
}

impl DockerHealth {
    /// `None` where nothing is said and the parent's check would hold.
    fn to_model(&self, shell: &[String]) -> Option<HealthCheck> {
        let (kind, rest) = self.test.split_first()?;
        let probe = match kind.as_str() {
            "NONE" => Probe::None,
            "CMD" if !rest.is_empty() => Probe::Exec { command: rest.to_vec() },
            "CMD-SHELL" if !rest.is_empty() => Probe::Exec { command: in_shell(shell, rest) },
            _ => return None,
        };
        let mut check = HealthCheck::new(probe);
        set_span(&mut check.interval, self.interval);
        set_span(&mut check.timeout, self.timeout);
        set_span(&mut check.start_period, self.start_period);
        set_span(&mut check.start_interval, self.start_interval);
        if let Some(retries) = u32::try_from(self.retries).ok().filter(|retries| *retries > 0) {
            check.retries = retries;
        }
        Some(check)
    }

    /// `None` for a check that Docker has no words for.
    fn from_model(check: &HealthCheck) -> Option<Self> {
        let test: Vec<String> = match &check.probe {
            Probe::None => {
                return Some(Self { test: vec!["NONE".to_owned()], ..Self::default() });
            }
            Probe::Exec { command } => {
                ["CMD".to_owned()].into_iter().chain(command.clone()).collect()
            }
            Probe::Http { .. } | Probe::Tcp { .. } | Probe::Grpc { .. } => return None,
        };
        Some(Self {
            test,
            interval: nanos(check.interval),
            timeout: nanos(check.timeout),
            start_period: nanos(check.start_period),
            start_interval: nanos(check.start_interval),
            retries: check.retries.into(),
        })
    }
}

/// Docker runs the words after `CMD-SHELL` by the image's own `SHELL`, else by `/bin/sh -c`.
fn in_shell(shell: &[String], words: &[String]) -> Vec<String> {
    let default = ["/bin/sh".to_owned(), "-c".to_owned()];
    let shell = if shell.is_empty() { &default[..] } else { shell };
    shell.iter().chain(words).cloned().collect()
}

fn set_span(span: &mut Span, nanoseconds: i64) {
    if let Some(given) = u64::try_from(nanoseconds).ok().filter(|given| *given > 0) {
        *span = Span(Duration::from_nanos(given));
    }
}

fn nanos(span: Span) -> i64 {
    i64::try_from(span.0.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model_of(config: serde_json::Value) -> ImageConfig {
        let document = json!({ "architecture": "amd64", "os": "linux", "config": config });
        ConfigFile::parse(document.to_string().as_bytes()).unwrap().config.to_model()
    }

    #[test]
    fn dockers_words_become_the_models() {
        let config = model_of(json!({
            "User": "1:2", "Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": ["c", "d"], "WorkingDir": "/w",
            "Volumes": { "/data": {} }, "ExposedPorts": { "80/tcp": {} }, "Labels": { "l": "m" },
            "StopSignal": "SIGQUIT", "ArgsEscaped": true, "OnBuild": null,
            "Healthcheck": { "Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 5000000000i64,
                "Retries": 7 },
        }));
        let health = config.health.as_ref().unwrap();
        let command = ["/bin/sh", "-c", "curl -f localhost"].map(str::to_owned).to_vec();
        assert_eq!(health.probe, Probe::Exec { command });
        assert_eq!((health.interval, health.timeout), (Span::seconds(5), Span::seconds(30)));
        assert_eq!(health.retries, 7);
        assert_eq!((&*config.user, &*config.workdir), ("1:2", "/w"));
        assert_eq!(
            (&*config.entrypoint, &*config.command),
            (&["/e".into()][..], &["c".into(), "d".into()][..])
        );
        assert_eq!(
            (&*config.volumes, &*config.exposed_ports),
            (&["/data".into()][..], &["80/tcp".into()][..])
        );
        assert_eq!(RunConfig::from_model(&config).to_model(), config);
    }

    #[test]
    fn nulls_and_single_words_are_taken() {
        let config = model_of(json!({
            "Env": null, "Cmd": "sh", "Entrypoint": null, "Volumes": null, "Labels": null,
            "ExposedPorts": null, "User": null, "Healthcheck": null,
        }));
        assert_eq!(config, ImageConfig { command: vec!["sh".into()], ..Default::default() });
        assert_eq!(model_of(json!(null)), ImageConfig::default());
    }

    #[test]
    fn checks_of_every_kind() {
        for (test, shell, expected) in [
            (json!(["NONE"]), json!([]), Some(Probe::None)),
            (json!([]), json!([]), None),
            (json!(["CMD"]), json!([]), None),
            (json!(["CMD", "x"]), json!([]), Some(Probe::Exec { command: vec!["x".into()] })),
            (
                json!(["CMD-SHELL", "x"]),
                json!(["/bin/ash", "-c"]),
                Some(Probe::Exec { command: vec!["/bin/ash".into(), "-c".into(), "x".into()] }),
            ),
        ] {
            let config = model_of(json!({ "Healthcheck": { "Test": test }, "Shell": shell }));
            assert_eq!(config.health.map(|health| health.probe), expected, "{test}");
        }
    }

    #[test]
    fn layers_must_be_as_many_as_diff_ids() {
        let document = json!({ "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"")] } });
        let config = ConfigFile::parse(document.to_string().as_bytes()).unwrap();
        assert!(config.diff_ids(1).is_ok());
        assert!(config.diff_ids(2).is_err());
        assert_eq!(config.platform(), None);
    }
}
