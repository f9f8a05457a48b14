//! Why something is not as it was asked: what its status says, what the planner answers now, and what it
//! stands on.

use model::explain::{Explanation, NodeAnswer, Part};
use model::instance::{Health, Instance, InstanceNoun, Phase, Reason, RunState};
use model::network::{Network, NetworkNoun};
use model::node::{Node, NodeNoun};
use model::service::{Service, ServiceMode, ServiceNoun, ServicePhase};
use model::volume::{Volume, VolumeNoun};
use model::{Error, Kind, Result};
use planner::rollout::is_ready;

use crate::caller::{Caller, Verb, authorise};
use crate::control::Control;
use crate::mirror::State;
use crate::reconcile::placement::{ledger, ledger_without};
use crate::service::{Rules, find};

/// Most parts of one object that are told of.
const MOST: usize = 20;

/// The kinds that are asked for, in this order.
const KINDS: [Kind; 5] = [Kind::Service, Kind::Instance, Kind::Volume, Kind::Network, Kind::Node];

impl Control {
    /// Explains all objects of that name, or the one of a kind.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Unsupported` for a kind of which there is nothing to tell.
    pub fn explain(
        &self,
        caller: &Caller,
        project: &str,
        kind: Option<Kind>,
        name: &str,
    ) -> Result<Vec<Explanation>> {
        if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
            return Err(Error::unsupported(format!("of a {kind} there is nothing to explain"))
                .next(format!("hull {kind} ls")));
        }
        let wanted = KINDS.into_iter().filter(|it| kind.is_none_or(|kind| kind == *it));
        let mut found = Vec::new();
        self.core.read(|state| {
            for kind in wanted {
                authorise(caller, Verb::Get, kind, if kind == Kind::Node { "" } else { project })?;
                found.extend(explain(state, project, kind, name)?);
            }
            Ok::<_, Error>(())
        })?;
        match (found.is_empty(), kind) {
            (false, _) => Ok(found),
            (true, Some(kind)) => Err(crate::service::not_found(kind, name)),
            (true, None) => Err(Error::not_found(format!("nothing is called {name:?}"))
                .next("`hull ps -a`, `hull service ls`, `hull volume ls` list what there is")),
        }
    }
}

fn explain(state: &State, project: &str, kind: Kind, name: &str) -> Result<Option<Explanation>> {
    match kind {
        Kind::Service => {
            Ok(known::<ServiceNoun>(state, project, name)?.map(|it| service(state, it)))
        }
        Kind::Instance => {
            Ok(known::<InstanceNoun>(state, project, name)?.map(|it| instance(state, it)))
        }
        Kind::Volume => Ok(known::<VolumeNoun>(state, project, name)?.map(|it| volume(state, it))),
        Kind::Network => Ok(known::<NetworkNoun>(state, project, name)?.map(|it| network(it))),
        Kind::Node => Ok(known::<NodeNoun>(state, project, name)?.map(|it| node(it))),
        Kind::App
        | Kind::Catalog
        | Kind::Config
        | Kind::Event
        | Kind::Image
        | Kind::Operation
        | Kind::Project
        | Kind::Secret
        | Kind::Snapshot
        | Kind::Token
        | Kind::User => Ok(None),
    }
}

