//! Apps: read as other nouns, and changed by verbs of their own.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::wire::{
    self, AppRollBackRequest, DeleteQuery, PlanQuery, RevisionQuery, ScaleRequest, UpRequest,
    UpgradeRequest,
};
use control::{Control, Service};
use http::Method;
use http::header::CACHE_CONTROL;
use model::Error;
use model::app::{App, AppDifference, AppFiles, AppNote, AppNoun};
use serde_json::json;

use super::objects::{self, Place, Served, Write, describe, json_value, mode, object_path};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::{Description, Named};
use crate::refusal::Reply;

impl Served for AppNoun {
    fn service(control: &Control) -> Service<Self> {
        control.apps()
    }

    const WRITES: &'static [Write] = &[];
}

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = objects::routes::<AppNoun>(routes);
    let path = |verb: &str| format!("{}/{verb}", object_path::<AppNoun>());
    let up = told("up", "Installs one app from Compose files, or changes the one of this name.")
        .body::<UpRequest>();
    let upgrade = told("upgrade", "Reads the files of one app again with other variables.")
        .body::<UpgradeRequest>();
    let scale = told("scale", "Changes how many instances services of one app have.")
        .body::<ScaleRequest>();
    let back = told("rollback", "Takes an earlier revision of one app again, as a new revision.")
        .body::<AppRollBackRequest>();
    let summary = "Removes one app and all it made; its volumes with `volumes=true`.";
    let down = describe::<AppNoun>("delete", false, summary.into()).query::<DeleteQuery>().answers(
        200,
        "The app, and what goes.",
        deployed(),
    );
    let summary = "The files that one app was made from. There may be secrets in them.";
    let files = describe::<AppNoun>("files", false, summary.into())
        .query::<RevisionQuery>()
        .answers(200, "The files.", Named::of::<AppFiles>());
    routes
        .add(Pace::Prompt, Method::POST, &path("up"), self::up, up)
        .add(Pace::Prompt, Method::POST, &path("upgrade"), self::upgrade, upgrade)
        .add(Pace::Prompt, Method::POST, &path("scale"), self::scale, scale)
        .add(Pace::Prompt, Method::POST, &path("rollback"), roll_back, back)
        .add(Pace::Prompt, Method::DELETE, &object_path::<AppNoun>(), self::down, down)
        .add(Pace::Prompt, Method::GET, &path("files"), self::files, files)
}

pub(super) fn told(verb: &str, summary: &str) -> Description {
    describe::<AppNoun>(verb, false, summary.into()).query::<PlanQuery>().answers(
        200,
        "The app, and how it differs from what was there.",
        deployed(),
    )
}

fn deployed() -> Named {
    let parts =
        vec![Named::object::<AppNoun>(), Named::of::<AppDifference>(), Named::of::<AppNote>()];
    Named::made("Deployed".into(), parts, |parts| {
        json!({
            "type": "object",
            "required": ["app", "changes"],
            "properties": {
                "app": parts[0],
                "changes": { "type": "array", "items": parts[1] },
                "ignored": { "type": "array", "items": parts[2] },
            },
        })
    })
}

pub(super) fn answer(done: control::Deployed, ignored: Vec<AppNote>) -> Reply<Response> {
    let control::Deployed { app, changes } = done;
    json_value(&wire::Deployed { app: App::clone(&app), changes, ignored })
}

async fn up(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(UpRequest { files, roll_back_on_failure, copy_volumes }): Json<UpRequest>,
) -> Reply<Response> {
    let apps = api.control.apps();
    let (wish, ignored) = control::Wish::read(&name, files, "up")?;
    let wish = control::Wish { roll_back_on_failure, copy_volumes, ..wish };
    answer(apps.deploy(&caller, &project, &name, &wish, mode(plan)).await?, ignored)
}

async fn upgrade(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(UpgradeRequest { set, roll_back_on_failure, copy_volumes }): Json<UpgradeRequest>,
) -> Reply<Response> {
    let apps = api.control.apps();
    if apps.get(&caller, &project, &name)?.spec.origin.is_some() {
        return Err(Error::conflict(format!("app {name:?} is from a template"))
            .next(format!("hull catalog upgrade {name}"))
            .into());
    }
    let mut files = apps.files(&caller, &project, &name, None).await?;
    let words: Vec<_> = set.keys().map(String::as_str).collect();
    let what = format!("upgrade {}", words.join(" "));
    files.variables.extend(set);
    let (wish, ignored) = control::Wish::read(&name, files, what.trim())?;
    let wish = control::Wish { roll_back_on_failure, copy_volumes, ..wish };
    answer(apps.deploy(&caller, &project, &name, &wish, mode(plan)).await?, ignored)
}

async fn scale(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(ScaleRequest { services }): Json<ScaleRequest>,
) -> Reply<Response> {
    let apps = api.control.apps();
    answer(apps.scale(&caller, &project, &name, &services, mode(plan)).await?, Vec::new())
}

async fn roll_back(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(AppRollBackRequest { revision, volumes }): Json<AppRollBackRequest>,
) -> Reply<Response> {
    let apps = api.control.apps();
    let to = (revision, volumes);
    answer(apps.roll_back(&caller, &project, &name, to, mode(plan)).await?, Vec::new())
}

async fn down(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(DeleteQuery { plan, force, volumes }): Params<DeleteQuery>,
) -> Reply<Response> {
    if force {
        return Err(Error::invalid("app has no such choice").at("force").into());
    }
    let apps = api.control.apps();
    answer(apps.down(&caller, &project, &name, volumes, mode(plan)).await?, Vec::new())
}

async fn files(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(RevisionQuery { revision }): Params<RevisionQuery>,
) -> Reply<Response> {
    let files = api.control.apps().files(&caller, &project, &name, revision).await?;
    Ok(([(CACHE_CONTROL, "no-store")], json_value(&files)?).into_response())
}
