//! Tokens: who somebody is.

use std::sync::Arc;

use faults::may_die;
use model::catalog::{BUILT_IN, CatalogNoun, CatalogSpec};
use model::event::Event;
use model::node::{NodeNoun, NodeSpec};
use model::project::{DEFAULT_PROJECT, ProjectNoun, ProjectSpec};
use model::token::{Token, TokenNoun, TokenSpec};
use model::user::UserNoun;
use model::{Error, Kind, Meta, Noun, Object, Result, Time, Uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::Expect;

use crate::batch::Batch;
use crate::caller::{Caller, Verb, Via, authorise};
use crate::control::{Control, KeepSecret};
use crate::core::{Core, Mode};
use crate::keys;
use crate::mirror::State;
use crate::service::{Context, New, Rules, Service, find, find_for};
use crate::users;

/// The verbs of tokens. Nobody is shown the hash of one.
pub type Tokens = Service<TokenNoun>;

/// The name of the token that the first start makes.
const ADMIN: &str = "admin";
/// Most tokens of one user.
const MOST_OF_A_USER: usize = 100;
/// What every secret begins with.
const PREFIX: &str = "hull_";

/// A token and its secret, which is shown this once.
#[derive(Clone)]
pub struct Issued {
    /// The token.
    pub token: Arc<Token>,
    /// `hull_<id>_<64 hexadecimal digits>`.
    pub secret: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("token", &self.token.meta.name).finish_non_exhaustive()
    }
}

/// Shows later that somebody knew a secret, and does not tell it. It is worth as much as that: nothing once
/// the token or user is gone, has expired or is disabled, or has another secret or password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Proof {
    /// A token's secret.
    #[expect(missing_docs, reason = "the token, and the hash of its secret")]
    Token { token: Uid, hash: String },
    /// A user's password.
    #[expect(missing_docs, reason = "the user, and the hash of what their password is kept as")]
    Password { user: Uid, hash: String },
}

impl Proof {
    /// Whether both are of the same token or user.
    #[must_use]
    pub fn is_of(&self, other: &Proof) -> bool {
        let whose = |proof: &Proof| match proof {
            Proof::Token { token: id, .. } | Proof::Password { user: id, .. } => id.clone(),
        };
        whose(self) == whose(other)
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (of, id) = match self {
            Proof::Token { token, .. } => ("token", token),
            Proof::Password { user, .. } => ("user", user),
        };
        f.debug_struct("Proof").field(of, id).finish_non_exhaustive()
    }
}

impl Rules for TokenNoun {
    const SHOWN_WHOLE: bool = false;
    const OWNED: bool = true;

    fn own(caller: &Caller, verb: Verb, token: &Token) -> bool {
        // A token that is worth less than its user must not come to the secret of one that is worth more.
        let may = verb == Verb::Get || caller.via == Via::Password;
        may && !caller.user.is_empty() && token.spec.user == caller.user
    }

    fn shown(token: &Arc<Token>) -> Arc<Token> {
        let mut token = Token::clone(token);
        token.spec.hash.clear();
        Arc::new(token)
    }

    fn admit(context: &Context<'_>, token: &mut Token, batch: &mut Batch) -> Result<()> {
        check_named(context.state, &token.spec)?;
        if !token.spec.user.is_empty() {
            let user = find::<UserNoun>(context.state, "", &token.spec.user)?;
            token.spec.user.clone_from(&user.meta.name);
            let own = context.state.tokens.iter().filter(|it| it.spec.user == user.meta.name);
            if own.count() >= MOST_OF_A_USER {
                return Err(Error::exhausted(format!(
                    "{} has {MOST_OF_A_USER} tokens already",
                    user.title()
                ))
                .next("remove those that nobody uses: hull token ls"));
            }
            // One whose user goes meanwhile would be the next one's of that name.
            batch.expect_unchanged(&**user);
        }
        match context.caller.via {
            Via::Platform => Ok(()),
            Via::Token | Via::Password | Via::Socket => {
                Err(Error::unsupported("a token has to be issued"))
            }
        }
    }

