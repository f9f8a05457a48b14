//! Rancher's format, of versions 1.0 to 1.6: `templates/NAME/VERSION/` with a Compose file, perhaps as a
//! Go template, and `rancher-compose.yml`, whose block `.catalog` has the questions.
//! (<https://rancher.com/docs/rancher/v1.6/en/catalog/private-catalog/>)

use std::collections::BTreeMap;

use model::Result;
use model::template::{Template, TemplateVersion};
use serde::Deserialize;

use super::question::{self, Written};
use super::{choose, compose_files, fault, name_of, name_versions, readme};
use crate::tree::{Tree, join};
use crate::version::Version;
use crate::yaml;

/// The last version of Rancher that reads this format: what is not for it is offered last.
const LAST_RANCHER: &str = "1.6.30";
/// The block that has what the catalog shows.
const BLOCK: [&str; 2] = [".catalog", "catalog"];

/// `config.yml`, and `template.yml` since 1.6.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    name: Option<String>,
    description: Option<String>,
    version: Option<String>,
    category: Option<String>,
    categories: Option<Vec<String>>,
    maintainer: Option<String>,
    license: Option<String>,
    #[serde(rename = "projectURL", alias = "project_url")]
    project_url: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

/// The block `.catalog`, and `template-version.yml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block {
    name: Option<String>,
    description: Option<String>,
    version: Option<String>,
    maintainer: Option<String>,
    minimum_rancher_version: Option<String>,
    maximum_rancher_version: Option<String>,
    upgrade_from: Option<String>,
    questions: Option<Vec<Written>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Holder {
    #[serde(rename = ".catalog")]
    dotted: Option<Block>,
    catalog: Option<Block>,
}

pub(super) fn read(tree: &Tree) -> Vec<Template> {
    let top = tree.list("");
    let bases = top.into_iter().filter(|(name, is_dir)| *is_dir && name.ends_with("templates"));
    let mut found = Vec::new();
    for (base, _) in bases {
        let dirs = tree.list(base).into_iter().filter(|(_, is_dir)| *is_dir);
        found.extend(dirs.map(|(name, _)| template(tree, base, name)));
    }
    found
}

fn template(tree: &Tree, base: &str, folder: &str) -> Template {
    let dir = join(base, folder);
    let kind = base.strip_suffix("templates").unwrap_or_default();
    let (config, broken) = match config(tree, &dir) {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(error.chain())),
    };
    let mut found: Vec<(TemplateVersion, Block)> =
        version_dirs(tree, &dir).iter().map(|dir| version(tree, dir)).collect();
    let newest = found.last_mut().map(|(_, block)| std::mem::take(block)).unwrap_or_default();
    let mut versions: Vec<TemplateVersion> =
        found.into_iter().map(|(version, _)| version).collect();
    name_versions(&mut versions);
    for version in &mut versions {
        if version.readme.is_empty() {
            version.readme = readme(tree, &dir).unwrap_or_default();
        }
    }
    let none = versions.is_empty().then(|| "it has no version".to_owned());
    let labels = config.labels.unwrap_or_default().into_iter();
    let text = |one: Option<String>, two: Option<String>| {
        one.or(two).unwrap_or_default().trim().to_owned()
    };
    Template {
        name: name_of(&format!("{kind}{folder}")),
        title: Some(text(config.name, newest.name))
            .filter(|title| !title.is_empty())
            .unwrap_or_else(|| folder.to_owned()),
        summary: text(config.description, newest.description),
        categories: config
            .category
            .into_iter()
            .chain(config.categories.unwrap_or_default())
            .collect(),
        maintainer: text(config.maintainer, newest.maintainer),
        homepage: config.project_url.unwrap_or_default(),
        license: config.license.unwrap_or_default(),
        labels: labels.map(|(name, value)| (name, value.unwrap_or_default())).collect(),
        system: base != "templates",
        icon: icon(tree, &dir).unwrap_or_default(),
        version: choose(&versions, config.version.as_deref()),
        versions,
        problem: broken.or(none),
        ..Template::default()
    }
}

fn config(tree: &Tree, dir: &str) -> Result<Config> {
    let names = ["config.yml", "config.yaml", "template.yml", "template.yaml"];
    match tree.first(dir, &names) {
        Some(path) => yaml::read(&path, tree.text(&path)?),
        None => Ok(Config::default()),
    }
}

fn icon(tree: &Tree, dir: &str) -> Option<String> {
    let names = tree.list(dir).into_iter().filter(|(_, is_dir)| !is_dir);
    let mut icons = names.map(|(name, _)| name).filter(|name| name.starts_with("catalogIcon"));
    icons.next().map(|name| join(dir, name))
}

/// The directories of versions, oldest first: by number, and else by name.
fn version_dirs(tree: &Tree, dir: &str) -> Vec<String> {
    let is_version = |dir: &String| {
        let names = ["template-version.yml", "template-version.yaml", "project.yml"];
        !compose_files(tree, dir).is_empty() || tree.first(dir, &names).is_some()
    };
    let below = |dir: &str| {
        let names = tree.list(dir).into_iter().filter(|(_, is_dir)| *is_dir);
        let mut names: Vec<&str> = names.map(|(name, _)| name).collect();
        names.sort_by_key(|name| (name.parse::<u64>().ok(), Version::read(name)));
        names.into_iter().map(|name| join(dir, name)).filter(is_version).collect::<Vec<_>>()
    };
    let mut dirs = below(dir);
    dirs.extend(below(&join(dir, "versions")));
    if dirs.is_empty() && is_version(&dir.to_owned()) {
        dirs.push(dir.to_owned());
    }
    dirs
}

