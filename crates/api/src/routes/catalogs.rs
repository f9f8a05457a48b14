//! Catalogs: as other nouns, and read again; and the templates in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use catalog::Library;
use client::wire::{TemplateDetail, TemplateList, TemplateSummary, TemplatesQuery, VersionQuery};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use model::catalog::{Catalog, CatalogNoun};
use model::error::Context as _;
use model::template::{Template, TemplateVersion};
use model::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::objects::{Collection, Place, describe, json_value, object_path, object_response};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::Params;
use crate::document::{Description, Named};
use crate::refusal::Reply;

/// The word of templates in paths.
const TEMPLATES: &str = "templates";

pub(super) fn routes(routes: Routes) -> Routes {
    let summary = "Has one catalog's source read again, soon.";
    let refreshing = describe::<CatalogNoun>("refresh", false, summary.into()).answers(
        200,
        "As it is now; `status.tried` tells when it was read.",
        Named::object::<CatalogNoun>(),
    );
    let listing = Description::new(
        TEMPLATES,
        "listTemplates",
        "Lists the templates that are offered in a project, those with a problem among them.",
    )
    .query::<TemplatesQuery>()
    .answers(200, "The templates.", Named::of::<TemplateList>());
    let getting = Description::new(
        TEMPLATES,
        "getTemplate",
        "Shows one template, with the README and the files of one of its versions.",
    )
    .query::<VersionQuery>()
    .answers(200, "The template.", Named::of::<TemplateDetail>());
    let picturing = Description::new(TEMPLATES, "getTemplateIcon", "Gives a template's picture.")
        .answers_bytes("The picture.", "image/*");
    let base = format!("/v1/projects/{{project}}/{TEMPLATES}");
    let one = format!("{base}/{{catalog}}/{{name}}");
    let refresh_path = format!("{}/refresh", object_path::<CatalogNoun>());
    routes
        .add(Pace::Prompt, Method::POST, &refresh_path, refresh, refreshing)
        .add(Pace::Prompt, Method::GET, &base, list, listing)
        .add(Pace::Prompt, Method::GET, &one, get, getting)
        .add(Pace::Prompt, Method::GET, &format!("{one}/icon"), icon, picturing)
}

/// Which template is meant.
#[derive(Debug, Clone, Deserialize)]
struct TemplatePlace {
    project: String,
    catalog: String,
    name: String,
}

async fn refresh(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { name, .. }): Path<Place>,
) -> Reply<Response> {
    let catalog = api.control.catalogs().refresh(&caller, &name).await?;
    object_response(StatusCode::OK, &catalog)
}

async fn list(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Collection { project }): Path<Collection>,
    Params(query): Params<TemplatesQuery>,
) -> Reply<Response> {
    let mut catalogs = api.control.catalogs().offered(&caller, &project)?;
    catalogs.retain(|it| query.catalog.is_empty() || it.meta.name == query.catalog);
    let library = api.library.clone();
    let list = blocking(move || Ok(gather(&library, &catalogs, &query))).await?;
    json_value(&list)
}

fn gather(library: &Library, catalogs: &[Arc<Catalog>], query: &TemplatesQuery) -> TemplateList {
    let mut list = TemplateList::default();
    for catalog in catalogs {
        let name = &catalog.meta.name;
        match read(library, catalog) {
            Ok(templates) => {
                let wanted = templates.iter().filter(|it| is_wanted(it, query));
                list.items.extend(wanted.map(TemplateSummary::from));
            }
            Err(error) => drop(list.problems.insert(name.clone(), error.chain())),
        }
    }
    list
}

