//! What an app needs next: how its objects differ from what is there, and which of them comes first.
//!
//! [`differences`] is what is shown before a change is made, and [`step`] takes the first of the same
//! differences that can be brought about now; so nothing is done that was not shown.

use std::collections::BTreeSet;

use model::app::{
    App, AppAction, AppDifference, AppNetwork, AppObject, AppObjects, AppPhase, AppService,
    AppServiceStatus, AppStatus, DIGEST, is_of,
};
use model::config::Config;
use model::instance::{Health, Instance, InstanceSpec, NetworkMode, Phase, Reason};
use model::network::{Network, NetworkSpec};
use model::secret::Secret;
use model::service::{REVISION, Service, ServiceMode, ServicePhase, ServiceSpec};
use model::volume::{Volume, VolumeSpec};
use model::{Kind, Meta, Noun, Object};
use serde::Serialize;
use serde_json::Value;

use crate::ports::ports_are_given;

/// So often may an instance be started again before its service has failed.
const RESTARTS: u64 = 5;
/// Longest value shown in a difference.
const SHOWN: usize = 60;
/// What of a service is said by verbs of its own.
const NOT_COMPARED: [&str; 3] = ["paused", "resumed", "template.renewed"];
/// Most differences shown of one object.
const MOST_SHOWN: usize = 12;

/// What is there in the app's project.
#[derive(Debug, Default)]
pub struct Present<'a> {
    /// Networks.
    pub networks: Vec<&'a Network>,
    /// Volumes.
    pub volumes: Vec<&'a Volume>,
    /// Secrets.
    pub secrets: Vec<&'a Secret>,
    /// Configs.
    pub configs: Vec<&'a Config>,
    /// Services.
    pub services: Vec<&'a Service>,
    /// Instances.
    pub instances: Vec<&'a Instance>,
}

/// What an app needs next.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How far the app is.
    pub status: AppStatus,
    /// What is done now.
    pub act: Option<Act>,
    /// The revision that is to be in force again.
    pub roll_back: Option<u64>,
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// What.
    pub action: AppAction,
    /// The object's kind.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
}

/// How an object is compared with what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// By what it was wanted as when it was made or changed last; what somebody changed since stays.
    AsWanted,
    /// By what it is now.
    AsIs,
}

impl<'a> Present<'a> {
    fn service(&self, name: &str) -> Option<&'a Service> {
        self.services.iter().find(|it| it.meta.name == name).copied()
    }
}

/// How what is there differs from what is wanted, in the order in which it is brought about. `app` is
/// none while it is not there.
#[must_use]
pub fn differences(
    app: Option<&App>,
    wanted: &AppObjects,
    present: &Present<'_>,
    look: Look,
) -> Vec<AppDifference> {
    let work = Work { app, wanted, present, look };
    let mut changes = work.plain();
    changes.extend(wanted.services.iter().filter_map(|service| work.service(service)));
    changes.extend(work.surplus());
    pair_replaced(changes)
}

struct Work<'a> {
    app: Option<&'a App>,
    wanted: &'a AppObjects,
    present: &'a Present<'a>,
    look: Look,
}

impl Work<'_> {
    /// Networks, volumes, secrets and configs that are missing or differ.
    fn plain(&self) -> Vec<AppDifference> {
        let (wanted, present) = (self.wanted, self.present);
        let mut changes = Vec::new();
        for network in wanted.networks.iter().filter(|it| !it.object.external) {
            match find(&present.networks, &network.object) {
                None => changes.push(create(Kind::Network, &network.object)),
                Some(there) => changes.extend(self.network(network, there)),
            }
        }
        for volume in wanted.volumes.iter().filter(|it| !it.object.external) {
            match find(&present.volumes, &volume.object) {
                None => changes.push(create(Kind::Volume, &volume.object)),
                Some(there) => {
                    let reasons = fields(&there.spec, &volume_spec(&volume.spec, there), &[]);
                    changes.extend(change(Kind::Volume, &volume.object, reasons));
                }
            }
        }
        // Their names tell their values: they are there, or they are not.
        for secret in wanted.secrets.iter().filter(|it| !it.object.external) {
            if find(&present.secrets, &secret.object).is_none() {
                changes.push(create(Kind::Secret, &secret.object));
            }
        }
        for config in wanted.configs.iter().filter(|it| !it.object.external) {
            if find(&present.configs, &config.object).is_none() {
                changes.push(create(Kind::Config, &config.object));
            }
        }
        changes
    }

    /// How a network that is there differs. What says how it is made changes when nobody is joined to it.
    fn network(&self, wanted: &AppNetwork, there: &Network) -> Option<AppDifference> {
        if digest(&there.meta) == wanted.object.digest {
            return None;
        }
        let mut reasons = fields(&there.spec, &network_spec(&wanted.spec, there), &[]);
        let remade = !reasons.is_empty();
        reasons.extend(labels(&there.meta, &wanted.object));
        let mut found = change(Kind::Network, &wanted.object, reasons)?;
        if remade && user(Kind::Network, &wanted.object.name, self.present).is_some() {
            found.action = AppAction::Replace;
        }
        Some(found)
    }

    /// The network of a service's instances that is made anew, so that they have to be, too.
    fn remade<'b>(&self, there: &'b Service) -> Option<&'b str> {
        let wanted = &self.wanted.networks;
        let remade = |name: &&str| {
            let mut own = wanted.iter().filter(|it| !it.object.external && it.object.name == *name);
            own.any(|it| {
                let there = find(&self.present.networks, &it.object);
                let found = there.and_then(|there| self.network(it, there));
                found.is_some_and(|found| found.action == AppAction::Replace)
            })
        };
        joined(&there.spec.template.spec).find(remade)
    }

    fn service(&self, wanted: &AppService) -> Option<AppDifference> {
        let Some(there) = self.present.service(&wanted.object.name) else {
            return Some(create(Kind::Service, &wanted.object));
        };
        if let Some(network) = self.remade(there) {
            let mut reasons = vec![format!("network {network:?} is made anew")];
            reasons.extend(fields(&there.spec, &wanted.spec, &NOT_COMPARED));
            let mut found = change(Kind::Service, &wanted.object, reasons)?;
            found.action = AppAction::Replace;
            return Some(found);
        }
        let same = digest(&there.meta) == wanted.object.digest;
        if same && self.look == Look::AsWanted {
            return None;
        }
        let mut reasons = fields(&there.spec, &wanted.spec, &NOT_COMPARED);
        if same && !reasons.is_empty() {
            reasons.insert(0, "it was changed since, by hand or by its roll-back".to_owned());
        }
        if !same && reasons.is_empty() {
            reasons = labels(&there.meta, &wanted.object);
        }
        if !same && reasons.is_empty() {
            // What it was wanted as differs in nothing that is seen.
            reasons.push("it is to be as it was wanted".to_owned());
        }
        let mut found = change(Kind::Service, &wanted.object, reasons)?;
        if !same_sort(&there.spec, &wanted.spec) {
            found.action = AppAction::Replace;
        }
        Some(found)
    }

    /// What the app made and does not want any more: services first, then what they used. Volumes stay.
    fn surplus(&self) -> Vec<AppDifference> {
        let Some(app) = self.app else { return Vec::new() };
        let wanted: BTreeSet<(Kind, &str)> =
            self.wanted.all().map(|(kind, object)| (kind, object.name.as_str())).collect();
        let mut changes = Vec::new();
        let mut add = |kind: Kind, meta: &Meta| {
            if is_of(meta, &app.meta.id) && !wanted.contains(&(kind, meta.name.as_str())) {
                changes.push(remove(kind, meta));
            }
        };
        self.present.services.iter().for_each(|it| add(Kind::Service, &it.meta));
        self.present.secrets.iter().for_each(|it| add(Kind::Secret, &it.meta));
        self.present.configs.iter().for_each(|it| add(Kind::Config, &it.meta));
        self.present.networks.iter().for_each(|it| add(Kind::Network, &it.meta));
        changes
    }
}

