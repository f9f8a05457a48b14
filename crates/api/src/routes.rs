//! The routes: what path and method lead to which call of control. One file a noun; [`objects`]
//! has what all nouns share.

mod apps;
mod catalogs;
mod console;
mod events;
mod explain;
mod images;
mod installs;
mod instances;
mod lists;
mod objects;
mod services;
mod sign_ins;
mod snapshots;
mod streams;
mod system;
mod tokens;
mod users;
mod volumes;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use control::{Control, Service};
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Method, StatusCode, Uri};
use model::Error;
use model::catalog::CatalogNoun;
use model::config::ConfigNoun;
use model::network::NetworkNoun;
use model::node::NodeNoun;
use model::operation::OperationNoun;
use model::project::ProjectNoun;
use model::secret::SecretNoun;
use model::service::ServiceNoun;
use model::user::UserNoun;
use model::volume::{SnapshotNoun, VolumeNoun};
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Api;
use crate::admit;
use crate::assets;
use crate::document::{Description, Document};
use crate::refusal::Refusal;

/// Routes that are being put together, with the document that describes them.
pub(crate) struct Routes {
    guarded: Router<Arc<Api>>,
    open: Router<Arc<Api>>,
    document: Document,
    answer: Duration,
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It is one answer, and must come within [`crate::Limits::answer`].
    Prompt,
    /// It is a stream, takes one, or waits for something: as long as the caller stays.
    Lasting,
}

impl Routes {
    fn new(answer: Duration) -> Self {
        Self { guarded: Router::new(), open: Router::new(), document: Document::new(), answer }
    }

    /// Adds a route for known callers.
    pub(crate) fn add<H, T>(
        mut self,
        pace: Pace,
        method: Method,
        path: &str,
        handler: H,
        description: Description,
    ) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        self.document.add(&method, path, description);
        let limit = self.answer;
        let route = on(filter(&method), handler);
        let route = match pace {
            Pace::Prompt => route.layer(from_fn(move |request, next| within(limit, request, next))),
            Pace::Lasting => route,
        };
        self.guarded = self.guarded.route(path, route);
        self
    }

    /// Adds a route for everybody.
    pub(crate) fn add_open<H, T>(
        mut self,
        method: Method,
        path: &str,
        handler: H,
        description: Description,
    ) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        self.document.add(&method, path, description.open());
        self.open = self.open.route(path, on(filter(&method), handler));
        self
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("routes use the usual methods")
}

fn all(answer: Duration) -> Routes {
    let mut routes = Routes::new(answer);
    routes = objects::routes::<NetworkNoun>(routes);
    routes = services::routes(objects::routes::<ServiceNoun>(routes));
    routes = apps::routes(routes);
    routes = objects::routes::<SecretNoun>(routes);
    routes = objects::routes::<ConfigNoun>(routes);
    routes = objects::routes::<VolumeNoun>(routes);
    routes = objects::routes::<SnapshotNoun>(routes);
    routes = objects::routes::<NodeNoun>(routes);
    routes = objects::routes::<ProjectNoun>(routes);
    routes = objects::routes::<OperationNoun>(routes);
    routes = instances::routes(routes);
    routes = streams::routes(routes);
    routes = snapshots::routes(routes);
    routes = console::routes(routes);
    routes = installs::routes(routes);
    routes = catalogs::routes(objects::routes::<CatalogNoun>(routes));
    routes = volumes::routes(routes);
    routes = images::routes(routes);
    routes = tokens::routes(routes);
    routes = users::routes(routes);
    routes = sign_ins::routes(routes);
    routes = events::routes(routes);
    routes = explain::routes(routes);
    routes = system::routes(routes);
    routes.document.finish();
    routes
}

/// The document of all routes.
pub(crate) fn document() -> Document {
    all(Duration::MAX).document
}

/// All routes, with what each request passes before its own.
pub(crate) fn router(api: &Arc<Api>) -> Router {
    let Routes { guarded, open, .. } = all(api.limits.answer);
    let guarded = guarded
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(api.clone(), admit::guard));
    open.merge(assets::router())
        .method_not_allowed_fallback(no_method)
        .merge(guarded)
        .layer(from_fn_with_state(api.clone(), admit::count))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(map_response(as_it_says))
        .with_state(api.clone())
}

macro_rules! served {
    ($($noun:ty => $service:ident $([$($write:ident),*])?;)*) => {
        $(impl objects::Served for $noun {
            fn service(control: &Control) -> Service<Self> {
                control.$service()
            }
            $(const WRITES: &'static [objects::Write] = &[$(objects::Write::$write),*];)?
        })*
    };
}

served! {
    CatalogNoun => catalogs;
    NetworkNoun => networks;
    VolumeNoun => volumes;
    SecretNoun => secrets;
    ConfigNoun => configs;
    ServiceNoun => services;
    SnapshotNoun => snapshots;
    ProjectNoun => projects;
    UserNoun => users;
    NodeNoun => nodes [Patch, Delete];
    OperationNoun => operations [Delete];
}

async fn within(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let error = Error::unavailable(format!("no answer within {} s", limit.as_secs()))
                .next("try again; hull status tells what is slow");
            Refusal::from(error).into_response()
        }
    }
}

async fn no_route(uri: Uri) -> Refusal {
    let error = Error::not_found(format!("there is nothing at {}", uri.path()));
    error.next("/openapi.json lists what there is").into()
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    let error = Error::unsupported(format!("{method} is not done to {}", uri.path()))
        .next("/openapi.json lists what is");
    Refusal::with_status(error, StatusCode::METHOD_NOT_ALLOWED)
}

/// No browser takes an answer for anything else than it says it is: a log that is a page is still text.
async fn as_it_says(mut response: Response) -> Response {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Refusal::from(Error::internal("the request met a fault of the platform")).into_response()
}
