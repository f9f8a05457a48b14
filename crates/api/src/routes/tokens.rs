//! Tokens: made with a secret that is told once.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::wire::{DraftMeta, NewToken, PlanQuery, TokenDraft};
use control::{Control, Issued, New, Service};
use http::Method;
use http::header::CACHE_CONTROL;
use model::token::{TokenNoun, TokenSpec};
use serde_json::json;

use super::objects::{
    self, Place, Served, Write, collection_path, created, describe, json_value, mode, object_path,
};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::Named;
use crate::refusal::Reply;

impl Served for TokenNoun {
    fn service(control: &Control) -> Service<Self> {
        control.tokens()
    }

    const WRITES: &'static [Write] = &[Write::Patch, Write::Delete, Write::Rename];
}

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = objects::routes::<TokenNoun>(routes);
    let issuing = describe::<TokenNoun>("create", false, "Makes a token and its secret.".into())
        .query::<PlanQuery>()
        .body::<TokenDraft>()
        .answers(200, "With `plan=true`: as it would be; its secret is empty.", new_token())
        .answers(201, "The token, and its secret this once.", new_token());
    let summary = "Gives one token another secret; the old one is worth nothing from then on.";
    let renewing = describe::<TokenNoun>("renew", false, summary.into()).answers(
        200,
        "The token, and its secret this once.",
        new_token(),
    );
    let renew_path = format!("{}/renew", object_path::<TokenNoun>());
    routes.add(Pace::Prompt, Method::POST, &collection_path::<TokenNoun>(), issue, issuing).add(
        Pace::Prompt,
        Method::POST,
        &renew_path,
        renew,
        renewing,
    )
}

fn new_token() -> Named {
    Named::made("NewToken".into(), vec![Named::object::<TokenNoun>()], |parts| {
        json!({
            "type": "object",
            "required": ["token", "secret"],
            "properties": {
                "token": parts[0],
                "secret": { "type": "string", "description": "What the caller sends: `hull_…`." },
            },
        })
    })
}

async fn issue(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(draft): Json<TokenDraft>,
) -> Reply<Response> {
    let TokenDraft { name, description, user, roles, expires } = draft;
    let DraftMeta { name: _, labels, annotations } = DraftMeta::default();
    let spec = TokenSpec { description, user, roles, expires, ..TokenSpec::default() };
    let new = New {
        name: Some(name).filter(|name| !name.is_empty()),
        labels,
        annotations,
        spec,
        owner: None,
    };
    let mut issued = api.control.tokens().issue(&caller, new, mode(plan)).await?;
    if plan {
        issued.secret.clear();
    }
    Ok((created(plan), answer(issued)?).into_response())
}

async fn renew(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { name, .. }): Path<Place>,
) -> Reply<Response> {
    answer(api.control.tokens().renew(&caller, &name).await?)
}

fn answer(Issued { token, secret }: Issued) -> Reply<Response> {
    let mut token = (*token).clone();
    // Control shows it without; this is the one answer that must never have it.
    token.spec.hash.clear();
    let answer = json_value(&NewToken { token, secret })?;
    Ok(([(CACHE_CONTROL, "no-store")], answer).into_response())
}