/// In which labels an object differs.
fn labels(there: &Meta, wanted: &AppObject) -> Vec<String> {
    let found = fields(&there.labels, &wanted.labels, &[model::app::APP, model::app::KEY]);
    found.into_iter().map(|text| format!("labels.{text}")).collect()
}

/// The networks that instances are joined to by name.
fn joined(spec: &InstanceSpec) -> impl Iterator<Item = &str> {
    let attachments = match &spec.network {
        NetworkMode::Networks { attachments } => &attachments[..],
        NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => &[],
    };
    attachments.iter().map(|it| it.network.as_str())
}

/// What a network that is there is to be: what was chosen for it stays.
#[must_use]
pub fn network_spec(wanted: &NetworkSpec, there: &Network) -> NetworkSpec {
    let mut spec = wanted.clone();
    if spec.ipv4.is_none() {
        spec.ipv4 = there.spec.ipv4;
        spec.gateway4 = there.spec.gateway4;
        spec.range4 = there.spec.range4;
    }
    // A gateway is an address of its subnet, and goes with it.
    if spec.ipv4.map(|net| net.trunc()) == there.spec.ipv4.map(|net| net.trunc()) {
        spec.gateway4 = spec.gateway4.or(there.spec.gateway4);
    }
    if spec.enable_ipv6 {
        spec.ipv6 = spec.ipv6.or(there.spec.ipv6);
        if spec.ipv6.map(|net| net.trunc()) == there.spec.ipv6.map(|net| net.trunc()) {
            spec.gateway6 = spec.gateway6.or(there.spec.gateway6);
        }
    }
    spec
}

/// What a volume that is there is to be: it stays where it is, and as big as it was made since.
#[must_use]
pub fn volume_spec(wanted: &VolumeSpec, there: &Volume) -> VolumeSpec {
    let size = wanted.size.max(there.spec.size);
    let node = there.spec.node.clone();
    VolumeSpec { size, node, source: there.spec.source.clone(), ..wanted.clone() }
}

fn find<'a, N: Noun>(there: &[&'a Object<N>], object: &AppObject) -> Option<&'a Object<N>> {
    there.iter().find(|it| it.meta.name == object.name).copied()
}

/// As what an object was wanted when it was made or changed last.
fn digest(meta: &Meta) -> &str {
    meta.annotations.get(DIGEST).map(String::as_str).unwrap_or_default()
}

fn create(kind: Kind, object: &AppObject) -> AppDifference {
    let (key, name) = (object.key.clone(), object.name.clone());
    AppDifference { kind, key, name, action: AppAction::Create, reasons: Vec::new() }
}

fn change(kind: Kind, object: &AppObject, reasons: Vec<String>) -> Option<AppDifference> {
    let (key, name) = (object.key.clone(), object.name.clone());
    let found = AppDifference { kind, key, name, action: AppAction::Change, reasons };
    (!found.reasons.is_empty()).then_some(found)
}

fn remove(kind: Kind, meta: &Meta) -> AppDifference {
    let key = meta.labels.get(model::app::KEY).cloned().unwrap_or_default();
    let reasons = vec!["the app has it no more".to_owned()];
    AppDifference { kind, key, name: meta.name.clone(), action: AppAction::Remove, reasons }
}

