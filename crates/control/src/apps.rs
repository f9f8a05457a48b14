//! Apps: sets of objects that are installed, changed, taken back and removed as one.
//!
//! A verb works out what the app shall consist of, shows how that differs from what is there, and writes
//! it down as a revision; `reconcile/apps.rs` brings it about, one object at a time, in the order that
//! `planner::app` says. What a revision was made of is kept beside the app, sealed where it is secret:
//! `objects` prepares it, `revisions` keeps it.

mod built;
mod compose;
pub(crate) mod copies;
mod objects;
pub(crate) mod revisions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::app::{
    App, AppAction, AppDifference, AppFiles, AppNoun, AppObjects, AppRevision, AppSpec, Origin,
};
use model::event::Event;
use model::service::ServiceMode as Counted;
use model::{Error, Kind, Meta, Object, Result, Time, Uid};
use planner::app::{Look, Present, differences};

use crate::batch::{Batch, at};
use crate::caller::{Caller, Verb, authorise};
use crate::core::Mode;
use crate::mirror::State;
use crate::secrets;
use crate::service::{Context, Rules, Service, find, not_deleted, project_exists};

pub(crate) use objects::{open, place as place_of, place_of_answers};
use revisions::Kept;

/// The finalizer of an app that has objects.
pub(crate) const OBJECTS: &str = "objects";

/// The verbs of apps.
pub type Apps = Service<AppNoun>;

/// What an app shall be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its objects; the values of secrets not sealed yet.
    pub objects: AppObjects,
    /// Containers whose images are built for them, by the key of their service.
    pub built: BTreeMap<String, BTreeSet<String>>,
    /// What they were read from.
    pub files: AppFiles,
    /// What was done, for the history.
    pub what: String,
    /// The template it is from, and its answers that are secret.
    pub origin: Option<(Origin, BTreeMap<String, String>)>,
    /// Take the last revision that worked again when this one fails.
    pub roll_back_on_failure: bool,
    /// Copy its volumes before it is brought about.
    pub copy_volumes: bool,
}

/// What a verb made of an app, and how that differs from what was there.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The app.
    pub app: Arc<App>,
    /// What is made, changed, replaced and removed.
    pub changes: Vec<AppDifference>,
}

impl Rules for AppNoun {
    const SHOWN_WHOLE: bool = false;

    fn shown(app: &Arc<App>) -> Arc<App> {
        let mut app = App::clone(app);
        for secret in &mut app.spec.objects.secrets {
            secret.spec.data = model::data::Data::default();
            secret.spec.sealed = None;
        }
        if let Some(origin) = &mut app.spec.origin {
            origin.sealed = None;
        }
        Arc::new(app)
    }
}

/// What is there in a project, for the planner.
pub(crate) fn present<'a>(state: &'a State, project: &'a str) -> Present<'a> {
    Present {
        networks: state.networks.in_project(project).map(|it| &**it).collect(),
        volumes: state.volumes.in_project(project).map(|it| &**it).collect(),
        secrets: state.secrets.in_project(project).map(|it| &**it).collect(),
        configs: state.configs.in_project(project).map(|it| &**it).collect(),
        services: state.services.in_project(project).map(|it| &**it).collect(),
        instances: state.instances.in_project(project).map(|it| &**it).collect(),
    }
}

impl Apps {
    /// Installs an app, or changes the one of this name to what is wished. What is there already as
    /// wished is left alone; nothing at all is changed where nothing differs.
    ///
    /// # Errors
    /// `Invalid` for what could never work, `NotFound` for what it needs from outside, `Exists` for a
    /// name that somebody else's object has, `Conflict` for a change that is not possible.
    pub async fn deploy(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        wish: &Wish,
        mode: Mode,
    ) -> Result<Deployed> {
        authorise(caller, Verb::Create, Kind::App, project)?;
        wish.files.validate()?;
        objects::stay_inside(caller, &wish.objects)?;
        let new_id = self.core.new_id();
        let files = revisions::encode(&wish.files);
        let print = self.core.keyring.fingerprint(&files);
        let objects = built::pinned(&self.core, wish, mode).await?;
        let plan = |state: &State, batch: &mut Batch| {
            project_exists(state, project)?;
            let context = Context { state, caller, core: &self.core, now: self.core.now() };
            let old = state.apps.by_name(project, name);
            let id = old.map_or(&new_id, |old| &old.meta.id);
            let sealed = || self.core.keyring.seal(&revisions::files_of(id), &files);
            let draft = Draft {
                objects: objects::sealed(&self.core, id, &objects)?,
                origin: objects::origin(&self.core, id, wish.origin.as_ref())?,
                print: print.clone(),
                files: sealed()?,
                what: wish.what.clone(),
                roll_back_on_failure: wish.roll_back_on_failure,
                copy_volumes: wish.copy_volumes,
                put_back: None,
                back: None,
            };
            put(&context, old, (project, name, id), draft, batch)
        };
        let (revision, (app, changes)) = self.core.transact(mode, plan).await?;
        Ok(self.deployed(mode, revision, app, changes))
    }

