//! The verbs of a volume plugin (docs.docker.com/engine/extend/plugins_volume).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use model::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::{self, Failure};
use super::places::Address;

/// Verbs that make or move something may take as long as Docker Engine lets them.
pub const LONG: Duration = Duration::from_secs(120);
/// Verbs that only tell something.
pub const SHORT: Duration = Duration::from_secs(20);
/// Most volumes of a list that are looked at.
const MOST: usize = 10_000;
/// Longest name of a volume that is shown.
const LONGEST_NAME: usize = 255;

/// Who can reach a plugin's volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// This node.
    #[default]
    Local,
    /// All nodes of the cluster that have the plugin.
    Global,
}

/// A plugin that has been spoken to.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: Address,
}

/// A volume in a plugin's words.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Told {
    pub name: String,
    pub mountpoint: Option<String>,
    pub created_at: Option<String>,
    pub status: Option<Map<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Reply<T> {
    #[serde(flatten)]
    value: T,
    err: Option<String>,
}

#[derive(Deserialize, Default)]
struct Nothing {}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Activated {
    implements: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Abilities {
    capabilities: Option<Capabilities>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Capabilities {
    scope: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    volumes: Option<Vec<Option<Told>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Got {
    volume: Option<Told>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Mounted {
    mountpoint: Option<String>,
}

impl Plugin {
    /// What it implements (`Plugin.Activate`), `VolumeDriver` among it if it has volumes.
    pub async fn activate(&self, patience: Duration) -> Result<Vec<String>, Failure> {
        let told: Activated = self.ask("Plugin.Activate", None, patience).await?;
        Ok(told.implements.unwrap_or_default().iter().map(|it| client::clean(it)).collect())
    }

    /// Who can reach its volumes. A plugin that does not know the question has them on its own node.
    pub async fn scope(&self, patience: Duration) -> Result<Scope, Failure> {
        let asked = self.ask("VolumeDriver.Capabilities", Some(json!({})), patience).await;
        match asked {
            Ok(Abilities { capabilities: Some(it) }) if it.scope == "global" => Ok(Scope::Global),
            Ok(_) | Err(Failure::Refused { .. }) => Ok(Scope::Local),
            Err(failure) => Err(failure),
        }
    }

    /// Makes a volume.
    pub async fn create(
        &self,
        volume: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let body = json!({ "Name": volume, "Opts": options });
        self.ask::<Nothing>("VolumeDriver.Create", Some(body), LONG).await.map(drop)
    }

    /// Removes a volume.
    pub async fn remove(&self, volume: &str) -> Result<(), Failure> {
        let body = json!({ "Name": volume });
        self.ask::<Nothing>("VolumeDriver.Remove", Some(body), LONG).await.map(drop)
    }

    /// What it tells of a volume; `None` when it says that there is none.
    pub async fn get(&self, volume: &str, patience: Duration) -> Result<Option<Told>, Failure> {
        let body = json!({ "Name": volume });
        match self.ask::<Got>("VolumeDriver.Get", Some(body), patience).await {
            Ok(got) => Ok(got.volume),
            // The protocol has no word for this, so every no is one.
            Err(Failure::Refused { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether it says that a volume is not there. That it tells nothing of one is not enough: so does a
    /// plugin that cannot reach its storage.
    pub async fn lacks(&self, volume: &str, patience: Duration) -> Result<bool, Failure> {
        if self.get(volume, patience).await?.is_some() {
            return Ok(false);
        }
        let mut volumes = self.listed(patience).await?;
        Ok(!volumes.any(|told| told.name == volume))
    }

    /// All its volumes that can be shown.
    pub async fn list(&self, patience: Duration) -> Result<Vec<Told>, Failure> {
        let volumes = self.listed(patience).await?;
        let shown = |told: &Told| {
            (1..=LONGEST_NAME).contains(&told.name.len()) && !told.name.contains(char::is_control)
        };
        Ok(volumes.filter(shown).take(MOST).collect())
    }

    async fn listed(&self, patience: Duration) -> Result<impl Iterator<Item = Told>, Failure> {
        let listed: Listed = self.ask("VolumeDriver.List", Some(json!({})), patience).await?;
        Ok(listed.volumes.unwrap_or_default().into_iter().flatten())
    }

    /// Mounts a volume for a user; where it is then.
    pub async fn mount(&self, volume: &str, user: &str) -> Result<PathBuf, Failure> {
        let method = "VolumeDriver.Mount";
        let body = json!({ "Name": volume, "ID": user });
        let told: Mounted = self.ask(method, Some(body), LONG).await?;
        let path = PathBuf::from(told.mountpoint.unwrap_or_default());
        if is_whole(&path) {
            return Ok(path);
        }
        let words = client::clean(&path.to_string_lossy());
        Err(self.nonsense(method, format!("{words:?} is no plain path below the root")))
    }

    /// Where a volume is for all its users, in the plugin's words; nothing while it is nowhere.
    pub async fn path(&self, volume: &str, patience: Duration) -> Result<String, Failure> {
        let body = json!({ "Name": volume });
        match self.ask::<Mounted>("VolumeDriver.Path", Some(body), patience).await {
            Ok(told) => Ok(told.mountpoint.unwrap_or_default()),
            Err(Failure::Refused { .. }) => Ok(String::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Takes a user away from a volume.
    pub async fn unmount(&self, volume: &str, user: &str) -> Result<(), Failure> {
        let body = json!({ "Name": volume, "ID": user });
        self.ask::<Nothing>("VolumeDriver.Unmount", Some(body), LONG).await.map(drop)
    }

    async fn ask<T: DeserializeOwned + Default>(
        &self,
        method: &str,
        body: Option<Value>,
        patience: Duration,
    ) -> Result<T, Failure> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let answer = client::call(&self.name, &self.address, method, body, patience).await?;
        let reply: Reply<T> = serde_json::from_slice(&answer)
            .map_err(|error| self.nonsense(method, error.to_string()))?;
        match reply.err {
            Some(words) if !words.is_empty() => Err(Failure::Refused {
                status: hyper::StatusCode::OK,
                words: client::clean(&words),
            }),
            _ => Ok(reply.value),
        }
    }

    fn nonsense(&self, method: &str, why: String) -> Failure {
        Failure::Unanswered(
            Error::unavailable(format!(
                "plugin {:?} answered {method} in words that make no sense",
                self.name
            ))
            .next("see the plugin's log")
            .caused_by(std::io::Error::other(why)),
        )
    }
}

/// Whether a path leads from the root to a place below it without detours.
fn is_whole(path: &Path) -> bool {
    let straight =
        path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
    let bytes = path.as_os_str().as_encoded_bytes();
    path.parent().is_some()
        && path.is_absolute()
        && straight
        && bytes.len() < 4096
        && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_plugins_give_them() {
        let read = |text: &str| serde_json::from_str::<Reply<Got>>(text).unwrap();
        let got =
            read(r#"{"Volume": {"Name": "a", "Mountpoint": "", "Status": {"x": [1]}}, "Err": ""}"#);
        assert_eq!(got.value.volume.unwrap().status.unwrap()["x"], json!([1]));
        assert!(read(r#"{"Volume": null, "Err": null}"#).value.volume.is_none());
        assert_eq!(read(r#"{"Err": "no"}"#).err.as_deref(), Some("no"));
        let listed: Reply<Listed> =
            serde_json::from_str(r#"{"Volumes": [{"Name": "a"}, null], "Other": 1}"#).unwrap();
        assert_eq!(listed.value.volumes.unwrap().len(), 2);
        for bad in ["[]", "", "{\"Err\": 3}", "<html>"] {
            assert!(serde_json::from_str::<Reply<Got>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mount_points() {
        for good in ["/mnt/a", "/a b"] {
            assert!(is_whole(Path::new(good)), "{good}");
        }
        for bad in ["", "/", "mnt/a", "/mnt/../etc", "/mnt/\0", &format!("/{}", "a".repeat(4096))] {
            assert!(!is_whole(Path::new(bad)), "{bad:?}");
        }
    }
}
