//! The REST API: routes under `/v1`, described by OpenAPI at `/v1/openapi.json`.
//!
//! Handlers translate HTTP to the service layer and back and decide nothing; the command line, this API
//! and later the console all end in the same functions. Whoever reaches a handler has been let in by the
//! listener ([`listen`]), which puts the [`Actor`](crate::service::Actor) into the request.

mod accounts;
mod backups;
pub mod certificate;
mod components;
mod conditional;
mod document;
mod events;
pub(crate) mod guard;
mod health;
mod hierarchy;
mod idempotency;
pub(crate) mod in_time;
mod internet;
pub mod listen;
mod notifications;
pub(crate) mod problem;
pub(crate) mod routes;
mod site;
mod status;
mod status_rules;
mod tool;
mod under_way;
mod updates;
mod usage;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;

use self::conditional::Conditions;
use self::events::Routes;
use self::guard::Route;
use self::in_time::Limits;
use self::problem::refuse;
use self::routes::{event_route, long_routes, quick_routes};
use crate::service::SiteService;

pub use document::openapi;

/// Largest request body; the longest request lists features by GUID.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a request is granted. Requests start work, they do not wait for it; a database that is busy
/// with the takeover of a large catalogue answers well within this.
const LIMITS: Limits = Limits {
    within: Duration::from_secs(60),
    bytes: BODY_BYTES_MAX,
    late,
    unread,
};

/// What handlers share.
type Service = axum::extract::State<Arc<SiteService>>;

/// Every route of the API.
pub fn router(service: Arc<SiteService>) -> Router {
    let quick = keyed(quick_routes(), &service).layer(from_fn_with_state(LIMITS, in_time::answer));
    let watched = plain(quick_routes()).with_state(service.clone());
    let events = plain(vec![event_route()])
        .layer(axum::Extension(Routes(watched)))
        .with_state(service.clone());
    let routes = quick.merge(keyed_long(long_routes(), &service));
    Router::new()
        .nest("/v1", routes.merge(events))
        .merge(open_routes().with_state(service))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(after_panic))
}

/// Routes behind their guards.
fn plain(routes: Vec<Route>) -> Router<Arc<SiteService>> {
    routes.into_iter().fold(Router::new(), |router, route| {
        router.route(route.path, route.guarded())
    })
}

/// The same, with entity tags and keys for changes. Both come after the guard: who may not change something neither waits
/// for others nor leaves anything behind.
fn keyed(routes: Vec<Route>, service: &Arc<SiteService>) -> Router {
    let router = routes.into_iter().fold(Router::new(), |router, route| {
        let alone = Router::new()
            .route(route.path, route.unguarded())
            .with_state(service.clone());
        let (path, needs) = (route.path, route.needs);
        let methods = route
            .unguarded()
            .layer(from_fn_with_state(Conditions::new(alone), conditional::check))
            .layer(from_fn_with_state(service.clone(), idempotency::keep));
        router.route(path, guard::route(path, needs, methods).guarded())
    });
    router.with_state(service.clone())
}

/// Routes that take their time, with keys for changes. What they do is no state that somebody could have seen before.
fn keyed_long(routes: Vec<Route>, service: &Arc<SiteService>) -> Router {
    let router = routes.into_iter().fold(Router::new(), |router, route| {
        let methods = route
            .unguarded()
            .layer(from_fn(conditional::refuse_tags))
            .layer(from_fn_with_state(service.clone(), idempotency::keep));
        router.route(
            route.path,
            guard::route(route.path, route.needs, methods).guarded(),
        )
    });
    router.with_state(service.clone())
}

/// What probes ask, who have no token ([`health::OPEN`]).
fn open_routes() -> Router<Arc<SiteService>> {
    Router::new()
        .route(health::OPEN[0], get(health::healthz))
        .route(health::OPEN[1], get(health::readyz))
}

fn late() -> Response {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "this took longer than anybody should wait; a change that was begun goes on".to_owned(),
        Some("look in a moment whether it was made".to_owned()),
    )
    .into_response()
}

fn unread() -> Response {
    refuse(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the request body cannot be read: it broke off, or has more than {BODY_BYTES_MAX} bytes"),
        None,
    )
    .into_response()
}

async fn no_such_route(uri: http::Uri) -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        format!("this site has no {}", uri.path()),
        Some("see /v1/openapi.json for what there is".to_owned()),
    )
    .into_response()
}

async fn wrong_method(method: http::Method, uri: http::Uri) -> Response {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take {method}", uri.path()),
        Some("see /v1/openapi.json for what it takes".to_owned()),
    )
    .into_response()
}

/// A panic in a handler ends that request only.
fn after_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request ended in a panic: {}", problem::words_of(&*panic));
    refuse(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the site failed while it answered this request".to_owned(),
        Some("the reason is in smsexec.log: tidegate logs SMS_EXECUTIVE".to_owned()),
    )
    .into_response()
}