    /// Changes how many instances services of an app have.
    ///
    /// # Errors
    /// `NotFound` for a service that the app does not have, `Conflict` for one that is not counted.
    pub async fn scale(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        counts: &BTreeMap<String, u32>,
        mode: Mode,
    ) -> Result<Deployed> {
        let app = self.own(caller, project, name)?;
        let mut kept = self.kept(&app, app.spec.revision).await?;
        for (service, count) in counts {
            scale_one(&mut kept.objects, service, *count).map_err(|error| {
                error.next(format!("`hull app show {name}` tells its services"))
            })?;
        }
        let words: Vec<_> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
        self.take(caller, &app, kept, None, format!("scale {}", words.join(" ")), mode).await
    }

    /// Takes a revision of an app again: that of this number, or the last before the present one that
    /// did not fail. With its volumes as they were when it was left, where that is wanted.
    ///
    /// # Errors
    /// `NotFound` for a revision that is not kept, `Conflict` when there is none to go back to, or no
    /// copies of its volumes are kept; `Unsupported` for volumes in storage that makes none.
    pub async fn roll_back(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        (to, volumes): (Option<u64>, bool),
        mode: Mode,
    ) -> Result<Deployed> {
        let app = self.own(caller, project, name)?;
        let earlier = app.status.revisions.iter().filter(|it| it.number < app.spec.revision);
        let before = earlier.filter(|it| !it.failed).map(|it| it.number).max();
        let number = to.or(before).ok_or_else(|| {
            Error::conflict(format!("{} has no earlier revision that worked", app.title()))
                .next(format!("hull app history {name}"))
        })?;
        let kept = self.kept(&app, number).await?;
        objects::stay_inside(caller, &kept.objects)?;
        let put_back = match volumes {
            true => {
                Some(self.core.read(|state| copies::put_back(state, &app, number, &kept.objects))?)
            }
            false => None,
        };
        let with = if volumes { " with its volumes" } else { "" };
        self.take(caller, &app, kept, put_back, format!("rollback to {number}{with}"), mode).await
    }

    /// Removes an app and all it made; its volumes only where that is said.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn down(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        volumes: bool,
        mode: Mode,
    ) -> Result<Deployed> {
        authorise(caller, Verb::Delete, Kind::App, project)?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<AppNoun>(state, project, name)?;
            let mut new = App::clone(old);
            new.spec.volumes_go |= volumes;
            let changes = removals(state, &new);
            if old.meta.deleted.is_none() || new != **old {
                new.meta.generation += 1;
                new = batch.delete(old, new, now, caller);
            }
            Ok((new, changes))
        };
        let (revision, (app, changes)) = self.core.transact(mode, plan).await?;
        Ok(self.deployed(mode, revision, app, changes))
    }

    /// The files that a revision of an app was made from; those of the present one when no number is
    /// given. There may be secrets in them.
    ///
    /// # Errors
    /// `NotFound` for a revision that is not kept.
    pub async fn files(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<AppFiles> {
        let app = self.own(caller, project, name)?;
        let kept = self.kept(&app, revision.unwrap_or(app.spec.revision)).await?;
        let place = revisions::files_of(&app.meta.id);
        revisions::decode(self.core.keyring.open(&place, &kept.files)?.bytes())
    }

    /// The answers that an app was made with, those that are secret among them.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for an app that is not from a template.
    pub fn answers(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
    ) -> Result<(Origin, BTreeMap<String, String>)> {
        let app = self.own(caller, project, name)?;
        let origin = app.spec.origin.clone().ok_or_else(|| {
            Error::conflict(format!("{} is not from a template", app.title()))
                .next(format!("hull app up --name {name} -f FILE"))
        })?;
        let secret = objects::answers(&self.core, &app.meta.id, &origin)?;
        Ok((origin, secret))
    }

    /// An app with all that is kept of it, for who may change it.
    fn own(&self, caller: &Caller, project: &str, name: &str) -> Result<Arc<App>> {
        authorise(caller, Verb::Update, Kind::App, project)?;
        self.core.read(|state| find::<AppNoun>(state, project, name).cloned())
    }

    async fn kept(&self, app: &App, revision: u64) -> Result<Kept> {
        revisions::read(&self.core, app, revision).await
    }

    /// Makes what was kept of a revision, or a change of it, the newest one.
    async fn take(
        &self,
        caller: &Caller,
        app: &App,
        kept: Kept,
        put_back: Option<copies::PutBack>,
        what: String,
        mode: Mode,
    ) -> Result<Deployed> {
        let id = &app.meta.id;
        let plan = |state: &State, batch: &mut Batch| {
            let context = Context { state, caller, core: &self.core, now: self.core.now() };
            let old = state.apps.by_id(id).ok_or_else(|| gone(app))?;
            let draft = Draft {
                put_back: put_back.clone(),
                ..Draft::of(kept.clone(), what.clone(), old.spec.roll_back_on_failure)
            };
            let names = (old.meta.project.as_str(), old.meta.name.as_str(), id);
            put(&context, Some(old), names, draft, batch)
        };
        let (revision, (app, changes)) = self.core.transact(mode, plan).await?;
        Ok(self.deployed(mode, revision, app, changes))
    }

    fn deployed(
        &self,
        mode: Mode,
        revision: u64,
        app: App,
        changes: Vec<AppDifference>,
    ) -> Deployed {
        let kept = self.core.read(|state| state.apps.by_id(&app.meta.id).cloned());
        let app = match (kept, mode) {
            (Some(kept), Mode::Apply) => kept,
            _ => at(app, if mode == Mode::Plan { 0 } else { revision }),
        };
        Deployed { app: AppNoun::shown(&app), changes: brief(changes) }
    }
}

