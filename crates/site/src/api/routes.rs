//! Every route of the API with what it takes.

use axum::routing::{delete, get, post, put};
use domain::access::ObjectClass::{
    Accounts, Components, Content, ServiceConnectionPoint, Site, StatusMessages, UpdatePackages, UsageData,
};

use super::guard::{
    Route, both, both_all, modifies, modifies_all, reads, route, signed_in, signed_in_changes,
};
use super::{
    accounts, backups, components, document, events, hierarchy, internet, notifications, site, status,
    status_rules, tool, updates, usage,
};

/// Routes that only look or start something.
pub(crate) fn quick_routes() -> Vec<Route> {
    vec![
        route("/openapi.json", signed_in(), get(document::get_document)),
        route("/site", reads(Site), get(site::show)),
        route("/sync", both(Site), get(site::sync_status).post(site::check_now)),
        route("/backups", both(Site), get(backups::list).post(backups::run)),
        route(
            "/backups/schedule",
            modifies_all(Site),
            put(backups::set_schedule).delete(backups::end_schedule),
        ),
        route("/components", reads(Components), get(components::list)),
        route("/components/{name}", reads(Components), get(components::query)),
        route(
            "/components/{name}/action",
            modifies(Components),
            post(components::act),
        ),
        route(
            "/components/{name}/log-level",
            modifies(Components),
            put(components::set_log_level),
        ),
        route("/updates", reads(UpdatePackages), get(updates::list)),
        route("/updates/{guid}", reads(UpdatePackages), get(updates::show)),
        route("/updates/{guid}/why", reads(UpdatePackages), get(updates::why)),
        route(
            "/updates/{guid}/prerequisites",
            reads(UpdatePackages),
            get(updates::prereq_results),
        ),
        route(
            "/updates/{guid}/download",
            modifies(UpdatePackages),
            post(updates::download),
        ),
        route(
            "/updates/{guid}/prereq",
            modifies(UpdatePackages),
            post(updates::prereq),
        ),
        route(
            "/updates/{guid}/install",
            modifies(UpdatePackages),
            post(updates::install),
        ),
        route(
            "/updates/{guid}/retry",
            modifies(UpdatePackages),
            post(updates::retry),
        ),
        route(
            "/updates/{guid}/ignore-warnings",
            modifies(UpdatePackages),
            post(updates::ignore_warnings),
        ),
        route(
            "/updates/{guid}/reset",
            modifies(UpdatePackages),
            post(updates::reset),
        ),
        route("/update-status", reads(UpdatePackages), get(updates::status)),
        route("/history", reads(UpdatePackages), get(updates::history)),
        route("/features", reads(UpdatePackages), get(updates::features)),
        route(
            "/features/{guid}",
            modifies_all(UpdatePackages),
            put(updates::set_feature),
        ),
        route("/status/messages", reads(StatusMessages), get(status::messages)),
        route(
            "/status/messages/delete",
            // Audit messages go with the others: what was done is only removed by who is trusted with everything.
            modifies_all(StatusMessages),
            post(status::delete_messages),
        ),
        route("/status/alerts", reads(StatusMessages), get(status_rules::alerts)),
        route("/status/systems", reads(StatusMessages), get(status::systems)),
        route(
            "/status/systems/{object}",
            modifies(StatusMessages),
            put(status::set_system).delete(status::reset_system),
        ),
        route(
            "/status/components",
            reads(StatusMessages),
            get(status::components),
        ),
        route(
            "/status/components/{name}/reset",
            modifies(StatusMessages),
            post(status::reset_component),
        ),
        route(
            "/status/thresholds",
            reads(StatusMessages),
            get(status::thresholds),
        ),
        route(
            "/status/thresholds/{name}",
            modifies(StatusMessages),
            put(status::set_threshold).delete(status::reset_thresholds),
        ),
        route(
            "/status/rules",
            both(StatusMessages),
            get(status_rules::list).post(status_rules::add),
        ),
        route(
            "/status/rules/{name}",
            modifies(StatusMessages),
            put(status_rules::change).delete(status_rules::remove),
        ),
        route(
            "/status/state-messages",
            reads(StatusMessages),
            get(status::state_messages),
        ),
        route("/content", reads(Content), get(site::content_stats)),
        route(
            "/throttle",
            both(Content),
            get(hierarchy::throttle).put(hierarchy::set_throttle),
        ),
        route("/scp", reads(ServiceConnectionPoint), get(internet::scp)),
        route(
            "/scp/mode",
            modifies(ServiceConnectionPoint),
            put(internet::set_mode),
        ),
        route(
            "/scp/proxy",
            both(ServiceConnectionPoint),
            get(internet::proxy)
                .put(internet::set_proxy)
                .delete(internet::clear_proxy),
        ),
        route("/internet", reads(ServiceConnectionPoint), get(internet::last)),
        route(
            "/internet/history",
            reads(ServiceConnectionPoint),
            get(internet::history),
        ),
        route("/metrics", reads(Site), get(internet::metrics)),
        route("/notifications", signed_in(), get(notifications::list)),
        route(
            "/notifications/{key}/dismiss",
            signed_in_changes(),
            post(notifications::dismiss),
        ),
        route(
            "/notifications/{key}/snooze",
            signed_in_changes(),
            post(notifications::snooze),
        ),
        route("/usage", reads(UsageData), get(usage::show)),
        route(
            "/usage/level",
            both(UsageData),
            get(usage::level).put(usage::set_level),
        ),
        route(
            "/usage/sending",
            both(UsageData),
            get(usage::sending).put(usage::set_sending),
        ),
        route("/usage/reports", reads(UsageData), get(usage::reports)),
        route("/usage/reports/{report}", reads(UsageData), get(usage::report)),
        route(
            "/usage/reports/{report}/body",
            reads(UsageData),
            get(usage::report_body),
        ),
        route(
            "/usage/reports/{report}/approve",
            modifies(UsageData),
            post(usage::approve),
        ),
        route(
            "/usage/reports/{report}/discard",
            modifies(UsageData),
            post(usage::discard),
        ),
        route("/usage/upload", modifies(UsageData), post(usage::upload)),
        route(
            "/usage/rotate-keys",
            modifies(UsageData),
            post(usage::rotate_keys),
        ),
        route("/usage/ledger", reads(UsageData), get(usage::ledger)),
        route("/inventory", reads(UsageData), get(usage::inventory)),
        route(
            "/accounts",
            both_all(Accounts),
            get(accounts::list).post(accounts::add),
        ),
        route(
            "/accounts/{name}",
            modifies_all(Accounts),
            delete(accounts::remove),
        ),
        route(
            "/accounts/{name}/role",
            modifies_all(Accounts),
            put(accounts::set_role),
        ),
        route(
            "/accounts/{name}/password",
            modifies_all(Accounts),
            put(accounts::set_password),
        ),
        route(
            "/tokens",
            both_all(Accounts),
            get(accounts::tokens).post(accounts::add_token),
        ),
        route(
            "/tokens/{name}",
            modifies_all(Accounts),
            delete(accounts::remove_token),
        ),
        route("/setup-link", modifies_all(Accounts), post(accounts::setup_link)),
        route(
            "/tool/import",
            both(UpdatePackages),
            get(tool::last_import).post(tool::import),
        ),
    ]
}

/// Routes that answer when the work is done: as long as the content library is large, or endpoints are slow.
pub(crate) fn long_routes() -> Vec<Route> {
    vec![
        route("/updates/{guid}/plan", reads(UpdatePackages), get(updates::plan)),
        route("/content/verify", modifies(Content), post(site::content_verify)),
        route("/content/gc", modifies(Content), post(site::content_gc)),
        route(
            "/scp/proxy/test",
            modifies(ServiceConnectionPoint),
            post(internet::test_proxy),
        ),
        route(
            "/internet/check",
            modifies(ServiceConnectionPoint),
            post(internet::check),
        ),
        route("/tool/prepare", modifies(UpdatePackages), post(tool::prepare)),
        route("/tool/register", modifies(UpdatePackages), post(tool::register)),
        route("/usage/preview", reads(UsageData), get(usage::preview)),
        route("/usage/collect", modifies(UsageData), post(usage::collect)),
        route(
            "/usage/ledger/verify",
            modifies(UsageData),
            post(usage::verify_ledger),
        ),
        route("/inventory/{table}", modifies(UsageData), put(usage::import)),
    ]
}

/// The stream of changes; it never ends by itself.
pub(crate) fn event_route() -> Route {
    route("/events", signed_in(), get(events::stream))
}
