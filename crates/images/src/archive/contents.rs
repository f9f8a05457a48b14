//! What an archive had in it, once all of it has passed.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{Error, Result};

use super::layer::Checked;
use crate::descriptor::Descriptor;
use crate::digest::Digest;

/// A blob that lies in the store.
#[derive(Debug)]
pub(super) struct Stored {
    pub digest: Digest,
    pub size: u64,
    /// What the layer check said; not every blob is a layer.
    pub checked: Result<Checked>,
}

/// Members by name and by digest.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Small JSON documents.
    pub documents: BTreeMap<String, Bytes>,
    /// All else.
    pub blobs: BTreeMap<String, Stored>,
    by_digest: BTreeMap<Digest, String>,
}

impl Contents {
    pub fn add_document(&mut self, name: String, digest: Digest, data: Bytes) {
        self.by_digest.insert(digest, name.clone());
        self.documents.insert(name, data);
    }

    pub fn add_blob(&mut self, name: String, stored: Stored) {
        self.by_digest.insert(stored.digest.clone(), name.clone());
        self.blobs.insert(name, stored);
    }

    /// The document a descriptor points at; `None` if it is not there.
    pub fn document(&self, at: &Descriptor) -> Result<Option<&Bytes>> {
        let name = self.by_digest.get(&at.digest);
        let Some(data) = name.and_then(|name| self.documents.get(name)) else { return Ok(None) };
        match data.len() as u64 == at.size {
            true => Ok(Some(data)),
            false => Err(wrong_size(at, data.len() as u64)),
        }
    }

    /// The layer a descriptor points at.
    pub fn layer(&self, at: &Descriptor) -> Result<&Checked> {
        let name = self.by_digest.get(&at.digest).ok_or_else(|| missing(&at.digest))?;
        let stored = self.blobs.get(name).ok_or_else(|| no_layer(name))?;
        if stored.size != at.size {
            return Err(wrong_size(at, stored.size));
        }
        stored.layer(name)
    }
}

impl Stored {
    /// What the check said of it, as of a layer.
    pub fn layer(&self, name: &str) -> Result<&Checked> {
        self.checked.as_ref().map_err(|error| {
            let message = format!("its layer {name} is refused: {}", error.message());
            let refused = Error::new(error.kind(), message);
            match error.next_step() {
                Some(step) => refused.next(step),
                None => refused,
            }
        })
    }
}

pub(super) fn missing(digest: &Digest) -> Error {
    Error::invalid(format!("it lacks blob {digest}"))
}

fn no_layer(name: &str) -> Error {
    Error::invalid(format!("its member {name} is used as a layer and is none"))
}

fn wrong_size(at: &Descriptor, found: u64) -> Error {
    Error::invalid(format!("blob {} has {found} bytes where {} are said", at.digest, at.size))
}
