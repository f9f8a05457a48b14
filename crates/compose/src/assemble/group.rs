//! Services that share an instance: one is the first, the others are its sidekicks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::instance::{ExtraHost, InstanceSpec, MountKind, NetworkMode, Sharing, VolumesFrom};
use model::name::check_host_name;

use super::{anonymous, answer_to};
use crate::service::{Draft, MOST_MOUNTS};
use crate::told::Told;
use crate::wanted::{Named, WantedVolume};

/// Most services that one is a sidekick of.
const MOST_FIRST: usize = 16;

/// Services of one instance.
pub(crate) struct Group {
    pub primary: Draft,
    pub sidekicks: Vec<Draft>,
}

/// Finds the groups: a sidekick is one that its first service names, or that uses its network.
pub(super) fn find(drafts: Vec<Draft>, told: &Told) -> Vec<Group> {
    let beside = primaries(&drafts, told);
    let (mut first, others): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| !beside.contains_key(&draft.name));
    let mut groups: Vec<Group> =
        first.drain(..).map(|primary| Group { primary, sidekicks: Vec::new() }).collect();
    for draft in others {
        let of = beside.get(&draft.name).into_iter().flatten();
        if of.clone().count() > MOST_FIRST {
            let why = format!("it is a sidekick of more than {MOST_FIRST} services");
            told.refuse(&draft.at, draft.path.clone(), why);
            continue;
        }
        let mut found = false;
        for primary in of {
            if let Some(group) = groups.iter_mut().find(|it| it.primary.name == *primary) {
                group.sidekicks.push(draft.clone());
                found = true;
            }
        }
        if !found {
            told.refuse(&draft.at, draft.path.clone(), "sidekicks of each other");
        }
    }
    for group in &mut groups {
        join(group, told);
    }
    groups
}

/// Sidekick to the first services of its groups: several may name one, and each then has one of its own.
fn primaries(drafts: &[Draft], told: &Told) -> BTreeMap<String, BTreeSet<String>> {
    let known = |name: &str| drafts.iter().any(|draft| draft.name == name);
    let mut beside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for draft in drafts {
        for name in &draft.sidekicks {
            if known(name) {
                beside.entry(name.clone()).or_default().insert(draft.name.clone());
            } else {
                let path = format!("{}.labels", draft.path);
                told.refuse(&draft.at, path, format!("there is no service {name:?}"));
            }
        }
    }
    let labelled = beside.clone();
    for draft in drafts {
        let Some((other, at)) = &draft.network_of else { continue };
        let path = format!("{}.network_mode", draft.path);
        let own = labelled.get(other).is_some_and(|it| it.contains(&draft.name));
        if !known(other) {
            told.refuse(at, path, format!("there is no service {other:?}"));
        } else if *other == draft.name {
            told.refuse(at, path, "that is itself");
        } else if !own && !labelled.contains_key(&draft.name) {
            beside.entry(draft.name.clone()).or_default().insert(other.clone());
        }
    }
    // Whose network is that of a third one is that one's, too.
    beside.keys().map(|name| (name.clone(), tops(name, &beside))).collect()
}

/// The services at the ends of what a sidekick is beside.
fn tops(name: &str, beside: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut seen, mut tops, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![name]);
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        match beside.get(name) {
            Some(above) => open.extend(above.iter().map(String::as_str)),
            None => drop(tops.insert(name.to_owned())),
        }
    }
    tops
}

