//! Credentials of registries, kept as Docker keeps them in `config.json`.

use std::fmt;

mod file;

pub use file::CredentialFile;

/// What a registry is shown. Never printed: `Debug` hides it, errors and logs leave it out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// A user and a password, or a personal token in its place.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// A refresh token that an earlier login brought (Docker's `identitytoken`).
    Identity {
        /// The token.
        token: String,
    },
    /// A bearer token shown as it is (Docker's `registrytoken`).
    Bearer {
        /// The token.
        token: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Basic { .. } => "Credentials(basic)",
            Credentials::Identity { .. } => "Credentials(identity token)",
            Credentials::Bearer { .. } => "Credentials(bearer token)",
        })
    }
}
