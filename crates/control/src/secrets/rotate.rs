//! Another key: all that is secret is sealed anew with it, and the old ones are forgotten.
//!
//! The new key is on the disk before anything is sealed with it, and old ones are there until nothing is
//! sealed with them. So whoever is killed in between loses nothing, and the next call goes on: where there
//! is more than one key, the newest is the one to be changed to.

use bytes::Bytes;
use faults::may_die;
use model::app::{App, AppObjects, Origin};
use model::data::Sealed;
use model::instance::Reach;
use model::secret::{Secret, SecretNoun};
use model::{Error, Kind, Result, Uid};
use store::{Commit, Expect, RangeRequest, Record};

use super::place;
use crate::apps::revisions::{self, Kept};
use crate::apps::{place_of, place_of_answers};
use crate::batch::Batch;
use crate::caller::{Caller, Verb, authorise, stay_inside};
use crate::core::{Core, Mode};
use crate::keyring::Keyring;
use crate::mirror::State;
use crate::service::Service;
use crate::{failure, keys};

/// Records of revisions that are looked at together; there may be a MiB in each.
const PAGE: usize = 16;

/// What came of a change of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals now.
    pub key: String,
    /// How many records were sealed anew.
    pub sealed: usize,
    /// How many cannot be read, as their key was lost before; they are as they were.
    pub unreadable: usize,
    /// Keys that are gone.
    pub forgotten: Vec<String>,
}

impl Service<SecretNoun> {
    /// Makes another key, seals all that is secret anew with it, and forgets the old keys.
    ///
    /// # Errors
    /// `Forbidden` for who is no admin; `Conflict` while somebody else does so; `Internal` for what was changed since it was sealed, and the
    /// old keys stay then.
    pub async fn rotate(&self, caller: &Caller) -> Result<Rotated> {
        authorise(caller, Verb::Update, Kind::Secret, "")?;
        // It is the secrets of all projects.
        let what = "another key of all secrets";
        stay_inside(caller, Some(Reach { field: String::new(), what }))?;
        let core = &self.core;
        let _alone = core.keyring.alone().ok_or_else(|| {
            Error::conflict("the key is being changed at this moment").next("wait for its end")
        })?;
        if core.keyring.is_single() {
            core.keyring.add(&core.random)?;
            may_die("keys.added");
        }
        // What was begun with an older key is over then; what begins now seals with the newest.
        core.wait_for_changes().await;
        let mut done = Rotated { key: core.keyring.newest(), ..Rotated::default() };
        secrets(core, &mut done).await?;
        apps(core, &mut done).await?;
        kept(core, &mut done).await?;
        may_die("keys.sealed");
        done.forgotten = core.keyring.forget_older()?;
        may_die("keys.forgotten");
        tracing::info!(key = done.key, sealed = done.sealed, "secrets are sealed with another key");
        Ok(done)
    }
}

/// What is to be done about a sealed text.
enum Sealing {
    /// Nothing: it is sealed with the newest key.
    Good,
    /// It was sealed anew.
    Anew,
    /// Nobody has its key, or not any more.
    Lost { forgotten: bool },
}

/// Seals it anew, where that is to be done.
fn reseal(keyring: &Keyring, of: &str, sealed: &mut Sealed) -> Result<Sealing> {
    if sealed.key == keyring.newest() {
        return Ok(Sealing::Good);
    }
    if !keyring.has_key_of(sealed) {
        return Ok(Sealing::Lost { forgotten: keyring.has_forgotten(sealed) });
    }
    let opened = keyring.open(of, sealed)?;
    *sealed = keyring.seal(of, opened.bytes())?;
    Ok(Sealing::Anew)
}

/// What came of the texts of one record.
#[derive(Default)]
struct Texts {
    anew: usize,
    lost: usize,
    forgotten: bool,
}

impl Texts {
    fn add(&mut self, keyring: &Keyring, of: &str, sealed: &mut Sealed) -> Result<()> {
        match reseal(keyring, of, sealed)? {
            Sealing::Good => {}
            Sealing::Anew => self.anew += 1,
            Sealing::Lost { forgotten } => {
                self.lost += 1;
                self.forgotten |= forgotten;
            }
        }
        Ok(())
    }