fn gone(app: &App) -> Error {
    Error::not_found(format!("{} was removed", app.title()))
}

/// The next revision of an app, sealed and not written yet.
pub(crate) struct Draft {
    objects: AppObjects,
    origin: Option<Origin>,
    print: String,
    files: model::data::Sealed,
    what: String,
    roll_back_on_failure: bool,
    copy_volumes: bool,
    /// Its volumes as they were.
    put_back: Option<copies::PutBack>,
    /// The revision that failed, when it is taken back by itself.
    back: Option<u64>,
}

impl Draft {
    fn of(kept: Kept, what: String, roll_back_on_failure: bool) -> Self {
        let Kept { objects, origin, print, files } = kept;
        Self {
            objects,
            origin,
            print,
            files,
            what,
            roll_back_on_failure,
            copy_volumes: false,
            put_back: None,
            back: None,
        }
    }

    /// What was kept of an earlier revision, in the place of one that failed.
    pub(crate) fn back(kept: Kept, what: String, failed: u64) -> Self {
        Self { back: Some(failed), ..Self::of(kept, what, true) }
    }
}

/// Writes the next revision of an app, if it differs from the present one in anything.
pub(crate) fn put(
    context: &Context<'_>,
    old: Option<&Arc<App>>,
    (project, name, id): (&str, &str, &Uid),
    mut draft: Draft,
    batch: &mut Batch,
) -> Result<(App, Vec<AppDifference>)> {
    if let Some(old) = old {
        not_deleted(old)?;
    }
    let Draft { objects, origin, files, .. } = &mut draft;
    secrets::renewed(context.core, id, objects, origin.as_mut(), files)?;
    let present = present(context.state, project);
    let restored = old.map(|old| old.spec.restored.clone()).unwrap_or_default();
    let restored = copies::apply(&restored, draft.put_back.as_ref(), &mut draft.objects);
    objects::complete(context, name, old.map(|it| &**it), &mut draft.objects)?;
    let changes = differences(old.map(|it| &**it), &draft.objects, &present, Look::AsIs);
    objects::ask_again(&mut draft.objects, &changes, &present);
    let mut app =
        next(old.map(|it| &**it), (project, name, id), &draft, context.now, context.caller);
    app.spec.restored = restored;
    app.validate()?;
    objects::check(context, &app, &changes)?;
    // One that was taken back by itself and is asked for now is what is wanted.
    let same = old
        .is_some_and(|old| is_same(&old.spec, &app.spec) && old.status.rolled_back_from.is_none())
        && draft.back.is_none()
        && draft.put_back.is_none();
    if let (true, Some(old)) = (same, old) {
        return Ok((App::clone(old), changes));
    }
    let Draft { objects, origin, print, files, .. } = draft;
    let app = revisions::put(&app, Kept { objects, origin, print, files }, batch);
    let word = if old.is_some() { "update" } else { "create" };
    match old {
        Some(old) => batch.replace(old, &app),
        None => batch.create(&app),
    }
    let event = Event::new(context.now, Kind::App, word, &app.meta);
    batch.event(context.caller, event.with("revision", app.spec.revision.to_string()));
    Ok((app, changes))
}

