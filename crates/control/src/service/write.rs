//! Making, changing and removing objects.

use std::sync::Arc;

use model::event::Event;
use model::meta::Labels;
use model::{Error, Kind, Meta, Noun, Object, Result, Uid};

use super::{Context, Editable, Mode, Rules, Service, find, find_for, project_exists};
use crate::batch::{Batch, at};
use crate::caller::{Caller, Verb, authorise};
use crate::mirror::State;

/// An object to be made.
#[derive(Debug, Clone)]
pub struct New<N: Noun> {
    /// Its name; one is invented when absent.
    pub name: Option<String>,
    /// For selecting.
    pub labels: Labels,
    /// For everything else.
    pub annotations: Labels,
    /// What is asked.
    pub spec: N::Spec,
    /// The object that makes it and with which it goes.
    pub owner: Option<model::meta::Owner>,
}

impl<N: Noun> New<N> {
    /// An object of that name without labels.
    pub fn named(name: &str, spec: N::Spec) -> Self {
        Self { name: Some(name.to_owned()), ..Self::unnamed(spec) }
    }

    /// An object whose name is invented.
    pub fn unnamed(spec: N::Spec) -> Self {
        Self { name: None, labels: Labels::new(), annotations: Labels::new(), spec, owner: None }
    }
}

impl<N: Rules> Service<N> {
    /// Makes an object. Everything is checked first: nothing is changed when it is refused.
    ///
    /// # Errors
    /// `Invalid` naming the field, `Exists` for a name that is taken, `NotFound` for a project or
    /// another object that it needs, and what the noun's own rules refuse.
    pub async fn create(
        &self,
        caller: &Caller,
        project: &str,
        new: New<N>,
        mode: Mode,
    ) -> Result<Arc<Object<N>>> {
        self.create_with_id(self.core.new_id(), caller, project, new, mode).await
    }

    /// Makes an object whose id the caller chose, as it has a part in what is asked.
    ///
    /// # Errors
    /// As [`Service::create`].
    pub async fn create_with_id(
        &self,
        id: Uid,
        caller: &Caller,
        project: &str,
        mut new: New<N>,
        mode: Mode,
    ) -> Result<Arc<Object<N>>> {
        authorise(caller, Verb::Create, N::KIND, Self::scope(project))?;
        N::complete(self, &mut new.spec).await;
        self.create_as(id, caller, project, new, mode).await
    }

    /// Makes an object with this id.
    pub(crate) async fn create_as(
        &self,
        id: Uid,
        caller: &Caller,
        project: &str,
        new: New<N>,
        mode: Mode,
    ) -> Result<Arc<Object<N>>> {
        N::foresee(self, &new.spec).await?;
        let (project, now) = (Self::scope(project), self.core.now());
        let seed = u64::from_le_bytes(self.core.random.bytes()[..8].try_into().unwrap_or_default());
        let mut contended = false;
        let plan = |state: &State, batch: &mut Batch| {
            let name = new.name.clone();
            let name = name.unwrap_or_else(|| free_name::<N>(state, project, seed));
            let mut object =
                Object::<N>::new(Meta::new(project, &name, id.clone(), now), new.spec.clone());
            object.meta.labels.clone_from(&new.labels);
            object.meta.annotations.clone_from(&new.annotations);
            object.meta.owner.clone_from(&new.owner);
            object.validate()?;
            if N::IN_PROJECT {
                project_exists(state, project)?;
            }
            name_free::<N>(state, project, &name)?;
            let context = Context { state, caller, core: &self.core, now };
            N::admit(&context, &mut object, batch)?;
            // Worked out again: others are at it too, and a loop places many in one change.
            if !std::mem::replace(&mut contended, true) {
                N::place(&context, &mut object, batch);
            }
            batch.create(&object);
            let event = Event::new(now, N::KIND, "create", &object.meta);
            batch.event(caller, N::describe(&object, event));
            Ok(object)
        };
        let (revision, object) = self.core.transact(mode, plan).await?;
        Ok(N::shown(&at(object, if mode == Mode::Plan { 0 } else { revision })))
    }

    /// Changes what people may change of an object; `edit` may be called more than once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the object is not at `expected` any more, or when a field was
    /// changed that cannot be, which is named; `Invalid` for values that could never work.
    pub async fn update(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        expected: Option<u64>,
        mut edit: impl FnMut(Editable<'_, N>) -> Result<()>,
        mode: Mode,
    ) -> Result<Arc<Object<N>>> {
        authorise(caller, Verb::Update, N::KIND, Self::scope(project))?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<N>(state, project, name)?;
            check_revision(old, expected)?;
            let mut new = Object::clone(old);
            edit((&mut new.meta.labels, &mut new.meta.annotations, &mut new.spec))?;
            if new == **old {
                return Ok(new);
            }
            not_deleted(old)?;
            new.validate()?;
            let context = Context { state, caller, core: &self.core, now };
            N::change(&context, old, &mut new, batch)?;
            new.meta.generation += u64::from(new.spec != old.spec);
            batch.replace(old, &new);
            let event = Event::new(now, N::KIND, "update", &new.meta);
            batch.event(caller, N::describe(&new, event));
            Ok(new)
        };
        self.changed(mode, self.core.transact(mode, plan).await?)
    }

