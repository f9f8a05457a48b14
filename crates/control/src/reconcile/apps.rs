//! Brings about what apps consist of, one object a pass, as `planner::app` says.
//!
//! Nothing is remembered between passes but what stands in records: a platform that dies in the middle
//! goes on after its next start where it was.

use std::sync::Arc;
use std::time::Duration;

use faults::may_die;
use model::app::{App, AppAction, AppNoun, AppObject, AppObjects, AppPhase, DIGEST, VolumeCopy};
use model::config::ConfigNoun;
use model::event::Event;
use model::instance::Reason;
use model::meta::{Labels, Owner};
use model::network::NetworkNoun;
use model::secret::{SecretNoun, SecretSpec};
use model::service::{ServiceNoun, ServiceSpec};
use model::volume::{Snapshot, SnapshotNoun, SnapshotSpec, VolumeNoun};
use model::{Error, ErrorKind, Kind, Meta, Noun, Result, Uid};
use planner::app::{Act, Step, is_gone, step};
use tasks::Pass;
use tokio::task::JoinSet;

use super::removal::release;
use crate::apps::copies::{self, Next};
use crate::apps::revisions;
use crate::apps::{self, Draft, OBJECTS, present};
use crate::batch::Batch;
use crate::caller::Caller;
use crate::core::{Core, Mode};
use crate::mirror::State;
use crate::service::{Context, New, Rules, Service};

/// The code of what keeps an object from being made.
const REFUSED: &str = "ObjectRefused";
/// How soon what was refused is tried again.
const AGAIN: Duration = Duration::from_secs(3);

/// The loop.
pub(crate) struct Apps {
    core: Arc<Core>,
    /// What asks for a pass when something was refused; one at most.
    timer: JoinSet<()>,
}

impl Apps {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, timer: JoinSet::new() }
    }

    fn look_again(&mut self, refused: bool) {
        self.timer.abort_all();
        if refused {
            let wake = self.core.wakes.apps.clone();
            self.timer.spawn(async move {
                tokio::time::sleep(AGAIN).await;
                wake.wake();
            });
        }
    }
}

impl Pass for Apps {
    const NAME: &'static str = "apps";

