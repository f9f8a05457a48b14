//! Apps of templates: made, and changed to other versions and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::answers::{self, Answers};
use catalog::{Library, Rendered, within};
use client::wire::{InstallRequest, PlanQuery, TemplateUpgradeRequest};
use control::Caller;
use http::Method;
use model::app::{App, AppFile, AppFiles, AppNoun, Origin};
use model::catalog::Catalog;
use model::data::Data;
use model::template::{Template, TemplateVersion};
use model::{Error, ErrorKind, Result};

use super::apps::{answer, told};
use super::catalogs::{blocking, content, find, version};
use super::objects::{Place, mode, object_path};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::{Json, Params};
use crate::refusal::Reply;

pub(super) fn routes(routes: Routes) -> Routes {
    let path = |verb: &str| format!("{}/{verb}", object_path::<AppNoun>());
    let installing = told("install", "Makes one app of a template.").body::<InstallRequest>();
    let summary = "Changes one app to another version of its template, or by other answers.";
    let upgrading = told("upgradeTemplate", summary).body::<TemplateUpgradeRequest>();
    routes.add(Pace::Prompt, Method::POST, &path("install"), install, installing).add(
        Pace::Prompt,
        Method::POST,
        &path("upgrade-template"),
        upgrade,
        upgrading,
    )
}

/// A version of a template, and what is answered to its questions.
struct Choice {
    catalog: Arc<Catalog>,
    template: Template,
    version: TemplateVersion,
    given: Answers,
    /// Answers that were given earlier.
    before: Answers,
}

async fn install(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(request): Json<InstallRequest>,
) -> Reply<Response> {
    let InstallRequest { catalog, template, version: asked, answers, keep_failed } = request;
    let before = before(&api, &caller, (&project, &name), (&catalog, &template))?;
    let (catalog, template) = chosen(&api, &caller, &project, (catalog, template)).await?;
    let version = version(&template, asked.as_deref())?.clone();
    let what = format!("install {}/{} {}", template.catalog, template.name, version.version);
    let choice = Choice { catalog, template, version, given: answers, before };
    let (wish, ignored) = wish(&api, &name, choice, what).await?;
    let wish = control::Wish { roll_back_on_failure: !keep_failed, ..wish };
    answer(api.control.apps().deploy(&caller, &project, &name, &wish, mode(plan)).await?, ignored)
}

async fn upgrade(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(request): Json<TemplateUpgradeRequest>,
) -> Reply<Response> {
    let TemplateUpgradeRequest { version: asked, latest, answers, keep_failed, no_copies } =
        request;
    let (origin, secret) = api.control.apps().answers(&caller, &project, &name)?;
    let source = (origin.catalog.clone(), origin.template.clone());
    let (catalog, template) = chosen(&api, &caller, &project, source).await?;
    let asked = match (asked, latest) {
        (Some(asked), _) => Some(asked),
        (None, true) => None,
        (None, false) => Some(origin.version.clone()),
    };
    let version = version(&template, asked.as_deref())?.clone();
    upgradable(&origin.version, &version)?;
    let what = match version.version == origin.version {
        true => {
            let names: Vec<&str> = answers.keys().map(String::as_str).collect();
            format!("upgrade {}", names.join(" ")).trim().to_owned()
        }
        false => format!("upgrade to {}", version.version),
    };
    let before = origin.answers.into_iter().chain(secret).collect();
    let choice = Choice { catalog, template, version, given: answers, before };
    let (wish, ignored) = wish(&api, &name, choice, what).await?;
    let wish =
        control::Wish { roll_back_on_failure: !keep_failed, copy_volumes: !no_copies, ..wish };
    answer(api.control.apps().deploy(&caller, &project, &name, &wish, mode(plan)).await?, ignored)
}

