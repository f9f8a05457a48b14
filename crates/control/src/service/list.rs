//! Many objects at once.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use model::selector::Selector;
use model::{Error, Kind, Object, Result};
use serde_json::Value;

use super::{Rules, Service, project_exists};
use crate::caller::{Caller, Verb, authorise};
use crate::mirror::{Entry, name_key};

/// Which objects of a list are wanted.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Those with these labels.
    pub labels: Selector,
    /// Those with these values of fields, by path: `status.phase=running`.
    pub fields: Selector,
    /// At most so many; all when absent.
    pub limit: Option<usize>,
    /// Those behind the page that ended with this [`List::next`].
    pub after: Option<String>,
}

/// A page of objects, in the order of their projects and names.
#[derive(Debug, Clone)]
pub struct List<N: model::Noun> {
    /// The objects.
    pub items: Vec<Arc<Object<N>>>,
    /// The revision whose state this is; a watch after it goes on from here.
    pub revision: u64,
    /// What to give as [`ListOptions::after`] for the next page; `None` on the last one.
    pub next: Option<String>,
}

/// The same, each object as the JSON it is shown as.
#[derive(Debug, Clone)]
pub struct ListJson {
    /// The objects.
    pub items: Vec<Bytes>,
    /// The revision whose state this is.
    pub revision: u64,
    /// What to give as [`ListOptions::after`] for the next page.
    pub next: Option<String>,
}

impl<N: Rules> Service<N> {
    /// The objects of a project, or of all when `project` is `None`.
    ///
    /// # Errors
    /// `Invalid` for a page that never was.
    pub fn list(
        &self,
        caller: &Caller,
        project: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<N>> {
        let (items, revision, next) =
            self.page(caller, project, options, |entry| N::shown(&entry.object))?;
        Ok(List { items, revision, next })
    }

    /// The same as JSON; objects that did not change since are not written anew.
    ///
    /// # Errors
    /// As [`Service::list`].
    pub fn list_json(
        &self,
        caller: &Caller,
        project: Option<&str>,
        options: &ListOptions,
    ) -> Result<ListJson> {
        let (entries, revision, next) = self.page(caller, project, options, Arc::clone)?;
        let json = |entry: &Arc<Entry<N>>| match N::SHOWN_WHOLE {
            true => entry.json(),
            false => N::shown(&entry.object).encode().into(),
        };
        Ok(ListJson { items: entries.iter().map(json).collect(), revision, next })
    }

    fn page<T>(
        &self,
        caller: &Caller,
        project: Option<&str>,
        options: &ListOptions,
        take: impl Fn(&Arc<Entry<N>>) -> T,
    ) -> Result<(Vec<T>, u64, Option<String>)> {
        let sight = Sight::new::<N>(caller, Verb::List, project)?;
        let project = project.filter(|_| N::IN_PROJECT);
        let after = options.after.as_deref();
        if let (Some(after), Some(project)) = (after, project)
            && !after.starts_with(&name_key(project, ""))
        {
            return Err(Error::invalid(format!(
                "no page of project {project:?} ends with {after:?}"
            ))
            .at("after")
            .next("give the `next` of the page before, or nothing"));
        }
        let limit = options.limit.unwrap_or(usize::MAX).max(1);
        self.core.read(|state| {
            if let Some(project) = project {
                project_exists(state, project)?;
            }
            let wanted = |entry: &&Arc<Entry<N>>| {
                sight.sees(&entry.object)
                    && matches(&entry.object, &options.labels, &options.fields)
            };
            let mut entries = N::table(state).page(project, after).filter(wanted);
            let (mut items, mut last) = (Vec::new(), None);
            for entry in entries.by_ref().take(limit) {
                items.push(take(entry));
                last = Some(entry);
            }
            let more = entries.next().is_some();
            let key = |entry: &Arc<Entry<N>>| {
                name_key(&entry.object.meta.project, &entry.object.meta.name)
            };
            Ok((items, state.revision, last.filter(|_| more).map(key)))
        })
    }
}

/// What of many objects a caller is shown.
pub(crate) enum Sight {
    /// All of them.
    All,
    /// Those that they may read one by one, and their own.
    Some(Caller),
}

impl Sight {
    /// What a caller is shown of a noun in a project, or in all.
    ///
    /// # Errors
    /// `Forbidden` for one who is shown nothing.
    pub(crate) fn new<N: Rules>(
        caller: &Caller,
        verb: Verb,
        project: Option<&str>,
    ) -> Result<Self> {
        if let Err(error) = authorise(caller, verb, N::KIND, project.unwrap_or_default()) {
            let some = N::OWNED && !caller.user.is_empty();
            return if some { Ok(Self::Some(caller.clone())) } else { Err(error) };
        }
        let over_all = N::IN_PROJECT && project.is_none() || N::KIND == Kind::Project;
        let all = !over_all || caller.sees_all_projects();
        Ok(if all { Self::All } else { Self::Some(caller.clone()) })
    }

    /// Whether they are shown this one.
    pub(crate) fn sees<N: Rules>(&self, object: &Object<N>) -> bool {
        let Self::Some(caller) = self else { return true };
        let meta = &object.meta;
        // A project is seen by those who may see what is in it.
        let place = if N::KIND == Kind::Project { &meta.name } else { &meta.project };
        let by_role = !place.is_empty() && caller.may(Verb::Get, Kind::Instance, place);
        by_role || N::own(caller, Verb::Get, object)
    }
}

/// Whether an object has these labels and fields.
pub(crate) fn matches<N: model::Noun>(
    object: &Object<N>,
    labels: &Selector,
    fields: &Selector,
) -> bool {
    labels.matches(&object.meta.labels) && (fields.is_empty() || fields_match(object, fields))
}

fn fields_match<N: model::Noun>(object: &Object<N>, fields: &Selector) -> bool {
    let document = OnceCell::new();
    fields.matches_with(|path| match path {
        "meta.name" => Some(object.meta.name.clone()),
        "meta.project" => Some(object.meta.project.clone()),
        "meta.id" => Some(object.meta.id.to_string()),
        _ => field(document.get_or_init(|| serde_json::to_value(object).unwrap_or_default()), path),
    })
}

/// The value at a path such as `spec.containers.0.image`; text as it is, the rest as JSON.
fn field(document: &Value, path: &str) -> Option<String> {
    let mut value = document;
    for part in path.split('.') {
        value = match value {
            Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            Value::Object(map) => map.get(part)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}