/// The app with its next revision.
fn next(
    old: Option<&App>,
    (project, name, id): (&str, &str, &Uid),
    draft: &Draft,
    now: Time,
    by: &Caller,
) -> App {
    let mut app = old.cloned().unwrap_or_else(|| {
        let mut meta = Meta::new(project, name, id.clone(), now);
        meta.finalizers.push(OBJECTS.to_owned());
        Object::new(meta, AppSpec::default())
    });
    let number = app.status.revisions.iter().map(|it| it.number).max().unwrap_or(0) + 1;
    app.meta.generation += u64::from(old.is_some());
    app.spec.revision = number;
    app.spec.objects = draft.objects.clone();
    app.spec.files.clone_from(&draft.print);
    app.spec.origin.clone_from(&draft.origin);
    app.spec.roll_back_on_failure = draft.roll_back_on_failure;
    app.spec.copy_volumes = draft.copy_volumes;
    app.status.rolled_back_from = draft.back;
    app.status.revisions.push(AppRevision {
        number,
        made: Some(now),
        by: by.name.clone(),
        what: draft.what.clone(),
        version: draft.origin.as_ref().map(|it| it.version.clone()).unwrap_or_default(),
        failed: false,
        copies: Vec::new(),
    });
    app
}

/// Whether two revisions are of the same objects, files and answers.
fn is_same(old: &AppSpec, new: &AppSpec) -> bool {
    let objects = |spec: &AppSpec| -> Vec<(Kind, model::app::AppObject)> {
        spec.objects.all().map(|(kind, object)| (kind, object.clone())).collect()
    };
    let answers = |spec: &AppSpec| {
        spec.origin
            .as_ref()
            .map(|it| (it.version.clone(), it.answers.clone(), it.secret_answers.clone()))
    };
    old.files == new.files
        && old.roll_back_on_failure == new.roll_back_on_failure
        && answers(old) == answers(new)
        && objects(old) == objects(new)
}

fn scale_one(objects: &mut AppObjects, service: &str, count: u32) -> Result<()> {
    let found = objects.service(service).map(|it| it.object.name.clone());
    let found = objects.services.iter_mut().find(|it| Some(&it.object.name) == found.as_ref());
    let found =
        found.ok_or_else(|| Error::not_found(format!("the app has no service {service:?}")))?;
    match &mut found.spec.mode {
        Counted::Replicated { replicas } => {
            *replicas = count;
            Ok(())
        }
        Counted::Job { .. } | Counted::Global {} | Counted::Cron(_) => {
            Err(Error::conflict(format!("service {service:?} has no fixed number of instances")))
        }
    }
}

/// What goes with an app.
fn removals(state: &State, app: &App) -> Vec<AppDifference> {
    let present = present(state, &app.meta.project);
    let none = AppObjects::default();
    let mut changes = differences(Some(app), &none, &present, Look::AsIs);
    for volume in
        app.spec.objects.volumes.iter().filter(|it| app.spec.volumes_go && !it.object.external)
    {
        let there = state.volumes.by_name(&app.meta.project, &volume.object.name);
        if there.is_some_and(|it| planner::app::taken(app, Kind::Volume, &it.meta).is_none()) {
            changes.push(AppDifference {
                kind: Kind::Volume,
                key: volume.object.key.clone(),
                name: volume.object.name.clone(),
                action: AppAction::Remove,
                reasons: Vec::new(),
            });
        }
    }
    changes.iter_mut().for_each(|change| change.reasons.clear());
    changes
}

/// Leaves out the removal of what another object takes the place of: it is told once.
fn brief(changes: Vec<AppDifference>) -> Vec<AppDifference> {
    let replaced: Vec<(Kind, String)> = changes
        .iter()
        .filter(|it| it.action == AppAction::Replace)
        .map(|it| (it.kind, it.key.clone()))
        .collect();
    let told = |change: &AppDifference| {
        change.action != AppAction::Remove || !replaced.contains(&(change.kind, change.key.clone()))
    };
    changes.into_iter().filter(told).collect()
}
