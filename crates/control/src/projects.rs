//! Projects: the boundaries of tenancy.

use model::project::{DEFAULT_PROJECT, Project, ProjectNoun};
use model::{Error, Noun, Result};

use crate::batch::Batch;
use crate::mirror::{Mirrored, State};
use crate::service::{Context, Rules, Service};
use crate::users;

/// The verbs of projects.
pub type Projects = Service<ProjectNoun>;

impl Rules for ProjectNoun {
    fn change(
        context: &Context<'_>,
        old: &Project,
        new: &mut Project,
        batch: &mut Batch,
    ) -> Result<()> {
        if old.meta.name == new.meta.name {
            return Ok(());
        }
        let name = &old.meta.name;
        let content = (name != DEFAULT_PROJECT).then(|| content(context.state, name, true));
        match content {
            Some(None) => {
                users::follow_project(context, name, Some(&new.meta.name), batch);
                Ok(())
            }
            Some(Some(object)) => Err(Error::conflict(format!(
                "project {name:?} cannot be renamed while it has {object}"
            ))
            .at("meta.name")),
            None => Err(Error::conflict("the default project keeps its name").at("meta.name")),
        }
    }

    fn delete(context: &Context<'_>, project: &mut Project, batch: &mut Batch) -> Result<()> {
        let name = &project.meta.name;
        if name == DEFAULT_PROJECT {
            return Err(Error::conflict("the default project cannot be removed"));
        }
        if let Some(object) = content(context.state, name, false) {
            return Err(Error::conflict(format!("project {name:?} still has {object}"))
                .next("remove what is in it first"));
        }
        for network in context.state.networks.in_project(name) {
            let gone = model::Object::clone(network);
            batch.delete(network, gone, context.now, context.caller);
        }
        users::follow_project(context, name, None, batch);
        Ok(())
    }
}

/// Something that is in a project. Networks go with it unless `networks`.
fn content(state: &State, project: &str, networks: bool) -> Option<String> {
    fn first<N: Mirrored + Noun>(state: &State, project: &str) -> Option<String> {
        N::table(state).in_project(project).next().map(|object| object.title())
    }
    first::<model::app::AppNoun>(state, project)
        .or_else(|| first::<model::service::ServiceNoun>(state, project))
        .or_else(|| first::<model::instance::InstanceNoun>(state, project))
        .or_else(|| first::<model::secret::SecretNoun>(state, project))
        .or_else(|| first::<model::config::ConfigNoun>(state, project))
        .or_else(|| first::<model::volume::VolumeNoun>(state, project))
        .or_else(|| first::<model::volume::SnapshotNoun>(state, project))
        .or_else(|| first::<model::network::NetworkNoun>(state, project).filter(|_| networks))
}
