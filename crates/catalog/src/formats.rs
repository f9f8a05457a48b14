//! The formats that catalogs are written in. Each reader lists every template it finds: one that is
//! broken is listed with its problem.
//!
//! | found at the top | format |
//! |---|---|
//! | `NAME/template.yaml` | our own |
//! | `templates/`, `infra-templates/`, … | Rancher's |
//! | `templates.json` | Portainer's |

mod own;
mod portainer;
mod question;
mod rancher;

use std::collections::BTreeMap;

use model::template::{Template, TemplateVersion};
use model::{Error, Result};

use crate::tree::{Tree, join};

pub(crate) use rancher::without_block;

/// Names of Compose files, the one that counts first.
const COMPOSE: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "compose.yaml.tpl",
    "compose.yml.tpl",
    "docker-compose.yaml.tpl",
    "docker-compose.yml.tpl",
];

/// Names of the file that Rancher has beside a Compose file.
const RANCHER: [&str; 4] = [
    "rancher-compose.yml",
    "rancher-compose.yaml",
    "rancher-compose.yml.tpl",
    "rancher-compose.yaml.tpl",
];

/// Lists the templates of a catalog, in order of name. Files that a format only describes are added.
///
/// # Errors
/// `Invalid` when there is nothing in it that is a template.
pub fn read(catalog: &str, tree: &mut Tree) -> Result<Vec<Template>> {
    let mut found = own::read(tree);
    found.extend(rancher::read(tree));
    found.extend(portainer::read(tree));
    if found.is_empty() {
        return Err(Error::invalid("there are no templates in it").next(
            "a catalog has NAME/template.yaml, Rancher's templates/NAME/0/docker-compose.yml, or \
             Portainer's templates.json",
        ));
    }
    let mut by_name: BTreeMap<String, Template> = BTreeMap::new();
    for mut template in found {
        catalog.clone_into(&mut template.catalog);
        let mut name = template.name.clone();
        let mut count = 1;
        while by_name.contains_key(&name) {
            count += 1;
            name = format!("{}-{count}", template.name);
        }
        template.name.clone_from(&name);
        by_name.insert(name, template);
    }
    Ok(by_name.into_values().collect())
}

/// A name that an object can have, made of any words.
fn name_of(words: &str) -> String {
    let mut name = String::new();
    for c in words.chars() {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_matches(['-', '.', '_']);
    let name: String = name.chars().take(100).collect();
    if name.is_empty() { "template".to_owned() } else { name }
}

/// A directory's README.
fn readme(tree: &Tree, dir: &str) -> Option<String> {
    let names = tree.list(dir);
    let mut names = names.into_iter().filter(|(_, is_dir)| !is_dir).map(|(name, _)| name);
    let name = names.find(|name| {
        let lower = name.to_ascii_lowercase();
        lower == "readme.md" || lower == "readme" || lower == "readme.txt"
    })?;
    Some(join(dir, name))
}

/// The files that a directory is installed from.
fn compose_files(tree: &Tree, dir: &str) -> Vec<String> {
    let rancher = tree.first(dir, &RANCHER);
    tree.first(dir, &COMPOSE).into_iter().chain(rancher).collect()
}

/// Why a version's files cannot be installed, as far as that is told before they are rendered.
fn fault(tree: &Tree, files: &[String]) -> Option<String> {
    let name = |file: &String| file.rsplit('/').next().unwrap_or_default().to_owned();
    if !files.iter().any(|file| COMPOSE.contains(&name(file).as_str())) {
        return Some("it has no Compose file".to_owned());
    }
    unreadable(tree, files)
}

/// What is wrong with the first file that is no YAML, among those that are not rendered first.
fn unreadable(tree: &Tree, files: &[String]) -> Option<String> {
    let plain = files.iter().filter(|file| !file.ends_with(".tpl"));
    let read = |file: &String| {
        let read =
            tree.text(file).and_then(|text| crate::yaml::read::<serde::de::IgnoredAny>(file, text));
        read.err().map(|error| error.chain())
    };
    plain.filter_map(read).next()
}

/// Makes versions' names unique: of two that are called alike the newer keeps the name.
fn name_versions(versions: &mut [TemplateVersion]) {
    let mut seen = std::collections::BTreeSet::new();
    for version in versions.iter_mut().rev() {
        if !seen.insert(version.version.clone()) {
            let dir = version.place.rsplit('/').next().unwrap_or_default();
            version.version = format!("{}@{dir}", version.version);
            seen.insert(version.version.clone());
        }
    }
}

/// The version that is offered: the one its authors say, else the newest that is fit and whole.
fn choose(versions: &[TemplateVersion], said: Option<&str>) -> String {
    let whole = |version: &&TemplateVersion| version.problem.is_none();
    let said = versions.iter().filter(whole).rev().find(|it| Some(it.version.as_str()) == said);
    let newest = || {
        let fit = versions.iter().rev().filter(whole).find(|version| !version.unfit);
        fit.or_else(|| versions.iter().rev().find(whole)).or_else(|| versions.last())
    };
    said.or_else(newest).map(|version| version.version.clone()).unwrap_or_default()
}
