//! The container engine of a node: containers, their images' content, their output.
//!
//! This is the one room that knows containerd. Everything else speaks to it through [`Engine`],
//! in the nouns of [`model`]: what is to run goes in as a [`ContainerConfig`], what was seen comes
//! out as [`Observed`] and [`EngineEvent`].
//!
//! Where to start: [`engine`] for the verbs, [`supervisor`] for how containerd is run and kept
//! alive, [`spec`] for how a container's description becomes an OCI runtime specification,
//! [`logs`] for how output is kept while nobody of ours is alive to read it.
//!
//! What this room may not do: decide. It knows no restart policy, no health, no network, no volume.
//! `unsafe` appears only where a system call has no safe wrapper, each time with its reason.

pub mod containerd;
pub mod engine;
pub mod fake;
pub mod hold;
pub mod host;
pub mod init;
pub mod logs;
pub mod rootfs;
pub mod spec;
pub mod supervisor;

pub use containerd::Containerd;
pub use engine::{
    Bind, Change, ChangeKind, CommitConfig, Committed, ContainerConfig, ContainerId, Created,
    Engine, EngineEvent, Events, ExecConfig, ExecId, ExecStreams, Exit, Namespace, NoneBegins,
    Observed, Process, Reader, Started, State, Stats, UserNamespace, WindowSize, Writer,
};
pub use fake::FakeEngine;
pub use host::HostFacts;
pub use model::Signal;
pub use rootfs::Rootfs;
pub use supervisor::{Settings, Supervisor};
