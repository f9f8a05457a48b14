//! Browsers that are signed in: a cookie in the place of a token.
//!
//! The cookie is a secret of its own that scripts of a page cannot read. A browser sends it to every
//! HTTPS port of this host, whoever listens there (RFC 6265, section 8.5), so it is worth nothing
//! without a second secret, which the page keeps: what a browser stores for a page is by origin, and a
//! port is part of that. Together they are worth as much as the token they were given for, so
//! withdrawing or renewing that signs the browser out. What is kept are their hashes, in a file of the
//! node's, so that a daemon that starts anew still knows who is signed in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::wire::SignedIn;
use control::{Caller, Proof};
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Uri};
use model::error::Context;
use model::{Error, ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lease::Shown;

/// Seconds after which a browser is signed out by itself.
const LIFETIME: i64 = 7 * 24 * 60 * 60;
/// Most browsers; beyond it the one that would be signed out first is.
const MOST: usize = 1024;
/// Most browsers of one token or user.
const MOST_OF_ONE: usize = 64;
/// Where a page shows its secret: another site's can have a browser send its cookies, and cannot set
/// headers.
const CSRF: &str = "hull-csrf";
/// Where it shows it with a WebSocket, which can set no header: as the end of the name of a sub-protocol.
const CSRF_PROTOCOL: &str = "v1.csrf.hull.";

/// The browsers that are signed in.
pub(crate) struct SignIns {
    /// The cookie's name. Cookies are shared by all ports of a host, so it is the cluster's own.
    cookie: String,
    file: Option<PathBuf>,
    open: Mutex<HashMap<String, SignIn>>,
    /// Told when somebody signs out.
    left: tokio::sync::watch::Sender<()>,
    /// Held while the file is written, so that an older state never follows a newer one.
    writing: tokio::sync::Mutex<()>,
}

/// One of them, kept under the hash of its cookie.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    proof: Proof,
    /// The hash of what its page shows.
    page: String,
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
        Self { cookie, file, open, left: tokio::sync::watch::Sender::new(()), writing }
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
        let sign_in = SignIn { proof, page: hash(&csrf), expires };
        {
            let mut open = self.lock();
            open.retain(|_, sign_in| sign_in.expires > now);
            // Whoever signs in all the time signs out nobody else.
            make_room(&mut open, MOST_OF_ONE, |it| it.proof.is_of(&sign_in.proof));
            make_room(&mut open, MOST, |_| true);
            open.insert(hash(&secret), sign_in);
        }
        // Who is signed in is so without it, until the daemon ends.
        if let Err(error) = self.keep().await {
            tracing::warn!(error = %error.chain(), "a browser is signed out when the daemon ends");
        }
        let told = SignedIn { csrf: Some(csrf), ..told(caller, expires) };
        Ok((self.set_cookie(&secret, "")?, told))
    }

    /// Signs the browser out. The cookie that takes its place.
    ///
    /// # Errors
    /// When a daemon that starts anew would still know it.
    pub(crate) async fn end(&self, headers: &HeaderMap) -> Result<HeaderValue> {
        for secret in self.shown(headers) {
            self.lock().remove(&hash(&secret));
        }
        self.left.send_replace(());
        self.keep().await?;
        self.set_cookie("", "; Max-Age=0")
    }

    /// Hears of browsers that are signed out.
    pub(crate) fn signed_out(&self) -> tokio::sync::watch::Receiver<()> {
        self.left.subscribe()
    }

    /// What the page of a browser that is signed in is told.
    pub(crate) fn tell(&self, caller: &Caller, headers: &HeaderMap) -> Option<SignedIn> {
        // A token counts before a cookie does.
        if headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let (_, sign_in) = self.find(headers, Time::now()).ok()?;
        let SignIn { proof: _, page: _, expires } = sign_in;
        Some(told(caller, expires))
    }

    /// Whether the request shows a cookie of ours, good or bad.
    pub(crate) fn is_shown(&self, headers: &HeaderMap) -> bool {
        !self.shown(headers).is_empty()
    }

    /// What the browser that sends this request shows. One with a ticket need not show the page's
    /// secret: the ticket was given to a page that did.
    ///
    /// # Errors
    /// `Unauthenticated` when it is not signed in; `Forbidden` when the request may come from a page
    /// that is not ours.
    pub(crate) fn identify(&self, ticket: bool, uri: &Uri, headers: &HeaderMap) -> Result<Shown> {
        let (cookie, sign_in) = self.find(headers, Time::now())?;
        check_site(uri, headers)?;
        // What opens a WebSocket always says which page it is from.
        if headers.contains_key(UPGRADE) && !headers.contains_key(ORIGIN) {
            return Err(not_ours("it does not say which page it is from"));
        }
        if !ticket && !shows(headers, &sign_in.page) {
            return Err(not_ours("it does not show what its page was told when it signed in"));
        }
        Ok(Shown { proof: sign_in.proof, cookie: Some(cookie) })
    }

    /// Refuses a browser, known by its cookie's hash, that is signed in no longer.
    pub(crate) fn check_open(&self, cookie: &str, now: Time) -> Result<()> {
        let open = self.lock().get(cookie).is_some_and(|sign_in| sign_in.expires > now);
        if open { Ok(()) } else { Err(not_signed_in()) }
    }

    /// The hash of the cookie that is shown, and who signed in with it.
    fn find(&self, headers: &HeaderMap, now: Time) -> Result<(String, SignIn)> {
        let open = self.lock();
        let hashes = self.shown(headers).into_iter().map(|secret| hash(&secret));
        let known = hashes.filter_map(|hash| open.get(&hash).cloned().map(|it| (hash, it))).next();
        known.filter(|(_, sign_in)| sign_in.expires > now).ok_or_else(not_signed_in)
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

    /// Writes the file.
    async fn keep(&self) -> Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let failed = || "who is signed in cannot be written down".to_owned();
        let _writing = self.writing.lock().await;
        let bytes = serde_json::to_vec(&*self.lock()).context(ErrorKind::Internal, failed)?;
        let written = tokio::task::spawn_blocking(move || write(&file, &bytes)).await;
        written
            .context(ErrorKind::Internal, failed)?
            .context(ErrorKind::Unavailable, failed)
            .map_err(|error| {
                error.next("see whether the disk below /var/lib/hull is full, then again")
            })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SignIn>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signs out whoever would be first of these, if there are so many.
fn make_room(open: &mut HashMap<String, SignIn>, most: usize, of: impl Fn(&SignIn) -> bool) {
    let these = open.iter().filter(|(_, sign_in)| of(sign_in));
    if these.clone().count() >= most {
        let first = these.min_by_key(|(_, sign_in)| sign_in.expires).map(|(hash, _)| hash.clone());
        first.and_then(|hash| open.remove(&hash));
    }
}

fn told(caller: &Caller, expires: Time) -> SignedIn {
    let (name, user) = (caller.name.clone(), caller.user.clone());
    SignedIn { name, user, admin: caller.is_admin(), roles: caller.roles(), csrf: None, expires }
}

/// Browsers say where a request comes from, and no page can change that (Fetch Metadata; RFC 6454,
/// section 7). One that says nothing is too old to; its cookie is still sent to our own pages only.
pub(crate) fn check_site(uri: &Uri, headers: &HeaderMap) -> Result<()> {
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

fn not_signed_in() -> Error {
    Error::unauthenticated("this browser is not signed in, or no longer")
        .next("sign in with a password or a token")
}

fn not_ours(why: &str) -> Error {
    Error::forbidden(format!("the request may not be from the console: {why}"))
        .next("load the page anew; programs send a token instead of a cookie")
}

/// Whether a request shows the page's secret, of which this is the hash. Comparing hashes tells nobody
/// how much of a guess was right.
fn shows(headers: &HeaderMap, page: &str) -> bool {
    let header = headers.get(CSRF).and_then(|value| value.to_str().ok());
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols = protocols.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let named = protocols.filter_map(|name| name.trim().strip_prefix(CSRF_PROTOCOL));
    header.into_iter().chain(named).any(|shown| hash(shown) == page)
}

/// Who has signed out must not be signed in again by a power cut.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let draft = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut draft_file = options.open(&draft)?;
    draft_file.write_all(bytes)?;
    draft_file.sync_all()?;
    std::fs::rename(&draft, file)?;
    std::fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
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
    fn a_page_shows_its_secret_in_either_place() {
        let cases: [(Pairs<'_>, bool); 7] = [
            (&[], false),
            (&[("hull-csrf", "s")], true),
            (&[("hull-csrf", "")], false),
            (&[("hull-csrf", "S")], false),
            (&[("sec-websocket-protocol", "v1.channel.hull, v1.csrf.hull.s")], true),
            (&[("sec-websocket-protocol", "v1.channel.hull,v1.csrf.hull.t")], false),
            (&[("sec-websocket-protocol", "s")], false),
        ];
        for (given, shown) in cases {
            assert_eq!(shows(&headers(given), &hash("s")), shown, "{given:?}");
        }
    }

    #[tokio::test]
    async fn signing_out_that_would_not_last_is_told() {
        let absent = PathBuf::from("/proc/none/sign-ins");
        let sign_ins = SignIns::open(Some(absent), "0123456789");
        let error = sign_ins.end(&HeaderMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
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
