//! The templates that come with the program.

use model::Result;
use rust_embed::RustEmbed;

use crate::tree::Tree;

#[derive(RustEmbed)]
#[folder = "../../catalog"]
struct BuiltIn;

/// Their files.
///
/// # Errors
/// None that a test of the program lets pass.
pub fn read() -> Result<Tree> {
    let mut tree = Tree::default();
    for path in BuiltIn::iter() {
        if let Some(file) = BuiltIn::get(&path) {
            tree.add(&path, file.data.into_owned())?;
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{self, Answers};

    #[test]
    fn each_is_whole_and_needs_no_answer() {
        let mut tree = read().unwrap();
        let all = crate::formats::read("builtin", &mut tree).unwrap();
        for template in &all {
            let name = &template.name;
            assert!(template.problem.is_none(), "{name}: {:?}", template.problem);
            let told = [&template.summary, &template.icon, &template.license];
            assert!(told.iter().all(|it| !it.is_empty()), "{name} is not told whole");
            for version in &template.versions {
                assert!(version.problem.is_none(), "{name}: {:?}", version.problem);
                assert!(tree.text(&version.readme).unwrap().len() > 100, "{name} has no README");
                let settled = answers::settle(
                    &version.questions,
                    &Answers::new(),
                    &Answers::new(),
                    &mut || 7,
                );
                let settled = settled.unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
                crate::render::render(&tree, template, version, "app", &settled)
                    .unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
            }
        }
    }

    /// They are handed to containers as files. A machine's first-boot data is another matter.
    #[test]
    fn passwords_are_in_no_environment_or_command() {
        const SECRET: &str = "hunter2hunter2hunter2hunter2hunter2";
        let mut tree = read().unwrap();
        for template in &crate::formats::read("builtin", &mut tree).unwrap() {
            let name = &template.name;
            let version = template.version(None).unwrap();
            let secret = version.questions.iter().filter(|it| it.is_secret());
            let given: Answers =
                secret.map(|it| (it.variable.clone(), SECRET.to_owned())).collect();
            let settled =
                answers::settle(&version.questions, &given, &Answers::new(), &mut || 7).unwrap();
            let files = crate::render::render(&tree, template, version, "app", &settled).unwrap();
            let main: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
            let files: std::collections::BTreeMap<String, Vec<u8>> =
                files.into_iter().map(|file| (file.path, file.text.into_bytes())).collect();
            let asked = compose::Asked {
                files: main,
                name: "app".to_owned(),
                variables: settled.into_iter().collect(),
                ..compose::Asked::default()
            };
            let wanted =
                compose::read(&files, &asked).unwrap_or_else(|why| panic!("{name}: {why}"));
            for service in &wanted.services {
                for container in &service.spec.template.spec.containers {
                    let told = format!(
                        "{:?}",
                        (&container.env, &container.command, &container.entrypoint)
                    );
                    assert!(!told.contains(SECRET), "{name}: {told}");
                }
            }
            let handed = wanted.secrets.iter().filter(|it| it.value == SECRET.as_bytes()).count();
            assert_eq!(handed, given.len(), "{name}");
        }
    }
}
