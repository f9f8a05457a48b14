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
}
