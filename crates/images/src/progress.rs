//! How far a pull is.

use tokio::sync::watch;

use crate::digest::Digest;

/// Where a layer is on its way.
///
/// ```text
/// Waiting ─→ Downloading ─→ Verifying ─→ Unpacking ─→ Done
///    └─────→ Exists ────────────┴───────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Others come first.
    #[default]
    Waiting,
    /// Bytes arrive.
    Downloading,
    /// Bytes leave, in a push.
    Uploading,
    /// All bytes are here; they are checked.
    Verifying,
    /// It was here before.
    Exists,
    /// The store unpacks it.
    Unpacking,
    /// Ready for use.
    Done,
}

/// One layer of a pull.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LayerProgress {
    /// Digest of the blob.
    pub digest: Digest,
    /// Where it is.
    pub phase: Phase,
    /// Bytes here.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A pull as it stands. Empty until the manifest is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct PullState {
    /// Digest of what the name points at.
    pub target: Option<Digest>,
    /// Layers, lowest first.
    pub layers: Vec<LayerProgress>,
}

/// Where a pull tells how far it is. Telling never waits: a slow reader sees fewer states, the last
/// one always.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<watch::Sender<PullState>>);

impl Progress {
    /// Nobody listens.
    pub fn none() -> Self {
        Self(None)
    }

    /// One that is read through the receiver; it is closed when the pull has ended.
    pub fn channel() -> (Self, watch::Receiver<PullState>) {
        let (sender, receiver) = watch::channel(PullState::default());
        (Self(Some(sender)), receiver)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut PullState)) {
        if let Some(sender) = &self.0 {
            sender.send_modify(change);
        }
    }

    pub(crate) fn layer(&self, index: usize, change: impl FnOnce(&mut LayerProgress)) {
        self.update(|state| {
            if let Some(layer) = state.layers.get_mut(index) {
                change(layer);
            }
        });
    }

    pub(crate) fn phase(&self, index: usize, phase: Phase) {
        self.layer(index, |layer| layer.phase = phase);
    }
}
