//! App: an installed set of objects, from Compose files or a template, with a history.
//!
//! What an app consists of is worked out once, when its files are sent, and kept; it is brought about
//! one object at a time. Each change of it is a revision, to which the app can be taken back.
//!
//! ```text
//! Pending ──> Deploying ──all are ready──> Ready <──> Degraded
//!               │    ^
//!   one failed ─┤    └── sent again, scaled, taken back
//!               ├──> Failed
//!               └──> RollingBack ──> RolledBack
//! any ──down──> Removing ──> (gone)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::ConfigSpec;
use crate::data::{Data, Sealed};
use crate::error::{Error, Result};
use crate::instance::Reason;
use crate::meta::Labels;
use crate::name::check_name;
use crate::network::{NetworkNoun, NetworkSpec};
use crate::object::{Kind, Noun, Object};
use crate::secret::SecretSpec;
use crate::service::{ServiceNoun, ServiceSpec};
use crate::time::Time;
use crate::volume::{VolumeNoun, VolumeSpec};

/// The label of an object that says which app it is of.
pub const APP: &str = "io.monohull.app";
/// The label of an object that says what the app's files call it.
pub const KEY: &str = "io.monohull.app.key";
/// The annotation of an object that says as what it was wanted last.
pub const DIGEST: &str = "io.monohull.app.digest";

/// The annotation of an instance with its data for the metadata service, by what the app's files call its
/// containers.
pub const METADATA: &str = "io.monohull.metadata";
/// The annotation of an instance that was made from Rancher's files with what it links to, by container.
pub const LINKS: &str = "io.monohull.links";
/// The label of an instance that says which app it is of, where that was made from Rancher's files.
pub const RANCHER_STACK: &str = "io.rancher.stack.name";
/// The label that says which of its services, as `app/service`.
pub const RANCHER_SERVICE: &str = "io.rancher.stack_service.name";

/// Most objects of one app.
pub const MOST_OBJECTS: usize = 500;
/// Most files of an app.
const MOST_FILES: usize = 500;
/// Most bytes of them together.
const MOST_FILE_BYTES: usize = 1 << 20;
/// Most bytes of a path of one.
const LONGEST_PATH: usize = 512;
/// Most revisions that are kept.
const MOST_KEPT: u32 = 100;
/// So many earlier ones are kept unless somebody says otherwise.
const KEPT: u32 = 10;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppNoun;

/// An app.
pub type App = Object<AppNoun>;

/// What an app consists of; written by control.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppSpec {
    /// The revision that this is.
    pub revision: u64,
    /// Its objects.
    pub objects: AppObjects,
    /// Tells whether its files are those that were sent last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub files: String,
    /// The template that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Take the last revision that worked again when this one fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub roll_back_on_failure: bool,
    /// So many earlier revisions are kept to go back to; 10 when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    /// Its volumes go with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub volumes_go: bool,
    /// Its volumes are copied before the revision is brought about, where their storage can.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copy_volumes: bool,
    /// Volumes that are other ones than the files say since it went back with them, by what the files
    /// call them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restored: BTreeMap<String, Restored>,
}

/// A volume that stands in the place of another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Restored {
    /// The name of the one that the files say.
    pub from: String,
    /// The name of the one that the app has.
    pub name: String,
}

/// A copy of a volume of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeCopy {
    /// What the files call the volume.
    pub key: String,
    /// The volume's name in the project.
    pub volume: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// It shows the moment that all of the revision's copies show.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
}

/// The objects of an app.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppObjects {
    /// Its networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<AppNetwork>,
    /// Its volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<AppVolume>,
    /// Its secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<AppSecret>,
    /// Its configs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<AppConfig>,
    /// Its services, those that others depend on first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<AppService>,
}

/// What all objects of an app have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppObject {
    /// What the files call it.
    pub key: String,
    /// Its name in the project.
    pub name: String,
    /// Its labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// It is there without the app, which neither makes nor removes it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Tells whether it is wanted as it was made; written by control.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// A network of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppNetwork {
    /// What it is called.
    pub object: AppObject,
    /// What it is.
    pub spec: NetworkSpec,
}

/// A volume of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppVolume {
    /// What it is called.
    pub object: AppObject,
    /// What it is.
    pub spec: VolumeSpec,
}

/// A secret of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppSecret {
    /// What it is called.
    pub object: AppObject,
    /// Its value, sealed.
    pub spec: SecretSpec,
}

/// A config of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppConfig {
    /// What it is called.
    pub object: AppObject,
    /// What stands in it.
    pub spec: ConfigSpec,
}

/// A service of an app.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppService {
    /// What it is called.
    pub object: AppObject,
    /// What it is.
    pub spec: ServiceSpec,
    /// Counts how often it was asked for again as it was.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The template that an app was made from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    /// The catalog's name.
    pub catalog: String,
    /// The template's name in it.
    pub template: String,
    /// The template's version.
    pub version: String,
    /// Answers to its questions, but those that are secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Questions whose answers are secret.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secret_answers: BTreeSet<String>,
    /// Answers that are secret, sealed; written by control and never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
}