/// The answers of an app of this name, where it is of the same template; an error where it is not.
fn before(
    api: &Api,
    caller: &Caller,
    (project, name): (&str, &str),
    (catalog, template): (&str, &str),
) -> Result<Answers> {
    let app: Arc<App> = match api.control.apps().get(caller, project, name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Answers::new()),
        app => app?,
    };
    let same = app.spec.origin.as_ref();
    if !same.is_some_and(|it| it.catalog == catalog && it.template == template) {
        return Err(Error::exists(format!(
            "there is an app {name:?} that is made of something else"
        ))
        .at("meta.name")
        .next("give it another name: --name"));
    }
    let (origin, secret) = api.control.apps().answers(caller, project, name)?;
    Ok(origin.answers.into_iter().chain(secret).collect())
}

async fn chosen(
    api: &Api,
    caller: &Caller,
    project: &str,
    (catalog, name): (String, String),
) -> Result<(Arc<Catalog>, Template)> {
    let catalog = api.control.catalogs().offered_one(caller, project, &catalog)?;
    let (library, of) = (api.library.clone(), catalog.clone());
    let template = blocking(move || find(&library, &of, &name)).await?;
    Ok((catalog, template))
}

/// Refuses an upgrade that its authors did not foresee.
fn upgradable(from: &str, to: &TemplateVersion) -> Result<()> {
    let foreseen = to.upgrade_from.trim().is_empty() || within(from, &to.upgrade_from);
    if foreseen || from == to.version {
        return Ok(());
    }
    Err(Error::conflict(format!("version {} is no upgrade of version {from}", to.version))
        .at("version")
        .next(format!("it is one of {}; upgrade to such a version first", to.upgrade_from)))
}

/// What an app of this choice shall be.
async fn wish(
    api: &Api,
    app: &str,
    choice: Choice,
    what: String,
) -> Result<(control::Wish, Vec<model::app::AppNote>)> {
    let Choice { catalog, template, version, given, before } = choice;
    let settled = answers::settle(&version.questions, &given, &before, &mut rand::random)?;
    let library: Library = api.library.clone();
    let (name, values) = (app.to_owned(), settled.clone());
    let origin = origin(&template, &version, &settled);
    let files = blocking(move || {
        let place = (catalog.meta.id.as_str(), content(&catalog)?);
        let rendered = library.render(place, &template, &version, &name, &values)?;
        Ok(files(rendered, &version.place, values))
    })
    .await?;
    let (wish, ignored) = control::Wish::read(app, files, &what)?;
    Ok((control::Wish { origin: Some(origin), ..wish }, ignored))
}

/// Where the app is from: answers that may be seen, and those that may not.
fn origin(
    template: &Template,
    version: &TemplateVersion,
    settled: &Answers,
) -> (Origin, BTreeMap<String, String>) {
    let hidden: BTreeSet<&str> = version
        .questions
        .iter()
        .filter(|question| question.is_secret())
        .map(|question| question.variable.as_str())
        .collect();
    let (secret, open): (Answers, Answers) =
        settled.clone().into_iter().partition(|(name, _)| hidden.contains(name.as_str()));
    let origin = Origin {
        catalog: template.catalog.clone(),
        template: template.name.clone(),
        version: version.version.clone(),
        answers: open,
        secret_answers: secret.keys().cloned().collect(),
        ..Origin::default()
    };
    (origin, secret)
}

/// Files as an app keeps them: below the version's own directory.
fn files(rendered: Rendered, place: &str, variables: Answers) -> AppFiles {
    let short = |path: &str| match path.strip_prefix(place).and_then(|it| it.strip_prefix('/')) {
        Some(rest) if !place.is_empty() => rest.to_owned(),
        _ => path.to_owned(),
    };
    let Rendered { files, beside } = rendered;
    // A file of Rancher's is found beside the Compose file by its name.
    let is_main = |path: &String| !path.contains("rancher-compose.y");
    let main = files.iter().map(|file| short(&file.path)).filter(is_main).collect();
    let own = files.into_iter().map(|file| (file.path, file.text.into_bytes()));
    let all = own.chain(beside);
    let all = all.map(|(path, data)| AppFile { path: short(&path), data: Data::new(data) });
    AppFiles { files: all.collect(), main, variables, ..AppFiles::default() }
}
