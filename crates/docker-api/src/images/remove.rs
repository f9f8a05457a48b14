//! `DELETE /images/{name}` and `POST /images/prune`.
//!
//! Two things differ from Engine. Parents of images are not kept, so that nothing is a child of another;
//! and an image that a stopped container was made from is kept without a name when it is removed by
//! force, as the container is started from it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use control::{Caller, Mode};
use link::image::{PruneRequest, SizedImage};
use model::image::{Image, Reference};
use model::instance::Instance;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::names::Platform;
use super::{Name, Named, names};
use crate::containers::{self, origin};
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::version::ApiVersion;
use crate::{Engine, Shared, times};

const FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

pub(super) async fn remove(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Extension(Name(name)): Named,
    query: Query,
) -> Reply {
    if name.trim().is_empty() {
        return Err(Failure::bad("image name cannot be blank"));
    }
    let image = super::detail(&engine, &caller, &name).await?.image;
    if version >= ApiVersion::minor(50) {
        let mut asked = query.all("platforms");
        if let Some(platform) = asked.next() {
            if asked.next().is_some() {
                return Err(Failure::bad("multiple platforms are not supported"));
            }
            if let Some(platform) = Platform::read(platform)? {
                platform.check(&name, &image)?;
            }
        }
    }
    let users = Users::of(&engine, &caller, &image)?;
    let force = query.flag("force");
    let mut removal = Removal { engine: &engine, caller: &caller, image, users, records: vec![] };
    match names::begins(&removal.image.id, &name) {
        true => removal.by_id(force).await?,
        false => removal.by_name(&name, force).await?,
    }
    Ok(axum::Json(removal.records).into_response())
}

/// Containers that were made from an image.
struct Users {
    running: Option<Arc<Instance>>,
    stopped: Option<Arc<Instance>>,
}

impl Users {
    fn of(engine: &Engine, caller: &Caller, image: &Image) -> Reply<Self> {
        let uses = |instance: &&Arc<Instance>| {
            let id = origin::image_id(instance);
            id == image.id || id == image.digest
        };
        let all = containers::all(engine, caller)?;
        let (live, rest): (Vec<_>, Vec<_>) =
            all.iter().filter(uses).cloned().partition(|it| it.status.phase.is_live());
        Ok(Self { running: live.into_iter().next(), stopped: rest.into_iter().next() })
    }

    fn any(&self) -> Option<&Arc<Instance>> {
        self.running.as_ref().or(self.stopped.as_ref())
    }
}

/// What stands against a removal.
struct Conflict {
    hard: bool,
    /// A container does.
    used: bool,
    message: String,
}

struct Removal<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
    image: Image,
    users: Users,
    records: Vec<Value>,
}

impl Removal<'_> {
    /// Takes the name away; with the last one, the image goes too.
    async fn by_name(&mut self, name: &str, force: bool) -> Reply<()> {
        if !force
            && is_single(&self.image)
            && let Some(user) = self.users.any()
        {
            return Err(Failure::conflict(format!(
                "conflict: unable to remove repository reference {name:?} (must force) - container \
                 {} is using its referenced image {}",
                names::short(user.meta.id.as_str()),
                names::short(&self.image.id)
            )));
        }
        let reference = names::parse(name)?;
        let full = match &reference.digest {
            Some(digest) => format!("{}@{digest}", reference.name()),
            None => reference.to_string(),
        };
        self.untag(&full).await?;
        if reference.digest.is_none() {
            self.untag_digests(&reference).await?;
        }
        if !self.image.names.is_empty() || !self.image.digests.is_empty() {
            return Ok(());
        }
        match self.conflict(force, true) {
            // Its name is gone; that is all that could be done.
            Some(conflict) if conflict.used => Ok(()),
            Some(conflict) => Err(self.refuse(&conflict)),
            None => self.delete(force).await,
        }
    }

    /// Without a tag in a repository, digests there are no names any more.
    async fn untag_digests(&mut self, reference: &Reference) -> Reply<()> {
        let own = |name: &&String| {
            Reference::parse(name).is_ok_and(|other| other.name() == reference.name())
        };
        if self.image.names.iter().any(|name| own(&name)) {
            return Ok(());
        }
        let digests: Vec<String> = self.image.digests.iter().filter(own).cloned().collect();
        for digest in digests {
            self.untag(&digest).await?;
        }
        Ok(())
    }

    async fn by_id(&mut self, force: bool) -> Reply<()> {
        let single = is_single(&self.image);
        if let Some(conflict) = self.conflict(force, single) {
            return Err(self.refuse(&conflict));
        }
        let all = [&self.image.names[..], &self.image.digests].concat();
        for name in all {
            self.untag(&name).await?;
        }
        self.delete(force).await
    }

    async fn untag(&mut self, name: &str) -> Reply<()> {
        let images = self.engine.control.images();
        let gone = images.untag(self.caller, "", name).await;
        gone.map_err(|error| names::missing(name, error))?;
        self.image.names.retain(|own| own != name);
        self.image.digests.retain(|own| own != name);
        self.records.push(json!({ "Untagged": names::familiar(name) }));
        Ok(())
    }

    /// The first thing that stands against removing the image itself; names do not where `single`.
    fn conflict(&self, force: bool, single: bool) -> Option<Conflict> {
        if let Some(user) = &self.users.running {
            let id = names::short(user.meta.id.as_str());
            let message = format!("image is being used by running container {id}");
            return Some(Conflict { hard: true, used: true, message });
        }
        if force {
            return None;
        }
        let named = !self.image.names.is_empty() || !self.image.digests.is_empty();
        if named && !single {
            let message = "image is referenced in multiple repositories".to_owned();
            return Some(Conflict { hard: false, used: false, message });
        }
        let user = self.users.stopped.as_ref()?;
        let id = names::short(user.meta.id.as_str());
        let message = format!("image is being used by stopped container {id}");
        Some(Conflict { hard: false, used: true, message })
    }

    fn refuse(&self, conflict: &Conflict) -> Failure {
        let how = if conflict.hard { "cannot be forced" } else { "must be forced" };
        let (id, message) = (names::short(&self.image.id), &conflict.message);
        Failure::conflict(format!("conflict: unable to delete {id} ({how}) - {message}"))
    }

    async fn delete(&mut self, force: bool) -> Reply<()> {
        if self.users.stopped.is_some() {
            return Ok(());
        }
        let images = self.engine.control.images();
        let before = layers(&images.sizes(self.caller, "").await?);
        images.remove(self.caller, "", &self.image.id, force, Mode::Apply).await?;
        let after = layers(&images.sizes(self.caller, "").await?);
        self.records.push(json!({ "Deleted": self.image.id }));
        self.records.extend(gone(&before, &after).map(|(chain, _)| json!({ "Deleted": chain })));
        Ok(())
    }
}

