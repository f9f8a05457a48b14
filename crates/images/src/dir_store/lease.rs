//! Leases: what is kept though no name points at it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use model::{Error, Result, Time};
use serde::{Deserialize, Serialize};

use super::{Inner, file_names, read_json, remove, write_json};
use crate::digest::Digest;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Lease {
    /// `None` only while it is being made.
    pub expires: Option<Time>,
    pub blobs: BTreeSet<Digest>,
    pub unpacked: BTreeSet<Digest>,
}

impl Lease {
    /// Makes the lease, or renews it.
    pub fn take(inner: &Inner, id: &str, expires: Duration) -> Result<()> {
        let until =
            Time::now().0.checked_add(expires).map(Time).unwrap_or(Time(jiff::Timestamp::MAX));
        let _held = inner.lock();
        let path = path(inner, id)?;
        let lease: Lease = read_json(&path)?.unwrap_or_default();
        write_json(&path, &Lease { expires: Some(until), ..lease })
    }

    pub fn release(inner: &Inner, id: &str) -> Result<()> {
        // A commit under way would write it anew.
        let _held = inner.lock();
        remove(&path(inner, id)?)
    }

    /// Adds to a lease; called with the lock held.
    pub fn change(inner: &Inner, id: &str, add: impl FnOnce(&mut Lease) -> bool) -> Result<()> {
        let path = path(inner, id)?;
        let gone = || Error::not_found(format!("lease {id} does not exist"));
        let mut lease: Lease = read_json(&path)?.ok_or_else(gone)?;
        if add(&mut lease) { write_json(&path, &lease) } else { Ok(()) }
    }

    /// All leases that hold; those that have expired are removed.
    pub fn live(inner: &Inner) -> Result<Vec<Lease>> {
        let mut live = Vec::new();
        for name in file_names(&inner.root.join("leases"))? {
            let path = inner.root.join("leases").join(&name);
            let Some(lease) = read_json::<Lease>(&path)? else { continue };
            if lease.expires.is_some_and(|expires| expires > Time::now()) {
                live.push(lease);
            } else {
                remove(&path)?;
            }
        }
        Ok(live)
    }
}

fn path(inner: &Inner, id: &str) -> Result<PathBuf> {
    super::writer::check_name(id)?;
    Ok(inner.root.join("leases").join(format!("{id}.json")))
}