    /// Gives an object another name. Objects that name it are changed with it, or it is refused.
    ///
    /// # Errors
    /// `NotFound`; `Exists` when the name is taken; `Invalid` for what is no name.
    pub async fn rename(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        new_name: &str,
        mode: Mode,
    ) -> Result<Arc<Object<N>>> {
        authorise(caller, Verb::Update, N::KIND, Self::scope(project))?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<N>(state, project, name)?;
            let mut new = Object::clone(old);
            new_name.clone_into(&mut new.meta.name);
            if new == **old {
                return Ok(new);
            }
            not_deleted(old)?;
            new.meta.validate()?;
            name_free::<N>(state, &new.meta.project, new_name)?;
            let context = Context { state, caller, core: &self.core, now };
            N::change(&context, old, &mut new, batch)?;
            new.meta.generation += 1;
            batch.replace(old, &new);
            let event = Event::new(now, N::KIND, "rename", &new.meta);
            batch.event(caller, N::describe(&new, event.with("oldName", &old.meta.name)));
            Ok(new)
        };
        self.changed(mode, self.core.transact(mode, plan).await?)
    }

    /// Removes an object: at once, or when its node has cleaned up. Of one that is being removed
    /// already it changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not at `expected` any more, or is in use, naming by whom.
    pub async fn delete(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        expected: Option<u64>,
        mode: Mode,
    ) -> Result<Arc<Object<N>>> {
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find_for::<N>(state, caller, Verb::Delete, project, name)?;
            check_revision(old, expected)?;
            let mut new = Object::clone(old);
            if old.meta.deleted.is_some() {
                return Ok(new);
            }
            let context = Context { state, caller, core: &self.core, now };
            N::delete(&context, &mut new, batch)?;
            Ok(batch.delete(old, new, now, caller))
        };
        self.changed(mode, self.core.transact(mode, plan).await?)
    }

    /// The object as it is after a commit at `revision`, if there was one.
    pub(crate) fn changed(
        &self,
        mode: Mode,
        (revision, object): (u64, Object<N>),
    ) -> Result<Arc<Object<N>>> {
        let kept = self.core.read(|state| N::table(state).by_id(&object.meta.id).cloned());
        let object = match kept {
            Some(kept) if mode == Mode::Apply && kept.meta.revision == revision => kept,
            _ => Arc::new(object),
        };
        Ok(N::shown(&object))
    }
}

/// Refuses when somebody expected another revision.
pub(crate) fn check_revision<N: Noun>(object: &Object<N>, expected: Option<u64>) -> Result<()> {
    match expected {
        Some(expected) if expected != object.meta.revision => Err(Error::conflict(format!(
            "{} is at revision {}, not at {expected}",
            object.title(),
            object.meta.revision
        ))
        .at("meta.revision")
        .next("read it again and repeat the change")),
        _ => Ok(()),
    }
}

/// Refuses to change what is on its way out.
pub(crate) fn not_deleted<N: Noun>(object: &Object<N>) -> Result<()> {
    match object.meta.deleted {
        None => Ok(()),
        Some(_) => Err(Error::conflict(format!("{} is being removed", object.title()))
            .next("wait until it is gone, then make a new one")),
    }
}

fn name_free<N: Rules>(state: &State, project: &str, name: &str) -> Result<()> {
    let Some(holder) = N::table(state).by_name(project, name) else { return Ok(()) };
    let id = holder.meta.id.short();
    let error = Error::exists(format!("the name {name:?} is taken by {} {id}", N::KIND));
    let next = match (holder.meta.deleted, N::KIND) {
        (Some(_), _) => "it is being removed: try again in a moment".to_owned(),
        (None, Kind::Instance) => format!("take another name, or `hull rm {name}`"),
        (None, kind) => format!("take another name, or `hull {kind} rm {name}`"),
    };
    Err(error.at("meta.name").next(next))
}

fn free_name<N: Rules>(state: &State, project: &str, seed: u64) -> String {
    let mut names = (0..).map(|i: u64| model::name::invent(seed.wrapping_add(i << 10)));
    let free = |name: &String| N::table(state).by_name(project, name).is_none();
    names.find(free).unwrap_or_default()
}
