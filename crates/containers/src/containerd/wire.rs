//! Messages containerd passes on without looking: JSON in an `Any`, and the runtime's options.

use model::error::Context;
use model::{ErrorKind, Result, Time};
use prost::Message;
use prost_types::{Any, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The type of a runtime specification (containerd's `typeurl` registration).
pub(super) const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// The type of a process of one.
pub(super) const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// The type of limits of one.
pub(super) const RESOURCES: &str =
    "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// A value as JSON.
pub(super) fn json<T: Serialize>(type_url: &str, value: &T) -> Result<Any> {
    let value = serde_json::to_vec(value)
        .context(ErrorKind::Internal, || format!("a {type_url} cannot be written"))?;
    Ok(Any { type_url: type_url.to_owned(), value })
}

/// A value from JSON.
pub(super) fn from_json<T: DeserializeOwned>(any: Option<&Any>) -> Result<T> {
    let any = any.ok_or_else(|| model::Error::internal("containerd's record lacks a part"))?;
    serde_json::from_slice(&any.value)
        .context(ErrorKind::Internal, || format!("a {} cannot be read", any.type_url))
}

/// Options of the runc shim (`containerd.runc.v1.Options`), those set here.
#[derive(Clone, PartialEq, Message)]
struct RuncOptions {
    /// Where runc keeps its state.
    #[prost(string, tag = "7")]
    root: String,
}

/// runc's state among our own run-time files: two nodes on one machine never share it.
pub(super) fn runc_options(root: String) -> Any {
    Any {
        type_url: "containerd.runc.v1.Options".to_owned(),
        value: RuncOptions { root }.encode_to_vec(),
    }
}

/// A time as the platform writes it.
pub(super) fn time(stamp: Option<Timestamp>) -> Option<Time> {
    // The zero time of Go is that of a thing that has not happened.
    let stamp = stamp.filter(|stamp| stamp.seconds > 0)?;
    Some(Time::from_unix(stamp.seconds, stamp.nanos))
}

/// An exit status as an exit code.
pub(super) fn code(status: u32) -> i32 {
    i32::try_from(status).unwrap_or(255)
}
