//! Users: people who sign in with a password, and what they may do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use model::event::Event;
use model::name::MAX_NAME;
use model::role::Grant;
use model::user::{MOST_PASSWORD, User, UserNoun, check_password};
use model::{Error, Kind, Object, Result, Time, Uid};
use tokio::sync::{Semaphore, watch};

use crate::batch::Batch;
use crate::caller::{Caller, Verb, Via, authorise};
use crate::control::Control;
use crate::core::{Core, Mode};
use crate::mirror::State;
use crate::service::{Context, Rules, Service, find, find_for};
use crate::tokens::{self, Proof};

/// The verbs of users. Nobody is shown what a password is kept as.
pub type Users = Service<UserNoun>;

/// Passwords that are hashed at once: each takes 19 MiB for as long.
const AT_ONCE: usize = 2;
/// Wrong passwords for one name before it has to wait.
const FREE_TRIES: u32 = 5;
/// Passwords that wait to be hashed; beyond it nobody is let wait.
const WAITING: usize = 32;
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Names whose wrong tries are remembered; beyond it the one is forgotten that was tried longest ago.
const REMEMBERED: usize = 1024;

impl Rules for UserNoun {
    const SHOWN_WHOLE: bool = false;
    const OWNED: bool = true;

    fn own(caller: &Caller, verb: Verb, user: &User) -> bool {
        verb == Verb::Get && !caller.user.is_empty() && caller.user == user.meta.name
    }

    fn shown(user: &Arc<User>) -> Arc<User> {
        let mut user = User::clone(user);
        user.spec.password.clear();
        Arc::new(user)
    }

    fn admit(context: &Context<'_>, user: &mut User, _: &mut Batch) -> Result<()> {
        if !user.spec.password.is_empty() {
            return Err(Error::invalid("a password is set by a request of its own")
                .at("spec.password")
                .next("leave it out; then `hull user password NAME`"));
        }
        check_projects(context.state, &user.spec.roles)
    }

    fn change(context: &Context<'_>, old: &User, new: &mut User, batch: &mut Batch) -> Result<()> {
        // Callers never saw it, so what they give back is not one.
        new.spec.password.clone_from(&old.spec.password);
        if old.spec.roles != new.spec.roles {
            check_projects(context.state, &new.spec.roles)?;
        }
        if old.meta.name != new.meta.name {
            for token in context.state.tokens.iter() {
                if token.spec.user == old.meta.name {
                    let mut renamed = Object::clone(token);
                    renamed.spec.user.clone_from(&new.meta.name);
                    batch.replace(token, &renamed);
                }
            }
        }
        Ok(())
    }

    fn delete(context: &Context<'_>, user: &mut User, batch: &mut Batch) -> Result<()> {
        // Whoever has this name next must not find tokens of somebody else's that are worth their roles.
        for token in context.state.tokens.iter() {
            if token.spec.user == user.meta.name {
                batch.delete(token, Object::clone(token), context.now, context.caller);
            }
        }
        Ok(())
    }
}

impl Users {
    /// Sets a user's password: an admin that of anybody, everybody their own, who then has to give the present
    /// one. Whoever signed in with the one before is signed out.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for one that is no password; `Forbidden` when the present one is not given.
    pub async fn set_password(
        &self,
        caller: &Caller,
        name: &str,
        present: Option<&str>,
        password: &str,
    ) -> Result<Arc<User>> {
        let user = self
            .core
            .read(|state| find_for::<UserNoun>(state, caller, Verb::Get, "", name).cloned())?;
        let own = caller.user == user.meta.name;
        if own && caller.via == Via::Token && !caller.is_admin() {
            return Err(Error::forbidden("a token does not change its user's password")
                .next("sign in with the password, or ask an admin"));
        }
        if !own {
            authorise(caller, Verb::Update, Kind::User, "")?;
        } else if !user.spec.password.is_empty() {
            let present = present.filter(|it| it.len() <= MOST_PASSWORD).unwrap_or_default();
            let present = present.to_owned();
            if self
                .core
                .passwords
                .verify(&user.meta.name, &user.spec.password, present, &self.core)
                .await
                .is_err()
            {
                return Err(Error::forbidden("the present password is not right")
                    .at("present")
                    .next("give the one you sign in with, or ask an admin to set another"));
            }
        }
        check_password(password)?;
        let kept = self.core.passwords.hash(password.to_owned(), self.core.random.bytes()).await?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<UserNoun>(state, "", user.meta.id.as_str())?;
            if own && (old.spec.password != user.spec.password || old.spec.disabled) {
                return Err(Error::conflict("somebody else changed the password meanwhile")
                    .next("sign in again"));
            }
            let mut new = User::clone(old);
            new.spec.password.clone_from(&kept);
            new.status.has_password = true;
            new.meta.generation += 1;
            batch.replace(old, &new);
            batch.event(caller, Event::new(now, Kind::User, "password", &new.meta));
            Ok(new)
        };
        let outcome = self.core.transact(Mode::Apply, plan).await?;
        self.changed(Mode::Apply, outcome)
    }
}

