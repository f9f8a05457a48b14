//! Where records stand in the store.
//!
//! | key | value |
//! |---|---|
//! | `/<kind>/<id>` | the object, JSON |
//! | `/name/<kind>/<project>/<name>` | the object's id; written in the same commit |
//! | `/app-revision/<app's id>/<number>/objects` | what a revision of an app consists of, JSON |
//! | `/app-revision/<app's id>/<number>/files` | what it was read from, sealed, JSON |
//! | `/event/<number>` | a batch of events, JSON |
//! | `/guard/<what>` | nothing: its revision tells whether a set of choices was added to meanwhile |
//! | `/cluster` | the cluster's id |

use model::{Kind, Meta, Uid};

/// The cluster's own record.
pub(crate) const CLUSTER: &str = "/cluster";
/// What all guards begin with.
pub(crate) const GUARDS: &str = "/guard/";
/// What all batches of events begin with.
pub(crate) const EVENTS: &str = "/event/";
/// What all names begin with.
pub(crate) const NAMES: &str = "/name/";

/// Guards the choice of nodes, addresses and ports of instances.
pub(crate) const PLACEMENT: &str = "/guard/placement";
/// Guards the choice of subnets.
pub(crate) const SUBNETS: &str = "/guard/subnets";

/// An object's record.
pub(crate) fn object(kind: Kind, id: &Uid) -> String {
    format!("/{kind}/{id}")
}

/// The record that makes a name unique.
pub(crate) fn name(kind: Kind, meta: &Meta) -> String {
    format!("{NAMES}{kind}/{}/{}", meta.project, meta.name)
}

/// What a revision of an app consists of, and what it was read from.
pub(crate) fn app_revision(app: &Uid, number: u64) -> (String, String) {
    let place = format!("/app-revision/{app}/{number:010}");
    (format!("{place}/objects"), format!("{place}/files"))
}

/// What the records of revisions begin with, and what the names of those of their files end with.
pub(crate) const APP_REVISIONS: &str = "/app-revision/";
pub(crate) const FILES: &str = "files";

/// The app whose revision a record is of, and which part of it.
pub(crate) fn parse_app_revision(key: &str) -> Option<(Uid, &str)> {
    let (app, rest) = key.strip_prefix(APP_REVISIONS)?.split_once('/')?;
    Some((app.parse().ok()?, rest.split_once('/')?.1))
}

/// A batch of events, by the number of its first one.
pub(crate) fn events(first: u64) -> String {
    format!("{EVENTS}{first:020}")
}

/// The kind and id in an object's key.
pub(crate) fn parse(key: &str) -> Option<(Kind, Uid)> {
    let (kind, id) = key.strip_prefix('/')?.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some((kind, id.parse().ok()?))
}
