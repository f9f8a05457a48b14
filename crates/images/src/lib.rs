//! Images: registries, archives, and the local verbs over a content store.
//!
//! The one room that knows how images travel: the distribution protocol, Docker's and OCI's
//! archives, media types, credentials. It keeps nothing itself: what it fetches goes into a
//! [`ContentStore`], which the agent implements over containerd and [`DirStore`] over a directory.
//!
//! May use `model` and nothing else of the workspace. It never runs an image, never touches
//! containerd, and never unpacks: it checks layers and asks the store to unpack them.
//!
//! Start at [`Puller`] (registry to store), [`Pusher`] (store to registry), [`Images`] (local verbs,
//! import, save), [`ContentStore`] (what a store must do).

mod archive;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod content;
mod credentials;
mod descriptor;
mod digest;
mod dir_store;
mod download;
mod failure;
mod image_config;
mod limits;
mod local;
mod locks;
mod machine;
mod manifest;
pub mod media;
mod platform;
mod progress;
mod puller;
mod pusher;
mod registries;
mod registry;
mod settings;

pub use archive::{ImportKind, ImportOptions, decompressed, is_compressed};
pub use content::{
    BlobInfo, BlobWriter, ByteStream, ContentStore, ImageRecord, Ingest, IngestInfo, LABEL_FILES,
    LABEL_REFERENCE, LABEL_UNCOMPRESSED, Labels, Layer, WRITER_KEEPS, WriteRequest, chain_id,
    reference_labels,
};
pub use credentials::{CredentialFile, Credentials};
pub use descriptor::Descriptor;
pub use digest::{Digest, Hasher};
pub use dir_store::DirStore;
pub use download::download;
pub use limits::Limits;
pub use local::{
    Detail, Images, InUse, PruneOptions, RemoveOptions, Removed, ServedManifest, Usage, UsageRow,
};
pub use machine::{LABEL_DISK, LABEL_FIRMWARE};
pub use platform::Platform;
pub use progress::{LayerProgress, Phase, Progress, PullState};
pub use puller::{Listing, PullOptions, PullPolicy, Puller};
pub use pusher::{PushOptions, Pusher};
pub use registries::{RegistriesConfig, RegistriesSource, RegistryConfig};
pub use registry::SearchHit;
pub use settings::{Settings, Transfer};