fn version(tree: &Tree, dir: &str) -> (TemplateVersion, Block) {
    let files = compose_files(tree, dir);
    let (mut block, broken) = match block(tree, dir, &files) {
        Ok(block) => (block, None),
        Err(error) => (Block::default(), Some(error.chain())),
    };
    let (questions, wrong) = question::questions(block.questions.take());
    let name = dir.rsplit('/').next().unwrap_or(dir).to_owned();
    let version = TemplateVersion {
        version: block.version.clone().filter(|it| !it.trim().is_empty()).unwrap_or(name),
        place: dir.to_owned(),
        readme: readme(tree, dir).unwrap_or_default(),
        questions,
        upgrade_from: block.upgrade_from.clone().unwrap_or_default(),
        unfit: !fits(&block),
        problem: broken.or(wrong).or_else(|| fault(tree, &files)),
        files,
        ..TemplateVersion::default()
    };
    (version, block)
}

fn fits(block: &Block) -> bool {
    let last = Version::read(LAST_RANCHER);
    let bound = |text: &Option<String>| text.as_deref().map(Version::read);
    bound(&block.minimum_rancher_version).is_none_or(|least| least <= last)
        && bound(&block.maximum_rancher_version).is_none_or(|most| last <= most)
}

/// The first block that is there.
fn block(tree: &Tree, dir: &str, files: &[String]) -> Result<Block> {
    if let Some(path) = tree.first(dir, &["template-version.yml", "template-version.yaml"]) {
        return yaml::read(&path, tree.text(&path)?);
    }
    for path in files.iter().rev() {
        let text = tree.text(path)?;
        let holder: Holder = match path.ends_with(".tpl") {
            false => yaml::read(path, text)?,
            true => match yaml::block(text, &BLOCK) {
                Some(block) => yaml::read(path, &block)?,
                None => continue,
            },
        };
        if let Some(block) = holder.dotted.or(holder.catalog) {
            return Ok(block);
        }
    }
    Ok(Block::default())
}

/// A file without its block, which is nothing that is installed; the lines keep their numbers.
pub(crate) fn without_block(text: &str) -> String {
    match yaml::block(text, &BLOCK) {
        Some(block) if text.contains(block.trim_end()) => {
            let lines = block.trim_end().matches('\n').count();
            text.replacen(block.trim_end(), &"\n".repeat(lines), 1)
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        files.iter().for_each(|(path, text)| tree.add(path, text.as_bytes().to_vec()).unwrap());
        tree
    }

    const CATALOG: &str = "
web:
  scale: ${n}
.catalog:
  name: Web
  version: v1.1
  minimum_rancher_version: v1.6.0-rc1
  questions:
    - variable: n
      label: How many
      type: int
      default: 2
      min: 1
      required: true
    - variable: tls
      type: enum
      options: [yes, no]
      default: no
";

    #[test]
    fn templates_their_versions_and_what_is_broken() {
        let tree = tree(&[
            ("templates/web/config.yml", "name: Web server\ncategory: Web\nversion: v1.1\n"),
            ("templates/web/catalogIcon-web.svg", "<svg/>"),
            ("templates/web/README.md", "# Web"),
            ("templates/web/0/docker-compose.yml", "web: {image: nginx}"),
            ("templates/web/0/rancher-compose.yml", "catalog: {version: v1.0}"),
            ("templates/web/2/docker-compose.yml.tpl", "web:\n  {{- if x}} y"),
            ("templates/web/2/rancher-compose.yml", CATALOG),
            ("templates/web/10/docker-compose.yml", "web: {image: [}"),
            (
                "templates/web/10/rancher-compose.yml",
                ".catalog: {version: v2, maximum_rancher_version: v1.2}",
            ),
            ("infra-templates/net/0/docker-compose.yml", "net: {image: net}"),
            ("infra-templates/odd/0/docker-compose.yml", "net: {image: net}"),
            (
                "infra-templates/odd/0/rancher-compose.yml",
                ".catalog: {questions: [{variable: a, type: colour}]}",
            ),
            ("kubernetes-templates/k/0/rancher-compose.yml", ".catalog: {name: K}"),
        ]);
        let mut all = read(&tree);
        all.sort_by(|one, two| one.name.cmp(&two.name));
        let names: Vec<&str> = all.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["infra-net", "infra-odd", "kubernetes-k", "web"]);
        let web = &all[3];
        assert_eq!((&*web.title, &*web.version, web.system), ("Web server", "v1.1", false));
        assert_eq!(web.icon, "templates/web/catalogIcon-web.svg");
        let versions: Vec<(&str, bool, bool)> = web
            .versions
            .iter()
            .map(|it| (it.version.as_str(), it.unfit, it.problem.is_some()))
            .collect();
        assert_eq!(versions, [("v1.0", false, false), ("v1.1", false, false), ("v2", true, true)]);
        let asked = &web.versions[1].questions;
        assert_eq!((asked[0].default.as_deref(), asked[0].min), (Some("2"), Some(1)));
        let options: Vec<&str> = asked[1].options.iter().map(|it| it.value.as_str()).collect();
        assert_eq!((options, asked[1].default.as_deref()), (vec!["yes", "no"], Some("no")));
        assert_eq!(web.versions[1].readme, "templates/web/README.md");
        assert!(all[1].versions[0].problem.as_ref().unwrap().contains("colour"));
        assert!(all[2].versions[0].problem.as_ref().unwrap().contains("no Compose file"));
        assert!(all[0].system && all[0].versions[0].version == "0");
    }

    #[test]
    fn the_block_is_taken_out_and_lines_stay() {
        let text = "a: 1\n.catalog:\n  name: x\n\n  version: 1\nb: 2\n";
        assert_eq!(without_block(text), "a: 1\n\n\n\n\nb: 2\n");
        assert_eq!(without_block("a: 1\n"), "a: 1\n");
    }
}