/// A secret or config that is made while one of the same key goes takes that one's place.
fn pair_replaced(mut changes: Vec<AppDifference>) -> Vec<AppDifference> {
    let gone: BTreeSet<(Kind, String)> = changes
        .iter()
        .filter(|it| it.action == AppAction::Remove && it.kind != Kind::Service)
        .map(|it| (it.kind, it.key.clone()))
        .collect();
    for made in changes.iter_mut().filter(|it| it.action == AppAction::Create) {
        if gone.contains(&(made.kind, made.key.clone())) {
            made.action = AppAction::Replace;
            made.reasons = vec!["what is in it differs".to_owned()];
        }
    }
    changes
}

/// Whether a service can become the other one: what runs for good and what comes to an end differ.
fn same_sort(one: &ServiceSpec, two: &ServiceSpec) -> bool {
    std::mem::discriminant(&one.mode) == std::mem::discriminant(&two.mode)
}

/// The fields in which two values differ, with both; but `ignored` ones.
fn fields<T: Serialize + ?Sized>(old: &T, new: &T, ignored: &[&str]) -> Vec<String> {
    let value = |it: &T| serde_json::to_value(it).unwrap_or_default();
    let mut found = Vec::new();
    compare("", &value(old), &value(new), ignored, &mut found);
    let more = found.len().saturating_sub(MOST_SHOWN);
    found.truncate(MOST_SHOWN);
    if more > 0 {
        found.push(format!("and {more} more fields"));
    }
    found
}

fn compare(path: &str, old: &Value, new: &Value, ignored: &[&str], found: &mut Vec<String>) {
    if old == new || ignored.contains(&path) {
        return;
    }
    match (old, new) {
        (Value::Object(one), Value::Object(two)) => {
            let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let get = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (one, two) = (get(one).unwrap_or_default(), get(two).unwrap_or_default());
                compare(&path, &one, &two, ignored, found);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (i, (one, two)) in one.iter().zip(two).enumerate() {
                compare(&format!("{path}[{i}]"), one, two, ignored, found);
            }
        }
        (old, new) => found.push(format!("{path}: {} → {}", word(old), word(new))),
    }
}

fn word(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.chars().count() > SHOWN {
        true => format!("{}…", text.chars().take(SHOWN - 1).collect::<String>()),
        false => text,
    }
}

/// What an app needs next.
#[must_use]
pub fn step(app: &App, present: &Present<'_>) -> Step {
    let mut status = app.status.clone();
    status.observed_generation = app.meta.generation;
    if app.meta.deleted.is_some() {
        return take_down(app, present, status);
    }
    let wanted = &app.spec.objects;
    let changes = differences(Some(app), wanted, present, Look::AsWanted);
    let states: Vec<State> = wanted.services.iter().map(|it| State::of(it, present)).collect();
    let (act, waits) = first(app, &changes, present);
    status.ready = count(&states, |state| state.status.ready);
    status.services = states.iter().map(|state| state.status.clone()).collect();
    tell(&mut status.services, &waits);
    // On the way back one that is not well yet may still become it; one that was given up does not.
    let back = status.rolled_back_from.is_some();
    let failed = states.iter().find(|state| state.failed && (!back || state.given_up));
    let done = changes.is_empty() && states.iter().all(|state| state.status.ready);
    judge(app, &mut status, done, failed.map(|state| &state.status), &waits);
    let roll_back = roll_back(app, &status);
    Step { status, act: act.filter(|_| roll_back.is_none()), roll_back }
}

fn count(states: &[State], what: impl Fn(&State) -> bool) -> u32 {
    u32::try_from(states.iter().filter(|state| what(state)).count()).unwrap_or(u32::MAX)
}

/// What an object that cannot be made or changed yet waits for, by its name.
type Waits = Vec<(String, Reason)>;

/// Writes to services what they wait for.
fn tell(services: &mut [AppServiceStatus], waits: &Waits) {
    for service in services {
        if let Some((_, reason)) = waits.iter().find(|(name, _)| *name == service.name) {
            service.reason = Some(reason.clone());
        }
    }
}

/// The first change that can be made now, and what others wait for.
fn first(app: &App, changes: &[AppDifference], present: &Present<'_>) -> (Option<Act>, Waits) {
    let mut waits = Waits::new();
    for change in changes {
        let act = |action| Act { action, kind: change.kind, name: change.name.clone() };
        if let Some(reason) = obstacle(app, change, present) {
            waits.push((change.name.clone(), reason));
            // A service needs what comes before it; what nobody needs any more can wait.
            let held = change.kind != Kind::Service && change.action != AppAction::Remove;
            if held { return (None, waits) } else { continue }
        }
        match (change.kind, change.action) {
            // The old one goes first; then the new one is missing.
            (Kind::Service, AppAction::Replace) => return (Some(act(AppAction::Remove)), waits),
            (Kind::Network, AppAction::Replace) => {
                let vacated = vacate(app, &change.name, present);
                if let Err(reason) = &vacated {
                    waits.push((change.name.clone(), reason.clone()));
                }
                return (vacated.ok(), waits);
            }
            (_, AppAction::Replace) => return (Some(act(AppAction::Create)), waits),
            (kind, AppAction::Remove) if user(kind, &change.name, present).is_some() => {}
            (_, AppAction::Create | AppAction::Change | AppAction::Remove) => {
                return (Some(act(change.action)), waits);
            }
        }
    }
    (None, waits)
}

