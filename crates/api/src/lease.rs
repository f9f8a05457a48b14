//! The right to what lasts, which may end before it does.
//!
//! A request is let in once, and what it opened may be open for days. So each stream, session, upload and wait of a
//! caller who was let in by a token or a cookie is watched over: when tokens or users change, or somebody signs out,
//! it is found out anew who they are, and where that has another answer it ends. A client that may go on asks again.
//! What has come whole and is being done is done to its end.

use std::sync::Arc;
use std::time::Duration;

use control::{Caller, Proof};
use futures::StreamExt;
use link::ResultStream;
use model::{Error, Result, Time};
use tokio::sync::watch;

use crate::Api;

/// How often it is looked whether a token or cookie has come to its time.
const LOOK: Duration = Duration::from_secs(30);

/// The right of one request; without an end where the kernel tells who asks.
#[derive(Clone)]
pub(crate) struct Lease(Option<Arc<Held>>);

struct Held {
    api: Arc<Api>,
    caller: Caller,
    shown: Shown,
}

/// What a caller showed when they were let in.
pub(crate) struct Shown {
    pub(crate) proof: Proof,
    /// Of a browser, the hash of its cookie.
    pub(crate) cookie: Option<String>,
}

tokio::task_local! {
    /// That of the request which is being answered.
    pub(crate) static LEASE: Lease;
}

/// That of the request which is being answered; one without an end where there is none.
pub(crate) fn current() -> Lease {
    LEASE.try_with(Lease::clone).unwrap_or(Lease::ENDLESS)
}

/// Why what lasts ends when its caller may no longer, or may something else now.
pub(crate) fn over() -> Error {
    // Not that nobody is signed in: whoever has other roles now goes on with those.
    Error::unavailable("who asked may no longer, or has other roles now")
        .next("ask again; sign in where that is refused")
}

impl Lease {
    /// That of users of this machine.
    pub(crate) const ENDLESS: Self = Self(None);

    /// Who shows this, and the right that stands on it.
    pub(crate) fn of(api: &Arc<Api>, shown: Shown) -> Result<(Caller, Self)> {
        let caller = shown.caller(api)?;
        let held = Held { api: api.clone(), caller: caller.clone(), shown };
        Ok((caller, Self(Some(Arc::new(held)))))
    }

    /// Whether it may end at all.
    pub(crate) fn may_end(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the caller still may.
    pub(crate) fn stands(&self) -> bool {
        self.0.as_ref().is_none_or(|held| held.stands())
    }

    /// Waits until the caller may no longer, or may something else.
    pub(crate) async fn ended(&self) {
        let Some(held) = &self.0 else { return std::future::pending().await };
        let mut changes = held.api.control.credentials();
        let mut signed_out = held.api.sign_ins.signed_out();
        // What changed since the caller was let in and before somebody listened counts, too.
        while held.stands() {
            tokio::select! {
                () = changes.changed() => {}
                () = changed(&mut signed_out) => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// What comes of a wait or of work, which is dropped when the right ends first.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.ended() => Err(over()),
            done = work => done,
        }
    }

    /// The items until the right ends, and then an error, so that nobody takes them for all.
    pub(crate) fn bound<T: Send + 'static>(self, mut items: ResultStream<T>) -> ResultStream<T> {
        if !self.may_end() {
            return items;
        }
        Box::pin(async_stream::stream! {
            let mut ended = std::pin::pin!(self.ended());
            loop {
                let item = tokio::select! {
                    // Before the items, which may always be ready.
                    biased;
                    () = &mut ended => Some(Err(over())),
                    item = items.next() => item,
                };
                let Some(item) = item else { return };
                let failed = item.is_err();
                yield item;
                if failed {
                    return;
                }
            }
        })
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("ends", &self.may_end()).finish()
    }
}

impl Shown {
    /// Who shows it now.
    fn caller(&self, api: &Api) -> Result<Caller> {
        if let Some(cookie) = &self.cookie {
            api.sign_ins.check_open(cookie, Time::now())?;
        }
        api.control.accept(&self.proof)
    }
}

impl Held {
    fn stands(&self) -> bool {
        self.shown.caller(&self.api).is_ok_and(|now| now == self.caller)
    }
}

async fn changed(receiver: &mut watch::Receiver<()>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}
