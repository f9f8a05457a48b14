//! Signing a browser in and out.

use std::sync::Arc;
use std::time::Instant;

use audit::Entry;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use client::wire::{SignInRequest, SignedIn};
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode, Uri};
use listen::Peer;
use model::{Error, Time};

use super::objects::json_value;
use super::{Pace, Routes};
use crate::Api;
use crate::admit::{self, By, shown_token};
use crate::body::Json;
use crate::document::{Description, Named};
use crate::refusal::{Refusal, Reply};
use crate::sign_in::check_site;

const PATH: &str = "/v1/session";

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
    uri: Uri,
    headers: HeaderMap,
    Json(SignInRequest { name, password }): Json<SignInRequest>,
) -> Reply<Response> {
    check_site(&uri, &headers)?;
    let from = match &peer {
        Peer::Network { address, .. } => address.ip().to_string(),
        Peer::Local { user, .. } => user.clone(),
    };
    if let Err(wait) = api.rates.take(&format!("sign-in {from}"), Instant::now()) {
        return Err(Refusal::too_often(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)));
    }
    let entry = admit::entry(&name, peer.to_string(), &Method::POST, uri.path());
    let (caller, proof) = match api.control.sign_in(&name, &password, &from).await {
        Ok(known) => known,
        Err(error) => {
            let refusal = Refusal::from(error);
            let (status, reason) = (refusal.status().as_u16(), refusal.message().to_owned());
            api.audit.write_refused(Entry { status, reason, ..entry });
            return Err(refusal);
        }
    };
    let (cookie, told) = api.sign_ins.begin(proof, &caller, Time::now()).await?;
    api.audit.write(Entry { user: caller.user.clone(), status: 200, ..entry });
    Ok(([(SET_COOKIE, cookie)], private(&told)?).into_response())
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
