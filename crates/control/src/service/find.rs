//! From what people type to the object they mean.

use std::sync::Arc;

use model::{Error, Kind, Object, Result, Uid};

use super::{Rules, Service};
use crate::caller::{Caller, Verb, authorise};
use crate::mirror::State;

/// The object of that name, id, or unique beginning of an id, in that order.
pub(crate) fn find<'a, N: Rules>(
    state: &'a State,
    project: &str,
    name: &str,
) -> Result<&'a Arc<Object<N>>> {
    let table = N::table(state);
    let project = Service::<N>::scope(project);
    if let Some(found) = table.by_name(project, name) {
        return Ok(found);
    }
    if let Some(found) = table.by_prefix(project, name)? {
        return Ok(found);
    }
    Err(not_found(N::KIND, name))
}

/// The same, for somebody who may do this to it by a role, or because it is their own. Others are not told
/// whether there is one.
pub(crate) fn find_for<'a, N: Rules>(
    state: &'a State,
    caller: &Caller,
    verb: Verb,
    project: &str,
    name: &str,
) -> Result<&'a Arc<Object<N>>> {
    let may = authorise(caller, verb, N::KIND, Service::<N>::scope(project));
    match find::<N>(state, project, name) {
        Ok(found) if N::own(caller, verb, found) => Ok(found),
        // A project is there for those who may see what is in it.
        Ok(found)
            if N::KIND == Kind::Project && !caller.may(verb, Kind::Instance, &found.meta.name) =>
        {
            may.and(Err(not_found(N::KIND, name)))
        }
        found => may.and(found),
    }
}

/// The error for a name that nothing has.
pub(crate) fn not_found(kind: Kind, name: &str) -> Error {
    let list = match kind {
        Kind::Instance => "hull ps -a".to_owned(),
        Kind::Snapshot => "hull volume snapshots".to_owned(),
        _ => format!("hull {kind} ls"),
    };
    Error::not_found(format!("there is no {kind} {name:?}")).next(format!("`{list}` lists them"))
}

impl<N: Rules> Service<N> {
    /// The object of that name, id, or unique beginning of an id.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when several ids begin so.
    pub fn get(&self, caller: &Caller, project: &str, name: &str) -> Result<Arc<Object<N>>> {
        self.core
            .read(|state| Ok(N::shown(find_for::<N>(state, caller, Verb::Get, project, name)?)))
    }

    /// The object with that id, in whichever project.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get_by_id(&self, caller: &Caller, id: &Uid) -> Result<Arc<Object<N>>> {
        let found = self.core.read(|state| N::table(state).by_id(id).cloned());
        let found = found.ok_or_else(|| not_found(N::KIND, id.short()))?;
        if !N::own(caller, Verb::Get, &found) {
            authorise(caller, Verb::Get, N::KIND, &found.meta.project)?;
        }
        Ok(N::shown(&found))
    }
}
