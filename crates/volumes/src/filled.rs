//! What came into a volume from an image.

use serde::{Deserialize, Serialize};

/// How far the copy from an image has come.
///
/// ```text
/// No ──> Copying ──> Done
///  └──(contents of its own)──^
/// ```
/// `Copying` left by a process that died makes the next copy begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filled {
    /// Never begun, or there was nothing to copy.
    #[default]
    No,
    /// Begun.
    Copying,
    /// Complete, or not wanted any more.
    Done,
}

impl Filled {
    /// Whether half a copy may be there.
    pub fn is_interrupted(self) -> bool {
        match self {
            Filled::Copying => true,
            Filled::No | Filled::Done => false,
        }
    }
}