    fn change(context: &Context<'_>, old: &Token, new: &mut Token, _: &mut Batch) -> Result<()> {
        if old.spec.user != new.spec.user {
            return Err(Error::conflict(format!("{} stays whose it is", old.title()))
                .at("spec.user")
                .next("issue another one: hull token create --user USER"));
        }
        check_named(context.state, &new.spec)?;
        // Callers never saw the hash, so what they give back is not one.
        new.spec.hash.clone_from(&old.spec.hash);
        Ok(())
    }
}

impl Tokens {
    /// Makes a token and its secret. One that a user asks for who is no admin is theirs.
    ///
    /// # Errors
    /// `Exists` for a name that is taken; `Forbidden` for what is worth more than the caller may.
    pub async fn issue(
        &self,
        caller: &Caller,
        mut new: New<TokenNoun>,
        mode: Mode,
    ) -> Result<Issued> {
        if new.spec.user.is_empty() && !caller.is_admin() {
            new.spec.user.clone_from(&caller.user);
        }
        if caller.user.is_empty() || new.spec.user != caller.user {
            authorise(caller, Verb::Create, Kind::Token, "")?;
        } else if caller.via == Via::Token {
            // One that is worth less than its user must not make one that is worth as much.
            authorise(caller, Verb::Create, Kind::Token, "")
                .map_err(|error| error.next("sign in with your password, or ask an admin"))?;
        }
        let id = self.core.new_id();
        let secret = secret(&id, &self.core);
        let spec = TokenSpec { hash: hash(&secret), ..new.spec };
        let by = Caller::platform_for(caller);
        let token = self.create_as(id, &by, "", New { spec, ..new }, mode).await?;
        Ok(Issued { token, secret })
    }

    /// Gives a token another secret; the old one is worth nothing from then on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn renew(&self, caller: &Caller, name: &str) -> Result<Issued> {
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find_for::<TokenNoun>(state, caller, Verb::Update, "", name)?;
            let secret = secret(&old.meta.id, &self.core);
            let mut new = Token::clone(old);
            new.spec.hash = hash(&secret);
            new.meta.generation += 1;
            batch.replace(old, &new);
            batch.event(caller, Event::new(now, Kind::Token, "renew", &new.meta));
            Ok((new, secret))
        };
        let (revision, (token, secret)) = self.core.transact(Mode::Apply, plan).await?;
        Ok(Issued { token: self.changed(Mode::Apply, (revision, token))?, secret })
    }
}

impl Control {
    /// Who has this secret.
    ///
    /// # Errors
    /// `Unauthenticated` for a secret that no token has, or whose token has expired.
    pub fn authenticate(&self, secret: &str) -> Result<Caller> {
        self.core.read(|state| caller_of(state, &*self.holder(secret)?))
    }

    /// What [`Control::accept`] takes later in the place of this secret.
    ///
    /// # Errors
    /// As [`Control::authenticate`].
    pub fn prove(&self, secret: &str) -> Result<Proof> {
        let token = self.holder(secret)?;
        Ok(Proof::Token { token: token.meta.id.clone(), hash: token.spec.hash.clone() })
    }

    /// Who gave this proof.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is gone, has expired, or has another secret.
    pub fn accept(&self, proof: &Proof) -> Result<Caller> {
        let (id, known) = match proof {
            Proof::Token { token, hash } => (token, hash),
            Proof::Password { user, hash } => return self.accept_password(user, hash),
        };
        let found = self.core.read(|state| state.tokens.by_id(id).cloned());
        let token = found.filter(|token| same(&token.spec.hash, known)).ok_or_else(|| {
            Error::unauthenticated("the token is gone, or has another secret now")
                .next("sign in with one that is in force")
        })?;
        check_in_force(&token, self.core.now())?;
        self.core.read(|state| caller_of(state, &token))
    }

    fn holder(&self, secret: &str) -> Result<Arc<Token>> {
        let refused = || {
            Error::unauthenticated("the token is not known")
                .next("use the token in the file that hull names at its start, or issue another")
        };
        let id = secret.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
        let (id, _) = id.ok_or_else(refused)?;
        let found = self.core.read(|state| state.tokens.by_prefix("", id).ok().flatten().cloned());
        let token = found.ok_or_else(refused)?;
        if id.len() != Uid::SHORT || !same(&token.spec.hash, &hash(secret)) {
            return Err(refused());
        }
        check_in_force(&token, self.core.now())?;
        Ok(token)
    }
}

