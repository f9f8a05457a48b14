//! What Docker asked of a container and the platform has no word for, kept beside the instance as
//! annotations and only read back.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig};
use model::instance::{Instance, MountKind};
use model::meta::Labels;
use serde::{Deserialize, Serialize};

/// Digest of the image's configuration: the image's id.
const IMAGE: &str = "io.monohull.docker.image";
/// Path and arguments in one line, as lists show them.
const COMMAND: &str = "io.monohull.docker.command";
/// Ports that are exposed, in one line.
const EXPOSED: &str = "io.monohull.docker.exposed";
/// Volumes that only stand for something else: `name=target` each, in one line.
const STAND_INS: &str = "io.monohull.docker.volumes";
/// Everything else, as JSON.
const REQUEST: &str = "io.monohull.docker.request";

/// The request that made a container, completed from its image. Environment and labels are the
/// instance's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) config: ContainerConfig,
    pub(crate) host: HostConfig,
    #[serde(default)]
    pub(crate) endpoints: HashMap<String, EndpointSettings>,
}

impl Origin {
    /// What was kept for an instance; `None` for one that was made by other words.
    pub(crate) fn of(instance: &Instance) -> Option<Self> {
        serde_json::from_str(instance.meta.annotations.get(REQUEST)?).ok()
    }

    /// The annotations that keep it.
    pub(crate) fn annotations(mut self, image: &str) -> Labels {
        let words = self.config.entrypoint.iter().flatten().chain(self.config.cmd.iter().flatten());
        let command = words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let exposed = self.config.exposed_ports.clone().unwrap_or_default().join(" ");
        (self.config.env, self.config.labels) = (None, None);
        let request = serde_json::to_string(&self).unwrap_or_default();
        let mut kept = Labels::from([
            (IMAGE.to_owned(), image.to_owned()),
            (COMMAND.to_owned(), command),
            (REQUEST.to_owned(), request),
        ]);
        if !exposed.is_empty() {
            kept.insert(EXPOSED.to_owned(), exposed);
        }
        kept
    }
}

/// Whether Docker's words made it.
pub(crate) fn is_dockers(instance: &Instance) -> bool {
    instance.meta.annotations.contains_key(REQUEST)
}

/// The image's id.
pub(crate) fn image_id(instance: &Instance) -> String {
    if let Some(id) = instance.meta.annotations.get(IMAGE) {
        return id.clone();
    }
    let Some(main) = instance.spec.main() else { return String::new() };
    if !main.image_id.is_empty() {
        return main.image_id.clone();
    }
    main.made_from(instance.status.container(&main.name)).unwrap_or_default().to_owned()
}

/// Path and arguments in one line.
pub(crate) fn command(instance: &Instance) -> String {
    if let Some(command) = instance.meta.annotations.get(COMMAND) {
        return command.clone();
    }
    let Some(main) = instance.spec.main() else { return String::new() };
    let words = main.entrypoint.iter().flatten().chain(main.command.iter().flatten());
    words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word with spaces is shown in quotes, so that words can be told apart.
fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

/// Ports that are exposed: `80/tcp` each.
pub(crate) fn exposed(instance: &Instance) -> impl Iterator<Item = &str> {
    let exposed = instance.meta.annotations.get(EXPOSED);
    exposed.map_or("", String::as_str).split(' ').filter(|port| !port.is_empty())
}

/// The annotations people gave, without these.
pub(crate) fn is_own(key: &str) -> bool {
    matches!(key, IMAGE | COMMAND | EXPOSED | REQUEST | STAND_INS)
}

/// Notes that a volume of that name was asked for at a path, where what it stands for is mounted.
pub(crate) fn note_stand_in(annotations: &mut Labels, name: &str, target: &str) {
    let line = annotations.entry(STAND_INS.to_owned()).or_default();
    if !line.is_empty() {
        line.push('\n');
    }
    line.push_str(name);
    line.push('=');
    line.push_str(target);
}

/// Volumes that only stand for something else, and where that is mounted.
pub(crate) fn stand_ins(instance: &Instance) -> impl Iterator<Item = (&str, &str)> {
    let lines = instance.meta.annotations.get(STAND_INS).map_or("", String::as_str);
    lines.lines().filter_map(|line| line.split_once('='))
}

/// Names of all volumes a container mounts.
pub(crate) fn volume_names(instance: &Instance) -> Vec<String> {
    let mut names: Vec<String> = stand_ins(instance).map(|(name, _)| name.to_owned()).collect();
    for container in instance.spec.all_containers() {
        names.extend(container.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { name, .. } => Some(name.clone()),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        }));
    }
    let made = instance.status.containers.iter().flat_map(|status| &status.volumes);
    names.extend(made.map(|volume| volume.name().to_owned()));
    names
}