/// What has to go so that nobody is joined to a network any more: a service of the app, or why one waits.
fn vacate(app: &App, network: &str, present: &Present<'_>) -> Result<Act, Reason> {
    let users = present.instances.iter().filter(|it| joined(&it.spec).any(|it| it == network));
    let own = |instance: &Instance| {
        let mut services = present.services.iter().filter(|it| is_of(&it.meta, &app.meta.id));
        services.find(|it| model::service::is_of(instance, &it.meta.id)).copied()
    };
    // Its service is gone, and it goes after it.
    let is_orphan = |instance: &Instance| {
        let owner = instance.meta.owner.as_ref().filter(|it| it.kind == Kind::Service);
        owner.is_some_and(|owner| !present.services.iter().any(|it| it.meta.id == owner.id))
    };
    let going = |title: &str| Reason::new("BeingRemoved", format!("{title} is on its way out"));
    let mut waiting = None;
    for user in users {
        let title = user.title();
        match own(user) {
            Some(service) if service.meta.deleted.is_none() => {
                let (action, kind) = (AppAction::Remove, Kind::Service);
                return Ok(Act { action, kind, name: service.meta.name.clone() });
            }
            Some(_) => waiting = Some(going(&title)),
            None if user.meta.deleted.is_some() || is_orphan(user) => waiting = Some(going(&title)),
            None => {
                let name = &user.meta.name;
                let message =
                    format!("network {network:?} is to be made anew, and {title} is joined to it");
                let next = Some(format!("hull network disconnect {network} {name}"));
                return Err(Reason { code: "InUse".to_owned(), message, next });
            }
        }
    }
    Err(waiting.unwrap_or_else(|| {
        Reason::new("BeingRemoved", format!("network {network:?} was just left by the last one"))
    }))
}

/// What keeps a change from being made: somebody else has the name, or the last one of it is not gone.
fn obstacle(app: &App, change: &AppDifference, present: &Present<'_>) -> Option<Reason> {
    let (name, kind) = (&change.name, change.kind);
    let meta = match kind {
        Kind::Network => {
            present.networks.iter().find(|it| it.meta.name == *name).map(|it| &it.meta)
        }
        Kind::Volume => present.volumes.iter().find(|it| it.meta.name == *name).map(|it| &it.meta),
        Kind::Secret => present.secrets.iter().find(|it| it.meta.name == *name).map(|it| &it.meta),
        Kind::Config => present.configs.iter().find(|it| it.meta.name == *name).map(|it| &it.meta),
        Kind::Service => {
            present.services.iter().find(|it| it.meta.name == *name).map(|it| &it.meta)
        }
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
    }?;
    if change.action != AppAction::Remove && meta.deleted.is_some() {
        return Some(Reason::new("BeingRemoved", format!("{kind} {name:?} is being removed")));
    }
    if change.action == AppAction::Remove && meta.deleted.is_some() {
        return Some(Reason::new("BeingRemoved", format!("{kind} {name:?} is on its way out")));
    }
    taken(app, kind, meta)
}

/// Why an object of this name is not the app's to change.
#[must_use]
pub fn taken(app: &App, kind: Kind, meta: &Meta) -> Option<Reason> {
    let own = is_of(meta, &app.meta.id)
        // A volume outlives its app, and is taken up again by the next one of the name.
        || (kind == Kind::Volume && meta.labels.get(model::app::APP) == Some(&app.meta.name));
    (!own).then(|| Reason {
        code: "NameTaken".to_owned(),
        message: format!("{kind} {:?} is there already, and not of this app", meta.name),
        next: Some(format!("hull {kind} rm {}, or say in the file that it is external", meta.name)),
    })
}

/// Who still uses what is to go.
fn user<'a>(kind: Kind, name: &str, present: &Present<'a>) -> Option<&'a Instance> {
    let uses = |instance: &Instance| {
        match kind {
        Kind::Secret => instance.spec.all_containers().flat_map(|it| &it.secrets).any(|it| it.source == name),
        Kind::Config => instance.spec.all_containers().flat_map(|it| &it.configs).any(|it| it.source == name),
        Kind::Network => joined(&instance.spec).any(|it| it == name),
        Kind::Volume => instance.spec.all_containers().flat_map(|it| &it.mounts).any(|mount| {
            matches!(&mount.kind, model::instance::MountKind::Volume { name: it, .. } if it == name)
        }),
        Kind::Service
        | Kind::App
        | Kind::Catalog
        | Kind::Event
        | Kind::Image
        | Kind::Instance
        | Kind::Node
        | Kind::Operation
        | Kind::Project
        | Kind::Snapshot
        | Kind::Token
        | Kind::User => false,
    }
    };
    present.instances.iter().find(|instance| uses(instance)).copied()
}

/// How a service of the app is.
struct State {
    status: AppServiceStatus,
    /// It will not become ready, or one of its instances is not well.
    failed: bool,
    /// The service itself was given up.
    given_up: bool,
}

