//! The REST API: routes under `/v1`, described by OpenAPI at `/v1/openapi.json`.
//!
//! Handlers translate HTTP to the service layer and back and decide nothing; the command line, this API
//! and later the console all end in the same functions. Whoever reaches a handler has been let in by the
//! listener ([`listen`]), which puts the [`Actor`](crate::service::Actor) into the request.

pub mod certificate;
mod components;
mod document;
mod hierarchy;
mod internet;
pub mod listen;
mod problem;
mod site;
mod status;
mod status_rules;
mod tool;
mod updates;
mod usage;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use http::StatusCode;
use protocol::api::ApiProblem;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::service::SiteService;

pub use document::openapi;

/// Largest request body; the longest request lists features by GUID.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest time for an answer. Requests start work, they do not wait for it; a database that is busy
/// with the takeover of a large catalogue answers well within this.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// What handlers share.
type Service = axum::extract::State<Arc<SiteService>>;

/// Every route of the API.
pub fn router(service: Arc<SiteService>) -> Router {
    let answered_soon = add(Router::new(), quick_routes()).layer(TimeoutLayer::with_status_code(
        StatusCode::SERVICE_UNAVAILABLE,
        ANSWER_TIME_MAX,
    ));
    Router::new()
        .nest("/v1", add(answered_soon, long_routes()).with_state(service))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(after_panic))
}

type Route = (&'static str, MethodRouter<Arc<SiteService>>);

fn add(router: Router<Arc<SiteService>>, routes: Vec<Route>) -> Router<Arc<SiteService>> {
    routes
        .into_iter()
        .fold(router, |router, (path, methods)| router.route(path, methods))
}

/// Routes that only look or start something.
fn quick_routes() -> Vec<Route> {
    vec![
        ("/openapi.json", get(document::get_document)),
        ("/site", get(site::show)),
        ("/sync", get(site::sync_status).post(site::check_now)),
        ("/components", get(components::list)),
        ("/components/{name}", get(components::query)),
        ("/components/{name}/action", post(components::act)),
        ("/components/{name}/log-level", put(components::set_log_level)),
        ("/updates", get(updates::list)),
        ("/updates/{guid}", get(updates::show)),
        ("/updates/{guid}/why", get(updates::why)),
        ("/updates/{guid}/prerequisites", get(updates::prereq_results)),
        ("/updates/{guid}/download", post(updates::download)),
        ("/updates/{guid}/prereq", post(updates::prereq)),
        ("/updates/{guid}/install", post(updates::install)),
        ("/updates/{guid}/retry", post(updates::retry)),
        ("/updates/{guid}/ignore-warnings", post(updates::ignore_warnings)),
        ("/updates/{guid}/reset", post(updates::reset)),
        ("/update-status", get(updates::status)),
        ("/history", get(updates::history)),
        ("/features", get(updates::features)),
        ("/features/{guid}", put(updates::set_feature)),
        ("/status/messages", get(status::messages)),
        ("/status/messages/delete", post(status::delete_messages)),
        ("/status/alerts", get(status_rules::alerts)),
        ("/status/systems", get(status::systems)),
        (
            "/status/systems/{object}",
            put(status::set_system).delete(status::reset_system),
        ),
        ("/status/components", get(status::components)),
        ("/status/components/{name}/reset", post(status::reset_component)),
        ("/status/thresholds", get(status::thresholds)),
        (
            "/status/thresholds/{name}",
            put(status::set_threshold).delete(status::reset_thresholds),
        ),
        ("/status/rules", get(status_rules::list).post(status_rules::add)),
        (
            "/status/rules/{name}",
            put(status_rules::change).delete(status_rules::remove),
        ),
        ("/status/state-messages", get(status::state_messages)),
        ("/content", get(site::content_stats)),
        ("/throttle", get(hierarchy::throttle).put(hierarchy::set_throttle)),
        ("/scp", get(internet::scp)),
        ("/scp/mode", put(internet::set_mode)),
        (
            "/scp/proxy",
            get(internet::proxy)
                .put(internet::set_proxy)
                .delete(internet::clear_proxy),
        ),
        ("/internet", get(internet::last)),
        ("/internet/history", get(internet::history)),
        ("/metrics", get(internet::metrics)),
        ("/usage", get(usage::show)),
        ("/usage/level", get(usage::level).put(usage::set_level)),
        ("/usage/sending", get(usage::sending).put(usage::set_sending)),
        ("/usage/reports", get(usage::reports)),
        ("/usage/reports/{report}", get(usage::report)),
        ("/usage/reports/{report}/body", get(usage::report_body)),
        ("/usage/reports/{report}/approve", post(usage::approve)),
        ("/usage/reports/{report}/discard", post(usage::discard)),
        ("/usage/upload", post(usage::upload)),
        ("/usage/rotate-keys", post(usage::rotate_keys)),
        ("/usage/ledger", get(usage::ledger)),
        ("/inventory", get(usage::inventory)),
        ("/tool/import", get(tool::last_import).post(tool::import)),
    ]
}

/// Routes that answer when the work is done: as long as the content library is large, or endpoints are slow.
fn long_routes() -> Vec<Route> {
    vec![
        ("/updates/{guid}/plan", get(updates::plan)),
        ("/content/verify", post(site::content_verify)),
        ("/content/gc", post(site::content_gc)),
        ("/scp/proxy/test", post(internet::test_proxy)),
        ("/internet/check", post(internet::check)),
        ("/tool/prepare", post(tool::prepare)),
        ("/tool/register", post(tool::register)),
        ("/usage/preview", get(usage::preview)),
        ("/usage/collect", post(usage::collect)),
        ("/usage/ledger/verify", post(usage::verify_ledger)),
        ("/inventory/{table}", put(usage::import)),
    ]
}

async fn no_such_route(uri: http::Uri) -> Response {
    let problem = ApiProblem {
        error: format!("this site has no {}", uri.path()),
        hint: Some("see /v1/openapi.json for what there is".to_owned()),
    };
    (StatusCode::NOT_FOUND, axum::Json(problem)).into_response()
}

async fn wrong_method(method: http::Method, uri: http::Uri) -> Response {
    let problem = ApiProblem {
        error: format!("{} does not take {method}", uri.path()),
        hint: Some("see /v1/openapi.json for what it takes".to_owned()),
    };
    (StatusCode::METHOD_NOT_ALLOWED, axum::Json(problem)).into_response()
}

/// A panic in a handler ends that request only.
fn after_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let words = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!("a request ended in a panic: {words}");
    let problem = ApiProblem {
        error: "the site failed while it answered this request".to_owned(),
        hint: Some("the reason is in smsexec.log: tidegate logs SMS_EXECUTIVE".to_owned()),
    };
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(problem)).into_response()
}