/// What sidekicks ask of the instance they share.
fn join(group: &mut Group, told: &Told) {
    let Group { primary, sidekicks } = group;
    answer_to(&mut primary.instance, &primary.name.clone());
    if let Some(name) = primary.other_name.clone() {
        answer_to(&mut primary.instance, &name);
    }
    for sidekick in sidekicks.iter_mut() {
        let refuse = |what: &str, why: String| {
            told.refuse(&sidekick.at, format!("{}.{what}", sidekick.path), why);
        };
        answer_to(&mut primary.instance, &sidekick.name);
        beside_it(&mut primary.instance, &sidekick.name);
        if let Some(name) = &sidekick.other_name {
            answer_to(&mut primary.instance, name);
        }
        match (&mut primary.instance.network, &sidekick.instance.network) {
            (
                NetworkMode::Networks { attachments },
                NetworkMode::Networks { attachments: theirs },
            ) => {
                for theirs in theirs {
                    let same = attachments.iter_mut().find(|it| it.network == theirs.network);
                    match same {
                        Some(ours) => ours.aliases.extend(theirs.aliases.clone()),
                        // One that was not told to be anywhere is where the first one is.
                        None if sidekick.network_of.is_some() || theirs.network == "default" => {}
                        None => attachments.push(theirs.clone()),
                    }
                }
            }
            (ours, theirs) if ours != theirs && sidekick.network_of.is_none() => {
                told.ignore(
                    &sidekick.at,
                    format!("{}.network_mode", sidekick.path),
                    format!("it shares the network of {:?}", primary.name),
                );
            }
            (_, _) => {}
        }
        for port in &sidekick.instance.ports {
            if primary.instance.ports.iter().any(|it| it.collides(port)) {
                refuse("ports", format!("{:?} publishes one of them", primary.name));
            } else {
                primary.instance.ports.push(port.clone());
            }
        }
        for (ours, theirs) in [
            (&mut primary.instance.pid, &sidekick.instance.pid),
            (&mut primary.instance.ipc, &sidekick.instance.ipc),
        ] {
            if *theirs == Sharing::Host && *ours != Sharing::Host {
                *ours = Sharing::Host;
            }
        }
        for host in &sidekick.instance.extra_hosts {
            if !primary.instance.extra_hosts.contains(host) {
                primary.instance.extra_hosts.push(host.clone());
            }
        }
        for name in &sidekick.instance.extra_names {
            if !primary.instance.extra_names.contains(name) {
                primary.instance.extra_names.push(name.clone());
            }
        }
        for (name, value) in &sidekick.instance.sysctls {
            primary.instance.sysctls.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, value) in &sidekick.labels {
            primary.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        primary.nodes.extend(sidekick.nodes.iter().cloned());
        primary.needs.extend(sidekick.needs.iter().cloned());
        primary.links.extend(sidekick.links.iter().cloned());
        primary.external_links.extend(sidekick.external_links.iter().cloned());
        sidekick.once |= is_done_at_once(sidekick);
    }
    primary.nodes.sort();
    primary.nodes.dedup();
}

/// Inside of the instance a sidekick's name stands for the sidekick there, not for one of another slot.
fn beside_it(instance: &mut InstanceSpec, name: &str) {
    let known = instance.extra_hosts.iter().any(|host| host.name == name);
    if !known && instance.network.is_own() && check_host_name(name).is_ok() {
        let address = Ipv4Addr::LOCALHOST.to_string();
        instance.extra_hosts.push(ExtraHost { name: name.to_owned(), address });
    }
}

/// A container that is there for its volumes only: its program ends at once.
fn is_done_at_once(draft: &Draft) -> bool {
    let container = &draft.container;
    let mut words = container.entrypoint.iter().chain(&container.command).flatten();
    let program = words.next().map(|word| word.rsplit('/').next().unwrap_or(word));
    matches!(program, Some("true" | "echo"))
}

/// Service to the first one of its group.
pub(super) fn owners(groups: &[Group]) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for group in groups {
        for draft in std::iter::once(&group.primary).chain(&group.sidekicks) {
            owners.entry(draft.name.clone()).or_insert_with(|| group.primary.name.clone());
        }
    }
    owners
}

