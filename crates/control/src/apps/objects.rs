//! What an app consists of, made ready to be kept: names, labels, sealed values, and digests by which it
//! is told later whether an object is as it was wanted.

use std::collections::{BTreeMap, BTreeSet};

use model::app::{
    APP, App, AppAction, AppDifference, AppObject, AppObjects, AppService, DIGEST, KEY, Origin,
};
use model::data::Data;
use model::instance::Instance;
use model::secret::SecretSpec;
use model::service::Service as Kept;
use model::{Error, Kind, Meta, Object, Result, Uid};
use planner::app::Present;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::revisions::{decode, encode};
use crate::batch::Batch;
use crate::caller::{self, Caller};
use crate::core::Core;
use crate::mirror::{Mirrored, State};
use crate::networks;
use crate::service::{Context, Rules};
use crate::services;

/// The place that a value of an app's is sealed for.
pub(crate) fn place(app: &Uid, secret: &str) -> String {
    format!("app/{app}/secret/{secret}")
}

/// The place that answers of an app are sealed for.
pub(crate) fn place_of_answers(app: &Uid) -> String {
    format!("app/{app}/answers")
}

/// The objects with all that is secret sealed. Secrets and configs are named after what is in them: one
/// with another value is another one, and whoever reads it is changed with it.
pub(super) fn sealed(core: &Core, app: &Uid, wanted: &AppObjects) -> Result<AppObjects> {
    let mut objects = wanted.clone();
    let mut names: BTreeMap<(Kind, String), String> = BTreeMap::new();
    for secret in objects.secrets.iter_mut().filter(|it| !it.object.external) {
        let data = std::mem::take(&mut secret.spec.data);
        let old = secret.object.name.clone();
        secret.object.name = named_after(core, &old, data.bytes());
        names.insert((Kind::Secret, old), secret.object.name.clone());
        let place = place(app, &secret.object.name);
        let sealed = Some(core.keyring.seal(&place, data.bytes())?);
        secret.spec = SecretSpec { data: Data::default(), size: data.len() as u64, sealed };
    }
    for config in objects.configs.iter_mut().filter(|it| !it.object.external) {
        let old = config.object.name.clone();
        config.object.name = named_after(core, &old, config.spec.data.bytes());
        names.insert((Kind::Config, old), config.object.name.clone());
    }
    for service in &mut objects.services {
        let spec = &mut service.spec.template.spec;
        for container in spec.init.iter_mut().chain(&mut spec.containers) {
            let rename = |kind: Kind, source: &mut String| {
                if let Some(name) = names.get(&(kind, source.clone())) {
                    source.clone_from(name);
                }
            };
            let (secrets, configs) = (&mut container.secrets, &mut container.configs);
            for (kind, handed) in [(Kind::Secret, secrets), (Kind::Config, configs)] {
                for handed in handed {
                    // Where it is found inside does not change with its name.
                    if handed.target.is_empty() {
                        handed.target.clone_from(&handed.source);
                    }
                    rename(kind, &mut handed.source);
                }
            }
        }
    }
    Ok(objects)
}

/// Refuses what of an app reaches the host to who may not ask for it: the platform makes its objects.
pub(super) fn stay_inside(caller: &Caller, objects: &AppObjects) -> Result<()> {
    let services = objects.services.iter();
    let services = services.map(|it| (it.object.key.as_str(), it.spec.template.spec.reach()));
    let volumes = objects.volumes.iter().filter(|it| !it.object.external);
    let volumes = volumes.map(|it| (it.object.key.as_str(), it.spec.reach()));
    services.map(|it| ("services", it)).chain(volumes.map(|it| ("volumes", it))).try_for_each(
        |(list, (key, reach))| {
            caller::stay_inside(caller, reach)
                .map_err(|error| error.under(&format!("{list}.{key}")))
        },
    )
}

fn named_after(core: &Core, name: &str, data: &[u8]) -> String {
    format!("{name}-{}", &core.keyring.fingerprint(data)[..8])
}

/// The value of an app's secret.
pub(crate) fn open(core: &Core, app: &App, name: &str) -> Result<Data> {
    let secret = app.spec.objects.secrets.iter().find(|it| it.object.name == name);
    let sealed = secret.and_then(|it| it.spec.sealed.as_ref());
    let sealed = sealed.ok_or_else(|| {
        Error::internal(format!("{} has kept no value of secret {name:?}", app.title()))
    })?;
    core.keyring.open(&place(&app.meta.id, name), sealed)
}

