//! What is asked of a reading, beside the files.

use std::collections::BTreeMap;

/// What is asked of a reading, beside the files.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Compose files, each merged onto those before it: paths below the root. The usual names, and an
    /// override beside it, when empty.
    pub files: Vec<String>,
    /// What the app is called; what the files say when empty.
    pub name: String,
    /// Values of variables; they count more than those of files.
    pub variables: BTreeMap<String, String>,
    /// Files of variables: paths below the root; `.env` beside the first Compose file when empty.
    pub env_files: Vec<String>,
    /// Profiles that are active; `*` is all of them.
    pub profiles: Vec<String>,
    /// The directory of the node that the root of the files is, where they were read on the node itself.
    /// Absent: they were sent, and files that are mounted are handed to instances as configs.
    pub directory: Option<String>,
}
