//! Browsers that are signed in: a cookie in the place of a token.
//!
//! The cookie is a secret of its own that scripts of a page cannot read. It is worth as much as the
//! token it was given for, so withdrawing or renewing that signs the browser out. What is kept of it is
//! its hash, in a file of the node's, so that a daemon that starts anew still knows who is signed in.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::wire::SignedIn;
use control::{Caller, Control, Proof};
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderValue, Uri};
use model::error::Context;
use model::{Error, ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Seconds after which a browser is signed out by itself.
const LIFETIME: i64 = 7 * 24 * 60 * 60;
/// Most browsers; beyond it the one that would be signed out first is.
const MOST: usize = 1024;
/// What a page shows to prove that it is ours: another site's can have a browser send its cookies, and
/// cannot set headers.
pub(crate) const CSRF: &str = "hull-csrf";

/// The browsers that are signed in.
pub(crate) struct SignIns {
    /// The cookie's name. Cookies are shared by all ports of a host, so it is the cluster's own.
    cookie: String,
    file: Option<PathBuf>,
    open: Mutex<HashMap<String, SignIn>>,
    /// Held while the file is written, so that an older state never follows a newer one.
    writing: tokio::sync::Mutex<()>,
}

/// One of them, kept under the hash of its cookie.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    proof: Proof,
    csrf: String,
    expires: Time,
}

impl SignIns {
    /// Those that the file tells of; one that cannot be read tells of none.
    pub(crate) fn open(file: Option<PathBuf>, authority: &str) -> Self {
        let known = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let open = known.and_then(|bytes| {
            let read = serde_json::from_slice(&bytes);
            read.inspect_err(|error| tracing::warn!(%error, "nobody is signed in any more")).ok()
        });
        let cookie = format!("__Host-hull-{}", authority.get(..8).unwrap_or(authority));
        let (open, writing) = (Mutex::new(open.unwrap_or_default()), tokio::sync::Mutex::default());
        Self { cookie, file, open, writing }
    }

    /// Signs a browser in. The cookie that it is to set, and what its page is told.
    pub(crate) async fn begin(
        &self,
        proof: Proof,
        caller: &Caller,
        now: Time,
    ) -> Result<(HeaderValue, SignedIn)> {
        let (secret, csrf) = (random(), random());
        let expires = Time::from_unix(now.0.as_second() + LIFETIME, 0);
        let told = SignedIn { name: caller.name.clone(), csrf: csrf.clone(), expires };
        {
            let mut open = self.lock();
            open.retain(|_, sign_in| sign_in.expires > now);
            if open.len() >= MOST {
                let first = open.iter().min_by_key(|(_, sign_in)| sign_in.expires);
                let first = first.map(|(hash, _)| hash.clone());
                first.map(|hash| open.remove(&hash));
            }
            open.insert(hash(&secret), SignIn { proof, csrf, expires });
        }
        self.keep().await;
        Ok((self.set_cookie(&secret, "")?, told))
    }

    /// Signs the browser out. The cookie that takes its place.
    pub(crate) async fn end(&self, headers: &HeaderMap) -> Result<HeaderValue> {
        for secret in self.shown(headers) {
            self.lock().remove(&hash(&secret));
        }
        self.keep().await;
        self.set_cookie("", "; Max-Age=0")
    }

    /// What the page of a browser that is signed in is told.
    pub(crate) fn tell(&self, caller: &Caller, headers: &HeaderMap) -> Option<SignedIn> {
        // A token counts before a cookie does.
        if headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let SignIn { proof: _, csrf, expires } = self.find(headers, Time::now()).ok()?;
        Some(SignedIn { name: caller.name.clone(), csrf, expires })
    }

    /// Whether the request shows a cookie of ours, good or bad.
    pub(crate) fn is_shown(&self, headers: &HeaderMap) -> bool {
        !self.shown(headers).is_empty()
    }

