//! The right to a stream or session, which may end before it does.
//!
//! A request is let in once, and what it opened may be open for days. So each stream and session of a caller who
//! was let in by a token or a cookie is watched over: when tokens or users change, or somebody signs out, it is
//! found out anew who they are, and where that has another answer it ends. A client that may go on asks again.

use std::sync::Arc;
use std::time::Duration;

use control::Caller;
use http::{HeaderMap, Uri};
use model::Error;
use tokio::sync::watch;

use crate::Api;
use crate::admit;

/// How often it is looked whether a token or cookie has come to its time.
const LOOK: Duration = Duration::from_secs(30);

/// What a caller was let in with.
#[derive(Clone)]
pub(crate) struct Lease(Option<Arc<Held>>);

struct Held {
    api: Arc<Api>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
}

tokio::task_local! {
    /// That of the request which is being answered.
    pub(crate) static LEASE: Lease;
}

/// That of the request which is being answered; one without an end where there is none.
pub(crate) fn current() -> Lease {
    LEASE.try_with(Lease::clone).unwrap_or(Lease(None))
}

/// Why what lasts ends when its caller may no longer, or may something else now.
pub(crate) fn over() -> Error {
    // Not that nobody is signed in: whoever has other roles now goes on with those.
    Error::unavailable("who asked may no longer, or has other roles now")
        .next("ask again; sign in where that is refused")
}

impl Lease {
    /// What this caller was let in with. Users of this machine are let in by the kernel, for good.
    pub(crate) fn new(api: &Arc<Api>, caller: &Caller, uri: &Uri, headers: &HeaderMap) -> Self {
        if caller.via == control::Via::Socket || !admit::shows_secret(api, headers) {
            return Self(None);
        }
        let (api, caller) = (api.clone(), caller.clone());
        Self(Some(Arc::new(Held { api, caller, uri: uri.clone(), headers: headers.clone() })))
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
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("ends", &self.0.is_some()).finish()
    }
}

impl Held {
    fn stands(&self) -> bool {
        let now = admit::identify(&self.api, None, true, &self.uri, &self.headers);
        now.is_ok_and(|now| now == self.caller)
    }
}

async fn changed(receiver: &mut watch::Receiver<()>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}