/// The template of an app with its secret answers sealed.
pub(super) fn origin(
    core: &Core,
    app: &Uid,
    wanted: Option<&(Origin, BTreeMap<String, String>)>,
) -> Result<Option<Origin>> {
    let Some((origin, secret)) = wanted else { return Ok(None) };
    let mut origin = origin.clone();
    origin.secret_answers = secret.keys().cloned().collect();
    origin.sealed = match secret.is_empty() {
        true => None,
        false => Some(core.keyring.seal(&place_of_answers(app), &encode(secret))?),
    };
    Ok(Some(origin))
}

/// The answers that are secret.
pub(super) fn answers(core: &Core, app: &Uid, origin: &Origin) -> Result<BTreeMap<String, String>> {
    match &origin.sealed {
        None => Ok(BTreeMap::new()),
        Some(sealed) => decode(core.keyring.open(&place_of_answers(app), sealed)?.bytes()),
    }
}

/// Writes what control adds: labels, what services have by default, their order, and digests.
pub(super) fn complete(
    context: &Context<'_>,
    app: &str,
    old: Option<&App>,
    objects: &mut AppObjects,
) -> Result<()> {
    let label = |object: &mut AppObject| {
        object.labels.insert(APP.to_owned(), app.to_owned());
        object.labels.insert(KEY.to_owned(), object.key.clone());
    };
    for network in &mut objects.networks {
        label(&mut network.object);
        network.object.digest = digest(&(&network.spec, &network.object.labels));
    }
    for volume in &mut objects.volumes {
        label(&mut volume.object);
        volume.object.digest = digest(&volume.spec);
    }
    objects.secrets.iter_mut().for_each(|secret| label(&mut secret.object));
    objects.configs.iter_mut().for_each(|config| label(&mut config.object));
    for service in &mut objects.services {
        label(&mut service.object);
        complete_service(context, app, service)?;
        let earlier = old.and_then(|old| {
            old.spec.objects.services.iter().find(|it| it.object.name == service.object.name)
        });
        service.attempt = earlier.map_or(0, |it| it.attempt);
        service.object.digest = digest_of(service);
    }
    order(&mut objects.services)
}

fn complete_service(context: &Context<'_>, app: &str, service: &mut AppService) -> Result<()> {
    let template = &mut service.spec.template;
    template.labels.insert(APP.to_owned(), app.to_owned());
    template.labels.insert(KEY.to_owned(), service.object.key.clone());
    let meta = Meta::new("", &service.object.name, context.core.new_id(), context.now);
    let mut probe = Kept::new(meta, service.spec.clone());
    services::check_name(&probe.meta.name)
        .map_err(|error| error.under(&format!("service {:?}", service.object.key)))?;
    services::complete(&mut probe);
    service.spec = probe.spec;
    Ok(())
}

fn digest(value: &impl Serialize) -> String {
    hex::encode(&Sha256::digest(encode(value))[..16])
}

fn digest_of(service: &AppService) -> String {
    digest(&(&service.spec, &service.object.labels, service.attempt))
}

/// Puts services behind those that they depend on.
fn order(services: &mut Vec<AppService>) -> Result<()> {
    let mut left = std::mem::take(services);
    let names: BTreeSet<String> = left.iter().map(|it| it.object.name.clone()).collect();
    let mut done: BTreeSet<String> = BTreeSet::new();
    while !left.is_empty() {
        let ready = |service: &AppService| {
            let mut needs = service.spec.depends_on.iter();
            needs.all(|it| done.contains(&it.service) || !names.contains(&it.service))
        };
        let Some(at) = left.iter().position(ready) else {
            let circle: Vec<_> = left.iter().map(|it| it.object.key.as_str()).collect();
            return Err(Error::invalid(format!(
                "services {} wait for each other",
                circle.join(", ")
            ))
            .at("services")
            .next("take one of their depends_on away"));
        };
        let next = left.remove(at);
        done.insert(next.object.name.clone());
        services.push(next);
    }
    Ok(())
}

/// Has services be brought about again that are not as they were wanted, though nothing else is wanted
/// now: somebody changed them by hand, or they were rolled back.
pub(super) fn ask_again(
    objects: &mut AppObjects,
    changes: &[AppDifference],
    present: &Present<'_>,
) {
    for service in &mut objects.services {
        let there = present.services.iter().find(|it| it.meta.name == service.object.name);
        let digest = there.and_then(|it| it.meta.annotations.get(DIGEST));
        let differs = changes.iter().any(|change| {
            change.kind == Kind::Service
                && change.name == service.object.name
                && change.action == AppAction::Change
        });
        if differs && digest == Some(&service.object.digest) {
            service.attempt += 1;
            service.object.digest = digest_of(service);
        }
    }
}