impl State {
    fn of(wanted: &AppService, present: &Present<'_>) -> Self {
        let AppObject { key, name, digest: wished, .. } = &wanted.object;
        let mut status = AppServiceStatus {
            key: key.clone(),
            name: name.clone(),
            wanted_instances: wanted.spec.wanted().unwrap_or_default(),
            ..AppServiceStatus::default()
        };
        let Some(there) = present.service(name).filter(|it| it.meta.deleted.is_none()) else {
            return Self { status, failed: false, given_up: false };
        };
        let seen = &there.status;
        let current = digest(&there.meta) == wished;
        let told = current && seen.observed_generation >= there.meta.generation;
        let full = seen.ready >= seen.wanted && seen.updated >= seen.wanted;
        // One that was taken back by itself to what is wanted now is as it should be.
        let back = seen.phase == ServicePhase::RolledBack && as_wanted(wanted, there);
        let steady = seen.phase == ServicePhase::Steady || there.spec.paused || back;
        status.ready_instances = seen.ready;
        status.wanted_instances = wanted.spec.wanted().unwrap_or(seen.wanted);
        status.ready = told
            && is_published(there)
            && match there.spec.mode {
                ServiceMode::Job { .. } => seen.phase == ServicePhase::Complete,
                ServiceMode::Cron(_) => true,
                ServiceMode::Replicated { .. } | ServiceMode::Global {} => steady && full,
            };
        let why = if told && !status.ready { failure(wanted, there, present) } else { None };
        status.reason = why.clone().or_else(|| seen.reason.clone()).filter(|_| !status.ready);
        let given_up = why.is_some() && is_given_up(wanted, there);
        Self { failed: why.is_some(), given_up, status }
    }
}

/// Whether the ports that a service publishes lead to it: another may hold one of them.
fn is_published(service: &Service) -> bool {
    let asked = &service.spec.template.spec.ports;
    !service.spec.has_address() || ports_are_given(asked, &service.status.ports)
}

/// Whether a service's instances are made as is wanted, whatever else it is.
fn as_wanted(wanted: &AppService, service: &Service) -> bool {
    let (wanted, there) = (&wanted.spec.template, &service.spec.template);
    wanted.spec == there.spec && wanted.labels == there.labels
}

/// Whether a service has stopped to become what is wanted.
fn is_given_up(wanted: &AppService, service: &Service) -> bool {
    match service.status.phase {
        ServicePhase::Paused => !service.spec.paused,
        ServicePhase::RolledBack | ServicePhase::RollingBack => !as_wanted(wanted, service),
        ServicePhase::Failed => true,
        ServicePhase::Pending
        | ServicePhase::Steady
        | ServicePhase::Updating
        | ServicePhase::Scheduled
        | ServicePhase::Complete
        | ServicePhase::Removing => false,
    }
}

/// Why a service will not become ready by itself, if so.
fn failure(wanted: &AppService, service: &Service, present: &Present<'_>) -> Option<Reason> {
    if is_given_up(wanted, service) {
        let phase = service.status.phase.as_str();
        let why = service.status.reason.clone();
        return Some(why.unwrap_or_else(|| Reason::new("ServiceFailed", format!("it is {phase}"))));
    }
    // Those of an earlier revision are on their way out, however they are.
    let revision = service.status.revision.to_string();
    let mut members = present.instances.iter().copied().filter(|it| {
        model::service::is_of(it, &service.meta.id)
            && it.meta.deleted.is_none()
            && it.meta.labels.get(REVISION) == Some(&revision)
    });
    members.find_map(instance_failure)
}

fn instance_failure(instance: &Instance) -> Option<Reason> {
    let (name, status) = (&instance.meta.name, &instance.status);
    let told = status.reason.as_ref();
    let because = |what: &str| {
        let why = told.map(|reason| format!(": {}", reason.message)).unwrap_or_default();
        Reason {
            code: told.map_or_else(|| "InstanceFailed".to_owned(), |reason| reason.code.clone()),
            message: format!("instance {name:?} {what}{why}"),
            next: Some(format!("hull logs {name}")),
        }
    };
    match status.phase {
        Phase::Failed => Some(because("failed")),
        Phase::Running | Phase::Paused if status.health == Health::Unhealthy => {
            Some(because("is unhealthy"))
        }
        Phase::Restarting if u64::from(status.restarts) >= RESTARTS => {
            Some(because(&format!("was started again {} times", status.restarts)))
        }
        Phase::Pending
        | Phase::Creating
        | Phase::Running
        | Phase::Paused
        | Phase::Restarting
        | Phase::Exited
        | Phase::Removing => None,
    }
}

/// Says where the app is, and why.
fn judge(
    app: &App,
    status: &mut AppStatus,
    done: bool,
    failed: Option<&AppServiceStatus>,
    waits: &Waits,
) {
    let revision = app.spec.revision;
    let was_good = status.good == Some(revision);
    let back = status.rolled_back_from.is_some();
    status.reason = failed.map(about).or_else(|| reason(status, waits));
    status.phase = match (done, failed) {
        (true, _) if back => AppPhase::RolledBack,
        (true, _) => AppPhase::Ready,
        (false, _) if was_good => AppPhase::Degraded,
        (false, Some(_)) => AppPhase::Failed,
        (false, None) if back => AppPhase::RollingBack,
        (false, None) => AppPhase::Deploying,
    };
    if done {
        status.good = Some(revision);
        if let Some(entry) = status.revisions.iter_mut().find(|it| it.number == revision) {
            entry.failed = false;
        }
        status.reason = status.rolled_back_from.map(|from| {
            Reason::new("RolledBack", format!("revision {from} failed and was taken back"))
        });
    }
    if status.phase == AppPhase::Failed
        && let Some(entry) = status.revisions.iter_mut().find(|it| it.number == revision)
    {
        entry.failed = true;
    }
}

fn about(service: &AppServiceStatus) -> Reason {
    let reason =
        service.reason.clone().unwrap_or_else(|| Reason::new("ServiceFailed", "it failed"));
    Reason { message: format!("service {:?}: {}", service.key, reason.message), ..reason }
}

/// What the app waits for: an object that cannot be made, else a service.
fn reason(status: &AppStatus, waits: &Waits) -> Option<Reason> {
    let is_service = |name: &str| status.services.iter().any(|it| it.name == name);
    let plain = waits.iter().find(|(name, _)| !is_service(name)).map(|(_, reason)| reason.clone());
    let waiting = status.services.iter().filter(|service| !service.ready);
    plain.or_else(|| waiting.filter(|it| it.reason.is_some()).map(about).next())
}