/// Where an app is; see the diagram in the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AppPhase {
    /// Nothing was done yet.
    #[default]
    Pending,
    /// Objects are made and changed, or are not ready yet.
    Deploying,
    /// Everything is there, and all services are ready.
    Ready,
    /// It was ready, and something is not any more.
    Degraded,
    /// A service failed before all were ready.
    Failed,
    /// It is taken back to the last revision that worked.
    RollingBack,
    /// It was.
    RolledBack,
    /// It is being removed.
    Removing,
}

impl AppPhase {
    /// The word shown to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AppPhase::Pending => "pending",
            AppPhase::Deploying => "deploying",
            AppPhase::Ready => "ready",
            AppPhase::Degraded => "degraded",
            AppPhase::Failed => "failed",
            AppPhase::RollingBack => "rolling back",
            AppPhase::RolledBack => "rolled back",
            AppPhase::Removing => "removing",
        }
    }
}

/// What was seen of an app; written by control.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppStatus {
    /// Where it is.
    pub phase: AppPhase,
    /// Why it is there, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The generation of the spec that was acted on.
    pub observed_generation: u64,
    /// How many of its services are ready.
    pub ready: u32,
    /// How its services are, in the order in which they are made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<AppServiceStatus>,
    /// The last revision of which everything was ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good: Option<u64>,
    /// The revision before which volumes were copied last, or did not have to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied: Option<u64>,
    /// The revision that failed and was taken back by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_from: Option<u64>,
    /// The present revision and earlier ones, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<AppRevision>,
}

/// How a service of an app is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppServiceStatus {
    /// What the files call it.
    pub key: String,
    /// Its name in the project.
    pub name: String,
    /// Whether it is as wanted and ready.
    pub ready: bool,
    /// How many of its instances are ready.
    pub ready_instances: u32,
    /// How many it shall have.
    pub wanted_instances: u32,
    /// What it waits for, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A revision of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppRevision {
    /// Counts up.
    pub number: u64,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Time>,
    /// Who asked for it.
    pub by: String,
    /// What was done: `up`, `scale web=3`, `rollback to 2`.
    pub what: String,
    /// The template's version, where it is from a template.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Whether it failed before all of it was ready.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Copies of the app's volumes, taken before it was brought about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<VolumeCopy>,
}

/// The files of an app as they were sent, and what they were read with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppFiles {
    /// The files, among them those that others name.
    pub files: Vec<AppFile>,
    /// Paths of the Compose files in the order in which they are merged; when empty, the first of the
    /// names that Compose looks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub main: Vec<String>,
    /// Variables that the files are read with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Files of variables; `.env` when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variable_files: Vec<String>,
    /// Profiles that are in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}

/// A file that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppFile {
    /// Its path, relative and without detours.
    pub path: String,
    /// What stands in it.
    pub data: Data,
}

impl AppFiles {
    /// Refuses more than is kept, and paths that lead elsewhere.
    ///
    /// # Errors
    /// `Invalid`, naming the file.
    pub fn validate(&self) -> Result<()> {
        let mut paths = BTreeSet::new();
        let mut size = 0;
        for file in &self.files {
            let path = file.path.as_str();
            let part = |part: &str| !matches!(part, "" | "." | "..");
            let plain = path.len() <= LONGEST_PATH && !path.contains('\0');
            if !plain || !path.split('/').all(part) {
                return Err(Error::invalid(format!(
                    "{path:?} is not the path of a file of an app"
                ))
                .at("files")
                .next("send files of one directory, with paths below it"));
            }
            if !paths.insert(path) {
                return Err(Error::invalid(format!("{path:?} was sent twice")).at("files"));
            }
            size += file.path.len() + file.data.len();
        }
        let variables: usize = self.variables.iter().map(|(key, it)| key.len() + it.len()).sum();
        if size + variables > MOST_FILE_BYTES || self.files.len() > MOST_FILES {
            return Err(Error::invalid(format!(
                "{} files with {size} bytes are more than an app keeps: {MOST_FILES} files, {MOST_FILE_BYTES} bytes",
                self.files.len()
            ))
            .at("files")
            .next("put what is big in a volume or an image"));
        }
        Ok(())
    }
}

/// A word of an app's files that was not acted on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppNote {
    /// The file it stands in.
    pub file: String,
    /// Its line, from 1; 0 when it is not known.
    pub line: u64,
    /// Its column, from 1; 0 when it is not known.
    pub column: u64,
    /// The word.
    pub what: String,
    /// Why nothing is done about it.
    pub why: String,
}

/// How an object differs from what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppDifference {
    /// Its kind.
    pub kind: Kind,
    /// What the files call it.
    pub key: String,
    /// Its name in the project.
    pub name: String,
    /// What is to be done.
    pub action: AppAction,
    /// Why: each a sentence or a field with both values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What is to be done with an object of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AppAction {
    /// It is made.
    Create,
    /// It is changed; of a service, some instances at a time.
    Change,
    /// Another one takes its place.
    Replace,
    /// It is removed.
    Remove,
}

impl AppAction {
    /// The word shown to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AppAction::Create => "create",
            AppAction::Change => "change",
            AppAction::Replace => "replace",
            AppAction::Remove => "remove",
        }
    }
}

