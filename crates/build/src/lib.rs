//! Images from Dockerfiles, by builders that are there: buildah for the classic endpoint, and BuildKit for
//! clients that bring their part of it. This room starts, limits and ends them.
//!
//! It knows how buildah is told what to build ([`Job`], turned into words by [`words`]), where it finds
//! images ([`registries`]), what it prints ([`Steps`]), and what it keeps between builds ([`Cache`]). A
//! build runs in namespaces of its own (mounts, processes, and the network where it is to have none) and
//! in a cgroup of its own; both end with it, and it ends when nobody waits for it any more.
//!
//! BuildKit has a module of its own: [`kit`].
//!
//! Start at [`Builder`]. Deliberately absent: reading Dockerfiles (buildah does), registries and the store
//! of images (whoever calls answers buildah's questions for images on a port of the loopback), and the
//! client's protocol.

mod builder;
mod cache;
mod cgroup;
mod job;
pub mod kit;
mod layout;
mod lines;
mod process;
mod registries;
mod steps;
mod words;

pub use builder::{Builder, PACKAGE};
pub use cache::{Cache, CacheRecord};
pub use job::{Context, Job, Limits, Network, Supply};
pub use process::{Building, Ended};
pub use registries::{USER, host_of_component};
pub use steps::{Step, Steps};