/// The last revision that worked, when the present one failed and it is to be taken back.
#[must_use]
pub fn roll_back(app: &App, status: &AppStatus) -> Option<u64> {
    let good = status.good.filter(|good| *good != app.spec.revision)?;
    let kept = status.revisions.iter().any(|revision| revision.number == good);
    let wanted = app.spec.roll_back_on_failure && status.rolled_back_from.is_none();
    (wanted && kept && status.phase == AppPhase::Failed).then_some(good)
}

/// Takes everything down that the app made: services that others depend on last, then what they used.
fn take_down(app: &App, present: &Present<'_>, mut status: AppStatus) -> Step {
    status.phase = AppPhase::Removing;
    status.ready = 0;
    status.reason = None;
    let own = |meta: &Meta| is_of(meta, &app.meta.id);
    let services: Vec<&Service> =
        present.services.iter().filter(|it| own(&it.meta)).copied().collect();
    let mut acts = Vec::new();
    if services.is_empty() {
        acts.extend(rest(app, present));
    } else {
        acts.extend(
            services
                .iter()
                .filter(|it| !is_needed(app, it, &services))
                .map(|service| (Kind::Service, &service.meta)),
        );
    }
    status.reason = acts.iter().find_map(|(kind, meta)| {
        let title = format!("{kind} {:?}", meta.name);
        match (meta.deleted, user(*kind, &meta.name, present)) {
            (Some(_), _) => Some(Reason::new("BeingRemoved", format!("{title} is on its way out"))),
            (None, Some(user)) => {
                let message = format!("{title} is used by {}", user.title());
                let next = Some(format!("hull rm {}", user.meta.name));
                Some(Reason { code: "InUse".to_owned(), message, next })
            }
            (None, None) => None,
        }
    });
    let ready = |(kind, meta): &&(Kind, &Meta)| {
        meta.deleted.is_none() && user(*kind, &meta.name, present).is_none()
    };
    let act = acts.iter().find(ready).map(|(kind, meta)| Act {
        action: AppAction::Remove,
        kind: *kind,
        name: meta.name.clone(),
    });
    Step { status, act, roll_back: None }
}

/// Whether a service that is there comes after this one.
fn is_needed(app: &App, service: &Service, there: &[&Service]) -> bool {
    let after =
        |it: &&AppService| it.spec.depends_on.iter().any(|it| it.service == service.meta.name);
    let mut others = app.spec.objects.services.iter().filter(after);
    others.any(|other| there.iter().any(|it| it.meta.name == other.object.name))
}

/// What the app made besides services, and its volumes if they are to go.
fn rest<'a>(app: &App, present: &Present<'a>) -> Vec<(Kind, &'a Meta)> {
    let mut found: Vec<(Kind, &Meta)> = Vec::new();
    let own = |meta: &Meta| is_of(meta, &app.meta.id);
    found.extend(present.secrets.iter().map(|it| (Kind::Secret, &it.meta)));
    found.extend(present.configs.iter().map(|it| (Kind::Config, &it.meta)));
    found.extend(present.networks.iter().map(|it| (Kind::Network, &it.meta)));
    found.retain(|(_, meta)| own(meta));
    if app.spec.volumes_go {
        let wanted: BTreeSet<&str> = app
            .spec
            .objects
            .volumes
            .iter()
            .filter(|it| !it.object.external)
            .map(|it| it.object.name.as_str())
            .collect();
        let volumes = present.volumes.iter().filter(|it| {
            wanted.contains(it.meta.name.as_str()) && taken(app, Kind::Volume, &it.meta).is_none()
        });
        found.extend(volumes.map(|it| (Kind::Volume, &it.meta)));
    }
    found
}

/// Whether an app that is to go has nothing left.
#[must_use]
pub fn is_gone(app: &App, present: &Present<'_>) -> bool {
    let services = present.services.iter().any(|it| is_of(&it.meta, &app.meta.id));
    !services && rest(app, present).is_empty()
}

#[cfg(test)]
mod tests {
    use model::app::{AppRevision, AppSpec, AppVolume};
    use model::instance::{Attachment, ContainerSpec, InstanceStatus};
    use model::meta::Owner;
    use model::service::{Dependency, DependencyCondition, ServiceStatus, Template};
    use model::{Time, Uid};

    use super::*;

    fn meta(name: &str, id: u8) -> Meta {
        Meta::new("default", name, Uid::from_bytes([id; 32]), Time::from_unix(0, 0))
    }

    fn object(key: &str, name: &str, digest: &str) -> AppObject {
        let (key, name, digest) = (key.to_owned(), name.to_owned(), digest.to_owned());
        AppObject { key, name, digest, ..AppObject::default() }
    }

    fn service(key: &str, image: &str, after: &[&str]) -> AppService {
        let container =
            ContainerSpec { name: "main".into(), image: image.into(), ..ContainerSpec::default() };
        let spec = InstanceSpec { containers: vec![container], ..InstanceSpec::default() };
        let depends_on = after.iter().map(|key| Dependency {
            service: format!("shop-{key}"),
            condition: DependencyCondition::Healthy,
            required: true,
            restart: false,
        });
        let spec = ServiceSpec {
            template: Template { spec, ..Template::default() },
            depends_on: depends_on.collect(),
            ..ServiceSpec::default()
        };
        let object = object(key, &format!("shop-{key}"), image);
        AppService { object, spec, attempt: 0 }
    }

