//! Secrets: data that its instances read, and nobody else. Records have it sealed; callers never see it.

mod rotate;

use std::sync::Arc;

use model::data::{Data, Sealed};
use model::secret::{Secret, SecretNoun};
use model::{Error, Result, Uid};

use crate::batch::Batch;
use crate::core::Core;
use crate::handed;
use crate::keyring::Keyring;
use crate::mirror::State;
use crate::service::{Context, Rules, Service};

pub use rotate::Rotated;
pub(crate) use rotate::renewed;

/// The verbs of secrets. Nobody is shown the value of one.
pub type Secrets = Service<SecretNoun>;

impl Rules for SecretNoun {
    const SHOWN_WHOLE: bool = false;

    fn shown(secret: &Arc<Secret>) -> Arc<Secret> {
        let mut secret = Secret::clone(secret);
        secret.spec.data = Data::default();
        secret.spec.sealed = None;
        Arc::new(secret)
    }

    fn admit(context: &Context<'_>, secret: &mut Secret, _: &mut Batch) -> Result<()> {
        let data = std::mem::take(&mut secret.spec.data);
        if data.is_empty() {
            return Err(Error::invalid("a secret has a value").at("spec.data"));
        }
        secret.spec.size = data.len() as u64;
        secret.spec.sealed = Some(seal(context.core, &secret.meta.id, &data)?);
        Ok(())
    }

    fn change(context: &Context<'_>, old: &Secret, new: &mut Secret, _: &mut Batch) -> Result<()> {
        if old.spec != new.spec {
            return Err(handed::unchanging(old, "spec.data"));
        }
        handed::check_rename(context, old, &new.meta.name)
    }

    fn delete(context: &Context<'_>, secret: &mut Secret, _: &mut Batch) -> Result<()> {
        handed::check_unused(context, secret)
    }
}

/// What cannot be read because its key is not in the keyring, in a sentence; none when all can.
pub(crate) fn unreadable(state: &State, keyring: &Keyring) -> Option<String> {
    let lost = |sealed: &Option<Sealed>| sealed.as_ref().is_some_and(|it| !keyring.has_key_of(it));
    let secrets = state.secrets.iter().filter(|it| lost(&it.spec.sealed)).map(|it| it.title());
    let apps = state
        .apps
        .iter()
        .filter(|it| it.spec.origin.as_ref().is_some_and(|origin| lost(&origin.sealed)));
    let all: Vec<String> = secrets.chain(apps.map(|it| it.title())).collect();
    let first = all.first()?;
    let others = match all.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    Some(format!(
        "{first}{others} cannot be read: their key is not in secret.keys; put the lines of its copy \
         back and start hull again, or make them anew"
    ))
}

fn place(id: &Uid) -> String {
    format!("secret/{id}")
}

fn seal(core: &Core, id: &Uid, data: &Data) -> Result<Sealed> {
    core.keyring.seal(&place(id), data.bytes())
}

/// The value of a secret.
///
/// # Errors
/// `Unavailable` when the key that it was sealed with is not there.
pub(crate) fn open(core: &Core, secret: &Secret) -> Result<Data> {
    let sealed = secret.spec.sealed.as_ref().ok_or_else(|| {
        Error::internal(format!("{} has no value", secret.title())).next("make it anew")
    })?;
    core.keyring.open(&place(&secret.meta.id), sealed).map_err(|error| {
        let next = error.next_step().unwrap_or_default().to_owned();
        Error::new(error.kind(), format!("{} cannot be read", secret.title()))
            .next(next)
            .caused_by(error)
    })
}
