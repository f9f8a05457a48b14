//! Where the parts of one image are fetched: the mirrors in order, then the registry.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use model::image::Reference;
use model::{Error, ErrorKind, Result};

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::limits::Limits;
use crate::registry::{Backoff, Failure, Found, Remote};
use crate::settings::Transfer;

/// Tries for small documents: people wait for the answer.
const TRIES: u32 = 3;

/// The places to ask, best first.
pub(super) struct Sources {
    pub remotes: Vec<Remote>,
    pub transfer: Transfer,
}

/// What `reference` means at the first place that knows.
pub(super) enum Top {
    /// What is known here already.
    Same,
    Found(Found),
}

impl Sources {
    /// Asks what `reference` means. With `known`, first whether it still means that.
    pub async fn top(
        &mut self,
        reference: &Reference,
        known: Option<&Digest>,
        limits: &Limits,
    ) -> Result<Top> {
        let version = reference.digest.as_ref().or(reference.tag.as_ref());
        let version = version.cloned().unwrap_or_else(|| "latest".to_owned());
        let (limit, known) = (limits.manifest.0, known.cloned());
        let ask = move |remote: Remote| {
            let (version, known) = (version.clone(), known.clone());
            async move {
                if known.is_some() && remote.digest_of(&version).await? == known {
                    return Ok(Top::Same);
                }
                remote.manifest(&version, limit).await.map(Top::Found)
            }
            .boxed()
        };
        let (at, top) = self.first(&ask).await?;
        // What knows the name most likely has its parts.
        self.remotes.rotate_left(at);
        Ok(top)
    }

    /// All tags at the first place that tells them.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let ask = |remote: Remote| async move { remote.tags().await }.boxed();
        self.first(&ask).await.map(|(_, tags)| tags)
    }

    /// The manifest that `descriptor`, found in an index, points at.
    pub async fn manifest(&self, descriptor: &Descriptor, limits: &Limits) -> Result<Found> {
        if descriptor.size > limits.manifest.0 {
            let message = format!("the manifest has {} bytes: too many", descriptor.size);
            return Err(Error::invalid(message));
        }
        let (digest, limit) = (descriptor.digest.clone(), limits.manifest.0);
        let ask = move |remote: Remote| {
            let digest = digest.clone();
            async move { remote.manifest(digest.as_str(), limit).await }.boxed()
        };
        let (_, found) = self.first(&ask).await?;
        if found.data.len() as u64 != descriptor.size {
            return Err(wrong_size("manifest", descriptor, found.data.len() as u64));
        }
        Ok(found)
    }

    /// The bytes of a small blob.
    pub async fn small_blob(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let wanted = descriptor.clone();
        let ask = move |remote: Remote| {
            let wanted = wanted.clone();
            async move { whole_blob(&remote, &wanted).await }.boxed()
        };
        self.first(&ask).await.map(|(_, data)| data)
    }

    /// The answer of the first place that gives one, and which it was. One that may hold only a part (a
    /// mirror) is asked once, the registry a few times.
    async fn first<T>(
        &self,
        ask: &(impl Fn(Remote) -> BoxFuture<'static, Result<T, Failure>> + Sync),
    ) -> Result<(usize, T)> {
        let mut failures = Vec::new();
        for (at, remote) in self.remotes.iter().enumerate() {
            let tries = if remote.endpoint.mirror { 1 } else { TRIES };
            let mut backoff = Backoff::with_attempts(&self.transfer, tries);
            loop {
                match ask(remote.clone()).await {
                    Ok(answer) => return Ok((at, answer)),
                    Err(failure) => {
                        if let Err(failure) = backoff.wait(failure).await {
                            failures.push((remote, failure.error));
                            break;
                        }
                    }
                }
            }
        }
        Err(none_has_it(failures))
    }
}

/// The registry's own error counts; those of the mirrors are told with it.
fn none_has_it(failures: Vec<(&Remote, Error)>) -> Error {
    let (mirrors, own): (Vec<_>, Vec<_>) =
        failures.into_iter().partition(|(remote, _)| remote.endpoint.mirror);
    let Some((_, own)) = own.into_iter().next_back() else {
        return Error::internal("there is no registry to ask");
    };
    if mirrors.is_empty() {
        return own;
    }
    let told: Vec<&str> = mirrors.iter().map(|(_, error)| error.message()).collect();
    crate::failure::about(format!("its mirrors were asked in vain ({})", told.join("; ")), own)
}

async fn whole_blob(remote: &Remote, wanted: &Descriptor) -> Result<Bytes, Failure> {
    let mut download = remote.blob(&wanted.digest, 0).await?;
    let mut data = Vec::new();
    while let Some(piece) = download.bytes.next().await {
        data.extend_from_slice(&piece?);
        if data.len() as u64 > wanted.size {
            break;
        }
    }
    if data.len() as u64 != wanted.size {
        return Err(Failure::passing(wrong_size("blob", wanted, data.len() as u64)));
    }
    if Digest::of(&data) != wanted.digest {
        return Err(Failure::passing(wrong_digest(&remote.name(), &wanted.digest)));
    }
    Ok(data.into())
}

fn wrong_size(what: &str, wanted: &Descriptor, found: u64) -> Error {
    let (digest, size) = (wanted.digest.short(), wanted.size);
    let message = format!("{what} {digest} should have {size} bytes, {found} came");
    Error::new(ErrorKind::Unavailable, message)
}

pub(super) fn wrong_digest(host: &str, digest: &Digest) -> Error {
    Error::unavailable(format!("{host} sends bytes that are not those of {}", digest.short()))
        .next("try again; if it stays so, what the registry keeps is damaged")
}