fn known<'a, N: Rules>(
    state: &'a State,
    project: &str,
    name: &str,
) -> Result<Option<&'a std::sync::Arc<model::Object<N>>>> {
    match find::<N>(state, project, name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == model::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn instance(state: &State, instance: &Instance) -> Explanation {
    let (spec, status) = (&instance.spec, &instance.status);
    let mut reasons: Vec<Reason> = status.reason.iter().cloned().collect();
    let nodes = answers(state, instance, &mut reasons);
    reasons.extend(of_health(instance));
    reasons.extend(of_ends(instance));
    if reasons.is_empty() && status.phase == Phase::Creating {
        let node = spec.placement.as_ref().map_or("", |placed| placed.node.as_str());
        let message = format!("node {node} gets it ready: images, volumes, network, processes");
        reasons.push(Reason {
            next: Some("hull events -f".to_owned()),
            ..Reason::new("Creating", message)
        });
    }
    let asked = match spec.run {
        RunState::Running => is_ready(instance),
        RunState::Paused => status.phase == Phase::Paused,
        RunState::Stopped => !status.phase.is_live(),
    };
    let ended = status.phase == Phase::Exited && planner::has_ended(instance);
    let mut word = status.phase.as_str().to_owned();
    if status.health != Health::Unchecked && status.phase == Phase::Running {
        word = format!("{word}, {}", format!("{:?}", status.health).to_lowercase());
    }
    Explanation {
        kind: Kind::Instance,
        name: instance.meta.name.clone(),
        state: word,
        settled: instance.meta.deleted.is_none() && (asked || ended),
        reasons,
        nodes,
        parts: volumes_of(state, instance),
    }
}

/// What the planner answers for each node now. What it says of all of them is a reason, where the status
/// does not say it yet.
fn answers(state: &State, instance: &Instance, reasons: &mut Vec<Reason>) -> Vec<NodeAnswer> {
    if let Some(placed) = &instance.spec.placement {
        let node = placed.node.clone();
        return vec![NodeAnswer { node, takes: true, why: "it is there".to_owned() }];
    }
    let ledger = match state.instances.by_id(&instance.meta.id) {
        Some(known) => ledger_without(state, &known.meta.id),
        None => ledger(state),
    };
    match ledger.answers(instance) {
        Ok(nodes) => nodes,
        Err(refusal) => {
            if reasons.is_empty() {
                reasons.push(refusal.reason());
            }
            Vec::new()
        }
    }
}

fn of_health(instance: &Instance) -> Option<Reason> {
    let ill = instance.status.containers.iter().find(|it| it.health == Health::Unhealthy)?;
    let said = ill.health_log.last();
    let said = said.map_or("", |last| last.output.trim());
    let said: String = said.chars().take(200).collect();
    let message = format!(
        "the health check of container {:?} failed {} times in a row: {}",
        ill.name,
        ill.failing,
        if said.is_empty() { "it said nothing" } else { &said }
    );
    let next = Some(format!("hull logs {}", instance.meta.name));
    Some(Reason { next, ..Reason::new("Unhealthy", message) })
}

fn of_ends(instance: &Instance) -> Option<Reason> {
    let restarts = instance.status.phase == Phase::Restarting;
    let ended = instance.status.containers.iter().find(|it| {
        let badly = it.exit_code.is_some_and(|code| code != 0);
        badly && (restarts || instance.status.phase == Phase::Exited)
    })?;
    let why = if ended.oom_killed { ", as the kernel killed it for want of memory" } else { "" };
    let code = ended.exit_code.unwrap_or_default();
    let message = format!("container {:?} ended with code {code}{why}", ended.name);
    let next = Some(format!("hull logs {}", instance.meta.name));
    Some(Reason { next, ..Reason::new("Exited", message) })
}

/// The volumes of an instance with which something is wrong.
fn volumes_of(state: &State, instance: &Instance) -> Vec<Part> {
    let mounts = instance.spec.all_containers().flat_map(|container| &container.mounts);
    let mut names: Vec<_> = mounts.filter_map(|mount| mount.volume()).collect();
    names.sort_unstable();
    names.dedup();
    let part = |name: &str| {
        let Some(volume) = state.volumes.by_name(&instance.meta.project, name) else {
            let reason = Reason::new("VolumeNotFound", format!("there is no volume {name:?}"));
            return Some(part_of(Kind::Volume, name, "gone", Some(reason)));
        };
        let reason = volume.status.reason.clone()?;
        Some(part_of(Kind::Volume, name, "waiting", Some(reason)))
    };
    names.into_iter().filter_map(part).take(MOST).collect()
}

fn part_of(kind: Kind, name: &str, state: &str, reason: Option<Reason>) -> Part {
    Part { kind, name: name.to_owned(), state: state.to_owned(), reason }
}

fn service(state: &State, service: &Service) -> Explanation {
    let status = &service.status;
    let reasons: Vec<Reason> = status.reason.iter().cloned().collect();
    let whole = match service.spec.mode {
        ServiceMode::Replicated { .. } | ServiceMode::Global {} => {
            status.ready >= status.wanted && status.updated >= status.wanted
        }
        ServiceMode::Job { .. } => status.phase == ServicePhase::Complete,
        ServiceMode::Cron(_) => true,
    };
    let count = match &service.spec.mode {
        ServiceMode::Replicated { .. } | ServiceMode::Global {} => {
            format!("{} of {} ready", status.ready, status.wanted)
        }
        ServiceMode::Job { completions, .. } => {
            format!("{} of {completions} runs ended well", status.succeeded)
        }
        ServiceMode::Cron(_) => match status.next_due {
            Some(next) => format!("the next run is at {next}"),
            None => "no next run".to_owned(),
        },
    };
    let mut parts = others_of(state, service);
    let left = MOST.saturating_sub(parts.len());
    parts.extend(instances_of(state, service).take(left));
    Explanation {
        kind: Kind::Service,
        name: service.meta.name.clone(),
        state: format!("{}, {count}", status.phase.as_str()),
        settled: whole && reasons.is_empty() && service.meta.deleted.is_none(),
        reasons,
        nodes: match service.spec.mode {
            ServiceMode::Global {} => state.nodes.iter().map(|it| fits(service, it)).collect(),
            ServiceMode::Replicated { .. } | ServiceMode::Job { .. } | ServiceMode::Cron(_) => {
                Vec::new()
            }
        },
        parts,
    }
}

/// Whether a service that is on each node is on this one.
fn fits(service: &Service, node: &Node) -> NodeAnswer {
    let rules = &service.spec.template.spec.nodes;
    let (takes, why) = match () {
        () if node.meta.deleted.is_some() => (false, "being removed".to_owned()),
        () if !rules.allow(&node.meta) => {
            (false, format!("its labels are not as {:?} asks", rules.labels))
        }
        () if node.spec.cordoned => (false, "cordoned: it takes nothing new".to_owned()),
        () if !node.status.ready => (false, "not ready".to_owned()),
        () => (true, "it has one".to_owned()),
    };
    NodeAnswer { node: node.meta.name.clone(), takes, why }
}

/// The services that it depends on, while it waits for them.
fn others_of(state: &State, service: &Service) -> Vec<Part> {
    if service.status.cleared == service.status.revision {
        return Vec::new();
    }
    let other = |name: &String| match state.services.by_name(&service.meta.project, name) {
        None => part_of(Kind::Service, name, "not there", None),
        Some(it) => {
            part_of(Kind::Service, name, it.status.phase.as_str(), it.status.reason.clone())
        }
    };
    service.spec.depends_on.iter().map(|it| other(&it.service)).collect()
}

/// Its instances that are not ready.
fn instances_of<'a>(state: &'a State, service: &'a Service) -> impl Iterator<Item = Part> + 'a {
    let lasts = service.spec.lasts();
    let owned = state.instances.owned_by(&service.meta.id);
    let ill = owned.filter(move |it| match lasts {
        true => !is_ready(it),
        false => it.status.phase != Phase::Exited && !is_ready(it),
    });
    ill.map(|it| {
        let reason = it.status.reason.clone().or_else(|| of_health(it)).or_else(|| of_ends(it));
        part_of(Kind::Instance, &it.meta.name, it.status.phase.as_str(), reason)
    })
}

fn volume(state: &State, volume: &Volume) -> Explanation {
    let mut reasons: Vec<Reason> = volume.status.reason.iter().cloned().collect();
    let mut nodes = Vec::new();
    match &volume.spec.node {
        Some(node) => {
            let why = "it is there".to_owned();
            nodes.push(NodeAnswer { node: node.clone(), takes: true, why });
        }
        None if reasons.is_empty() => {
            let ledger = ledger(state);
            reasons.extend(planner::volumes::choose_node(&ledger, volume).err());
        }
        None => {}
    }
    Explanation {
        kind: Kind::Volume,
        name: volume.meta.name.clone(),
        state: match &volume.spec.node {
            Some(node) => format!("on node {node}"),
            None => "on no node yet".to_owned(),
        },
        settled: reasons.is_empty() && volume.meta.deleted.is_none(),
        reasons,
        nodes,
        parts: Vec::new(),
    }
}

fn network(network: &Network) -> Explanation {
    let reasons: Vec<Reason> = network.status.reason.iter().cloned().collect();
    Explanation {
        kind: Kind::Network,
        name: network.meta.name.clone(),
        state: match network.meta.deleted.is_some() {
            true => "being removed".to_owned(),
            false => "there".to_owned(),
        },
        settled: reasons.is_empty() && network.meta.deleted.is_none(),
        reasons,
        nodes: Vec::new(),
        parts: Vec::new(),
    }
}

fn node(node: &Node) -> Explanation {
    let name = &node.meta.name;
    let mut reasons = Vec::new();
    if !node.status.ready {
        let next = Some(format!("start hull on {name}, or wait until it answers"));
        let reason = Reason::new("NotReady", format!("node {name:?} does not answer"));
        reasons.push(Reason { next, ..reason });
    }
    if node.spec.cordoned {
        let next = Some(format!("hull node uncordon {name}"));
        let reason = Reason::new("Cordoned", format!("node {name:?} takes nothing new"));
        reasons.push(Reason { next, ..reason });
    }
    let warnings = node.status.warnings.iter().map(|it| Reason::new("Warning", it.clone()));
    let settled = reasons.is_empty();
    reasons.extend(warnings);
    Explanation {
        kind: Kind::Node,
        name: name.clone(),
        state: if node.status.ready { "ready" } else { "not ready" }.to_owned(),
        settled,
        reasons,
        nodes: Vec::new(),
        parts: Vec::new(),
    }
}
