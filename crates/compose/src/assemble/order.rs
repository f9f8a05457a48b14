//! What services wait for, with circles found.

use std::collections::{BTreeMap, BTreeSet};

use super::group::Group;
use crate::service::{Condition, Need};
use crate::told::Told;

/// Looks up what is needed, and takes links for an order where that makes no circle.
pub(super) fn needs(groups: &mut [Group], owners: &BTreeMap<String, String>, told: &Told) {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for group in groups.iter_mut() {
        let path = format!("{}.depends_on", group.primary.path);
        let mut known: Vec<Need> = Vec::new();
        for need in std::mem::take(&mut group.primary.needs) {
            let Some(owner) = owners.get(&need.service) else {
                if need.required {
                    let why = format!(
                        "there is no service {:?}, or none whose profile is active",
                        need.service
                    );
                    told.refuse(&need.at, path.clone(), why);
                }
                continue;
            };
            if *owner == group.primary.name {
                // Of one instance: its containers are started in their order.
                continue;
            }
            match known.iter_mut().find(|it| it.service == *owner) {
                Some(same) => {
                    same.condition = same.condition.max(need.condition);
                    same.required |= need.required;
                    same.restart |= need.restart;
                }
                None => known.push(Need { service: owner.clone(), ..need }),
            }
        }
        let names = known.iter().map(|need| need.service.clone()).collect();
        graph.insert(group.primary.name.clone(), names);
        group.primary.needs = known;
    }
    for group in groups.iter() {
        let name = &group.primary.name;
        let next = graph.get(name).into_iter().flatten();
        if next.clone().any(|it| reaches(&graph, it, name)) {
            let path = format!("{}.depends_on", group.primary.path);
            told.refuse(&group.primary.at, path, "services that wait for each other in a circle");
        }
    }
    for group in groups.iter_mut() {
        let name = group.primary.name.clone();
        for link in group.primary.links.clone() {
            let Some(owner) = owners.get(&link.service).filter(|owner| **owner != name) else {
                continue;
            };
            let has = graph.get(&name).is_some_and(|it| it.contains(owner));
            if has || reaches(&graph, owner, &name) {
                continue;
            }
            graph.entry(name.clone()).or_default().insert(owner.clone());
            group.primary.needs.push(Need {
                service: owner.clone(),
                condition: Condition::Started,
                required: true,
                restart: false,
                at: link.at.clone(),
            });
        }
    }
}

/// Whether what one waits for leads to another.
fn reaches(graph: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            open.extend(graph.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    false
}