    async fn pass(&mut self) -> Result<String> {
        let all: Vec<Uid> =
            self.core.read(|state| state.apps.iter().map(|it| it.meta.id.clone()).collect());
        let (mut done, mut refused) = (0, false);
        for id in all {
            match self.one(&id).await {
                Ok(acted) => done += usize::from(acted),
                Err(error) if error.kind() != ErrorKind::Unavailable => {
                    refused = true;
                    self.refused(&id, &error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        if done > 0 {
            self.core.wakes.apps.wake();
        }
        self.look_again(refused);
        Ok(if done == 0 { String::new() } else { format!("{done} objects brought about") })
    }
}

impl Apps {
    /// Does the next thing for an app; whether there was one.
    async fn one(&self, id: &Uid) -> Result<bool> {
        let plan = |state: &State, batch: &mut Batch| Ok(write(state, batch, &self.core, id));
        let (_, next) = self.core.transact(Mode::Apply, plan).await?;
        may_die("app.written");
        let Some((app, step)) = next else { return Ok(false) };
        if let Some(number) = step.roll_back {
            self.roll_back(&app, number).await?;
            return Ok(true);
        }
        let Some(act) = step.act else { return Ok(false) };
        tracing::debug!(app = app.meta.name, kind = %act.kind, name = act.name, "acts");
        self.act(&app, &act).await?;
        may_die("app.acted");
        Ok(true)
    }

    /// Takes an app back to a revision that worked.
    async fn roll_back(&self, app: &App, number: u64) -> Result<()> {
        let kept = revisions::read(&self.core, app, number).await?;
        let by = Caller::platform();
        let plan = |state: &State, batch: &mut Batch| {
            let Some(old) = state.apps.by_id(&app.meta.id) else { return Ok(()) };
            // Somebody asked for something else meanwhile.
            if old.spec.revision != app.spec.revision || old.meta.deleted.is_some() {
                return Ok(());
            }
            let failed = old.spec.revision;
            let what = format!("revision {failed} failed: taken back to {number}");
            let context = Context { state, caller: &by, core: &self.core, now: self.core.now() };
            let names = (old.meta.project.as_str(), old.meta.name.as_str(), &old.meta.id);
            apps::put(&context, Some(old), names, Draft::back(kept.clone(), what, failed), batch)
                .map(drop)
        };
        self.core.transact(Mode::Apply, plan).await.map(drop)
    }

    async fn act(&self, app: &App, act: &Act) -> Result<()> {
        let (objects, name) = (&app.spec.objects, act.name.as_str());
        match (act.kind, act.action) {
            (Kind::Network, AppAction::Remove) => self.remove::<NetworkNoun>(app, name).await,
            (Kind::Volume, AppAction::Remove) => self.remove::<VolumeNoun>(app, name).await,
            (Kind::Secret, AppAction::Remove) => self.remove::<SecretNoun>(app, name).await,
            (Kind::Config, AppAction::Remove) => self.remove::<ConfigNoun>(app, name).await,
            (Kind::Service, AppAction::Remove) => self.remove::<ServiceNoun>(app, name).await,
            (Kind::Snapshot, AppAction::Remove) => self.remove::<SnapshotNoun>(app, name).await,
            (Kind::Network, _) => self.network(app, objects, name).await,
            (Kind::Volume, _) => self.volume(app, objects, name).await,
            (Kind::Secret, _) => {
                let secret = objects.secrets.iter().find(|it| it.object.name == name);
                let secret = secret.ok_or_else(|| lost(act))?;
                let value = apps::open(&self.core, app, name)?;
                let spec = SecretSpec::new(value.bytes());
                self.make::<SecretNoun>(app, &secret.object, spec, true).await
            }
            (Kind::Config, _) => {
                let config = objects.configs.iter().find(|it| it.object.name == name);
                let config = config.ok_or_else(|| lost(act))?;
                self.make::<ConfigNoun>(app, &config.object, config.spec.clone(), true).await
            }
            (Kind::Service, _) => self.service(app, objects, name).await,
            (
                Kind::App
                | Kind::Catalog
                | Kind::Event
                | Kind::Image
                | Kind::Instance
                | Kind::Node
                | Kind::Operation
                | Kind::Project
                | Kind::Snapshot
                | Kind::Token
                | Kind::User,
                _,
            ) => Err(lost(act)),
        }
    }

    async fn network(&self, app: &App, objects: &AppObjects, name: &str) -> Result<()> {
        let Some(wanted) = objects.networks.iter().find(|it| it.object.name == name) else {
            return Ok(());
        };
        let there = self.there::<NetworkNoun>(app, name);
        match there {
            None => self.make::<NetworkNoun>(app, &wanted.object, wanted.spec.clone(), true).await,
            Some(there) => {
                let spec = planner::app::network_spec(&wanted.spec, &there);
                self.change::<NetworkNoun>(app, &wanted.object, there.meta.revision, |it| {
                    *it = spec.clone()
                })
                .await
            }
        }
    }

    async fn volume(&self, app: &App, objects: &AppObjects, name: &str) -> Result<()> {
        let Some(wanted) = objects.volumes.iter().find(|it| it.object.name == name) else {
            return Ok(());
        };
        match self.there::<VolumeNoun>(app, name) {
            // It outlives the app unless somebody says otherwise.
            None => self.make::<VolumeNoun>(app, &wanted.object, wanted.spec.clone(), false).await,
            Some(there) => {
                let spec = planner::app::volume_spec(&wanted.spec, &there);
                self.change::<VolumeNoun>(app, &wanted.object, there.meta.revision, |it| {
                    *it = spec.clone()
                })
                .await
            }
        }
    }

    async fn service(&self, app: &App, objects: &AppObjects, name: &str) -> Result<()> {
        let Some(wanted) = objects.services.iter().find(|it| it.object.name == name) else {
            return Ok(());
        };
        let Some(there) = self.there::<ServiceNoun>(app, name) else {
            return self.make::<ServiceNoun>(app, &wanted.object, wanted.spec.clone(), true).await;
        };
        let edit = |spec: &mut ServiceSpec| {
            let mut new = wanted.spec.clone();
            // What is said by verbs of the service's own stays.
            new.paused = spec.paused;
            new.resumed = spec.resumed;
            new.template.renewed = spec.template.renewed;
            *spec = new;
        };
        self.change::<ServiceNoun>(app, &wanted.object, there.meta.revision, edit).await
    }

    fn there<N: Rules>(&self, app: &App, name: &str) -> Option<Arc<model::Object<N>>> {
        self.core.read(|state| N::table(state).by_name(&app.meta.project, name).cloned())
    }

    async fn make<N: Rules>(
        &self,
        app: &App,
        object: &AppObject,
        spec: N::Spec,
        owned: bool,
    ) -> Result<()> {
        let owner = Owner { kind: Kind::App, id: app.meta.id.clone(), name: app.meta.name.clone() };
        let new = New::<N> {
            name: Some(object.name.clone()),
            labels: object.labels.clone(),
            annotations: digest(object),
            spec,
            owner: owned.then_some(owner),
        };
        let (id, by) = (self.core.new_id(), Caller::platform());
        let service = Service::<N>::new(self.core.clone());
        service.create_as(id, &by, &app.meta.project, new, Mode::Apply).await.map(drop)
    }

    async fn change<N: Rules>(
        &self,
        app: &App,
        object: &AppObject,
        revision: u64,
        edit: impl Fn(&mut N::Spec),
    ) -> Result<()> {
        let service = Service::<N>::new(self.core.clone());
        let edit = |(labels, annotations, spec): crate::Editable<'_, N>| {
            labels.clone_from(&object.labels);
            annotations.extend(digest(object));
            edit(spec);
            Ok(())
        };
        let (by, project) = (Caller::platform(), &app.meta.project);
        service
            .update(&by, project, &object.name, Some(revision), edit, Mode::Apply)
            .await
            .map(drop)
    }

    async fn remove<N: Rules>(&self, app: &App, name: &str) -> Result<()> {
        let service = Service::<N>::new(self.core.clone());
        let (by, project) = (Caller::platform(), &app.meta.project);
        match service.delete(&by, project, name, None, Mode::Apply).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Writes why an app cannot go on. What a change of it alone could mend has it fail.
    async fn refused(&self, id: &Uid, error: &Error) -> Result<()> {
        let reason = Some(Reason { code: REFUSED.into(), ..Reason::from_error(REFUSED, error) });
        let for_good = match error.kind() {
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::Unsupported
            | ErrorKind::Forbidden
            | ErrorKind::Unauthenticated
            | ErrorKind::Internal => true,
            ErrorKind::Conflict | ErrorKind::Exhausted | ErrorKind::Unavailable => false,
        };
        let plan = |state: &State, batch: &mut Batch| {
            let Some(old) = state.apps.by_id(id) else { return Ok(()) };
            let mut new = App::clone(old);
            new.status.reason.clone_from(&reason);
            if for_good && new.status.phase == AppPhase::Deploying {
                new.status.phase = AppPhase::Failed;
            }
            if new != **old {
                batch.replace(old, &new);
            }
            Ok(())
        };
        self.core.transact(Mode::Apply, plan).await.map(drop)
    }
}

fn digest(object: &AppObject) -> Labels {
    Labels::from([(DIGEST.to_owned(), object.digest.clone())])
}

fn lost(act: &Act) -> Error {
    Error::internal(format!("an app wants {} {:?} and does not have it", act.kind, act.name))
}

/// Works out what an app needs next, and writes how far it is.
fn write(state: &State, batch: &mut Batch, core: &Core, id: &Uid) -> Option<(App, Step)> {
    let old = state.apps.by_id(id)?;
    let present = present(state, &old.meta.project);
    if old.meta.deleted.is_some() && is_gone(old, &present) {
        old.status.revisions.iter().for_each(|it| revisions::forget(id, it.number, batch));
        forget_copies(state, old, core.now(), batch);
        release(old, OBJECTS, core.now(), batch);
        return None;
    }
    let mut step = step(old, &present);
    let mut new = App::clone(old);
    new.status = step.status.clone();
    // What was refused is said until it could be done: two words in turns would be a change each time.
    let refused = old.status.reason.as_ref().is_some_and(|reason| reason.code == REFUSED);
    if refused
        && step.act.is_some()
        && old.status.observed_generation == new.status.observed_generation
    {
        new.status.reason.clone_from(&old.status.reason);
        new.status.phase = old.status.phase;
        // What can never be made has failed as one that never gets ready has.
        step.roll_back = planner::app::roll_back(old, &new.status);
        if step.roll_back.is_some() {
            fail(&mut new);
        }
    }
    if step.act.is_some() && new.meta.deleted.is_none() {
        before_it((state, core), old, &mut new, &mut step, batch);
    } else if let Some(snapshot) = copies::surplus(state, old) {
        step.act = Some(Act {
            action: AppAction::Remove,
            kind: Kind::Snapshot,
            name: snapshot.meta.name.clone(),
        });
    }
    if new.status.phase != old.status.phase {
        let event = Event::new(core.now(), AppNoun::KIND, new.status.phase.as_str(), &new.meta);
        // A removal is by who asked for it; all else that an app becomes, it becomes by itself.
        batch.removal(event, &new.meta);
    }
    if new != **old {
        batch.replace(old, &new);
    }
    Some((new, step))
}

/// Has the volumes copied before anything else is done for a revision.
fn before_it(
    (state, core): (&State, &Core),
    old: &App,
    new: &mut App,
    step: &mut Step,
    batch: &mut Batch,
) {
    match copies::next(state, old) {
        Next::Nothing => {}
        Next::Taken(found) => copies::note(new, found),
        Next::Take(missing) => {
            // In one change, so that a node hears of all of them at once.
            let mut missing = missing.iter();
            match missing.try_for_each(|copy| copy_volume((state, core), old, copy, batch)) {
                Ok(()) => {
                    step.act = None;
                    let message = "its volumes are copied before they are changed";
                    new.status.reason = Some(Reason::new("VolumesAreCopied", message));
                }
                Err(error) => {
                    without_copies(old, new, step, Reason::from_error("VolumesNotCopied", &error));
                }
            }
        }
        Next::Wait(reason) => {
            step.act = None;
            new.status.reason = Some(reason);
        }
        Next::Failed(reason) => without_copies(old, new, step, reason),
    }
}

/// Has a revision fail whose volumes cannot be copied, before anything is changed.
fn without_copies(old: &App, new: &mut App, step: &mut Step, reason: Reason) {
    step.act = None;
    new.status.reason = Some(reason);
    new.status.phase = AppPhase::Failed;
    fail(new);
    step.roll_back = planner::app::roll_back(old, &new.status);
}

/// Asks for the copy of a volume.
fn copy_volume(
    (state, core): (&State, &Core),
    app: &App,
    copy: &VolumeCopy,
    batch: &mut Batch,
) -> Result<()> {
    let (now, by) = (core.now(), Caller::platform());
    let group = format!("{}-{}", app.meta.id, app.spec.revision);
    let spec =
        SnapshotSpec { volume: copy.volume.clone(), group: Some(group), ..SnapshotSpec::default() };
    let meta = Meta::new(&app.meta.project, &copy.snapshot, core.new_id(), now);
    let mut snapshot = Snapshot::new(meta, spec);
    snapshot.meta.labels = Labels::from([
        (model::app::APP.to_owned(), app.meta.name.clone()),
        (model::app::KEY.to_owned(), copy.key.clone()),
    ]);
    snapshot.meta.owner =
        Some(Owner { kind: Kind::App, id: app.meta.id.clone(), name: app.meta.name.clone() });
    snapshot.validate()?;
    SnapshotNoun::admit(&Context { state, caller: &by, core, now }, &mut snapshot, batch)?;
    batch.create(&snapshot);
    batch.event(&by, Event::new(now, Kind::Snapshot, "create", &snapshot.meta));
    Ok(())
}

/// Writes that the present revision failed.
fn fail(app: &mut App) {
    let revision = app.spec.revision;
    if let Some(entry) = app.status.revisions.iter_mut().find(|it| it.number == revision) {
        entry.failed = true;
    }
}

/// Copies of an app's volumes go with it: nobody can go back any more.
fn forget_copies(state: &State, app: &App, now: model::Time, batch: &mut Batch) {
    let own = state.snapshots.in_project(&app.meta.project);
    for snapshot in own.filter(|it| model::app::is_of(&it.meta, &app.meta.id)) {
        if snapshot.meta.deleted.is_none() {
            batch.delete(snapshot, model::Object::clone(snapshot), now, &Caller::platform());
        }
    }
}
