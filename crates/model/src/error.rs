//! One error type for the whole platform: ten kinds, a sentence, and the cause kept apart.
//!
//! The message says which object and why; [`Error::next`] says what to do about it. The cause is
//! never repeated inside the message: [`Error::chain`] prints both.

use std::error::Error as StdError;
use std::fmt;

/// The result every fallible function of the platform returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure this is. Each front-end maps these ten to its own codes in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// The request itself is wrong; sending it again changes nothing.
    Invalid,
    /// The object named does not exist.
    NotFound,
    /// An object of that name exists already.
    Exists,
    /// The object is in a state, or at a revision, that does not allow this.
    Conflict,
    /// The caller may not do this.
    Forbidden,
    /// The caller is not known.
    Unauthenticated,
    /// Something is used up: disk, memory, addresses, a quota, a rate.
    Exhausted,
    /// A part that is needed does not answer now; trying again later may help.
    Unavailable,
    /// The platform, or this machine, cannot do this.
    Unsupported,
    /// A fault of the platform's own.
    Internal,
}

impl ErrorKind {
    /// All kinds, for tests that check every front-end maps each of them.
    pub const ALL: [ErrorKind; 10] = [
        ErrorKind::Invalid,
        ErrorKind::NotFound,
        ErrorKind::Exists,
        ErrorKind::Conflict,
        ErrorKind::Forbidden,
        ErrorKind::Unauthenticated,
        ErrorKind::Exhausted,
        ErrorKind::Unavailable,
        ErrorKind::Unsupported,
        ErrorKind::Internal,
    ];

    /// The kind's name in documents and logs, e.g. `notFound`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "notFound",
            ErrorKind::Exists => "exists",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::Exhausted => "exhausted",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What exactly went wrong, for who decides by it or tells it in words of their own. Sentences are for
/// people, and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The program is not in the container.
    ProgramMissing,
    /// The program is a directory.
    ProgramIsDirectory,
    /// The program may not be run.
    ProgramNotPermitted,
    /// The program is for another kind of machine.
    ProgramForeign,
    /// The working directory is not in the container.
    WorkdirMissing,
    /// The image has no such user.
    UserMissing,
    /// The image has no such group.
    GroupMissing,
    /// Another instance has the port.
    PortTaken,
    /// Another instance has the address.
    AddressTaken,
    /// The address is none of the network's, or none for instances.
    AddressInvalid,
    /// There is no such network.
    NetworkMissing,
    /// The instance is joined to the network already.
    JoinedAlready,
    /// What is to be written to can only be read: the container's root.
    RootReadOnly,
    /// What is to be written to can only be read: a volume.
    VolumeReadOnly,
    /// It is to be a directory, and is none.
    NotDirectory,
    /// The registry wants a login, or a better one.
    LoginWanted,
    /// The registry does not let this login do that.
    AccessDenied,
    /// The image is there for other platforms only.
    PlatformMissing,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 18] = [
        Code::ProgramMissing,
        Code::ProgramIsDirectory,
        Code::ProgramNotPermitted,
        Code::ProgramForeign,
        Code::WorkdirMissing,
        Code::UserMissing,
        Code::GroupMissing,
        Code::PortTaken,
        Code::AddressTaken,
        Code::AddressInvalid,
        Code::NetworkMissing,
        Code::JoinedAlready,
        Code::RootReadOnly,
        Code::VolumeReadOnly,
        Code::NotDirectory,
        Code::LoginWanted,
        Code::AccessDenied,
        Code::PlatformMissing,
    ];

    /// As it stands in the reason of a status: `ProgramMissing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::ProgramMissing => "ProgramMissing",
            Code::ProgramIsDirectory => "ProgramIsDirectory",
            Code::ProgramNotPermitted => "ProgramNotPermitted",
            Code::ProgramForeign => "ProgramForeign",
            Code::WorkdirMissing => "WorkdirMissing",
            Code::UserMissing => "UserMissing",
            Code::GroupMissing => "GroupMissing",
            Code::PortTaken => "PortTaken",
            Code::AddressTaken => "AddressTaken",
            Code::AddressInvalid => "AddressInvalid",
            Code::NetworkMissing => "NetworkMissing",
            Code::JoinedAlready => "JoinedAlready",
            Code::RootReadOnly => "RootReadOnly",
            Code::VolumeReadOnly => "VolumeReadOnly",
            Code::NotDirectory => "NotDirectory",
            Code::LoginWanted => "LoginWanted",
            Code::AccessDenied => "AccessDenied",
            Code::PlatformMissing => "PlatformMissing",
        }
    }

    /// The code of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// What sort of failure it is, where nothing else says.
    pub fn kind(self) -> ErrorKind {
        match self {
            Code::ProgramMissing
            | Code::ProgramIsDirectory
            | Code::ProgramNotPermitted
            | Code::ProgramForeign
            | Code::WorkdirMissing
            | Code::UserMissing
            | Code::GroupMissing
            | Code::AddressInvalid
            | Code::RootReadOnly
            | Code::VolumeReadOnly
            | Code::NotDirectory => ErrorKind::Invalid,
            Code::PortTaken | Code::AddressTaken | Code::JoinedAlready => ErrorKind::Conflict,
            // Registries say of what is private that it is not there.
            Code::NetworkMissing | Code::LoginWanted | Code::AccessDenied => ErrorKind::NotFound,
            Code::PlatformMissing => ErrorKind::Unsupported,
        }
    }
}

