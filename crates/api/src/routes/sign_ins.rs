//! Signing a browser in and out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use client::wire::{SignInRequest, SignedIn};
use control::{Caller, Proof};
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use listen::Peer;
use model::name::check_name;
use model::{Error, Time};

use super::objects::json_value;
use super::{Pace, Routes};
use crate::Api;
use crate::admit::{self, By, shown_token};
use crate::document::{Description, Named};
use crate::refusal::{Refusal, Reply};
use crate::sign_in::check_site;

const PATH: &str = "/v1/session";
/// Most bytes of a name and password, as JSON.
const LONGEST: usize = 8 << 10;
/// Time for them to come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn routes(routes: Routes) -> Routes {
    let describe = |id: &'static str, summary: &str| Description::new("session", id, summary);
    let beginning = describe("signIn", "Signs a browser in with the token that the request shows.")
        .answers(200, "It has a cookie now.", Named::of::<SignedIn>());
    let telling = describe("signedIn", "Tells who the browser that asks is signed in as.").answers(
        200,
        "As whom.",
        Named::of::<SignedIn>(),
    );
    let ending = describe("signOut", "Signs the browser that asks out.")
        .answers_nothing(204, "Its cookie is worth nothing any more.");
    let summary = "Signs a browser in with a user's name and password.";
    let proving = describe("signInWithPassword", summary).body::<SignInRequest>().answers(
        200,
        "It has a cookie now.",
        Named::of::<SignedIn>(),
    );
    let password = format!("{PATH}/password");
    routes
        .add_open(Method::POST, &password, begin_with_password, proving)
        .add(Pace::Prompt, Method::POST, PATH, begin, beginning)
        .add(Pace::Prompt, Method::GET, PATH, tell, telling)
        .add(Pace::Prompt, Method::DELETE, PATH, end, ending)
}

async fn begin(State(api): State<Arc<Api>>, By(caller): By, headers: HeaderMap) -> Reply<Response> {
    let token = shown_token(&headers).transpose()?.ok_or_else(|| {
        Error::unauthenticated("signing in takes a token").next(
            "send Authorization: Bearer hull_…, or a name and password to /v1/session/password",
        )
    })?;
    let proof = api.control.prove(token)?;
    let (cookie, told) = api.sign_ins.begin(proof, &caller, Time::now()).await?;
    Ok(([(SET_COOKIE, cookie)], private(&told)?).into_response())
}

/// There is nobody yet whom the door could let in or count, so that is done here.
async fn begin_with_password(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Reply<Response> {
    let path = request.uri().path();
    let mut audit = admit::audited(&api, peer.to_string(), &Method::POST, path);
    let (caller, proof) = match prove(&api, &peer, request, &mut audit.entry.by).await {
        Ok(known) => known,
        Err(refusal) => {
            audit.refuse(refusal.status().as_u16(), refusal.message());
            return Err(refusal);
        }
    };
    audit.entry.user.clone_from(&caller.user);
    let (cookie, told) = api.sign_ins.begin(proof, &caller, Time::now()).await?;
    audit.entry.status = StatusCode::OK.as_u16();
    Ok(([(SET_COOKIE, cookie)], private(&told)?).into_response())
}

/// Who has the name and password in the request. `by` is the name, where it could be one.
async fn prove(
    api: &Api,
    peer: &Peer,
    request: Request,
    by: &mut String,
) -> Reply<(Caller, Proof)> {
    check_site(request.uri(), request.headers())?;
    let from = place(peer);
    if let Err(wait) = api.sign_in_rates.take(&from, Instant::now()) {
        return Err(Refusal::too_often(wait));
    }
    let body = Limited::new(request.into_body(), LONGEST).collect();
    let body = tokio::time::timeout(PATIENCE, body).await;
    let body = body.ok().and_then(Result::ok).ok_or_else(|| Refusal::too_long(LONGEST))?;
    let SignInRequest { name, password } =
        serde_json::from_slice(&body.to_bytes()).map_err(|_| {
            // What is wrong with it may tell of the password.
            Error::invalid("the body is not {\"name\": …, \"password\": …}")
        })?;
    if check_name(&name).is_ok() {
        by.clone_from(&name);
    }
    Ok(api.control.sign_in(&name, &password, &from).await?)
}

/// Where somebody comes from, for counting. Whoever has one address of IPv6 has all that share its first 64 bits.
fn place(peer: &Peer) -> String {
    match peer {
        Peer::Network { address, .. } => match address.ip().to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{:x}", address.to_bits() >> 64),
        },
        Peer::Local { user, .. } => user.clone(),
    }
}

async fn tell(State(api): State<Arc<Api>>, By(caller): By, headers: HeaderMap) -> Reply<Response> {
    let told = api.sign_ins.tell(&caller, &headers).ok_or_else(|| {
        Error::not_found("the request comes from no browser that is signed in")
            .next("sign in: POST /v1/session with a token")
    })?;
    private(&told)
}

async fn end(State(api): State<Arc<Api>>, By(_): By, headers: HeaderMap) -> Reply<Response> {
    let cookie = api.sign_ins.end(&headers).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

fn private(told: &SignedIn) -> Reply<Response> {
    Ok(([(CACHE_CONTROL, "no-store")], json_value(told)?).into_response())
}
