//! Links to services of other apps: a service joins the other app's own network, where the other answers to
//! its name.

use std::collections::BTreeMap;

use model::instance::{Attachment, NetworkMode};
use model::name::check_name;

use super::group::Group;
use crate::told::Told;
use crate::wanted::{Named, WantedNetwork};

/// Takes links to services of the same app for what they are.
pub(super) fn inside(groups: &mut [Group]) {
    let own = super::group::owners(groups);
    for group in groups {
        let links = std::mem::take(&mut group.primary.external_links);
        let (inside, outside) = links.into_iter().partition(|it| own.contains_key(&it.service));
        group.primary.external_links = outside;
        group.primary.links.extend::<Vec<_>>(inside);
    }
}

/// Joins services to the networks of those that they link.
pub(super) fn links(groups: &mut [Group], told: &Told) -> Vec<WantedNetwork> {
    let mut networks: BTreeMap<String, WantedNetwork> = BTreeMap::new();
    for group in groups {
        let primary = &mut group.primary;
        for link in std::mem::take(&mut primary.external_links) {
            let path = format!("{}.external_links", primary.path);
            let Some((app, service)) = link.service.split_once('/') else {
                if !link.service.is_empty() {
                    let why = "whose app it is of is not said: write APP/SERVICE";
                    told.ignore(&link.at, path, why);
                }
                continue;
            };
            // As apps' networks are called.
            let name = format!("{app}_default");
            if check_name(&name).is_err() || check_name(service).is_err() {
                told.refuse(&link.at, path, format!("{:?} is not APP/SERVICE", link.service));
                continue;
            }
            if link.alias != service {
                let why =
                    format!("the other service answers to {service:?} and not to {:?}", link.alias);
                told.ignore(&link.at, path.clone(), why);
            }
            let NetworkMode::Networks { attachments } = &mut primary.instance.network else {
                told.ignore(&link.at, path, "on the node's own network no names are known");
                continue;
            };
            if !attachments.iter().any(|it| it.network == name) {
                attachments.push(Attachment { network: name.clone(), ..Attachment::default() });
            }
            let object =
                Named { key: name.clone(), name: name.clone(), external: true, ..Named::default() };
            networks.insert(name, WantedNetwork { object, ..WantedNetwork::default() });
        }
    }
    networks.into_values().collect()
}