fn is_wanted(template: &Template, query: &TemplatesQuery) -> bool {
    let Template { name, title, summary, categories, .. } = template;
    let text = format!("{name} {title} {summary} {}", categories.join(" ")).to_lowercase();
    (query.all || !template.system)
        && query.search.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

fn read(library: &Library, catalog: &Catalog) -> Result<Vec<Template>> {
    let mut templates = library.templates(catalog.meta.id.as_str(), content(catalog)?)?;
    templates.iter_mut().for_each(|it| it.catalog.clone_from(&catalog.meta.name));
    Ok(templates)
}

/// The content that a catalog offers.
pub(super) fn content(catalog: &Catalog) -> Result<&str> {
    catalog.status.content.as_deref().ok_or_else(|| {
        let why = catalog.status.reason.as_ref();
        let why = why.map_or("was not read yet", |reason| reason.message.as_str());
        Error::unavailable(format!("{}: {why}", catalog.title()))
            .next(format!("hull catalog refresh {}", catalog.meta.name))
    })
}

async fn get(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(place): Path<TemplatePlace>,
    Params(VersionQuery { version }): Params<VersionQuery>,
) -> Reply<Response> {
    let catalog = api.control.catalogs().offered_one(&caller, &place.project, &place.catalog)?;
    let library = api.library.clone();
    let detail = blocking(move || {
        let template = find(&library, &catalog, &place.name)?;
        detail(&library, &catalog, template, version.as_deref())
    });
    json_value(&detail.await?)
}

/// A template of a catalog.
pub(super) fn find(library: &Library, catalog: &Catalog, name: &str) -> Result<Template> {
    let mut templates = read(library, catalog)?.into_iter();
    templates.find(|it| it.name == name).ok_or_else(|| {
        Error::not_found(format!("{} has no template {name:?}", catalog.title()))
            .next("hull catalog search")
    })
}

/// A version of a template.
pub(super) fn version<'a>(
    template: &'a Template,
    asked: Option<&str>,
) -> Result<&'a TemplateVersion> {
    template.version(asked).ok_or_else(|| {
        let known: Vec<&str> = template.versions.iter().map(|it| it.version.as_str()).collect();
        Error::not_found(format!(
            "template {}/{} has no version {:?}",
            template.catalog,
            template.name,
            asked.unwrap_or_default()
        ))
        .next(format!("it has {}", known.join(", ")))
    })
}

fn detail(
    library: &Library,
    catalog: &Catalog,
    template: Template,
    asked: Option<&str>,
) -> Result<TemplateDetail> {
    if template.versions.is_empty() {
        return Ok(TemplateDetail { template, ..TemplateDetail::default() });
    }
    let version = version(&template, asked)?;
    let text = |path: &str| {
        let bytes = library.file(catalog.meta.id.as_str(), content(catalog)?, path)?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let readme = if version.readme.is_empty() { String::new() } else { text(&version.readme)? };
    let files = version.files.iter().map(|path| Ok((path.clone(), text(path)?)));
    let files = files.collect::<Result<BTreeMap<String, String>>>()?;
    let version = version.version.clone();
    Ok(TemplateDetail { version, readme, files, template })
}

async fn icon(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(place): Path<TemplatePlace>,
) -> Reply<Response> {
    let catalog = api.control.catalogs().offered_one(&caller, &place.project, &place.catalog)?;
    let library = api.library.clone();
    let (path, bytes) = blocking(move || {
        let template = find(&library, &catalog, &place.name)?;
        let bytes = library.file(catalog.meta.id.as_str(), content(&catalog)?, &template.icon);
        let bytes = bytes.map_err(|error| {
            Error::not_found(format!("template {:?} has no picture here", template.name))
                .caused_by(error)
        })?;
        Ok((template.icon, bytes))
    })
    .await?;
    let media_type = match path.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        _ => return Err(Error::unsupported("the picture is of an unknown format").into()),
    };
    // A stranger drew it: opened by itself, it may run nothing.
    let headers = [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "private, max-age=3600"),
    ];
    Ok((headers, bytes).into_response())
}

/// Does what reads the disk where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.context(ErrorKind::Internal, || "reading a catalog failed".into())?
}
