//! Who asks, and whether they may.

use std::sync::Arc;

use model::instance::Reach;
use model::role::{Grant, Role};
use model::token::Token;
use model::user::User;
use model::{Error, Kind, Result};

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The name of the user or token, of a user's token both: `ann/laptop`. Written into events as `by`.
    pub name: String,
    /// How they proved it.
    pub via: Via,
    /// The user of the platform that this is; empty for programs and users of the machine.
    pub user: String,
    rights: Rights,
}

/// What a caller may do: what all of these allow. A token of a user's has the user's and its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Rights(Vec<Arc<[Grant]>>);

/// How a caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A token's secret.
    Token,
    /// A user's password.
    Password,
    /// The local socket, whose peer the kernel names.
    Socket,
    /// The platform itself.
    Platform,
}

impl Caller {
    /// A user of this machine, as the local socket tells them apart.
    #[must_use]
    pub fn socket(user: &str) -> Self {
        Self::new(user, Via::Socket)
    }

    /// The platform itself.
    #[must_use]
    pub fn platform() -> Self {
        Self::new("", Via::Platform)
    }

    /// The platform, on behalf of somebody: it may do what they may not, and events tell who it is for.
    #[must_use]
    pub(crate) fn platform_for(caller: &Caller) -> Self {
        Self::new(&caller.name, Via::Platform)
    }

    fn new(name: &str, via: Via) -> Self {
        Self { name: name.to_owned(), via, user: String::new(), rights: Rights::default() }
    }

    /// Whoever has this token, which may be a user's.
    pub(crate) fn token(token: &Token, user: Option<&User>) -> Self {
        let mut caller = Self::new(&token.meta.name, Via::Token);
        if let Some(user) = user {
            // Nobody else's name, whatever its own is.
            caller.name = format!("{}/{}", user.meta.name, token.meta.name);
            caller.user.clone_from(&user.meta.name);
            caller.rights.0.push(user.spec.roles.as_slice().into());
        }
        if !token.spec.roles.is_empty() {
            caller.rights.0.push(token.spec.roles.as_slice().into());
        }
        caller
    }

    /// A user who gave their password.
    pub(crate) fn user(user: &User) -> Self {
        let mut caller = Self::new(&user.meta.name, Via::Password);
        caller.user.clone_from(&user.meta.name);
        caller.rights.0.push(user.spec.roles.as_slice().into());
        caller
    }

    /// Whether they may; see [`authorise`].
    #[must_use]
    pub fn may(&self, verb: Verb, kind: Kind, project: &str) -> bool {
        let known = self.via == Via::Platform || !self.name.is_empty();
        let allowed =
            |grants: &Arc<[Grant]>| grants.iter().any(|grant| allows(grant, verb, kind, project));
        known && self.rights.0.iter().all(allowed)
    }

    /// Whether they may do everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.may(Verb::Update, Kind::Node, "")
    }

    /// Whether they may read what is in every project.
    pub(crate) fn sees_all_projects(&self) -> bool {
        let everywhere = |grants: &Arc<[Grant]>| grants.iter().any(|it| it.project.is_empty());
        self.rights.0.iter().all(everywhere)
    }

    /// Which roles they have, if they may not do everything: a token of a user's is bounded by both lists.
    #[must_use]
    pub fn roles(&self) -> Vec<Vec<Grant>> {
        self.rights.0.iter().map(|grants| grants.to_vec()).collect()
    }
}

/// Whether a role, where it holds, is enough. What belongs to no project is read with a role in any, as there are
/// the images and nodes on which a project's things are; so are lists over all projects, which show the caller's.
fn allows(grant: &Grant, verb: Verb, kind: Kind, project: &str) -> bool {
    let everywhere = grant.project.is_empty();
    let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
    let wanted = match (kind, verb) {
        (Kind::Token | Kind::User, _) => Role::Admin,
        (_, Verb::Get | Verb::List | Verb::Watch) => Role::Viewer,
        // What a node has belongs to all: one project may add to it, and take nothing from others.
        (Kind::Image, Verb::Create) => Role::Editor,
        (Kind::Image, _) if everywhere => Role::Editor,
        (Kind::Node | Kind::Project | Kind::Catalog | Kind::Operation | Kind::Image, _) => {
            Role::Admin
        }
        (_, Verb::Operate | Verb::Enter) => Role::Operator,
        (_, Verb::Create | Verb::Update | Verb::Delete) => Role::Editor,
    };
    let here = everywhere
        || grant.project == project
        || project.is_empty() && (reads || (kind, verb) == (Kind::Image, Verb::Create));
    here && grant.role >= wanted
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one object, or what belongs to it: logs, stats, processes.
    Get,
    /// Read many.
    List,
    /// Hear of changes.
    Watch,
    /// Make one.
    Create,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
    /// Start, stop, restart, pause, signal.
    Operate,
    /// Run processes in it, read and write its files.
    Enter,
}

