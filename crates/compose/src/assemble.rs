//! From drafts to services: those that share an instance are put together, links become names, and what
//! a service waits for is looked up.

mod group;
mod order;
mod outside;

use std::collections::BTreeMap;

use model::instance::{InstanceSpec, MountKind, NetworkMode, RestartPolicy};
use model::name::check_host_name;
use model::object::Noun;
use model::service::{
    Dependency, DependencyCondition, ServiceMode, ServiceNoun, ServiceSpec, Template,
};

use crate::field::sentence;
use crate::rancher;
use crate::service::{Condition, Draft, Need};
use crate::told::Told;
use crate::wanted::{Named, WantedNetwork, WantedService, WantedVolume};

/// The services, and volumes that they came to share.
pub(crate) struct Assembled {
    pub services: Vec<WantedService>,
    pub volumes: Vec<WantedVolume>,
    /// Networks of other apps whose services are linked.
    pub networks: Vec<WantedNetwork>,
}

/// Puts drafts together.
pub(crate) fn services(drafts: Vec<Draft>, told: &Told) -> Assembled {
    let mut drafts = rancher::roles::dissolve(drafts, told);
    completed_are_jobs(&mut drafts);
    let links = links(&drafts);
    let mut groups = group::find(drafts, told);
    outside::inside(&mut groups);
    group::links(&mut groups, told);
    let volumes = group::share_volumes(&mut groups, told);
    let networks = outside::links(&mut groups, told);
    let owners = group::owners(&groups);
    order::needs(&mut groups, &owners, told);
    let services = groups.into_iter().map(|group| finish(group, &links, told)).collect();
    Assembled { services, volumes, networks }
}

/// What a service links to, and what it calls that.
type Links = BTreeMap<String, BTreeMap<String, String>>;

/// What each links to: services of the same files, and `app/service`.
fn links(drafts: &[Draft]) -> Links {
    let own = |draft: &Draft| {
        let inside = draft.links.iter().filter(|it| it.service != draft.name);
        let named = drafts.iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        let known = move |name: &str| name.contains('/') || named.contains(&name);
        let outside = draft.external_links.iter().filter(move |it| known(&it.service));
        inside.chain(outside).map(|it| (it.service.clone(), it.alias.clone())).collect()
    };
    let all = drafts.iter().map(|draft| (draft.name.clone(), own(draft)));
    all.filter(|(_, links): &(String, BTreeMap<String, String>)| !links.is_empty()).collect()
}

/// Whether an instance is on a network.
pub(crate) fn is_on(spec: &InstanceSpec, network: &str) -> bool {
    match &spec.network {
        NetworkMode::Networks { attachments } => attachments.iter().any(|it| it.network == network),
        NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => false,
    }
}

/// What others wait for to have ended well is to end.
fn completed_are_jobs(drafts: &mut [Draft]) {
    let waited: Vec<String> = drafts
        .iter()
        .flat_map(|draft| &draft.needs)
        .filter(|need| need.condition == Condition::Completed)
        .map(|need| need.service.clone())
        .collect();
    let beside: Vec<String> = drafts.iter().flat_map(|draft| draft.sidekicks.clone()).collect();
    for draft in drafts.iter_mut() {
        let job = matches!(draft.mode, Some(ServiceMode::Job { .. }));
        let alone = draft.once && draft.sidekicks.is_empty() && !beside.contains(&draft.name);
        if matches!(draft.mode, Some(ServiceMode::Cron(_) | ServiceMode::Global {}))
            || !job && !alone && !waited.contains(&draft.name)
        {
            continue;
        }
        draft.once = false;
        let count = match draft.mode {
            Some(ServiceMode::Replicated { replicas }) => replicas.max(1),
            Some(ServiceMode::Job { completions, .. }) => completions,
            Some(ServiceMode::Global {} | ServiceMode::Cron(_)) | None => 1,
        };
        let retries = match draft.instance.restart {
            RestartPolicy::OnFailure { max } => max.unwrap_or(10_000),
            RestartPolicy::No | RestartPolicy::Always | RestartPolicy::UnlessStopped => 0,
        };
        draft.instance.restart = RestartPolicy::No;
        draft.mode = Some(ServiceMode::Job {
            completions: count,
            parallelism: count,
            retries,
            deadline: None,
        });
    }
}

/// Makes a service of a group.
fn finish(group: group::Group, links: &Links, told: &Told) -> WantedService {
    let group::Group { primary, sidekicks } = group;
    let mut wanted = WantedService {
        object: Named {
            key: primary.name.clone(),
            labels: primary.service_labels.clone(),
            ..Named::default()
        },
        file: primary.at.source.file.clone(),
        line: primary.at.line,
        ..WantedService::default()
    };
    let mut instance = primary.instance.clone();
    instance.nodes.labels = primary.nodes.join(",");
    for draft in std::iter::once(&primary).chain(&sidekicks) {
        let mut container = draft.container.clone();
        if container.image.is_empty() {
            told.refuse(&draft.at, draft.path.clone(), "neither an image nor a build is named");
            container.image = "none".into();
        }
        container.once = draft.once && draft.name != primary.name;
        if draft.once && draft.name == primary.name {
            told.ignore(
                &draft.at,
                draft.path.clone(),
                "the first of a group is what the group runs for",
            );
        }
        if let Some(links) = links.get(&draft.name) {
            wanted.links.insert(draft.name.clone(), links.clone());
        }
        if let Some(metadata) = &draft.metadata {
            wanted.metadata.insert(draft.name.clone(), metadata.clone());
        }
        if let Some(build) = &draft.build {
            wanted.builds.insert(draft.name.clone(), build.clone());
        }
        instance.containers.push(container);
    }
    let spec = ServiceSpec {
        template: Template {
            labels: primary.labels.clone(),
            annotations: primary.annotations.clone(),
            spec: instance,
            ..Template::default()
        },
        mode: primary.mode.clone().unwrap_or_default(),
        update: primary.update.clone(),
        depends_on: primary.needs.iter().map(dependency).collect(),
        access: primary.access.clone(),
        ..ServiceSpec::default()
    };
    if !told.failed()
        && let Err(error) = ServiceNoun::validate(&spec)
    {
        let field = error.field().map(|field| format!(" ({field})")).unwrap_or_default();
        told.refuse(&primary.at, primary.path.clone(), format!("{}{field}", sentence(&error)));
    }
    wanted.spec = spec;
    wanted
}

fn dependency(need: &Need) -> Dependency {
    Dependency {
        service: need.service.clone(),
        condition: match need.condition {
            Condition::Started => DependencyCondition::Started,
            Condition::Healthy => DependencyCondition::Healthy,
            Condition::Completed => DependencyCondition::Completed,
        },
        required: need.required,
        restart: need.restart,
    }
}

/// Names an instance answers to, on all its networks.
fn answer_to(instance: &mut InstanceSpec, name: &str) {
    if check_host_name(name).is_err() {
        return;
    }
    if let NetworkMode::Networks { attachments } = &mut instance.network {
        for attachment in attachments {
            if !attachment.aliases.iter().any(|alias| alias == name) {
                attachment.aliases.push(name.to_owned());
            }
        }
    }
}

/// The volumes a draft mounts without a name, by where.
fn anonymous(draft: &mut Draft) -> BTreeMap<String, &mut String> {
    let mounts = draft.container.mounts.iter_mut();
    mounts
        .filter_map(|mount| match &mut mount.kind {
            MountKind::Volume { name, .. } if name.is_empty() => Some((mount.target.clone(), name)),
            MountKind::Volume { .. } | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        })
        .collect()
}