    /// Who sits before the browser that sends this request.
    ///
    /// # Errors
    /// `Unauthenticated` when it is not signed in; `Forbidden` when the request may come from a page
    /// that is not ours.
    pub(crate) fn identify(
        &self,
        control: &Control,
        reads: bool,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Caller> {
        let sign_in = self.find(headers, Time::now())?;
        check_site(uri, headers)?;
        if headers.contains_key(UPGRADE) {
            // A WebSocket can set no header; what opens it always says where it is from.
            if !headers.contains_key(ORIGIN) {
                return Err(not_ours("it does not say which page it is from"));
            }
        } else if !reads {
            let shown = headers.get(CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
            if Sha256::digest(shown) != Sha256::digest(sign_in.csrf.as_bytes()) {
                return Err(not_ours("its header Hull-Csrf is not that of this sign-in"));
            }
        }
        control.accept(&sign_in.proof)
    }

    fn find(&self, headers: &HeaderMap, now: Time) -> Result<SignIn> {
        let open = self.lock();
        let known = self.shown(headers).iter().find_map(|secret| open.get(&hash(secret)).cloned());
        known.filter(|sign_in| sign_in.expires > now).ok_or_else(|| {
            Error::unauthenticated("this browser is not signed in, or no longer")
                .next("sign in with a token")
        })
    }

    /// HTTP/2 may part cookies into several headers (RFC 9113, section 8.2.3).
    fn shown(&self, headers: &HeaderMap) -> Vec<String> {
        let headers = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = headers.flat_map(|value| value.split(';'));
        let ours = pairs.filter_map(|pair| pair.trim().split_once('='));
        let ours = ours.filter(|(name, value)| *name == self.cookie && !value.is_empty());
        ours.map(|(_, value)| value.to_owned()).collect()
    }

    fn set_cookie(&self, secret: &str, end: &str) -> Result<HeaderValue> {
        let cookie = &self.cookie;
        let text = format!("{cookie}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict{end}");
        HeaderValue::try_from(text)
            .context(ErrorKind::Internal, || "the cookie cannot be written".into())
    }

    /// Writes the file. Who is signed in is so without it, until the daemon ends.
    async fn keep(&self) {
        let Some(file) = self.file.clone() else { return };
        let _writing = self.writing.lock().await;
        let Ok(bytes) = serde_json::to_vec(&*self.lock()) else { return };
        let write = tokio::task::spawn_blocking(move || write(&file, &bytes));
        if let Ok(Err(error)) = write.await {
            tracing::warn!(%error, "who is signed in was not written down");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SignIn>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Browsers say where a request comes from, and no page can change that (Fetch Metadata; RFC 6454,
/// section 7). One that says nothing is too old to; its cookie is still sent to our own pages only.
fn check_site(uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(not_ours("it is from another site"));
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return Ok(()) };
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host = authority.or_else(|| text(HOST.as_str())).unwrap_or_default();
    match origin.strip_prefix("https://") {
        Some(from) if from.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(not_ours("it is from another site")),
    }
}

fn not_ours(why: &str) -> Error {
    Error::forbidden(format!("the request may not be from the console: {why}"))
        .next("load the page anew; programs send a token instead of a cookie")
}

fn write(file: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let draft = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&draft)?.write_all(bytes)?;
    std::fs::rename(&draft, file)
}

fn random() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'static str, &'a str)];

    fn headers(pairs: Pairs<'_>) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn cookies_are_found_among_others() {
        let sign_ins = SignIns::open(None, "0123456789");
        let cases: [(Pairs<'_>, &[&str]); 5] = [
            (&[], &[]),
            (&[("cookie", "a=b; __Host-hull-01234567=x; c=d")], &["x"]),
            (&[("cookie", "__Host-hull-01234567=")], &[]),
            (&[("cookie", "__Host-hull-76543210=x")], &[]),
            (&[("cookie", "__Host-hull-01234567=x;__Host-hull-01234567=y")], &["x", "y"]),
        ];
        for (given, expected) in cases {
            assert_eq!(sign_ins.shown(&headers(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn only_our_own_pages_are_believed() {
        let uri: Uri = "/v1/nodes".parse().unwrap();
        let cases: [(Pairs<'_>, bool); 8] = [
            (&[("host", "h:1")], true),
            (&[("host", "h:1"), ("origin", "https://h:1")], true),
            (&[("host", "h:1"), ("origin", "https://H:1")], true),
            (&[("host", "h:1"), ("origin", "http://h:1")], false),
            (&[("host", "h:1"), ("origin", "https://h:2")], false),
            (&[("host", "h:1"), ("origin", "null")], false),
            (&[("host", "h:1"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "h:1"), ("sec-fetch-site", "same-origin")], true),
        ];
        for (given, ours) in cases {
            assert_eq!(check_site(&uri, &headers(given)).is_ok(), ours, "{given:?}");
        }
    }
}