    fn app(
        &mut self,
        keyring: &Keyring,
        id: &Uid,
        objects: &mut AppObjects,
        origin: Option<&mut Origin>,
    ) -> Result<()> {
        for secret in &mut objects.secrets {
            let place = place_of(id, &secret.object.name);
            if let Some(sealed) = &mut secret.spec.sealed {
                self.add(keyring, &place, sealed)?;
            }
        }
        if let Some(sealed) = origin.and_then(|origin| origin.sealed.as_mut()) {
            self.add(keyring, &place_of_answers(id), sealed)?;
        }
        Ok(())
    }

    fn count(&self, done: &mut Rotated) {
        done.sealed += usize::from(self.anew > 0);
        done.unreadable += usize::from(self.lost > 0);
    }
}

async fn secrets(core: &Core, done: &mut Rotated) -> Result<()> {
    let ids: Vec<Uid> =
        core.read(|state| state.secrets.iter().map(|it| it.meta.id.clone()).collect());
    for id in ids {
        let plan = |state: &State, batch: &mut Batch| {
            let mut texts = Texts::default();
            let Some(old) = state.secrets.by_id(&id) else { return Ok(texts) };
            let mut new = Secret::clone(old);
            if let Some(sealed) = &mut new.spec.sealed {
                texts.add(&core.keyring, &place(&id), sealed)?;
            }
            if texts.anew > 0 {
                batch.replace(old, &new);
            }
            Ok(texts)
        };
        core.transact(Mode::Apply, plan).await?.1.count(done);
        may_die("keys.secret");
    }
    Ok(())
}

async fn apps(core: &Core, done: &mut Rotated) -> Result<()> {
    let ids: Vec<Uid> = core.read(|state| state.apps.iter().map(|it| it.meta.id.clone()).collect());
    for id in ids {
        let plan = |state: &State, batch: &mut Batch| {
            let mut texts = Texts::default();
            let Some(old) = state.apps.by_id(&id) else { return Ok(texts) };
            let mut new = App::clone(old);
            texts.app(&core.keyring, &id, &mut new.spec.objects, new.spec.origin.as_mut())?;
            if texts.anew > 0 {
                batch.replace(old, &new);
            }
            Ok(texts)
        };
        core.transact(Mode::Apply, plan).await?.1.count(done);
        may_die("keys.app");
    }
    Ok(())
}

/// What is kept of all revisions of apps.
async fn kept(core: &Core, done: &mut Rotated) -> Result<()> {
    let mut request = RangeRequest::prefix(keys::APP_REVISIONS).limit(PAGE);
    loop {
        let page = core.store.range(request.clone()).await.map_err(failure::of_store)?.records;
        let Some(last) = page.last().map(|record| record.key.clone()) else { return Ok(()) };
        for record in page {
            one(core, record, done).await?;
            may_die("keys.revision");
        }
        request = request.after(&last);
    }
}

/// One record of a revision. It is written once and never changed, but it may be forgotten meanwhile.
async fn one(core: &Core, record: Record, done: &mut Rotated) -> Result<()> {
    let Some((id, part)) = keys::parse_app_revision(&record.key) else { return Ok(()) };
    let (keyring, mut texts) = (&core.keyring, Texts::default());
    let value = if part == keys::FILES {
        let mut files: Sealed = revisions::decode(&record.value)?;
        texts.add(keyring, &revisions::files_of(&id), &mut files)?;
        revisions::encode(&files)
    } else {
        let mut kept: Kept = revisions::decode(&record.value)?;
        texts.app(keyring, &id, &mut kept.objects, kept.origin.as_mut())?;
        revisions::encode(&kept)
    };
    texts.count(done);
    if texts.anew == 0 {
        return Ok(());
    }
    let commit = Commit::default()
        .expect(Expect::modified_at(&record.key, record.modified))
        .put(record.key, Bytes::from(value));
    match core.store.commit(commit).await {
        Ok(_) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(failure::of_store(error)),
    }
}

/// Has what was read before keys were changed carry none that is forgotten: it is sealed with the newest.
///
/// # Errors
/// `Conflict` when its key was forgotten since.
pub(crate) fn renewed(
    core: &Core,
    id: &Uid,
    objects: &mut AppObjects,
    origin: Option<&mut Origin>,
    files: &mut Sealed,
) -> Result<()> {
    let mut texts = Texts::default();
    texts.app(&core.keyring, id, objects, origin)?;
    texts.add(&core.keyring, &revisions::files_of(id), files)?;
    if texts.forgotten {
        return Err(
            Error::conflict("the key of secrets was changed at this moment").next("try again")
        );
    }
    Ok(())
}
