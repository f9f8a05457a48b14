//! Secrets and configs as instances use them: whether what is named is there, by whom one is used, and
//! what a node is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use link::desired::HandedData;
use model::config::ConfigNoun;
use model::instance::{ContainerSpec, Handed, Instance, InstanceSpec};
use model::secret::SecretNoun;
use model::{Error, Kind, Object, Result, Uid};

use crate::core::Core;
use crate::mirror::{Mirrored, State};
use crate::secrets;
use crate::service::Context;

/// A noun whose objects are handed to instances as files.
pub(crate) trait AsFile: Mirrored {
    /// What a container names of it.
    fn of(container: &ContainerSpec) -> &[Handed];
}

impl AsFile for SecretNoun {
    fn of(container: &ContainerSpec) -> &[Handed] {
        &container.secrets
    }
}

impl AsFile for ConfigNoun {
    fn of(container: &ContainerSpec) -> &[Handed] {
        &container.configs
    }
}

/// The names of what an instance is handed of a noun.
pub(crate) fn named<N: AsFile>(spec: &InstanceSpec) -> impl Iterator<Item = &str> {
    spec.all_containers().flat_map(|container| N::of(container)).map(|it| it.source.as_str())
}

/// The error for a change of what does not change.
pub(crate) fn unchanging<N: AsFile>(object: &Object<N>, field: &str) -> Error {
    Error::conflict(format!("{} does not change once it is made", object.title()))
        .at(field)
        .next("make another one, and have those who read this one read that")
}

/// Refuses another name while somebody knows it by this one.
pub(crate) fn check_rename<N: AsFile>(
    context: &Context<'_>,
    old: &Object<N>,
    name: &str,
) -> Result<()> {
    if old.meta.name == name {
        return Ok(());
    }
    match users(context.state, old).first() {
        None => Ok(()),
        Some(user) => {
            Err(Error::conflict(format!("{} cannot be renamed while {user} reads it", old.title()))
                .at("meta.name"))
        }
    }
}

/// Refuses the removal of what somebody reads, and says who.
pub(crate) fn check_unused<N: AsFile>(context: &Context<'_>, object: &Object<N>) -> Result<()> {
    let users = users(context.state, object);
    let Some(first) = users.first() else { return Ok(()) };
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let list = match names.len() {
        0..=5 => names.join(", "),
        _ => format!("{} and {} more", names[..5].join(", "), names.len() - 5),
    };
    let next = match first.split_once(' ') {
        Some(("service", name)) if name.ends_with(')') => {
            "a service can go back to its revisions: remove it, or change it until that one is not kept"
                .to_owned()
        }
        Some(("service", name)) => {
            format!("`hull service rm {name}`, or change it, then try again")
        }
        _ => "remove those who read it, then try again".to_owned(),
    };
    Err(Error::conflict(format!("{} is read by {list}", object.title())).next(next))
}

/// Who names a secret or config: services by their templates, those of revisions that they can go back to
/// among them, and instances, each once. What an app owns it makes again when it goes back.
fn users<N: AsFile>(state: &State, object: &Object<N>) -> Vec<String> {
    let (project, name) = (&object.meta.project, object.meta.name.as_str());
    let names = |spec: &InstanceSpec| named::<N>(spec).any(|it| it == name);
    let of_app = object.meta.owner.as_ref().is_some_and(|owner| owner.kind == Kind::App);
    let services = state.services.in_project(project).filter_map(|service| {
        if names(&service.spec.template.spec) {
            return Some(service.title());
        }
        let mut earlier = service.status.revisions.iter().filter(|_| !of_app);
        let earlier = earlier.find(|revision| names(&revision.template.spec))?;
        Some(format!("{} (revision {})", service.title(), earlier.number))
    });
    let instances = state.instances.in_project(project);
    let instances = instances.filter(|it| names(&it.spec)).map(|it| it.title());
    services.chain(instances).collect()
}

