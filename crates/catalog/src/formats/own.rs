//! Our own format: `NAME/template.yaml`, an icon and a README, and a directory for each version with a
//! Compose file. `version.yaml` there has what is different in that version.

use std::collections::BTreeMap;

use model::Result;
use model::template::{Template, TemplateVersion};
use serde::Deserialize;

use super::question::{self, Written};
use super::{choose, compose_files, fault, name_of, name_versions, readme};
use crate::tree::{Tree, join};
use crate::version::Version;
use crate::yaml;

const TEMPLATE: &str = "template.yaml";
const VERSION: &str = "version.yaml";

/// `template.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    title: Option<String>,
    summary: String,
    categories: Vec<String>,
    maintainer: String,
    homepage: String,
    license: String,
    labels: BTreeMap<String, String>,
    icon: Option<String>,
    version: Option<String>,
    open: String,
    note: String,
    questions: Option<Vec<Written>>,
}

/// `version.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Part {
    upgrade_from: String,
    open: Option<String>,
    note: Option<String>,
    questions: Option<Vec<Written>>,
}

pub(super) fn read(tree: &Tree) -> Vec<Template> {
    let top = tree.list("").into_iter().filter(|(_, is_dir)| *is_dir);
    let ours = top.filter(|(name, _)| tree.get(&join(name, TEMPLATE)).is_some());
    ours.map(|(name, _)| template(tree, name)).collect()
}

fn template(tree: &Tree, dir: &str) -> Template {
    let (mut head, broken) = match head(tree, dir) {
        Ok(head) => (head, None),
        Err(error) => (Head::default(), Some(error.chain())),
    };
    let (questions, wrong) = question::questions(head.questions.take());
    let common = TemplateVersion {
        readme: readme(tree, dir).unwrap_or_default(),
        questions,
        open: head.open,
        note: head.note,
        problem: wrong,
        ..TemplateVersion::default()
    };
    let mut names: Vec<&str> =
        tree.list(dir).into_iter().filter(|(_, is_dir)| *is_dir).map(|(name, _)| name).collect();
    names.sort_by_key(|name| Version::read(name));
    let versions = names.into_iter().filter_map(|name| version(tree, dir, name, &common));
    let mut versions: Vec<TemplateVersion> = versions.collect();
    name_versions(&mut versions);
    let none = versions.is_empty().then(|| "it has no directory with a Compose file".to_owned());
    let icon = head.icon.map(|icon| join(dir, &icon));
    Template {
        name: name_of(dir),
        title: head.title.unwrap_or_else(|| dir.to_owned()),
        summary: head.summary,
        categories: head.categories,
        maintainer: head.maintainer,
        homepage: head.homepage,
        license: head.license,
        labels: head.labels,
        icon: icon
            .filter(|icon| tree.get(icon).is_some())
            .or_else(|| tree.first(dir, &["icon.svg", "icon.png"]))
            .unwrap_or_default(),
        version: choose(&versions, head.version.as_deref()),
        versions,
        problem: broken.or(none),
        ..Template::default()
    }
}

fn head(tree: &Tree, dir: &str) -> Result<Head> {
    let path = join(dir, TEMPLATE);
    yaml::read(&path, tree.text(&path)?)
}

fn version(
    tree: &Tree,
    dir: &str,
    name: &str,
    common: &TemplateVersion,
) -> Option<TemplateVersion> {
    let place = join(dir, name);
    let files = compose_files(tree, &place);
    if files.is_empty() {
        return None;
    }
    let path = join(&place, VERSION);
    let (part, broken) = match tree.get(&path).map(|_| part(tree, &path)).transpose() {
        Ok(part) => (part.unwrap_or_default(), None),
        Err(error) => (Part::default(), Some(error.chain())),
    };
    let (own, wrong) = match part.questions {
        None => (common.questions.clone(), None),
        written => question::questions(written),
    };
    Some(TemplateVersion {
        version: name.to_owned(),
        readme: readme(tree, &place).unwrap_or_else(|| common.readme.clone()),
        questions: own,
        upgrade_from: part.upgrade_from,
        open: part.open.unwrap_or_else(|| common.open.clone()),
        note: part.note.unwrap_or_else(|| common.note.clone()),
        problem: broken
            .or(wrong)
            .or_else(|| common.problem.clone())
            .or_else(|| fault(tree, &files)),
        place,
        files,
        ..TemplateVersion::default()
    })
}

fn part(tree: &Tree, path: &str) -> Result<Part> {
    yaml::read(path, tree.text(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_its_versions_and_what_is_broken() {
        let mut tree = Tree::default();
        for (path, text) in [
            (
                "web/template.yaml",
                "title: Web\nversion: 1.9\nquestions: [{variable: port, type: int}]\n",
            ),
            ("web/icon.svg", "<svg/>"),
            ("web/1.10/compose.yaml", "services: {}"),
            ("web/1.9/compose.yaml", "services: {}"),
            ("web/1.9/version.yaml", "questions: []\nupgradeFrom: '*'\n"),
            ("web/docs/x.md", ""),
            ("odd/template.yaml", "titel: Odd\n"),
            ("odd/1/compose.yaml", "services: {}"),
            ("other/README.md", "no template"),
        ] {
            tree.add(path, text.as_bytes().to_vec()).unwrap();
        }
        let all = read(&tree);
        assert_eq!(all.len(), 2);
        assert!(all[0].problem.as_ref().unwrap().contains("titel"), "{:?}", all[0]);
        let web = &all[1];
        assert_eq!((&*web.icon, &*web.version), ("web/icon.svg", "1.9"));
        let versions: Vec<(&str, usize)> =
            web.versions.iter().map(|it| (it.version.as_str(), it.questions.len())).collect();
        assert_eq!(versions, [("1.9", 0), ("1.10", 1)]);
        assert_eq!(web.versions[0].upgrade_from, "*");
    }
}
