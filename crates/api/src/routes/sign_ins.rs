//! Signing a browser in and out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use client::wire::SignedIn;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use model::{Error, Time};

use super::objects::json_value;
use super::{Pace, Routes};
use crate::Api;
use crate::admit::{By, shown_token};
use crate::document::{Description, Named};
use crate::refusal::Reply;

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
    routes
        .add(Pace::Prompt, Method::POST, PATH, begin, beginning)
        .add(Pace::Prompt, Method::GET, PATH, tell, telling)
        .add(Pace::Prompt, Method::DELETE, PATH, end, ending)
}

async fn begin(State(api): State<Arc<Api>>, By(caller): By, headers: HeaderMap) -> Reply<Response> {
    let token = shown_token(&headers).transpose()?.ok_or_else(|| {
        Error::unauthenticated("signing in takes a token").next("send Authorization: Bearer hull_…")
    })?;
    let proof = api.control.prove(token)?;
    let (cookie, told) = api.sign_ins.begin(proof, &caller, Time::now()).await?;
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
