//! Makes an image of what a container wrote.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use containerd_client::services::v1::DiffRequest;
use containerd_client::types::Descriptor;
use model::error::Context;
use model::image::ImageConfig;
use model::{Error, ErrorKind, Result, Time};
use serde_json::{Map, Value, json};
use sha2::Digest;

use super::images::Target;
use super::leases::Lease;
use super::status::Explain;
use super::{Containerd, mounts, unbounded};
use crate::engine::{CommitConfig, Committed, ContainerId};

/// How long a commit cut short keeps what it made.
const LONGEST: Duration = Duration::from_secs(3600);

/// Largest manifest and configuration read; registries take no larger ones.
const LARGEST: u64 = 8 << 20;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The label containerd puts on a layer it made: the digest of its archive.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

impl Containerd {
    pub(super) async fn commit_container(
        &self,
        id: &ContainerId,
        commit: &CommitConfig,
    ) -> Result<Committed> {
        let record = self.record(id).await?;
        let lease = self.lease(LONGEST).await?;
        let made = self.commit_under(id, &record.config.chain, commit, &lease).await;
        self.release_soon(lease);
        made
    }

    async fn commit_under(
        &self,
        id: &ContainerId,
        chain: &str,
        commit: &CommitConfig,
        lease: &Lease,
    ) -> Result<Committed> {
        let layer = self.layer_of(id, chain, lease).await?;
        let info = self.blob(&layer.digest).await?;
        let diff_id = info
            .and_then(|blob| blob.labels.get(UNCOMPRESSED).cloned())
            .ok_or_else(|| Error::internal(format!("layer {} has no diff id", layer.digest)))?;
        let base = self.base(&commit.base).await?;
        let configuration = configuration(base.configuration, commit, &diff_id);
        let config_digest = self.put_json(&configuration, BTreeMap::new(), lease).await?;
        let mut layers = base.layers;
        layers.push(descriptor(LAYER, &layer.digest, layer.size));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIGURATION, &config_digest.0, config_digest.1),
            "layers": layers,
        });
        let (digest, size) =
            self.put_json(&manifest, references(&config_digest.0, &layers), lease).await?;
        let target =
            Target { media_type: MANIFEST.to_owned(), digest: digest.clone(), size: size as u64 };
        // The bare digest keeps the image if it has no name, or when its name moves on.
        for name in [&digest, &commit.name].into_iter().filter(|name| !name.is_empty()) {
            self.put_image(name, &target, BTreeMap::new(), Some(lease)).await?;
        }
        Ok(Committed { digest, id: config_digest.0 })
    }

    /// What the container wrote, as a layer in the content store.
    async fn layer_of(&self, id: &ContainerId, chain: &str, lease: &Lease) -> Result<Descriptor> {
        let failed = || format!("what container {id} wrote cannot be made a layer");
        let key = format!("commit-{:016x}", mounts::fastrand());
        let left = match chain {
            "" => Vec::new(),
            chain => self.view(&key, chain, lease).await?,
        };
        let right = self.mounts(id.as_str()).await?;
        let request = DiffRequest {
            left,
            right,
            media_type: LAYER.to_owned(),
            r#ref: key.clone(),
            labels: HashMap::new(),
            source_date_epoch: None,
        };
        let request = Lease::over(Some(lease), unbounded(request)).explain(failed)?;
        let made = self.client().diff().diff(request).await.explain(failed);
        // If this fails, it goes with the lease.
        let _ = self.remove_snapshot(&key).await;
        made?.into_inner().diff.ok_or_else(|| Error::internal(failed()))
    }

    async fn put_json(
        &self,
        value: &Value,
        labels: BTreeMap<String, String>,
        lease: &Lease,
    ) -> Result<(String, i64)> {
        let bytes = serde_json::to_vec(value)
            .context(ErrorKind::Internal, || "an image cannot be described".to_owned())?;
        let digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest(&bytes)));
        self.put_blob(&digest, &bytes, labels, Some(lease)).await?;
        Ok((digest, i64::try_from(bytes.len()).unwrap_or(i64::MAX)))
    }

    async fn base(&self, manifest: &str) -> Result<Base> {
        if manifest.is_empty() {
            return Ok(Base { configuration: Map::new(), layers: Vec::new() });
        }
        let unfit = || format!("the image {manifest} cannot be read");
        let parse = |bytes: Vec<u8>| {
            serde_json::from_slice::<Value>(&bytes).context(ErrorKind::Invalid, unfit)
        };
        let manifest_value = parse(self.read_whole_blob(manifest, LARGEST).await?)?;
        let config = manifest_value["config"]["digest"].as_str().unwrap_or_default();
        let configuration = match parse(self.read_whole_blob(config, LARGEST).await?)? {
            Value::Object(object) => object,
            _ => return Err(Error::invalid(unfit())),
        };
        let layers = manifest_value["layers"].as_array().cloned().unwrap_or_default();
        Ok(Base { configuration, layers })
    }
}