    /// A database, and a web server that comes after it.
    fn shop(web: &str) -> App {
        let objects = AppObjects {
            networks: vec![AppNetwork {
                object: object("default", "shop_default", "n"),
                ..AppNetwork::default()
            }],
            volumes: vec![AppVolume {
                object: object("data", "shop_data", "v"),
                ..AppVolume::default()
            }],
            services: vec![service("db", "postgres", &[]), service("web", web, &["db"])],
            ..AppObjects::default()
        };
        let spec = AppSpec { revision: 1, objects, ..AppSpec::default() };
        let mut app = App::new(meta("shop", 9), spec);
        let revision = |number| AppRevision { number, ..AppRevision::default() };
        app.status.revisions = vec![revision(1), revision(2)];
        app
    }

    fn owned<N: Noun>(app: &App, name: &str, digest: &str, spec: N::Spec) -> Object<N> {
        let id = u8::try_from(name.len()).unwrap();
        let mut made = Object::<N>::new(meta(name, id), spec);
        let owner = Owner { kind: Kind::App, id: app.meta.id.clone(), name: "shop".into() };
        made.meta.owner = Some(owner);
        made.meta.annotations.insert(DIGEST.into(), digest.into());
        made
    }

    /// All that an app wants, made and ready.
    struct World {
        network: Network,
        volume: Volume,
        services: Vec<Service>,
        instances: Vec<Instance>,
    }

    impl World {
        fn of(app: &App) -> Self {
            let mut volume = Volume::new(meta("shop_data", 1), VolumeSpec::default());
            volume.meta.labels.insert(model::app::APP.into(), "shop".into());
            let services = app.spec.objects.services.iter().map(|wanted| {
                let AppObject { name, digest, .. } = &wanted.object;
                let mut made =
                    owned::<model::service::ServiceNoun>(app, name, digest, wanted.spec.clone());
                made.status = ServiceStatus {
                    phase: ServicePhase::Steady,
                    observed_generation: 1,
                    wanted: 1,
                    updated: 1,
                    ready: 1,
                    ..ServiceStatus::default()
                };
                made
            });
            Self {
                network: owned(app, "shop_default", "n", NetworkSpec::default()),
                volume,
                services: services.collect(),
                instances: Vec::new(),
            }
        }

