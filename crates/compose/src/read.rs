//! The way from files to what they want.

use std::collections::{BTreeMap, BTreeSet};

use model::network::NetworkNoun;
use model::object::Noun;
use model::volume::{VolumeNoun, VolumeSpec};

use crate::asked::Asked;
use crate::field::{Field, sentence};
use crate::files::{Files, Reading};
use crate::load::{Loaded, load};
use crate::service::{self, Context, Draft, volume_name};
use crate::told::{Refusal, Told};
use crate::wanted::{Named, Wanted, WantedConfig, WantedNetwork, WantedVolume};
use crate::{assemble, resource};

/// Reads Compose files: what they want, in the words of the model, and what they say that is left out of
/// account.
///
/// # Errors
/// Everything that cannot be honoured, with file, line and column.
pub fn read(files: &dyn Files, asked: &Asked) -> Result<Wanted, Refusal> {
    let told = Told::default();
    let mut reading = Reading::new(files);
    let wanted =
        load(&mut reading, asked, &told).map(|loaded| tree(&mut reading, asked, &told, &loaded));
    match (told.refusal(), wanted) {
        (None, Some(mut wanted)) => {
            wanted.ignored = told.notes();
            Ok(wanted)
        }
        (refusal, _) => Err(refusal.unwrap_or(Refusal { faults: Vec::new() })),
    }
}

fn tree(reading: &mut Reading<'_>, asked: &Asked, told: &Told, loaded: &Loaded) -> Wanted {
    let top = Field::new(&loaded.tree, "", told);
    let section = |key: &str| top.get(key).map(|it| it.entries()).unwrap_or_default();
    let mut networks: Vec<WantedNetwork> =
        section("networks").iter().map(|(key, field)| resource::network(key, field)).collect();
    let mut volumes: Vec<WantedVolume> =
        section("volumes").iter().map(|(key, field)| resource::volume(key, field)).collect();
    let mut configs: Vec<_> = section("configs")
        .iter()
        .filter_map(|(key, field)| resource::config(key, field, reading, &loaded.variables))
        .collect();
    let keys = |name: &str| -> BTreeSet<String> {
        section(name).iter().map(|(key, _)| (*key).to_owned()).collect()
    };
    let mut context = Context {
        reading,
        asked,
        variables: &loaded.variables,
        told,
        app: loaded.name.clone(),
        lenient: loaded.lenient,
        volumes: keys("volumes"),
        networks: keys("networks"),
        secrets: section("secrets")
            .iter()
            .map(|(key, field)| (volume_name(key), resource::secret_source(key, field)))
            .collect(),
        configs: keys("configs").iter().map(|key| volume_name(key)).collect(),
        undeclared: BTreeMap::new(),
        mounted: Vec::new(),
    };
    let mut drafts: Vec<Draft> = Vec::new();
    for (name, field) in section("services") {
        if let Err(error) = model::name::check_name(name) {
            field.refuse(sentence(&error));
            continue;
        }
        drafts.push(service::read(name, &field, &mut context));
    }
    let Context { undeclared, mounted, reading, .. } = context;
    let of_builds = only_of_builds(&drafts);
    let secrets: Vec<_> = section("secrets")
        .iter()
        .filter(|(key, _)| !of_builds.contains(&volume_name(key)))
        .filter_map(|(key, field)| resource::secret(key, field, reading, &loaded.variables))
        .collect();
    volumes.extend(undeclared.into_iter().map(|(key, driver)| undeclared_volume(&key, driver)));
    configs.extend(mounted.into_iter().map(|(_, config)| config));
    let grouped = assemble::services(drafts, told);
    volumes.extend(grouped.volumes);
    networks.extend(grouped.networks);
    default_network(&mut networks, &grouped.services);
    check(&top, &networks, &volumes);
    Wanted {
        name: loaded.name.clone(),
        services: grouped.services,
        networks,
        volumes,
        secrets,
        configs: used_once(configs),
        ignored: Vec::new(),
    }
}

/// Secrets that builds are handed and services are not: they are no objects of the app's, and nobody but
/// who builds reads their values.
fn only_of_builds(drafts: &[Draft]) -> BTreeSet<String> {
    let builds = drafts.iter().filter_map(|draft| draft.build.as_ref());
    let handed = builds.flat_map(|build| build.secrets.values().map(|secret| &secret.key));
    let used = |key: &String| {
        let mut all = drafts.iter().flat_map(|draft| &draft.container.secrets);
        all.any(|grant| grant.source == *key)
    };
    handed.filter(|key| !used(key)).cloned().collect()
}

fn undeclared_volume(key: &str, driver: Option<String>) -> WantedVolume {
    let object = Named { key: volume_name(key), ..Named::default() };
    let mut spec = VolumeSpec::default();
    if let Some(driver) = driver {
        spec.storage = driver;
    }
    WantedVolume { object, spec }
}

/// The app's own network is there when somebody is on it.
fn default_network(networks: &mut Vec<WantedNetwork>, services: &[crate::WantedService]) {
    let declared = networks.iter().any(|it| it.object.key == "default");
    let used = services.iter().any(|it| assemble::is_on(&it.spec.template.spec, "default"));
    if used && !declared {
        let object = Named { key: "default".into(), ..Named::default() };
        networks.push(WantedNetwork { object, ..WantedNetwork::default() });
    }
}

/// What the model refuses of networks and volumes.
fn check(top: &Field<'_>, networks: &[WantedNetwork], volumes: &[WantedVolume]) {
    let refuse = |section: &str, key: &str, result: model::Result<()>| {
        let field = top.get(section).and_then(|it| it.get_null(key));
        if let Err(error) = result {
            field.unwrap_or_else(|| top.clone()).refuse(sentence(&error));
        }
    };
    for network in networks.iter().filter(|it| !it.object.external) {
        refuse("networks", &network.object.key, NetworkNoun::validate(&network.spec));
    }
    for volume in volumes.iter().filter(|it| !it.object.external) {
        refuse("volumes", &volume.object.key, VolumeNoun::validate(&volume.spec));
    }
}

fn used_once(configs: Vec<WantedConfig>) -> Vec<WantedConfig> {
    let mut seen = BTreeSet::new();
    configs.into_iter().filter(|it| seen.insert(it.object.key.clone())).collect()
}