/// Refuses what could not be brought about.
pub(super) fn check(context: &Context<'_>, app: &App, changes: &[AppDifference]) -> Result<()> {
    let (state, project) = (context.state, app.meta.project.as_str());
    for (kind, object) in app.spec.objects.all() {
        let there = there(state, kind, project, &object.name);
        match (object.external, there) {
            (true, None) => {
                return Err(Error::not_found(format!("there is no {kind} {:?}", object.name))
                    .at(format!("{kind} {:?}", object.key))
                    .next(format!(
                        "`hull {kind} create {}`, or let the app make it",
                        object.name
                    )));
            }
            (false, Some(meta)) => {
                if let Some(reason) = planner::app::taken(app, kind, meta) {
                    return Err(Error::exists(reason.message)
                        .at(format!("{kind} {:?}", object.key))
                        .next(reason.next.unwrap_or_default()));
                }
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    changes.iter().try_for_each(|change| check_change(context, app, change))
}

fn there<'a>(state: &'a State, kind: Kind, project: &str, name: &str) -> Option<&'a Meta> {
    fn meta<'a, N: Mirrored>(state: &'a State, project: &str, name: &str) -> Option<&'a Meta> {
        N::table(state).by_name(project, name).map(|it| &it.meta)
    }
    match kind {
        Kind::Network => meta::<model::network::NetworkNoun>(state, project, name),
        Kind::Volume => meta::<model::volume::VolumeNoun>(state, project, name),
        Kind::Secret => meta::<model::secret::SecretNoun>(state, project, name),
        Kind::Config => meta::<model::config::ConfigNoun>(state, project, name),
        Kind::Service => meta::<model::service::ServiceNoun>(state, project, name),
        Kind::App
        | Kind::Catalog
        | Kind::Event
        | Kind::Image
        | Kind::Instance
        | Kind::Node
        | Kind::Operation
        | Kind::Project
        | Kind::Snapshot
        | Kind::Token
        | Kind::User => None,
    }
}

/// Refuses the change of a network or volume that those would refuse.
fn check_change(context: &Context<'_>, app: &App, change: &AppDifference) -> Result<()> {
    let remade = change.kind == Kind::Network && change.action == AppAction::Replace;
    if change.action != AppAction::Change && !remade {
        return Ok(());
    }
    let (state, project, objects) = (context.state, &app.meta.project, &app.spec.objects);
    let at = |error: Error| error.under(&format!("{} {:?}", change.kind, change.key));
    let mut scratch = Batch::default();
    if let Some(old) =
        state.networks.by_name(project, &change.name).filter(|_| change.kind == Kind::Network)
        && let Some(wanted) = objects.networks.iter().find(|it| it.object.name == change.name)
    {
        // The app's own instances are made anew with it; others' are not ours to end.
        let own = |user: &Instance| {
            let mut services = state.services.in_project(project);
            services.any(|it| {
                model::app::is_of(&it.meta, &app.meta.id)
                    && model::service::is_of(user, &it.meta.id)
            })
        };
        let mut others = networks::users(state, old).filter(|user| remade && !own(user));
        if let Some(user) = others.next() {
            return Err(at(Error::conflict(format!(
                "{} has to be made anew, and {} is joined to it: {}",
                old.title(),
                user.title(),
                change.reasons.join(", ")
            ))
            .next(format!(
                "`hull network disconnect {} {}`, or call the network otherwise",
                old.meta.name, user.meta.name
            ))));
        }
        let mut new = Object::clone(old);
        new.spec = planner::app::network_spec(&wanted.spec, old);
        if remade {
            // Before any service goes for it.
            new.validate().map_err(at)?;
            return crate::subnets::assign(state, context.core, &mut new, &mut scratch).map_err(at);
        }
        model::network::NetworkNoun::change(context, old, &mut new, &mut scratch).map_err(at)?;
    }
    if let Some(old) =
        state.volumes.by_name(project, &change.name).filter(|_| change.kind == Kind::Volume)
        && let Some(wanted) = objects.volumes.iter().find(|it| it.object.name == change.name)
    {
        let mut new = Object::clone(old);
        new.spec = planner::app::volume_spec(&wanted.spec, old);
        model::volume::VolumeNoun::change(context, old, &mut new, &mut scratch).map_err(at)?;
    }
    Ok(())
}