/// Hears of changes of tokens and users, by which somebody may be no longer who they were.
pub struct Credentials {
    tokens: watch::Receiver<u64>,
    users: watch::Receiver<u64>,
}

impl Credentials {
    /// Waits for a change since the last one that was waited for; for ever when control is gone.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.tokens.changed() => changed,
            changed = self.users.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending().await
        }
    }
}

impl Control {
    /// Changes of tokens and users from now on.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.core.read(|state| Credentials {
            tokens: state.tokens.subscribe(),
            users: state.users.subscribe(),
        })
    }

    /// Who has this name and password, `from` being where they come from: who guesses there has to wait, and
    /// nobody elsewhere. And what [`Control::accept`] takes later in their place.
    ///
    /// # Errors
    /// `Unauthenticated` for a wrong name or password, without telling which; `Exhausted` when wrong ones were
    /// given too often of late.
    pub async fn sign_in(&self, name: &str, password: &str, from: &str) -> Result<(Caller, Proof)> {
        // What nobody could have is not worth the work of hashing it.
        if name.len() > MAX_NAME || password.len() > MOST_PASSWORD {
            return Err(refused());
        }
        let user = self.core.read(|state| state.users.by_name("", name).cloned());
        let kept = user.as_ref().map_or_else(String::new, |user| user.spec.password.clone());
        let source = format!("{name} {from}");
        self.core.passwords.verify(&source, &kept, password.to_owned(), &self.core).await?;
        let user = user.ok_or_else(refused)?;
        check_enabled(&user)?;
        let hash = tokens::hash(&kept);
        Ok((Caller::user(&user), Proof::Password { user: user.meta.id.clone(), hash }))
    }

    pub(crate) fn accept_password(&self, user: &Uid, hash: &str) -> Result<Caller> {
        let found = self.core.read(|state| state.users.by_id(user).cloned());
        let user = found.filter(|user| tokens::same(&tokens::hash(&user.spec.password), hash));
        let user = user.ok_or_else(|| {
            Error::unauthenticated("the user is gone, or has another password now")
                .next("sign in again")
        })?;
        check_enabled(&user)?;
        Ok(Caller::user(&user))
    }
}

/// Refuses a user who may do nothing for now.
pub(crate) fn check_enabled(user: &User) -> Result<()> {
    if !user.spec.disabled {
        return Ok(());
    }
    Err(Error::unauthenticated(format!("{} is disabled", user.title()))
        .next("ask an admin: hull user update --enable NAME"))
}

/// Refuses a role in a project that is not there.
pub(crate) fn check_projects(state: &State, roles: &[Grant]) -> Result<()> {
    for (index, grant) in roles.iter().enumerate().filter(|(_, grant)| !grant.project.is_empty()) {
        crate::service::project_exists(state, &grant.project)
            .map_err(|error| error.at(format!("spec.roles.{index}.project")))?;
    }
    Ok(())
}

/// Follows a project to another name, or to none: a project that has the name later is another one.
pub(crate) fn follow_project(
    context: &Context<'_>,
    project: &str,
    renamed: Option<&str>,
    batch: &mut Batch,
) {
    let moved = |roles: &[Grant]| -> Option<Vec<Grant>> {
        roles.iter().any(|grant| grant.project == project).then(|| {
            let others = roles.iter().filter(|it| renamed.is_some() || it.project != project);
            let mut roles: Vec<Grant> = others.cloned().collect();
            for grant in roles.iter_mut().filter(|it| it.project == project) {
                renamed.unwrap_or_default().clone_into(&mut grant.project);
            }
            roles
        })
    };
    for user in context.state.users.iter() {
        if let Some(roles) = moved(&user.spec.roles) {
            let mut new = User::clone(user);
            new.spec.roles = roles;
            batch.replace(user, &new);
        }
    }
    for token in context.state.tokens.iter() {
        match moved(&token.spec.roles) {
            None => {}
            // Without any it would be worth everything.
            Some(roles) if roles.is_empty() => {
                batch.delete(token, Object::clone(token), context.now, context.caller);
            }
            Some(roles) => {
                let mut new = Object::clone(token);
                new.spec.roles = roles;
                batch.replace(token, &new);
            }
        }
    }
}

