//! What all nouns have in common: get, list, watch, create, update, delete.
//!
//! A [`Service`] is a noun's verbs; [`Rules`] are what is particular to the noun within them. The
//! verbs that only one noun has stand in its own file.

mod diff;
mod find;
mod list;
pub(crate) mod watch;
mod write;

use std::sync::Arc;

use model::meta::Labels;
use model::{Kind, Object, Result, Time};

use crate::batch::Batch;
use crate::caller::{Caller, Verb};
use crate::core::Core;
use crate::mirror::{Mirrored, State};

pub use crate::core::Mode;
pub(crate) use diff::first_difference;
pub(crate) use find::{find, find_for, not_found};
pub use list::{List, ListJson, ListOptions};
pub use watch::{Change, ChangeKind};
pub use write::New;
pub(crate) use write::not_deleted;

/// The verbs of a noun. Cheap to clone.
pub struct Service<N: Rules> {
    pub(crate) core: Arc<Core>,
    noun: std::marker::PhantomData<fn() -> N>,
}

impl<N: Rules> Clone for Service<N> {
    fn clone(&self) -> Self {
        Self::new(self.core.clone())
    }
}

impl<N: Rules> Service<N> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, noun: std::marker::PhantomData }
    }

    /// The project that objects of this noun are kept under: none for nouns of the cluster.
    pub(crate) fn scope(project: &str) -> &str {
        if N::IN_PROJECT { project } else { "" }
    }
}

/// What a noun's own rules are told: the state, who asks, and what makes time and identities.
pub struct Context<'a> {
    pub(crate) state: &'a State,
    pub(crate) caller: &'a Caller,
    pub(crate) core: &'a Core,
    pub(crate) now: Time,
}

/// What is particular to a noun in the verbs all nouns have. Each refuses by returning an error,
/// and may add to the change.
pub trait Rules: Mirrored {
    /// What callers may see of an object.
    fn shown(object: &Arc<Object<Self>>) -> Arc<Object<Self>> {
        object.clone()
    }

    /// Adds to an event about an object what people want to know of it besides its name.
    fn describe(_: &Object<Self>, event: model::event::Event) -> model::event::Event {
        event
    }

    /// Gives an admitted object its place in the same change, where that is plain; what is not done
    /// here is left to the loops. Called only while nobody else changes the same things.
    fn place(context: &Context<'_>, object: &mut Object<Self>, batch: &mut Batch) {
        let _ = (context, object, batch);
    }

    /// Refuses a new object for what only its node knows, before anything is worked out.
    fn foresee(
        service: &Service<Self>,
        spec: &Self::Spec,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (service, spec);
        std::future::ready(Ok(()))
    }

    /// Completes what is asked by what only a node knows, before the change is begun. What cannot be
    /// found out is left as it is.
    fn complete(service: &Service<Self>, spec: &mut Self::Spec) -> impl Future<Output = ()> + Send {
        let _ = (service, spec);
        std::future::ready(())
    }

    /// Whether there are objects that are somebody's own.
    const OWNED: bool = false;

    /// Whether an object is the caller's own, to which they may do this without a role that allows it.
    fn own(_: &Caller, _: Verb, _: &Object<Self>) -> bool {
        false
    }

    /// Whether `shown` leaves objects as they are.
    const SHOWN_WHOLE: bool = true;

    /// Completes a new object and refuses one that cannot be.
    fn admit(_: &Context<'_>, _: &mut Object<Self>, _: &mut Batch) -> Result<()> {
        Ok(())
    }

    /// Refuses a change of the spec or the name that an existing object cannot take.
    fn change(
        _: &Context<'_>,
        _: &Object<Self>,
        _: &mut Object<Self>,
        _: &mut Batch,
    ) -> Result<()> {
        Ok(())
    }

    /// Refuses the removal of an object that is needed, and completes it.
    fn delete(_: &Context<'_>, _: &mut Object<Self>, _: &mut Batch) -> Result<()> {
        Ok(())
    }
}

/// What people may change of an object, by name.
pub type Editable<'a, N> = (&'a mut Labels, &'a mut Labels, &'a mut <N as model::Noun>::Spec);

/// Refuses a project that is not there, or not for long.
pub(crate) fn project_exists(state: &State, project: &str) -> Result<()> {
    match state.projects.by_name("", project) {
        Some(found) if found.meta.deleted.is_none() => Ok(()),
        Some(_) => Err(model::Error::conflict(format!("project {project:?} is being removed"))),
        None => Err(not_found(Kind::Project, project)),
    }
}