/// Whether all names are of one repository, with one tag at the most.
fn is_single(image: &Image) -> bool {
    if image.names.len() + image.digests.len() <= 1 {
        return image.names.len() + image.digests.len() == 1;
    }
    let repository = |name: &String| Reference::parse(name).map(|it| it.name()).unwrap_or_default();
    let mut all = image.names.iter().chain(&image.digests).map(repository);
    let first = all.next();
    image.names.len() <= 1 && all.all(|other| Some(&other) == first.as_ref())
}

/// All layers with how many lie below them and their sizes, by what they are with all below them.
fn layers(images: &[SizedImage]) -> BTreeMap<String, (usize, u64)> {
    let mut layers = BTreeMap::new();
    for sized in images {
        let mut chain = String::new();
        for (at, diff_id) in sized.image.layers.iter().enumerate() {
            chain = match chain.as_str() {
                "" => diff_id.clone(),
                below => {
                    let sum = Sha256::digest(format!("{below} {diff_id}"));
                    format!("sha256:{}", hex(&sum))
                }
            };
            let size = sized.layers.get(at).map_or(0, |size| size.0);
            layers.insert(chain.clone(), (at, size));
        }
    }
    layers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Layers that are no more, uppermost first, with their sizes.
fn gone(
    before: &BTreeMap<String, (usize, u64)>,
    after: &BTreeMap<String, (usize, u64)>,
) -> impl Iterator<Item = (String, u64)> {
    let mut gone: Vec<(usize, String, u64)> = before
        .iter()
        .filter(|(chain, _)| !after.contains_key(*chain))
        .map(|(chain, (at, size))| (*at, chain.clone(), *size))
        .collect();
    gone.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    gone.into_iter().map(|(_, chain, size)| (chain, size))
}

pub(super) async fn prune(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
) -> Reply {
    let filters = Filters::read(&query, &FILTERS)?;
    let labels = |name: &str| {
        let term = |term: &String| {
            let (key, value) = term.split_once('=').unwrap_or((term, ""));
            (key.to_owned(), value.to_owned())
        };
        filters.all(name).iter().map(term).collect()
    };
    let request = PruneRequest {
        all: !filters.flag("dangling")?.unwrap_or(true),
        plan: false,
        until: times::until(&filters)?,
        labels: labels("label"),
        unlabelled: labels("label!"),
    };
    let images = engine.control.images();
    let before = layers(&images.sizes(&caller, "").await?);
    let removed = images.prune(&caller, "", request).await?;
    let after = layers(&images.sizes(&caller, "").await?);
    let untagged = removed.untagged.iter().map(|name| json!({ "Untagged": names::familiar(name) }));
    let mut records: Vec<Value> = untagged.collect();
    records.extend(removed.deleted.iter().map(|id| json!({ "Deleted": id })));
    let mut reclaimed = 0;
    for (chain, size) in gone(&before, &after) {
        records.push(json!({ "Deleted": chain }));
        reclaimed += size;
    }
    let deleted = if records.is_empty() { Value::Null } else { json!(records) };
    let answer = json!({ "ImagesDeleted": deleted, "SpaceReclaimed": reclaimed });
    Ok(axum::Json(answer).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str], digests: &[&str], layers: &[&str]) -> Image {
        let digests: Vec<String> =
            digests.iter().map(|name| format!("{name}@sha256:{}", "a".repeat(64))).collect();
        let image = json!({
            "id": "sha256:1", "digest": "sha256:2", "names": names, "digests": digests, "size": 0,
            "architecture": "", "os": "", "config": {}, "layers": layers, "history": [],
        });
        serde_json::from_value(image).unwrap()
    }

    #[test]
    fn references_that_are_one() {
        for (names, digests, single) in [
            (&["h/a:1"][..], &["h/a"][..], true),
            (&["h/a:1"], &[], true),
            (&[], &["h/a"], true),
            (&["h/a:1", "h/a:2"], &["h/a"], false),
            (&["h/a:1"], &["h/b"], false),
            (&[], &[], false),
        ] {
            assert_eq!(is_single(&image(names, digests, &[])), single, "{names:?} {digests:?}");
        }
    }

    #[test]
    fn layers_that_go() {
        let sized = |layers: &[&str]| SizedImage {
            image: image(&[], &[], layers),
            layers: layers.iter().map(|_| model::Bytes(5)).collect(),
        };
        let before = layers(&[sized(&["x", "y"]), sized(&["x", "z"])]);
        let after = layers(&[sized(&["x", "z"])]);
        let gone: Vec<_> = gone(&before, &after).collect();
        assert_eq!(gone.len(), 1);
        assert!(gone[0].0.starts_with("sha256:") && gone[0].1 == 5);
    }
}