fn refused() -> Error {
    Error::unauthenticated("the name or the password is not right")
        .next("try again; an admin can set another password: hull user password NAME")
}

/// Hashes passwords, a few at a time, and makes those wait who guess.
pub(crate) struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    wrong: Mutex<HashMap<String, Wrong>>,
}

/// Wrong tries in a row.
#[derive(Clone, Copy)]
struct Wrong {
    tries: u32,
    last: Time,
}

impl Wrong {
    /// Twice as long with each try.
    fn wait(self) -> Duration {
        let over = self.tries.saturating_sub(FREE_TRIES);
        if over == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs(1 << over.min(6)).min(LONGEST_WAIT)
    }

    fn left(self, now: Time) -> Duration {
        self.wait().saturating_sub(now.since(self.last))
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { at_once, waiting: Semaphore::new(WAITING), wrong: Mutex::default() }
    }
}

impl Passwords {
    async fn hash(&self, password: String, salt: [u8; 32]) -> Result<String> {
        self.off_loop(move || {
            let made = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt[..16]);
            made.map(|hash| hash.to_string())
                .map_err(|error| Error::internal("the password cannot be hashed").caused_by(error))
        })
        .await?
    }

    /// Compares a password with what is kept; nothing kept is compared as well, so that a name that nobody has
    /// takes as long.
    async fn verify(&self, name: &str, kept: &str, password: String, core: &Core) -> Result<()> {
        if let Some(left) = self.left(name, core.now()) {
            return Err(Error::exhausted(format!(
                "too many wrong passwords for this name: {} s are left to wait",
                left.as_secs() + 1
            ))
            .next("wait, then try again"));
        }
        // A try counts before it is answered, so that many at once are no way around.
        self.count(name, core.now());
        let kept = kept.to_owned();
        let right = self
            .off_loop(move || {
                let known = PasswordHash::new(&kept);
                match known {
                    Ok(known) => {
                        Argon2::default().verify_password(password.as_bytes(), &known).is_ok()
                    }
                    Err(_) => {
                        let _ = Argon2::default()
                            .hash_password_with_salt(password.as_bytes(), &[0; 16]);
                        false
                    }
                }
            })
            .await?;
        if !right {
            return Err(refused());
        }
        self.lock().remove(name);
        Ok(())
    }

    async fn off_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let closed = || Error::unavailable("the platform is stopping");
        let waits = self.waiting.try_acquire().map_err(|_| {
            Error::exhausted("too many sign in at once").next("try again in a moment")
        })?;
        let one = self.at_once.clone().acquire_owned().await.map_err(|_| closed())?;
        drop(waits);
        // The memory is taken until the work is done, whether somebody still waits for it or not.
        let work = move || {
            let done = work();
            drop(one);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| closed())
    }

    fn left(&self, name: &str, now: Time) -> Option<Duration> {
        let left = self.lock().get(name).map(|wrong| wrong.left(now));
        left.filter(|left| !left.is_zero())
    }

    fn count(&self, name: &str, now: Time) {
        let mut wrong = self.lock();
        if wrong.len() >= REMEMBERED && !wrong.contains_key(name) {
            let oldest = wrong.iter().min_by_key(|(_, it)| it.last).map(|(name, _)| name.clone());
            oldest.and_then(|name| wrong.remove(&name));
        }
        let entry = wrong.entry(name.to_owned()).or_insert(Wrong { tries: 0, last: now });
        // Who made a mistake yesterday begins anew.
        if now.since(entry.last) > LONGEST_WAIT * 10 {
            entry.tries = 0;
        }
        *entry = Wrong { tries: entry.tries.saturating_add(1), last: now };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Wrong>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
