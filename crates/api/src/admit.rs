//! What every request passes before its route: who asks, how often, and the record of writes.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use control::Caller;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use model::{Error, Result};

use crate::Api;
use crate::lease::{LEASE, Lease, Shown};
use crate::refusal::{Refusal, Reply};
use crate::tickets;
use listen::Peer;

/// The caller of a request that was let in.
pub(crate) struct By(pub(crate) Caller);

impl FromRequestParts<Arc<Api>> for By {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Reply<Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        // Every guarded route is behind `guard`; one that is not would be a fault of ours.
        caller.map(Self).ok_or_else(|| Error::internal("a route without a caller").into())
    }
}

/// Lets known callers in who do not ask too often, and records what they write.
pub(crate) async fn guard(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let from = peer.as_ref().map(ToString::to_string).unwrap_or_default();
    let (caller, lease) = match admitted(&api, peer, &mut request) {
        Ok(known) => known,
        Err(error) => {
            let refusal = Refusal::from(error);
            let (method, path) = (request.method(), request.uri().path());
            audited(&api, from, method, path).refuse(refusal.status().as_u16(), refusal.message());
            return refusal.into_response();
        }
    };
    let counted = if caller.user.is_empty() { &caller.name } else { &caller.user };
    if let Err(wait) = api.rates.take(counted, Instant::now()) {
        return Refusal::too_often(wait).into_response();
    }
    let mut audit = write_of(&api, &request, &caller, from);
    request.extensions_mut().insert(caller);
    let response = LEASE.scope(lease, next.run(request)).await;
    if let Some(audit) = &mut audit {
        audit.entry.status = response.status().as_u16();
    }
    response
}

/// Who asks, and their right to it: for a console its ticket tells, which must not be another's.
fn admitted(api: &Arc<Api>, peer: Option<Peer>, request: &mut Request) -> Result<(Caller, Lease)> {
    let shown = shows_secret(api, request.headers())
        || matches!(peer, Some(Peer::Local { trusted: true, .. }));
    let Some(secret) = tickets::shown(request.uri()) else {
        return identify(api, peer, false, request.uri(), request.headers());
    };
    let known = if shown {
        let (known, _) = identify(api, peer, true, request.uri(), request.headers())?;
        Some(known)
    } else {
        None
    };
    let ticket = api.tickets.redeem(&secret, Instant::now())?;
    let (caller, lease) = (ticket.caller.clone(), ticket.lease.clone());
    if known.is_some_and(|known| known != caller) {
        return Err(Error::forbidden("the ticket was given to somebody else"));
    }
    request.extensions_mut().insert(ticket);
    Ok((caller, lease))
}

/// Whether a request shows a token or a cookie, good or bad.
fn shows_secret(api: &Api, headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || api.sign_ins.is_shown(headers)
}

/// Who asks: a token tells, else a browser's cookie, else the local socket.
fn identify(
    api: &Arc<Api>,
    peer: Option<Peer>,
    ticket: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Caller, Lease)> {
    if let Some(token) = shown_token(headers) {
        let proof = api.control.prove(token?)?;
        return Lease::of(api, Shown { proof, cookie: None });
    }
    if api.sign_ins.is_shown(headers) {
        return Lease::of(api, api.sign_ins.identify(ticket, uri, headers)?);
    }
    match peer {
        Some(Peer::Local { user, trusted: true }) => Ok((Caller::socket(&user), Lease::ENDLESS)),
        Some(Peer::Local { user, trusted: false }) => {
            Err(Error::forbidden(format!("user {user} is neither root nor in group hull"))
                .next("become a member of group hull, or send a token"))
        }
        Some(Peer::Network { .. }) | None => {
            Err(Error::unauthenticated("the request has no token")
                .next("send Authorization: Bearer hull_…, or set HULL_TOKEN"))
        }
    }
}

/// The token that a request shows (RFC 6750, section 2.1).
pub(crate) fn shown_token(headers: &HeaderMap) -> Option<Result<&str>> {
    let value = headers.get(AUTHORIZATION)?;
    Some(value.to_str().ok().and_then(bearer).ok_or_else(|| {
        Error::unauthenticated("the Authorization header has no token")
            .next("send Authorization: Bearer hull_…")
    }))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A request as the audit log has it. Queries and bodies are left out: they may hold secrets.
pub(crate) fn audited(api: &Api, from: String, method: &Method, path: &str) -> audit::Request {
    audit::Request::new(&api.audit, "api", from, method.as_str(), path)
}

/// What is written of one whose caller is known, if anything is.
fn write_of(api: &Api, request: &Request, caller: &Caller, from: String) -> Option<audit::Request> {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if !audit::is_written(request.method().as_str(), route) {
        return None;
    }
    let mut audit = audited(api, from, request.method(), request.uri().path());
    audit.entry.by.clone_from(&caller.name);
    audit.entry.user.clone_from(&caller.user);
    Some(audit)
}

/// Counts and times every request.
pub(crate) async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    // A method of the caller's invention would make a new row for each.
    let method = if response.status().as_u16() == 405 { "" } else { method.as_str() };
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    api.meters.answered(method, path, response.status().as_u16(), begin.elapsed());
    response
}