impl Verb {
    /// The verb's word in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
            Verb::Operate => "operate",
            Verb::Enter => "enter",
        }
    }
}

/// The one place that decides who may do what; every verb of every noun comes through here.
/// `project` is empty for nouns of the cluster and for lists over all projects.
///
/// # Errors
/// `Unauthenticated` for a caller without a name, `Forbidden` for one who may not.
pub fn authorise(caller: &Caller, verb: Verb, kind: Kind, project: &str) -> Result<()> {
    if caller.may(verb, kind, project) {
        return Ok(());
    }
    let place = if project.is_empty() { String::new() } else { format!(" in project {project}") };
    let verb = verb.as_str();
    if caller.name.is_empty() {
        return Err(Error::unauthenticated(format!(
            "nobody in particular asks to {verb} {kind}s{place}"
        ))
        .next("give a token: HULL_TOKEN, or `hull token create`"));
    }
    Err(forbidden(caller, &format!("{verb} {kind}s{place}")))
}

/// Refuses what reaches the host to everybody but admins, as it is worth as much as the host.
///
/// # Errors
/// `Forbidden` naming the field.
pub(crate) fn stay_inside(caller: &Caller, reach: Option<Reach>) -> Result<()> {
    match reach {
        Some(Reach { field, what }) if !caller.is_admin() => {
            Err(forbidden(caller, &format!("ask for {what}")).at(field))
        }
        _ => Ok(()),
    }
}

fn forbidden(caller: &Caller, what: &str) -> Error {
    let who = match (caller.user.is_empty(), caller.via) {
        (false, Via::Token) => format!("token {:?}", caller.name),
        (false, _) => format!("user {:?}", caller.user),
        (true, _) => format!("token {:?}", caller.name),
    };
    Error::forbidden(format!("{who} may not {what}"))
        .next("ask an admin for a role that may: hull user grant USER ROLE[@PROJECT]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[&[&str]]) -> Caller {
        let grants = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Caller { rights: Rights(roles.iter().map(grants).collect()), ..Caller::socket("ann") }
    }

    #[test]
    fn a_role_allows_what_its_table_says() {
        use Kind::{Image, Instance, Node, Project, Secret, Token, User};
        use Verb::{Create, Delete, Enter, Get, List, Operate, Update};
        let cases: [(&str, Verb, Kind, &str, bool); 29] = [
            ("viewer", Get, Instance, "shop", true),
            ("viewer", List, Instance, "", true),
            ("viewer", Get, Secret, "shop", true),
            ("viewer", Operate, Instance, "shop", false),
            ("viewer", Enter, Instance, "shop", false),
            ("viewer", List, Token, "", false),
            ("viewer", Get, User, "", false),
            ("viewer@shop", Get, Instance, "shop", true),
            ("viewer@shop", Get, Instance, "bank", false),
            ("viewer@shop", List, Instance, "", true),
            ("viewer@shop", Get, Node, "", true),
            ("viewer@shop", Create, Image, "", false),
            ("operator@shop", Operate, Instance, "shop", true),
            ("operator@shop", Enter, Instance, "shop", true),
            ("operator@shop", Enter, Instance, "bank", false),
            ("operator", Update, Instance, "shop", false),
            ("editor@shop", Create, Instance, "shop", true),
            ("editor@shop", Delete, Secret, "shop", true),
            ("editor@shop", Create, Instance, "bank", false),
            ("editor@shop", Create, Image, "", true),
            ("editor@shop", Update, Image, "", false),
            ("editor@shop", Delete, Image, "", false),
            ("editor", Delete, Image, "", true),
            ("editor", Update, Node, "", false),
            ("editor", Create, Project, "", false),
            ("editor", Create, Token, "", false),
            ("admin", Create, User, "", true),
            ("admin", Update, Node, "", true),
            ("admin", Enter, Instance, "shop", true),
        ];
        for (role, verb, kind, project, expected) in cases {
            let caller = caller(&[&[role]]);
            let may = caller.may(verb, kind, project);
            assert_eq!(may, expected, "{role} {} {kind} {project:?}", verb.as_str());
        }
    }

    #[test]
    fn a_token_of_a_users_is_worth_what_both_allow() {
        let both = caller(&[&["viewer", "editor@shop"], &["editor"]]);
        assert!(both.may(Verb::Create, Kind::Instance, "shop"));
        assert!(!both.may(Verb::Create, Kind::Instance, "bank"));
        let less = caller(&[&["editor@shop"], &["viewer@shop"]]);
        assert!(!less.may(Verb::Create, Kind::Instance, "shop"));
        let apart = caller(&[&["editor@shop"], &["editor@bank"]]);
        assert!(!apart.may(Verb::Get, Kind::Instance, "shop"));
        assert!(!apart.may(Verb::Get, Kind::Instance, "bank"));
        assert!(caller(&[]).is_admin() && !both.is_admin());
        assert!(!caller(&[&[]]).may(Verb::List, Kind::Node, ""), "no role is no right");
    }
}