/// A failure: its kind, a sentence that names the object and the reason, the field at fault, the
/// next step, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: Option<Code>,
    message: String,
    field: Option<String>,
    next: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// A request that is wrong in itself. Add the field with [`Error::at`].
    invalid => Invalid,
    /// An object that does not exist.
    not_found => NotFound,
    /// A name that is taken.
    exists => Exists,
    /// A state or revision that does not allow this.
    conflict => Conflict,
    /// A caller who may not.
    forbidden => Forbidden,
    /// A caller who is not known.
    unauthenticated => Unauthenticated,
    /// Something used up.
    exhausted => Exhausted,
    /// A part that does not answer now.
    unavailable => Unavailable,
    /// A thing the platform or this machine cannot do.
    unsupported => Unsupported,
    /// A fault of the platform's own.
    internal => Internal,
}

impl Error {
    /// An error of `kind` whose message names the object and the reason, without its cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), field: None, next: None, source: None }
    }

    /// Says what exactly went wrong.
    #[must_use]
    pub fn coded(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// Names the field at fault as a path, e.g. `spec.containers[0].image`.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Puts `prefix` before the field's path; used by a parent whose child was refused.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.field = Some(match self.field.take() {
            Some(field) if field.starts_with('[') => format!("{prefix}{field}"),
            Some(field) => format!("{prefix}.{field}"),
            None => prefix.to_owned(),
        });
        self
    }

    /// Puts the object's name before the message, for messages that go on from it: `disk x` `is cut off`.
    #[must_use]
    pub fn about(mut self, object: impl fmt::Display) -> Self {
        self.message = format!("{object} {}", self.message);
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What exactly went wrong, if it was said: here, or by the cause.
    pub fn code(&self) -> Option<Code> {
        let mut cause = StdError::source(self);
        let mut code = self.code;
        while let (None, Some(error)) = (code, cause) {
            code = error.downcast_ref::<Self>().and_then(|error| error.code);
            cause = error.source();
        }
        code
    }

    /// The sentence, without field, next step or cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The path of the field at fault.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The next step.
    pub fn next_step(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The message followed by every cause, separated by `: `. The one way causes are printed.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds the kind and the sentence to a foreign error, keeping it as the cause.
pub trait Context<T> {
    /// Turns a failure into an [`Error`] of `kind` whose message is `message()`.
    fn context(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(kind, message()).caused_by(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_printed_once_and_only_by_chain() {
        let error = Error::unavailable("containerd does not answer")
            .caused_by(std::io::Error::other("connection refused"));
        assert_eq!(error.to_string(), "containerd does not answer");
        assert_eq!(error.chain(), "containerd does not answer: connection refused");
    }

    #[test]
    fn a_code_is_that_of_the_cause_unless_there_is_another() {
        let cause = || Error::invalid("x: not there").coded(Code::ProgramMissing);
        let error = Error::unavailable("it cannot start").caused_by(cause());
        assert_eq!(error.code(), Some(Code::ProgramMissing));
        assert_eq!(error.coded(Code::UserMissing).code(), Some(Code::UserMissing));
        assert_eq!(Error::invalid("x").code(), None);
        for code in Code::ALL {
            assert_eq!(Code::named(code.as_str()), Some(code));
        }
    }

    #[test]
    fn a_field_path_grows_from_the_inside_out() {
        let error = Error::invalid("no image").at("image").under("containers[0]").under("spec");
        assert_eq!(error.field(), Some("spec.containers[0].image"));
    }
}