/// Refuses an instance that names what is not there, or cannot be read.
pub(crate) fn check_named(context: &Context<'_>, instance: &Instance) -> Result<()> {
    let (state, project) = (context.state, instance.meta.project.as_str());
    let lists = [("init", &instance.spec.init), ("containers", &instance.spec.containers)];
    for (list, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let place = format!("spec.{list}[{i}]");
            let secrets = check_each::<SecretNoun>(state, project, container, "secrets");
            for secret in secrets.map_err(|error| error.under(&place))? {
                secrets::open(context.core, secret)
                    .map_err(|error| error.at("secrets").under(&place))?;
            }
            check_each::<ConfigNoun>(state, project, container, "configs")
                .map_err(|error| error.under(&place))?;
        }
    }
    Ok(())
}

fn check_each<'a, N: AsFile>(
    state: &'a State,
    project: &str,
    container: &ContainerSpec,
    list: &str,
) -> Result<Vec<&'a Arc<Object<N>>>> {
    let found = N::of(container).iter().enumerate().map(|(i, handed)| {
        let at = format!("{list}[{i}].source");
        let name = &handed.source;
        match N::table(state).by_name(project, name) {
            Some(object) if object.meta.deleted.is_none() => Ok(object),
            Some(object) => {
                Err(Error::conflict(format!("{} is being removed", object.title())).at(at))
            }
            None => Err(Error::not_found(format!("there is no {} {name:?}", N::KIND))
                .at(at)
                .next(format!("`hull {} create {name} FILE`", N::KIND))),
        }
    });
    found.collect()
}

/// What nodes are told of secrets and configs, opened once: neither changes.
#[derive(Default)]
pub(crate) struct Opened(Mutex<Known>);

#[derive(Default)]
struct Known {
    opened: BTreeMap<Uid, Arc<HandedData>>,
    /// What could not be opened, which is logged once.
    failed: BTreeSet<Uid>,
}

impl Opened {
    /// What these instances are handed, in the order of ids.
    pub(crate) fn of<'a>(
        &self,
        core: &Core,
        state: &State,
        instances: impl Iterator<Item = &'a Arc<Instance>>,
    ) -> Vec<Arc<HandedData>> {
        let (mut secrets, mut configs) = (BTreeSet::new(), BTreeSet::new());
        for instance in instances {
            let key = |name| (instance.meta.project.as_str(), name);
            secrets.extend(named::<SecretNoun>(&instance.spec).map(key));
            configs.extend(named::<ConfigNoun>(&instance.spec).map(key));
        }
        let mut told = Vec::new();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (project, name) in secrets {
            let Some(secret) = state.secrets.by_name(project, name) else { continue };
            told.extend(opened(&mut known, secret, || secrets::open(core, secret)));
        }
        for (project, name) in configs {
            let Some(config) = state.configs.by_name(project, name) else { continue };
            told.extend(opened(&mut known, config, || Ok(config.spec.data.clone())));
        }
        told.sort_by(|one, two| one.id.cmp(&two.id));
        told
    }

    /// Forgets what is not there any more.
    pub(crate) fn forget(&self, state: &State) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there =
            |id: &Uid| state.secrets.by_id(id).is_some() || state.configs.by_id(id).is_some();
        known.opened.retain(|id, _| is_there(id));
        known.failed.retain(is_there);
    }
}

fn opened<N: AsFile>(
    known: &mut Known,
    object: &Object<N>,
    open: impl FnOnce() -> Result<model::data::Data>,
) -> Option<Arc<HandedData>> {
    if let Some(known) = known.opened.get(&object.meta.id)
        && known.name == object.meta.name
    {
        return Some(known.clone());
    }
    let data = match open() {
        Ok(data) => data,
        Err(error) => {
            if known.failed.insert(object.meta.id.clone()) {
                let name = &object.meta.name;
                tracing::error!(error = error.chain(), name, "a node cannot be told a secret");
            }
            return None;
        }
    };
    known.failed.remove(&object.meta.id);
    let made = Arc::new(HandedData {
        kind: N::KIND,
        id: object.meta.id.clone(),
        project: object.meta.project.clone(),
        name: object.meta.name.clone(),
        data,
    });
    known.opened.insert(object.meta.id.clone(), made.clone());
    Some(made)
}