/// Whoever shows this token.
fn caller_of(state: &State, token: &Token) -> Result<Caller> {
    let user = match token.spec.user.as_str() {
        "" => None,
        name => {
            let user = state.users.by_name("", name).ok_or_else(|| {
                Error::unauthenticated(format!(
                    "user {name:?}, whose {} is, is gone",
                    token.title()
                ))
            })?;
            users::check_enabled(user)?;
            Some(&**user)
        }
    };
    Ok(Caller::token(token, user))
}

/// Refuses a token of nobody's, or for a project that is not there.
fn check_named(state: &State, spec: &TokenSpec) -> Result<()> {
    if !spec.user.is_empty() {
        find::<UserNoun>(state, "", &spec.user).map_err(|error| error.at("spec.user"))?;
    }
    users::check_projects(state, &spec.roles)
}

fn check_in_force(token: &Token, now: Time) -> Result<()> {
    if token.spec.expires.is_none_or(|expires| now < expires) {
        return Ok(());
    }
    Err(Error::unauthenticated(format!("{} has expired", token.title())).next("issue another"))
}

fn secret(id: &Uid, core: &Core) -> String {
    format!("{PREFIX}{}_{}", id.short(), hex::encode(core.random.bytes()))
}

pub(crate) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Compares in a time that does not tell where they differ.
pub(crate) fn same(one: &str, two: &str) -> bool {
    one.len() == two.len() && one.bytes().zip(two.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

/// Makes what is there from the first start: the cluster's id, the default project, the admin
/// token; and this node, where it is new. Returns the admin's secret if it was made now.
pub(crate) async fn first_start(core: &Core, keep: &KeepSecret) -> Result<Option<String>> {
    let (id, project, node, cluster) = (core.new_id(), core.new_id(), core.new_id(), core.new_id());
    let catalog = core.new_id();
    let (secret, now) = (secret(&id, core), core.now());
    if core.mirror.read().cluster.is_none() {
        keep(&secret)?;
        may_die("admin.kept");
    }
    let plan = |state: &State, batch: &mut Batch| {
        if state.nodes.by_name("", &core.node).is_none() {
            batch.create(&fresh::<NodeNoun>(&core.node, &node, now, NodeSpec::default()));
        }
        if state.catalogs.by_name("", BUILT_IN).is_none() {
            let spec =
                CatalogSpec { description: "Comes with hull".into(), ..CatalogSpec::default() };
            let mut catalog = fresh::<CatalogNoun>(BUILT_IN, &catalog, now, spec);
            catalog.meta.finalizers.push(crate::catalogs::CONTENT.to_owned());
            batch.create(&catalog);
        }
        if state.projects.by_name("", DEFAULT_PROJECT).is_none() {
            let spec = ProjectSpec {
                description: "There from the first start".into(),
                ..ProjectSpec::default()
            };
            batch.create(&fresh::<ProjectNoun>(DEFAULT_PROJECT, &project, now, spec));
        }
        if state.cluster.is_some() {
            return Ok(false);
        }
        let spec = TokenSpec {
            description: "Made by the first start".into(),
            hash: hash(&secret),
            ..TokenSpec::default()
        };
        batch.create(&fresh::<TokenNoun>(ADMIN, &id, now, spec));
        batch.commit = std::mem::take(&mut batch.commit)
            .expect(Expect::absent(keys::CLUSTER))
            .put(keys::CLUSTER, cluster.as_str().to_owned());
        Ok(true)
    };
    let (_, made) = core.transact(Mode::Apply, plan).await?;
    may_die("admin.made");
    Ok(made.then_some(secret))
}

fn fresh<N: Noun>(name: &str, id: &Uid, now: Time, spec: N::Spec) -> Object<N> {
    Object::new(Meta::new("", name, id.clone(), now), spec)
}
