//! From a template and answers to Compose files.

use std::collections::BTreeMap;

use model::template::{Template, TemplateVersion};
use model::{Error, Result};

use crate::answers::Answers;
use crate::formats::without_block;
use crate::go_template::{self, Scope};
use crate::tree::Tree;

/// A file that is ready to be read as a Compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the catalog, without what marked it as a template.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Renders the files of a version: those that are Go templates with the answers as `.Values`. Variables
/// such as `${NAME}` stay, for whoever reads the files knows where they may stand; the answers are their
/// values.
///
/// # Errors
/// `Conflict` for a version with a problem; those of Go templates.
pub fn render(
    tree: &Tree,
    template: &Template,
    version: &TemplateVersion,
    app: &str,
    answers: &Answers,
) -> Result<Vec<File>> {
    if let Some(problem) = template.problem.as_ref().or(version.problem.as_ref()) {
        return Err(Error::conflict(format!(
            "template {}/{} {} cannot be used: {problem}",
            template.catalog, template.name, version.version
        )));
    }
    let values: Vec<(String, String)> =
        answers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let scope = Scope {
        values: &values,
        stack: BTreeMap::from([("Name", app.to_owned())]),
        release: BTreeMap::from([("Name", app.to_owned()), ("Version", version.version.clone())]),
    };
    let file = |path: &String| -> Result<File> {
        let text = tree.text(path)?;
        let text = match path.strip_suffix(".tpl") {
            Some(_) => go_template::render(path, text, &scope)?,
            None => text.to_owned(),
        };
        let path = path.strip_suffix(".tpl").unwrap_or(path).to_owned();
        Ok(File { path, text: without_block(&text) })
    };
    version.files.iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rendered_and_named() {
        let mut tree = Tree::default();
        for (path, text) in [
            (
                "templates/web/0/docker-compose.yml.tpl",
                "web:\n  image: nginx:{{.Values.tag}}\n  hostname: {{.Stack.Name}}\n",
            ),
            (
                "templates/web/0/rancher-compose.yml",
                ".catalog:\n  version: '1'\nweb:\n  scale: ${n}\n",
            ),
        ] {
            tree.add(path, text.as_bytes().to_vec()).unwrap();
        }
        let all = crate::formats::read("c", &mut tree).unwrap();
        let answers = Answers::from([("tag".into(), "1.27".into()), ("n".into(), "2".into())]);
        let version = all[0].version(None).unwrap();
        let files = render(&tree, &all[0], version, "shop", &answers).unwrap();
        assert_eq!(files[0].path, "templates/web/0/docker-compose.yml");
        assert_eq!(files[0].text, "web:\n  image: nginx:1.27\n  hostname: shop\n");
        assert_eq!(files[1].text, "\n\nweb:\n  scale: ${n}\n");
        let broken = TemplateVersion { problem: Some("no".into()), ..version.clone() };
        assert!(render(&tree, &all[0], &broken, "shop", &answers).is_err());
    }
}