/// Links become names that the other service answers to, where both are.
pub(super) fn links(groups: &mut [Group], told: &Told) {
    let owners = owners(groups);
    let mut names: BTreeMap<String, String> = owners.clone();
    let links: Vec<_> = groups
        .iter()
        .flat_map(|group| {
            group.primary.links.iter().map(|link| (link.clone(), group.primary.path.clone()))
        })
        .collect();
    for (link, path) in links {
        let path = format!("{path}.links");
        let Some(owner) = owners.get(&link.service) else {
            told.refuse(&link.at, path, format!("there is no service {:?}", link.service));
            continue;
        };
        match names.get(&link.alias) {
            Some(other) if other != owner => {
                let why = format!("the name {:?} is that of service {other:?} already", link.alias);
                told.ignore(&link.at, path, why);
                continue;
            }
            Some(_) | None => drop(names.insert(link.alias.clone(), owner.clone())),
        }
        if let Some(group) = groups.iter_mut().find(|group| group.primary.name == *owner) {
            answer_to(&mut group.primary.instance, &link.alias);
        }
    }
}

/// Volumes of another service: the model's words inside a group; outside of it they come to have names.
pub(super) fn share_volumes(groups: &mut [Group], told: &Told) -> Vec<WantedVolume> {
    let owners = owners(groups);
    let mut made = Vec::new();
    let mut seen = BTreeSet::new();
    for place in 0..groups.len() {
        let count = 1 + groups[place].sidekicks.len();
        for i in 0..count {
            let draft = member(&mut groups[place], i);
            let (name, path) = (draft.name.clone(), draft.path.clone());
            for from in std::mem::take(&mut draft.volumes_from) {
                let path = format!("{path}.volumes_from");
                if !owners.contains_key(&from.service) {
                    told.refuse(&from.at, path, format!("there is no service {:?}", from.service));
                    continue;
                }
                if has(&groups[place], &from.service) {
                    let draft = member(&mut groups[place], i);
                    draft.container.volumes_from.push(VolumesFrom {
                        container: from.service.clone(),
                        read_only: from.read_only,
                    });
                    continue;
                }
                let mounts = named_mounts(groups, &from.service, &mut made);
                if seen.insert((name.clone(), from.service.clone())) {
                    told.ignore(
                        &from.at,
                        path,
                        format!(
                            "volumes that only the image of {:?} declares are not shared: \
                             instances of two services may be on two nodes",
                            from.service
                        ),
                    );
                }
                let draft = member(&mut groups[place], i);
                if draft.container.mounts.len() + mounts.len() > MOST_MOUNTS {
                    let why = format!("a service mounts {MOST_MOUNTS} things at most");
                    told.refuse(&from.at, format!("{}.volumes_from", draft.path), why);
                    continue;
                }
                for mut mount in mounts {
                    mount.read_only |= from.read_only;
                    if !draft.container.mounts.iter().any(|it| it.target == mount.target) {
                        draft.container.mounts.push(mount);
                    }
                }
            }
        }
    }
    made
}

fn has(group: &Group, name: &str) -> bool {
    std::iter::once(&group.primary).chain(&group.sidekicks).any(|draft| draft.name == name)
}

fn member(group: &mut Group, i: usize) -> &mut Draft {
    match i {
        0 => &mut group.primary,
        i => &mut group.sidekicks[i - 1],
    }
}

/// What a service mounts, after volumes without a name were given one.
fn named_mounts(
    groups: &mut [Group],
    service: &str,
    made: &mut Vec<WantedVolume>,
) -> Vec<model::instance::Mount> {
    for group in groups {
        for i in 0..=group.sidekicks.len() {
            let draft = member(group, i);
            if draft.name != service {
                continue;
            }
            let owner = draft.name.clone();
            for (target, name) in anonymous(draft) {
                let tail = crate::service::volume_name(target.trim_matches('/'));
                *name = format!("{owner}.{tail}").chars().take(100).collect();
                let object = Named { key: name.clone(), ..Named::default() };
                made.push(WantedVolume { object, ..WantedVolume::default() });
            }
            let shared = |mount: &&model::instance::Mount| match mount.kind {
                MountKind::Volume { .. } | MountKind::Bind { .. } => true,
                MountKind::Tmpfs { .. } => false,
            };
            return draft.container.mounts.iter().filter(shared).cloned().collect();
        }
    }
    Vec::new()
}
