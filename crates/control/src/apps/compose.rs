//! From an app's files to what it shall be.

use std::collections::{BTreeMap, BTreeSet};

use compose::{Asked, Named, Wanted, WantedService};
use model::app::{
    AppConfig, AppFiles, AppNetwork, AppNote, AppObject, AppObjects, AppSecret, AppService,
    AppVolume, LINKS, METADATA, RANCHER_SERVICE, RANCHER_STACK,
};
use model::config::ConfigSpec;
use model::instance::{InstanceSpec, MountKind, NetworkMode};
use model::secret::SecretSpec;
use model::{Error, Kind, Result};

use super::Wish;

impl Wish {
    /// Reads the files of an app that is to be called so; with it what of them is not acted on.
    ///
    /// # Errors
    /// `Invalid` for all that cannot be honoured, each with its file, line and column.
    pub fn read(name: &str, files: AppFiles, what: &str) -> Result<(Self, Vec<AppNote>)> {
        files.validate()?;
        model::name::check_name(name)?;
        let contents: BTreeMap<String, Vec<u8>> =
            files.files.iter().map(|it| (it.path.clone(), it.data.bytes().to_vec())).collect();
        let asked = Asked {
            files: files.main.clone(),
            name: name.to_owned(),
            variables: files.variables.clone(),
            env_files: files.variable_files.clone(),
            profiles: files.profiles.clone(),
            directory: None,
        };
        let wanted = compose::read(&contents, &asked).map_err(Error::from)?;
        let notes = notes(&wanted);
        let built = built(&wanted);
        let mut objects = objects(name, wanted)?;
        if files.files.iter().any(|it| is_ranchers(&it.path)) {
            label_as_rancher(name, &mut objects);
        } else {
            forget_links(&mut objects);
        }
        let wish = Self {
            objects,
            built,
            files,
            what: what.to_owned(),
            origin: None,
            roll_back_on_failure: false,
            copy_volumes: false,
        };
        Ok((wish, notes))
    }
}

/// Whether it is the file that Rancher has beside a Compose file.
fn is_ranchers(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "rancher-compose.yml" | "rancher-compose.yaml")
}

/// Labels that Rancher gives containers, and programs of its time look for. Who has them may ask for
/// metadata by Rancher's name.
fn label_as_rancher(app: &str, objects: &mut AppObjects) {
    for service in &mut objects.services {
        let labels = &mut service.spec.template.labels;
        labels.insert(RANCHER_STACK.to_owned(), app.to_owned());
        labels.insert(RANCHER_SERVICE.to_owned(), format!("{app}/{}", service.object.key));
    }
}

/// Nobody is told of links who does not ask for metadata.
fn forget_links(objects: &mut AppObjects) {
    for service in &mut objects.services {
        let annotations = &mut service.spec.template.annotations;
        if !annotations.contains_key(METADATA) {
            annotations.remove(LINKS);
        }
    }
}

/// Which containers run an image that is built for them, by the key of their service.
fn built(wanted: &Wanted) -> BTreeMap<String, BTreeSet<String>> {
    let services = wanted.services.iter().filter(|it| !it.builds.is_empty());
    services.map(|it| (it.object.key.clone(), it.builds.keys().cloned().collect())).collect()
}

/// What of the files is not acted on.
fn notes(wanted: &Wanted) -> Vec<AppNote> {
    let note = |note: &compose::Note| AppNote {
        file: note.file.clone(),
        line: note.line.into(),
        column: note.column.into(),
        what: note.what.clone(),
        why: note.why.clone(),
    };
    wanted.ignored.iter().map(note).collect()
}

/// What each kind's keys stand for.
type Names = BTreeMap<(Kind, String), String>;

fn objects(app: &str, wanted: Wanted) -> Result<AppObjects> {
    let Wanted { name: _, services, networks, volumes, secrets, configs, ignored: _ } = wanted;
    let mut names = Names::new();
    let mut named = |kind: Kind, object: Named, between: &str| {
        let Named { key, name, labels, external } = object;
        let name = match (name.is_empty(), external) {
            (false, _) => name,
            (true, true) => key.clone(),
            (true, false) => format!("{app}{between}{key}"),
        };
        names.insert((kind, key.clone()), name.clone());
        AppObject { key, name, labels, external, digest: String::new() }
    };
    let networks = networks
        .into_iter()
        .map(|it| AppNetwork { object: named(Kind::Network, it.object, "_"), spec: it.spec });
    let networks = networks.collect();
    let volumes = volumes
        .into_iter()
        .map(|it| AppVolume { object: named(Kind::Volume, it.object, "_"), spec: it.spec });
    let volumes = volumes.collect();
    let secrets = secrets.into_iter().map(|it| AppSecret {
        object: named(Kind::Secret, it.object, "_"),
        spec: SecretSpec::new(it.value),
    });
    let secrets = secrets.collect();
    let configs = configs.into_iter().map(|it| AppConfig {
        object: named(Kind::Config, it.object, "_"),
        spec: ConfigSpec::new(it.value),
    });
    let configs = configs.collect();
    let services: Vec<(AppObject, WantedService)> = services
        .into_iter()
        .map(|mut it| (named(Kind::Service, std::mem::take(&mut it.object), "-"), it))
        .collect();
    let services = services.into_iter().map(|(object, it)| service(object, it, &names));
    let services = services.collect::<Result<_>>()?;
    Ok(AppObjects { networks, volumes, secrets, configs, services })
}

/// A service whose words are names of objects, no keys of files any more.
fn service(object: AppObject, wanted: WantedService, names: &Names) -> Result<AppService> {
    let WantedService { object: _, mut spec, metadata, links, builds: _, file: _, line: _ } =
        wanted;
    for dependency in &mut spec.depends_on {
        rename(names, Kind::Service, &mut dependency.service);
    }
    rename_in(&mut spec.template.spec, names);
    if !metadata.is_empty() {
        let text = serde_json::to_string(&metadata)
            .map_err(|error| Error::internal("metadata that cannot be written").caused_by(error))?;
        spec.template.annotations.insert(METADATA.to_owned(), text);
    }
    if !links.is_empty() {
        let text = serde_json::to_string(&links)
            .map_err(|error| Error::internal("links that cannot be written").caused_by(error))?;
        spec.template.annotations.insert(LINKS.to_owned(), text);
    }
    Ok(AppService { object, spec, attempt: 0 })
}

fn rename(names: &Names, kind: Kind, word: &mut String) {
    if let Some(name) = names.get(&(kind, word.clone())) {
        word.clone_from(name);
    }
}

fn rename_in(spec: &mut InstanceSpec, names: &Names) {
    if let NetworkMode::Networks { attachments } = &mut spec.network {
        attachments.iter_mut().for_each(|it| rename(names, Kind::Network, &mut it.network));
    }
    for container in spec.init.iter_mut().chain(&mut spec.containers) {
        for mount in &mut container.mounts {
            match &mut mount.kind {
                MountKind::Volume { name, .. } => rename(names, Kind::Volume, name),
                MountKind::Bind { .. } | MountKind::Tmpfs { .. } => {}
            }
        }
        let (secrets, configs) = (&mut container.secrets, &mut container.configs);
        for (kind, handed) in [(Kind::Secret, secrets), (Kind::Config, configs)] {
            for handed in handed {
                // Where it is found inside is told by its key.
                if handed.target.is_empty() {
                    handed.target.clone_from(&handed.source);
                }
                rename(names, kind, &mut handed.source);
            }
        }
    }
}