/// The image a container was made from.
struct Base {
    configuration: Map<String, Value>,
    layers: Vec<Value>,
}

fn descriptor(media_type: &str, digest: &str, size: i64) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// Labels by which a manifest keeps what it names (containerd's garbage collection document).
fn references(config: &str, layers: &[Value]) -> BTreeMap<String, String> {
    let mut labels =
        BTreeMap::from([("containerd.io/gc.ref.content.config".to_owned(), config.to_owned())]);
    for (i, layer) in layers.iter().enumerate() {
        let digest = layer["digest"].as_str().unwrap_or_default();
        labels.insert(format!("containerd.io/gc.ref.content.l.{i}"), digest.to_owned());
    }
    labels
}

/// The image's configuration (OCI image specification, `config.md`): that of the base with one more
/// layer, one more step of history, and what was asked.
fn configuration(mut base: Map<String, Value>, commit: &CommitConfig, diff_id: &str) -> Value {
    let now = Time::now().to_string();
    base.entry("architecture").or_insert_with(|| json!(architecture()));
    base.entry("os").or_insert_with(|| json!("linux"));
    base.insert("created".to_owned(), json!(now));
    if !commit.author.is_empty() {
        base.insert("author".to_owned(), json!(commit.author));
    }
    base.insert("config".to_owned(), run_config(&commit.config));
    let rootfs =
        base.entry("rootfs").or_insert_with(|| json!({ "type": "layers", "diff_ids": [] }));
    push(&mut rootfs["diff_ids"], json!(diff_id));
    let step = json!({
        "created": now,
        "author": commit.author,
        "created_by": commit.config.command.join(" "),
        "comment": commit.message,
    });
    push(base.entry("history").or_insert_with(|| json!([])), step);
    Value::Object(base)
}

fn push(list: &mut Value, value: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(value),
        None => *list = json!([value]),
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run_config(config: &ImageConfig) -> Value {
    let set = |names: &[String]| -> Value {
        names.iter().map(|name| (name.clone(), json!({}))).collect::<Map<_, _>>().into()
    };
    let mut value = json!({
        "User": config.user,
        "Env": config.env,
        "Entrypoint": config.entrypoint,
        "Cmd": config.command,
        "WorkingDir": config.workdir,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "Volumes": set(&config.volumes),
        "ExposedPorts": set(&config.exposed_ports),
        "OnBuild": config.on_build,
        "Healthcheck": config.health.as_ref().map(healthcheck),
    });
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        });
    }
    value
}

/// Docker's extension; only programs can be said in it.
fn healthcheck(check: &model::instance::HealthCheck) -> Value {
    use model::instance::Probe;
    let test: Vec<String> = match &check.probe {
        Probe::None => return json!({ "Test": ["NONE"] }),
        Probe::Exec { command } => {
            std::iter::once("CMD".to_owned()).chain(command.iter().cloned()).collect()
        }
        Probe::Http { .. } | Probe::Tcp { .. } | Probe::Grpc { .. } => return Value::Null,
    };
    let nanos = |span: model::Span| u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "Test": test,
        "Interval": nanos(check.interval),
        "Timeout": nanos(check.timeout),
        "StartPeriod": nanos(check.start_period),
        "StartInterval": nanos(check.start_interval),
        "Retries": check.retries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_grows_by_one_layer() {
        let base = json!({
            "architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:a"]},
            "history": [{"created_by": "x"}], "config": {"Env": ["OLD=1"]}, "variant": "v8"
        });
        let Value::Object(base) = base else { unreachable!() };
        let commit = CommitConfig {
            config: ImageConfig { command: vec!["sh".to_owned()], ..ImageConfig::default() },
            message: "why".to_owned(),
            ..CommitConfig::default()
        };
        let made = configuration(base, &commit, "sha256:b");
        assert_eq!(made["rootfs"]["diff_ids"], json!(["sha256:a", "sha256:b"]));
        assert_eq!(made["history"].as_array().unwrap().len(), 2);
        assert_eq!(made["config"], json!({"Cmd": ["sh"]}));
        assert_eq!((&made["architecture"], &made["variant"]), (&json!("arm64"), &json!("v8")));
        let fresh = configuration(Map::new(), &commit, "sha256:b");
        assert_eq!(fresh["rootfs"]["diff_ids"], json!(["sha256:b"]));
    }
}