impl AppSpec {
    /// How many earlier revisions are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.keep.unwrap_or(KEPT) as usize
    }
}

impl AppObjects {
    /// All of them, as what they have in common, those that others need first.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &AppObject)> {
        let networks = self.networks.iter().map(|it| (Kind::Network, &it.object));
        let volumes = self.volumes.iter().map(|it| (Kind::Volume, &it.object));
        let secrets = self.secrets.iter().map(|it| (Kind::Secret, &it.object));
        let configs = self.configs.iter().map(|it| (Kind::Config, &it.object));
        let services = self.services.iter().map(|it| (Kind::Service, &it.object));
        networks.chain(volumes).chain(secrets).chain(configs).chain(services)
    }

    /// The service that the files call so, or that has this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&AppService> {
        let by_key = self.services.iter().find(|it| it.object.key == name);
        by_key.or_else(|| self.services.iter().find(|it| it.object.name == name))
    }

    fn validate(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for (kind, object) in self.all() {
            check_name(&object.name).map_err(|error| error.at(format!("{kind}.name")))?;
            if !names.insert((kind, &object.name)) {
                return Err(Error::invalid(format!("two {kind}s are called {:?}", object.name))
                    .at(format!("{kind}.name"))
                    .next("give one of them another name"));
            }
        }
        if names.len() > MOST_OBJECTS {
            return Err(Error::invalid(format!(
                "{} objects are more than {MOST_OBJECTS}",
                names.len()
            ))
            .next("make several apps of it"));
        }
        self.validate_specs()
    }

    fn validate_specs(&self) -> Result<()> {
        let place = |kind: Kind, object: &AppObject| format!("{kind} {:?}", object.key);
        for network in self.networks.iter().filter(|it| !it.object.external) {
            NetworkNoun::validate(&network.spec)
                .map_err(|error| error.under(&place(Kind::Network, &network.object)))?;
        }
        for volume in self.volumes.iter().filter(|it| !it.object.external) {
            VolumeNoun::validate(&volume.spec)
                .map_err(|error| error.under(&place(Kind::Volume, &volume.object)))?;
        }
        for secret in self.secrets.iter().filter(|it| !it.object.external) {
            crate::secret::SecretNoun::validate(&secret.spec)
                .map_err(|error| error.under(&place(Kind::Secret, &secret.object)))?;
        }
        for config in self.configs.iter().filter(|it| !it.object.external) {
            crate::config::ConfigNoun::validate(&config.spec)
                .map_err(|error| error.under(&place(Kind::Config, &config.object)))?;
        }
        for service in &self.services {
            ServiceNoun::validate(&service.spec)
                .map_err(|error| error.under(&place(Kind::Service, &service.object)))?;
        }
        Ok(())
    }
}

impl Noun for AppNoun {
    const KIND: Kind = Kind::App;
    const IN_PROJECT: bool = true;
    type Spec = AppSpec;
    type Status = AppStatus;

    fn validate(spec: &AppSpec) -> Result<()> {
        if spec.keep.is_some_and(|keep| keep > MOST_KEPT) {
            return Err(
                Error::invalid(format!("at most {MOST_KEPT} revisions are kept")).at("keep")
            );
        }
        if spec.objects.services.is_empty() {
            return Err(Error::invalid("an app without a service").at("objects.services"));
        }
        spec.objects.validate()
    }
}

/// Whether an object was made by this app.
#[must_use]
pub fn is_of(meta: &crate::Meta, app: &crate::Uid) -> bool {
    meta.owner.as_ref().is_some_and(|owner| owner.kind == Kind::App && owner.id == *app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{ContainerSpec, InstanceSpec};
    use crate::service::Template;

    fn service(name: &str) -> AppService {
        let container = ContainerSpec {
            name: "main".into(),
            image: "nginx".into(),
            ..ContainerSpec::default()
        };
        let spec = InstanceSpec { containers: vec![container], ..InstanceSpec::default() };
        let object = AppObject { key: name.into(), name: name.into(), ..AppObject::default() };
        let template = Template { spec, ..Template::default() };
        let spec = ServiceSpec { template, ..ServiceSpec::default() };
        AppService { object, spec, ..AppService::default() }
    }

    fn validate(services: Vec<AppService>) -> Result<()> {
        let objects = AppObjects { services, ..AppObjects::default() };
        AppNoun::validate(&AppSpec { objects, ..AppSpec::default() })
    }

    #[test]
    fn what_cannot_be_is_refused() {
        validate(vec![service("a"), service("b")]).unwrap();
        assert!(validate(Vec::new()).is_err());
        assert!(validate(vec![service("a"), service("a")]).is_err());
        assert!(validate(vec![service("a/b")]).is_err());
        let many = (0..=MOST_OBJECTS).map(|i| service(&format!("s{i}"))).collect();
        assert!(validate(many).is_err());
        let mut bad = service("a");
        bad.spec.template.spec.containers.clear();
        let error = validate(vec![bad]).unwrap_err();
        assert_eq!(error.field(), Some("service \"a\".template.spec.containers"));
    }
}
