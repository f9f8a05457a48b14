//! Who asks, and whether they may.

use model::{Error, Kind, Result};

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The name of the token, or of the user of the machine; written into events as `by`.
    pub name: String,
    /// How they proved it.
    pub via: Via,
}

/// How a caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A token's secret.
    Token,
    /// The local socket, whose peer the kernel names.
    Socket,
    /// The platform itself.
    Platform,
}

impl Caller {
    /// A user of this machine, as the local socket tells them apart.
    #[must_use]
    pub fn socket(user: &str) -> Self {
        Self { name: user.to_owned(), via: Via::Socket }
    }

    /// The platform itself.
    #[must_use]
    pub fn platform() -> Self {
        Self { name: String::new(), via: Via::Platform }
    }

    pub(crate) fn token(name: &str) -> Self {
        Self { name: name.to_owned(), via: Via::Token }
    }
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
/// There are no roles yet: whoever is known may do everything.
///
/// # Errors
/// `Unauthenticated` for a caller without a name, `Forbidden` for one who may not.
pub fn authorise(caller: &Caller, verb: Verb, kind: Kind, project: &str) -> Result<()> {
    let known = match caller.via {
        Via::Token | Via::Socket => !caller.name.is_empty(),
        Via::Platform => true,
    };
    if known {
        return Ok(());
    }
    let place = if project.is_empty() { String::new() } else { format!(" in project {project}") };
    Err(Error::unauthenticated(format!(
        "nobody in particular asks to {} {kind}s{place}",
        verb.as_str()
    ))
    .next("give a token: HULL_TOKEN, or `hull token create`"))
}
