//! The web console: pages rendered here, complete without script, kept up to date where there is one.
//!
//! A page calls the same service layer as the API and goes through the same guard (`api::guard`): its route
//! cannot be written down without what it takes. Everything that changes something is a form with the session's own
//! word in it, answered by a redirect.

mod accounts;
mod assets;
mod backups;
mod catalogue;
mod components;
mod door;
mod internet;
mod live;
mod logs;
mod messages;
mod notifications;
mod overview;
mod page;
mod roles;
mod servicing;
mod single_sign_on;
mod system_status;
mod updates;
mod usage;
mod wizard;

pub use door::Peer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use domain::access::ObjectClass::{
    Accounts, Components, Content, ServiceConnectionPoint, Site, StatusMessages, UpdatePackages, UsageData,
};
use pages::forms::FORM_BYTES_MAX;
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::guard::{
    Route, both, both_all, modifies, modifies_all, reads, route, signed_in, signed_in_changes,
};
use crate::api::in_time::{self, Limits};
use crate::service::SiteService;

/// Longest time for a page, the reading of its form included.
const LIMITS: Limits = Limits {
    within: Duration::from_secs(60),
    bytes: FORM_BYTES_MAX,
    late: door::late,
    unread: door::unread,
};
/// The stream of changes of a page.
const LIVE_PATH: &str = "/live";
/// Pages that are kept up to date; asking for any other again and again would be work for nothing.
const LIVE: [&str; 8] = [
    "/overview",
    "/updates",
    "/updates/features",
    "/updates/status",
    "/updates/{guid}",
    "/components",
    "/internet",
    "/logs",
];

/// The console, for the listener that other machines reach.
pub fn router(service: Arc<SiteService>) -> Router {
    // Whoever sends a form, signed in or not, has the same time for it.
    let pages = some_pages(|_| true, &service)
        .layer(from_fn_with_state(service.clone(), door::check_session))
        .merge(open_routes(service.clone()))
        .layer(from_fn_with_state(LIMITS, in_time::answer));
    // A live view asks for the same page again, behind the door, with the same user.
    let pages_live = some_pages(|path| LIVE.contains(&path), &service);
    let live = Router::new()
        .route(LIVE_PATH, get(live::stream))
        .layer(axum::Extension(live::Pages(pages_live)))
        .with_state(service.clone())
        .layer(from_fn_with_state(service, door::check_session));
    pages
        .merge(live)
        .layer(from_fn(pages::add_headers))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(CatchPanicLayer::custom(page::after_panic))
}

/// Some of the pages, behind their guards.
fn some_pages(which: impl Fn(&str) -> bool, service: &Arc<SiteService>) -> Router {
    routes()
        .into_iter()
        .filter(|route| which(route.path))
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.guarded())
        })
        .with_state(service.clone())
}

/// What nobody has to be signed in for.
fn open_routes(service: Arc<SiteService>) -> Router {
    Router::new()
        .route("/sign-in", get(door::sign_in_page).post(door::sign_in))
        .route("/sign-in/oidc", get(single_sign_on::begin))
        .route("/sign-in/oidc/callback", get(single_sign_on::end))
        .route("/setup", get(door::setup_page).post(door::set_up))
        .layer(from_fn_with_state(service.clone(), door::one_of_few))
        .route("/assets/{name}", get(assets::get))
        .with_state(service)
}

/// Every page with what it takes.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route("/", signed_in(), get(overview::home)),
        route("/overview", reads(Site), get(overview::show)),
        route("/search", reads(UpdatePackages), get(overview::search)),
        route("/own-password", signed_in(), get(accounts::own_password)),
        route(
            "/own-password/change",
            signed_in_changes(),
            post(accounts::change_own_password),
        ),
        route("/sign-out", signed_in_changes(), post(door::sign_out)),
        route("/check", modifies(Site), post(overview::check_now)),
        route("/updates", reads(UpdatePackages), get(updates::list)),
        route("/updates/history", reads(UpdatePackages), get(updates::history)),
        route("/updates/features", reads(UpdatePackages), get(updates::features)),
        route(
            "/updates/features/{guid}",
            modifies_all(UpdatePackages),
            post(updates::set_feature),
        ),
        route("/updates/status", reads(UpdatePackages), get(servicing::show)),
        route("/updates/{guid}", reads(UpdatePackages), get(updates::show)),
        route("/updates/{guid}/plan", reads(UpdatePackages), get(updates::plan)),
        route(
            "/updates/{guid}/act",
            modifies(UpdatePackages),
            post(updates::act),
        ),
        route(
            "/updates/{guid}/wizard",
            both(UpdatePackages),
            get(wizard::show).post(wizard::step),
        ),
        route("/components", reads(Components), get(components::show)),
        route(
            "/components/{name}",
            both(Components),
            get(components::one).post(components::act),
        ),
        route(
            "/components/{name}/log-level",
            modifies(Components),
            post(components::set_log_level),
        ),
        route(
            "/components/{name}/reset",
            modifies(StatusMessages),
            post(components::reset),
        ),
        route("/messages", reads(StatusMessages), get(messages::show)),
        route("/notifications", signed_in(), get(notifications::show)),
        route(
            "/notifications/{key}",
            signed_in_changes(),
            post(notifications::change),
        ),
        route("/system-status", reads(StatusMessages), get(system_status::show)),
        route(
            "/system-status/thresholds/{name}",
            modifies(StatusMessages),
            post(system_status::set_threshold),
        ),
        route(
            "/system-status/rules",
            modifies(StatusMessages),
            post(system_status::add_rule),
        ),
        route(
            "/system-status/rules/{name}",
            modifies(StatusMessages),
            post(system_status::change_rule),
        ),
        route("/logs", reads(Components), get(logs::show)),
        route("/servers", reads(Site), get(roles::servers)),
        route(
            "/servers/service-connection-point",
            reads(ServiceConnectionPoint),
            get(roles::scp),
        ),
        route(
            "/servers/service-connection-point/mode",
            modifies(ServiceConnectionPoint),
            post(roles::set_mode),
        ),
        route(
            "/servers/service-connection-point/proxy",
            modifies(ServiceConnectionPoint),
            post(roles::set_proxy),
        ),
        route(
            "/internet",
            both(ServiceConnectionPoint),
            get(internet::show).post(internet::check),
        ),
        route(
            "/internet/report",
            reads(ServiceConnectionPoint),
            get(internet::report),
        ),
        route("/usage", both(UsageData), get(usage::show).post(usage::change)),
        route("/usage/preview", reads(UsageData), get(usage::preview)),
        route("/usage/ledger", reads(UsageData), get(usage::ledger)),
        route("/backups", both(Site), get(backups::show).post(backups::run)),
        route(
            "/backups/schedule",
            modifies_all(Site),
            post(backups::set_schedule),
        ),
        route(
            "/backups/schedule/end",
            modifies_all(Site),
            post(backups::end_schedule),
        ),
        route(
            "/content",
            both(Content),
            get(roles::content).post(roles::set_throttle),
        ),
        route(
            "/accounts",
            both_all(Accounts),
            get(accounts::show).post(accounts::change),
        ),
    ]
}

#[cfg(test)]
mod single_sign_on_tests;
#[cfg(test)]
mod stub_provider;
#[cfg(test)]
mod tests;