        fn present(&self) -> Present<'_> {
            Present {
                networks: vec![&self.network],
                volumes: vec![&self.volume],
                services: self.services.iter().collect(),
                instances: self.instances.iter().collect(),
                ..Present::default()
            }
        }
    }

    fn acts(step: &Step) -> Option<(AppAction, &str)> {
        step.act.as_ref().map(|act| (act.action, act.name.as_str()))
    }

    #[test]
    fn what_others_need_is_made_first() {
        let app = shop("nginx");
        let world = World::of(&app);
        let all = world.present();
        let mut there = Present::default();
        let made = |there: &Present<'_>| step(&app, there).act.map(|act| act.name);
        assert_eq!(made(&there).as_deref(), Some("shop_default"));
        there.networks.clone_from(&all.networks);
        assert_eq!(made(&there).as_deref(), Some("shop_data"));
        there.volumes.clone_from(&all.volumes);
        assert_eq!(made(&there).as_deref(), Some("shop-db"));
        there.services = vec![all.services[0]];
        assert_eq!(made(&there).as_deref(), Some("shop-web"));
        let done = step(&app, &all);
        assert_eq!((acts(&done), done.status.phase, done.status.ready), (None, AppPhase::Ready, 2));
        assert_eq!(done.status.good, Some(1));
    }

    #[test]
    fn a_difference_is_told_by_its_field_and_brought_about() {
        let world = World::of(&shop("nginx:1"));
        let app = shop("nginx:2");
        let changes = differences(Some(&app), &app.spec.objects, &world.present(), Look::AsWanted);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].reasons, ["template.spec.containers[0].image: nginx:1 → nginx:2"]);
        let next = step(&app, &world.present());
        assert_eq!(acts(&next), Some((AppAction::Change, "shop-web")));
        assert_eq!(next.status.phase, AppPhase::Deploying);
        // By hand: only who looks at it as it is sees it.
        let mut world = World::of(&app);
        world.services[1].spec.template.spec.containers[0].image = "nginx:3".into();
        let look = |look| differences(Some(&app), &app.spec.objects, &world.present(), look).len();
        assert_eq!((look(Look::AsWanted), look(Look::AsIs)), (0, 1));
    }

    #[test]
    fn a_network_in_use_is_made_anew_between_its_services() {
        let mut app = shop("nginx");
        let on = |network: &str| NetworkMode::Networks {
            attachments: vec![Attachment { network: network.into(), ..Attachment::default() }],
        };
        app.spec.objects.services[1].spec.template.spec.network = on("shop_default");
        let mut world = World::of(&app);
        let id = world.services[1].meta.id.clone();
        let mut member = Instance::new(meta("shop-web-1", 50), InstanceSpec::default());
        member.spec.network = on("shop_default");
        member.meta.owner = Some(Owner { kind: Kind::Service, id, name: "shop-web".into() });
        world.instances.push(member);

        // Labels alone are written where they are.
        let wanted = &mut app.spec.objects.networks[0];
        wanted.object.digest = "labelled".into();
        wanted.object.labels.insert("tier".into(), "front".into());
        let shown = |app: &App, world: &World| {
            let (objects, present) = (&app.spec.objects, world.present());
            let all = differences(Some(app), objects, &present, Look::AsIs);
            all.into_iter().map(|it| (it.action, it.name, it.reasons)).collect::<Vec<_>>()
        };
        let change =
            |name: &str, reason: &str| (AppAction::Change, name.into(), vec![reason.into()]);
        assert_eq!(shown(&app, &world), [change("shop_default", "labels.tier: - → front")]);
        assert_eq!(acts(&step(&app, &world.present())), Some((AppAction::Change, "shop_default")));
        world.network.meta.labels.insert("tier".into(), "front".into());

        app.spec.objects.networks[0].spec.internal = true;
        let all = shown(&app, &world);
        let actions: Vec<_> = all.iter().map(|it| (it.0, it.1.as_str())).collect();
        let replace = AppAction::Replace;
        assert_eq!(actions, [(replace, "shop_default"), (replace, "shop-web")], "and not shop-db");
        assert_eq!(all[0].2, ["internal: false → true"]);
        assert_eq!(all[1].2, ["network \"shop_default\" is made anew"]);

        // The services that are on it go, then it changes, then they are made again.
        let next = step(&app, &world.present());
        assert_eq!(acts(&next), Some((AppAction::Remove, "shop-web")));
        world.services[1].meta.deleted = Some(Time::from_unix(1, 0));
        let next = step(&app, &world.present());
        assert_eq!(
            (acts(&next), next.status.reason.as_ref().unwrap().code.as_str()),
            (None, "BeingRemoved")
        );
        world.services.pop();
        assert_eq!(acts(&step(&app, &world.present())), None, "its last instance is on its way");
        world.instances.clear();
        assert_eq!(acts(&step(&app, &world.present())), Some((AppAction::Change, "shop_default")));
        world.network.spec.internal = true;
        world.network.meta.annotations.insert(DIGEST.into(), "labelled".into());
        assert_eq!(acts(&step(&app, &world.present())), Some((AppAction::Create, "shop-web")));

        // Somebody else's instance is named.
        let mut world = World::of(&app);
        let mut other = Instance::new(meta("guest", 51), InstanceSpec::default());
        other.spec.network = on("shop_default");
        world.instances.push(other);
        let reason = step(&app, &world.present()).status.reason.unwrap();
        assert!(reason.message.contains("instance \"guest\" is joined to it"), "{reason:?}");
        assert_eq!(reason.next.as_deref(), Some("hull network disconnect shop_default guest"));
    }

    #[test]
    fn what_is_not_wanted_goes_but_volumes_stay() {
        let mut app = shop("nginx");
        let world = World::of(&app);
        app.spec.objects.services.pop();
        app.spec.objects.volumes.clear();
        let next = step(&app, &world.present());
        assert_eq!(acts(&next), Some((AppAction::Remove, "shop-web")));
        let mut world = world;
        world.services.pop();
        assert_eq!(acts(&step(&app, &world.present())), None);
    }

    #[test]
    fn what_another_has_is_told_and_left_alone() {
        let app = shop("nginx");
        let mut world = World::of(&app);
        world.services[1].meta.owner = None;
        world.services[1].meta.annotations.clear();
        let next = step(&app, &world.present());
        assert_eq!(acts(&next), None);
        assert_eq!(next.status.services[1].reason.as_ref().unwrap().code, "NameTaken");
    }

    #[test]
    fn one_that_fails_is_told_and_taken_back() {
        let mut app = shop("nginx");
        app.spec.revision = 2;
        app.spec.roll_back_on_failure = true;
        app.status.good = Some(1);
        let mut world = World::of(&app);
        world.services[1].status.ready = 0;
        let mut instance = Instance::new(meta("shop-web-1", 50), InstanceSpec::default());
        let id = world.services[1].meta.id.clone();
        instance.meta.labels.insert(REVISION.into(), "0".into());
        instance.meta.owner = Some(Owner { kind: Kind::Service, id, name: "shop-web".into() });
        instance.status = InstanceStatus {
            phase: Phase::Running,
            health: Health::Unhealthy,
            ..InstanceStatus::default()
        };
        world.instances.push(instance);
        let next = step(&app, &world.present());
        assert_eq!((next.status.phase, next.roll_back), (AppPhase::Failed, Some(1)));
        let reason = next.status.reason.unwrap().message;
        assert_eq!(reason, "service \"web\": instance \"shop-web-1\" is unhealthy");
        assert!(next.status.revisions[1].failed);
        // Not twice, and not where nobody asked for it.
        app.status.rolled_back_from = Some(2);
        assert_eq!(step(&app, &world.present()).roll_back, None);
        app.status.rolled_back_from = None;
        app.spec.roll_back_on_failure = false;
        assert_eq!(step(&app, &world.present()).roll_back, None);
    }

    #[test]
    fn what_others_need_goes_last() {
        let mut app = shop("nginx");
        app.meta.deleted = Some(Time::from_unix(1, 0));
        let mut world = World::of(&app);
        assert_eq!(acts(&step(&app, &world.present())), Some((AppAction::Remove, "shop-web")));
        world.services[1].meta.deleted = app.meta.deleted;
        assert_eq!(acts(&step(&app, &world.present())), None, "it is on its way out");
        world.services.pop();
        assert_eq!(acts(&step(&app, &world.present())), Some((AppAction::Remove, "shop-db")));
        world.services.clear();
        assert_eq!(acts(&step(&app, &world.present())), Some((AppAction::Remove, "shop_default")));
        let none = Present { volumes: vec![&world.volume], ..Present::default() };
        assert!(is_gone(&app, &none), "volumes stay");
        app.spec.volumes_go = true;
        assert!(!is_gone(&app, &none));
        assert_eq!(acts(&step(&app, &none)), Some((AppAction::Remove, "shop_data")));
    }
}
